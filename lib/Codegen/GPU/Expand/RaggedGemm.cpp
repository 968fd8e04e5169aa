//===- RaggedGemm.cpp - One GEMM per expert, gathering its rows -----------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RaggedGemm.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::gpu;

/// Column tiles that the row tiles share before the next columns begin: few,
/// so that their weights stay in the second-level cache while all row tiles of
/// an expert pass, and enough that x is not read too often.
static constexpr int64_t kRasterColumns = 8;

RaggedGemm::RaggedGemm(KernelRaggedGemmOp op, KernelContext &ctx)
    : op(op), ctx(ctx), shape(RaggedGemmShape::get(op, ctx.config)),
      x(ctx.argument(op.getX())), weights(ctx.argument(op.getWeights())),
      worklist(ctx.argument(op.getWorklist())), out(ctx.argument(op.getOut())) {
  if (Value tokens = op.getRowToken())
    rowToken = ctx.argument(tokens);
  for (Value bias : op.getBiases())
    biases.push_back(ctx.argument(bias));
}

LogicalResult RaggedGemm::expand() {
  if (failed(shape.verify(ctx.arch, [&] { return op.emitOpError(); })))
    return failure();
  aShared = sumsShared = ctx.allocShared(shape.sharedBytes(),
                                         /*alignment=*/128);
  Emit e(ctx.loc, ctx.b);
  bShared =
      e.offset(aShared, shape.aTile(shape.rowClasses().back().rows).bytes());
  emitPairs(e);
  return success();
}

void RaggedGemm::emitPairs(Emit &e) {
  Type i32 = e.getI32Type();
  Value rowTiles = e.loadAt(i32, worklist);
  Value pairs = e.mul(rowTiles, shape.columnTiles());
  e.forRange(ctx.block, pairs, ctx.blocks, [&](Emit &e, Value pair) {
    // Raster: bands of a few column tiles; in a band the row tiles one after
    // another, each with all columns of the band.
    Value bandPairs = e.mul(rowTiles, kRasterColumns);
    Value firstColumn = e.mul(e.div(pair, bandPairs), kRasterColumns);
    Value inBand = e.rem(pair, bandPairs);
    Value bandColumns = e.minU(e.sub(e.i32(shape.columnTiles()), firstColumn),
                               e.i32(kRasterColumns));
    Value rowTile = e.div(inBand, bandColumns);
    Value entry = e.add(e.mul(rowTile, 4), 4);
    RaggedTile tile;
    tile.columnTile = e.add(firstColumn, e.rem(inBand, bandColumns));
    tile.expert = e.load(i32, worklist, entry);
    tile.firstRow = e.load(i32, worklist, e.add(entry, 1));
    tile.rows = e.load(i32, worklist, e.add(entry, 2));

    SmallVector<RowClass> classes = shape.rowClasses();
    std::function<void(Emit &, ArrayRef<RowClass>)> emitClasses =
        [&](Emit &e, ArrayRef<RowClass> left) {
          if (left.size() == 1)
            return emitTile(e, left.front(), tile);
          e.ifThenElse(
              e.lessU(tile.rows, e.i32(left.front().rows + 1)),
              [&](Emit &e) { emitTile(e, left.front(), tile); },
              [&](Emit &e) { emitClasses(e, left.drop_front()); });
        };
    emitClasses(e, classes);
    e.syncBlock();
    storeResults(e, tile);
  });
}

LogicalResult moe::gpu::expandRaggedGemm(KernelRaggedGemmOp op,
                                         KernelContext &ctx) {
  return RaggedGemm(op, ctx).expand();
}
