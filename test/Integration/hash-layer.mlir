// RUN: %python %moe_src_root/test/Pipelines/semantics.py %s

// A hash layer: the experts of a token follow from its number in the
// vocabulary, with constant weights.

moe.weight @gate : tensor<7x20x16xf32>
    from ["experts.{0..6}.gate"] stack
moe.weight @up : tensor<7x20x16xf32>
    from ["experts.{0..6}.up"] stack
moe.weight @down : tensor<7x16x20xf32>
    from ["experts.{0..6}.down"] stack

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>
#row = affine_map<(m, n) -> (m)>

func.func @mlp(%x: tensor<?x16xf32>, %token: tensor<?xi32>)
    -> (tensor<?x16xf32>, tensor<7xi64>) {
  %i0 = arith.constant 0 : index
  %experts = arith.constant 7 : i32
  %half = arith.constant 0.5 : f32
  %wg = moe.get_weight @gate : tensor<7x20x16xf32>
  %wu = moe.get_weight @up : tensor<7x20x16xf32>
  %wd = moe.get_weight @down : tensor<7x16x20xf32>
  %num = tensor.dim %token, %i0 : tensor<?xi32>
  %ei = tensor.empty(%num) : tensor<?x2xi32>
  %ids = linalg.generic {indexing_maps = [#row, #id],
                         iterator_types = ["parallel", "parallel"]}
      ins(%token : tensor<?xi32>) outs(%ei : tensor<?x2xi32>) {
  ^bb0(%a: i32, %o: i32):
    %j = linalg.index 1 : index
    %j32 = arith.index_cast %j : index to i32
    %s = arith.addi %a, %j32 : i32
    %e = arith.remui %s, %experts : i32
    linalg.yield %e : i32
  } -> tensor<?x2xi32>
  %ew = tensor.empty(%num) : tensor<?x2xf32>
  %w = linalg.fill ins(%half : f32) outs(%ew : tensor<?x2xf32>)
      -> tensor<?x2xf32>
  %r = moe.assign %ids, %w
      : tensor<?x2xi32>, tensor<?x2xf32>
      -> !moe.routing<experts = 7, per_token = 2>
  %xs = moe.dispatch %x by %r
      : tensor<?x16xf32>, !moe.routing<experts = 7, per_token = 2>
      -> tensor<?x16xf32>
  %ys = moe.experts ins(%xs) weights(%wg, %wu, %wd) by %r
      : (tensor<?x16xf32>, tensor<7x20x16xf32>, tensor<7x20x16xf32>,
         tensor<7x16x20xf32>), !moe.routing<experts = 7, per_token = 2>
      -> tensor<?x16xf32> {
  ^bb0(%t: tensor<?x16xf32>, %g: tensor<20x16xf32>, %u: tensor<20x16xf32>,
       %d: tensor<16x20xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %one = arith.constant 1.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x16xf32>
    %ef = tensor.empty(%n) : tensor<?x20xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x20xf32>)
        -> tensor<?x20xf32>
    %gate = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %g : tensor<?x16xf32>, tensor<20x16xf32>)
        outs(%zf : tensor<?x20xf32>) -> tensor<?x20xf32>
    %up = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %u : tensor<?x16xf32>, tensor<20x16xf32>)
        outs(%zf : tensor<?x20xf32>) -> tensor<?x20xf32>
    %h = linalg.generic {indexing_maps = [#id, #id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%gate, %up : tensor<?x20xf32>, tensor<?x20xf32>)
        outs(%ef : tensor<?x20xf32>) {
    ^bb0(%a: f32, %b: f32, %o: f32):
      %neg = arith.negf %a : f32
      %exp = math.exp %neg : f32
      %den = arith.addf %exp, %one : f32
      %silu = arith.divf %a, %den : f32
      %mul = arith.mulf %silu, %b : f32
      linalg.yield %mul : f32
    } -> tensor<?x20xf32>
    %eh = tensor.empty(%n) : tensor<?x16xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x16xf32>)
        -> tensor<?x16xf32>
    %p = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %d : tensor<?x20xf32>, tensor<16x20xf32>)
        outs(%zh : tensor<?x16xf32>) -> tensor<?x16xf32>
    moe.yield %p : tensor<?x16xf32>
  }
  %y = moe.combine %ys by %r
      : tensor<?x16xf32>, !moe.routing<experts = 7, per_token = 2>
      -> tensor<?x16xf32>
  %count = moe.expert_counts %r
      : !moe.routing<experts = 7, per_token = 2> -> tensor<7xi64>
  return %y, %count : tensor<?x16xf32>, tensor<7xi64>
}
