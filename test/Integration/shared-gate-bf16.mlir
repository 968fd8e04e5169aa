// RUN: %python %moe_src_root/test/Pipelines/semantics.py %s

// A Qwen2 block: the shared expert is weighted by the sigmoid of a product of
// each token with a vector, and added in bf16.

moe.weight @router : tensor<6x40xbf16>
    from ["gate.weight"]
moe.weight @shared_gate : tensor<1x40xbf16>
    from ["shared_expert_gate.weight"]
moe.weight @gate : tensor<6x24x40xbf16>
    from ["experts.{0..5}.gate"] stack
moe.weight @up : tensor<6x24x40xbf16>
    from ["experts.{0..5}.up"] stack
moe.weight @down : tensor<6x40x24xbf16>
    from ["experts.{0..5}.down"] stack
moe.weight @shared.gate : tensor<1x72x40xbf16>
    from ["shared.experts.{0..0}.gate"] stack
moe.weight @shared.up : tensor<1x72x40xbf16>
    from ["shared.experts.{0..0}.up"] stack
moe.weight @shared.down : tensor<1x40x72xbf16>
    from ["shared.experts.{0..0}.down"] stack

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>

func.func @mlp(%x: tensor<?x40xbf16>) -> tensor<?x40xbf16> {
  %i0 = arith.constant 0 : index
  %f0 = arith.constant 0.0 : f32
  %f1 = arith.constant 1.0 : f32
  %wr = moe.get_weight @router : tensor<6x40xbf16>
  %wsel = moe.get_weight @shared_gate : tensor<1x40xbf16>
  %wg = moe.get_weight @gate : tensor<6x24x40xbf16>
  %wu = moe.get_weight @up : tensor<6x24x40xbf16>
  %wd = moe.get_weight @down : tensor<6x40x24xbf16>
  %wsg = moe.get_weight @shared.gate : tensor<1x72x40xbf16>
  %wsu = moe.get_weight @shared.up : tensor<1x72x40xbf16>
  %wsd = moe.get_weight @shared.down : tensor<1x40x72xbf16>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x40xbf16>, tensor<6x40xbf16> -> tensor<?x6xf32>
  %r = moe.route %l policy<score = softmax, top_k = 2>
      : tensor<?x6xf32> -> !moe.routing<experts = 6, per_token = 2>
  %xs = moe.dispatch %x by %r
      : tensor<?x40xbf16>, !moe.routing<experts = 6, per_token = 2>
      -> tensor<?x40xbf16>
  %ys = moe.experts ins(%xs) weights(%wg, %wu, %wd) by %r
      : (tensor<?x40xbf16>, tensor<6x24x40xbf16>, tensor<6x24x40xbf16>,
         tensor<6x40x24xbf16>), !moe.routing<experts = 6, per_token = 2>
      -> tensor<?x40xbf16> {
  ^bb0(%t: tensor<?x40xbf16>, %g: tensor<24x40xbf16>, %u: tensor<24x40xbf16>,
       %d: tensor<40x24xbf16>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %one = arith.constant 1.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x40xbf16>
    %ef = tensor.empty(%n) : tensor<?x24xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x24xf32>)
        -> tensor<?x24xf32>
    %gate = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %g : tensor<?x40xbf16>, tensor<24x40xbf16>)
        outs(%zf : tensor<?x24xf32>) -> tensor<?x24xf32>
    %up = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %u : tensor<?x40xbf16>, tensor<24x40xbf16>)
        outs(%zf : tensor<?x24xf32>) -> tensor<?x24xf32>
    %ea = tensor.empty(%n) : tensor<?x24xbf16>
    %h = linalg.generic {indexing_maps = [#id, #id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%gate, %up : tensor<?x24xf32>, tensor<?x24xf32>)
        outs(%ea : tensor<?x24xbf16>) {
    ^bb0(%a: f32, %b: f32, %o: bf16):
      %neg = arith.negf %a : f32
      %exp = math.exp %neg : f32
      %den = arith.addf %exp, %one : f32
      %silu = arith.divf %a, %den : f32
      %mul = arith.mulf %silu, %b : f32
      %rnd = arith.truncf %mul : f32 to bf16
      linalg.yield %rnd : bf16
    } -> tensor<?x24xbf16>
    %eh = tensor.empty(%n) : tensor<?x40xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x40xf32>)
        -> tensor<?x40xf32>
    %p = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %d : tensor<?x24xbf16>, tensor<40x24xbf16>)
        outs(%zh : tensor<?x40xf32>) -> tensor<?x40xf32>
    %y = arith.truncf %p : tensor<?x40xf32> to tensor<?x40xbf16>
    moe.yield %y : tensor<?x40xbf16>
  }
  %routed = moe.combine %ys by %r
      : tensor<?x40xbf16>, !moe.routing<experts = 6, per_token = 2>
      -> tensor<?x40xbf16>
  %num = tensor.dim %x, %i0 : tensor<?x40xbf16>
  %e1 = tensor.empty(%num) : tensor<?x1xf32>
  %z1 = linalg.fill ins(%f0 : f32) outs(%e1 : tensor<?x1xf32>)
      -> tensor<?x1xf32>
  %dot = linalg.matmul indexing_maps = [#act, #wgt, #out]
      ins(%x, %wsel : tensor<?x40xbf16>, tensor<1x40xbf16>)
      outs(%z1 : tensor<?x1xf32>) -> tensor<?x1xf32>
  %sig = linalg.generic {indexing_maps = [#id, #id],
                         iterator_types = ["parallel", "parallel"]}
      ins(%dot : tensor<?x1xf32>) outs(%e1 : tensor<?x1xf32>) {
  ^bb0(%a: f32, %o: f32):
    %neg = arith.negf %a : f32
    %exp = math.exp %neg : f32
    %den = arith.addf %exp, %f1 : f32
    %s = arith.divf %f1, %den : f32
    linalg.yield %s : f32
  } -> tensor<?x1xf32>
  %all = moe.assign_all %x weights(%sig)
      : tensor<?x40xbf16>, tensor<?x1xf32>
      -> !moe.routing<experts = 1, per_token = 1>
  %xa = moe.dispatch %x by %all
      : tensor<?x40xbf16>, !moe.routing<experts = 1, per_token = 1>
      -> tensor<?x40xbf16>
  %ya = moe.experts ins(%xa) weights(%wsg, %wsu, %wsd) by %all
      : (tensor<?x40xbf16>, tensor<1x72x40xbf16>, tensor<1x72x40xbf16>,
         tensor<1x40x72xbf16>), !moe.routing<experts = 1, per_token = 1>
      -> tensor<?x40xbf16> {
  ^bb0(%t: tensor<?x40xbf16>, %g: tensor<72x40xbf16>, %u: tensor<72x40xbf16>,
       %d: tensor<40x72xbf16>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %one = arith.constant 1.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x40xbf16>
    %ef = tensor.empty(%n) : tensor<?x72xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x72xf32>)
        -> tensor<?x72xf32>
    %gate = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %g : tensor<?x40xbf16>, tensor<72x40xbf16>)
        outs(%zf : tensor<?x72xf32>) -> tensor<?x72xf32>
    %up = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %u : tensor<?x40xbf16>, tensor<72x40xbf16>)
        outs(%zf : tensor<?x72xf32>) -> tensor<?x72xf32>
    %ea = tensor.empty(%n) : tensor<?x72xbf16>
    %h = linalg.generic {indexing_maps = [#id, #id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%gate, %up : tensor<?x72xf32>, tensor<?x72xf32>)
        outs(%ea : tensor<?x72xbf16>) {
    ^bb0(%a: f32, %b: f32, %o: bf16):
      %neg = arith.negf %a : f32
      %exp = math.exp %neg : f32
      %den = arith.addf %exp, %one : f32
      %silu = arith.divf %a, %den : f32
      %mul = arith.mulf %silu, %b : f32
      %rnd = arith.truncf %mul : f32 to bf16
      linalg.yield %rnd : bf16
    } -> tensor<?x72xbf16>
    %eh = tensor.empty(%n) : tensor<?x40xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x40xf32>)
        -> tensor<?x40xf32>
    %p = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %d : tensor<?x72xbf16>, tensor<40x72xbf16>)
        outs(%zh : tensor<?x40xf32>) -> tensor<?x40xf32>
    %y = arith.truncf %p : tensor<?x40xf32> to tensor<?x40xbf16>
    moe.yield %y : tensor<?x40xbf16>
  }
  %shared = moe.combine %ya by %all
      : tensor<?x40xbf16>, !moe.routing<experts = 1, per_token = 1>
      -> tensor<?x40xbf16>
  %ey = tensor.empty(%num) : tensor<?x40xbf16>
  %y = linalg.generic {indexing_maps = [#id, #id, #id],
                       iterator_types = ["parallel", "parallel"]}
      ins(%routed, %shared : tensor<?x40xbf16>, tensor<?x40xbf16>)
      outs(%ey : tensor<?x40xbf16>) {
  ^bb0(%a: bf16, %b: bf16, %o: bf16):
    %a32 = arith.extf %a : bf16 to f32
    %b32 = arith.extf %b : bf16 to f32
    %s = arith.addf %a32, %b32 : f32
    %s16 = arith.truncf %s : f32 to bf16
    linalg.yield %s16 : bf16
  } -> tensor<?x40xbf16>
  return %y : tensor<?x40xbf16>
}
