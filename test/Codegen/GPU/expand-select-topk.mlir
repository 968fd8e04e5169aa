// RUN: moe-opt %s --moe-select-gpu-config --moe-expand-gpu-kernels \
// RUN:   --canonicalize --cse | FileCheck %s
// RUN: moe-opt %s --moe-select-gpu-config --moe-expand-gpu-kernels \
// RUN:   | FileCheck %s --check-prefix=FAST

// FAST-NOT: fastmath<{{[^n]}}

module attributes {moe.targets = ["sm_80"]} {
  // Softmax over 40 experts: two registers per lane, no memory in between. The
  // lanes behind the last expert are -infinity to the maximum, nothing to the
  // sum, and never the best.
  // CHECK-LABEL: func.func @softmax
  // CHECK-SAME: moe.scratch_bytes = 0 : i64, moe.shared_bytes = 0 : i64
  // CHECK-DAG: %[[LOWEST:.*]] = arith.constant 0xFF800000 : f32
  // CHECK-DAG: %[[NONE:.*]] = arith.constant -2147483648 : i32
  // CHECK: scf.for
  // CHECK: %[[L0:.*]] = llvm.load
  // CHECK: %[[L1:.*]] = scf.if %[[INSIDE:.*]] -> (f32)
  // CHECK: scf.yield %[[LOWEST]]
  // CHECK: arith.maximumf
  // CHECK: nvvm.shfl.sync bfly {{.*}}, %c16_i32
  // CHECK: math.exp
  // CHECK: math.exp
  // Each lane adds the elements of two threads, the lower one first.
  // CHECK: %[[LOWER:.*]] = arith.cmpi ult, %{{.*}}, %c16_i32 : i32
  // CHECK: %[[OTHER:.*]] = nvvm.shfl.sync bfly %{{.*}}, %[[OWN:.*]], %c16_i32
  // CHECK: arith.select %[[LOWER]], %[[OWN]], %[[OTHER]] : f32
  // CHECK: arith.select %[[LOWER]], %[[OTHER]], %[[OWN]] : f32
  // CHECK: nvvm.shfl.sync bfly {{.*}}, %c8_i32
  // CHECK: nvvm.shfl.sync bfly {{.*}}, %c1_i32
  // CHECK: arith.divf
  // CHECK: arith.divf
  // CHECK: arith.cmpf uno
  // CHECK: arith.select %[[INSIDE]], %{{.*}}, %[[NONE]] : i32
  // Largest key of the warp, smallest of the ids that have it.
  // CHECK: %[[MAX:.*]] = nvvm.redux.sync max
  // CHECK: nvvm.redux.sync min
  // CHECK-NOT: nvvm.barrier
  // CHECK: return
  plan.kernel @softmax(%l: memref<?xf32>, %i: memref<?xi32>,
                       %w: memref<?xf32>, %n: index) on cuda {
    moe.kernel.select_topk ins(%l : memref<?xf32>)
        outs(%i, %w : memref<?xi32>, memref<?xf32>) tokens(%n)
        {experts = 40 : i64, policy = #moe.policy<top_k = 3, normalize>}
  }

  // Groups: the largest key, then the next one, which another lane or the same
  // may have.
  // CHECK-LABEL: func.func @groups
  // CHECK: %[[FIRST:.*]] = nvvm.redux.sync max
  // CHECK: nvvm.vote.sync ballot
  // CHECK: math.cttz
  // CHECK: %[[SECOND:.*]] = nvvm.redux.sync max
  // CHECK: arith.addf
  plan.kernel @groups(%l: memref<?xf32>, %b: memref<?xf32>, %i: memref<?xi32>,
                      %w: memref<?xf32>, %n: index) on cuda {
    moe.kernel.select_topk ins(%l, %b : memref<?xf32>, memref<?xf32>)
        outs(%i, %w : memref<?xi32>, memref<?xf32>) tokens(%n)
        {experts = 256 : i64,
         policy = #moe.policy<score = sigmoid,
                              groups = 8 keep 4 by top2_sum, top_k = 8,
                              normalize epsilon 1.0e-20, scale = 2.5>}
  }

  // 600 experts do not fit the registers: scores and keys in memory, 19 words
  // of each for every lane of 8 warps.
  // CHECK-LABEL: func.func @many
  // CHECK-SAME: moe.scratch_bytes = 38912 : i64, moe.shared_bytes = 0 : i64
  plan.kernel @many(%l: memref<?xf32>, %i: memref<?xi32>, %w: memref<?xf32>,
                    %n: index) on cuda {
    moe.kernel.select_topk ins(%l : memref<?xf32>)
        outs(%i, %w : memref<?xi32>, memref<?xf32>) tokens(%n)
        {experts = 600 : i64, policy = #moe.policy<top_k = 3>}
  }
}
