//===- GroupRows.cpp - Expansion of moe.kernel.group_rows ---------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Grouping.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::gpu;

LogicalResult mlir::moe::gpu::expandGroupRows(KernelGroupRowsOp op,
                                              KernelContext &ctx) {
  Emit e(ctx.loc, ctx.b);
  GroupingArgs args;
  args.ids = ctx.argument(op.getIds());
  args.weights = ctx.argument(op.getWeights());
  args.expertOffsets = ctx.argument(op.getExpertOffsets());
  args.rowToken = ctx.argument(op.getRowToken());
  args.rowWeight = ctx.argument(op.getRowWeight());
  args.tokenOffsets = ctx.argument(op.getTokenOffsets());
  args.tokenRows = ctx.argument(op.getTokenRows());
  if (op.getWorklist())
    args.worklist = ctx.argument(op.getWorklist());
  args.tokens = argumentI32(e, ctx, op.getTokens());
  args.experts = op.getExperts();
  args.perToken = op.getPerToken();
  args.tileRows = op.getTileRows().value_or(0);
  args.given = op.getGiven();
  args.sparse = true;
  Grouping grouping(e, ctx, args);
  e.ifThen(e.equal(ctx.block, 0), [&](Emit &e) { grouping.emit(e); });
  return success();
}
