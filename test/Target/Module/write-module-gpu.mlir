// GPU images in an artifact: the section, the plan and the metadata.
// RUN: rm -rf %t && mkdir %t
// RUN: moe-opt %s -moe-serialize-gpu=ptxas=%S/../NVPTX/Inputs/ptxas -moe-serialize-kernels -o %t/target.mlir
// RUN: moe-opt %t/target.mlir --moe-write-module="output=%t/a.moe" -o /dev/null
// RUN: moe-opt %t/target.mlir --moe-write-module="output=%t/b.moe" -o /dev/null
// RUN: cmp %t/a.moe %t/b.moe

// RUN: llvm-objdump --offloading %t/a.moe | FileCheck %s --check-prefix=IMAGES
// IMAGES: OFFLOADING IMAGE [0]:
// IMAGES-NEXT: kind            ptx
// IMAGES-NEXT: arch            sm_80
// IMAGES-NEXT: triple          nvptx64-nvidia-cuda
// IMAGES-NEXT: producer        cuda
// IMAGES: OFFLOADING IMAGE [1]:
// IMAGES-NEXT: kind            cubin
// IMAGES-NEXT: arch            sm_80
// IMAGES: OFFLOADING IMAGE [2]:
// IMAGES-NEXT: kind            ptx
// IMAGES-NEXT: arch            sm_90a
// IMAGES: OFFLOADING IMAGE [3]:
// IMAGES-NEXT: kind            cubin
// IMAGES-NEXT: arch            sm_90a
// IMAGES-NOT: OFFLOADING IMAGE

// The host has a query function and no kernel.
// RUN: llvm-nm -D --defined-only --format=just-symbols %t/a.moe | FileCheck %s --check-prefix=EXPORTS
// EXPORTS: moe_module_query
// EXPORTS-NOT: {{.}}

// RUN: llvm-objcopy --dump-section=.moe.meta=%t/meta.json %t/a.moe
// RUN: FileCheck %s --check-prefix=META --input-file=%t/meta.json
// META: "gpu": [
// META: "arch": "sm_80",
// META-NEXT: "images": [
// META-NEXT: "ptx",
// META-NEXT: "cubin"
// META-NEXT: ],
// META-NEXT: "ptx": "7.0",
// META-NEXT: "ptxas": "12.8.61"
// META: "arch": "sm_90a",
// META: "offloading_xxh3": "{{[0-9a-f]+}}"
// META: "targets": [
// META-NEXT: "sm_80",
// META-NEXT: "sm_90a"
// META-NEXT: ]

// What moe-inspect, hence the runtime's reader, finds in it.
// RUN: moe-inspect kernels %t/a.moe | FileCheck %s --check-prefix=KERNELS
// KERNELS: double

// The reader checks the hash of the images.
// RUN: llvm-objcopy --dump-section=.llvm.offloading=%t/images %t/a.moe
// RUN: %python %S/../../Tools/moe-compile/flip_last_byte.py %t/images
// RUN: llvm-objcopy --update-section=.llvm.offloading=%t/images %t/a.moe %t/broken.moe
// RUN: not moe-inspect summary %t/broken.moe 2>&1 | FileCheck %s --check-prefix=BROKEN
// BROKEN: error[MOE0303]: artifact is damaged: the checksum of its GPU images does not match

// Without the assembler the plan says what the compiler knows.
// RUN: moe-opt %s -moe-serialize-gpu=ptxas=none -moe-serialize-kernels -o %t/ptx.mlir
// RUN: moe-opt %t/ptx.mlir --moe-write-module="output=%t/c.moe" -o /dev/null
// RUN: llvm-objdump --offloading %t/c.moe | FileCheck %s --check-prefix=PTX
// PTX: kind            ptx
// PTX-NOT: cubin

#sm80 = #moe.gpu<arch = "sm_80", threads = 128, blocks = 2, n = 1, k = 1, stages = 1, accumulation = "f32">
#sm90 = #moe.gpu<arch = "sm_90a", threads = 256, blocks = 1, n = 1, k = 1, stages = 1, accumulation = "f32">

module attributes {moe.targets = ["sm_80", "sm_90a"]} {
  plan.func @f symbols(%n: "N" [0, 4096])
      inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>)
      dims [0, 0] {
    plan.variant on cuda {
      plan.dispatch @double(%x, %y, %n) label "f/double"
          : !plan.buffer, !plan.buffer, index
    }
  }
  plan.kernel @double(%x: memref<?xf32>, %y: memref<?xf32>, %n: index)
      on cuda variants [#sm80, #sm90] {
  }
  gpu.module @sm_80 attributes {moe.arch = "sm_80"} {
    llvm.func @double(%x: !llvm.ptr<1>, %y: !llvm.ptr<1>, %n: i64, %status: !llvm.ptr<1>, %scratch: !llvm.ptr<1>)
        attributes {gpu.kernel, nvvm.kernel, nvvm.maxntid = array<i32: 128>, moe.kernel = "double",
                    moe.shared_bytes = 4096 : i64, moe.scratch_bytes = 256 : i64, moe.config = #sm80} {
      %v = llvm.load %x : !llvm.ptr<1> -> f32
      %w = llvm.fadd %v, %v : f32
      llvm.store %w, %y : f32, !llvm.ptr<1>
      llvm.return
    }
  }
  gpu.module @sm_90a attributes {moe.arch = "sm_90a"} {
    llvm.func @double(%x: !llvm.ptr<1>, %y: !llvm.ptr<1>, %n: i64, %status: !llvm.ptr<1>, %scratch: !llvm.ptr<1>)
        attributes {gpu.kernel, nvvm.kernel, nvvm.maxntid = array<i32: 256>, moe.kernel = "double",
                    moe.shared_bytes = 0 : i64, moe.scratch_bytes = 0 : i64, moe.config = #sm90} {
      %v = llvm.load %x : !llvm.ptr<1> -> f32
      %w = llvm.fadd %v, %v : f32
      llvm.store %w, %y : f32, !llvm.ptr<1>
      llvm.return
    }
  }
}
