// A constant expert (MoE++): the last of nine experts yields a learned vector,
// whatever its token is.

!routing_2_of_9 = !moe.routing<experts = 9, per_token = 2>
!routing_2_of_8 = !moe.routing<experts = 8, per_token = 2>
!routing_1_of_1 = !moe.routing<experts = 1, per_token = 1>

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>
#row = affine_map<(m, n) -> (0, n)>

moe.weight @router : tensor<9x24xf32> from ["gate.weight"]
moe.weight @vector : tensor<1x1x24xf32> from ["constant.{0..0}"] stack
moe.weight @w1 : tensor<8x40x24xf32> from ["experts.{0..7}.w1"] stack
moe.weight @w2 : tensor<8x24x40xf32> from ["experts.{0..7}.w2"] stack

func.func @mlp(%x: tensor<?x24xf32>) -> tensor<?x24xf32> {
  %wr = moe.get_weight @router : tensor<9x24xf32>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x24xf32>, tensor<9x24xf32> -> tensor<?x9xf32>
  %r = moe.route %l policy<score = softmax, top_k = 2, normalize>
      : tensor<?x9xf32> -> !routing_2_of_9
  %real = moe.restrict %r [0, 8]
      : !routing_2_of_9 -> !routing_2_of_8
  %last = moe.restrict %r [8, 9]
      : !routing_2_of_9 -> !routing_1_of_1
  %all_w1 = moe.get_weight @w1 : tensor<8x40x24xf32>
  %all_w2 = moe.get_weight @w2 : tensor<8x24x40xf32>
  %xs = moe.dispatch %x by %real : tensor<?x24xf32>, !routing_2_of_8
      -> tensor<?x24xf32>
  %ys = moe.experts ins(%xs) weights(%all_w1, %all_w2) by %real
      : (tensor<?x24xf32>,
         tensor<8x40x24xf32>,
         tensor<8x24x40xf32>), !routing_2_of_8 -> tensor<?x24xf32> {
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
  %y = moe.combine %ys by %real : tensor<?x24xf32>, !routing_2_of_8
      -> tensor<?x24xf32>
  %v = moe.get_weight @vector : tensor<1x1x24xf32>
  %cs = moe.dispatch %x by %last : tensor<?x24xf32>, !routing_1_of_1
      -> tensor<?x24xf32>
  %cy = moe.experts ins(%cs) weights(%v) by %last
      : (tensor<?x24xf32>,
        tensor<1x1x24xf32>), !routing_1_of_1 -> tensor<?x24xf32> {
  ^bb0(%t: tensor<?x24xf32>, %w: tensor<1x24xf32>):
    %o = linalg.generic {indexing_maps = [#row, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%w : tensor<1x24xf32>) outs(%t : tensor<?x24xf32>) {
    ^bb0(%a: f32, %b: f32):
      linalg.yield %a : f32
    } -> tensor<?x24xf32>
    moe.yield %o : tensor<?x24xf32>
  }
  %c = moe.combine %cy by %last : tensor<?x24xf32>, !routing_1_of_1
      -> tensor<?x24xf32>
  %z = arith.addf %y, %c : tensor<?x24xf32>
  return %z : tensor<?x24xf32>
}
