//===- GatherRows.cpp - Expansion of moe.kernel.gather_rows -------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Every warp copies pieces of rows, 16 bytes per lane where the rows allow it.
//
//===----------------------------------------------------------------------===//

#include "RowPieces.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::gpu;

LogicalResult mlir::moe::gpu::expandGatherRows(KernelGatherRowsOp op,
                                               KernelContext &ctx) {
  Emit e(ctx.loc, ctx.b);
  int64_t hidden = op.getHidden();
  Type type = cast<MemRefType>(op.getX().getType()).getElementType();
  Value x = ctx.argument(op.getX()), rows = ctx.argument(op.getRows());
  Value rowToken = ctx.argument(op.getRowToken());
  Value count = e.load(e.getI32Type(), ctx.argument(op.getExpertOffsets()),
                       e.i32(op.getExperts()));
  forRowPieces(e, ctx, count, hidden, type, {x, rows},
               [&](Emit &e, RowPiece piece) {
                 e.ifThen(piece.isInside, [&](Emit &e) {
                   Value token = e.load(e.getI32Type(), rowToken, piece.row);
                   piece.store(e, piece.load(e, x, token), rows, piece.row);
                 });
               });
  return success();
}
