// RUN: moe-opt %s -moe-verify-tiled -split-input-file | FileCheck %s

// All that a module of the phase may hold; nothing is changed.
// CHECK: moe.weight @w
// CHECK: plan.constant @c
// CHECK: plan.func @f
// CHECK: plan.kernel @k
// CHECK: moe.kernel.count_rows
moe.weight @w : tensor<4xf32> from ["w"]
plan.constant @c packs [@w] #moe.layout<kind = row_major>
plan.func @f symbols(%n: "N" [0, 8]) inputs(%x: "x" tensor<?xi32>)
    outputs(%y: "y" tensor<2xi64>) dims [0] {
  plan.variant {
    plan.dispatch @k(%x, %y) label "f/k" : !plan.buffer, !plan.buffer
  }
}
plan.kernel @k(%x: memref<?xi32>, %y: memref<?xi64>)
    variants [#moe.cpu<isa = avx2, mr = 1, nr = 1, kc = 1, prefetch = 0,
                       accumulation = "avx2">,
              #moe.cpu<isa = amx, mr = 1, nr = 1, kc = 1, prefetch = 0,
                       accumulation = "amx">] {
  moe.kernel.count_rows ins(%x : memref<?xi32>) outs(%y : memref<?xi64>)
      {experts = 2 : i64}
}

// -----

// Levels may differ in their accumulation class in the strict mode, too.
// CHECK: moe.numerics = "strict"
module attributes {moe.numerics = "strict"} {
  plan.kernel @k(%x: memref<?xi32>, %y: memref<?xi64>)
      variants [#moe.cpu<isa = avx2, mr = 1, nr = 1, kc = 1, prefetch = 0,
                         accumulation = "avx2">,
                #moe.cpu<isa = amx, mr = 1, nr = 1, kc = 1, prefetch = 0,
                         accumulation = "amx">] {
    moe.kernel.count_rows ins(%x : memref<?xi32>) outs(%y : memref<?xi64>)
        {experts = 2 : i64}
  }
}
