// Residual MoE (DeepSpeed): the routed expert and an MLP that every token
// visits, mixed by the softmax of two logits of the token.

!routing_1_of_8 = !moe.routing<experts = 8, per_token = 1>
!routing_1_of_1 = !moe.routing<experts = 1, per_token = 1>

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>
#one = affine_map<(m, n) -> (m, 0)>
#two = affine_map<(m, n) -> (m, 1)>

moe.weight @router : tensor<8x24xf32> from ["gate.weight"]
moe.weight @coefficient : tensor<2x24xf32> from ["coefficient.weight"]
moe.weight @mlp_w1 : tensor<1x40x24xf32> from ["mlp.{0..0}.mlp_w1"] stack
moe.weight @mlp_w2 : tensor<1x24x40xf32> from ["mlp.{0..0}.mlp_w2"] stack
moe.weight @w1 : tensor<8x40x24xf32> from ["experts.{0..7}.w1"] stack
moe.weight @w2 : tensor<8x24x40xf32> from ["experts.{0..7}.w2"] stack

func.func @mlp(%x: tensor<?x24xf32>) -> tensor<?x24xf32> {
  %wr = moe.get_weight @router : tensor<8x24xf32>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x24xf32>, tensor<8x24xf32> -> tensor<?x8xf32>
  %r = moe.route %l policy<score = softmax, top_k = 1>
      : tensor<?x8xf32> -> !routing_1_of_8
  %all_w1 = moe.get_weight @w1 : tensor<8x40x24xf32>
  %all_w2 = moe.get_weight @w2 : tensor<8x24x40xf32>
  %xs = moe.dispatch %x by %r : tensor<?x24xf32>, !routing_1_of_8
      -> tensor<?x24xf32>
  %ys = moe.experts ins(%xs) weights(%all_w1, %all_w2) by %r
      : (tensor<?x24xf32>,
         tensor<8x40x24xf32>,
         tensor<8x24x40xf32>), !routing_1_of_8 -> tensor<?x24xf32> {
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
  %y = moe.combine %ys by %r : tensor<?x24xf32>, !routing_1_of_8
      -> tensor<?x24xf32>
  %all = moe.assign_all %x : tensor<?x24xf32> -> !routing_1_of_1
  %all_s_w1 = moe.get_weight @mlp_w1 : tensor<1x40x24xf32>
  %all_s_w2 = moe.get_weight @mlp_w2 : tensor<1x24x40xf32>
  %s_xs = moe.dispatch %x by %all : tensor<?x24xf32>, !routing_1_of_1
      -> tensor<?x24xf32>
  %s_ys = moe.experts ins(%s_xs) weights(%all_s_w1, %all_s_w2) by %all
      : (tensor<?x24xf32>,
         tensor<1x40x24xf32>,
         tensor<1x24x40xf32>), !routing_1_of_1 -> tensor<?x24xf32> {
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
  %s_y = moe.combine %s_ys by %all : tensor<?x24xf32>, !routing_1_of_1
      -> tensor<?x24xf32>
  %wc = moe.get_weight @coefficient : tensor<2x24xf32>
  %cl = moe.router_logits ins(%x, %wc)
      : tensor<?x24xf32>, tensor<2x24xf32> -> tensor<?x2xf32>
  %z = linalg.generic {indexing_maps = [#id, #id, #one, #two, #id],
                       iterator_types = ["parallel", "parallel"]}
      ins(%y, %s_y, %cl, %cl
          : tensor<?x24xf32>, tensor<?x24xf32>, tensor<?x2xf32>,
        tensor<?x2xf32>)
      outs(%y : tensor<?x24xf32>) {
  ^bb0(%a: f32, %b: f32, %c: f32, %d: f32, %o: f32):
    %one = arith.constant 1.0 : f32
    %e = arith.subf %d, %c : f32
    %exp = math.exp %e : f32
    %den = arith.addf %exp, %one : f32
    %c0 = arith.divf %one, %den : f32
    %c1 = arith.subf %one, %c0 : f32
    %moe = arith.mulf %a, %c0 : f32
    %mlp = arith.mulf %b, %c1 : f32
    %sum = arith.addf %moe, %mlp : f32
    linalg.yield %sum : f32
  } -> tensor<?x24xf32>
  return %z : tensor<?x24xf32>
}
