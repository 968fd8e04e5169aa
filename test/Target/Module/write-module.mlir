// RUN: rm -rf %t && mkdir %t
// RUN: moe-opt %s -pass-pipeline='builtin.module(moe-routed,moe-tiled,moe-target)' -o %t/target.mlir
// RUN: moe-opt %t/target.mlir --moe-write-module="output=%t/a.moe" -o /dev/null

// The sections, and nothing left beside the file.
// RUN: ls %t | FileCheck %s --check-prefix=FILES
// FILES: a.moe
// FILES-NEXT: target.mlir
// RUN: llvm-readelf -S %t/a.moe | FileCheck %s --check-prefix=SECTIONS
// SECTIONS-DAG: .text
// SECTIONS-DAG: .moe.plan
// SECTIONS-DAG: .moe.meta
// SECTIONS-DAG: .moe.sum
// SECTIONS-NOT: .moe.weights

// One symbol out, at most three in; no path of this machine.
// RUN: llvm-nm -D --defined-only --format=just-symbols %t/a.moe | FileCheck %s --check-prefix=EXPORTS
// EXPORTS: moe_module_query
// EXPORTS-NOT: {{.}}
// RUN: llvm-nm -D -u --format=just-symbols %t/a.moe | FileCheck %s --check-prefix=IMPORTS --allow-empty
// IMPORTS-NOT: {{^mem(cpy|set|move)?[^csm]}}
// IMPORTS-NOT: {{^[^m]}}
// RUN: not grep -q %moe_obj_root %t/a.moe

// The same module gives the same bytes, wherever it is written.
// RUN: moe-opt %t/target.mlir --moe-write-module="output=%t/b.moe" -o /dev/null
// RUN: cmp %t/a.moe %t/b.moe

// Metadata, with what the module says about the model.
// RUN: llvm-objcopy --dump-section=.moe.meta=%t/meta.json %t/a.moe
// RUN: FileCheck %s --check-prefix=META --input-file=%t/meta.json
// META: "format": {
// META: "functions": [
// META: "name": "hidden"
// META: "N",
// META-NEXT: 8
// META: "name": "f"
// META: "name": "small"
// META: "numerics": "strict"
// META: "schema": "moe.meta/1"
// META: "targets": [
// META-NEXT: "x86-64:avx2"
// META-NEXT: ]
// META: "fingerprint": "{{[0-9a-f]+}}"
// META: "mode": "external"

// The reader checks every hash, that of the code too.
// RUN: moe-inspect summary %t/a.moe
// RUN: llvm-objcopy --dump-section=.text=%t/text %t/a.moe
// RUN: %python %S/../../Tools/moe-compile/flip_last_byte.py %t/text
// RUN: llvm-objcopy --update-section=.text=%t/text %t/a.moe %t/broken.moe
// RUN: not moe-inspect summary %t/broken.moe 2>&1 | FileCheck %s --check-prefix=BROKEN
// BROKEN: error[MOE0303]: artifact is damaged: the checksum of its code does not match

// Packed: a file beside the artifact. Embedded: a section in it.
// RUN: %python %S/Inputs/make_weights.py %t/w.safetensors scale:8
// RUN: sed 's/moe.numerics = "strict"/moe.numerics = "strict", moe.weights = "packed"/' %t/target.mlir > %t/packed.mlir
// RUN: moe-opt %t/packed.mlir --moe-write-module="output=%t/p.moe checkpoint=%t/w.safetensors" -o /dev/null
// RUN: ls %t/p.moe.weights.safetensors
// RUN: sed 's/moe.numerics = "strict"/moe.numerics = "strict", moe.weights = "embedded"/' %t/target.mlir > %t/embedded.mlir
// RUN: moe-opt %t/embedded.mlir --moe-write-module="output=%t/e.moe checkpoint=%t/w.safetensors" -o /dev/null
// RUN: llvm-readelf -S %t/e.moe | FileCheck %s --check-prefix=EMBEDDED
// EMBEDDED: .moe.weights

module attributes {moe.targets = ["x86-64-v3"], moe.numerics = "strict",
                   moe.model = {name = "small"}} {
  moe.weight @scale : tensor<8xf32> from ["scale"]
  func.func @f(%x: tensor<?x8xf32> {moe.name = "hidden"}) -> tensor<?x8xf32> {
    %s = moe.get_weight @scale : tensor<8xf32>
    %c0 = arith.constant 0 : index
    %n = tensor.dim %x, %c0 : tensor<?x8xf32>
    %e = tensor.empty(%n) : tensor<?x8xf32>
    %b = linalg.broadcast ins(%s : tensor<8xf32>) outs(%e : tensor<?x8xf32>)
        dimensions = [0]
    %y = arith.mulf %x, %b : tensor<?x8xf32>
    return %y : tensor<?x8xf32>
  }
}
