// RUN: %python %moe_src_root/test/Pipelines/semantics.py %s

// Two sets of experts follow one routing decision, and code on the rows of
// pairs stands between dispatch, experts and combine.

moe.weight @router : tensor<5x16xf32>
    from ["gate.weight"]
moe.weight @a.gate : tensor<5x12x16xf32>
    from ["a.experts.{0..4}.gate"] stack
moe.weight @a.up : tensor<5x12x16xf32>
    from ["a.experts.{0..4}.up"] stack
moe.weight @a.down : tensor<5x16x12xf32>
    from ["a.experts.{0..4}.down"] stack
moe.weight @b.gate : tensor<5x12x16xf32>
    from ["b.experts.{0..4}.gate"] stack
moe.weight @b.up : tensor<5x12x16xf32>
    from ["b.experts.{0..4}.up"] stack
moe.weight @b.down : tensor<5x16x12xf32>
    from ["b.experts.{0..4}.down"] stack

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>

func.func @mlp(%x: tensor<?x16xf32>) -> tensor<?x16xf32> {
  %wr = moe.get_weight @router : tensor<5x16xf32>
  %wag = moe.get_weight @a.gate : tensor<5x12x16xf32>
  %wau = moe.get_weight @a.up : tensor<5x12x16xf32>
  %wad = moe.get_weight @a.down : tensor<5x16x12xf32>
  %wbg = moe.get_weight @b.gate : tensor<5x12x16xf32>
  %wbu = moe.get_weight @b.up : tensor<5x12x16xf32>
  %wbd = moe.get_weight @b.down : tensor<5x16x12xf32>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x16xf32>, tensor<5x16xf32> -> tensor<?x5xf32>
  %r = moe.route %l policy<score = softmax, top_k = 2, normalize>
      : tensor<?x5xf32> -> !moe.routing<experts = 5, per_token = 2>
  %xs = moe.dispatch %x by %r
      : tensor<?x16xf32>, !moe.routing<experts = 5, per_token = 2>
      -> tensor<?x16xf32>
  %ya = moe.experts ins(%xs) weights(%wag, %wau, %wad) by %r
      : (tensor<?x16xf32>, tensor<5x12x16xf32>, tensor<5x12x16xf32>,
         tensor<5x16x12xf32>), !moe.routing<experts = 5, per_token = 2>
      -> tensor<?x16xf32> {
  ^bb0(%t: tensor<?x16xf32>, %g: tensor<12x16xf32>, %u: tensor<12x16xf32>,
       %d: tensor<16x12xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %one = arith.constant 1.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x16xf32>
    %ef = tensor.empty(%n) : tensor<?x12xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x12xf32>)
        -> tensor<?x12xf32>
    %gate = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %g : tensor<?x16xf32>, tensor<12x16xf32>)
        outs(%zf : tensor<?x12xf32>) -> tensor<?x12xf32>
    %up = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %u : tensor<?x16xf32>, tensor<12x16xf32>)
        outs(%zf : tensor<?x12xf32>) -> tensor<?x12xf32>
    %h = linalg.generic {indexing_maps = [#id, #id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%gate, %up : tensor<?x12xf32>, tensor<?x12xf32>)
        outs(%ef : tensor<?x12xf32>) {
    ^bb0(%a: f32, %b: f32, %o: f32):
      %neg = arith.negf %a : f32
      %exp = math.exp %neg : f32
      %den = arith.addf %exp, %one : f32
      %silu = arith.divf %a, %den : f32
      %mul = arith.mulf %silu, %b : f32
      linalg.yield %mul : f32
    } -> tensor<?x12xf32>
    %eh = tensor.empty(%n) : tensor<?x16xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x16xf32>)
        -> tensor<?x16xf32>
    %p = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %d : tensor<?x12xf32>, tensor<16x12xf32>)
        outs(%zh : tensor<?x16xf32>) -> tensor<?x16xf32>
    moe.yield %p : tensor<?x16xf32>
  }
  %xt = math.tanh %xs : tensor<?x16xf32>
  %yb = moe.experts ins(%xt) weights(%wbg, %wbu, %wbd) by %r
      : (tensor<?x16xf32>, tensor<5x12x16xf32>, tensor<5x12x16xf32>,
         tensor<5x16x12xf32>), !moe.routing<experts = 5, per_token = 2>
      -> tensor<?x16xf32> {
  ^bb0(%t: tensor<?x16xf32>, %g: tensor<12x16xf32>, %u: tensor<12x16xf32>,
       %d: tensor<16x12xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %one = arith.constant 1.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x16xf32>
    %ef = tensor.empty(%n) : tensor<?x12xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x12xf32>)
        -> tensor<?x12xf32>
    %gate = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %g : tensor<?x16xf32>, tensor<12x16xf32>)
        outs(%zf : tensor<?x12xf32>) -> tensor<?x12xf32>
    %up = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %u : tensor<?x16xf32>, tensor<12x16xf32>)
        outs(%zf : tensor<?x12xf32>) -> tensor<?x12xf32>
    %h = linalg.generic {indexing_maps = [#id, #id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%gate, %up : tensor<?x12xf32>, tensor<?x12xf32>)
        outs(%ef : tensor<?x12xf32>) {
    ^bb0(%a: f32, %b: f32, %o: f32):
      %neg = arith.negf %a : f32
      %exp = math.exp %neg : f32
      %den = arith.addf %exp, %one : f32
      %silu = arith.divf %a, %den : f32
      %mul = arith.mulf %silu, %b : f32
      linalg.yield %mul : f32
    } -> tensor<?x12xf32>
    %eh = tensor.empty(%n) : tensor<?x16xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x16xf32>)
        -> tensor<?x16xf32>
    %p = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %d : tensor<?x12xf32>, tensor<16x12xf32>)
        outs(%zh : tensor<?x16xf32>) -> tensor<?x16xf32>
    moe.yield %p : tensor<?x16xf32>
  }
  %sum = arith.addf %ya, %yb : tensor<?x16xf32>
  %res = arith.addf %sum, %xs : tensor<?x16xf32>
  %y = moe.combine %res by %r
      : tensor<?x16xf32>, !moe.routing<experts = 5, per_token = 2>
      -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}
