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
  Value weights = op.getRowWeight() ? ctx.argument(op.getRowWeight()) : Value();
  forRowPieces(e, ctx, count, hidden, type, {x, rows},
               [&](Emit &e, RowPiece piece) {
                 e.ifThen(piece.isInside, [&](Emit &e) {
                   Value token = e.load(e.getI32Type(), rowToken, piece.row);
                   Value value = piece.load(e, x, token);
                   if (weights) {
                     Value weight = e.load(e.getF32Type(), weights, piece.row);
                     value = piece.map(e, value, [&](Value element) -> Value {
                       return arith::MulFOp::create(e, element, weight);
                     });
                   }
                   piece.store(e, value, rows, piece.row);
                 });
               });
  return success();
}
