// A shared expert that every token visits, added as it is (DeepSeek).

!routing_2_of_8 = !moe.routing<experts = 8, per_token = 2>
!routing_1_of_1 = !moe.routing<experts = 1, per_token = 1>

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>

moe.weight @router : tensor<8x24xf32> from ["gate.weight"]
moe.weight @shared_gate : tensor<1x40x24xf32>
    from ["shared.{0..0}.shared_gate"] stack
moe.weight @shared_up : tensor<1x40x24xf32>
    from ["shared.{0..0}.shared_up"] stack
moe.weight @shared_down : tensor<1x24x40xf32>
    from ["shared.{0..0}.shared_down"] stack
moe.weight @gate : tensor<8x40x24xf32> from ["experts.{0..7}.gate"] stack
moe.weight @up : tensor<8x40x24xf32> from ["experts.{0..7}.up"] stack
moe.weight @down : tensor<8x24x40xf32> from ["experts.{0..7}.down"] stack

func.func @mlp(%x: tensor<?x24xf32>) -> tensor<?x24xf32> {
  %wr = moe.get_weight @router : tensor<8x24xf32>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x24xf32>, tensor<8x24xf32> -> tensor<?x8xf32>
  %r = moe.route %l policy<score = softmax, top_k = 2, normalize>
      : tensor<?x8xf32> -> !routing_2_of_8
  %all_gate = moe.get_weight @gate : tensor<8x40x24xf32>
  %all_up = moe.get_weight @up : tensor<8x40x24xf32>
  %all_down = moe.get_weight @down : tensor<8x24x40xf32>
  %xs = moe.dispatch %x by %r : tensor<?x24xf32>, !routing_2_of_8
      -> tensor<?x24xf32>
  %ys = moe.experts ins(%xs) weights(%all_gate, %all_up, %all_down) by %r
      : (tensor<?x24xf32>,
         tensor<8x40x24xf32>,
         tensor<8x40x24xf32>,
         tensor<8x24x40xf32>), !routing_2_of_8 -> tensor<?x24xf32> {
  ^bb0(%t: tensor<?x24xf32>,
       %w_gate: tensor<40x24xf32>,
       %w_up: tensor<40x24xf32>,
       %w_down: tensor<24x40xf32>):
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
        ins(%t, %w_gate : tensor<?x24xf32>, tensor<40x24xf32>)
        outs(%zf : tensor<?x40xf32>) -> tensor<?x40xf32>
    %u = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %w_up : tensor<?x24xf32>, tensor<40x24xf32>)
        outs(%zf : tensor<?x40xf32>) -> tensor<?x40xf32>
    %h = linalg.generic {indexing_maps = [#id, #id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%g, %u : tensor<?x40xf32>, tensor<?x40xf32>)
        outs(%ef : tensor<?x40xf32>) {
    ^bb0(%a: f32, %b: f32, %o: f32):
      %one = arith.constant 1.0 : f32
      %neg = arith.negf %a : f32
      %exp = math.exp %neg : f32
      %den = arith.addf %exp, %one : f32
      %silu = arith.divf %a, %den : f32
      %m = arith.mulf %silu, %b : f32
      linalg.yield %m : f32
    } -> tensor<?x40xf32>
    %out = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %w_down : tensor<?x40xf32>, tensor<24x40xf32>)
        outs(%zh : tensor<?x24xf32>) -> tensor<?x24xf32>
    moe.yield %out : tensor<?x24xf32>
  }
  %y = moe.combine %ys by %r : tensor<?x24xf32>, !routing_2_of_8
      -> tensor<?x24xf32>
  %all = moe.assign_all %x : tensor<?x24xf32> -> !routing_1_of_1
  %all_s_gate = moe.get_weight @shared_gate : tensor<1x40x24xf32>
  %all_s_up = moe.get_weight @shared_up : tensor<1x40x24xf32>
  %all_s_down = moe.get_weight @shared_down : tensor<1x24x40xf32>
  %s_xs = moe.dispatch %x by %all : tensor<?x24xf32>, !routing_1_of_1
      -> tensor<?x24xf32>
  %s_ys = moe.experts ins(%s_xs) weights(%all_s_gate, %all_s_up,
                 %all_s_down) by %all
      : (tensor<?x24xf32>,
         tensor<1x40x24xf32>,
         tensor<1x40x24xf32>,
         tensor<1x24x40xf32>), !routing_1_of_1 -> tensor<?x24xf32> {
  ^bb0(%t: tensor<?x24xf32>,
       %w_gate: tensor<40x24xf32>,
       %w_up: tensor<40x24xf32>,
       %w_down: tensor<24x40xf32>):
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
        ins(%t, %w_gate : tensor<?x24xf32>, tensor<40x24xf32>)
        outs(%zf : tensor<?x40xf32>) -> tensor<?x40xf32>
    %u = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %w_up : tensor<?x24xf32>, tensor<40x24xf32>)
        outs(%zf : tensor<?x40xf32>) -> tensor<?x40xf32>
    %h = linalg.generic {indexing_maps = [#id, #id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%g, %u : tensor<?x40xf32>, tensor<?x40xf32>)
        outs(%ef : tensor<?x40xf32>) {
    ^bb0(%a: f32, %b: f32, %o: f32):
      %one = arith.constant 1.0 : f32
      %neg = arith.negf %a : f32
      %exp = math.exp %neg : f32
      %den = arith.addf %exp, %one : f32
      %silu = arith.divf %a, %den : f32
      %m = arith.mulf %silu, %b : f32
      linalg.yield %m : f32
    } -> tensor<?x40xf32>
    %out = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %w_down : tensor<?x40xf32>, tensor<24x40xf32>)
        outs(%zh : tensor<?x24xf32>) -> tensor<?x24xf32>
    moe.yield %out : tensor<?x24xf32>
  }
  %s_y = moe.combine %s_ys by %all : tensor<?x24xf32>, !routing_1_of_1
      -> tensor<?x24xf32>
  %z = arith.addf %y, %s_y : tensor<?x24xf32>
  return %z : tensor<?x24xf32>
}
