// RUN: moe-opt %s | moe-opt | FileCheck %s
// RUN: moe-opt %s --mlir-print-op-generic | moe-opt | FileCheck %s
// RUN: moe-opt %s --emit-bytecode | moe-opt | FileCheck %s

// CHECK: moe.weight @router : tensor<8x64xf32> from ["gate.weight"]
moe.weight @router : tensor<8x64xf32> from ["gate.weight"]
// CHECK: moe.weight @stacked : tensor<8x96x64xbf16> from ["experts.{0..7}.w1.weight"] stack
moe.weight @stacked : tensor<8x96x64xbf16>
    from ["experts.{0..7}.w1.weight"] stack
// Several patterns may make up one stack.
// CHECK: moe.weight @mixed : tensor<4x2xf16> from ["a", "b.{8..10}"] stack
moe.weight @mixed : tensor<4x2xf16> from ["a", "b.{8..10}"] stack
// CHECK: moe.weight @split : tensor<8x96x64xbf16> from ["gate_up"] transpose split [2, 96, 192, 1, 192]
moe.weight @split : tensor<8x96x64xbf16> from ["gate_up"] transpose
    split [2, 96, 192, 1, 192]
// Every second row.
// CHECK: moe.weight @strided : tensor<4x2xf32> from ["w"] split [0, 1, 9, 2, 10] {moe.note = 1 : i64}
moe.weight @strided : tensor<4x2xf32> from ["w"] split [0, 1, 9, 2, 10]
    {moe.note = 1}

// Codes with scales beside them: two to a byte, in blocks, any.
// CHECK: moe.weight @mxfp4 : tensor<8x96x64xbf16> from ["blocks"] encoding mxfp4 scales ["scales"] stored [8, 192, 2, 16] split [1, 0, 192, 2, 192]
moe.weight @mxfp4 : tensor<8x96x64xbf16> from ["blocks"]
    encoding mxfp4 scales ["scales"] stored [8, 192, 2, 16]
    split [1, 0, 192, 2, 192]
// CHECK: moe.weight @fp8 : tensor<4x96x64xbf16> from ["e.{0..3}.w"] encoding fp8_block scales ["e.{0..3}.w_scale_inv"] block [128, 128] stack
moe.weight @fp8 : tensor<4x96x64xbf16> from ["e.{0..3}.w"]
    encoding fp8_block scales ["e.{0..3}.w_scale_inv"] block [128, 128] stack
// CHECK: moe.weight @int8 : tensor<96x64xf16> from ["w"] encoding int8_scaled scales ["s"] transpose
moe.weight @int8 : tensor<96x64xf16> from ["w"] encoding int8_scaled scales ["s"] transpose
// A shape of the checkpoint's own.
// CHECK: moe.weight @reshaped : tensor<96x64xf16> from ["w"] stored [12, 8, 64]
moe.weight @reshaped : tensor<96x64xf16> from ["w"] stored [12, 8, 64]

// CHECK-LABEL: func.func @moe_get_weight
func.func @moe_get_weight() -> tensor<8x64xf32> {
  // CHECK: moe.get_weight @router : tensor<8x64xf32>
  %w = moe.get_weight @router : tensor<8x64xf32>
  return %w : tensor<8x64xf32>
}

// CHECK-LABEL: func.func @moe_router_logits
// CHECK-SAME: (%[[X:.*]]: tensor<?x64xbf16>, %[[W:.*]]: tensor<8x64xf32>, %[[B:.*]]: tensor<8xbf16>)
func.func @moe_router_logits(%x: tensor<?x64xbf16>, %w: tensor<8x64xf32>,
                             %b: tensor<8xbf16>) {
  // CHECK: moe.router_logits ins(%[[X]], %[[W]]) : tensor<?x64xbf16>, tensor<8x64xf32> -> tensor<?x8xf32>
  %0 = moe.router_logits ins(%x, %w)
      : tensor<?x64xbf16>, tensor<8x64xf32> -> tensor<?x8xf32>
  // CHECK: moe.router_logits ins(%[[X]], %[[W]], %[[B]]) round bf16 : tensor<?x64xbf16>, tensor<8x64xf32>, tensor<8xbf16> -> tensor<?x8xf32>
  %1 = moe.router_logits ins(%x, %w, %b) round bf16
      : tensor<?x64xbf16>, tensor<8x64xf32>, tensor<8xbf16> -> tensor<?x8xf32>
  return
}

// CHECK-LABEL: func.func @moe_route
// CHECK-SAME: (%[[L:.*]]: tensor<?x8xf32>, %[[B:.*]]: tensor<8xf32>)
func.func @moe_route(%l: tensor<?x8xf32>, %b: tensor<8xf32>) {
  // CHECK: moe.route %[[L]] policy<score = softmax, top_k = 2> : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 2>
  %0 = moe.route %l policy<top_k = 2>
      : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 2>
  // CHECK: moe.route %[[L]] bias(%[[B]]) policy<score = sigmoid, groups = 4 keep 2 by top2_sum, top_k = 3> : tensor<?x8xf32>, tensor<8xf32> -> !moe.routing<experts = 8, per_token = 3>
  %1 = moe.route %l bias(%b)
      policy<score = sigmoid, groups = 4 keep 2 by top2_sum, top_k = 3>
      : tensor<?x8xf32>, tensor<8xf32>
      -> !moe.routing<experts = 8, per_token = 3>
  return
}

// CHECK-LABEL: func.func @moe_assign
// CHECK-SAME: (%[[I:.*]]: tensor<?x2xi32>, %[[W:.*]]: tensor<?x2xf32>)
func.func @moe_assign(%i: tensor<?x2xi32>, %w: tensor<?x2xf32>) {
  // CHECK: moe.assign %[[I]], %[[W]] : tensor<?x2xi32>, tensor<?x2xf32> -> !moe.routing<experts = 8, per_token = 2>
  %r = moe.assign %i, %w : tensor<?x2xi32>, tensor<?x2xf32>
      -> !moe.routing<experts = 8, per_token = 2>
  return
}

// CHECK-LABEL: func.func @moe_assign_all
// CHECK-SAME: (%[[X:.*]]: tensor<?x64xbf16>, %[[W:.*]]: tensor<?x2xf32>)
func.func @moe_assign_all(%x: tensor<?x64xbf16>, %w: tensor<?x2xf32>) {
  // CHECK: moe.assign_all %[[X]] : tensor<?x64xbf16> -> !moe.routing<experts = 2, per_token = 2>
  %0 = moe.assign_all %x : tensor<?x64xbf16>
      -> !moe.routing<experts = 2, per_token = 2>
  // CHECK: moe.assign_all %[[X]] weights(%[[W]]) : tensor<?x64xbf16>, tensor<?x2xf32> -> !moe.routing<experts = 2, per_token = 2>
  %1 = moe.assign_all %x weights(%w) : tensor<?x64xbf16>, tensor<?x2xf32>
      -> !moe.routing<experts = 2, per_token = 2>
  return
}

// CHECK-LABEL: func.func @moe_dispatch_combine
// CHECK-SAME: (%[[X:.*]]: tensor<?x64xbf16>, %[[R:.*]]: !moe.routing<experts = 8, per_token = 2>)
func.func @moe_dispatch_combine(
    %x: tensor<?x64xbf16>, %r: !moe.routing<experts = 8, per_token = 2>)
    -> tensor<?x64xbf16> {
  // CHECK: %[[XS:.*]] = moe.dispatch %[[X]] by %[[R]] : tensor<?x64xbf16>, !moe.routing<experts = 8, per_token = 2> -> tensor<?x64xbf16>
  %xs = moe.dispatch %x by %r
      : tensor<?x64xbf16>, !moe.routing<experts = 8, per_token = 2>
      -> tensor<?x64xbf16>
  // CHECK: moe.combine %[[XS]] by %[[R]] : tensor<?x64xbf16>, !moe.routing<experts = 8, per_token = 2> -> tensor<?x64xbf16>
  %y = moe.combine %xs by %r
      : tensor<?x64xbf16>, !moe.routing<experts = 8, per_token = 2>
      -> tensor<?x64xbf16>
  return %y : tensor<?x64xbf16>
}

// CHECK-LABEL: func.func @moe_experts
// CHECK-SAME: (%[[X:.*]]: tensor<?x4xf32>, %[[W:.*]]: tensor<8x4xf32>, %[[R:.*]]: !moe.routing
func.func @moe_experts(%x: tensor<?x4xf32>, %w: tensor<8x4xf32>,
                       %r: !moe.routing<experts = 8, per_token = 2>) {
  // CHECK: moe.experts ins(%[[X]]) weights(%[[W]]) by %[[R]] : (tensor<?x4xf32>, tensor<8x4xf32>), !moe.routing<experts = 8, per_token = 2> -> tensor<?x4xf32> {
  // CHECK-NEXT: ^bb0(%[[T:.*]]: tensor<?x4xf32>, %{{.*}}: tensor<4xf32>):
  // CHECK-NEXT: moe.yield %[[T]] : tensor<?x4xf32>
  %0 = moe.experts ins(%x) weights(%w) by %r
      : (tensor<?x4xf32>, tensor<8x4xf32>),
        !moe.routing<experts = 8, per_token = 2> -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>, %v: tensor<4xf32>):
    moe.yield %t : tensor<?x4xf32>
  }
  // CHECK: moe.experts ins(%[[X]]) by %[[R]] : (tensor<?x4xf32>), !moe.routing
  %1 = moe.experts ins(%x) by %r
      : (tensor<?x4xf32>), !moe.routing<experts = 8, per_token = 2>
      -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>):
    moe.yield %t : tensor<?x4xf32>
  }
  return
}

// CHECK-LABEL: func.func @moe_expert_counts
// CHECK-SAME: (%[[R:.*]]: !moe.routing
func.func @moe_expert_counts(%r: !moe.routing<experts = 8, per_token = 2>)
    -> tensor<8xi64> {
  // CHECK: moe.expert_counts %[[R]] : !moe.routing<experts = 8, per_token = 2> -> tensor<8xi64>
  %n = moe.expert_counts %r
      : !moe.routing<experts = 8, per_token = 2> -> tensor<8xi64>
  return %n : tensor<8xi64>
}
