// RUN: moe-opt %s -pass-pipeline='builtin.module(func.func(moe-lower-routing,moe-merge-segments,moe-fuse-token-rows,canonicalize,cse,moe-verify-routed))' \
// RUN:   -split-input-file | FileCheck %s

// CHECK-LABEL: func @counts
// CHECK-SAME: %[[B:[^ ,:]+]]: tensor<8xf32>, %[[N:[^ ,:]+]]: tensor<8xi64>
func.func @counts(%b: tensor<8xf32>, %n: tensor<8xi64>, %x: tensor<?x1xf32>)
    -> (tensor<8xf32>, tensor<8xf32>) {
  // CHECK: %[[S:[^ ,:]+]] = moe.fold_rows rows(%[[N]] : tensor<8xi64>) inits [0.0{{.*}}] -> tensor<1xi64>
  // CHECK: arith.addi
  // CHECK: moe.fold_rows rows(%[[S]] : tensor<1xi64>) invariants(%[[N]] : tensor<8xi64>) {{.*}} -> tensor<8xf32>
  // CHECK: moe.fold_rows rows(%[[S]] : tensor<1xi64>) invariants(%[[B]], %[[N]] : {{.*}} -> tensor<8xf32>
  // CHECK: arith.muli {{.*}} : i64
  %f = moe.expert_fractions %n : tensor<8xi64> -> tensor<8xf32>
  %u = moe.update_bias %b by %n rate 1.0e-03
      : tensor<8xf32>, tensor<8xi64> -> tensor<8xf32>
  return %f, %u : tensor<8xf32>, tensor<8xf32>
}

// -----

// CHECK-LABEL: func @scores
func.func @scores(%l: tensor<?x8xf32>) -> (tensor<8xf32>, tensor<1xf32>) {
  // CHECK: moe.fold_rows rows(%{{.*}} : tensor<?x8xf32>) inits [0.0{{.*}}, 0.0{{.*}}] -> tensor<1x8xf32>, tensor<1xi32>
  // CHECK: moe.fold_rows rows(%{{.*}} : tensor<1x8xf32>) {{.*}} -> tensor<8xf32>
  // CHECK: moe.fold_rows rows(%{{.*}} : tensor<?x8xf32>)
  // CHECK: math.log
  %p = moe.mean_scores sigmoid %l normalized : tensor<?x8xf32> -> tensor<8xf32>
  %z = moe.router_z_loss %l : tensor<?x8xf32> -> tensor<1xf32>
  return %p, %z : tensor<8xf32>, tensor<1xf32>
}

// -----

// Losses see the choices before capacity drops any; importance what is left.
// CHECK-LABEL: func @losses
func.func @losses(%l: tensor<?x8xf32>, %b: tensor<8xf32>)
    -> (tensor<1xf32>, tensor<1xf32>, tensor<1xf32>) {
  // CHECK: %[[I:[^ ,:]+]], %[[W:[^ ,:]+]] = moe.select_topk %{{.*}} bias(
  // CHECK: %[[J:[^ ,:]+]], %[[V:[^ ,:]+]], %{{.*}} = moe.apply_capacity %[[I]]
  // CHECK: moe.fold_rows rows(%{{.*}}, %[[I]] :
  // CHECK-SAME: -> tensor<1x8xf32>, tensor<1x8xi32>, tensor<1xi32>, tensor<1xf32>, tensor<1xi32>
  // The ids ascend; who was first is asked again, without the bias that counts
  // from the second choice on.
  // CHECK: %[[F:[^ ,:]+]], %{{.*}} = moe.select_topk %{{[^ ]+}} policy<score = sigmoid, top_k = 1, capacity = slots 1 by choice>
  // CHECK: moe.fold_rows rows(%{{.*}}, %[[F]] :
  // CHECK: moe.fold_rows rows(%[[J]], %[[V]] :
  %r = moe.route %l bias(%b)
      policy<score = sigmoid, bias_after_first, top_k = 2, normalize,
             capacity = factor 1.25 by choice>
      : tensor<?x8xf32>, tensor<8xf32>
      -> !moe.routing<experts = 8, per_token = 2>
  %a = moe.load_balance_loss softmax %l by %r every 16
      : tensor<?x8xf32>, !moe.routing<experts = 8, per_token = 2>
      -> tensor<1xf32>
  %f = moe.load_balance_loss softmax %l by %r first_choice
      : tensor<?x8xf32>, !moe.routing<experts = 8, per_token = 2>
      -> tensor<1xf32>
  %i = moe.importance_loss %r
      : !moe.routing<experts = 8, per_token = 2> -> tensor<1xf32>
  return %a, %f, %i : tensor<1xf32>, tensor<1xf32>, tensor<1xf32>
}

// -----

// CHECK-LABEL: func @regret
func.func @regret(%l: tensor<?x8xf32>, %s: tensor<8xi32>) -> tensor<2xf32> {
  // CHECK: %{{.*}}, %[[C:[^ ,:]+]] = moe.select_topk %{{.*}} resident({{.*}}) policy<score = softmax, prefer = 0.5 beyond 1, top_k = 2, capacity = slots 1 by choice>
  // CHECK: %{{.*}}, %[[B:[^ ,:]+]] = moe.select_topk %{{[^ ]+}} policy<score = softmax, top_k = 2, capacity = slots 1 by choice>
  // CHECK: moe.fold_rows rows(%[[B]], %[[C]] :
  // CHECK: -> tensor<2xf32>
  %r = moe.route %l resident(%s : tensor<8xi32>)
      policy<prefer = 0.5 beyond 1, top_k = 2, normalize, scale = 2.0>
      : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 2>
  %g = moe.routing_regret %r
      : !moe.routing<experts = 8, per_token = 2> -> tensor<2xf32>
  return %g : tensor<2xf32>
}
