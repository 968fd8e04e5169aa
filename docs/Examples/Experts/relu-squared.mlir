// Two products with the square of ReLU between them.

!routing = !moe.routing<experts = 8, per_token = 2>

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>

moe.weight @router : tensor<8x24xf32> from ["gate.weight"]
moe.weight @w1 : tensor<8x40x24xf32> from ["experts.{0..7}.w1"] stack
moe.weight @w2 : tensor<8x24x40xf32> from ["experts.{0..7}.w2"] stack

func.func @mlp(%x: tensor<?x24xf32>) -> tensor<?x24xf32> {
  %wr = moe.get_weight @router : tensor<8x24xf32>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x24xf32>, tensor<8x24xf32> -> tensor<?x8xf32>
  %r = moe.route %l policy<score = softmax, top_k = 2, normalize>
      : tensor<?x8xf32> -> !routing
  %all_w1 = moe.get_weight @w1 : tensor<8x40x24xf32>
  %all_w2 = moe.get_weight @w2 : tensor<8x24x40xf32>
  %xs = moe.dispatch %x by %r : tensor<?x24xf32>, !routing -> tensor<?x24xf32>
  %ys = moe.experts ins(%xs) weights(%all_w1, %all_w2) by %r
      : (tensor<?x24xf32>,
         tensor<8x40x24xf32>,
         tensor<8x24x40xf32>), !routing -> tensor<?x24xf32> {
  ^bb0(%t: tensor<?x24xf32>,
       %w_w1: tensor<40x24xf32>,
       %w_w2: tensor<24x40xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x24xf32>
    %ef = tensor.empty(%n) : tensor<?x40xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x40xf32>)
        -> tensor<?x40xf32>
    %eh = tensor.empty(%n) : tensor<?x24xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x24xf32>)
        -> tensor<?x24xf32>
    %g = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %w_w1 : tensor<?x24xf32>, tensor<40x24xf32>)
        outs(%zf : tensor<?x40xf32>) -> tensor<?x40xf32>
    %h = linalg.generic {indexing_maps = [#id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%g : tensor<?x40xf32>)
        outs(%ef : tensor<?x40xf32>) {
    ^bb0(%a: f32, %o: f32):
      %z = arith.constant 0.0 : f32
      %m = arith.maximumf %a, %z : f32
      %s = arith.mulf %m, %m : f32
      linalg.yield %s : f32
    } -> tensor<?x40xf32>
    %out = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %w_w2 : tensor<?x40xf32>, tensor<24x40xf32>)
        outs(%zh : tensor<?x24xf32>) -> tensor<?x24xf32>
    moe.yield %out : tensor<?x24xf32>
  }
  %y = moe.combine %ys by %r : tensor<?x24xf32>, !routing -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}
