// RUN: moe-opt %s --moe-select-gpu-config --moe-expand-gpu-kernels \
// RUN:   --canonicalize --cse | FileCheck %s

module attributes {moe.targets = ["sm_80"]} {
  // Rows move 16 bytes at a time if the buffers are aligned to as much, which
  // those of a caller need not be.
  // CHECK-LABEL: func.func @gather
  // CHECK: %[[A:.*]] = llvm.ptrtoint %arg0
  // CHECK: %[[B:.*]] = llvm.ptrtoint %arg3
  // CHECK: arith.ori
  // CHECK: arith.andi %{{.*}}, %c15_i64
  // CHECK: scf.if
  // CHECK: %[[ROW:.*]] = llvm.load %{{.*}} {alignment = 16 : i64} : !llvm.ptr<1> -> vector<8xbf16>
  // CHECK: llvm.store %[[ROW]], %{{.*}} {alignment = 16 : i64}
  // CHECK: } else {
  // CHECK: %[[ONE:.*]] = llvm.load %{{.*}} {alignment = 2 : i64} : !llvm.ptr<1> -> bf16
  // CHECK: llvm.store %[[ONE]]
  // CHECK-NOT: arith.extf
  // CHECK: return
  plan.kernel @gather(%x: memref<?xbf16>, %t: memref<?xi32>,
                      %o: memref<?xi32>, %r: memref<?xbf16>) on cuda {
    moe.kernel.gather_rows ins(%x, %t, %o
        : memref<?xbf16>, memref<?xi32>, memref<?xi32>)
        outs(%r : memref<?xbf16>) {experts = 8 : i64, hidden = 64 : i64}
  }

  // Rows of 17 elements are never aligned.
  // CHECK-LABEL: func.func @gather_odd
  // CHECK-NOT: vector<
  // CHECK: return
  plan.kernel @gather_odd(%x: memref<?xf32>, %t: memref<?xi32>,
                          %o: memref<?xi32>, %r: memref<?xf32>) on cuda {
    moe.kernel.gather_rows ins(%x, %t, %o
        : memref<?xf32>, memref<?xi32>, memref<?xi32>)
        outs(%r : memref<?xf32>) {experts = 8 : i64, hidden = 17 : i64}
  }

  // Four rows are loaded before the first is added; one fma per pair in
  // ascending order, one rounding.
  // CHECK-LABEL: func.func @combine
  // CHECK: } else {
  // CHECK: %[[TOTAL:[0-9]+]] = scf.for
  // CHECK: scf.for {{.*}} step %c4_i32 iter_args(%[[SUM:.*]] = %{{.*}}) -> (f32)
  // CHECK-COUNT-4: llvm.load {{.*}} -> bf16
  // CHECK: %[[S0:.*]] = math.fma %{{.*}}, %{{.*}}, %[[SUM]] : f32
  // CHECK: %[[S1:.*]] = math.fma %{{.*}}, %{{.*}}, %[[S0]] : f32
  // CHECK: %[[S2:.*]] = math.fma %{{.*}}, %{{.*}}, %[[S1]] : f32
  // CHECK: math.fma %{{.*}}, %{{.*}}, %[[S2]] : f32
  // CHECK: arith.truncf %[[TOTAL]] : f32 to bf16
  plan.kernel @combine(%y: memref<?xbf16>, %o: memref<?xi32>,
                       %i: memref<?xi32>, %w: memref<?xf32>,
                       %out: memref<?xbf16>, %n: index) on cuda {
    moe.kernel.combine_rows rows(%y : memref<?xbf16>)
        offsets(%o : memref<?xi32>) indices(%i : memref<?xi32>)
        weights(%w : memref<?xf32>) outs(%out : memref<?xbf16>) tokens(%n)
        {hidden = 64 : i64}
  }

  // Without weights every row weighs one; the tiles of all experts are known
  // without counting.
  // CHECK-LABEL: func.func @all
  // CHECK-DAG: %[[ONE:.*]] = arith.constant 1.000000e+00 : f32
  // CHECK: llvm.store %[[ONE]]
  // CHECK-NOT: nvvm.barrier
  // CHECK: return
  plan.kernel @all(%eo: memref<?xi32>, %rt: memref<?xi32>,
                   %rw: memref<?xf32>, %to: memref<?xi32>,
                   %tr: memref<?xi32>, %wl: memref<?xi32>, %n: index)
      on cuda {
    moe.kernel.all_rows outs(%eo, %rt, %rw, %to, %tr : memref<?xi32>,
        memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n)
        worklist(%wl : memref<?xi32>)
        {experts = 2 : i64, tile_rows = 16 : i64}
  }

  // CHECK-LABEL: func.func @count
  // CHECK: arith.subi
  // CHECK: arith.extui %{{.*}} : i32 to i64
  plan.kernel @count(%eo: memref<?xi32>, %c: memref<?xi64>) on cuda {
    moe.kernel.count_rows ins(%eo : memref<?xi32>)
        outs(%c : memref<?xi64>) {experts = 8 : i64}
  }
}
