//===- MoeOps.cpp - Graph-level ops ---------------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Compiled without contraction of a * b + c: every fma is written out.
//
//===----------------------------------------------------------------------===//

#include "MoeOps.h"

#include "llvm/ADT/TypeSwitch.h"

#include <cmath>

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::reference;

//===----------------------------------------------------------------------===//
// Shared helpers
//===----------------------------------------------------------------------===//

std::vector<float> mlir::moe::reference::toF32(const Tensor &tensor) {
  std::vector<float> values(tensor.getNumElements());
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(tensor.getFloat(i));
  return values;
}

Tensor mlir::moe::reference::ofF32(Type type, ArrayRef<int64_t> shape,
                                   ArrayRef<float> values) {
  std::vector<double> wide(values.size());
  for (auto [value, result] : llvm::zip_equal(values, wide))
    result = roundRouterValue(value, type);
  return Tensor::ofFloats(type, shape, std::move(wide));
}

Tensor mlir::moe::reference::takeRows(const Tensor &rows, int64_t begin,
                                      int64_t end) {
  SmallVector<int64_t> shape(rows.getShape());
  shape[0] = end - begin;
  int64_t row = ShapedType::getNumElements(rows.getShape().drop_front());
  SmallVector<Scalar> values;
  for (int64_t i = begin * row; i < end * row; ++i)
    values.push_back(rows.getScalar(i));
  return Tensor::ofScalars(rows.getElementType(), shape, values);
}

Tensor mlir::moe::reference::gatherRows(const Tensor &x,
                                        ArrayRef<int64_t> rowToken) {
  int64_t count = rowToken.size(), row = x.getDim(1);
  std::vector<double> values(count * row);
  for (int64_t r = 0; r < count; ++r)
    x.getFloats(rowToken[r] * row, 1, row, values.data() + r * row);
  return Tensor::ofFloats(x.getElementType(), {count, row}, std::move(values));
}

void mlir::moe::reference::addWeighted(float weight, const Tensor &rows,
                                       int64_t row,
                                       MutableArrayRef<float> target) {
  int64_t start = row * target.size();
  for (size_t j = 0; j < target.size(); ++j)
    target[j] = std::fma(weight, static_cast<float>(rows.getFloat(start + j)),
                         target[j]);
}

Tensor mlir::moe::reference::gatherWeighted(const Tensor &x,
                                            ArrayRef<int64_t> rowToken,
                                            ArrayRef<float> rowWeight) {
  int64_t count = rowToken.size(), row = x.getDim(1);
  std::vector<float> values = toF32(gatherRows(x, rowToken));
  for (int64_t r = 0; r < count; ++r)
    for (int64_t j = 0; j < row; ++j)
      values[r * row + j] = values[r * row + j] * rowWeight[r];
  return ofF32(x.getElementType(), {count, row}, values);
}

static FailureOr<Routing> buildChecked(Operation *op, const Tensor &ids,
                                       const Tensor &weights, int64_t experts) {
  if (ids.getShape() != weights.getShape())
    return op->emitOpError() << "has " << ids.getTypeString() << " ids but "
                             << weights.getTypeString() << " weights";
  int64_t tokens = ids.getDim(0), k = ids.getDim(1);
  std::vector<int64_t> values = ids.getInts();
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t j = 0; j < k; ++j) {
      int64_t id = values[t * k + j];
      if (id == -1)
        continue;
      if (id < 0 || id >= experts)
        return emitNumbered(op, 14)
               << "token " << t << " names expert " << id
               << ", but the experts are 0 to " << experts - 1;
      for (int64_t other = 0; other < j; ++other)
        if (values[t * k + other] == id)
          return emitNumbered(op, 14)
                 << "token " << t << " names expert " << id << " twice";
    }
  return Routing::build(experts, k, tokens, values, toF32(weights));
}

FailureOr<Routing> mlir::moe::reference::buildRouting(Operation *op,
                                                      Value idsValue,
                                                      Value weightsValue,
                                                      int64_t experts,
                                                      Frame &frame) {
  FailureOr<Tensor> ids = frame.read(op, idsValue),
                    weights = frame.read(op, weightsValue);
  if (failed(ids) || failed(weights))
    return failure();
  return buildChecked(op, *ids, *weights, experts);
}

FailureOr<Routing> mlir::moe::reference::buildFullRouting(
    Operation *op, Value x, Value weightsValue, int64_t experts, Frame &frame) {
  int64_t tokens = frame.getTensor(x).getDim(0);
  Builder builder(op->getContext());
  std::vector<int64_t> ids;
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t e = 0; e < experts; ++e)
      ids.push_back(e);
  Tensor weights = Tensor::ofFloats(builder.getF32Type(), {tokens, experts},
                                    std::vector<double>(tokens * experts, 1.0));
  if (weightsValue) {
    FailureOr<Tensor> given = frame.read(op, weightsValue);
    if (failed(given))
      return failure();
    weights = *given;
  }
  return buildChecked(
      op,
      Tensor::ofInts(builder.getI32Type(), {tokens, experts}, std::move(ids)),
      weights, experts);
}

//===----------------------------------------------------------------------===//
// Ops
//===----------------------------------------------------------------------===//

static LogicalResult runDispatch(DispatchOp op, Frame &frame) {
  FailureOr<Tensor> x = frame.read(op, op.getX());
  if (failed(x))
    return failure();
  const Routing &routing = frame.getRouting(op.getRouting());
  if (x->getDim(0) != routing.getNumTokens())
    return op.emitOpError()
           << "dispatches " << x->getDim(0) << " tokens by a routing of "
           << routing.getNumTokens();
  return frame.set(op, op.getRows(),
                   op.getWeighted()
                       ? gatherWeighted(*x, routing.rowToken, routing.rowWeight)
                       : gatherRows(*x, routing.rowToken));
}

static LogicalResult runExperts(ExpertsOp op, Frame &frame) {
  FailureOr<Tensor> rows = frame.read(op, op.getRows());
  if (failed(rows))
    return failure();
  const Routing &routing = frame.getRouting(op.getRouting());
  if (rows->getDim(0) != routing.getNumRows())
    return op.emitOpError()
           << "has " << rows->getDim(0) << " rows for a routing of "
           << routing.getNumRows() << " pairs";
  for (Value weight : op.getWeights())
    if (frame.getTensor(weight).getDim(0) != routing.experts)
      return op.emitOpError()
             << "has a weight of " << frame.getTensor(weight).getTypeString()
             << " for " << routing.experts << " experts";

  RankedTensorType type = cast<RankedTensorType>(op.getResult().getType());
  int64_t width = type.getDimSize(1);
  std::vector<double> results;
  for (int64_t e = 0; e < routing.experts; ++e) {
    int64_t begin = routing.expertOffsets[e],
            end = routing.expertOffsets[e + 1];
    if (begin == end)
      continue;
    SmallVector<RuntimeValue> arguments = {takeRows(*rows, begin, end)};
    for (Value weight : op.getWeights())
      arguments.push_back(frame.getTensor(weight).slice(e));
    Frame body(frame.getInterpreter(), nullptr);
    FailureOr<SmallVector<RuntimeValue>> yielded =
        body.run(op.getBody().front(), arguments);
    if (failed(yielded))
      return failure();
    FailureOr<Tensor> part =
        body.read(op, op.getBody().front().getTerminator()->getOperand(0));
    if (failed(part))
      return failure();
    if (part->getRank() != 2 || part->getDim(0) != end - begin)
      return op.emitOpError() << "expert " << e << " turned " << end - begin
                              << " rows into " << part->getTypeString();
    width = part->getDim(1);
    // "Rows of experts": a row is rounded before it is weighted.
    llvm::append_range(results, part->rounded().getFloats());
  }
  if (ShapedType::isDynamic(width))
    width = 0;
  return frame.set(op, op.getResult(),
                   Tensor::ofFloats(type.getElementType(),
                                    {routing.getNumRows(), width},
                                    std::move(results)));
}

static LogicalResult runCombine(CombineOp op, Frame &frame) {
  FailureOr<Tensor> rows = frame.read(op, op.getRows());
  if (failed(rows))
    return failure();
  const Routing &routing = frame.getRouting(op.getRouting());
  if (rows->getDim(0) != routing.getNumRows())
    return op.emitOpError()
           << "has " << rows->getDim(0) << " rows for a routing of "
           << routing.getNumRows() << " pairs";
  int64_t tokens = routing.getNumTokens(), width = rows->getDim(1);
  std::vector<float> sums(tokens * width, 0.0f);
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t i = routing.tokenOffsets[t]; i < routing.tokenOffsets[t + 1];
         ++i) {
      int64_t row = routing.tokenRows[i];
      addWeighted(op.getUnweighted() ? 1.0f : routing.rowWeight[row], *rows,
                  row, MutableArrayRef<float>(sums).slice(t * width, width));
    }
  return frame.set(op, op.getResult(),
                   ofF32(rows->getElementType(), {tokens, width}, sums));
}

static LogicalResult runExpertCounts(ExpertCountsOp op, Frame &frame) {
  const Routing &routing = frame.getRouting(op.getRouting());
  std::vector<int64_t> counts(routing.experts, 0);
  if (op.getChosen()) {
    for (int64_t id : routing.chosen)
      if (id >= 0)
        ++counts[id];
  } else {
    for (int64_t e = 0; e < routing.experts; ++e)
      counts[e] = routing.expertOffsets[e + 1] - routing.expertOffsets[e];
  }
  return frame.set(op, op.getCounts(),
                   Tensor::ofInts(IntegerType::get(op.getContext(), 64),
                                  {routing.experts}, std::move(counts)));
}

static LogicalResult setRouting(Operation *op, Frame &frame,
                                FailureOr<Routing> routing) {
  return failed(routing) ? failure()
                         : frame.set(op, op->getResult(0), std::move(*routing));
}

LogicalResult mlir::moe::reference::runMoeOp(Operation *op, Frame &frame) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](GetWeightOp op) -> LogicalResult {
        FailureOr<Tensor> weight = frame.loadWeight(op);
        return failed(weight) ? failure()
                              : frame.set(op, op.getResult(), *weight);
      })
      .Case([&](AssignOp op) {
        return setRouting(op, frame,
                          buildRouting(op, op.getIndices(), op.getWeights(),
                                       op.getRouting().getType().getExperts(),
                                       frame));
      })
      .Case([&](AssignAllOp op) {
        return setRouting(
            op, frame,
            buildFullRouting(op, op.getX(), op.getWeights(),
                             op.getRouting().getType().getExperts(), frame));
      })
      .Case([&](DispatchOp op) { return runDispatch(op, frame); })
      .Case([&](ExpertsOp op) { return runExperts(op, frame); })
      .Case([&](CombineOp op) { return runCombine(op, frame); })
      .Case([&](ExpertCountsOp op) { return runExpertCounts(op, frame); })
      .Default([&](Operation *op) { return runRouterOp(op, frame); });
}
