//===- RowLoops.h - What loops over rows share ----------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CODEGEN_CPU_EXPAND_ROWLOOPS_H
#define MOE_LIB_CODEGEN_CPU_EXPAND_ROWLOOPS_H

#include "../../RowFunction.h"
#include "Lanes.h"
#include "moe/Codegen/CPU/KernelExpansion.h"

namespace mlir::moe::cpu {

/// The expert of `row`: the first from `expert` on that does not end before.
/// There must be one: `row` lies before the last of `offsets`.
Value emitFindExpert(ImplicitLocOpBuilder &b, Value offsets, Value expert,
                     Value row);

/// Piece number `piece` of the shape of `type` in a flat buffer.
Value emitView(ImplicitLocOpBuilder &b, Value buffer, Value piece,
               MemRefType type);

/// Inlines the body of `function` at `b`. Its temporaries live in the worker's
/// scratch, taken at the place of the kernel op.
void inlineRow(RowFunction &function, ImplicitLocOpBuilder &b,
               KernelContext &ctx, ValueRange arguments);

} // namespace mlir::moe::cpu

#endif // MOE_LIB_CODEGEN_CPU_EXPAND_ROWLOOPS_H
