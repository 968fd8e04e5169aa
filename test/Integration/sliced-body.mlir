// RUN: %python %moe_src_root/test/Pipelines/semantics.py %s

// An expert that cuts one product into two and takes a softmax over channels:
// it treats rows independently, but no GEMM pattern matches it.

moe.weight @router : tensor<4x16xf32>
    from ["gate.weight"]
moe.weight @gate_up : tensor<4x24x16xf32>
    from ["experts.gate_up_proj"]
moe.weight @down : tensor<4x16x12xf32>
    from ["experts.down_proj"]

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>

func.func @mlp(%x: tensor<?x16xf32>) -> tensor<?x16xf32> {
  %wr = moe.get_weight @router : tensor<4x16xf32>
  %wgu = moe.get_weight @gate_up : tensor<4x24x16xf32>
  %wd = moe.get_weight @down : tensor<4x16x12xf32>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x16xf32>, tensor<4x16xf32> -> tensor<?x4xf32>
  %r = moe.route %l policy<score = softmax, top_k = 2>
      : tensor<?x4xf32> -> !moe.routing<experts = 4, per_token = 2>
  %xs = moe.dispatch %x by %r
      : tensor<?x16xf32>, !moe.routing<experts = 4, per_token = 2>
      -> tensor<?x16xf32>
  %ys = moe.experts ins(%xs) weights(%wgu, %wd) by %r
      : (tensor<?x16xf32>, tensor<4x24x16xf32>, tensor<4x16x12xf32>),
        !moe.routing<experts = 4, per_token = 2> -> tensor<?x16xf32> {
  ^bb0(%t: tensor<?x16xf32>, %gu: tensor<24x16xf32>,
       %d: tensor<16x12xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x16xf32>
    %e2 = tensor.empty(%n) : tensor<?x24xf32>
    %z2 = linalg.fill ins(%zero : f32) outs(%e2 : tensor<?x24xf32>)
        -> tensor<?x24xf32>
    %both = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %gu : tensor<?x16xf32>, tensor<24x16xf32>)
        outs(%z2 : tensor<?x24xf32>) -> tensor<?x24xf32>
    %gate = tensor.extract_slice %both[0, 0] [%n, 12] [1, 1]
        : tensor<?x24xf32> to tensor<?x12xf32>
    %up = tensor.extract_slice %both[0, 12] [%n, 12] [1, 1]
        : tensor<?x24xf32> to tensor<?x12xf32>
    %ef = tensor.empty(%n) : tensor<?x12xf32>
    %p = linalg.softmax dimension(1) ins(%gate : tensor<?x12xf32>)
        outs(%ef : tensor<?x12xf32>) -> tensor<?x12xf32>
    %h = arith.mulf %p, %up : tensor<?x12xf32>
    %eh = tensor.empty(%n) : tensor<?x16xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x16xf32>)
        -> tensor<?x16xf32>
    %o = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %d : tensor<?x12xf32>, tensor<16x12xf32>)
        outs(%zh : tensor<?x16xf32>) -> tensor<?x16xf32>
    moe.yield %o : tensor<?x16xf32>
  }
  %y = moe.combine %ys by %r
      : tensor<?x16xf32>, !moe.routing<experts = 4, per_token = 2>
      -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}
