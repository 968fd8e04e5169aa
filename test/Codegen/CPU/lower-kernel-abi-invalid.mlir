// RUN: moe-opt %s --split-input-file --moe-lower-kernel-abi --verify-diagnostics

// expected-error @+1 {{kernel function has no 'moe.config'}}
func.func private @k.avx2(%worker: index, %workers: index, %scratch: memref<?xi8>) -> i32 attributes {moe.kernel = "k"} {
  %c0 = arith.constant 0 : i32
  return %c0 : i32
}

// -----

func.func private @k.avx2(%a: memref<?xi8>, %c: memref<?xf32>, %worker: index, %workers: index, %scratch: memref<?xi8>) -> i32 attributes {moe.config = #moe.cpu<isa = avx2, mr = 2, nr = 2, kc = 64, prefetch = 0, accumulation = "fma-avx2">, moe.kernel = "k", moe.scratch_bytes = 0 : i64} {
  %c0 = arith.constant 0 : i32
  // expected-error @+1 {{no lowering of 'moe.ukernel' to the LLVM dialect}}
  moe.ukernel %a[%worker, %worker], %a[%worker], %c[%worker] k(%worker of %worker) {isa = #moe.isa<avx2>, mr = 1 : i64, prefetch = 0 : i64, weight_type = f32} : memref<?xi8>, memref<?xi8>, memref<?xf32>
  return %c0 : i32
}
