// RUN: %python %moe_src_root/test/Pipelines/semantics.py %s

// Experts of two sizes and one that does nothing share a routing whose weights
// multiply what experts read, beside a shared expert: one GEMM of three parts and
// one sum of four.

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>

!all = !moe.routing<experts = 7, per_token = 3>
!small = !moe.routing<experts = 4, per_token = 3>
!large = !moe.routing<experts = 2, per_token = 2>
!none = !moe.routing<experts = 1, per_token = 1>
!shared = !moe.routing<experts = 1, per_token = 1>

moe.weight @router : tensor<7x16xf32> from ["router"]
moe.weight @small_up : tensor<4x8x16xf32> from ["small.up"]
moe.weight @small_down : tensor<4x16x8xf32> from ["small.down"]
moe.weight @large_up : tensor<2x40x16xf32> from ["large.up"]
moe.weight @large_down : tensor<2x16x40xf32> from ["large.down"]
moe.weight @shared_up : tensor<1x24x16xf32> from ["shared.up"]
moe.weight @shared_down : tensor<1x16x24xf32> from ["shared.down"]

func.func @parts(%x: tensor<?x16xf32>) -> tensor<?x16xf32> {
  %wr = moe.get_weight @router : tensor<7x16xf32>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x16xf32>, tensor<7x16xf32> -> tensor<?x7xf32>
  %r = moe.route %l policy<score = sigmoid, top_k = 3>
      : tensor<?x7xf32> -> !all
  %large = moe.restrict %r [4, 6] : !all -> !large
  %large_u = moe.get_weight @large_up : tensor<2x40x16xf32>
  %large_d = moe.get_weight @large_down : tensor<2x16x40xf32>
  %large_x = moe.dispatch %x by %large weighted
      : tensor<?x16xf32>, !large -> tensor<?x16xf32>
  %large_y = moe.experts ins(%large_x) weights(%large_u, %large_d) by %large
      : (tensor<?x16xf32>, tensor<2x40x16xf32>, tensor<2x16x40xf32>),
        !large -> tensor<?x16xf32> {
  ^bb0(%t: tensor<?x16xf32>, %u: tensor<40x16xf32>, %d: tensor<16x40xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x16xf32>
    %ef = tensor.empty(%n) : tensor<?x40xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x40xf32>)
        -> tensor<?x40xf32>
    %h = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %u : tensor<?x16xf32>, tensor<40x16xf32>)
        outs(%zf : tensor<?x40xf32>) -> tensor<?x40xf32>
    %a = math.tanh %h : tensor<?x40xf32>
    %eh = tensor.empty(%n) : tensor<?x16xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x16xf32>)
        -> tensor<?x16xf32>
    %o = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%a, %d : tensor<?x40xf32>, tensor<16x40xf32>)
        outs(%zh : tensor<?x16xf32>) -> tensor<?x16xf32>
    moe.yield %o : tensor<?x16xf32>
  }
  %large_s = moe.combine %large_y by %large unweighted
      : tensor<?x16xf32>, !large -> tensor<?x16xf32>
  %small = moe.restrict %r [0, 4] : !all -> !small
  %small_u = moe.get_weight @small_up : tensor<4x8x16xf32>
  %small_d = moe.get_weight @small_down : tensor<4x16x8xf32>
  %small_x = moe.dispatch %x by %small weighted
      : tensor<?x16xf32>, !small -> tensor<?x16xf32>
  %small_y = moe.experts ins(%small_x) weights(%small_u, %small_d) by %small
      : (tensor<?x16xf32>, tensor<4x8x16xf32>, tensor<4x16x8xf32>),
        !small -> tensor<?x16xf32> {
  ^bb0(%t: tensor<?x16xf32>, %u: tensor<8x16xf32>, %d: tensor<16x8xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x16xf32>
    %ef = tensor.empty(%n) : tensor<?x8xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x8xf32>)
        -> tensor<?x8xf32>
    %h = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %u : tensor<?x16xf32>, tensor<8x16xf32>)
        outs(%zf : tensor<?x8xf32>) -> tensor<?x8xf32>
    %a = math.tanh %h : tensor<?x8xf32>
    %eh = tensor.empty(%n) : tensor<?x16xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x16xf32>)
        -> tensor<?x16xf32>
    %o = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%a, %d : tensor<?x8xf32>, tensor<16x8xf32>)
        outs(%zh : tensor<?x16xf32>) -> tensor<?x16xf32>
    moe.yield %o : tensor<?x16xf32>
  }
  %small_s = moe.combine %small_y by %small unweighted
      : tensor<?x16xf32>, !small -> tensor<?x16xf32>
  %none = moe.restrict %r [6, 7] : !all -> !none
  %none_x = moe.dispatch %x by %none : tensor<?x16xf32>, !none
      -> tensor<?x16xf32>
  %none_s = moe.combine %none_x by %none
      : tensor<?x16xf32>, !none -> tensor<?x16xf32>
  %shared = moe.assign_all %x : tensor<?x16xf32> -> !shared
  %shared_u = moe.get_weight @shared_up : tensor<1x24x16xf32>
  %shared_d = moe.get_weight @shared_down : tensor<1x16x24xf32>
  %shared_x = moe.dispatch %x by %shared
      : tensor<?x16xf32>, !shared -> tensor<?x16xf32>
  %shared_y = moe.experts ins(%shared_x) weights(%shared_u, %shared_d)
      by %shared
      : (tensor<?x16xf32>, tensor<1x24x16xf32>, tensor<1x16x24xf32>),
        !shared -> tensor<?x16xf32> {
  ^bb0(%t: tensor<?x16xf32>, %u: tensor<24x16xf32>, %d: tensor<16x24xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x16xf32>
    %ef = tensor.empty(%n) : tensor<?x24xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x24xf32>)
        -> tensor<?x24xf32>
    %h = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %u : tensor<?x16xf32>, tensor<24x16xf32>)
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
  %shared_s = moe.combine %shared_y by %shared
      : tensor<?x16xf32>, !shared -> tensor<?x16xf32>
  %a = arith.addf %large_s, %small_s : tensor<?x16xf32>
  %b = arith.addf %none_s, %shared_s : tensor<?x16xf32>
  %y = arith.addf %a, %b : tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}
