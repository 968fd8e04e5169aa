// gpt-oss: gate and up have biases and are clamped at 7; the activation is (up
// + 1) * gate * sigmoid(1.702 * gate). The bias of the last product is weighted
// by the router like the rest of the expert's result.

!routing = !moe.routing<experts = 8, per_token = 2>

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>
#col = affine_map<(m, n) -> (n)>

moe.weight @router : tensor<8x24xf32> from ["gate.weight"]
moe.weight @gate : tensor<8x40x24xf32> from ["experts.{0..7}.gate"] stack
moe.weight @gate_bias : tensor<8x40xf32> from ["experts.{0..7}.gate_bias"] stack
moe.weight @up : tensor<8x40x24xf32> from ["experts.{0..7}.up"] stack
moe.weight @up_bias : tensor<8x40xf32> from ["experts.{0..7}.up_bias"] stack
moe.weight @down : tensor<8x24x40xf32> from ["experts.{0..7}.down"] stack
moe.weight @down_bias : tensor<8x24xf32> from ["experts.{0..7}.down_bias"] stack

func.func @mlp(%x: tensor<?x24xf32>) -> tensor<?x24xf32> {
  %wr = moe.get_weight @router : tensor<8x24xf32>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x24xf32>, tensor<8x24xf32> -> tensor<?x8xf32>
  %r = moe.route %l policy<score = softmax, top_k = 2, normalize>
      : tensor<?x8xf32> -> !routing
  %all_gate = moe.get_weight @gate : tensor<8x40x24xf32>
  %all_gate_bias = moe.get_weight @gate_bias : tensor<8x40xf32>
  %all_up = moe.get_weight @up : tensor<8x40x24xf32>
  %all_up_bias = moe.get_weight @up_bias : tensor<8x40xf32>
  %all_down = moe.get_weight @down : tensor<8x24x40xf32>
  %all_down_bias = moe.get_weight @down_bias : tensor<8x24xf32>
  %xs = moe.dispatch %x by %r : tensor<?x24xf32>, !routing -> tensor<?x24xf32>
  %ys = moe.experts ins(%xs) weights(%all_gate, %all_gate_bias, %all_up,
                 %all_up_bias, %all_down, %all_down_bias) by %r
      : (tensor<?x24xf32>,
         tensor<8x40x24xf32>,
         tensor<8x40xf32>,
         tensor<8x40x24xf32>,
         tensor<8x40xf32>,
         tensor<8x24x40xf32>,
         tensor<8x24xf32>), !routing -> tensor<?x24xf32> {
  ^bb0(%t: tensor<?x24xf32>,
       %w_gate: tensor<40x24xf32>,
       %w_gate_bias: tensor<40xf32>,
       %w_up: tensor<40x24xf32>,
       %w_up_bias: tensor<40xf32>,
       %w_down: tensor<24x40xf32>,
       %w_down_bias: tensor<24xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x24xf32>
    %ef = tensor.empty(%n) : tensor<?x40xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x40xf32>)
        -> tensor<?x40xf32>
    %eh = tensor.empty(%n) : tensor<?x24xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x24xf32>)
        -> tensor<?x24xf32>
    %g0 = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %w_gate : tensor<?x24xf32>, tensor<40x24xf32>)
        outs(%zf : tensor<?x40xf32>) -> tensor<?x40xf32>
    %g = linalg.generic {indexing_maps = [#id, #col, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%g0, %w_gate_bias : tensor<?x40xf32>, tensor<40xf32>)
        outs(%ef : tensor<?x40xf32>) {
    ^bb0(%a: f32, %b: f32, %o: f32):
      %sum = arith.addf %a, %b : f32
      linalg.yield %sum : f32
    } -> tensor<?x40xf32>
    %v0 = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %w_up : tensor<?x24xf32>, tensor<40x24xf32>)
        outs(%zf : tensor<?x40xf32>) -> tensor<?x40xf32>
    %u = linalg.generic {indexing_maps = [#id, #col, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%v0, %w_up_bias : tensor<?x40xf32>, tensor<40xf32>)
        outs(%ef : tensor<?x40xf32>) {
    ^bb0(%a: f32, %b: f32, %o: f32):
      %sum = arith.addf %a, %b : f32
      linalg.yield %sum : f32
    } -> tensor<?x40xf32>
    %h = linalg.generic {indexing_maps = [#id, #id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%g, %u : tensor<?x40xf32>, tensor<?x40xf32>)
        outs(%ef : tensor<?x40xf32>) {
    ^bb0(%a: f32, %b: f32, %o: f32):
      %one = arith.constant 1.0 : f32
      %alpha = arith.constant 1.702 : f32
      %limit = arith.constant 7.0 : f32
      %low = arith.constant -7.0 : f32
      %ga = arith.minimumf %a, %limit : f32
      %u0 = arith.minimumf %b, %limit : f32
      %u1 = arith.maximumf %u0, %low : f32
      %s = arith.mulf %ga, %alpha : f32
      %neg = arith.negf %s : f32
      %exp = math.exp %neg : f32
      %den = arith.addf %exp, %one : f32
      %glu = arith.divf %ga, %den : f32
      %u2 = arith.addf %u1, %one : f32
      %m = arith.mulf %u2, %glu : f32
      linalg.yield %m : f32
    } -> tensor<?x40xf32>
    %q0 = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %w_down : tensor<?x40xf32>, tensor<24x40xf32>)
        outs(%zh : tensor<?x24xf32>) -> tensor<?x24xf32>
    %out = linalg.generic {indexing_maps = [#id, #col, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%q0, %w_down_bias : tensor<?x24xf32>, tensor<24xf32>)
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
