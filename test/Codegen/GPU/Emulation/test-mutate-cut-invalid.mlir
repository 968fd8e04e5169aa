// RUN: not moe-opt %s -test-mutate-cut="bug=missing-barrier nth=1" 2>&1 | FileCheck %s --check-prefix=NTH
// RUN: not moe-opt %s -test-mutate-cut="bug=missing-wait" 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not moe-opt %s -test-mutate-cut="bug=off-by-one" 2>&1 | FileCheck %s --check-prefix=NAME

// NTH: error: 'missing-barrier' fits 1 places; there is no place 1
// NONE: error: 'missing-wait' fits 0 places; there is no place 0
// NAME: error: no bug is named 'off-by-one'

gpu.module @cut {
  llvm.func @kernel() attributes {nvvm.kernel} {
    nvvm.barrier0
    llvm.return
  }
}
