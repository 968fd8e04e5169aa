// RUN: moe-opt %s | moe-opt | FileCheck %s
// RUN: moe-opt %s --mlir-print-op-generic | moe-opt | FileCheck %s
// RUN: moe-opt %s --emit-bytecode | moe-opt | FileCheck %s

// CHECK-LABEL: func.func @moe_statistics
// CHECK-SAME: (%[[L:.*]]: tensor<?x8xf32>, %[[P:.*]]: tensor<8xi32>, %[[B:.*]]: tensor<8xf32>)
func.func @moe_statistics(%l: tensor<?x8xf32>, %p: tensor<8xi32>,
                          %b: tensor<8xf32>) {
  // CHECK: %[[R:.*]] = moe.route
  %r = moe.route %l resident(%p : tensor<8xi32>) policy<top_k = 2, prefer = 0.5>
      : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 2>
  // CHECK: %[[N:.*]] = moe.expert_counts
  %n = moe.expert_counts %r
      : !moe.routing<experts = 8, per_token = 2> -> tensor<8xi64>
  // CHECK: moe.expert_fractions %[[N]] : tensor<8xi64> -> tensor<8xf32>
  %f = moe.expert_fractions %n : tensor<8xi64> -> tensor<8xf32>
  // CHECK: moe.mean_scores softmax %[[L]] : tensor<?x8xf32> -> tensor<8xf32>
  %m = moe.mean_scores softmax %l : tensor<?x8xf32> -> tensor<8xf32>
  // CHECK: moe.mean_scores sigmoid %[[L]] normalized : tensor<?x8xf32> -> tensor<8xf32>
  %o = moe.mean_scores sigmoid %l normalized : tensor<?x8xf32> -> tensor<8xf32>
  // CHECK: moe.load_balance_loss softmax %[[L]] by %[[R]] : tensor<?x8xf32>, !moe.routing<experts = 8, per_token = 2> -> tensor<1xf32>
  %a = moe.load_balance_loss softmax %l by %r
      : tensor<?x8xf32>, !moe.routing<experts = 8, per_token = 2>
      -> tensor<1xf32>
  // CHECK: moe.load_balance_loss sqrt_softplus %[[L]] by %[[R]] normalized first_choice per_choice every 64 : tensor<?x8xf32>
  %c = moe.load_balance_loss sqrt_softplus %l by %r normalized first_choice
      per_choice every 64
      : tensor<?x8xf32>, !moe.routing<experts = 8, per_token = 2>
      -> tensor<1xf32>
  // CHECK: moe.router_z_loss %[[L]] : tensor<?x8xf32> -> tensor<1xf32>
  %z = moe.router_z_loss %l : tensor<?x8xf32> -> tensor<1xf32>
  // CHECK: moe.importance_loss %[[R]] : !moe.routing<experts = 8, per_token = 2> -> tensor<1xf32>
  %i = moe.importance_loss %r
      : !moe.routing<experts = 8, per_token = 2> -> tensor<1xf32>
  // CHECK: moe.update_bias %[[B]] by %[[N]] rate 1.000000e-03 : tensor<8xf32>, tensor<8xi64> -> tensor<8xf32>
  %b2 = moe.update_bias %b by %n rate 1.0e-03
      : tensor<8xf32>, tensor<8xi64> -> tensor<8xf32>
  // CHECK: moe.routing_regret %[[R]] : !moe.routing<experts = 8, per_token = 2> -> tensor<2xf32>
  %g = moe.routing_regret %r
      : !moe.routing<experts = 8, per_token = 2> -> tensor<2xf32>
  return
}

// Null experts have scores, too.
// CHECK-LABEL: func.func @null_experts
func.func @null_experts(%l: tensor<?x8xf32>) {
  %r = moe.route %l policy<top_k = 2, null_experts = 3>
      : tensor<?x8xf32> -> !moe.routing<experts = 5, per_token = 2>
  // CHECK: moe.load_balance_loss softmax
  %a = moe.load_balance_loss softmax %l by %r
      : tensor<?x8xf32>, !moe.routing<experts = 5, per_token = 2>
      -> tensor<1xf32>
  return
}
