//===- Budget.h - What a multiprocessor has for a kernel ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CODEGEN_GPU_BUILDER_BUDGET_H
#define MOE_LIB_CODEGEN_GPU_BUILDER_BUDGET_H

#include "SharedTile.h"

#include "moe/Codegen/GPU/KernelExpansion.h"

namespace mlir::moe::gpu {

/// Registers of one thread, at most, on every architecture.
constexpr int64_t kMaxRegisters = 255;

struct Budget {
  int64_t threads = 0;
  /// Blocks that are meant to share a multiprocessor.
  int64_t blocks = 1;
  /// Dynamic shared memory of a block, in bytes.
  int64_t sharedBytes = 0;
  /// Estimate for one thread.
  int64_t registers = 0;

  /// Whether `arch` can launch such blocks and hold `blocks` of them at once
  /// without spilling.
  LogicalResult verify(const ArchInfo &arch, EmitError emitError) const;
};

} // namespace mlir::moe::gpu

#endif // MOE_LIB_CODEGEN_GPU_BUILDER_BUDGET_H
