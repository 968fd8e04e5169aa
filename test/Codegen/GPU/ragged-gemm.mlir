// RUN: moe-opt %s -moe-expand-gpu-kernels -split-input-file | FileCheck %s

// Three stages: copies of two tiles ahead, one group may be pending, a barrier
// before the stage of the tile before is filled again.
// CHECK-LABEL: gpu.module @sm_80
// CHECK: func.func @up(
// CHECK-SAME: moe.shared_bytes = 73728
// CHECK: %[[COUNT:.*]] = llvm.load %{{.*}} -> i32
// CHECK: scf.for unsigned

// Up to 16 rows: one row of fragments, four pairs of columns for a warp.
// CHECK: arith.cmpi ult, %{{.*}}, %{{.*}} : i32
// CHECK: nvvm.barrier0
// CHECK: nvvm.cp.async.shared.global %{{.*}}, %{{.*}}, 16, cache = cg
// CHECK: nvvm.cp.async.commit.group
// CHECK: nvvm.cp.async.commit.group
// CHECK-NOT: nvvm.cp.async.commit.group
// CHECK: scf.for unsigned
// CHECK-NEXT: nvvm.cp.async.wait.group 1
// CHECK-NEXT: nvvm.barrier0
// CHECK: scf.if
// CHECK: nvvm.cp.async.shared.global %{{.*}}, %{{.*}}, 16, cache = cg, %
// CHECK: }
// CHECK-NEXT: nvvm.cp.async.commit.group
// CHECK: nvvm.ldmatrix %{{.*}} {{{.*}}num = 4 : i32
// CHECK-COUNT-16: nvvm.mma.sync {{.*}}multiplicandAPtxType = #nvvm.mma_type<bf16>{{.*}}shape = #nvvm.shape<m = 16, n = 8, k = 16>
// CHECK-NOT: nvvm.mma.sync
// CHECK: nvvm.barrier0
// CHECK-COUNT-8: llvm.store %{{.*}} {alignment = 8 : i64} : vector<2xf32>, !llvm.ptr<3>

// Up to 32 rows, then 64.
// CHECK: nvvm.cp.async.wait.group 1
// CHECK-COUNT-32: nvvm.mma.sync
// CHECK: nvvm.cp.async.wait.group 1
// CHECK-COUNT-64: nvvm.mma.sync
// CHECK-NOT: nvvm.mma.sync

// Once for all classes: the sums of eight channels through the activation.
// CHECK: nvvm.barrier0
// CHECK-NEXT: arith.constant
// CHECK: scf.for unsigned
// CHECK-COUNT-4: llvm.load %{{.*}} {alignment = 16 : i64} : !llvm.ptr<3> -> vector<4xf32>
// CHECK-COUNT-8: math.exp
// CHECK-NOT: math.exp
// CHECK: arith.truncf %{{.*}} : f32 to bf16
// CHECK: llvm.store %{{.*}} {alignment = 16 : i64} : vector<8xbf16>, !llvm.ptr<1>
plan.kernel @up(%x: memref<?xbf16>, %t: memref<?xi32>, %w: memref<?xi8>,
    %l: memref<?xi32>, %o: memref<?xbf16>) on cuda
    variants [#moe.gpu<arch = "sm_80", threads = 128, blocks = 2, n = 128,
                       k = 64, stages = 3, accumulation = "mma-k16">] {
  moe.kernel.ragged_gemm ins(%x, %w : memref<?xbf16>, memref<?xi8>)
      gather(%t : memref<?xi32>) worklist(%l : memref<?xi32>)
      outs(%o : memref<?xbf16>)
      attributes {experts = 8 : i64, n = 1024 : i64, k = 512 : i64,
                  parts = 2 : i64, tile_rows = 64 : i64, weight_type = bf16} {
  ^bb0(%gate: f32, %up: f32):
    %one = arith.constant 1.0 : f32
    %negated = arith.negf %gate : f32
    %power = math.exp %negated : f32
    %sum = arith.addf %power, %one : f32
    %silu = arith.divf %gate, %sum : f32
    %result = arith.mulf %silu, %up : f32
    moe.yield %result : f32
  }
}

// -----

// Rows of 36 bytes are copied in pieces of 4 bytes, for that is their alignment;
// what lies outside is not read.
// CHECK-LABEL: func.func @even(
// CHECK: nvvm.cp.async.shared.global %{{.*}}, %{{.*}}, 4, cache = ca, %
// CHECK: nvvm.mma.sync {{.*}} : (vector<2xf16>, vector<2xf16>, f32)
plan.kernel @even(%x: memref<?xf16>, %w: memref<?xi8>, %l: memref<?xi32>,
    %o: memref<?xf16>) on cuda
    variants [#moe.gpu<arch = "sm_80", threads = 32, blocks = 1, n = 16,
                       k = 16, stages = 2, accumulation = "mma-k16">] {
  moe.kernel.ragged_gemm ins(%x, %w : memref<?xf16>, memref<?xi8>)
      worklist(%l : memref<?xi32>) outs(%o : memref<?xf16>)
      attributes {experts = 1 : i64, n = 8 : i64, k = 18 : i64,
                  parts = 1 : i64, tile_rows = 16 : i64, weight_type = f16}
}

// Rows of 34 bytes are loaded one element at a time.
// CHECK-LABEL: func.func @odd(
// CHECK: llvm.load %{{.*}} {alignment = 2 : i64} : !llvm.ptr<1> -> i16
// CHECK: llvm.store %{{.*}} {alignment = 16 : i64} : vector<8xi16>, !llvm.ptr<3>
// An odd number of channels is stored one by one.
// CHECK: llvm.store %{{.*}} {alignment = 2 : i64} : f16, !llvm.ptr<1>
plan.kernel @odd(%x: memref<?xf16>, %w: memref<?xi8>, %l: memref<?xi32>,
    %o: memref<?xf16>) on cuda
    variants [#moe.gpu<arch = "sm_80", threads = 32, blocks = 1, n = 16,
                       k = 16, stages = 2, accumulation = "mma-k16">] {
  moe.kernel.ragged_gemm ins(%x, %w : memref<?xf16>, memref<?xi8>)
      worklist(%l : memref<?xi32>) outs(%o : memref<?xf16>)
      attributes {experts = 1 : i64, n = 7 : i64, k = 17 : i64,
                  parts = 1 : i64, tile_rows = 16 : i64, weight_type = f16}
}

// -----

// f32 has no tensor cores that keep its digits.
// CHECK-LABEL: func.func @single(
// CHECK-NOT: nvvm.mma.sync
// CHECK: nvvm.cp.async.wait.group 0
// CHECK: llvm.load %{{.*}} {alignment = 16 : i64} : !llvm.ptr<3> -> vector<4xf32>
// CHECK-COUNT-32: math.fma
// CHECK-NOT: math.fma
// CHECK: llvm.store %{{.*}} {alignment = 16 : i64} : vector<4xf32>, !llvm.ptr<1>
plan.kernel @single(%x: memref<?xf32>, %w: memref<?xi8>, %l: memref<?xi32>,
    %o: memref<?xf32>) on cuda
    variants [#moe.gpu<arch = "sm_80", threads = 32, blocks = 1, n = 16,
                       k = 16, stages = 2, accumulation = "fma-f32">] {
  moe.kernel.ragged_gemm ins(%x, %w : memref<?xf32>, memref<?xi8>)
      worklist(%l : memref<?xi32>) outs(%o : memref<?xf32>)
      attributes {experts = 1 : i64, n = 16 : i64, k = 16 : i64,
                  parts = 1 : i64, tile_rows = 16 : i64, weight_type = f32}
}

// -----

// Biases are loaded one by one, in their own type, and added before the
// activation.
// CHECK-LABEL: func.func @biased(
// CHECK: nvvm.barrier
// CHECK: %[[SUM:.*]] = llvm.extractelement %{{.*}} : vector<4xf32>
// CHECK: %[[B:.*]] = llvm.load %{{.*}} : !llvm.ptr<1> -> f16
// CHECK: %[[WIDE:.*]] = arith.extf %[[B]] : f16 to f32
// CHECK: %[[FIRST:.*]] = arith.addf %{{.*}}, %[[WIDE]] : f32
// CHECK: %[[C:.*]] = llvm.load %{{.*}} : !llvm.ptr<1> -> f32
// CHECK: %[[SECOND:.*]] = arith.addf %{{.*}}, %[[C]] : f32
// CHECK: arith.mulf %[[FIRST]], %[[SECOND]] : f32
plan.kernel @biased(%x: memref<?xf16>, %w: memref<?xi8>, %b: memref<?xf16>,
    %c: memref<?xf32>, %l: memref<?xi32>, %o: memref<?xf16>) on cuda
    variants [#moe.gpu<arch = "sm_80", threads = 32, blocks = 1, n = 16,
                       k = 16, stages = 2, accumulation = "mma-k16">] {
  moe.kernel.ragged_gemm ins(%x, %w : memref<?xf16>, memref<?xi8>)
      biases(%b, %c : memref<?xf16>, memref<?xf32>)
      worklist(%l : memref<?xi32>) outs(%o : memref<?xf16>)
      attributes {experts = 1 : i64, n = 8 : i64, k = 16 : i64,
                  parts = 2 : i64, tile_rows = 16 : i64, weight_type = f16} {
  ^bb0(%gate: f32, %up: f32):
    %result = arith.mulf %gate, %up : f32
    moe.yield %result : f32
  }
}
