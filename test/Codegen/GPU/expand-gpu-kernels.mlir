// RUN: moe-opt %s -moe-expand-gpu-kernels | FileCheck %s

// A module per architecture, each with a function for every kernel that has a
// variant for it: arguments, status and scratch. The kernels stay.
#old = #moe.gpu<arch = "sm_80", threads = 128, blocks = 2, n = 1, k = 1, stages = 1, accumulation = "f32">
#new = #moe.gpu<arch = "sm_90a", threads = 256, blocks = 1, n = 1, k = 1, stages = 1, accumulation = "f32">

// CHECK: plan.kernel @both
plan.kernel @both(%eo: memref<?xi32>, %n: memref<?xi64>) on cuda variants [#old, #new] {
  moe.kernel.count_rows ins(%eo : memref<?xi32>) outs(%n : memref<?xi64>) {experts = 8 : i64}
}
// CHECK: plan.kernel @one
plan.kernel @one(%eo: memref<?xi32>, %n: memref<?xi64>) on cuda variants [#new] {
  moe.kernel.count_rows ins(%eo : memref<?xi32>) outs(%n : memref<?xi64>) {experts = 8 : i64}
}
// CHECK: plan.kernel @host
plan.kernel @host(%eo: memref<?xi32>, %n: memref<?xi64>) {
  moe.kernel.count_rows ins(%eo : memref<?xi32>) outs(%n : memref<?xi64>) {experts = 8 : i64}
}

// CHECK: gpu.module @sm_80 attributes {moe.arch = "sm_80"}
// CHECK: func.func @both(%{{.*}}: !llvm.ptr<1>, %{{.*}}: !llvm.ptr<1>, %{{.*}}: !llvm.ptr<1>, %{{.*}}: !llvm.ptr<1>)
// CHECK-SAME: moe.config = #moe.gpu<arch = "sm_80"
// CHECK-SAME: moe.kernel = "both"
// CHECK-SAME: moe.scratch_bytes = 0 : i64
// CHECK-SAME: moe.shared_bytes = 0 : i64
// CHECK-NOT: func.func
// CHECK: gpu.module @sm_90a attributes {moe.arch = "sm_90a"}
// CHECK: func.func @both(
// CHECK-SAME: threads = 256
// CHECK: func.func @one(
// CHECK-NOT: func.func
// CHECK-NOT: gpu.module
