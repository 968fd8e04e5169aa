// RUN: moe-opt %s --split-input-file --test-lower-amx-to-loops | FileCheck %s

module attributes {moe.emulate_amx} {
  // Tiles are buffers at the function's entry; the loop carries none.
  // CHECK-LABEL: func.func @multiply(
  // CHECK-SAME: %[[A:.*]]: memref<?xbf16>, %{{.*}}: memref<?xbf16>, %[[C:.*]]: memref<?xf32>
  // CHECK-COUNT-4: memref.alloca() {alignment = 64 : i64} : memref<{{(256xf32|512xbf16)}}>
  // CHECK-NOT: amx
  // CHECK: scf.for %{{.*}} = %{{.*}} to %{{.*}} step %{{.*}} {
  // Rows of A are copied, then row by row and pair by pair multiplied.
  // CHECK: vector.load %[[A]]
  // CHECK: %[[SUMS:.*]]:2 = scf.for {{.*}} -> (vector<16xf32>, vector<16xf32>)
  // CHECK-COUNT-2: math.fma
  // CHECK: arith.addf %[[SUMS]]#0, %[[SUMS]]#1
  // CHECK: vector.store {{.*}} : memref<256xf32>, vector<16xf32>
  // CHECK: vector.store {{.*}} %[[C]]
  // CHECK-NOT: amx
  // CHECK: return
  func.func @multiply(%a: memref<?xbf16>, %b: memref<?xbf16>, %c: memref<?xf32>, %k: index) {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c16 = arith.constant 16 : index
    %c32 = arith.constant 32 : index
    %zero = amx.tile_zero : !amx.tile<16x16xf32>
    %sum = scf.for %i = %c0 to %k step %c1 iter_args(%acc = %zero) -> !amx.tile<16x16xf32> {
      %ta = amx.tile_load %a[%i], %c32 : memref<?xbf16> into !amx.tile<16x32xbf16>
      %tb = amx.tile_load %b[%i], %c32 : memref<?xbf16> into !amx.tile<16x32xbf16>
      %next = amx.tile_mulf %ta, %tb, %acc : !amx.tile<16x32xbf16>, !amx.tile<16x32xbf16>, !amx.tile<16x16xf32>
      scf.yield %next : !amx.tile<16x16xf32>
    }
    amx.tile_store %c[%c0], %sum, %c16 : memref<?xf32>, !amx.tile<16x16xf32>
    return
  }
}

// -----

// Without the attribute nothing is emulated.
module {
  // CHECK-LABEL: func.func @native(
  // CHECK: amx.tile_zero
  func.func @native(%c: memref<?xf32>) {
    %c0 = arith.constant 0 : index
    %c16 = arith.constant 16 : index
    %zero = amx.tile_zero : !amx.tile<16x16xf32>
    amx.tile_store %c[%c0], %zero, %c16 : memref<?xf32>, !amx.tile<16x16xf32>
    return
  }
}
