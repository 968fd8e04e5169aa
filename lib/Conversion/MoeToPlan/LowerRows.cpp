//===- LowerRows.cpp - Commands of tensor code ----------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "FunctionLowering.h"

#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace mlir::moe;

/// Takes the first `n` of `values` off.
static ValueRange take(ValueRange &values, unsigned n) {
  ValueRange head = values.take_front(n);
  values = values.drop_front(n);
  return head;
}

void FunctionLowering::lowerMapRows(MapRowsOp op) {
  Value offsets = op.getExpertOffsets();
  int64_t experts =
      offsets ? cast<ShapedType>(offsets.getType()).getDimSize(0) - 1 : 0;
  for (Value result : op.getResults())
    define(result);
  Args args;
  addTensors(args, op->getOperands());
  addTensors(args, op->getResults());
  // With offsets the kernel looks up the number of rows by itself.
  Count count = addCount(args, offsets ? RowSpace::ofTokens()
                                       : spaces.lookup(op.getRows()[0]));
  dispatch(op, "map_rows", args, [&](OpBuilder &b, ValueRange v) {
    Value number = getCount(b, op.getLoc(), v, count);
    ValueRange rows = take(v, op.getRows().size());
    ValueRange list = take(v, offsets ? 1 : 0);
    ValueRange weights = take(v, op.getExpertWeights().size());
    ValueRange invariants = take(v, op.getInvariants().size());
    ValueRange outs = take(v, op.getNumResults());
    auto kernel = KernelMapRowsOp::create(b, op.getLoc(), rows,
                                          offsets ? list[0] : Value(), weights,
                                          invariants, outs, number, experts);
    IRMapping mapping;
    op.getBody().cloneInto(&kernel.getBody(), mapping);
  });
}

void FunctionLowering::lowerFoldRows(FoldRowsOp op) {
  for (Value result : op.getResults())
    define(result);
  Args args;
  addTensors(args, op->getOperands());
  addTensors(args, op->getResults());
  Count count = addCountOf(args, op.getRows()[0]);
  dispatch(
      op, "fold_rows", args,
      [&](OpBuilder &b, ValueRange v) {
        Value number = getCount(b, op.getLoc(), v, count);
        ValueRange rows = take(v, op.getRows().size());
        ValueRange invariants = take(v, op.getInvariants().size());
        ValueRange outs = take(v, op.getNumResults());
        auto kernel = KernelFoldRowsOp::create(b, op.getLoc(), rows, invariants,
                                               outs, number, op.getInitsAttr());
        IRMapping mapping;
        op.getBody().cloneInto(&kernel.getBody(), mapping);
      },
      /*single=*/true);
}

void FunctionLowering::lowerConstant(arith::ConstantOp op) {
  // A kernel of one row that yields the elements; what it reads is of no
  // consequence.
  Location loc = op.getLoc();
  auto elements = cast<DenseElementsAttr>(op.getValue());
  auto type = cast<RankedTensorType>(op.getType());
  SmallVector<int64_t> shape(type.getShape());
  shape.insert(shape.begin(), 1);
  auto rowType = RankedTensorType::get(shape, type.getElementType());
  define(op.getResult());
  Args args;
  args.add(allocate(loc, size({0, 1}, 4)), flat(b.getI32Type()));
  addTensor(args, op.getResult());
  dispatch(op, "constant", args, [&](OpBuilder &b, ValueRange v) {
    Value one = arith::ConstantIndexOp::create(b, loc, 1);
    auto kernel =
        KernelMapRowsOp::create(b, loc, v[0], Value(), ValueRange(),
                                ValueRange(), v[1], one, /*experts=*/0);
    OpBuilder::InsertionGuard guard(b);
    Block *block = b.createBlock(&kernel.getBody());
    block->addArgument(RankedTensorType::get({1}, b.getI32Type()), loc);
    Value row = arith::ConstantOp::create(b, loc, elements.reshape(rowType));
    YieldOp::create(b, loc, row);
  });
}
