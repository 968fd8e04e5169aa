//===- RoutedOps.cpp - Routed-level ops -----------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Contraction.h"
#include "MoeOps.h"
#include "ScalarProgram.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::reference;

static LogicalResult runSelectTopk(SelectTopkOp op, Frame &frame) {
  FailureOr<RouteRecord> record =
      selectTopK(op, op.getLogits(), op.getBias(), op.getPolicy(), frame);
  if (failed(record) || failed(frame.set(op, op.getIds(), record->ids)))
    return failure();
  return frame.set(op, op.getWeights(), record->weights);
}

/// Defines the five lists of `op`.
static LogicalResult setLists(Operation *op, Frame &frame,
                              FailureOr<Routing> routing) {
  if (failed(routing))
    return failure();
  Builder builder(op->getContext());
  auto list = [&](const std::vector<int64_t> &values) {
    return Tensor::ofInts(builder.getI32Type(),
                          {static_cast<int64_t>(values.size())}, values);
  };
  Tensor contents[] = {
      list(routing->expertOffsets), list(routing->rowToken),
      ofF32(builder.getF32Type(), {routing->getNumRows()}, routing->rowWeight),
      list(routing->tokenOffsets), list(routing->tokenRows)};
  for (auto [result, content] : llvm::zip_equal(op->getResults(), contents))
    if (failed(frame.set(op, result, content)))
      return failure();
  return success();
}

/// E of a list of E+1 offsets; fails when its type does not say.
static FailureOr<int64_t> expertsOf(Operation *op, Value offsets) {
  auto type = cast<RankedTensorType>(offsets.getType());
  if (type.isDynamicDim(0))
    return op->emitOpError() << "has offsets of type " << type
                             << ", which does not tell the number of experts";
  return type.getDimSize(0) - 1;
}

/// A list of offsets or of indices below `limit`.
static FailureOr<std::vector<int64_t>>
readIndices(Operation *op, Value value, int64_t limit, const Frame &frame) {
  FailureOr<Tensor> tensor = frame.read(op, value);
  if (failed(tensor))
    return failure();
  std::vector<int64_t> indices = tensor->getInts();
  for (auto [i, index] : llvm::enumerate(indices))
    if (index < 0 || index >= limit)
      return op->emitOpError() << "has index " << index << " at " << i
                               << " of a list of indices below " << limit;
  return indices;
}

/// A list of offsets: ascending from 0 to `last`.
static FailureOr<std::vector<int64_t>>
readOffsets(Operation *op, Value value, int64_t last, const Frame &frame) {
  FailureOr<Tensor> tensor = frame.read(op, value);
  if (failed(tensor))
    return failure();
  std::vector<int64_t> offsets = tensor->getInts();
  if (offsets.empty() || offsets.front() != 0 || offsets.back() != last ||
      !llvm::is_sorted(offsets))
    return op->emitOpError()
           << "has offsets that do not ascend from 0 to " << last;
  return offsets;
}

static LogicalResult runGatherRows(GatherRowsOp op, Frame &frame) {
  FailureOr<Tensor> x = frame.read(op, op.getX());
  if (failed(x))
    return failure();
  FailureOr<std::vector<int64_t>> tokens =
      readIndices(op, op.getRowToken(), x->getDim(0), frame);
  return failed(tokens) ? failure()
                        : frame.set(op, op.getRows(), gatherRows(*x, *tokens));
}

/// One expert of `moe.grouped_ffn` on its rows of x.
static FailureOr<std::vector<double>> runExpert(GroupedFfnOp op, int64_t expert,
                                                const Tensor &x,
                                                ArrayRef<Tensor> weights,
                                                ScalarProgram &activation) {
  unsigned parts = op.getParts();
  std::vector<std::vector<double>> inputs;
  for (unsigned p = 0; p < parts; ++p)
    inputs.push_back(multiplyTransposed(x, weights[p].slice(expert)));
  std::vector<double> hidden(inputs[0].size());
  for (size_t i = 0; i < hidden.size(); ++i) {
    for (unsigned p = 0; p < parts; ++p) {
      Scalar value;
      value.f = inputs[p][i];
      activation.setArgument(p, value);
    }
    if (failed(activation.run()))
      return failure();
    hidden[i] = roundToType(activation.result(0).f, x.getElementType());
  }
  int64_t width = weights[0].getDim(1);
  std::vector<double> rows = multiplyTransposed(
      Tensor::ofFloats(x.getElementType(), {x.getDim(0), width},
                       std::move(hidden)),
      weights[parts].slice(expert));
  for (double &value : rows)
    value = roundToType(value, x.getElementType());
  return rows;
}

static LogicalResult runGroupedFfn(GroupedFfnOp op, Frame &frame) {
  FailureOr<Tensor> x = frame.read(op, op.getX());
  FailureOr<ScalarProgram> activation =
      ScalarProgram::compile(op.getActivation().front(), frame);
  if (failed(x) || failed(activation))
    return failure();
  for (unsigned s = 0; s < op.getNumSegments(); ++s) {
    FailureOr<std::vector<int64_t>> tokens =
        readIndices(op, op.getRowToken()[s], x->getDim(0), frame);
    if (failed(tokens))
      return failure();
    FailureOr<std::vector<int64_t>> offsets =
        readOffsets(op, op.getExpertOffsets()[s], tokens->size(), frame);
    if (failed(offsets))
      return failure();
    SmallVector<Tensor> weights;
    for (Value weight : op.getSegmentWeights(s))
      weights.push_back(frame.getTensor(weight));
    std::vector<double> results;
    for (size_t e = 0; e + 1 < offsets->size(); ++e) {
      ArrayRef<int64_t> mine = ArrayRef<int64_t>(*tokens).slice(
          (*offsets)[e], (*offsets)[e + 1] - (*offsets)[e]);
      if (mine.empty())
        continue;
      FailureOr<std::vector<double>> rows =
          runExpert(op, e, gatherRows(*x, mine), weights, *activation);
      if (failed(rows))
        return failure();
      llvm::append_range(results, *rows);
    }
    int64_t count = tokens->size(), width = weights.back().getDim(1);
    if (failed(frame.set(op, op.getResults()[s],
                         Tensor::ofFloats(x->getElementType(), {count, width},
                                          std::move(results)))))
      return failure();
  }
  return success();
}

static LogicalResult runMapRows(MapRowsOp op, Frame &frame) {
  SmallVector<Tensor> rows;
  for (Value value : op.getRows()) {
    FailureOr<Tensor> tensor = frame.read(op, value);
    if (failed(tensor))
      return failure();
    rows.push_back(*tensor);
    if (tensor->getDim(0) != rows.front().getDim(0))
      return op.emitOpError() << "has operands of " << rows.front().getDim(0)
                              << " and " << tensor->getDim(0) << " rows";
  }
  int64_t count = rows.front().getDim(0);
  std::vector<int64_t> offsets;
  if (Value value = op.getExpertOffsets()) {
    FailureOr<std::vector<int64_t>> read = readOffsets(op, value, count, frame);
    if (failed(read))
      return failure();
    offsets = std::move(*read);
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
  for (int64_t r = 0; r < count; ++r) {
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
  for (auto [i, result] : llvm::enumerate(op.getResults()))
    if (failed(
            frame.set(op, result,
                      Tensor::ofScalars(getElementTypeOrSelf(result.getType()),
                                        shapes[i], results[i]))))
      return failure();
  return success();
}

static LogicalResult runCombineRows(CombineRowsOp op, Frame &frame) {
  int64_t tokens = frame.getTensor(op.getTokenOffsets()[0]).getDim(0) - 1;
  int64_t width = frame.getTensor(op.getRows()[0]).getDim(1);
  std::vector<float> sums(tokens * width, 0.0f);
  struct Segment {
    Tensor rows;
    std::vector<int64_t> offsets, indices;
    std::vector<float> weights;
  };
  std::vector<Segment> segments;
  for (auto [rows, offsets, indices, weights] :
       llvm::zip_equal(op.getRows(), op.getTokenOffsets(), op.getTokenRows(),
                       op.getRowWeight())) {
    FailureOr<Tensor> readRows = frame.read(op, rows),
                      readWeights = frame.read(op, weights);
    if (failed(readRows) || failed(readWeights))
      return failure();
    FailureOr<std::vector<int64_t>> readRowsOf =
        readIndices(op, indices, readRows->getDim(0), frame);
    if (failed(readRowsOf))
      return failure();
    FailureOr<std::vector<int64_t>> readOffsetsOf =
        readOffsets(op, offsets, readRowsOf->size(), frame);
    if (failed(readOffsetsOf))
      return failure();
    if (readRows->getDim(1) != width ||
        static_cast<int64_t>(readOffsetsOf->size()) != tokens + 1 ||
        readWeights->getDim(0) != readRows->getDim(0))
      return op.emitOpError("has segments of different tokens or widths");
    segments.push_back(
        {*readRows, *readOffsetsOf, *readRowsOf, toF32(*readWeights)});
  }
  for (int64_t t = 0; t < tokens; ++t)
    for (const Segment &segment : segments)
      for (int64_t i = segment.offsets[t]; i < segment.offsets[t + 1]; ++i)
        addWeighted(segment.weights[segment.indices[i]], segment.rows,
                    segment.indices[i],
                    MutableArrayRef<float>(sums).slice(t * width, width));
  return frame.set(op, op.getResult(),
                   ofF32(getElementTypeOrSelf(op.getResult().getType()),
                         {tokens, width}, sums));
}

static LogicalResult runCountRows(CountRowsOp op, Frame &frame) {
  FailureOr<Tensor> offsets = frame.read(op, op.getExpertOffsets());
  if (failed(offsets))
    return failure();
  std::vector<int64_t> counts;
  for (int64_t e = 0; e + 1 < offsets->getNumElements(); ++e)
    counts.push_back(offsets->getInt(e + 1) - offsets->getInt(e));
  int64_t experts = counts.size();
  return frame.set(op, op.getCounts(),
                   Tensor::ofInts(IntegerType::get(op.getContext(), 64),
                                  {experts}, std::move(counts)));
}

LogicalResult mlir::moe::reference::runRoutedOp(Operation *op, Frame &frame) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](SelectTopkOp op) { return runSelectTopk(op, frame); })
      .Case([&](GroupRowsOp op) -> LogicalResult {
        FailureOr<int64_t> experts = expertsOf(op, op.getExpertOffsets());
        if (failed(experts))
          return failure();
        return setLists(
            op, frame,
            buildRouting(op, op.getIds(), op.getWeights(), *experts, frame));
      })
      .Case([&](AllRowsOp op) -> LogicalResult {
        FailureOr<int64_t> experts = expertsOf(op, op.getExpertOffsets());
        if (failed(experts))
          return failure();
        return setLists(
            op, frame,
            buildFullRouting(op, op.getX(), op.getWeights(), *experts, frame));
      })
      .Case([&](GatherRowsOp op) { return runGatherRows(op, frame); })
      .Case([&](GroupedFfnOp op) { return runGroupedFfn(op, frame); })
      .Case([&](MapRowsOp op) { return runMapRows(op, frame); })
      .Case([&](CombineRowsOp op) { return runCombineRows(op, frame); })
      .Case([&](CountRowsOp op) { return runCountRows(op, frame); })
      .Default([](Operation *op) { return emitUnknown(op); });
}
