// RUN: rm -rf %t && split-file %s %t
// RUN: not moe-opt %t/none.mlir -moe-emit-emulated-object=output=%t/x.so 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not moe-opt %t/op.mlir -moe-emit-emulated-object=output=%t/x.so 2>&1 | FileCheck %s --check-prefix=OP
// RUN: not moe-opt %t/fine.mlir -moe-emit-emulated-object 2>&1 | FileCheck %s --check-prefix=OUTPUT
// RUN: not moe-opt %t/fine.mlir -moe-emit-emulated-object=output=%t/no/x.so 2>&1 | FileCheck %s --check-prefix=FOLDER

// NONE: error: expected one gpu.module
// OP: error: 'nvvm.inline_ptx' op is not an operation of the emulator
// OUTPUT: error: the pass option 'output' is missing
// FOLDER: error: cannot write '{{.*}}no/x.so

//--- none.mlir
//--- op.mlir
gpu.module @sm_80 {
  llvm.func @k() attributes {nvvm.kernel} {
    nvvm.inline_ptx "trap;"
    llvm.return
  }
}
//--- fine.mlir
gpu.module @sm_80 {
  llvm.func @k() attributes {nvvm.kernel} {
    llvm.return
  }
}
