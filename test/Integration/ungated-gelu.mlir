// RUN: %python %moe_src_root/test/Pipelines/semantics.py %s

// A Switch block: one expert per token, one product before the activation, and
// GELU split over several ops.

moe.weight @router : tensor<4x24xf32>
    from ["router.weight"]
moe.weight @wi : tensor<4x40x24xf32>
    from ["experts.{0..3}.wi"] stack
moe.weight @wo : tensor<4x24x40xf32>
    from ["experts.{0..3}.wo"] stack

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>

func.func @mlp(%x: tensor<?x24xf32>) -> tensor<?x24xf32> {
  %wr = moe.get_weight @router : tensor<4x24xf32>
  %wi = moe.get_weight @wi : tensor<4x40x24xf32>
  %wo = moe.get_weight @wo : tensor<4x24x40xf32>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x24xf32>, tensor<4x24xf32> -> tensor<?x4xf32>
  %r = moe.route %l policy<score = softmax, top_k = 1>
      : tensor<?x4xf32> -> !moe.routing<experts = 4, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x24xf32>, !moe.routing<experts = 4, per_token = 1>
      -> tensor<?x24xf32>
  %ys = moe.experts ins(%xs) weights(%wi, %wo) by %r
      : (tensor<?x24xf32>, tensor<4x40x24xf32>, tensor<4x24x40xf32>),
        !moe.routing<experts = 4, per_token = 1> -> tensor<?x24xf32> {
  ^bb0(%t: tensor<?x24xf32>, %u: tensor<40x24xf32>, %d: tensor<24x40xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %half = arith.constant 0.5 : f32
    %one = arith.constant 1.0 : f32
    %cube = arith.constant 0.044715 : f32
    %root = arith.constant 0.797884583 : f32
    %n = tensor.dim %t, %c0 : tensor<?x24xf32>
    %ef = tensor.empty(%n) : tensor<?x40xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x40xf32>)
        -> tensor<?x40xf32>
    %c = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %u : tensor<?x24xf32>, tensor<40x24xf32>)
        outs(%zf : tensor<?x40xf32>) -> tensor<?x40xf32>
    %inner = linalg.generic {indexing_maps = [#id, #id],
                             iterator_types = ["parallel", "parallel"]}
        ins(%c : tensor<?x40xf32>) outs(%ef : tensor<?x40xf32>) {
    ^bb0(%a: f32, %o: f32):
      %a2 = arith.mulf %a, %a : f32
      %a3 = arith.mulf %a2, %a : f32
      %s = arith.mulf %a3, %cube : f32
      %i = arith.addf %a, %s : f32
      %m = arith.mulf %i, %root : f32
      linalg.yield %m : f32
    } -> tensor<?x40xf32>
    %tanh = math.tanh %inner : tensor<?x40xf32>
    %h = linalg.generic {indexing_maps = [#id, #id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%tanh, %c : tensor<?x40xf32>, tensor<?x40xf32>)
        outs(%ef : tensor<?x40xf32>) {
    ^bb0(%a: f32, %b: f32, %o: f32):
      %p = arith.addf %a, %one : f32
      %q = arith.mulf %p, %half : f32
      %m = arith.mulf %q, %b : f32
      linalg.yield %m : f32
    } -> tensor<?x40xf32>
    %eh = tensor.empty(%n) : tensor<?x24xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x24xf32>)
        -> tensor<?x24xf32>
    %p = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %d : tensor<?x40xf32>, tensor<24x40xf32>)
        outs(%zh : tensor<?x24xf32>) -> tensor<?x24xf32>
    moe.yield %p : tensor<?x24xf32>
  }
  %y = moe.combine %ys by %r
      : tensor<?x24xf32>, !moe.routing<experts = 4, per_token = 1>
      -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}
