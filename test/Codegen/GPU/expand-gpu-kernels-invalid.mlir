// RUN: moe-opt %s -moe-expand-gpu-kernels -split-input-file -verify-diagnostics

// expected-error @below {{kernel has no variants; run 'moe-select-gpu-config' first}}
plan.kernel @k(%eo: memref<?xi32>, %n: memref<?xi64>) on cuda {
  moe.kernel.count_rows ins(%eo : memref<?xi32>) outs(%n : memref<?xi64>) {experts = 8 : i64}
}

// -----

#c = #moe.gpu<arch = "sm_80", threads = 128, blocks = 2, n = 1, k = 1, stages = 1, accumulation = "f32">
plan.kernel @k(%n: index) on cuda variants [#c] {
  // expected-error @below {{GPUs do not have rows other than tokens}}
  %0 = arith.constant 1 : index
}
