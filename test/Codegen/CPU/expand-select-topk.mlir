// RUN: moe-opt %s --moe-select-kernel-config --moe-expand-kernels \
// RUN:   --split-input-file | FileCheck %s
// RUN: moe-opt %s --moe-select-kernel-config --moe-expand-kernels \
// RUN:   --split-input-file | FileCheck %s --check-prefix=FAST

// FAST-NOT: fastmath

// Softmax over 5 experts: the lanes behind them are -infinity to the maximum,
// nothing to the sum, and never the best.
module attributes {moe.targets = ["x86-64-v4"]} {
  // CHECK-LABEL: func.func private @softmax.avx512
  // CHECK-SAME: moe.scratch_bytes = 256
  // CHECK: %[[INF:.*]] = arith.constant dense<0xFF800000> : vector<16xf32>
  // CHECK: %[[L:.*]] = arith.select %{{.*}}, %{{.*}}, %[[INF]]
  // CHECK: arith.maximumf %[[INF]], %[[L]]
  // CHECK: %[[T:.*]] = math.exp {{.*}} : vector<16xf32>
  // CHECK: %[[S:.*]] = arith.addf %[[ZERO:.*]], %[[T]]
  // CHECK: arith.select %{{.*}}, %[[S]], %[[ZERO]]
  // CHECK: arith.divf {{.*}} : vector<16xf32>
  // CHECK: %[[NONE:.*]] = arith.constant dense<-2147483648> : vector<16xi32>
  // CHECK: arith.select %{{.*}}, %{{.*}}, %[[NONE]]
  // CHECK: vector.reduction <maxsi>
  // CHECK: vector.reduction <minsi>
  plan.kernel @softmax(%l: memref<?xf32>, %i: memref<?xi32>, %w: memref<?xf32>,
                       %n: index) {
    moe.kernel.select_topk ins(%l : memref<?xf32>)
        outs(%i, %w : memref<?xi32>, memref<?xf32>) tokens(%n)
        {experts = 5 : i64, policy = #moe.policy<top_k = 3, normalize>}
  }
}

// -----

// Groups: the two largest keys of each, in integers; a sum of NaN counts as
// -infinity.
module attributes {moe.targets = ["x86-64-v4"]} {
  // CHECK-LABEL: func.func private @groups.avx512
  // CHECK: arith.addf {{.*}} : vector<16xf32>
  // CHECK: arith.minsi {{.*}} : vector<16xi32>
  // CHECK: arith.addf {{.*}} : f32
  // CHECK: arith.cmpf uno, {{.*}} : f32
  // CHECK: arith.mulf {{.*}} : vector<16xf32>
  plan.kernel @groups(%l: memref<?xf32>, %b: memref<?xf32>, %i: memref<?xi32>,
                      %w: memref<?xf32>, %n: index) {
    moe.kernel.select_topk ins(%l, %b : memref<?xf32>, memref<?xf32>)
        outs(%i, %w : memref<?xi32>, memref<?xf32>) tokens(%n)
        {experts = 64 : i64,
         policy = #moe.policy<score = sigmoid, groups = 4 keep 2 by top2_sum,
                              top_k = 8, scale = 2.5>}
  }
}
