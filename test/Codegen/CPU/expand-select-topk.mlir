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

// -----

// Scores are rounded before anything is added to them; what is preferred gets
// its share once; then null experts and what does not stay are no pairs, -1.
module attributes {moe.targets = ["x86-64-v4"]} {
  // CHECK-LABEL: func.func private @drops.avx512
  // CHECK: math.absf {{.*}} : vector<16xf32>
  // CHECK: math.exp {{.*}} : vector<16xf32>
  // CHECK: math.log {{.*}} : vector<16xf32>
  // CHECK: math.sqrt {{.*}} : vector<16xf32>
  // CHECK: arith.truncf {{.*}} : vector<16xf32> to vector<16xbf16>
  // CHECK: arith.addf {{.*}} : vector<16xf32>
  // CHECK: arith.cmpi ne, {{.*}} : vector<16xi32>
  // CHECK: arith.cmpi sge, {{.*}} : i32
  // CHECK: math.sqrt {{.*}} : f32
  // CHECK: arith.cmpf ugt, {{.*}} : f32
  // CHECK: arith.cmpf olt, {{.*}} : f32
  // CHECK: arith.constant dense<-1> : vector<16xi32>
  plan.kernel @drops(%l: memref<?xf32>, %b: memref<?xf32>, %r: memref<?xi32>,
                     %i: memref<?xi32>, %w: memref<?xf32>, %n: index) {
    moe.kernel.select_topk ins(%l, %b : memref<?xf32>, memref<?xf32>)
        resident(%r : memref<?xi32>)
        outs(%i, %w : memref<?xi32>, memref<?xf32>) tokens(%n)
        {experts = 16 : i64, bias_per_token,
         policy = #moe.policy<score = sqrt_softplus, round_scores = bf16,
                              prefer = 0.5 beyond 1, top_k = 4,
                              null_experts = 4, normalize by 2 at_least 0.1,
                              keep = top_p 0.9>}
  }
}

// -----

// Capacity in f64, without contraction; one worker.
module attributes {moe.targets = ["x86-64-v4"]} {
  // CHECK-LABEL: func.func private @capacity.avx512
  // CHECK: scf.if
  // CHECK: arith.sitofp {{.*}} : i64 to f64
  // CHECK: arith.mulf {{.*}} : f64
  // CHECK: arith.mulf {{.*}} : f64
  // CHECK: arith.divf {{.*}} : f64
  // CHECK: math.floor {{.*}} : f64
  // CHECK: arith.maxsi {{.*}} : i64
  // CHECK: scf.while
  plan.kernel @capacity(%c: memref<?xi32>, %v: memref<?xf32>,
                        %i: memref<?xi32>, %w: memref<?xf32>,
                        %d: memref<?xi32>, %o: memref<?xi32>, %n: index) {
    moe.kernel.apply_capacity ins(%c, %v : memref<?xi32>, memref<?xf32>)
        outs(%i, %w, %d : memref<?xi32>, memref<?xf32>, memref<?xi32>)
        scratch(%o : memref<?xi32>) tokens(%n)
        {experts = 8 : i64,
         policy = #moe.policy<top_k = 2, capacity = factor 1.25 floor min 4
                              by weight>}
  }
}
