// RUN: moe-opt %s --split-input-file --moe-lower-kernel-abi | FileCheck %s

#avx2 = #moe.cpu<isa = avx2, mr = 2, nr = 2, kc = 64, prefetch = 0, accumulation = "fma-avx2">
#amx = #moe.cpu<isa = amx, mr = 2, nr = 2, kc = 64, prefetch = 0, accumulation = "amx-bf16-k32">

// The rest of the plan stays as it is.
// CHECK: plan.kernel @copy(
// CHECK: arith.constant
plan.kernel @copy(%x: memref<?xf32>, %n: index) variants [#avx2] {
  %two = arith.constant 2 : index
}

// Arguments are loaded from the array; the function is internal and has the
// features of its level.
// CHECK-LABEL: llvm.func internal @copy.avx2(
// CHECK-SAME: %[[ARGS:.*]]: !llvm.ptr, %[[WORKER:.*]]: i32, %{{.*}}: i32, %{{.*}}: !llvm.ptr) -> i32
// CHECK-SAME: moe.kernel = "copy"
// CHECK-SAME: passthrough = {{\[\[}}"target-cpu", "x86-64-v3"], ["prefer-vector-width", "256"], "nounwind"]
// CHECK-DAG: %[[X:.*]] = llvm.load %[[ARGS]] : !llvm.ptr -> !llvm.ptr
// CHECK-DAG: %[[SLOT:.*]] = llvm.getelementptr %[[ARGS]][1] : (!llvm.ptr) -> !llvm.ptr, i64
// CHECK-DAG: %[[N:.*]] = llvm.load %[[SLOT]] : !llvm.ptr -> i64
// CHECK-DAG: llvm.sext %[[WORKER]] : i32 to i64
// CHECK-NOT: unrealized_conversion_cast
func.func private @copy.avx2(%x: memref<?xf32>, %n: index, %worker: index, %workers: index, %scratch: memref<?xi8>) -> i32 attributes {moe.config = #avx2, moe.kernel = "copy", moe.scratch_bytes = 64 : i64} {
  %c0 = arith.constant 0 : i32
  %one = arith.constant 1 : index
  scf.for %i = %worker to %n step %one {
    %v = memref.load %x[%i] : memref<?xf32>
    %z = memref.view %scratch[%worker][%n] : memref<?xi8> to memref<?xf32>
    memref.store %v, %z[%i] : memref<?xf32>
  }
  return %c0 : i32
}

// Tiles pass between blocks.
// CHECK-LABEL: llvm.func internal @tiles.amx(
// CHECK-SAME: ["target-cpu", "x86-64-v4"], ["prefer-vector-width", "512"], "nounwind", ["target-features", "+amx-tile,+amx-bf16,+avx512bf16"]
// CHECK: ^bb{{.*}}: !llvm.x86_amx
func.func private @tiles.amx(%c: memref<?xf32>, %n: index, %worker: index, %workers: index, %scratch: memref<?xi8>) -> i32 attributes {moe.config = #amx, moe.kernel = "tiles", moe.scratch_bytes = 0 : i64} {
  %c0 = arith.constant 0 : i32
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %stride = arith.constant 16 : index
  %t = amx.tile_zero : !amx.tile<16x16xf32>
  %r = scf.for %i = %zero to %n step %one iter_args(%acc = %t) -> !amx.tile<16x16xf32> {
    %b = amx.tile_zero : !amx.tile<16x32xbf16>
    %next = amx.tile_mulf %b, %b, %acc : !amx.tile<16x32xbf16>, !amx.tile<16x32xbf16>, !amx.tile<16x16xf32>
    scf.yield %next : !amx.tile<16x16xf32>
  }
  amx.tile_store %c[%zero], %r, %stride : memref<?xf32>, !amx.tile<16x16xf32>
  return %c0 : i32
}

// -----

// Emulated tiles need no AMX, so that every machine runs them.
module attributes {moe.emulate_amx} {
  // CHECK-LABEL: llvm.func internal @k.amx(
  // CHECK-SAME: ["target-cpu", "x86-64-v3"]
  // CHECK-NOT: amx-tile
  // CHECK: llvm.return
  func.func private @k.amx(%worker: index, %workers: index, %scratch: memref<?xi8>) -> i32 attributes {moe.config = #moe.cpu<isa = amx, mr = 2, nr = 2, kc = 64, prefetch = 0, accumulation = "amx-bf16-k32">, moe.kernel = "k", moe.scratch_bytes = 0 : i64} {
    %c0 = arith.constant 0 : i32
    return %c0 : i32
  }
}
