//===- LinalgLoops.h - Linalg ops on buffers to loops ---------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CODEGEN_CPU_EXPAND_LINALGLOOPS_H
#define MOE_LIB_CODEGEN_CPU_EXPAND_LINALGLOOPS_H

#include "mlir/Dialect/Linalg/IR/Linalg.h"

namespace mlir::moe::cpu {

/// Replaces a linalg op on buffers of static shape by loops over its parallel
/// and then its reduction dimensions. Sums stay in registers, and one dimension
/// runs in vectors of sixteen lanes when all accesses allow it; a reduction is
/// then the sum of its lanes. Fails with a diagnostic at the op.
LogicalResult lowerLinalgToLoops(RewriterBase &rewriter, linalg::LinalgOp op);

} // namespace mlir::moe::cpu

#endif // MOE_LIB_CODEGEN_CPU_EXPAND_LINALGLOOPS_H
