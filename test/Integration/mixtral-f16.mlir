// RUN: %python %moe_src_root/test/Pipelines/semantics.py %s

// A Mixtral block with f16 weights and rows; no size divides by a vector.

moe.weight @router : tensor<5x40xf16>
    from ["gate.weight"]
moe.weight @gate : tensor<5x56x40xf16>
    from ["experts.{0..4}.gate"] stack
moe.weight @up : tensor<5x56x40xf16>
    from ["experts.{0..4}.up"] stack
moe.weight @down : tensor<5x40x56xf16>
    from ["experts.{0..4}.down"] stack

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>

func.func @mlp(%x: tensor<?x40xf16>) -> tensor<?x40xf16> {
  %wr = moe.get_weight @router : tensor<5x40xf16>
  %wg = moe.get_weight @gate : tensor<5x56x40xf16>
  %wu = moe.get_weight @up : tensor<5x56x40xf16>
  %wd = moe.get_weight @down : tensor<5x40x56xf16>
  %l = moe.router_logits ins(%x, %wr) round f16
      : tensor<?x40xf16>, tensor<5x40xf16> -> tensor<?x5xf32>
  %r = moe.route %l policy<score = softmax, top_k = 3, normalize>
      : tensor<?x5xf32> -> !moe.routing<experts = 5, per_token = 3>
  %xs = moe.dispatch %x by %r
      : tensor<?x40xf16>, !moe.routing<experts = 5, per_token = 3>
      -> tensor<?x40xf16>
  %ys = moe.experts ins(%xs) weights(%wg, %wu, %wd) by %r
      : (tensor<?x40xf16>, tensor<5x56x40xf16>, tensor<5x56x40xf16>,
         tensor<5x40x56xf16>), !moe.routing<experts = 5, per_token = 3>
      -> tensor<?x40xf16> {
  ^bb0(%t: tensor<?x40xf16>, %g: tensor<56x40xf16>, %u: tensor<56x40xf16>,
       %d: tensor<40x56xf16>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %one = arith.constant 1.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x40xf16>
    %ef = tensor.empty(%n) : tensor<?x56xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x56xf32>)
        -> tensor<?x56xf32>
    %gate = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %g : tensor<?x40xf16>, tensor<56x40xf16>)
        outs(%zf : tensor<?x56xf32>) -> tensor<?x56xf32>
    %up = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %u : tensor<?x40xf16>, tensor<56x40xf16>)
        outs(%zf : tensor<?x56xf32>) -> tensor<?x56xf32>
    %ea = tensor.empty(%n) : tensor<?x56xf16>
    %h = linalg.generic {indexing_maps = [#id, #id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%gate, %up : tensor<?x56xf32>, tensor<?x56xf32>)
        outs(%ea : tensor<?x56xf16>) {
    ^bb0(%a: f32, %b: f32, %o: f16):
      %neg = arith.negf %a : f32
      %exp = math.exp %neg : f32
      %den = arith.addf %exp, %one : f32
      %silu = arith.divf %a, %den : f32
      %mul = arith.mulf %silu, %b : f32
      %rnd = arith.truncf %mul : f32 to f16
      linalg.yield %rnd : f16
    } -> tensor<?x56xf16>
    %eh = tensor.empty(%n) : tensor<?x40xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x40xf32>)
        -> tensor<?x40xf32>
    %p = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %d : tensor<?x56xf16>, tensor<40x56xf16>)
        outs(%zh : tensor<?x40xf32>) -> tensor<?x40xf32>
    %y = arith.truncf %p : tensor<?x40xf32> to tensor<?x40xf16>
    moe.yield %y : tensor<?x40xf16>
  }
  %y = moe.combine %ys by %r
      : tensor<?x40xf16>, !moe.routing<experts = 5, per_token = 3>
      -> tensor<?x40xf16>
  return %y : tensor<?x40xf16>
}
