// RUN: moe-opt %s -moe-flatten-experts -split-input-file | FileCheck %s
// RUN: moe-opt %s -pass-pipeline='builtin.module(moe-graph,moe-routed)' \
// RUN:   -split-input-file | FileCheck %s --check-prefix=ROUTED

// CHECK: moe.weight @inner : tensor<3x2x4x4xf32>
// CHECK: moe.weight @inner.joined : tensor<6x4x4xf32> from ["inner"] stored [3, 2, 4, 4]
moe.weight @router : tensor<3x2x4xf32> from ["router"]
moe.weight @inner : tensor<3x2x4x4xf32> from ["inner"]
moe.weight @flat : tensor<6x4x4xf32> from ["flat.{0..5}"] stack

// CHECK-LABEL: func @nested
// CHECK: %[[R:[^ ,:]+]] = moe.route %{{.*}} policy<score = softmax, top_k = 2>
// CHECK: %[[XS:[^ ,:]+]] = moe.dispatch %{{.*}} by %[[R]]
// CHECK: %[[L:[^ ,:]+]] = moe.grouped_logits ins(%[[XS]], %{{.*}}) by %[[R]]
// CHECK: %[[H:[^ ,:]+]] = arith.addf %[[L]], %[[L]]
// CHECK: %[[I:[^ ,:]+]] = moe.route %[[H]] policy<score = softmax, top_k = 1>
// CHECK: %[[N:[^ ,:]+]] = moe.nest %[[I]] in %[[R]]
// CHECK-SAME: -> !moe.routing<experts = 6, per_token = 1>
// CHECK: %[[XI:[^ ,:]+]] = moe.dispatch %[[XS]] by %[[N]]
// CHECK: %[[W:[^ ,:]+]] = moe.get_weight @inner.joined
// CHECK: %[[YI:[^ ,:]+]] = moe.experts ins(%[[XI]]) weights(%[[W]], %{{.*}}) by %[[N]]
// CHECK-SAME: tensor<6x4x4xf32>, tensor<6x4x4xf32>
// CHECK: ^bb0(%{{.*}}: tensor<?x4xf32>, %{{.*}}: tensor<4x4xf32>, %{{.*}}: tensor<4x4xf32>):
// CHECK: %[[YS:[^ ,:]+]] = moe.combine %[[YI]] by %[[N]]
// CHECK: %[[Z:[^ ,:]+]] = arith.addf %[[YS]], %[[XS]]
// CHECK: moe.combine %[[Z]] by %[[R]]

// Rows of the outer routing are what inner tokens are.
// ROUTED-LABEL: func @nested
// ROUTED: %[[EO:[^ ,:]+]], %[[RT:[^ ,:]+]], %{{.*}} = moe.group_rows
// ROUTED: %[[XS:[^ ,:]+]] = moe.gather_rows %{{.*}}[%[[RT]]]
// ROUTED: moe.row_logits ins(%[[XS]], {{.*}} offsets(%[[EO]])
// ROUTED: moe.map_rows {{.*}} offsets(%[[EO]]
// ROUTED: moe.nest_ids
// ROUTED: %[[IEO:[^ ,:]+]], %[[IRT:[^ ,:]+]], %{{.*}} = moe.group_rows {{.*}} -> tensor<7xi32>
// ROUTED: moe.grouped_ffn ins(%[[XS]] : {{.*}}) offsets(%[[IEO]] : {{.*}}) tokens(%[[IRT]] :
// ROUTED: moe.combine_rows
// ROUTED: moe.combine_rows
func.func @nested(%x: tensor<?x4xf32>, %l: tensor<?x3xf32>)
    -> tensor<?x4xf32> {
  %wr = moe.get_weight @router : tensor<3x2x4xf32>
  %wi = moe.get_weight @inner : tensor<3x2x4x4xf32>
  %wf = moe.get_weight @flat : tensor<6x4x4xf32>
  %we = tensor.expand_shape %wf [[0, 1], [2], [3]] output_shape [3, 2, 4, 4]
      : tensor<6x4x4xf32> into tensor<3x2x4x4xf32>
  %r = moe.route %l policy<top_k = 2>
      : tensor<?x3xf32> -> !moe.routing<experts = 3, per_token = 2>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 3, per_token = 2>
      -> tensor<?x4xf32>
  %ys = moe.experts ins(%xs) weights(%wr, %wi, %we) by %r
      : (tensor<?x4xf32>, tensor<3x2x4xf32>, tensor<3x2x4x4xf32>,
         tensor<3x2x4x4xf32>), !moe.routing<experts = 3, per_token = 2>
      -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>, %a: tensor<2x4xf32>, %b: tensor<2x4x4xf32>,
       %c: tensor<2x4x4xf32>):
    %il = moe.router_logits ins(%t, %a)
        : tensor<?x4xf32>, tensor<2x4xf32> -> tensor<?x2xf32>
    %ih = arith.addf %il, %il : tensor<?x2xf32>
    %ir = moe.route %ih policy<top_k = 1>
        : tensor<?x2xf32> -> !moe.routing<experts = 2, per_token = 1>
    %xi = moe.dispatch %t by %ir
        : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
        -> tensor<?x4xf32>
    %yi = moe.experts ins(%xi) weights(%b, %c) by %ir
        : (tensor<?x4xf32>, tensor<2x4x4xf32>, tensor<2x4x4xf32>),
          !moe.routing<experts = 2, per_token = 1> -> tensor<?x4xf32> {
    ^bb0(%u: tensor<?x4xf32>, %d: tensor<4x4xf32>, %e: tensor<4x4xf32>):
      %c0 = arith.constant 0 : index
      %zero = arith.constant 0.0 : f32
      %n = tensor.dim %u, %c0 : tensor<?x4xf32>
      %empty = tensor.empty(%n) : tensor<?x4xf32>
      %init = linalg.fill ins(%zero : f32) outs(%empty : tensor<?x4xf32>)
          -> tensor<?x4xf32>
      %p = linalg.matmul indexing_maps = [
          affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>,
          affine_map<(m, n, k) -> (m, n)>]
          ins(%u, %d : tensor<?x4xf32>, tensor<4x4xf32>)
          outs(%init : tensor<?x4xf32>) -> tensor<?x4xf32>
      %h = math.tanh %p : tensor<?x4xf32>
      %q = linalg.matmul indexing_maps = [
          affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>,
          affine_map<(m, n, k) -> (m, n)>]
          ins(%h, %e : tensor<?x4xf32>, tensor<4x4xf32>)
          outs(%init : tensor<?x4xf32>) -> tensor<?x4xf32>
      moe.yield %q : tensor<?x4xf32>
    }
    %o = moe.combine %yi by %ir
        : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
        -> tensor<?x4xf32>
    %z = arith.addf %o, %t : tensor<?x4xf32>
    moe.yield %z : tensor<?x4xf32>
  }
  %y = moe.combine %ys by %r
      : tensor<?x4xf32>, !moe.routing<experts = 3, per_token = 2>
      -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
