// Two products with biases and GELU (V-MoE); with ReLU it is NLLB-MoE.

!routing = !moe.routing<experts = 8, per_token = 2>

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>
#col = affine_map<(m, n) -> (n)>

moe.weight @router : tensor<8x24xf32> from ["gate.weight"]
moe.weight @w1 : tensor<8x40x24xf32> from ["experts.{0..7}.w1"] stack
moe.weight @b1 : tensor<8x40xf32> from ["experts.{0..7}.b1"] stack
moe.weight @w2 : tensor<8x24x40xf32> from ["experts.{0..7}.w2"] stack
moe.weight @b2 : tensor<8x24xf32> from ["experts.{0..7}.b2"] stack

func.func @mlp(%x: tensor<?x24xf32>) -> tensor<?x24xf32> {
  %wr = moe.get_weight @router : tensor<8x24xf32>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x24xf32>, tensor<8x24xf32> -> tensor<?x8xf32>
  %r = moe.route %l policy<score = softmax, top_k = 2, normalize>
      : tensor<?x8xf32> -> !routing
  %all_w1 = moe.get_weight @w1 : tensor<8x40x24xf32>
  %all_b1 = moe.get_weight @b1 : tensor<8x40xf32>
  %all_w2 = moe.get_weight @w2 : tensor<8x24x40xf32>
  %all_b2 = moe.get_weight @b2 : tensor<8x24xf32>
  %xs = moe.dispatch %x by %r : tensor<?x24xf32>, !routing -> tensor<?x24xf32>
  %ys = moe.experts ins(%xs) weights(%all_w1, %all_b1, %all_w2, %all_b2) by %r
      : (tensor<?x24xf32>,
         tensor<8x40x24xf32>,
         tensor<8x40xf32>,
         tensor<8x24x40xf32>,
         tensor<8x24xf32>), !routing -> tensor<?x24xf32> {
  ^bb0(%t: tensor<?x24xf32>,
       %w_w1: tensor<40x24xf32>,
       %w_b1: tensor<40xf32>,
       %w_w2: tensor<24x40xf32>,
       %w_b2: tensor<24xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x24xf32>
    %ef = tensor.empty(%n) : tensor<?x40xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x40xf32>)
        -> tensor<?x40xf32>
    %eh = tensor.empty(%n) : tensor<?x24xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x24xf32>)
        -> tensor<?x24xf32>
    %p0 = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %w_w1 : tensor<?x24xf32>, tensor<40x24xf32>)
        outs(%zf : tensor<?x40xf32>) -> tensor<?x40xf32>
    %g = linalg.generic {indexing_maps = [#id, #col, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%p0, %w_b1 : tensor<?x40xf32>, tensor<40xf32>)
        outs(%ef : tensor<?x40xf32>) {
    ^bb0(%a: f32, %b: f32, %o: f32):
      %sum = arith.addf %a, %b : f32
      linalg.yield %sum : f32
    } -> tensor<?x40xf32>
    %h = linalg.generic {indexing_maps = [#id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%g : tensor<?x40xf32>)
        outs(%ef : tensor<?x40xf32>) {
    ^bb0(%a: f32, %o: f32):
      %one = arith.constant 1.0 : f32
      %half = arith.constant 0.5 : f32
      %root = arith.constant 0.70710678 : f32
      %s = arith.mulf %a, %root : f32
      %e = math.erf %s : f32
      %p = arith.addf %e, %one : f32
      %q = arith.mulf %a, %p : f32
      %gelu = arith.mulf %q, %half : f32
      linalg.yield %gelu : f32
    } -> tensor<?x40xf32>
    %q0 = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %w_w2 : tensor<?x40xf32>, tensor<24x40xf32>)
        outs(%zh : tensor<?x24xf32>) -> tensor<?x24xf32>
    %out = linalg.generic {indexing_maps = [#id, #col, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%q0, %w_b2 : tensor<?x24xf32>, tensor<24xf32>)
        outs(%eh : tensor<?x24xf32>) {
    ^bb0(%a: f32, %b: f32, %o: f32):
      %sum = arith.addf %a, %b : f32
      linalg.yield %sum : f32
    } -> tensor<?x24xf32>
    moe.yield %out : tensor<?x24xf32>
  }
  %y = moe.combine %ys by %r : tensor<?x24xf32>, !routing -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}
