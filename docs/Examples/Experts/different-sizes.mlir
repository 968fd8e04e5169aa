// Experts of different sizes in one layer: of one routing over eight experts,
// five are small and three large. Each kind takes its part of the routing; the
// results are added.

!routing_2_of_8 = !moe.routing<experts = 8, per_token = 2>
!routing_2_of_5 = !moe.routing<experts = 5, per_token = 2>
!routing_2_of_3 = !moe.routing<experts = 3, per_token = 2>

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>

moe.weight @router : tensor<8x24xf32> from ["gate.weight"]
moe.weight @small_w1 : tensor<5x40x24xf32> from ["small.{0..4}.w1"] stack
moe.weight @small_w2 : tensor<5x24x40xf32> from ["small.{0..4}.w2"] stack
moe.weight @large_w1 : tensor<3x72x24xf32> from ["large.{0..2}.w1"] stack
moe.weight @large_w2 : tensor<3x24x72xf32> from ["large.{0..2}.w2"] stack

func.func @mlp(%x: tensor<?x24xf32>) -> tensor<?x24xf32> {
  %wr = moe.get_weight @router : tensor<8x24xf32>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x24xf32>, tensor<8x24xf32> -> tensor<?x8xf32>
  %r = moe.route %l policy<score = softmax, top_k = 2, normalize>
      : tensor<?x8xf32> -> !routing_2_of_8
  %small = moe.restrict %r [0, 5] : !routing_2_of_8 -> !routing_2_of_5
  %large = moe.restrict %r [5, 8] : !routing_2_of_8 -> !routing_2_of_3
  %all_s_w1 = moe.get_weight @small_w1 : tensor<5x40x24xf32>
  %all_s_w2 = moe.get_weight @small_w2 : tensor<5x24x40xf32>
  %s_xs = moe.dispatch %x by %small : tensor<?x24xf32>, !routing_2_of_5
      -> tensor<?x24xf32>
  %s_ys = moe.experts ins(%s_xs) weights(%all_s_w1, %all_s_w2) by %small
      : (tensor<?x24xf32>,
         tensor<5x40x24xf32>,
         tensor<5x24x40xf32>), !routing_2_of_5 -> tensor<?x24xf32> {
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
      linalg.yield %m : f32
    } -> tensor<?x40xf32>
    %out = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %w_w2 : tensor<?x40xf32>, tensor<24x40xf32>)
        outs(%zh : tensor<?x24xf32>) -> tensor<?x24xf32>
    moe.yield %out : tensor<?x24xf32>
  }
  %s_y = moe.combine %s_ys by %small : tensor<?x24xf32>, !routing_2_of_5
      -> tensor<?x24xf32>
  %all_l_w1 = moe.get_weight @large_w1 : tensor<3x72x24xf32>
  %all_l_w2 = moe.get_weight @large_w2 : tensor<3x24x72xf32>
  %l_xs = moe.dispatch %x by %large : tensor<?x24xf32>, !routing_2_of_3
      -> tensor<?x24xf32>
  %l_ys = moe.experts ins(%l_xs) weights(%all_l_w1, %all_l_w2) by %large
      : (tensor<?x24xf32>,
         tensor<3x72x24xf32>,
         tensor<3x24x72xf32>), !routing_2_of_3 -> tensor<?x24xf32> {
  ^bb0(%t: tensor<?x24xf32>,
       %w_w1: tensor<72x24xf32>,
       %w_w2: tensor<24x72xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x24xf32>
    %ef = tensor.empty(%n) : tensor<?x72xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x72xf32>)
        -> tensor<?x72xf32>
    %eh = tensor.empty(%n) : tensor<?x24xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x24xf32>)
        -> tensor<?x24xf32>
    %g = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %w_w1 : tensor<?x24xf32>, tensor<72x24xf32>)
        outs(%zf : tensor<?x72xf32>) -> tensor<?x72xf32>
    %h = linalg.generic {indexing_maps = [#id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%g : tensor<?x72xf32>)
        outs(%ef : tensor<?x72xf32>) {
    ^bb0(%a: f32, %o: f32):
      %z = arith.constant 0.0 : f32
      %m = arith.maximumf %a, %z : f32
      linalg.yield %m : f32
    } -> tensor<?x72xf32>
    %out = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %w_w2 : tensor<?x72xf32>, tensor<24x72xf32>)
        outs(%zh : tensor<?x24xf32>) -> tensor<?x24xf32>
    moe.yield %out : tensor<?x24xf32>
  }
  %l_y = moe.combine %l_ys by %large : tensor<?x24xf32>, !routing_2_of_3
      -> tensor<?x24xf32>
  %y = arith.addf %s_y, %l_y : tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}
