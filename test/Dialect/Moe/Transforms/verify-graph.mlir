// RUN: moe-opt %s -pass-pipeline='builtin.module(func.func(moe-verify-graph))' \
// RUN:   | FileCheck %s

// Everything that a graph may hold; the pass changes nothing.

moe.weight @w : tensor<4x8xf32> from ["w"]

// CHECK-LABEL: func @all_ops
// CHECK: moe.get_weight
// CHECK: moe.router_logits
// CHECK: moe.route
// CHECK: moe.assign
// CHECK: moe.assign_all
// CHECK: moe.dispatch
// CHECK: moe.experts
// CHECK: moe.combine
// CHECK: moe.expert_counts
func.func @all_ops(%x: tensor<?x8xf32>, %i: tensor<?x1xi32>,
                   %p: tensor<?x1xf32>)
    -> (tensor<?x8xf32>, tensor<4xi64>, tensor<4x8xf32>) {
  %w = moe.get_weight @w : tensor<4x8xf32>
  %l = moe.router_logits ins(%x, %w)
      : tensor<?x8xf32>, tensor<4x8xf32> -> tensor<?x4xf32>
  %r = moe.route %l policy<score = softmax, top_k = 1>
      : tensor<?x4xf32> -> !moe.routing<experts = 4, per_token = 1>
  %q = moe.assign %i, %p : tensor<?x1xi32>, tensor<?x1xf32>
      -> !moe.routing<experts = 4, per_token = 1>
  %s = moe.assign_all %x : tensor<?x8xf32>
      -> !moe.routing<experts = 1, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x8xf32>, !moe.routing<experts = 4, per_token = 1>
      -> tensor<?x8xf32>
  %t = math.tanh %xs : tensor<?x8xf32>
  %ys = moe.experts ins(%t) by %r
      : (tensor<?x8xf32>), !moe.routing<experts = 4, per_token = 1>
      -> tensor<?x8xf32> {
  ^bb0(%a: tensor<?x8xf32>):
    moe.yield %a : tensor<?x8xf32>
  }
  %y = moe.combine %ys by %r
      : tensor<?x8xf32>, !moe.routing<experts = 4, per_token = 1>
      -> tensor<?x8xf32>
  %z = arith.addf %x, %y : tensor<?x8xf32>
  %n = moe.expert_counts %q
      : !moe.routing<experts = 4, per_token = 1> -> tensor<4xi64>
  return %z, %n, %w : tensor<?x8xf32>, tensor<4xi64>, tensor<4x8xf32>
}

// Control flow in the code of one element is no control flow of the function.
// CHECK-LABEL: func @scf_inside
// CHECK: scf.if
func.func @scf_inside(%x: tensor<?x8xbf16>, %j: tensor<?xi8>)
    -> tensor<?x8xbf16> {
  %y = linalg.generic {indexing_maps = [affine_map<(m, n) -> (m, n)>],
                       iterator_types = ["parallel", "parallel"]}
      outs(%x : tensor<?x8xbf16>) {
  ^bb0(%a: bf16):
    %zero = arith.constant 0.0 : bf16
    %c = arith.cmpf olt, %a, %zero : bf16
    %v = scf.if %c -> bf16 {
      scf.yield %zero : bf16
    } else {
      scf.yield %a : bf16
    }
    linalg.yield %v : bf16
  } -> tensor<?x8xbf16>
  return %y : tensor<?x8xbf16>
}
