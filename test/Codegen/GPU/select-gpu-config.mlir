// RUN: moe-opt %s -moe-select-gpu-config | FileCheck %s

// One configuration per architecture, oldest first, each once; targets of the
// CPU, and its kernels, are left alone.
module attributes {moe.targets = ["sm_90a", "x86-64", "sm_80", "sm_80"]} {
  // CHECK: plan.kernel @count_gpu({{.*}}) on cuda
  // CHECK-SAME: variants [#moe.gpu<arch = "sm_80", threads = {{[0-9]+}}
  // CHECK-SAME: #moe.gpu<arch = "sm_90a"
  // CHECK-NOT: #moe.gpu
  // CHECK: moe.kernel.count_rows
  plan.kernel @count_gpu(%eo: memref<?xi32>, %n: memref<?xi64>) on cuda {
    moe.kernel.count_rows ins(%eo : memref<?xi32>) outs(%n : memref<?xi64>) {experts = 8 : i64}
  }
  // CHECK: plan.kernel @count(
  // CHECK-NOT: variants
  // CHECK: moe.kernel.count_rows
  plan.kernel @count(%eo: memref<?xi32>, %n: memref<?xi64>) {
    moe.kernel.count_rows ins(%eo : memref<?xi32>) outs(%n : memref<?xi64>) {experts = 8 : i64}
  }
}
