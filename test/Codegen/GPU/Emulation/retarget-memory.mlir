// RUN: moe-opt %s -moe-retarget-to-host | FileCheck %s

gpu.module @cut {
  // Reads, writes and atomics say so, with size and alignment.
  // CHECK-LABEL: llvm.func internal @accesses
  // CHECK-SAME: %[[T:.*]]: !llvm.ptr, %[[S:.*]]: !llvm.ptr, %[[G:.*]]: !llvm.ptr, %[[X:.*]]: i32)
  llvm.func @accesses(%s: !llvm.ptr<3>, %g: !llvm.ptr<1>, %x: i32) {
    // CHECK: %[[BYTES:.*]] = llvm.mlir.constant(16 : i32)
    // CHECK: %[[ALIGN:.*]] = llvm.mlir.constant(8 : i32)
    // CHECK: %[[READ:.*]] = llvm.mlir.constant(0 : i32)
    // CHECK: llvm.call @moe_emu_check(%[[T]], %[[G]], %[[BYTES]], %[[ALIGN]], %[[READ]],
    // CHECK-NEXT: llvm.load %[[G]] {alignment = 1 : i64}
    %0 = llvm.load %g {alignment = 8 : i64} : !llvm.ptr<1> -> vector<4xf32>
    // CHECK: llvm.call @moe_emu_check(%[[T]], %[[S]],
    // CHECK-NEXT: llvm.store
    llvm.store %0, %s : vector<4xf32>, !llvm.ptr<3>
    // CHECK: llvm.call @moe_emu_yield(%[[T]],
    // CHECK: %[[ATOMIC:.*]] = llvm.mlir.constant(2 : i32)
    // CHECK: llvm.call @moe_emu_check(%[[T]], %[[G]], %{{.*}}, %{{.*}}, %[[ATOMIC]],
    // CHECK-NEXT: llvm.load %[[G]] atomic acquire {alignment = 4 : i64}
    %1 = llvm.load %g atomic syncscope("device") acquire {alignment = 4 : i64} : !llvm.ptr<1> -> i32
    // CHECK: llvm.call @moe_emu_check(%[[T]], %[[G]],
    // CHECK-NEXT: llvm.cmpxchg %[[G]], %[[X]], %[[X]] acq_rel monotonic
    %2 = llvm.cmpxchg %g, %x, %x syncscope("device") acq_rel monotonic : !llvm.ptr<1>, i32
    // CHECK: llvm.call @moe_emu_check
    // CHECK: llvm.call @moe_emu_check
    // CHECK-NEXT: "llvm.intr.memcpy"
    %n = llvm.mlir.constant(64 : i64) : i64
    "llvm.intr.memcpy"(%s, %g, %n) <{isVolatile = false}> : (!llvm.ptr<3>, !llvm.ptr<1>, i64) -> ()
    // CHECK: llvm.call @moe_emu_check
    // CHECK-NEXT: "llvm.intr.memset"
    %c = llvm.mlir.constant(0 : i8) : i8
    "llvm.intr.memset"(%s, %c, %n) <{isVolatile = false}> : (!llvm.ptr<3>, i8, i64) -> ()
    llvm.return
  }

  // The stack is the thread's own.
  // CHECK-LABEL: llvm.func internal @stack
  // CHECK-NOT: moe_emu
  // CHECK: llvm.return
  llvm.func @stack(%i: i32) -> f32 {
    %n = llvm.mlir.constant(8 : i32) : i32
    %0 = llvm.alloca %n x f32 : (i32) -> !llvm.ptr
    %1 = llvm.getelementptr %0[%i] : (!llvm.ptr, i32) -> !llvm.ptr, f32
    %2 = llvm.load %1 : !llvm.ptr -> f32
    llvm.return %2 : f32
  }

  // What the host has stays.
  // CHECK-LABEL: llvm.func internal @arithmetic
  // CHECK: llvm.intr.fma
  // CHECK: llvm.intr.roundeven
  // CHECK: llvm.intr.maximum
  // CHECK: llvm.intr.ctpop
  // CHECK: llvm.fptrunc %{{.*}} : f32 to bf16
  // CHECK: llvm.fpext %{{.*}} : f16 to f32
  // NVPTX fuses fmuladd.
  // CHECK: llvm.intr.fma
  // CHECK: llvm.call @moe_emu_trap
  llvm.func @arithmetic(%x: f32, %i: i32, %h: f16) {
    %0 = llvm.intr.fma(%x, %x, %x) : (f32, f32, f32) -> f32
    %1 = llvm.intr.roundeven(%x) : (f32) -> f32
    %2 = llvm.intr.maximum(%x, %x) : (f32, f32) -> f32
    %3 = llvm.intr.ctpop(%i) : (i32) -> i32
    %4 = llvm.fptrunc %x : f32 to bf16
    %5 = llvm.fpext %h : f16 to f32
    %6 = llvm.intr.fmuladd(%x, %x, %x) : (f32, f32, f32) -> f32
    "llvm.intr.trap"() : () -> ()
    llvm.unreachable
  }
}
