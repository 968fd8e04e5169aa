// RUN: %python %moe_src_root/test/Pipelines/semantics.py %s

// An expert with a bias and a residual of its own: no GEMM pattern matches it,
// so it runs row by row.

moe.weight @router : tensor<3x16xf32>
    from ["gate.weight"]
moe.weight @up : tensor<3x24x16xf32>
    from ["experts.{0..2}.up"] stack
moe.weight @bias : tensor<3x24xf32>
    from ["experts.{0..2}.bias"] stack
moe.weight @down : tensor<3x16x24xf32>
    from ["experts.{0..2}.down"] stack

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>
#col = affine_map<(m, n) -> (n)>

func.func @mlp(%x: tensor<?x16xf32>) -> tensor<?x16xf32> {
  %wr = moe.get_weight @router : tensor<3x16xf32>
  %wu = moe.get_weight @up : tensor<3x24x16xf32>
  %wb = moe.get_weight @bias : tensor<3x24xf32>
  %wd = moe.get_weight @down : tensor<3x16x24xf32>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x16xf32>, tensor<3x16xf32> -> tensor<?x3xf32>
  %r = moe.route %l policy<score = softmax, top_k = 2>
      : tensor<?x3xf32> -> !moe.routing<experts = 3, per_token = 2>
  %xs = moe.dispatch %x by %r
      : tensor<?x16xf32>, !moe.routing<experts = 3, per_token = 2>
      -> tensor<?x16xf32>
  %ys = moe.experts ins(%xs) weights(%wu, %wb, %wd) by %r
      : (tensor<?x16xf32>, tensor<3x24x16xf32>, tensor<3x24xf32>,
         tensor<3x16x24xf32>), !moe.routing<experts = 3, per_token = 2>
      -> tensor<?x16xf32> {
  ^bb0(%t: tensor<?x16xf32>, %u: tensor<24x16xf32>, %b: tensor<24xf32>,
       %d: tensor<16x24xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x16xf32>
    %ef = tensor.empty(%n) : tensor<?x24xf32>
    %bias = linalg.generic {indexing_maps = [#col, #id],
                            iterator_types = ["parallel", "parallel"]}
        ins(%b : tensor<24xf32>) outs(%ef : tensor<?x24xf32>) {
    ^bb0(%v: f32, %o: f32):
      linalg.yield %v : f32
    } -> tensor<?x24xf32>
    %c = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %u : tensor<?x16xf32>, tensor<24x16xf32>)
        outs(%bias : tensor<?x24xf32>) -> tensor<?x24xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x24xf32>)
        -> tensor<?x24xf32>
    %h = linalg.max ins(%c, %zf : tensor<?x24xf32>, tensor<?x24xf32>)
        outs(%ef : tensor<?x24xf32>) -> tensor<?x24xf32>
    %eh = tensor.empty(%n) : tensor<?x16xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x16xf32>)
        -> tensor<?x16xf32>
    %p = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %d : tensor<?x24xf32>, tensor<16x24xf32>)
        outs(%zh : tensor<?x16xf32>) -> tensor<?x16xf32>
    %y = arith.addf %p, %t : tensor<?x16xf32>
    moe.yield %y : tensor<?x16xf32>
  }
  %y = moe.combine %ys by %r
      : tensor<?x16xf32>, !moe.routing<experts = 3, per_token = 2>
      -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}
