//===- CombineRows.cpp - Expands moe.kernel.combine_rows ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Codegen/CPU/KernelExpansion.h"

using namespace mlir;
using namespace mlir::moe;

LogicalResult cpu::expandCombineRows(KernelCombineRowsOp op, KernelContext &ctx) {
  return op.emitOpError("has no expansion at this ISA level");
}
