// RUN: moe-opt %s --split-input-file --moe-serialize-kernels --verify-diagnostics

// expected-error @+1 {{kernel 'k' has no code}}
module {
  plan.kernel @k(%x: memref<?xf32>) variants [#moe.cpu<isa = avx2, mr = 2, nr = 2, kc = 64, prefetch = 0, accumulation = "fma-avx2">] {
  }
}

// -----

module {
  // expected-error @+1 {{function is no kernel; run 'moe-lower-kernel-abi' first}}
  llvm.func @f() -> i32 {
    %0 = llvm.mlir.constant(0 : i32) : i32
    llvm.return %0 : i32
  }
}

// -----

module {
  // expected-error @+1 {{no plan.kernel named 'other'}}
  llvm.func internal @k.avx2(%args: !llvm.ptr, %worker: i32, %workers: i32, %scratch: !llvm.ptr) -> i32 attributes {moe.config = #moe.cpu<isa = avx2, mr = 2, nr = 2, kc = 64, prefetch = 0, accumulation = "fma-avx2">, moe.kernel = "other", moe.scratch_bytes = 0 : i64} {
    llvm.return %worker : i32
  }
}

// -----

// The name of what an artifact would have to find at run time.
// expected-error @+1 {{kernel code would call 'sinf'; only memcpy, memset and memmove can be there when it runs}}
module {
  plan.kernel @k(%x: memref<?xf32>) {
  }
  llvm.func @sinf(f32) -> f32
  llvm.func internal @k.avx2(%args: !llvm.ptr, %worker: i32, %workers: i32, %scratch: !llvm.ptr) -> i32 attributes {moe.config = #moe.cpu<isa = avx2, mr = 2, nr = 2, kc = 64, prefetch = 0, accumulation = "fma-avx2">, moe.kernel = "k", moe.scratch_bytes = 0 : i64} {
    %x = llvm.load %args : !llvm.ptr -> f32
    %y = llvm.call @sinf(%x) : (f32) -> f32
    llvm.store %y, %args : f32, !llvm.ptr
    llvm.return %worker : i32
  }
}
