// RUN: moe-opt %s | moe-opt | FileCheck %s
// RUN: moe-opt %s --mlir-print-op-generic | moe-opt | FileCheck %s
// RUN: moe-opt %s --emit-bytecode | moe-opt | FileCheck %s

moe.weight @gate : tensor<8x96x64xbf16> from ["g.{0..7}"] stack
moe.weight @up : tensor<8x96x64xbf16> from ["u.{0..7}"] stack

// CHECK: plan.constant @gate_up packs [@gate, @up] #moe.layout<kind = rows, kTile = 8>
plan.constant @gate_up packs [@gate, @up] #moe.layout<kind = rows, kTile = 8>

// CHECK: plan.kernel @copy(%{{.*}}: memref<?xf32>, %{{.*}}: index) on cuda variants [#moe.gpu<arch = "sm_80"
plan.kernel @copy(%a: memref<?xf32>, %n: index) on cuda
    variants [#moe.gpu<arch = "sm_80", threads = 128, blocks = 1, n = 1, k = 1,
                       stages = 1, accumulation = "f32">,
              #moe.gpu<arch = "sm_90a", threads = 128, blocks = 1, n = 1, k = 1,
                       stages = 1, accumulation = "f32">] {
}

plan.kernel @host(%a: memref<?xf32>, %n: index) {
}

// CHECK: plan.func @f
plan.func @f symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>)
    outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  // CHECK: plan.variant {
  plan.variant {
    plan.dispatch @host(%x, %n) label "f/a" : !plan.buffer, index
  }
  // CHECK: plan.variant on cuda where [0, 0, 16] {
  plan.variant on cuda where [0, 0, 16] {
    plan.dispatch @copy(%x, %n) label "f/a" : !plan.buffer, index
  }
  // CHECK: plan.variant on cuda {
  plan.variant on cuda {
    plan.dispatch @copy(%x, %n) label "f/a" : !plan.buffer, index
  }
}

// CHECK: plan.binary @sm_80 "ptx" {k = {args = 1 : i64, threads = 128 : i64}} [1] arch "sm_80"
plan.binary @sm_80 "ptx" {k = {args = 1 : i64, threads = 128 : i64}}
    [1] arch "sm_80"
