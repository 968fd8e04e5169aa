// RUN: %python %moe_src_root/test/Pipelines/semantics.py %s

moe.weight @layers.0.router : tensor<8x64xf32>
    from ["model.layers.0.block_sparse_moe.gate.weight"]
moe.weight @layers.0.gate : tensor<8x96x64xf32>
    from ["model.layers.0.block_sparse_moe.experts.{0..7}.w1.weight"] stack
moe.weight @layers.0.up : tensor<8x96x64xf32>
    from ["model.layers.0.block_sparse_moe.experts.{0..7}.w3.weight"] stack
moe.weight @layers.0.down : tensor<8x64x96xf32>
    from ["model.layers.0.block_sparse_moe.experts.{0..7}.w2.weight"] stack

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>

func.func @layers.0.mlp(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %wr = moe.get_weight @layers.0.router : tensor<8x64xf32>
  %wg = moe.get_weight @layers.0.gate : tensor<8x96x64xf32>
  %wu = moe.get_weight @layers.0.up : tensor<8x96x64xf32>
  %wd = moe.get_weight @layers.0.down : tensor<8x64x96xf32>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x64xf32>, tensor<8x64xf32> -> tensor<?x8xf32>
  %r = moe.route %l policy<score = softmax, top_k = 2, normalize>
      : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 2>
  %xs = moe.dispatch %x by %r
      : tensor<?x64xf32>, !moe.routing<experts = 8, per_token = 2>
      -> tensor<?x64xf32>
  %ys = moe.experts ins(%xs) weights(%wg, %wu, %wd) by %r
      : (tensor<?x64xf32>, tensor<8x96x64xf32>, tensor<8x96x64xf32>,
         tensor<8x64x96xf32>), !moe.routing<experts = 8, per_token = 2>
      -> tensor<?x64xf32> {
  ^bb0(%t: tensor<?x64xf32>, %g: tensor<96x64xf32>, %u: tensor<96x64xf32>,
       %d: tensor<64x96xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %one = arith.constant 1.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x64xf32>
    %ef = tensor.empty(%n) : tensor<?x96xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x96xf32>)
        -> tensor<?x96xf32>
    %gate = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %g : tensor<?x64xf32>, tensor<96x64xf32>)
        outs(%zf : tensor<?x96xf32>) -> tensor<?x96xf32>
    %up = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %u : tensor<?x64xf32>, tensor<96x64xf32>)
        outs(%zf : tensor<?x96xf32>) -> tensor<?x96xf32>
    %h = linalg.generic {indexing_maps = [#id, #id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%gate, %up : tensor<?x96xf32>, tensor<?x96xf32>)
        outs(%ef : tensor<?x96xf32>) {
    ^bb0(%a: f32, %b: f32, %o: f32):
      %neg = arith.negf %a : f32
      %exp = math.exp %neg : f32
      %den = arith.addf %exp, %one : f32
      %sig = arith.divf %one, %den : f32
      %silu = arith.mulf %a, %sig : f32
      %act = arith.mulf %silu, %b : f32
      linalg.yield %act : f32
    } -> tensor<?x96xf32>
    %eh = tensor.empty(%n) : tensor<?x64xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x64xf32>)
        -> tensor<?x64xf32>
    %o = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %d : tensor<?x96xf32>, tensor<64x96xf32>)
        outs(%zh : tensor<?x64xf32>) -> tensor<?x64xf32>
    moe.yield %o : tensor<?x64xf32>
  }
  %y = moe.combine %ys by %r
      : tensor<?x64xf32>, !moe.routing<experts = 8, per_token = 2>
      -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
