//===- RowRegionOps.cpp - Regions that run row by row ---------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MoeOps.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::reference;

/// Operands that have as many rows each.
static FailureOr<SmallVector<Tensor>> readRows(Operation *op, ValueRange values,
                                               const Frame &frame) {
  SmallVector<Tensor> rows;
  for (Value value : values) {
    FailureOr<Tensor> tensor = frame.read(op, value);
    if (failed(tensor))
      return failure();
    rows.push_back(*tensor);
    if (tensor->getDim(0) != rows.front().getDim(0))
      return op->emitOpError() << "has operands of " << rows.front().getDim(0)
                               << " and " << tensor->getDim(0) << " rows";
  }
  return rows;
}

static LogicalResult runMapRows(MapRowsOp op, Frame &frame) {
  FailureOr<SmallVector<Tensor>> read = readRows(op, op.getRows(), frame);
  if (failed(read))
    return failure();
  ArrayRef<Tensor> rows = *read;
  int64_t count = rows.front().getDim(0), last = count;
  std::vector<int64_t> offsets;
  if (Value value = op.getExpertOffsets()) {
    FailureOr<std::vector<int64_t>> list = readOffsets(op, value, count, frame);
    if (failed(list))
      return failure();
    offsets = std::move(*list);
    last = offsets.back();
  }

  Block &block = op.getBody().front();
  SmallVector<SmallVector<Scalar>> results(op.getNumResults());
  SmallVector<SmallVector<int64_t>> shapes;
  for (Type type : op.getResultTypes()) {
    // With no row, a dynamic extent of a row is 0.
    shapes.emplace_back(cast<RankedTensorType>(type).getShape());
    for (int64_t &dim : shapes.back())
      dim = ShapedType::isDynamic(dim) ? 0 : dim;
    shapes.back()[0] = count;
  }
  int64_t expert = 0;
  for (int64_t r = 0; r < last; ++r) {
    while (!offsets.empty() && r >= offsets[expert + 1])
      ++expert;
    SmallVector<RuntimeValue> arguments;
    for (const Tensor &tensor : rows)
      arguments.push_back(takeRows(tensor, r, r + 1));
    for (Value weight : op.getExpertWeights())
      arguments.push_back(frame.getTensor(weight).slice(expert));
    for (Value invariant : op.getInvariants())
      arguments.push_back(frame.get(invariant));
    Frame body(frame.getInterpreter(), nullptr);
    if (failed(body.run(block, arguments)))
      return failure();
    for (auto [i, value] :
         llvm::enumerate(block.getTerminator()->getOperands())) {
      FailureOr<Tensor> row = body.read(op, value);
      if (failed(row))
        return failure();
      for (int64_t e = 0; e < row->getNumElements(); ++e)
        results[i].push_back(row->getScalar(e));
      shapes[i].assign(row->getShape().begin(), row->getShape().end());
      shapes[i][0] = count;
    }
  }
  for (auto [i, result] : llvm::enumerate(op.getResults())) {
    // Rows behind the last expert get 0.
    Type type = getElementTypeOrSelf(result.getType());
    Scalar zero;
    zero.i = 0;
    if (isa<FloatType>(type))
      zero.f = 0;
    results[i].resize(ShapedType::getNumElements(shapes[i]), zero);
    if (failed(frame.set(op, result,
                         Tensor::ofScalars(type, shapes[i], results[i]))))
      return failure();
  }
  return success();
}

static LogicalResult runFoldRows(FoldRowsOp op, Frame &frame) {
  FailureOr<SmallVector<Tensor>> rows = readRows(op, op.getRows(), frame);
  if (failed(rows))
    return failure();
  SmallVector<RuntimeValue> carried;
  for (auto [result, init] : llvm::zip_equal(op.getResults(), op.getInits())) {
    auto type = cast<RankedTensorType>(result.getType());
    double value = cast<FloatAttr>(init).getValueAsDouble();
    Scalar scalar;
    if (isa<FloatType>(type.getElementType()))
      scalar.f = value;
    else
      scalar.i = static_cast<int64_t>(value);
    carried.push_back(
        Tensor::ofScalars(type.getElementType(), type.getShape(),
                          SmallVector<Scalar>(type.getNumElements(), scalar)));
  }
  for (int64_t r = 0, count = rows->front().getDim(0); r < count; ++r) {
    Scalar index;
    index.i = r;
    SmallVector<RuntimeValue> arguments = {index};
    for (const Tensor &tensor : *rows)
      arguments.push_back(takeRows(tensor, r, r + 1));
    for (Value invariant : op.getInvariants())
      arguments.push_back(frame.get(invariant));
    llvm::append_range(arguments, carried);
    Frame body(frame.getInterpreter(), nullptr);
    FailureOr<SmallVector<RuntimeValue>> next =
        body.run(op.getBody().front(), arguments);
    if (failed(next))
      return failure();
    carried = std::move(*next);
  }
  for (auto [result, content] : llvm::zip_equal(op.getResults(), carried))
    if (failed(frame.set(op, result, content)))
      return failure();
  return success();
}

LogicalResult mlir::moe::reference::runRowRegionOp(Operation *op,
                                                   Frame &frame) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](MapRowsOp op) { return runMapRows(op, frame); })
      .Case([&](FoldRowsOp op) { return runFoldRows(op, frame); })
      .Default([](Operation *op) { return emitUnknown(op); });
}
