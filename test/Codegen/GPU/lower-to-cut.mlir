// RUN: moe-opt %s -moe-lower-to-cut -moe-verify-cut | FileCheck %s

// Structured control flow and arithmetic become the llvm dialect; nvvm ops and
// what stands beside the module stay. Kernels get what marks them as such.
#c = #moe.gpu<arch = "sm_80", threads = 128, blocks = 2, n = 1, k = 1, stages = 1, accumulation = "f32">

// CHECK: plan.kernel @k
plan.kernel @k(%y: memref<?xf32>) on cuda variants [#c] {
}
// CHECK: gpu.module @sm_80 attributes {moe.arch = "sm_80"}
gpu.module @sm_80 attributes {moe.arch = "sm_80"} {
  // CHECK: llvm.func @k(%{{.*}}: !llvm.ptr<1>, %{{.*}}: !llvm.ptr<1>, %{{.*}}: !llvm.ptr<1>)
  // CHECK-SAME: gpu.kernel
  // CHECK-SAME: moe.config = #moe.gpu<arch = "sm_80"
  // CHECK-SAME: nvvm.kernel
  // CHECK-SAME: nvvm.maxntid = array<i32: 128>
  // CHECK: nvvm.read.ptx.sreg.tid.x
  // CHECK: llvm.icmp
  // CHECK: llvm.cond_br
  // CHECK: llvm.fmul
  // CHECK: llvm.store
  // CHECK-NOT: {{arith|scf|func}}.
  func.func @k(%y: !llvm.ptr<1>, %status: !llvm.ptr<1>, %scratch: !llvm.ptr<1>)
      attributes {moe.kernel = "k", moe.config = #c, moe.shared_bytes = 0 : i64, moe.scratch_bytes = 0 : i64} {
    %t = nvvm.read.ptx.sreg.tid.x : i32
    %zero = arith.constant 0 : i32
    %first = arith.cmpi eq, %t, %zero : i32
    scf.if %first {
      %v = llvm.load %y : !llvm.ptr<1> -> f32
      %w = arith.mulf %v, %v : f32
      llvm.store %w, %y : f32, !llvm.ptr<1>
    }
    return
  }
}
