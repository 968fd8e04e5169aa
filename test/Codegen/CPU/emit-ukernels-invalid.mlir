// RUN: moe-opt %s --split-input-file --moe-emit-ukernels --verify-diagnostics

func.func @amx_f32(%a: memref<?xi8>, %b: memref<?xi8>, %c: memref<?xf32>, %o: index, %k: index) {
  // expected-error @+1 {{level AMX has no code for weights of type 'f32'}}
  moe.ukernel %a[%o, %o], %b[%o], %c[%o] k(%k of %k) {isa = #moe.isa<amx>, mr = 1 : i64, prefetch = 0 : i64, weight_type = f32} : memref<?xi8>, memref<?xi8>, memref<?xf32>
  return
}

// -----

func.func @amx_rows(%a: memref<?xi8>, %b: memref<?xi8>, %c: memref<?xf32>, %o: index, %k: index) {
  // expected-error @+1 {{level AMX has 1 or 2 row blocks, not 3}}
  moe.ukernel %a[%o, %o], %b[%o], %c[%o] k(%k of %k) {isa = #moe.isa<amx>, mr = 3 : i64, prefetch = 0 : i64, weight_type = bf16} : memref<?xi8>, memref<?xi8>, memref<?xf32>
  return
}

// -----

func.func @avx512_rows(%a: memref<?xi8>, %b: memref<?xi8>, %c: memref<?xf32>, %o: index, %k: index) {
  // expected-error @+1 {{level avx512 has 1 to 16 rows, not 17}}
  moe.ukernel %a[%o, %o], %b[%o], %c[%o] k(%k of %k) {isa = #moe.isa<avx512>, mr = 17 : i64, prefetch = 0 : i64, weight_type = f32} : memref<?xi8>, memref<?xi8>, memref<?xf32>
  return
}
