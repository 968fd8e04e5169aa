//===- CombineRows.cpp - Expansion of moe.kernel.combine_rows -----------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Every warp sums pieces of a token's rows. Its lanes fetch the numbers and
// weights of up to 32 rows at once, and pass them around; then nothing but the
// rows themselves has to be waited for.
//
//===----------------------------------------------------------------------===//

#include "RowPieces.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::gpu;

constexpr int64_t kWarp = 32;
/// Rows that are in flight at once.
constexpr int64_t kInFlight = 4;

namespace {

class CombineRows {
public:
  CombineRows(KernelCombineRowsOp op, KernelContext &ctx) : op(op), ctx(ctx) {}

  /// Sums and stores a piece of the token `piece.row`.
  void emit(Emit &e, RowPiece piece);

private:
  /// Adds `count` of the rows that the lanes hold, from lane `first` on.
  SmallVector<Value> addRows(Emit &e, const RowPiece &piece, Value rows,
                             Value row, Value weight, Value first,
                             int64_t count, ValueRange sums);

  KernelCombineRowsOp op;
  KernelContext &ctx;
};

} // namespace

SmallVector<Value> CombineRows::addRows(Emit &e, const RowPiece &piece,
                                        Value rows, Value row, Value weight,
                                        Value first, int64_t count,
                                        ValueRange sums) {
  SmallVector<Value> values, weights, result(sums);
  for (int64_t i = 0; i < count; ++i) {
    Value from = e.add(first, i);
    Value number = e.shuffleIndex(row, from);
    weights.push_back(e.shuffleIndex(weight, from));
    values.push_back(piece.load(e, rows, number));
  }
  for (auto [value, weight] : llvm::zip_equal(values, weights))
    for (auto [i, sum] : llvm::enumerate(result)) {
      Value element = value;
      if (piece.width != 1)
        element = LLVM::ExtractElementOp::create(e, value, e.i32(i));
      sum = math::FmaOp::create(e, weight, e.toF32(element), sum);
    }
  return result;
}

void CombineRows::emit(Emit &e, RowPiece piece) {
  Value token = piece.row, inside = piece.isInside;
  // All lanes take part in passing the rows around; those behind the end of the
  // row read its first element instead.
  piece.column = e.select(inside, piece.column, e.i32(0));
  SmallVector<Value> sums(piece.width, e.f32(0.0f));
  for (auto [segment, rowsArg, offsetsArg, listArg, weightsArg] :
       llvm::enumerate(op.getRows(), op.getTokenOffsets(), op.getTokenRows(),
                       op.getRowWeight())) {
    bool unweighted = op.getUnweighted() && (*op.getUnweighted())[segment];
    Value rows = ctx.argument(rowsArg), offsets = ctx.argument(offsetsArg);
    Value list = ctx.argument(listArg), weightList = ctx.argument(weightsArg);
    Type i32 = e.getI32Type();
    Value begin = e.load(i32, offsets, token);
    Value end = e.load(i32, offsets, e.add(token, 1));
    sums = e.forRange(
        begin, end, e.i32(kWarp), sums,
        [&](Emit &e, Value base, ValueRange carried) {
          Value pair = e.add(base, ctx.lane);
          Value isPair = e.lessU(pair, end);
          Value row = loadIf(e, isPair, i32, list, pair, e.i32(0));
          // An fma with 1 is the sum.
          Value weight = e.f32(1.0f);
          if (!unweighted)
            weight =
                loadIf(e, isPair, e.getF32Type(), weightList, row, e.f32(0.0f));
          Value count = e.minU(e.i32(kWarp), e.sub(end, base));
          Value whole = e.mul(e.div(count, kInFlight), kInFlight);
          SmallVector<Value> result =
              e.forRange(e.i32(0), whole, e.i32(kInFlight), carried,
                         [&](Emit &e, Value first, ValueRange carried) {
                           return addRows(e, piece, rows, row, weight, first,
                                          kInFlight, carried);
                         });
          return e.forRange(whole, count, e.i32(1), result,
                            [&](Emit &e, Value first, ValueRange carried) {
                              return addRows(e, piece, rows, row, weight, first,
                                             1, carried);
                            });
        });
  }
  e.ifThen(inside, [&](Emit &e) {
    Value out = ctx.argument(op.getOut());
    if (piece.width == 1)
      return piece.store(e, e.fromF32(sums[0], piece.type), out, token);
    Value vector = LLVM::PoisonOp::create(e, piece.getValueType());
    for (auto [i, sum] : llvm::enumerate(sums))
      vector = LLVM::InsertElementOp::create(
          e, vector, e.fromF32(sum, piece.type), e.i32(i));
    piece.store(e, vector, out, token);
  });
}

LogicalResult mlir::moe::gpu::expandCombineRows(KernelCombineRowsOp op,
                                                KernelContext &ctx) {
  Emit e(ctx.loc, ctx.b);
  CombineRows emitter(op, ctx);
  SmallVector<Value> buffers{ctx.argument(op.getOut())};
  for (Value rows : op.getRows())
    buffers.push_back(ctx.argument(rows));
  Type type = cast<MemRefType>(op.getOut().getType()).getElementType();
  forRowPieces(e, ctx, argumentI32(e, ctx, op.getTokens()), op.getHidden(),
               type, buffers,
               [&](Emit &e, RowPiece piece) { emitter.emit(e, piece); });
  return success();
}
