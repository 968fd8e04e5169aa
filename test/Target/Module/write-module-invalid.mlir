// RUN: rm -rf %t && split-file %s %t
// RUN: not moe-opt %t/binary.mlir --moe-write-module 2>&1 | FileCheck %s --check-prefix=OUTPUT
// RUN: not moe-opt %t/empty.mlir --moe-write-module="output=%t/x.moe" 2>&1 | FileCheck %s --check-prefix=BINARY
// RUN: not moe-opt %t/format.mlir --moe-write-module="output=%t/x.moe" 2>&1 | FileCheck %s --check-prefix=FORMAT
// RUN: not moe-opt %t/packed.mlir --moe-write-module="output=%t/x.moe" 2>&1 | FileCheck %s --check-prefix=CHECKPOINT
// RUN: not moe-opt %t/packed.mlir --moe-write-module="output=%t/x.moe checkpoint=%t/none" 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: %python %S/Inputs/make_weights.py %t/w.safetensors other:8
// RUN: not moe-opt %t/packed.mlir --moe-write-module="output=%t/x.moe checkpoint=%t/w.safetensors" 2>&1 | FileCheck %s --check-prefix=MISSING
// RUN: %python %S/Inputs/make_weights.py %t/w.safetensors scale:9
// RUN: not moe-opt %t/packed.mlir --moe-write-module="output=%t/x.moe checkpoint=%t/w.safetensors" 2>&1 | FileCheck %s --check-prefix=SHAPE
// RUN: not moe-opt %t/huge.mlir --moe-write-module="output=%t/x.moe checkpoint=%t/w.safetensors" 2>&1 | FileCheck %s --check-prefix=HUGE
// RUN: not moe-opt %t/binary.mlir --moe-write-module="output=%t/no/such/x.moe" 2>&1 | FileCheck %s --check-prefix=FOLDER
// RUN: ls %t | FileCheck %s --check-prefix=LEFT

// OUTPUT: error: the pass option 'output' is missing
// BINARY: error: expected a plan.binary with the host's code; run the phase 'target' first
// FORMAT: error: 'plan.binary' op C1
// CHECKPOINT: error[MOE0002]: packed and embedded weights, and content hashes, need the checkpoint
// CHECKPOINT: because an .mlir file names weights, but does not hold them
// CHECKPOINT: fix: add --checkpoint=DIR (pass option 'checkpoint')
// NONE: error[MOE0401]: no checkpoint at
// MISSING: error[MOE0402]: 1 tensor does not match this artifact: tensor 'scale' is missing
// SHAPE: error[MOE0402]: 1 tensor does not match this artifact: tensor 'scale' is F32 [9], needed is F32 [8]
// HUGE: error[MOE0407]: weights of 2147483648 bytes cannot be embedded; the limit is 1073741824
// HUGE: because code and data of a shared object must lie within 2 GiB of each other
// HUGE: fix: use --weights=packed or --weights=external
// FOLDER: error{{.*}}no/such/x.moe

// Whatever fails leaves nothing behind.
// LEFT-NOT: x.moe

//--- empty.mlir
module {}
//--- binary.mlir
plan.binary @code "elf-x86_64-object" {} []
//--- format.mlir
plan.binary @code "mach-o" {} []
//--- packed.mlir
module attributes {moe.weights = "packed"} {
  moe.weight @scale : tensor<8xf32> from ["scale"]
  plan.constant @scale.row_major packs [@scale] #moe.layout<kind = row_major>
  plan.binary @code "elf-x86_64-object" {} []
}
//--- huge.mlir
module attributes {moe.weights = "embedded"} {
  moe.weight @scale : tensor<32768x16384xf32> from ["scale"]
  plan.constant @scale.row_major packs [@scale] #moe.layout<kind = row_major>
  plan.binary @code "elf-x86_64-object" {} []
}
