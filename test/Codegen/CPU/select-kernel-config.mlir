// RUN: moe-opt %s --split-input-file --moe-select-kernel-config | FileCheck %s

// A kernel with a bf16 GEMM gets all levels, ascending; another one has no use
// for AMX.
module attributes {moe.targets = ["x86-64"]} {
  // CHECK-LABEL: plan.kernel @pack
  // CHECK-SAME: variants [#moe.cpu<isa = avx2, mr = 2, nr = 2, kc = 128, prefetch = 1536, accumulation = "fma-avx2">, #moe.cpu<isa = avx512, mr = 8,
  // CHECK-SAME: #moe.cpu<isa = amx, mr = 2, nr = 2, kc = 128, prefetch = 1536, accumulation = "amx-bf16-k32">]
  plan.kernel @pack(%x: memref<?xbf16>, %t: memref<?xi32>, %o: memref<?xi32>, %p: memref<?xi8>) {
    moe.kernel.pack_rows ins(%x, %t, %o : memref<?xbf16>, memref<?xi32>, memref<?xi32>) outs(%p : memref<?xi8>) {experts = 5 : i64, hidden = 40 : i64, weight_type = bf16}
  }
  // CHECK-LABEL: plan.kernel @pack_f32
  // CHECK-SAME: variants [#moe.cpu<isa = avx2, {{[^>]*}}>, #moe.cpu<isa = avx512, {{[^>]*}}>] {
  plan.kernel @pack_f32(%x: memref<?xf32>, %t: memref<?xi32>, %o: memref<?xi32>, %p: memref<?xi8>) {
    moe.kernel.pack_rows ins(%x, %t, %o : memref<?xf32>, memref<?xi32>, memref<?xi32>) outs(%p : memref<?xi8>) {experts = 5 : i64, hidden = 40 : i64, weight_type = f32}
  }
}

// -----

// AMX alone: what has no AMX code still needs some.
module attributes {moe.targets = ["x86-64-amx"]} {
  // CHECK-LABEL: plan.kernel @gather
  // CHECK-SAME: variants [#moe.cpu<isa = avx512, {{[^>]*}}>] {
  plan.kernel @gather(%x: memref<?xf32>, %t: memref<?xi32>, %o: memref<?xi32>, %r: memref<?xf32>) {
    moe.kernel.gather_rows ins(%x, %t, %o : memref<?xf32>, memref<?xi32>, memref<?xi32>) outs(%r : memref<?xf32>) {experts = 5 : i64, hidden = 40 : i64}
  }
}

// -----

// A level named twice is generated once.
module attributes {moe.targets = ["x86-64-v3", "x86-64-v3"]} {
  // CHECK-LABEL: plan.kernel @gather
  // CHECK-SAME: variants [#moe.cpu<isa = avx2, {{[^>]*}}>] {
  plan.kernel @gather(%x: memref<?xf32>, %t: memref<?xi32>, %o: memref<?xi32>, %r: memref<?xf32>) {
    moe.kernel.gather_rows ins(%x, %t, %o : memref<?xf32>, memref<?xi32>, memref<?xi32>) outs(%r : memref<?xf32>) {experts = 5 : i64, hidden = 40 : i64}
  }
}
