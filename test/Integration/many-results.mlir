// RUN: %python %moe_src_root/test/Pipelines/semantics.py %s

// Results of every kind: rows, rows twice, an input as it is, a weight, counts.

moe.weight @router : tensor<3x16xf32>
    from ["gate.weight"]
moe.weight @gate : tensor<3x24x16xf32>
    from ["experts.{0..2}.gate"] stack
moe.weight @up : tensor<3x24x16xf32>
    from ["experts.{0..2}.up"] stack
moe.weight @down : tensor<3x16x24xf32>
    from ["experts.{0..2}.down"] stack

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>

func.func @mlp(%x: tensor<?x16xf32> {moe.name = "hidden"})
    -> (tensor<?x16xf32> {moe.name = "out"}, tensor<?x16xf32>, tensor<?x16xf32>,
        tensor<3x16xf32>, tensor<3xi64> {moe.name = "counts"}) {
  %wr = moe.get_weight @router : tensor<3x16xf32>
  %wg = moe.get_weight @gate : tensor<3x24x16xf32>
  %wu = moe.get_weight @up : tensor<3x24x16xf32>
  %wd = moe.get_weight @down : tensor<3x16x24xf32>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x16xf32>, tensor<3x16xf32> -> tensor<?x3xf32>
  %r = moe.route %l policy<score = sigmoid, top_k = 1>
      : tensor<?x3xf32> -> !moe.routing<experts = 3, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x16xf32>, !moe.routing<experts = 3, per_token = 1>
      -> tensor<?x16xf32>
  %ys = moe.experts ins(%xs) weights(%wg, %wu, %wd) by %r
      : (tensor<?x16xf32>, tensor<3x24x16xf32>, tensor<3x24x16xf32>,
         tensor<3x16x24xf32>), !moe.routing<experts = 3, per_token = 1>
      -> tensor<?x16xf32> {
  ^bb0(%t: tensor<?x16xf32>, %g: tensor<24x16xf32>, %u: tensor<24x16xf32>,
       %d: tensor<16x24xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %one = arith.constant 1.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x16xf32>
    %ef = tensor.empty(%n) : tensor<?x24xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x24xf32>)
        -> tensor<?x24xf32>
    %gate = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %g : tensor<?x16xf32>, tensor<24x16xf32>)
        outs(%zf : tensor<?x24xf32>) -> tensor<?x24xf32>
    %up = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %u : tensor<?x16xf32>, tensor<24x16xf32>)
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
    %eh = tensor.empty(%n) : tensor<?x16xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x16xf32>)
        -> tensor<?x16xf32>
    %p = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %d : tensor<?x24xf32>, tensor<16x24xf32>)
        outs(%zh : tensor<?x16xf32>) -> tensor<?x16xf32>
    moe.yield %p : tensor<?x16xf32>
  }
  %y = moe.combine %ys by %r
      : tensor<?x16xf32>, !moe.routing<experts = 3, per_token = 1>
      -> tensor<?x16xf32>
  %count = moe.expert_counts %r
      : !moe.routing<experts = 3, per_token = 1> -> tensor<3xi64>
  return %y, %y, %x, %wr, %count
      : tensor<?x16xf32>, tensor<?x16xf32>, tensor<?x16xf32>,
        tensor<3x16xf32>, tensor<3xi64>
}
