// RUN: moe-opt %s --moe-emit-ukernels | FileCheck %s

// Two row blocks: four tiles of sums carried by the loop over 32 channels, two
// tiles of A and of B per step, half of the step's 32 lines of prefetch behind
// each pair of multiplications.
// CHECK-LABEL: func.func @amx(
// CHECK-SAME: %[[A:.*]]: memref<?xi8>, %[[B:.*]]: memref<?xi8>, %[[C:.*]]: memref<?xf32>
// CHECK-DAG: %[[AV:.*]] = memref.view %[[A]]{{.*}} : memref<?xi8> to memref<?xbf16>
// CHECK-DAG: %[[BV:.*]] = memref.view %[[B]]{{.*}} : memref<?xi8> to memref<?xbf16>
// CHECK-COUNT-4: amx.tile_load %[[C]]{{.*}} into !amx.tile<16x16xf32>
// CHECK: scf.for {{.*}} -> (!amx.tile<16x16xf32>, !amx.tile<16x16xf32>, !amx.tile<16x16xf32>, !amx.tile<16x16xf32>)
// CHECK: amx.tile_load %[[AV]]
// CHECK: amx.tile_load %[[BV]]
// CHECK: amx.tile_mulf
// CHECK-COUNT-8: memref.prefetch %[[BV]]{{.*}}, read, locality<3>, data
// CHECK-NOT: memref.prefetch
// CHECK: amx.tile_load %[[BV]]
// CHECK: amx.tile_mulf
// CHECK-COUNT-8: memref.prefetch
// CHECK: amx.tile_load %[[AV]]
// CHECK: amx.tile_mulf
// CHECK-COUNT-8: memref.prefetch
// CHECK: amx.tile_mulf
// CHECK-COUNT-8: memref.prefetch
// CHECK: scf.yield
// CHECK-COUNT-4: amx.tile_store %[[C]]
func.func @amx(%a: memref<?xi8>, %b: memref<?xi8>, %c: memref<?xf32>, %o: index, %k: index) {
  moe.ukernel %a[%o, %o], %b[%o], %c[%o] k(%k of %k) {accumulate, isa = #moe.isa<amx>, mr = 2 : i64, prefetch = 1536 : i64, weight_type = bf16} : memref<?xi8>, memref<?xi8>, memref<?xf32>
  return
}

// One row block starting from zero, no prefetch.
// CHECK-LABEL: func.func @amx_zero(
// CHECK-COUNT-2: amx.tile_zero : !amx.tile<16x16xf32>
// CHECK-NOT: memref.prefetch
// CHECK: scf.for
// CHECK-COUNT-2: amx.tile_mulf
// CHECK-NOT: amx.tile_mulf
func.func @amx_zero(%a: memref<?xi8>, %b: memref<?xi8>, %c: memref<?xf32>, %o: index, %k: index) {
  moe.ukernel %a[%o, %o], %b[%o], %c[%o] k(%k of %k) {isa = #moe.isa<amx>, mr = 1 : i64, prefetch = 0 : i64, weight_type = bf16} : memref<?xi8>, memref<?xi8>, memref<?xf32>
  return
}

// f32 weights: a row of 32 columns per channel, as two vectors of 16.
// CHECK-LABEL: func.func @avx512_f32(
// CHECK: %[[BV:.*]] = memref.view {{.*}} to memref<?xf32>
// CHECK: scf.for {{.*}} -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>)
// CHECK-COUNT-2: memref.prefetch %[[BV]]
// CHECK-COUNT-2: vector.broadcast %{{.*}} : f32 to vector<16xf32>
// CHECK: vector.load %[[BV]]
// CHECK-COUNT-2: math.fma {{.*}} : vector<16xf32>
// CHECK: vector.load %[[BV]]
// CHECK-COUNT-2: math.fma
func.func @avx512_f32(%a: memref<?xi8>, %b: memref<?xi8>, %c: memref<?xf32>, %o: index, %k: index) {
  moe.ukernel %a[%o, %o], %b[%o], %c[%o] k(%k of %k) {accumulate, isa = #moe.isa<avx512>, mr = 2 : i64, prefetch = 1024 : i64, weight_type = f32} : memref<?xi8>, memref<?xi8>, memref<?xf32>
  return
}

// bf16 weights: pairs of channels, the even one shifted up, then the odd one
// masked; sums take them in this order.
// CHECK-LABEL: func.func @avx2_bf16(
// CHECK: %[[BV:.*]] = memref.view {{.*}} to memref<?xi32>
// CHECK: scf.for {{.*}} -> (vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>)
// CHECK: scf.for {{.*}} -> (vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>)
// CHECK-COUNT-4: vector.load %[[BV]]{{.*}} : memref<?xi32>, vector<8xi32>
// CHECK: arith.shli {{.*}} : vector<8xi32>
// CHECK: %[[EVEN:.*]] = math.fma
// CHECK: arith.andi {{.*}} : vector<8xi32>
// CHECK: math.fma %{{.*}}, %{{.*}}, %[[EVEN]] : vector<8xf32>
func.func @avx2_bf16(%a: memref<?xi8>, %b: memref<?xi8>, %c: memref<?xf32>, %o: index, %k: index) {
  moe.ukernel %a[%o, %o], %b[%o], %c[%o] k(%k of %k) {accumulate, isa = #moe.isa<avx2>, mr = 1 : i64, prefetch = 0 : i64, weight_type = bf16} : memref<?xi8>, memref<?xi8>, memref<?xf32>
  return
}
