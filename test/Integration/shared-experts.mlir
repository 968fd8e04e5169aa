// RUN: %python %moe_src_root/test/Pipelines/semantics.py %s

// A DeepSeek block: sigmoid scores with a selection bias and groups, and a
// shared expert whose sum with the routed ones becomes one combine.

moe.weight @router : tensor<16x32xf32>
    from ["gate.weight"]
moe.weight @bias : tensor<16xf32>
    from ["gate.e_score_correction_bias"]
moe.weight @gate : tensor<16x24x32xf32>
    from ["experts.{0..15}.gate"] stack
moe.weight @up : tensor<16x24x32xf32>
    from ["experts.{0..15}.up"] stack
moe.weight @down : tensor<16x32x24xf32>
    from ["experts.{0..15}.down"] stack
moe.weight @shared.gate : tensor<1x48x32xf32>
    from ["shared.experts.{0..0}.gate"] stack
moe.weight @shared.up : tensor<1x48x32xf32>
    from ["shared.experts.{0..0}.up"] stack
moe.weight @shared.down : tensor<1x32x48xf32>
    from ["shared.experts.{0..0}.down"] stack

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>

func.func @mlp(%x: tensor<?x32xf32>) -> tensor<?x32xf32> {
  %wr = moe.get_weight @router : tensor<16x32xf32>
  %wb = moe.get_weight @bias : tensor<16xf32>
  %wg = moe.get_weight @gate : tensor<16x24x32xf32>
  %wu = moe.get_weight @up : tensor<16x24x32xf32>
  %wd = moe.get_weight @down : tensor<16x32x24xf32>
  %wsg = moe.get_weight @shared.gate : tensor<1x48x32xf32>
  %wsu = moe.get_weight @shared.up : tensor<1x48x32xf32>
  %wsd = moe.get_weight @shared.down : tensor<1x32x48xf32>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x32xf32>, tensor<16x32xf32> -> tensor<?x16xf32>
  %r = moe.route %l bias(%wb)
      policy<score = sigmoid, groups = 4 keep 2 by top2_sum, top_k = 4,
             normalize epsilon 1.0e-20, scale = 2.5>
      : tensor<?x16xf32>, tensor<16xf32>
      -> !moe.routing<experts = 16, per_token = 4>
  %xs = moe.dispatch %x by %r
      : tensor<?x32xf32>, !moe.routing<experts = 16, per_token = 4>
      -> tensor<?x32xf32>
  %ys = moe.experts ins(%xs) weights(%wg, %wu, %wd) by %r
      : (tensor<?x32xf32>, tensor<16x24x32xf32>, tensor<16x24x32xf32>,
         tensor<16x32x24xf32>), !moe.routing<experts = 16, per_token = 4>
      -> tensor<?x32xf32> {
  ^bb0(%t: tensor<?x32xf32>, %g: tensor<24x32xf32>, %u: tensor<24x32xf32>,
       %d: tensor<32x24xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %one = arith.constant 1.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x32xf32>
    %ef = tensor.empty(%n) : tensor<?x24xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x24xf32>)
        -> tensor<?x24xf32>
    %gate = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %g : tensor<?x32xf32>, tensor<24x32xf32>)
        outs(%zf : tensor<?x24xf32>) -> tensor<?x24xf32>
    %up = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %u : tensor<?x32xf32>, tensor<24x32xf32>)
        outs(%zf : tensor<?x24xf32>) -> tensor<?x24xf32>
    %h = linalg.generic {indexing_maps = [#id, #id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%gate, %up : tensor<?x24xf32>, tensor<?x24xf32>)
        outs(%ef : tensor<?x24xf32>) {
    ^bb0(%a: f32, %b: f32, %o: f32):
      %neg = arith.negf %a : f32
      %exp = math.exp %neg : f32
      %den = arith.addf %exp, %one : f32
      %silu = arith.divf %a, %den : f32
      %mul = arith.mulf %silu, %b : f32
      linalg.yield %mul : f32
    } -> tensor<?x24xf32>
    %eh = tensor.empty(%n) : tensor<?x32xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x32xf32>)
        -> tensor<?x32xf32>
    %p = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %d : tensor<?x24xf32>, tensor<32x24xf32>)
        outs(%zh : tensor<?x32xf32>) -> tensor<?x32xf32>
    moe.yield %p : tensor<?x32xf32>
  }
  %routed = moe.combine %ys by %r
      : tensor<?x32xf32>, !moe.routing<experts = 16, per_token = 4>
      -> tensor<?x32xf32>
  %all = moe.assign_all %x
      : tensor<?x32xf32> -> !moe.routing<experts = 1, per_token = 1>
  %xa = moe.dispatch %x by %all
      : tensor<?x32xf32>, !moe.routing<experts = 1, per_token = 1>
      -> tensor<?x32xf32>
  %ya = moe.experts ins(%xa) weights(%wsg, %wsu, %wsd) by %all
      : (tensor<?x32xf32>, tensor<1x48x32xf32>, tensor<1x48x32xf32>,
         tensor<1x32x48xf32>), !moe.routing<experts = 1, per_token = 1>
      -> tensor<?x32xf32> {
  ^bb0(%t: tensor<?x32xf32>, %g: tensor<48x32xf32>, %u: tensor<48x32xf32>,
       %d: tensor<32x48xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %one = arith.constant 1.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x32xf32>
    %ef = tensor.empty(%n) : tensor<?x48xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x48xf32>)
        -> tensor<?x48xf32>
    %gate = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %g : tensor<?x32xf32>, tensor<48x32xf32>)
        outs(%zf : tensor<?x48xf32>) -> tensor<?x48xf32>
    %up = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %u : tensor<?x32xf32>, tensor<48x32xf32>)
        outs(%zf : tensor<?x48xf32>) -> tensor<?x48xf32>
    %h = linalg.generic {indexing_maps = [#id, #id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%gate, %up : tensor<?x48xf32>, tensor<?x48xf32>)
        outs(%ef : tensor<?x48xf32>) {
    ^bb0(%a: f32, %b: f32, %o: f32):
      %neg = arith.negf %a : f32
      %exp = math.exp %neg : f32
      %den = arith.addf %exp, %one : f32
      %silu = arith.divf %a, %den : f32
      %mul = arith.mulf %silu, %b : f32
      linalg.yield %mul : f32
    } -> tensor<?x48xf32>
    %eh = tensor.empty(%n) : tensor<?x32xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x32xf32>)
        -> tensor<?x32xf32>
    %p = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %d : tensor<?x48xf32>, tensor<32x48xf32>)
        outs(%zh : tensor<?x32xf32>) -> tensor<?x32xf32>
    moe.yield %p : tensor<?x32xf32>
  }
  %shared = moe.combine %ya by %all
      : tensor<?x32xf32>, !moe.routing<experts = 1, per_token = 1>
      -> tensor<?x32xf32>
  %y = arith.addf %shared, %routed : tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}
