//===- TensorOps.cpp - Ops of the tensor dialect --------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Frame.h"
#include "ScalarProgram.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::moe::reference;

static Type elementOf(Value value) {
  return getElementTypeOrSelf(value.getType());
}

static SmallVector<int64_t> readMixed(ArrayRef<OpFoldResult> mixed,
                                      const Frame &frame) {
  SmallVector<int64_t> values;
  for (OpFoldResult entry : mixed)
    values.push_back(isa<Attribute>(entry) ? *getConstantIntValue(entry)
                                           : frame.getInt(cast<Value>(entry)));
  return values;
}

/// Calls body(outer position, position in the box) for each element of a box
/// of `sizes` in a tensor of `shape`; fails when the box leaves the tensor.
static LogicalResult
forEachInBox(Operation *op, ArrayRef<int64_t> shape, ArrayRef<int64_t> offsets,
             ArrayRef<int64_t> sizes, ArrayRef<int64_t> strides,
             llvm::function_ref<void(int64_t, int64_t)> body) {
  int64_t count = 1;
  for (auto [d, extent] : llvm::enumerate(shape)) {
    int64_t last = offsets[d] + (sizes[d] - 1) * strides[d];
    if (sizes[d] < 0 || offsets[d] < 0 ||
        (sizes[d] > 0 && (last < 0 || last >= extent)))
      return op->emitOpError() << "takes [" << offsets[d] << ", +" << sizes[d]
                               << " step " << strides[d] << "] of dimension "
                               << d << ", which has extent " << extent;
    count *= sizes[d];
  }
  SmallVector<int64_t> index(shape.size(), 0);
  for (int64_t inner = 0; inner < count; ++inner) {
    int64_t outer = 0;
    for (size_t d = 0; d < shape.size(); ++d)
      outer = outer * shape[d] + offsets[d] + index[d] * strides[d];
    body(outer, inner);
    for (int64_t d = shape.size(); d-- > 0;) {
      if (++index[d] < sizes[d])
        break;
      index[d] = 0;
    }
  }
  return success();
}

static Tensor assemble(Type type, ArrayRef<int64_t> shape,
                       ArrayRef<Scalar> values, std::vector<bool> defined) {
  return Tensor::ofScalars(type, shape, values).withDefined(std::move(defined));
}

static LogicalResult runExtractSlice(tensor::ExtractSliceOp op, Frame &frame) {
  Tensor source = frame.getTensor(op.getSource()).contiguous();
  SmallVector<int64_t> offsets = readMixed(op.getMixedOffsets(), frame),
                       sizes = readMixed(op.getMixedSizes(), frame),
                       strides = readMixed(op.getMixedStrides(), frame);
  SmallVector<Scalar> values;
  std::vector<bool> defined;
  if (failed(forEachInBox(op, source.getShape(), offsets, sizes, strides,
                          [&](int64_t outer, int64_t) {
                            values.push_back(source.getScalar(outer));
                            defined.push_back(source.isDefined(outer));
                          })))
    return failure();
  llvm::SmallBitVector dropped = op.getDroppedDims();
  SmallVector<int64_t> shape;
  for (auto [d, size] : llvm::enumerate(sizes))
    if (!dropped.test(d))
      shape.push_back(size);
  return frame.set(
      op, op,
      assemble(source.getElementType(), shape, values, std::move(defined)));
}

static LogicalResult runInsertSlice(tensor::InsertSliceOp op, Frame &frame) {
  Tensor source = frame.getTensor(op.getSource()).contiguous(),
         dest = frame.getTensor(op.getDest()).contiguous();
  SmallVector<int64_t> sizes = readMixed(op.getMixedSizes(), frame);
  if (ShapedType::getNumElements(sizes) != source.getNumElements())
    return op.emitOpError()
           << "inserts " << source.getNumElements()
           << " elements in a slice of " << ShapedType::getNumElements(sizes);
  SmallVector<Scalar> values;
  std::vector<bool> defined;
  for (int64_t e = 0; e < dest.getNumElements(); ++e) {
    values.push_back(dest.getScalar(e));
    defined.push_back(dest.isDefined(e));
  }
  if (failed(forEachInBox(op, dest.getShape(),
                          readMixed(op.getMixedOffsets(), frame), sizes,
                          readMixed(op.getMixedStrides(), frame),
                          [&](int64_t outer, int64_t inner) {
                            values[outer] = source.getScalar(inner);
                            defined[outer] = source.isDefined(inner);
                          })))
    return failure();
  return frame.set(op, op,
                   assemble(dest.getElementType(), dest.getShape(), values,
                            std::move(defined)));
}

static LogicalResult runExpandShape(tensor::ExpandShapeOp op, Frame &frame) {
  const Tensor &source = frame.getTensor(op.getSrc());
  SmallVector<int64_t> shape = readMixed(op.getMixedOutputShape(), frame);
  if (ShapedType::getNumElements(shape) != source.getNumElements())
    return op.emitOpError()
           << "expands " << source.getTypeString() << " to a shape of "
           << ShapedType::getNumElements(shape) << " elements";
  return frame.set(op, op, source.reshaped(shape));
}

static LogicalResult runCollapseShape(tensor::CollapseShapeOp op,
                                      Frame &frame) {
  const Tensor &source = frame.getTensor(op.getSrc());
  SmallVector<int64_t> shape;
  for (const ReassociationIndices &group : op.getReassociationIndices()) {
    shape.push_back(1);
    for (int64_t dim : group)
      shape.back() *= source.getDim(dim);
  }
  return frame.set(op, op, source.reshaped(shape));
}

static FailureOr<int64_t> readPosition(Operation *op, const Tensor &tensor,
                                       ValueRange indices, const Frame &frame) {
  int64_t position = 0;
  for (auto [d, value] : llvm::enumerate(indices)) {
    int64_t index = frame.getInt(value);
    if (index < 0 || index >= tensor.getDim(d))
      return op->emitOpError() << "index " << index << " is outside dimension "
                               << d << " of extent " << tensor.getDim(d);
    position = position * tensor.getDim(d) + index;
  }
  return position;
}

static LogicalResult runExtract(tensor::ExtractOp op, Frame &frame) {
  Tensor source = frame.getTensor(op.getTensor()).contiguous();
  FailureOr<int64_t> position =
      readPosition(op, source, op.getIndices(), frame);
  if (failed(position))
    return failure();
  if (!source.isDefined(*position))
    return op.emitOpError("reads an element that was never written");
  return frame.set(op, op.getResult(), source.getScalar(*position));
}

static LogicalResult runInsert(tensor::InsertOp op, Frame &frame) {
  Tensor dest = frame.getTensor(op.getDest()).contiguous();
  FailureOr<int64_t> position = readPosition(op, dest, op.getIndices(), frame);
  if (failed(position))
    return failure();
  SmallVector<Scalar> values;
  std::vector<bool> defined;
  for (int64_t e = 0; e < dest.getNumElements(); ++e) {
    values.push_back(dest.getScalar(e));
    defined.push_back(dest.isDefined(e));
  }
  values[*position] = frame.getScalar(op.getScalar());
  defined[*position] = true;
  return frame.set(op, op.getResult(),
                   assemble(dest.getElementType(), dest.getShape(), values,
                            std::move(defined)));
}

static LogicalResult runPad(tensor::PadOp op, Frame &frame) {
  Tensor source = frame.getTensor(op.getSource()).contiguous();
  SmallVector<int64_t> low = readMixed(op.getMixedLowPad(), frame),
                       high = readMixed(op.getMixedHighPad(), frame), shape;
  for (int64_t d = 0; d < source.getRank(); ++d) {
    shape.push_back(low[d] + source.getDim(d) + high[d]);
    if (low[d] < 0 || high[d] < 0)
      return op.emitOpError("pads by a negative amount");
  }
  FailureOr<ScalarProgram> program =
      ScalarProgram::compile(op.getRegion().front(), frame);
  if (failed(program))
    return failure();
  SmallVector<Scalar> values(ShapedType::getNumElements(shape));
  std::vector<bool> defined(values.size(), true);
  for (int64_t e = 0, n = values.size(); e < n; ++e) {
    int64_t rest = e;
    for (int64_t d = shape.size(); d-- > 0; rest /= shape[d]) {
      Scalar index;
      index.i = rest % shape[d];
      program->setArgument(d, index);
    }
    if (failed(program->run()))
      return failure();
    values[e] = program->result(0);
  }
  SmallVector<int64_t> ones(shape.size(), 1);
  if (failed(forEachInBox(op, shape, low, source.getShape(), ones,
                          [&](int64_t outer, int64_t inner) {
                            values[outer] = source.getScalar(inner);
                            defined[outer] = source.isDefined(inner);
                          })))
    return failure();
  return frame.set(
      op, op.getResult(),
      assemble(source.getElementType(), shape, values, std::move(defined)));
}

LogicalResult mlir::moe::reference::runTensorOp(Operation *op, Frame &frame) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](tensor::EmptyOp op) {
        SmallVector<int64_t> shape = readMixed(op.getMixedSizes(), frame);
        if (llvm::any_of(shape, [](int64_t dim) { return dim < 0; }))
          return LogicalResult(op.emitOpError("has a negative extent"));
        return frame.set(op, op, Tensor::undefined(elementOf(op), shape));
      })
      .Case([&](tensor::DimOp op) -> LogicalResult {
        const Tensor &source = frame.getTensor(op.getSource());
        int64_t dim = frame.getInt(op.getIndex());
        if (dim < 0 || dim >= source.getRank())
          return op.emitOpError() << "asks for dimension " << dim << " of "
                                  << source.getTypeString();
        Scalar extent;
        extent.i = source.getDim(dim);
        return frame.set(op, op, extent);
      })
      .Case([&](tensor::RankOp op) {
        Scalar rank;
        rank.i = frame.getTensor(op.getTensor()).getRank();
        return frame.set(op, op, rank);
      })
      .Case([&](tensor::CastOp op) {
        return frame.set(op, op, frame.getTensor(op.getSource()));
      })
      .Case([&](tensor::FromElementsOp op) {
        SmallVector<Scalar> values;
        for (Value element : op.getElements())
          values.push_back(frame.getScalar(element));
        return frame.set(
            op, op,
            Tensor::ofScalars(elementOf(op), op.getType().getShape(), values));
      })
      .Case([&](tensor::SplatOp op) {
        SmallVector<int64_t> shape =
            readMixed(getMixedValues(op.getType().getShape(),
                                     op.getDynamicSizes(), op.getContext()),
                      frame);
        SmallVector<Scalar> values(ShapedType::getNumElements(shape),
                                   frame.getScalar(op.getInput()));
        return frame.set(op, op,
                         Tensor::ofScalars(elementOf(op), shape, values));
      })
      .Case(
          [&](tensor::ExtractSliceOp op) { return runExtractSlice(op, frame); })
      .Case([&](tensor::InsertSliceOp op) { return runInsertSlice(op, frame); })
      .Case([&](tensor::ExpandShapeOp op) { return runExpandShape(op, frame); })
      .Case([&](tensor::CollapseShapeOp op) {
        return runCollapseShape(op, frame);
      })
      .Case([&](tensor::ExtractOp op) { return runExtract(op, frame); })
      .Case([&](tensor::InsertOp op) { return runInsert(op, frame); })
      .Case([&](tensor::PadOp op) { return runPad(op, frame); })
      .Default([](Operation *op) { return emitUnknown(op); });
}
