//===- LowerSoft.cpp - Soft MoE as folds and maps over rows ---------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RoutingLowering.h"

#include "RowCode.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;

/// An element in f32.
static Value extend(RowCode &c, Value value) {
  if (value.getType().isF32())
    return value;
  return arith::ExtFOp::create(c, c.getF32Type(), value);
}

static Value round(RowCode &c, Value value, Type type) {
  if (value.getType() == type)
    return value;
  return arith::TruncFOp::create(c, type, value);
}

/// exp(logits - largest), column by column.
static Value powers(RowCode &c, Value logits, Value largest) {
  return c.map(cast<RankedTensorType>(logits.getType()), {logits, largest},
               [](RowCode &c, ValueRange v) -> Value {
                 return math::ExpOp::create(
                     c, arith::SubFOp::create(c, v[0], v[1]));
               });
}

void RoutingLowering::lowerSoftDispatch(SoftDispatchOp op) {
  Location loc = op.getLoc();
  auto type = cast<RankedTensorType>(op.getSlots().getType());
  int64_t slots = type.getDimSize(0), hidden = type.getDimSize(1);
  auto rowType = RankedTensorType::get({1, slots}, b.getF32Type());
  auto sumType = RankedTensorType::get({slots, hidden}, b.getF32Type());
  // The softmax over tokens takes three runs: the largest logit of each slot,
  // the divisor, the mixture.
  Value largest =
      createFold(b, loc, rowType, op.getLogits(), {}, -INFINITY,
                 [&](RowCode &c, ValueRange rows, ValueRange,
                     ValueRange last) -> SmallVector<Value> {
                   return {c.map(rowType, {last[0], rows[0]},
                                 [](RowCode &c, ValueRange v) -> Value {
                                   return arith::MaximumFOp::create(c, v[0],
                                                                    v[1]);
                                 })};
                 })
          .getResult(0);
  Value divisor =
      createFold(b, loc, rowType, op.getLogits(), largest, 0.0,
                 [&](RowCode &c, ValueRange rows, ValueRange in,
                     ValueRange last) -> SmallVector<Value> {
                   return {c.map(rowType, {last[0], powers(c, rows[0], in[0])},
                                 [](RowCode &c, ValueRange v) -> Value {
                                   return arith::AddFOp::create(c, v[0], v[1]);
                                 })};
                 })
          .getResult(0);
  AffineExpr s = b.getAffineDimExpr(0), h = b.getAffineDimExpr(1),
             zero = b.getAffineConstantExpr(0);
  SmallVector<AffineMap> maps{AffineMap::get(2, 0, {zero, s}, b.getContext()),
                              AffineMap::get(2, 0, {zero, h}, b.getContext()),
                              b.getMultiDimIdentityMap(2)};
  Value sums =
      createFold(
          b, loc, sumType, {op.getLogits(), op.getX()}, {largest, divisor}, 0.0,
          [&](RowCode &c, ValueRange rows, ValueRange in,
              ValueRange last) -> SmallVector<Value> {
            Value shares = c.map(rowType, {powers(c, rows[0], in[0]), in[1]},
                                 [](RowCode &c, ValueRange v) -> Value {
                                   return arith::DivFOp::create(c, v[0], v[1]);
                                 });
            auto add = linalg::GenericOp::create(
                c, TypeRange{sumType}, ValueRange{shares, rows[1]},
                ValueRange{last[0]}, maps,
                SmallVector<utils::IteratorType>(2,
                                                 utils::IteratorType::parallel),
                [](OpBuilder &nested, Location loc, ValueRange v) {
                  RowCode c(loc, nested);
                  Value product =
                      arith::MulFOp::create(c, v[0], extend(c, v[1]));
                  linalg::YieldOp::create(
                      c, arith::AddFOp::create(c, v[2], product).getResult());
                });
            return {add.getResult(0)};
          })
          .getResult(0);
  if (type == sumType) {
    replace(op, sums);
    return;
  }
  // Rounded once, slot by slot.
  auto map = MapRowsOp::create(b, loc, TypeRange{type}, sums, Value(),
                               ValueRange(), ValueRange());
  OpBuilder::InsertionGuard guard(b);
  Block *block = b.createBlock(&map.getBody());
  auto slotType = RankedTensorType::get({1, hidden}, type.getElementType());
  Value slot = block->addArgument(slotType.clone(b.getF32Type()), loc);
  RowCode c(loc, b);
  Value rounded = c.map(slotType, slot, [&](RowCode &c, ValueRange v) {
    return round(c, v[0], type.getElementType());
  });
  YieldOp::create(b, loc, rounded);
  replace(op, map.getResult(0));
}

void RoutingLowering::lowerSoftCombine(SoftCombineOp op) {
  Location loc = op.getLoc();
  auto slots = cast<RankedTensorType>(op.getSlots().getType());
  int64_t hidden = slots.getDimSize(1);
  auto map =
      MapRowsOp::create(b, loc, TypeRange{op.getResult().getType()},
                        op.getLogits(), Value(), ValueRange(), op.getSlots());
  OpBuilder::InsertionGuard guard(b);
  Block *block = b.createBlock(&map.getBody());
  Value logits = block->addArgument(
      RankedTensorType::get({1, slots.getDimSize(0)}, b.getF32Type()), loc);
  Value all = block->addArgument(slots, loc);
  RowCode c(loc, b);
  Value shares = c.softmax(logits);
  AffineExpr t = b.getAffineDimExpr(0), h = b.getAffineDimExpr(1),
             s = b.getAffineDimExpr(2);
  SmallVector<AffineMap> maps{AffineMap::get(3, 0, {t, s}, b.getContext()),
                              AffineMap::get(3, 0, {s, h}, b.getContext()),
                              AffineMap::get(3, 0, {t, h}, b.getContext())};
  auto sumType = RankedTensorType::get({1, hidden}, b.getF32Type());
  Value empty = tensor::EmptyOp::create(c, sumType.getShape(), b.getF32Type());
  Value zeros = linalg::FillOp::create(c, c.f32(0), empty).getResult(0);
  using utils::IteratorType;
  auto mix = linalg::GenericOp::create(
      c, TypeRange{sumType}, ValueRange{shares, all}, ValueRange{zeros}, maps,
      ArrayRef<IteratorType>{IteratorType::parallel, IteratorType::parallel,
                             IteratorType::reduction},
      [](OpBuilder &nested, Location loc, ValueRange v) {
        RowCode c(loc, nested);
        Value product = arith::MulFOp::create(c, v[0], extend(c, v[1]));
        linalg::YieldOp::create(
            c, arith::AddFOp::create(c, v[2], product).getResult());
      });
  Value result = mix.getResult(0);
  Type element = slots.getElementType();
  if (!element.isF32())
    result = c.map(
        RankedTensorType::get({1, hidden}, element), result,
        [&](RowCode &c, ValueRange v) { return round(c, v[0], element); });
  YieldOp::create(b, loc, result);
  replace(op, map.getResult(0));
}
