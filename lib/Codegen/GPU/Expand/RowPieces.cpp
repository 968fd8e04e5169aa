//===- RowPieces.cpp - Sharing the elements of rows ---------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RowPieces.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::gpu;

constexpr int64_t kWarp = 32;
constexpr int64_t kVectorBytes = 16;

Type RowPiece::getValueType() const {
  return width == 1 ? type : VectorType::get({width}, type);
}

Value RowPiece::address(Emit &e, Value base, Value row) const {
  Value first = e.mul(e.toI64(row), hidden);
  return e.address(type, base, e.add(first, e.toI64(column)));
}

Value RowPiece::load(Emit &e, Value base, Value row) const {
  int64_t bytes = width * type.getIntOrFloatBitWidth() / 8;
  return e.loadAt(getValueType(), address(e, base, row), bytes);
}

void RowPiece::store(Emit &e, Value value, Value base, Value row) const {
  int64_t bytes = width * type.getIntOrFloatBitWidth() / 8;
  e.storeAt(value, address(e, base, row), bytes);
}

Value RowPiece::map(Emit &e, Value value,
                    function_ref<Value(Value)> change) const {
  if (width == 1)
    return e.fromF32(change(e.toF32(value)), type);
  Value result = LLVM::PoisonOp::create(e, value.getType());
  for (int64_t i = 0; i < width; ++i) {
    Value element = LLVM::ExtractElementOp::create(e, value, e.i32(i));
    element = e.fromF32(change(e.toF32(element)), type);
    result = LLVM::InsertElementOp::create(e, result, element, e.i32(i));
  }
  return result;
}

void mlir::moe::gpu::forRowPieces(Emit &e, KernelContext &ctx, Value rows,
                                  int64_t hidden, Type type,
                                  ArrayRef<Value> buffers,
                                  function_ref<void(Emit &, RowPiece)> body) {
  auto visit = [&](Emit &e, int64_t width) {
    int64_t perWarp = kWarp * width;
    int64_t perRow = llvm::divideCeil(hidden, perWarp);
    forAllWarps(e, ctx, e.mul(rows, perRow), [&](Emit &e, Value item) {
      RowPiece piece;
      piece.row = e.div(item, perRow);
      piece.column =
          e.add(e.mul(e.rem(item, perRow), perWarp), e.mul(ctx.lane, width));
      piece.isInside = e.lessU(piece.column, e.i32(hidden));
      piece.hidden = hidden;
      piece.width = width;
      piece.type = type;
      body(e, piece);
    });
  };
  int64_t width = kVectorBytes * 8 / type.getIntOrFloatBitWidth();
  if (hidden % width != 0)
    return visit(e, 1);
  e.ifThenElse(
      areAligned(e, buffers, kVectorBytes), [&](Emit &e) { visit(e, width); },
      [&](Emit &e) { visit(e, 1); });
}
