//===- RaggedGemmCopy.cpp - Rows and weights into shared memory -----------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What lies outside of x or of the weights becomes zero: such a copy reads no
// byte, from an address that is valid all the same.
//
//===----------------------------------------------------------------------===//

#include "RaggedGemm.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::gpu;

void RaggedGemm::inRound(Emit &e, const TileCopy &copy, int64_t round,
                         function_ref<void(Emit &)> body) {
  if (round + 1 < copy.rounds() || !copy.isLastPartial())
    return body(e);
  int64_t left = copy.pieces() - round * copy.threads;
  e.ifThen(e.lessU(ctx.thread, e.i32(left)), body);
}

RaggedGemm::RowSource RaggedGemm::emitRowSource(Emit &e,
                                                const RowClass &rowClass,
                                                const RaggedTile &tile) {
  RowSource source;
  int64_t alignment = shape.alignmentOfX();
  source.copy = {shape.aTile(rowClass.rows), shape.threads,
                 alignment < 4 ? kChunkBytes : alignment};
  source.copy.tile.base = aShared;
  source.mine = source.copy.place(e, ctx.thread);
  Value last = e.sub(tile.rows, e.i32(1));
  for (int64_t round = 0; round < source.copy.rounds(); ++round) {
    Value row = e.add(source.mine.row, round * source.copy.rowStep());
    source.inside.push_back(e.lessU(row, tile.rows));
    Value index = e.add(tile.firstRow, e.minU(row, last));
    if (shape.gathers)
      index = e.load(e.getI32Type(), rowToken, index);
    source.rows.push_back(e.offset(x, e.mul(e.toI64(index), shape.rowBytes())));
  }
  return source;
}

void RaggedGemm::issueRows(Emit &e, const RowSource &source, Value kTile,
                           Value stage) {
  Value begin = source.copy.tile.stageAddress(e, stage);
  Value byte = e.add(e.mul(kTile, shape.tileBytes()), source.mine.column);
  Value insideK;
  if (shape.k % shape.tileK != 0) {
    insideK = e.lessU(byte, e.i32(shape.rowBytes()));
    byte = e.select(insideK, byte, e.i32(0));
  }
  for (int64_t round = 0; round < source.copy.rounds(); ++round)
    inRound(e, source.copy, round, [&](Emit &e) {
      Value inside = source.inside[round];
      if (insideK)
        inside = e.bitAnd(inside, insideK);
      Value shared = e.offset(begin, source.mine.offsets[round]);
      if (shape.alignmentOfX() < 4)
        return copyOddPiece(e, shared, source.rows[round], byte, inside);
      int64_t bytes = source.copy.pieceBytes;
      copyAsync(e, shared, e.offset(source.rows[round], byte), bytes,
                e.select(inside, e.i32(bytes), e.i32(0)));
    });
}

void RaggedGemm::copyOddPiece(Emit &e, Value shared, Value row, Value firstByte,
                              Value inside) {
  Type i16 = e.getI16Type();
  int64_t elements = kChunkBytes / 2;
  auto vector = VectorType::get(elements, i16);
  Value piece = LLVM::UndefOp::create(e, vector);
  Value zero = arith::ConstantOp::create(e, e.getI16IntegerAttr(0));
  for (int64_t i = 0; i < elements; ++i) {
    Value byte = e.add(firstByte, 2 * i);
    Value present = e.bitAnd(inside, e.lessU(byte, e.i32(shape.rowBytes())));
    // A valid address in any case, so that the load needs no branch.
    Value address = e.offset(row, e.select(present, byte, e.i32(0)));
    Value loaded = e.loadAt(i16, address, 2);
    piece = LLVM::InsertElementOp::create(
        e, piece, e.select(present, loaded, zero), e.i32(i));
  }
  e.storeAt(piece, shared, kChunkBytes);
}

RaggedGemm::WeightSource RaggedGemm::emitWeightSource(Emit &e,
                                                      const RaggedTile &tile) {
  WeightSource source;
  source.copy = {shape.bTile(), shape.threads, kChunkBytes};
  source.copy.tile.base = bShared;
  source.mine = source.copy.place(e, ctx.thread);
  source.column =
      e.add(e.mul(tile.columnTile, shape.tileColumns), source.mine.row);
  Value column = source.column;
  if (shape.columns() % shape.tileColumns != 0)
    column = e.minU(column, e.i32(shape.columns() - 1));
  Value row =
      e.add(e.mul(e.toI64(tile.expert), shape.columns()), e.toI64(column));
  source.address = e.offset(weights, e.mul(row, shape.weightRowBytes()));
  return source;
}

void RaggedGemm::issueWeights(Emit &e, const WeightSource &source, Value kTile,
                              Value stage) {
  Value begin = source.copy.tile.stageAddress(e, stage);
  Value byte = e.add(e.mul(kTile, shape.tileBytes()), source.mine.column);
  Value insideK;
  if (shape.weightRowBytes() % shape.tileBytes() != 0) {
    insideK = e.lessU(byte, e.i32(shape.weightRowBytes()));
    byte = e.select(insideK, byte, e.i32(0));
  }
  Value address = e.offset(source.address, byte);
  bool hasTail = shape.columns() % shape.tileColumns != 0;
  for (int64_t round = 0; round < source.copy.rounds(); ++round)
    inRound(e, source.copy, round, [&](Emit &e) {
      int64_t rows = round * source.copy.rowStep();
      Value inside = insideK;
      Value from = e.i64(rows * shape.weightRowBytes());
      if (hasTail) {
        Value present =
            e.lessU(e.add(source.column, rows), e.i32(shape.columns()));
        from = e.select(present, from, e.i64(0));
        inside = inside ? e.bitAnd(inside, present) : present;
      }
      Value bytes;
      if (inside)
        bytes = e.select(inside, e.i32(kChunkBytes), e.i32(0));
      copyAsync(e, e.offset(begin, source.mine.offsets[round]),
                e.offset(address, from), kChunkBytes, bytes);
    });
}
