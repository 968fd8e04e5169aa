//===- TuneGemm.h - Choose the tile of a ragged GEMM ----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CODEGEN_GPU_TUNEGEMM_H
#define MOE_LIB_CODEGEN_GPU_TUNEGEMM_H

#include "moe/Codegen/GPU/KernelExpansion.h"

namespace mlir::moe::gpu {

struct RaggedGemmShape;

/// Sets threads, blocks, tile columns, tile channels and stages for `arch` from
/// the other sizes.
void tuneShape(RaggedGemmShape &shape, const ArchInfo &arch);

} // namespace mlir::moe::gpu

#endif // MOE_LIB_CODEGEN_GPU_TUNEGEMM_H
