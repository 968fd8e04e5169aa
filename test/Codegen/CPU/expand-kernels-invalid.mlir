// RUN: moe-opt %s --split-input-file --moe-expand-kernels --verify-diagnostics

// expected-error @+1 {{kernel has no variants; run 'moe-select-kernel-config' first}}
plan.kernel @k(%o: memref<?xi32>, %c: memref<?xi64>) {
  moe.kernel.count_rows ins(%o : memref<?xi32>) outs(%c : memref<?xi64>) {experts = 3 : i64}
}

// -----

#amx = #moe.cpu<isa = amx, mr = 2, nr = 2, kc = 64, prefetch = 1024, accumulation = "amx-bf16-k32">
plan.kernel @k(%x: memref<?xf32>, %t: memref<?xi32>, %o: memref<?xi32>, %p: memref<?xi8>) variants [#amx] {
  // expected-error @+1 {{at level AMX, activations of type 'f32' would be rounded to bf16}}
  moe.kernel.pack_rows ins(%x, %t, %o : memref<?xf32>, memref<?xi32>, memref<?xi32>) outs(%p : memref<?xi8>) {experts = 3 : i64, hidden = 96 : i64, weight_type = bf16}
}

// -----

#avx2 = #moe.cpu<isa = avx2, mr = 3, nr = 2, kc = 64, prefetch = 0, accumulation = "fma-avx2">
plan.kernel @k(%p: memref<?xi8>, %w: memref<?xi8>, %o: memref<?xi32>, %r: memref<?xf32>) variants [#avx2] {
  // expected-error @+1 {{cannot use register blocks of mr = 3; a power of two up to 16 is needed at this level}}
  moe.kernel.grouped_gemm ins(%p, %w, %o : memref<?xi8>, memref<?xi8>, memref<?xi32>) outs(%r : memref<?xf32>)
    attributes {experts = 3 : i64, n = 64 : i64, k = 96 : i64, parts = 1 : i64, weight_type = f32, row_type = f32} {
  }
}

// -----

#amx = #moe.cpu<isa = amx, mr = 2, nr = 2, kc = 64, prefetch = 1024, accumulation = "amx-bf16-k32">
plan.kernel @k(%p: memref<?xi8>, %w: memref<?xi8>, %o: memref<?xi32>, %h: memref<?xi8>) variants [#amx] {
  // expected-error @+1 {{at level AMX, rows of type 'f32' would be rounded to bf16}}
  moe.kernel.grouped_gemm ins(%p, %w, %o : memref<?xi8>, memref<?xi8>, memref<?xi32>) outs(%h : memref<?xi8>)
    attributes {experts = 3 : i64, n = 64 : i64, k = 96 : i64, parts = 1 : i64, weight_type = bf16, row_type = f32} {
  ^bb0(%c: f32):
    moe.yield %c : f32
  }
}

// -----

#avx2 = #moe.cpu<isa = avx2, mr = 2, nr = 2, kc = 64, prefetch = 0, accumulation = "fma-avx2">
plan.kernel @k(%p: memref<?xi8>, %w: memref<?xi8>, %o: memref<?xi32>, %h: memref<?xi8>, %t: memref<?xf32>) variants [#avx2] {
  %zero = arith.constant 0 : index
  // expected-error @+1 {{activation can hold elementwise ops only, not 'memref.load'}}
  moe.kernel.grouped_gemm ins(%p, %w, %o : memref<?xi8>, memref<?xi8>, memref<?xi32>) outs(%h : memref<?xi8>)
    attributes {experts = 3 : i64, n = 64 : i64, k = 96 : i64, parts = 1 : i64, weight_type = f32, row_type = f32} {
  ^bb0(%c: f32):
    %s = memref.load %t[%zero] : memref<?xf32>
    %y = arith.mulf %c, %s : f32
    moe.yield %y : f32
  }
}

// -----

#avx2 = #moe.cpu<isa = avx2, mr = 2, nr = 2, kc = 64, prefetch = 0, accumulation = "fma-avx2">
plan.kernel @k(%a: memref<?xi8>, %b: memref<?xi8>, %c: memref<?xf32>, %n: index) variants [#avx2] {
  // expected-error @+1 {{'moe.ukernel' op is not a kernel op, no expander handles it}}
  moe.ukernel %a[%n, %n], %b[%n], %c[%n] k(%n of %n) {isa = #moe.isa<avx2>, mr = 2 : i64, prefetch = 0 : i64, weight_type = f32} : memref<?xi8>, memref<?xi8>, memref<?xf32>
}
