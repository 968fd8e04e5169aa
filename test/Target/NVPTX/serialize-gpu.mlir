// The fake assembler writes a line of text as cubin.
// RUN: rm -rf %t && mkdir %t
// RUN: moe-opt %s -moe-serialize-gpu="ptxas=%S/Inputs/ptxas save-temps=%t/temps" -o %t/out.mlir
// RUN: FileCheck %s --input-file=%t/out.mlir
// RUN: FileCheck %s --check-prefix=PTX --input-file=%t/temps/sm_80.ptx
// RUN: ls %t/temps | FileCheck %s --check-prefix=FILES
// RUN: FileCheck %s --check-prefix=LOG --input-file=%t/temps/sm_80.ptxas.log

// The same module gives the same bytes.
// RUN: moe-opt %s -moe-serialize-gpu=ptxas=%S/Inputs/ptxas | cmp - %t/out.mlir

// What is kept of the cut module is one: it gives the same images again.
// RUN: moe-opt %t/temps/sm_80.cut.mlir -moe-verify-cut -moe-serialize-gpu="ptxas=none save-temps=%t/again" -o /dev/null
// RUN: cmp %t/temps/sm_80.ptx %t/again/sm_80.ptx

// A kernel that spills for its neighbours gets fewer.
// RUN: env FAKE_PTXAS=crowded moe-opt %s -moe-serialize-gpu=ptxas=%S/Inputs/ptxas | FileCheck %s --check-prefix=CROWDED
// CROWDED: plan.binary @sm_80_ptx
// CROWDED-SAME: args = 3 : i64, blocks = 1 : i64
// CROWDED: plan.binary @sm_80_cubin
// CROWDED-SAME: args = 3 : i64, blocks = 1 : i64

// Without the assembler: PTX only, and a warning.
// RUN: env CUDA_HOME=%t PATH=%llvm_tools %moe_obj_root/bin/moe-opt %s -moe-serialize-gpu 2> %t/warning | FileCheck %s --check-prefix=ONLY
// RUN: FileCheck %s --check-prefix=WARNING --input-file=%t/warning
// RUN: moe-opt %s -moe-serialize-gpu=ptxas=none 2>&1 | FileCheck %s --check-prefix=ONLY

// CHECK-NOT: gpu.module
// CHECK: plan.binary @sm_80_ptx "ptx"
// CHECK-SAME: arithmetic = {accumulation = "f32", args = 3 : i64, blocks = 2 : i64, scratch = 256 : i64, shared = 1024 : i64, threads = 128 : i64}
// CHECK-SAME: arch "sm_80"
// CHECK: plan.binary @sm_80_cubin "cubin"
// CHECK-SAME: arithmetic = {accumulation = "f32", args = 3 : i64, blocks = 2 : i64, registers = 16 : i64, scratch = 256 : i64, shared = 1024 : i64, static_shared = 0 : i64, threads = 128 : i64}
// CHECK-SAME: arch "sm_80"
// CHECK-SAME: moe.ptxas = "12.8.61"
// CHECK: plan.binary @sm_90a_ptx "ptx"
// CHECK-SAME: "sm_90a"
// CHECK: plan.binary @sm_90a_cubin "cubin"
// CHECK-NOT: gpu.module
// CHECK-NOT: plan.kernel

// ONLY: plan.binary @sm_80_ptx "ptx"
// ONLY-NOT: cubin
// ONLY: plan.binary @sm_90a_ptx "ptx"
// ONLY-NOT: cubin
// WARNING: warning[MOE0110]: ptxas was not found
// WARNING: because the artifact has PTX only; the driver compiles it when it loads the artifact
// WARNING: fix: install the CUDA toolkit, or name NVIDIA's assembler with --ptxas=PATH

// Two hard copies of each emulated module, named after the images.
// FILES-COUNT-4: {{^[0-9a-f]+\.so$}}
// FILES: sm_80.cubin
// FILES-NEXT: sm_80.cut.mlir
// FILES-NEXT: sm_80.ptx
// FILES-NEXT: sm_80.ptxas.log
// FILES-NEXT: sm_90a.cubin
// LOG: Compiling entry function 'arithmetic'

// Products and sums stay apart, division and root are those of IEEE, and
// nothing is flushed to zero.
// PTX: .target sm_80
// PTX: .extern .shared .align 1024 .b8 dynamic[];
// PTX: .visible .entry arithmetic(
// PTX: .maxntid 128
// PTX: .minnctapersm 2
// PTX-NOT: ftz
// PTX-NOT: approx
// PTX: mul.rn.f32
// PTX-NEXT: add.rn.f32
// PTX-NEXT: div.rn.f32
// PTX-NEXT: sqrt.rn.f32
// PTX-NEXT: fma.rn.f32
// PTX-NOT: ftz
// PTX-NOT: .extern .func

#sm80 = #moe.gpu<arch = "sm_80", threads = 128, blocks = 2, n = 1, k = 1, stages = 1, accumulation = "f32">
#sm90 = #moe.gpu<arch = "sm_90a", threads = 128, blocks = 2, n = 1, k = 1, stages = 1, accumulation = "f32">

plan.kernel @arithmetic(%x: memref<?xf32>, %y: memref<?xf32>, %n: index) on cuda variants [#sm80, #sm90] {
}

gpu.module @sm_80 attributes {moe.arch = "sm_80"} {
  llvm.mlir.global external @dynamic() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  llvm.func @arithmetic(%x: !llvm.ptr<1>, %y: !llvm.ptr<1>, %n: i64, %status: !llvm.ptr<1>, %scratch: !llvm.ptr<1>)
      attributes {gpu.kernel, nvvm.kernel, nvvm.maxntid = array<i32: 128>, moe.kernel = "arithmetic",
                  moe.shared_bytes = 1024 : i64, moe.scratch_bytes = 256 : i64, moe.config = #sm80} {
    %t = nvvm.read.ptx.sreg.tid.x : i32
    %shared = llvm.mlir.addressof @dynamic : !llvm.ptr<3>
    %mine = llvm.getelementptr %shared[%t] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
    %a = llvm.getelementptr %x[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
    %b = llvm.getelementptr %y[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
    %u = llvm.load %a : !llvm.ptr<1> -> f32
    %v = llvm.load %b : !llvm.ptr<1> -> f32
    %product = llvm.fmul %u, %v : f32
    %sum = llvm.fadd %product, %v : f32
    %quotient = llvm.fdiv %sum, %u : f32
    %root = llvm.intr.sqrt(%quotient) : (f32) -> f32
    %fused = llvm.intr.fma(%root, %u, %v) : (f32, f32, f32) -> f32
    llvm.store %fused, %mine : f32, !llvm.ptr<3>
    nvvm.barrier0
    %again = llvm.load %shared : !llvm.ptr<3> -> f32
    llvm.store %again, %b : f32, !llvm.ptr<1>
    llvm.return
  }
}

gpu.module @sm_90a attributes {moe.arch = "sm_90a"} {
  llvm.func @arithmetic(%x: !llvm.ptr<1>, %y: !llvm.ptr<1>, %n: i64, %status: !llvm.ptr<1>, %scratch: !llvm.ptr<1>)
      attributes {gpu.kernel, nvvm.kernel, nvvm.maxntid = array<i32: 128>, moe.kernel = "arithmetic",
                  moe.shared_bytes = 0 : i64, moe.scratch_bytes = 0 : i64, moe.config = #sm90} {
    %v = llvm.load %x : !llvm.ptr<1> -> f32
    llvm.store %v, %y : f32, !llvm.ptr<1>
    llvm.return
  }
}
