//===- AllRows.cpp - Expansion of moe.kernel.all_rows -------------------===//
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

LogicalResult mlir::moe::gpu::expandAllRows(KernelAllRowsOp op,
                                            KernelContext &ctx) {
  int64_t experts = op.getExperts();
  Emit e(ctx.loc, ctx.b);
  Value tokens = argumentI32(e, ctx, op.getTokens());
  Value pairs = e.mul(tokens, experts);
  Value tokenRows = ctx.argument(op.getTokenRows());
  Value rowToken = ctx.argument(op.getRowToken());
  Value rowWeight = ctx.argument(op.getRowWeight());

  forAllThreads(e, ctx, pairs, [&](Emit &e, Value pair) {
    Value token = e.div(pair, experts), expert = e.rem(pair, experts);
    Value row = e.add(e.mul(expert, tokens), token);
    e.store(row, tokenRows, pair);
    e.store(token, rowToken, row);
    Value weight = e.f32(1.0f);
    if (Value weights = op.getWeights())
      weight = e.load(e.getF32Type(), ctx.argument(weights), pair);
    e.store(weight, rowWeight, row);
  });
  forAllThreads(e, ctx, e.add(tokens, 1), [&](Emit &e, Value token) {
    e.store(e.mul(token, experts), ctx.argument(op.getTokenOffsets()), token);
  });
  forAllThreads(e, ctx, e.i32(experts + 1), [&](Emit &e, Value expert) {
    e.store(e.mul(expert, tokens), ctx.argument(op.getExpertOffsets()), expert);
  });
  if (!op.getWorklist())
    return success();

  // All experts have the same tiles.
  Value worklist = ctx.argument(op.getWorklist());
  int64_t tileRows = *op.getTileRows();
  Value perExpert = ceilDiv(e, tokens, tileRows);
  Value tiles = e.mul(perExpert, experts);
  forAllThreads(e, ctx, tiles, [&](Emit &e, Value tile) {
    Value expert = e.div(tile, perExpert);
    Value begin = e.mul(e.rem(tile, perExpert), tileRows);
    Value rows = e.minU(e.i32(tileRows), e.sub(tokens, begin));
    emitTile(e, worklist, tile, expert, e.add(e.mul(expert, tokens), begin),
             rows);
  });
  Value isFirst = e.bitAnd(e.equal(ctx.block, 0), e.equal(ctx.thread, 0));
  e.ifThen(isFirst, [&](Emit &e) { emitWorklistHead(e, worklist, tiles); });
  return success();
}
