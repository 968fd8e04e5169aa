// Experts beyond the FFN: the value projection of an attention layer as
// SwitchHead routes it. Each token chooses two of eight projections by sigmoid
// scores, which are not normalised; the rest of the layer is not ours.

!routing = !moe.routing<experts = 8, per_token = 2>

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>

moe.weight @router : tensor<8x24xf32> from ["gate.weight"]
moe.weight @value : tensor<8x16x24xf32> from ["value.{0..7}"] stack

func.func @values(%x: tensor<?x24xf32>) -> tensor<?x16xf32> {
  %wr = moe.get_weight @router : tensor<8x24xf32>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x24xf32>, tensor<8x24xf32> -> tensor<?x8xf32>
  %r = moe.route %l policy<score = sigmoid, top_k = 2>
      : tensor<?x8xf32> -> !routing
  %wv = moe.get_weight @value : tensor<8x16x24xf32>
  %xs = moe.dispatch %x by %r : tensor<?x24xf32>, !routing -> tensor<?x24xf32>
  %vs = moe.experts ins(%xs) weights(%wv) by %r
      : (tensor<?x24xf32>, tensor<8x16x24xf32>),
        !routing -> tensor<?x16xf32> {
  ^bb0(%t: tensor<?x24xf32>, %w: tensor<16x24xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x24xf32>
    %e = tensor.empty(%n) : tensor<?x16xf32>
    %z = linalg.fill ins(%zero : f32) outs(%e : tensor<?x16xf32>)
        -> tensor<?x16xf32>
    %p = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %w : tensor<?x24xf32>, tensor<16x24xf32>)
        outs(%z : tensor<?x16xf32>) -> tensor<?x16xf32>
    moe.yield %p : tensor<?x16xf32>
  }
  %v = moe.combine %vs by %r : tensor<?x16xf32>, !routing -> tensor<?x16xf32>
  return %v : tensor<?x16xf32>
}
