// RUN: not moe-opt %s -pass-pipeline='builtin.module(moe-import,moe-graph,moe-routed,moe-tiled)' \
// RUN:   2>&1 | FileCheck %s
// RUN: sed 's/"x86-64", "sm_80"/"x86-64"/' %s > %t.mlir
// RUN: moe-opt %t.mlir -pass-pipeline='builtin.module(moe-import,moe-graph,moe-routed,moe-tiled)' \
// RUN:   | FileCheck %s --check-prefix=CPU

// What GPUs do not have is an error that names the function and the way out;
// for CPUs alone the same module compiles.

// CHECK: error[MOE0113]: GPUs do not have 'capacity'
// CHECK-NEXT: --> {{.*}}forms.mlir:{{[0-9]+}}:{{[0-9]+}}, function 'few_slots'
// CHECK-NEXT: because no GPU kernel computes it; kernels for CPUs do
// CHECK-NEXT: fix: compile for CPUs only (no sm_* in --target), or remove it from the policy

// CPU: moe.kernel.apply_capacity

module attributes {moe.targets = ["x86-64", "sm_80"]} {
  func.func @few_slots(%l: tensor<?x8xf32>, %x: tensor<?x4xf32>)
      -> tensor<?x4xf32> {
    %r = moe.route %l policy<top_k = 2, capacity = factor 1.25 by choice>
        : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 2>
    %xs = moe.dispatch %x by %r
        : tensor<?x4xf32>, !moe.routing<experts = 8, per_token = 2>
        -> tensor<?x4xf32>
    %y = moe.combine %xs by %r
        : tensor<?x4xf32>, !moe.routing<experts = 8, per_token = 2>
        -> tensor<?x4xf32>
    return %y : tensor<?x4xf32>
  }
}
