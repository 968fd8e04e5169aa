//===- CountRows.cpp - Expansion of moe.kernel.count_rows ---------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "WarpEmit.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::gpu;

LogicalResult mlir::moe::gpu::expandCountRows(KernelCountRowsOp op,
                                              KernelContext &ctx) {
  Emit e(ctx.loc, ctx.b);
  Value offsets = ctx.argument(op.getExpertOffsets());
  Value counts = ctx.argument(op.getCounts());
  forAllThreads(e, ctx, e.i32(op.getExperts()), [&](Emit &e, Value expert) {
    Value begin = e.load(e.getI32Type(), offsets, expert);
    Value end = e.load(e.getI32Type(), offsets, e.add(expert, 1));
    e.store(e.toI64(e.sub(end, begin)), counts, expert);
  });
  return success();
}
