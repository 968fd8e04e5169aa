// Soft MoE: no token is routed. Each of 4 experts has 3 slots; a slot is a
// mixture of all tokens, a token's result a mixture of all slots. Slots go to
// their expert by constant indices.

!routing = !moe.routing<experts = 4, per_token = 1>

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>

moe.weight @phi : tensor<12x24xf32> from ["phi"]
moe.weight @w1 : tensor<4x40x24xf32> from ["experts.{0..3}.w1"] stack
moe.weight @w2 : tensor<4x24x40xf32> from ["experts.{0..3}.w2"] stack

func.func @mlp(%x: tensor<?x24xf32>) -> tensor<?x24xf32> {
  %phi = moe.get_weight @phi : tensor<12x24xf32>
  %l = moe.router_logits ins(%x, %phi) cosine 1.0e-6
      : tensor<?x24xf32>, tensor<12x24xf32> -> tensor<?x12xf32>
  %slots = moe.soft_dispatch %x by %l
      : tensor<?x24xf32>, tensor<?x12xf32> -> tensor<12x24xf32>
  %e = tensor.empty() : tensor<12x1xi32>
  %ids = linalg.generic {indexing_maps = [#id],
                         iterator_types = ["parallel", "parallel"]}
      outs(%e : tensor<12x1xi32>) {
  ^bb0(%o: i32):
    %per_expert = arith.constant 3 : index
    %i = linalg.index 0 : index
    %q = arith.divui %i, %per_expert : index
    %id = arith.index_cast %q : index to i32
    linalg.yield %id : i32
  } -> tensor<12x1xi32>
  %one = arith.constant 1.0 : f32
  %ew = tensor.empty() : tensor<12x1xf32>
  %w = linalg.fill ins(%one : f32) outs(%ew : tensor<12x1xf32>)
      -> tensor<12x1xf32>
  %r = moe.assign %ids, %w : tensor<12x1xi32>, tensor<12x1xf32>
      -> !routing
  %w1 = moe.get_weight @w1 : tensor<4x40x24xf32>
  %w2 = moe.get_weight @w2 : tensor<4x24x40xf32>
  %xs = moe.dispatch %slots by %r : tensor<12x24xf32>, !routing
      -> tensor<?x24xf32>
  %ys = moe.experts ins(%xs) weights(%w1, %w2) by %r
      : (tensor<?x24xf32>, tensor<4x40x24xf32>, tensor<4x24x40xf32>),
        !routing -> tensor<?x24xf32> {
  ^bb0(%t: tensor<?x24xf32>, %in: tensor<40x24xf32>, %out: tensor<24x40xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x24xf32>
    %ef = tensor.empty(%n) : tensor<?x40xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x40xf32>)
        -> tensor<?x40xf32>
    %h1 = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %in : tensor<?x24xf32>, tensor<40x24xf32>)
        outs(%zf : tensor<?x40xf32>) -> tensor<?x40xf32>
    %h2 = linalg.generic {indexing_maps = [#id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%h1 : tensor<?x40xf32>) outs(%ef : tensor<?x40xf32>) {
    ^bb0(%v: f32, %o: f32):
      %m = arith.maximumf %v, %zero : f32
      linalg.yield %m : f32
    } -> tensor<?x40xf32>
    %eh = tensor.empty(%n) : tensor<?x24xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x24xf32>)
        -> tensor<?x24xf32>
    %h3 = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h2, %out : tensor<?x40xf32>, tensor<24x40xf32>)
        outs(%zh : tensor<?x24xf32>) -> tensor<?x24xf32>
    moe.yield %h3 : tensor<?x24xf32>
  }
  %y = moe.combine %ys by %r : tensor<?x24xf32>, !routing -> tensor<12x24xf32>
  %z = moe.soft_combine %y by %l
      : tensor<12x24xf32>, tensor<?x12xf32> -> tensor<?x24xf32>
  return %z : tensor<?x24xf32>
}
