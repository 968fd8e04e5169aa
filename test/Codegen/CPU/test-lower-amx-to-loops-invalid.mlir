// RUN: moe-opt %s --split-input-file --test-lower-amx-to-loops=always=true --verify-diagnostics

func.func @int8(%a: memref<?xi8>) {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %t = amx.tile_load %a[%c0], %c64 : memref<?xi8> into !amx.tile<16x64xi8>
  %zero = amx.tile_zero : !amx.tile<16x16xi32>
  // expected-error @+1 {{'amx.tile_muli' op has no lowering to loops}}
  %m = amx.tile_muli %t, %t, %zero : !amx.tile<16x64xi8>, !amx.tile<16x64xi8>, !amx.tile<16x16xi32>
  return
}

// -----

func.func @f16(%a: memref<?xf16>) {
  %c0 = arith.constant 0 : index
  %c32 = arith.constant 32 : index
  %t = amx.tile_load %a[%c0], %c32 : memref<?xf16> into !amx.tile<16x32xf16>
  %zero = amx.tile_zero : !amx.tile<16x16xf32>
  // expected-error @+1 {{has no lowering to loops but for tiles of bf16}}
  %m = amx.tile_mulf %t, %t, %zero : !amx.tile<16x32xf16>, !amx.tile<16x32xf16>, !amx.tile<16x16xf32>
  return
}
