//===- CombineRows.cpp - Expansion of moe.kernel.combine_rows -------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Workers share pieces of up to 256 columns of a token. A piece is summed in
// strips that stay in registers, over all of the token's rows.
//
//===----------------------------------------------------------------------===//

#include "Lanes.h"
#include "moe/Codegen/CPU/KernelExpansion.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::cpu;

constexpr int64_t kPiece = 256;
constexpr int64_t kStrip = 4 * kLanes;

/// Sums columns [column, column + size) of `token`.
static void emitStrip(ImplicitLocOpBuilder &b, KernelCombineRowsOp op,
                      Value token, Value column, int64_t size) {
  int64_t hidden = op.getHidden();
  Value next = arith::AddIOp::create(b, token, indexConstant(b, 1));
  auto countOf = [&](int64_t i) {
    return std::min<int64_t>(kLanes, size - i * kLanes);
  };
  SmallVector<Value> sums(llvm::divideCeil(size, kLanes),
                          lanesConstant(b, 0.0f));
  for (auto [segment, rows, offsets, indices, weights] :
       llvm::enumerate(op.getRows(), op.getTokenOffsets(), op.getTokenRows(),
                       op.getRowWeight())) {
    Value begin = loadIndex(b, offsets, token);
    Value end = loadIndex(b, offsets, next);
    // Structured bindings cannot be captured.
    Value rowsBuffer = rows, rowList = indices, weightList = weights;
    bool unweighted = op.getUnweighted() && (*op.getUnweighted())[segment];
    sums = forRange(
        b, begin, end, 1, sums,
        [&](ImplicitLocOpBuilder &b, Value pair, ValueRange carried) {
          Value row = loadIndex(b, rowList, pair);
          Value weight =
              unweighted ? Value()
                         : broadcastLanes(
                               b, memref::LoadOp::create(b, weightList, row));
          Value base = multiplyAdd(b, row, hidden, column);
          SmallVector<Value> result;
          for (auto [i, sum] : llvm::enumerate(carried)) {
            Value at =
                arith::AddIOp::create(b, base, indexConstant(b, i * kLanes));
            Value lanes = loadLanes(b, rowsBuffer, at, countOf(i));
            if (unweighted)
              result.push_back(arith::AddFOp::create(b, lanes, sum));
            else
              result.push_back(math::FmaOp::create(b, weight, lanes, sum));
          }
          return result;
        });
  }
  Value base = multiplyAdd(b, token, hidden, column);
  for (auto [i, sum] : llvm::enumerate(sums))
    storeLanes(b, sum, op.getOut(),
               arith::AddIOp::create(b, base, indexConstant(b, i * kLanes)),
               countOf(i));
}

LogicalResult mlir::moe::cpu::expandCombineRows(KernelCombineRowsOp op,
                                                KernelContext &ctx) {
  int64_t hidden = op.getHidden();
  ImplicitLocOpBuilder b(ctx.loc, ctx.b);
  int64_t pieces = llvm::divideCeil(hidden, kPiece);
  // Columns of whole strips, and what is left after them.
  int64_t whole = hidden / kStrip * kStrip, rest = hidden - whole;
  Value zero = indexConstant(b, 0), numPieces = indexConstant(b, pieces);
  Value total = multiplyAdd(b, op.getTokens(), pieces, zero);
  auto [begin, end] = ctx.splitRange(total);
  forRange(b, begin, end, 1, [&](ImplicitLocOpBuilder &b, Value item) {
    Value token = arith::DivUIOp::create(b, item, numPieces);
    Value piece = arith::RemUIOp::create(b, item, numPieces);
    Value column = multiplyAdd(b, piece, kPiece, zero);
    if (whole) {
      Value pieceEnd =
          arith::AddIOp::create(b, column, indexConstant(b, kPiece));
      Value stripEnd =
          arith::MinUIOp::create(b, pieceEnd, indexConstant(b, whole));
      forRange(b, column, stripEnd, kStrip,
               [&](ImplicitLocOpBuilder &b, Value at) {
                 emitStrip(b, op, token, at, kStrip);
               });
    }
    if (rest) {
      Value isLast = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, piece,
                                           indexConstant(b, pieces - 1));
      ifThen(b, isLast, [&](ImplicitLocOpBuilder &b) {
        emitStrip(b, op, token, indexConstant(b, whole), rest);
      });
    }
  });
  return success();
}
