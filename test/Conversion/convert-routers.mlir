// RUN: moe-opt %s -pass-pipeline='builtin.module(moe-graph,moe-routed,convert-moe-to-plan)' \
// RUN:   -split-input-file | FileCheck %s

// The choice is tapped where it is final; what capacity dropped is recorded,
// and its kernel gets memory to sort in.
// CHECK-DAG: #[[ORDER:.*]] = affine_map<(d0) -> (d0 * 16)>
// CHECK-DAG: #[[N:.*]] = affine_map<(d0) -> (d0)>
// CHECK-LABEL: plan.func @capacity
// CHECK: plan.dispatch @select_topk(
// CHECK-NOT: plan.tap_routes
// CHECK: %[[O:[^ ,:]+]] = plan.alloc [#[[ORDER]]]
// CHECK: plan.dispatch @apply_capacity(%{{.*}}, %{{.*}}, %[[I:[^ ,:]+]], %[[W:[^ ,:]+]], %[[D:[^ ,:]+]], %[[O]], %{{.*}}) {{.*}} single
// CHECK: plan.tap_routes %[[I]], %[[W]] tokens #[[N]] per_token 2 experts 8 layer "capacity"
// CHECK: plan.dispatch @group_rows(%[[I]], %[[W]],
// CHECK: plan.record_experts %{{.*}} experts 8 layer "capacity" dropped %[[D]]
// CHECK: moe.kernel.select_topk ins(%{{.*}}, %{{.*}} : {{.*}}) resident(%{{.*}}) random(%{{.*}}) outs({{.*}} {bias_per_token, experts = 8 : i64
func.func @capacity(%l: tensor<?x8xf32>, %b: tensor<?x8xf32>,
                    %s: tensor<8xi32>, %u: tensor<?x2xf32>,
                    %x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %r = moe.route %l bias(%b) resident(%s : tensor<8xi32>)
      random(%u : tensor<?x2xf32>)
      policy<top_k = 2, prefer = 0.5, keep = random 0.5,
             capacity = factor 1.25 by choice>
      : tensor<?x8xf32>, tensor<?x8xf32>
      -> !moe.routing<experts = 8, per_token = 2>
  %xs = moe.dispatch %x by %r : tensor<?x4xf32>,
      !moe.routing<experts = 8, per_token = 2> -> tensor<?x4xf32>
  %y = moe.combine %xs by %r : tensor<?x4xf32>,
      !moe.routing<experts = 8, per_token = 2> -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// Rows of expert choice are bounded by a * N + b; nothing is tapped.
// CHECK-DAG: #[[LIST:.*]] = affine_map<(d0) -> (d0 * 8 + 96)>
// CHECK-DAG: #[[KEYS:.*]] = affine_map<(d0) -> (d0 * 36)>
// CHECK-DAG: #[[ROWS:.*]] = affine_map<(d0) -> (d0 * 32 + 384)>
// CHECK-LABEL: plan.func @choose
// CHECK: plan.alloc [#[[LIST]]]
// CHECK: %[[K:[^ ,:]+]] = plan.alloc [#[[KEYS]]]
// CHECK: plan.dispatch @choose_rows({{.*}} %[[K]], %{{.*}}) label "choose/choose_rows" single
// CHECK-NOT: plan.tap_routes
// CHECK: plan.record_experts %{{.*}} experts 8 layer "choose"
// CHECK: plan.alloc [#[[ROWS]]]
func.func @choose(%l: tensor<?x8xf32>, %x: tensor<?x4xf32>)
    -> tensor<?x4xf32> {
  %r = moe.choose_tokens %l score softmax capacity <factor 2.0>
      : tensor<?x8xf32>
      -> !moe.routing<experts = 8, per_token = 8, rows = 2, extra = 24>
  %xs = moe.dispatch %x by %r : tensor<?x4xf32>,
      !moe.routing<experts = 8, per_token = 8, rows = 2, extra = 24>
      -> tensor<?x4xf32>
  %y = moe.combine %xs by %r : tensor<?x4xf32>,
      !moe.routing<experts = 8, per_token = 8, rows = 2, extra = 24>
      -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// A kernel on rows of a routing reads their number from its lists; two layers
// of decisions have two names.
// CHECK-DAG: #[[TWICE:.*]] = affine_map<(d0) -> (d0 * 2)>
// CHECK-LABEL: plan.func @nested
// CHECK: plan.record_experts %[[EO:[^ ,:]+]] experts 3 layer "nested"
// CHECK: plan.dispatch @select_topk_1(%{{.*}}, %{{.*}}, %{{.*}}, %[[EO]])
// CHECK: plan.dispatch @nest_ids(%{{.*}}, %[[EO]], %[[I:[^ ,:]+]], %{{.*}})
// CHECK: plan.tap_routes %[[I]], %{{.*}} tokens #[[TWICE]] per_token 1 experts 6 layer "nested#1"
// CHECK: plan.dispatch @group_rows_1(
// CHECK: plan.kernel @select_topk_1(
// CHECK: %[[C:[^ ,:]+]] = arith.constant 3 : index
// CHECK: %[[P:[^ ,:]+]] = memref.load %{{.*}}[%[[C]]] : memref<?xi32>
// CHECK: %[[T:[^ ,:]+]] = arith.index_cast %[[P]] : i32 to index
// CHECK: moe.kernel.select_topk {{.*}} tokens(%[[T]])
func.func @nested(%x: tensor<?x4xf32>, %l: tensor<?x3xf32>,
                  %w: tensor<3x2x4xf32>) -> tensor<?x4xf32> {
  %r = moe.route %l policy<top_k = 2>
      : tensor<?x3xf32> -> !moe.routing<experts = 3, per_token = 2>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 3, per_token = 2>
      -> tensor<?x4xf32>
  %il = moe.grouped_logits ins(%xs, %w) by %r
      : tensor<?x4xf32>, tensor<3x2x4xf32>,
        !moe.routing<experts = 3, per_token = 2> -> tensor<?x2xf32>
  %ir = moe.route %il policy<top_k = 1>
      : tensor<?x2xf32> -> !moe.routing<experts = 2, per_token = 1>
  %n = moe.nest %ir in %r
      : !moe.routing<experts = 2, per_token = 1>,
        !moe.routing<experts = 3, per_token = 2>
      -> !moe.routing<experts = 6, per_token = 1>
  %xi = moe.dispatch %xs by %n
      : tensor<?x4xf32>, !moe.routing<experts = 6, per_token = 1>
      -> tensor<?x4xf32>
  %yi = moe.combine %xi by %n
      : tensor<?x4xf32>, !moe.routing<experts = 6, per_token = 1>
      -> tensor<?x4xf32>
  %y = moe.combine %yi by %r
      : tensor<?x4xf32>, !moe.routing<experts = 3, per_token = 2>
      -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// Slots are a fixed number of rows; their constant indices are no decision.
// CHECK-LABEL: plan.func @slots
// CHECK: plan.dispatch @constant(
// CHECK: plan.dispatch @fold_rows(
// CHECK: plan.dispatch @group_rows(
// CHECK-NOT: plan.record_experts
// CHECK-NOT: plan.tap_routes
// CHECK: plan.kernel @constant(%{{.*}}: memref<?xi32>, %{{.*}}: memref<?xi32>)
// CHECK: moe.kernel.map_rows
// CHECK: arith.constant dense<{{\[\[\[}}0], [1], [2], [0], [1], [2{{\]\]\]}}> : tensor<1x6x1xi32>
// CHECK: plan.kernel @group_rows(
// CHECK: %[[C:[^ ,:]+]] = arith.constant 6 : index
// CHECK: moe.kernel.group_rows {{.*}} tokens(%[[C]]) {experts = 3 : i64, given, per_token = 1 : i64}
func.func @slots(%x: tensor<?x4xf32>, %l: tensor<?x6xf32>) -> tensor<?x4xf32> {
  %i = arith.constant dense<[[0], [1], [2], [0], [1], [2]]> : tensor<6x1xi32>
  %w = arith.constant dense<1.0> : tensor<6x1xf32>
  %s = moe.soft_dispatch %x by %l
      : tensor<?x4xf32>, tensor<?x6xf32> -> tensor<6x4xf32>
  %r = moe.assign %i, %w : tensor<6x1xi32>, tensor<6x1xf32>
      -> !moe.routing<experts = 3, per_token = 1>
  %xs = moe.dispatch %s by %r
      : tensor<6x4xf32>, !moe.routing<experts = 3, per_token = 1>
      -> tensor<?x4xf32>
  %ys = moe.combine %xs by %r
      : tensor<?x4xf32>, !moe.routing<experts = 3, per_token = 1>
      -> tensor<6x4xf32>
  %y = moe.soft_combine %ys by %l
      : tensor<6x4xf32>, tensor<?x6xf32> -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
