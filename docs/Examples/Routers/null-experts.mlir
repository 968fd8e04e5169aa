// Null experts (AdaMoE): of ten experts the last two do nothing. Who chooses
// one has one pair less, so the work per token varies with the token; the
// weights of the real experts that were chosen are divided by their sum.

!routing = !moe.routing<experts = 8, per_token = 4>

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>

moe.weight @router : tensor<10x24xf32> from ["gate.weight"]
moe.weight @w1 : tensor<8x40x24xf32> from ["experts.{0..7}.w1"] stack
moe.weight @w2 : tensor<8x24x40xf32> from ["experts.{0..7}.w2"] stack

func.func @mlp(%x: tensor<?x24xf32>) -> tensor<?x24xf32> {
  %wr = moe.get_weight @router : tensor<10x24xf32>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x24xf32>, tensor<10x24xf32> -> tensor<?x10xf32>
  %r = moe.route %l
      policy<score = softmax, top_k = 4, null_experts = 2, normalize>
      : tensor<?x10xf32> -> !routing
  %w1 = moe.get_weight @w1 : tensor<8x40x24xf32>
  %w2 = moe.get_weight @w2 : tensor<8x24x40xf32>
  %xs = moe.dispatch %x by %r : tensor<?x24xf32>, !routing -> tensor<?x24xf32>
  %ys = moe.experts ins(%xs) weights(%w1, %w2) by %r
      : (tensor<?x24xf32>, tensor<8x40x24xf32>, tensor<8x24x40xf32>),
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
  %y = moe.combine %ys by %r : tensor<?x24xf32>, !routing -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}
