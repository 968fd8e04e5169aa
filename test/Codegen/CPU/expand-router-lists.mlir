// RUN: moe-opt %s --moe-select-kernel-config --moe-expand-kernels --cse \
// RUN:   | FileCheck %s

module attributes {moe.targets = ["x86-64-v4"]} {
  // One worker. The key of the last token taken is found bit by bit for a
  // vector of experts; ties go to the first tokens.
  // CHECK-LABEL: func.func private @choose.avx512
  // CHECK-SAME: %[[WORKER:arg[0-9]+]]: index, %{{arg[0-9]+}}: index, %{{arg[0-9]+}}: memref<?xi8>) -> i32
  // CHECK: %[[ALONE:.*]] = arith.cmpi eq, %[[WORKER]], %{{.*}} : index
  // CHECK: scf.if %[[ALONE]] {
  // CHECK: arith.maximumf {{.*}} : vector<16xf32>
  // CHECK: math.exp {{.*}} : vector<16xf32>
  // CHECK: math.ceil {{.*}} : f64
  // CHECK: arith.xori {{.*}} : vector<16xi32>
  // CHECK: arith.cmpi sge, {{.*}} : vector<16xi32>
  // CHECK: arith.shrui {{.*}} : vector<16xi32>
  // CHECK: arith.cmpi sgt, {{.*}} : vector<16xi32>
  // CHECK: arith.divf {{.*}} : f32
  // CHECK: arith.mulf {{.*}} : f32
  // CHECK: arith.truncf {{.*}} : f32 to bf16
  plan.kernel @choose(%l: memref<?xf32>, %eo: memref<?xi32>, %rt: memref<?xi32>,
                      %rw: memref<?xf32>, %to: memref<?xi32>,
                      %tr: memref<?xi32>, %k: memref<?xi32>, %n: index) {
    moe.kernel.choose_rows ins(%l : memref<?xf32>)
        outs(%eo, %rt, %rw, %to, %tr : memref<?xi32>, memref<?xi32>,
             memref<?xf32>, memref<?xi32>, memref<?xi32>)
        scratch(%k : memref<?xi32>) tokens(%n)
        {experts = 16 : i64, score = #moe<token_score softmax_over_tokens>,
         capacity = #moe.capacity<factor 2.0>, average, scale = 0.5 : f32,
         round_weights = bf16}
  }

  // The best of both halves, then of their sums.
  // CHECK-LABEL: func.func private @products.avx512
  // CHECK: vector.reduction <maxsi>
  // CHECK: vector.reduction <maxsi>
  // CHECK: arith.addf {{.*}} : vector<16xf32>
  // CHECK: vector.reduction <maxsi>
  // CHECK: arith.divui
  // CHECK: arith.remui
  plan.kernel @products(%a: memref<?xf32>, %b: memref<?xf32>,
                        %i: memref<?xi32>, %w: memref<?xf32>, %n: index) {
    moe.kernel.select_products ins(%a, %b : memref<?xf32>, memref<?xf32>)
        outs(%i, %w : memref<?xi32>, memref<?xf32>) tokens(%n)
        {first_size = 64 : i64, second_size = 32 : i64,
         policy = #moe.policy<score = none, top_k = 4, weights = softmax>}
  }
}
