//===- SelectTopk.h - Choosing the experts of tokens ----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CODEGEN_GPU_EXPAND_SELECTTOPK_H
#define MOE_LIB_CODEGEN_GPU_EXPAND_SELECTTOPK_H

#include "WarpEmit.h"

namespace mlir::moe::gpu {

/// Operands of moe.kernel.select_topk. Pointers to global memory, and an i32.
struct SelectTopkArgs {
  Value logits, bias, ids, weights;
  Value tokens;
  int64_t experts;
  PolicyAttr policy;
  /// `bias` has a row for each token.
  bool biasPerToken = false;
};

/// Applies the policy to all tokens, one warp per token, over all blocks.
/// `bias` may be null.
void emitSelectTopk(Emit &e, KernelContext &ctx, const SelectTopkArgs &args);

} // namespace mlir::moe::gpu

#endif // MOE_LIB_CODEGEN_GPU_EXPAND_SELECTTOPK_H
