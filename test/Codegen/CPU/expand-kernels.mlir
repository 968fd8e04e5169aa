// RUN: moe-opt %s --moe-expand-kernels | FileCheck %s

#avx512 = #moe.cpu<isa = avx512, mr = 4, nr = 2, kc = 64, prefetch = 1024, accumulation = "fma-avx512">
#amx = #moe.cpu<isa = amx, mr = 2, nr = 2, kc = 64, prefetch = 1024, accumulation = "amx-bf16-k32">

// The kernel stays; each variant becomes a function of its own.
// CHECK-LABEL: plan.kernel @rows(
// CHECK: moe.kernel.grouped_gemm

// CHECK-LABEL: func.func private @rows.avx512(
// CHECK-SAME: moe.config = #moe.cpu<isa = avx512,
// CHECK-COUNT-3: moe.ukernel {{.*}} mr = {{[421]}} : i64, prefetch = 1024 : i64
// CHECK-COUNT-3: moe.ukernel {{.*}} mr = {{[421]}} : i64, prefetch = 0 : i64
// CHECK-NOT: moe.ukernel

// CHECK-LABEL: func.func private @rows.amx(
// CHECK-SAME: %[[A:.*]]: memref<?xi8>, %[[W:.*]]: memref<?xi8>, %{{.*}}: memref<?xi32>, %{{.*}}: memref<?xbf16>, %{{.*}}: index, %{{.*}}: index, %{{.*}}: memref<?xi8>) -> i32
// CHECK-SAME: moe.config = #moe.cpu<isa = amx,
// CHECK-SAME: moe.kernel = "rows"
// 8 blocks x 16 rows x 32 columns of f32.
// CHECK-SAME: moe.scratch_bytes = 16384 : i64
// Experts, panels of this worker, groups of row blocks, chunks of channels.
// CHECK: scf.for
// CHECK: scf.for
// CHECK: scf.for
// CHECK: scf.for
// The first register block prefetches, whatever its size.
// CHECK: moe.ukernel %[[A]]{{.*}}, %[[W]]{{.*}} {accumulate, isa = #moe.isa<amx>, mr = 2 : i64, prefetch = 1024 : i64, weight_type = bf16}
// CHECK: moe.ukernel {{.*}} {accumulate, isa = #moe.isa<amx>, mr = 1 : i64, prefetch = 1024 : i64, weight_type = bf16}
// CHECK: moe.ukernel {{.*}} mr = 2 : i64, prefetch = 0 : i64
// CHECK: moe.ukernel {{.*}} mr = 1 : i64, prefetch = 0 : i64
// CHECK-NOT: moe.ukernel
// CHECK: vector.store {{.*}} : memref<?xbf16>, vector<16xbf16>
plan.kernel @rows(%p: memref<?xi8>, %w: memref<?xi8>, %o: memref<?xi32>, %r: memref<?xbf16>) variants [#avx512, #amx] {
  moe.kernel.grouped_gemm ins(%p, %w, %o : memref<?xi8>, memref<?xi8>, memref<?xi32>) outs(%r : memref<?xbf16>)
    attributes {experts = 3 : i64, n = 64 : i64, k = 96 : i64, parts = 1 : i64, weight_type = bf16, row_type = bf16} {
  }
}

// The activation runs on 16 columns at once, scalars of its surroundings too,
// and leaves bf16 tiles.
// CHECK-LABEL: func.func private @packed.amx(
// CHECK: %[[G:.*]] = vector.load {{.*}} : memref<?xf32>, vector<16xf32>
// CHECK: %[[U:.*]] = vector.load {{.*}} : memref<?xf32>, vector<16xf32>
// CHECK: %[[TWO:.*]] = vector.broadcast %{{.*}} : f32 to vector<16xf32>
// CHECK: %[[M:.*]] = arith.mulf %[[G]], %[[TWO]] : vector<16xf32>
// CHECK: %[[H:.*]] = arith.mulf %[[M]], %[[U]] : vector<16xf32>
// CHECK: arith.truncf %[[H]] : vector<16xf32> to vector<16xbf16>
// CHECK: vector.store {{.*}} : memref<?xbf16>, vector<16xbf16>
plan.kernel @packed(%p: memref<?xi8>, %w: memref<?xi8>, %o: memref<?xi32>, %h: memref<?xi8>) variants [#amx] {
  %two = arith.constant 2.0 : f32
  moe.kernel.grouped_gemm ins(%p, %w, %o : memref<?xi8>, memref<?xi8>, memref<?xi32>) outs(%h : memref<?xi8>)
    attributes {experts = 3 : i64, n = 64 : i64, k = 96 : i64, parts = 2 : i64, weight_type = bf16, row_type = bf16} {
  ^bb0(%g: f32, %u: f32):
    %m = arith.mulf %g, %two : f32
    %y = arith.mulf %m, %u : f32
    moe.yield %y : f32
  }
}

// Rows are copied as tiles at level AMX, in f32 below it.
// CHECK-LABEL: func.func private @pack.avx512(
// CHECK: arith.extf %{{.*}} : vector<16xbf16> to vector<16xf32>
// CHECK-COUNT-16: memref.store %{{.*}} : memref<?xf32>
// CHECK-LABEL: func.func private @pack.amx(
// CHECK: vector.load %{{.*}} : memref<?xbf16>, vector<32xbf16>
plan.kernel @pack(%x: memref<?xbf16>, %t: memref<?xi32>, %o: memref<?xi32>, %p: memref<?xi8>) variants [#avx512, #amx] {
  moe.kernel.pack_rows ins(%x, %t, %o : memref<?xbf16>, memref<?xi32>, memref<?xi32>) outs(%p : memref<?xi8>) {experts = 3 : i64, hidden = 96 : i64, weight_type = bf16}
}

// Biases are widened once for a panel, and added to the sums before the
// activation.
// CHECK-LABEL: func.func private @biased.avx512(
// CHECK: %[[B:.*]] = vector.load {{.*}} : memref<?xbf16>, vector<16xbf16>
// CHECK: %[[WIDE:.*]] = arith.extf %[[B]] : vector<16xbf16> to vector<16xf32>
// CHECK: %[[C:.*]] = vector.load {{.*}} : memref<?xf32>, vector<16xf32>
// CHECK: scf.for
// CHECK: %[[G:.*]] = vector.load {{.*}} : memref<?xf32>, vector<16xf32>
// CHECK: %[[GB:.*]] = arith.addf %[[G]], %[[WIDE]] : vector<16xf32>
// CHECK: %[[U:.*]] = vector.load {{.*}} : memref<?xf32>, vector<16xf32>
// CHECK: %[[UB:.*]] = arith.addf %[[U]], %[[C]] : vector<16xf32>
// CHECK: arith.mulf %[[GB]], %[[UB]] : vector<16xf32>
plan.kernel @biased(%p: memref<?xi8>, %w: memref<?xi8>, %o: memref<?xi32>, %b: memref<?xbf16>, %c: memref<?xf32>, %h: memref<?xi8>) variants [#avx512] {
  moe.kernel.grouped_gemm ins(%p, %w, %o : memref<?xi8>, memref<?xi8>, memref<?xi32>) biases(%b, %c : memref<?xbf16>, memref<?xf32>) outs(%h : memref<?xi8>)
    attributes {experts = 3 : i64, n = 64 : i64, k = 96 : i64, parts = 2 : i64, weight_type = bf16, row_type = bf16} {
  ^bb0(%g: f32, %u: f32):
    %y = arith.mulf %g, %u : f32
    moe.yield %y : f32
  }
}

// Rows times their weights, rounded to the type of x; padding stays zero.
// CHECK-LABEL: func.func private @scaled.amx(
// CHECK: %[[WEIGHT:.*]] = memref.load {{.*}} : memref<?xf32>
// CHECK: %[[MASK:.*]] = vector.constant_mask [8] : vector<32xi1>
// CHECK: vector.maskedload {{.*}} into vector<32xbf16>
// CHECK: %[[ALL:.*]] = vector.broadcast %[[WEIGHT]] : f32 to vector<32xf32>
// CHECK: %[[PRODUCT:.*]] = arith.mulf %{{.*}}, %[[ALL]] : vector<32xf32>
// CHECK: %[[INSIDE:.*]] = arith.select %[[MASK]], %[[PRODUCT]]
// CHECK: arith.truncf %[[INSIDE]] : vector<32xf32> to vector<32xbf16>
plan.kernel @scaled(%x: memref<?xbf16>, %t: memref<?xi32>, %o: memref<?xi32>, %w: memref<?xf32>, %p: memref<?xi8>) variants [#amx] {
  moe.kernel.pack_rows ins(%x, %t, %o : memref<?xbf16>, memref<?xi32>, memref<?xi32>) weights(%w : memref<?xf32>) outs(%p : memref<?xi8>) {experts = 3 : i64, hidden = 8 : i64, weight_type = bf16}
}
