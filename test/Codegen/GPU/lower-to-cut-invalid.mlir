// RUN: moe-opt %s -moe-lower-to-cut -verify-diagnostics

gpu.module @sm_80 attributes {moe.arch = "sm_80"} {
  func.func @k(%y: !llvm.ptr<1>, %v: f32) {
    // expected-error @below {{no lowering of 'gpu.barrier' for a GPU}}
    gpu.barrier
    return
  }
}
