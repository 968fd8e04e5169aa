// RUN: %python %moe_src_root/test/Pipelines/semantics.py %s

// Experts within experts, written as what they are: the body of an outer expert
// routes its rows among inner experts of its own. One inner weight has a single
// source, the other is flat in the checkpoint.

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>

moe.weight @outer : tensor<3x16xf32> from ["outer"]
moe.weight @inner : tensor<3x4x16xf32> from ["inner"]
moe.weight @up : tensor<3x4x24x16xf32> from ["up"]
moe.weight @down : tensor<12x16x24xf32> from ["down.{0..11}"] stack

func.func @nested(%x: tensor<?x16xf32>) -> tensor<?x16xf32> {
  %wo = moe.get_weight @outer : tensor<3x16xf32>
  %wi = moe.get_weight @inner : tensor<3x4x16xf32>
  %wu = moe.get_weight @up : tensor<3x4x24x16xf32>
  %wf = moe.get_weight @down : tensor<12x16x24xf32>
  %wd = tensor.expand_shape %wf [[0, 1], [2], [3]] output_shape [3, 4, 16, 24]
      : tensor<12x16x24xf32> into tensor<3x4x16x24xf32>
  %l = moe.router_logits ins(%x, %wo)
      : tensor<?x16xf32>, tensor<3x16xf32> -> tensor<?x3xf32>
  %r = moe.route %l policy<top_k = 2, normalize,
                           capacity = factor 1.25 by weight>
      : tensor<?x3xf32> -> !moe.routing<experts = 3, per_token = 2>
  %xs = moe.dispatch %x by %r
      : tensor<?x16xf32>, !moe.routing<experts = 3, per_token = 2>
      -> tensor<?x16xf32>
  %ys = moe.experts ins(%xs) weights(%wi, %wu, %wd) by %r
      : (tensor<?x16xf32>, tensor<3x4x16xf32>, tensor<3x4x24x16xf32>,
         tensor<3x4x16x24xf32>), !moe.routing<experts = 3, per_token = 2>
      -> tensor<?x16xf32> {
  ^bb0(%t: tensor<?x16xf32>, %rw: tensor<4x16xf32>, %iu: tensor<4x24x16xf32>,
       %id: tensor<4x16x24xf32>):
    %il = moe.router_logits ins(%t, %rw)
        : tensor<?x16xf32>, tensor<4x16xf32> -> tensor<?x4xf32>
    %ih = arith.addf %il, %il : tensor<?x4xf32>
    %ir = moe.route %ih policy<top_k = 2, keep = threshold 0.3>
        : tensor<?x4xf32> -> !moe.routing<experts = 4, per_token = 2>
    %xi = moe.dispatch %t by %ir
        : tensor<?x16xf32>, !moe.routing<experts = 4, per_token = 2>
        -> tensor<?x16xf32>
    %yi = moe.experts ins(%xi) weights(%iu, %id) by %ir
        : (tensor<?x16xf32>, tensor<4x24x16xf32>, tensor<4x16x24xf32>),
          !moe.routing<experts = 4, per_token = 2> -> tensor<?x16xf32> {
    ^bb0(%v: tensor<?x16xf32>, %u: tensor<24x16xf32>, %d: tensor<16x24xf32>):
      %c0 = arith.constant 0 : index
      %zero = arith.constant 0.0 : f32
      %n = tensor.dim %v, %c0 : tensor<?x16xf32>
      %ef = tensor.empty(%n) : tensor<?x24xf32>
      %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x24xf32>)
          -> tensor<?x24xf32>
      %h = linalg.matmul indexing_maps = [#act, #wgt, #out]
          ins(%v, %u : tensor<?x16xf32>, tensor<24x16xf32>)
          outs(%zf : tensor<?x24xf32>) -> tensor<?x24xf32>
      %a = math.tanh %h : tensor<?x24xf32>
      %eh = tensor.empty(%n) : tensor<?x16xf32>
      %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x16xf32>)
          -> tensor<?x16xf32>
      %o = linalg.matmul indexing_maps = [#act, #wgt, #out]
          ins(%a, %d : tensor<?x24xf32>, tensor<16x24xf32>)
          outs(%zh : tensor<?x16xf32>) -> tensor<?x16xf32>
      moe.yield %o : tensor<?x16xf32>
    }
    %s = moe.combine %yi by %ir
        : tensor<?x16xf32>, !moe.routing<experts = 4, per_token = 2>
        -> tensor<?x16xf32>
    %z = arith.addf %s, %t : tensor<?x16xf32>
    moe.yield %z : tensor<?x16xf32>
  }
  %y = moe.combine %ys by %r
      : tensor<?x16xf32>, !moe.routing<experts = 3, per_token = 2>
      -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}
