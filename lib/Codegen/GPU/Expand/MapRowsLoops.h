//===- MapRowsLoops.h - Linalg ops on buffers to loops of threads ---------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CODEGEN_GPU_EXPAND_MAPROWSLOOPS_H
#define MOE_LIB_CODEGEN_GPU_EXPAND_MAPROWSLOOPS_H

#include "mlir/Dialect/Linalg/IR/Linalg.h"

namespace mlir::moe::gpu {

/// Replaces a linalg op on buffers of static shape by an scf.parallel over the
/// dimensions in which no two iterations write one element; the others run
/// inside, ascending, sums in registers. Fails with a diagnostic at the op.
LogicalResult lowerLinalgToThreads(RewriterBase &rewriter, linalg::LinalgOp op);

} // namespace mlir::moe::gpu

#endif // MOE_LIB_CODEGEN_GPU_EXPAND_MAPROWSLOOPS_H
