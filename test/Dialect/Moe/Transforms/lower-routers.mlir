// RUN: moe-opt %s -pass-pipeline='builtin.module(func.func(moe-lower-routing))' \
// RUN:   -split-input-file | FileCheck %s

// A capacity takes a second step; what was chosen counts before it.
// CHECK-LABEL: func @capacity
// CHECK-SAME: %[[L:[^ ,:]+]]: tensor<?x8xf32>, %[[B:[^ ,:]+]]: tensor<?x8xf32>
func.func @capacity(%l: tensor<?x8xf32>, %b: tensor<?x8xf32>,
                    %u: tensor<?x2xf32>) -> (tensor<7xi64>, tensor<7xi64>) {
  // CHECK: %[[I:[^ ,:]+]], %[[W:[^ ,:]+]] = moe.select_topk %[[L]] bias(%[[B]]) random(%{{.*}} : tensor<?x2xf32>)
  // CHECK: %[[J:[^ ,:]+]], %[[V:[^ ,:]+]], %{{.*}} = moe.apply_capacity %[[I]], %[[W]] policy
  // CHECK-SAME: -> tensor<?x2xi32>, tensor<?x2xf32>, tensor<7xi32>
  // CHECK: %[[EO:[^ ,:]+]], %{{.*}} = moe.group_rows %[[J]], %[[V]] :
  // CHECK-SAME: -> tensor<8xi32>
  // CHECK: moe.count_ids %[[I]] : tensor<?x2xi32> -> tensor<7xi64>
  // CHECK: moe.count_rows %[[EO]]
  %r = moe.route %l bias(%b) random(%u : tensor<?x2xf32>)
      policy<top_k = 2, null_experts = 1, keep = random 0.5,
             capacity = factor 1.25 by choice>
      : tensor<?x8xf32>, tensor<?x8xf32>
      -> !moe.routing<experts = 7, per_token = 2>
  %n = moe.expert_counts %r chosen
      : !moe.routing<experts = 7, per_token = 2> -> tensor<7xi64>
  %m = moe.expert_counts %r
      : !moe.routing<experts = 7, per_token = 2> -> tensor<7xi64>
  return %n, %m : tensor<7xi64>, tensor<7xi64>
}

// -----

// Experts choose tokens: no ids, lists at once.
// CHECK-LABEL: func @choose_tokens
func.func @choose_tokens(%x: tensor<?x4xf32>, %l: tensor<?x8xf32>)
    -> tensor<?x4xf32> {
  // CHECK: moe.choose_rows %{{.*}} score softmax capacity<factor 2.0> average rows 2 extra 24
  // CHECK-SAME: -> tensor<9xi32>,
  // CHECK-NOT: moe.group_rows
  // CHECK: moe.gather_rows
  // CHECK: moe.combine_rows
  %r = moe.choose_tokens %l score softmax capacity <factor 2.0> average
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

// Product keys. Of a restricted routing the whole is not kept when nothing
// reads it.
// CHECK-LABEL: func @products
func.func @products(%x: tensor<?x4xf32>, %a: tensor<?x3xf32>,
                    %b: tensor<?x5xf32>) -> tensor<?x4xf32> {
  // CHECK: %[[I:[^ ,:]+]], %[[W:[^ ,:]+]] = moe.select_products %{{.*}}, %{{.*}} policy<score = none, top_k = 2, weights = softmax>
  // CHECK: %[[EO:[^ ,:]+]], %[[RT:[^ ,:]+]], %[[RW:[^ ,:]+]], %[[TO:[^ ,:]+]], %[[TR:[^ ,:]+]] = moe.group_rows %[[I]], %[[W]]
  // CHECK: moe.slice_rows %[[EO]], %[[RT]], %[[RW]], %[[TO]], %[[TR]]{{ ?}}[10, 15]
  // CHECK-SAME: -> tensor<6xi32>
  // CHECK: moe.gather_rows %{{.*}} weights(
  // CHECK: moe.combine_rows {{.*}} unweighted [true]
  %r = moe.route_products %a, %b
      policy<score = none, top_k = 2, weights = softmax>
      : tensor<?x3xf32>, tensor<?x5xf32>
      -> !moe.routing<experts = 15, per_token = 2>
  %s = moe.restrict %r [10, 15] : !moe.routing<experts = 15, per_token = 2>
      -> !moe.routing<experts = 5, per_token = 2>
  %xs = moe.dispatch %x by %s weighted
      : tensor<?x4xf32>, !moe.routing<experts = 5, per_token = 2>
      -> tensor<?x4xf32>
  %y = moe.combine %xs by %s unweighted
      : tensor<?x4xf32>, !moe.routing<experts = 5, per_token = 2>
      -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// Experts within experts: the inner choice gets numbers of its own.
// CHECK-LABEL: func @nested
func.func @nested(%x: tensor<?x4xf32>, %l: tensor<?x3xf32>,
                  %w: tensor<3x2x4xf32>) -> tensor<?x4xf32> {
  // CHECK: %[[EO:[^ ,:]+]], %[[RT:[^ ,:]+]], %{{.*}} = moe.group_rows
  // CHECK: %[[XS:[^ ,:]+]] = moe.gather_rows %{{.*}}[%[[RT]]]
  // CHECK: %[[IL:[^ ,:]+]] = moe.row_logits ins(%[[XS]], %{{.*}}) offsets(%[[EO]])
  // CHECK: %[[I:[^ ,:]+]], %[[W:[^ ,:]+]] = moe.select_topk %[[IL]]
  // CHECK-NOT: moe.group_rows %[[I]]
  // CHECK: %[[N:[^ ,:]+]] = moe.nest_ids %[[I]] offsets(%[[EO]]) inner 2
  // CHECK: %{{[^ ,:]+}}, %[[IRT:[^ ,:]+]], %{{.*}} = moe.group_rows %[[N]], %[[W]]
  // CHECK-SAME: -> tensor<7xi32>
  // CHECK: %[[XI:[^ ,:]+]] = moe.gather_rows %[[XS]][%[[IRT]]]
  // CHECK: %[[Y:[^ ,:]+]] = moe.combine_rows rows(%[[XI]]
  // CHECK: moe.combine_rows rows(%[[Y]]
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
