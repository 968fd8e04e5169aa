// RUN: moe-opt %s -moe-expand-gpu-kernels -split-input-file -verify-diagnostics

plan.kernel @memory(%x: memref<?xbf16>, %w: memref<?xi8>, %l: memref<?xi32>,
    %o: memref<?xbf16>) on cuda
    variants [#moe.gpu<arch = "sm_86", threads = 128, blocks = 1, n = 128,
                       k = 64, stages = 5, accumulation = "mma-k16">] {
  // expected-error @below {{'moe.kernel.ragged_gemm' op a block needs 122880 bytes of shared memory, sm_86 has 101376}}
  moe.kernel.ragged_gemm ins(%x, %w : memref<?xbf16>, memref<?xi8>)
      worklist(%l : memref<?xi32>) outs(%o : memref<?xbf16>)
      attributes {experts = 8 : i64, n = 1024 : i64, k = 512 : i64,
                  parts = 1 : i64, tile_rows = 64 : i64, weight_type = bf16}
}

// -----

plan.kernel @warps(%x: memref<?xbf16>, %w: memref<?xi8>, %l: memref<?xi32>,
    %o: memref<?xbf16>) on cuda
    variants [#moe.gpu<arch = "sm_80", threads = 128, blocks = 1, n = 32,
                       k = 64, stages = 3, accumulation = "mma-k16">] {
  // expected-error @below {{'moe.kernel.ragged_gemm' op 4 warps cannot share a tile of 16 x 32}}
  moe.kernel.ragged_gemm ins(%x, %w : memref<?xbf16>, memref<?xi8>)
      worklist(%l : memref<?xi32>) outs(%o : memref<?xbf16>)
      attributes {experts = 8 : i64, n = 1024 : i64, k = 512 : i64,
                  parts = 1 : i64, tile_rows = 64 : i64, weight_type = bf16}
}

// -----

plan.kernel @stages(%x: memref<?xbf16>, %w: memref<?xi8>, %l: memref<?xi32>,
    %o: memref<?xbf16>) on cuda
    variants [#moe.gpu<arch = "sm_80", threads = 128, blocks = 1, n = 128,
                       k = 64, stages = 1, accumulation = "mma-k16">] {
  // expected-error @below {{'moe.kernel.ragged_gemm' op a pipeline has stages and copies ahead, got 1 stages, 0 ahead, -1 pending}}
  moe.kernel.ragged_gemm ins(%x, %w : memref<?xbf16>, memref<?xi8>)
      worklist(%l : memref<?xi32>) outs(%o : memref<?xbf16>)
      attributes {experts = 8 : i64, n = 1024 : i64, k = 512 : i64,
                  parts = 1 : i64, tile_rows = 64 : i64, weight_type = bf16}
}

// -----

plan.kernel @channels(%x: memref<?xbf16>, %w: memref<?xi8>, %l: memref<?xi32>,
    %o: memref<?xbf16>) on cuda
    variants [#moe.gpu<arch = "sm_80", threads = 128, blocks = 1, n = 128,
                       k = 24, stages = 3, accumulation = "mma-k16">] {
  // expected-error @below {{'moe.kernel.ragged_gemm' op a tile of k = 24 channels of 'bf16' is not a power of two of 32 bytes}}
  moe.kernel.ragged_gemm ins(%x, %w : memref<?xbf16>, memref<?xi8>)
      worklist(%l : memref<?xi32>) outs(%o : memref<?xbf16>)
      attributes {experts = 8 : i64, n = 1024 : i64, k = 512 : i64,
                  parts = 1 : i64, tile_rows = 64 : i64, weight_type = bf16}
}

// -----

// A tile of so many rows leaves the warps no registers.
plan.kernel @rows(%x: memref<?xbf16>, %w: memref<?xi8>, %l: memref<?xi32>,
    %o: memref<?xbf16>) on cuda
    variants [#moe.gpu<arch = "sm_80", threads = 128, blocks = 1, n = 128,
                       k = 16, stages = 2, accumulation = "mma-k16">] {
  // expected-error-re @below {{'moe.kernel.ragged_gemm' op a thread needs about {{[0-9]+}} registers, the limit is 255}}
  moe.kernel.ragged_gemm ins(%x, %w : memref<?xbf16>, memref<?xi8>)
      worklist(%l : memref<?xi32>) outs(%o : memref<?xbf16>)
      attributes {experts = 8 : i64, n = 1024 : i64, k = 512 : i64,
                  parts = 1 : i64, tile_rows = 256 : i64, weight_type = bf16}
}
