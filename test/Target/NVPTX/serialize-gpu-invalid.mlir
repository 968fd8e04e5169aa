// RUN: rm -rf %t && split-file %s %t
// RUN: not moe-opt %t/kernel.mlir -moe-serialize-gpu=ptxas=%t/no-ptxas 2>&1 | FileCheck %s --check-prefix=ABSENT
// RUN: not env FAKE_PTXAS=fail moe-opt %t/kernel.mlir -moe-serialize-gpu=ptxas=%S/Inputs/ptxas 2>&1 | FileCheck %s --check-prefix=FAIL
// RUN: not env FAKE_PTXAS=crash moe-opt %t/kernel.mlir -moe-serialize-gpu=ptxas=%S/Inputs/ptxas 2>&1 | FileCheck %s --check-prefix=CRASH
// RUN: not env FAKE_PTXAS=silent moe-opt %t/kernel.mlir -moe-serialize-gpu=ptxas=%S/Inputs/ptxas 2>&1 | FileCheck %s --check-prefix=SILENT
// RUN: not env FAKE_PTXAS=spill moe-opt %t/kernel.mlir -moe-serialize-gpu=ptxas=%S/Inputs/ptxas 2>&1 | FileCheck %s --check-prefix=SPILL
// RUN: not env FAKE_PTXAS=registers moe-opt %t/kernel.mlir -moe-serialize-gpu=ptxas=%S/Inputs/ptxas 2>&1 | FileCheck %s --check-prefix=REGISTERS
// RUN: not env FAKE_PTXAS=shared moe-opt %t/kernel.mlir -moe-serialize-gpu=ptxas=%S/Inputs/ptxas 2>&1 | FileCheck %s --check-prefix=SHARED
// RUN: not env FAKE_PTXAS=wgmma moe-opt %t/kernel.mlir -moe-serialize-gpu=ptxas=%S/Inputs/ptxas 2>&1 | FileCheck %s --check-prefix=WGMMA
// RUN: not moe-opt %t/kernel.mlir -moe-serialize-gpu="ptxas=none save-temps=%t/kernel.mlir/temps" 2>&1 | FileCheck %s --check-prefix=FOLDER
// RUN: not moe-opt %t/static.mlir -moe-serialize-gpu=ptxas=none 2>&1 | FileCheck %s --check-prefix=STATIC
// RUN: not moe-opt %t/extern.mlir -moe-serialize-gpu=ptxas=none 2>&1 | FileCheck %s --check-prefix=EXTERN
// RUN: not moe-opt %t/missing.mlir -moe-serialize-gpu=ptxas=none 2>&1 | FileCheck %s --check-prefix=MISSING
// RUN: not moe-opt %t/arch.mlir -moe-serialize-gpu=ptxas=none 2>&1 | FileCheck %s --check-prefix=ARCH
// RUN: not moe-opt %t/config.mlir -moe-serialize-gpu=ptxas=none 2>&1 | FileCheck %s --check-prefix=CONFIG

// ABSENT: error[MOE0111]: cannot run ptxas: '{{.*}}no-ptxas' is no program
// ABSENT: fix: give the path of NVIDIA's assembler with --ptxas
// FAIL: error[MOE0111]: ptxas cannot assemble the kernels for sm_80: it ended with code 255
// FAIL: because it says: ptxas sm_80.ptx, line 4; error   : Unexpected instruction
// FAIL: line 4 of the PTX is:
// FAIL: fix: use ptxas of CUDA 12.8 or newer (--ptxas=PATH)
// CRASH: error[MOE0111]: ptxas cannot assemble the kernels for sm_80
// SILENT: error[MOE0111]: ptxas says nothing about kernel 'k' for sm_80
// SPILL: error[MOE0112]: kernel 'k' for sm_80 spills 24 bytes
// SPILL: because its threads need more than the 255 registers that they may have
// REGISTERS: error[MOE0112]: kernel 'k' for sm_80 needs 131072 registers
// REGISTERS: because a multiprocessor has 65536
// SHARED: error[MOE0112]: kernel 'k' for sm_80 needs 168960 bytes of shared memory
// SHARED: because a block may have 166912
// WGMMA: error[MOE0112]: wgmma is not pipelined on sm_80
// WGMMA: because ptxas says: ptxas info    : (C7510) Potential Performance Loss: wgmma
// FOLDER: error[MOE0011]: cannot create '{{.*}}kernel.mlir/temps'
// STATIC: error[MOE0112]: kernel 'k' for sm_86 needs 131072 bytes of shared memory
// STATIC: because a block may have 101376
// EXTERN: error: code for sm_80 would call 'fmodf'
// MISSING: error: kernel has no code for sm_90a
// ARCH: error: 'moe.arch' of a cut module is no architecture
// CONFIG: error: function is no kernel; run 'moe-expand-gpu-kernels' first

//--- kernel.mlir
#c = #moe.gpu<arch = "sm_80", threads = 1024, blocks = 1, n = 1, k = 1, stages = 1, accumulation = "f32">
gpu.module @sm_80 attributes {moe.arch = "sm_80"} {
  llvm.func @k(%y: !llvm.ptr<1>, %status: !llvm.ptr<1>, %scratch: !llvm.ptr<1>)
      attributes {nvvm.kernel, moe.kernel = "k", moe.shared_bytes = 119808 : i64, moe.scratch_bytes = 0 : i64, moe.config = #c} {
    %c = llvm.mlir.constant(1 : i32) : i32
    llvm.store %c, %y : i32, !llvm.ptr<1>
    llvm.return
  }
}
//--- static.mlir
#c = #moe.gpu<arch = "sm_86", threads = 32, blocks = 1, n = 1, k = 1, stages = 1, accumulation = "f32">
gpu.module @sm_86 attributes {moe.arch = "sm_86"} {
  llvm.mlir.global internal @s() {addr_space = 3 : i32} : !llvm.array<32768 x i32>
  llvm.func @k(%y: !llvm.ptr<1>, %status: !llvm.ptr<1>, %scratch: !llvm.ptr<1>)
      attributes {nvvm.kernel, moe.kernel = "k", moe.shared_bytes = 0 : i64, moe.scratch_bytes = 0 : i64, moe.config = #c} {
    llvm.return
  }
}
//--- extern.mlir
// The back end turns the remainder into a call.
#c = #moe.gpu<arch = "sm_80", threads = 32, blocks = 1, n = 1, k = 1, stages = 1, accumulation = "f32">
gpu.module @sm_80 attributes {moe.arch = "sm_80"} {
  llvm.func @fmodf(f32, f32) -> f32
  llvm.func @k(%y: !llvm.ptr<1>, %status: !llvm.ptr<1>, %scratch: !llvm.ptr<1>)
      attributes {nvvm.kernel, moe.kernel = "k", moe.shared_bytes = 0 : i64, moe.scratch_bytes = 0 : i64, moe.config = #c} {
    %v = llvm.load %y : !llvm.ptr<1> -> f32
    %r = llvm.call @fmodf(%v, %v) : (f32, f32) -> f32
    llvm.store %r, %y : f32, !llvm.ptr<1>
    llvm.return
  }
}
//--- missing.mlir
#c = #moe.gpu<arch = "sm_90a", threads = 32, blocks = 1, n = 1, k = 1, stages = 1, accumulation = "f32">
plan.kernel @k(%y: memref<?xf32>) on cuda variants [#c] {
}
//--- arch.mlir
gpu.module @sm_70 attributes {moe.arch = "sm_70"} {
}
//--- config.mlir
gpu.module @sm_80 attributes {moe.arch = "sm_80"} {
  llvm.func @k(%y: !llvm.ptr<1>) attributes {nvvm.kernel, moe.kernel = "k"} {
    llvm.return
  }
}
