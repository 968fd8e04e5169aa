// RUN: rm -rf %t && mkdir %t
// RUN: moe-opt %s -moe-emit-emulated-object=output=%t/k.so | FileCheck %s
// RUN: llvm-nm -D --defined-only --format=just-symbols %t/k.so | FileCheck %s --check-prefix=EXPORTS
// RUN: llvm-nm -D -u --format=just-symbols %t/k.so | FileCheck %s --check-prefix=IMPORTS
// RUN: ls %t | FileCheck %s --check-prefix=FILES

// The same module gives the same bytes.
// RUN: cp %t/k.so %t/first && moe-opt %s -moe-emit-emulated-object=output=%t/k.so -o /dev/null
// RUN: cmp %t/k.so %t/first

// CHECK: gpu.module @sm_80
// CHECK: nvvm.barrier0
// EXPORTS: moe_emulated_module
// EXPORTS-NOT: {{.}}
// IMPORTS: moe_emu_barrier_sync
// FILES: k.so
// FILES-NOT: {{.}}

gpu.module @sm_80 attributes {moe.arch = "sm_80"} {
  llvm.func @k(%x: !llvm.ptr<1>) attributes {gpu.kernel, nvvm.kernel, nvvm.maxntid = array<i32: 128>} {
    %zero = llvm.mlir.constant(0 : i32) : i32
    nvvm.barrier0
    llvm.store %zero, %x : i32, !llvm.ptr<1>
    llvm.return
  }
}
