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

LogicalResult
mlir::moe::reference::setLists(Operation *op, Frame &frame,
                               const FailureOr<Routing> &routing) {
  if (failed(routing))
    return failure();
  Builder builder(op->getContext());
  auto lengthOf = [&](unsigned i, int64_t known) {
    auto type = cast<RankedTensorType>(op->getResult(i).getType());
    return type.isDynamicDim(0) ? known : std::max(known, type.getDimSize(0));
  };
  auto set = [&](unsigned i, std::vector<int64_t> values) {
    values.resize(lengthOf(i, values.size()), 0);
    int64_t length = values.size();
    return frame.set(
        op, op->getResult(i),
        Tensor::ofInts(builder.getI32Type(), {length}, std::move(values)));
  };
  std::vector<float> weights = routing->rowWeight;
  weights.resize(lengthOf(2, weights.size()), 0.0f);
  int64_t length = weights.size();
  return success(
      succeeded(set(0, routing->expertOffsets)) &&
      succeeded(set(1, routing->rowToken)) &&
      succeeded(frame.set(op, op->getResult(2),
                          ofF32(builder.getF32Type(), {length}, weights))) &&
      succeeded(set(3, routing->tokenOffsets)) &&
      succeeded(set(4, routing->tokenRows)));
}

FailureOr<int64_t> mlir::moe::reference::expertsOf(Operation *op,
                                                   Value offsets) {
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

FailureOr<std::vector<int64_t>>
mlir::moe::reference::readOffsets(Operation *op, Value value, int64_t last,
                                  const Frame &frame) {
  FailureOr<Tensor> tensor = frame.read(op, value);
  if (failed(tensor))
    return failure();
  std::vector<int64_t> offsets = tensor->getInts();
  if (offsets.empty() || offsets.front() != 0 || offsets.back() > last ||
      !llvm::is_sorted(offsets))
    return op->emitOpError()
           << "has offsets that do not ascend from 0 to at most " << last;
  return offsets;
}

static LogicalResult runGatherRows(GatherRowsOp op, Frame &frame) {
  FailureOr<Tensor> x = frame.read(op, op.getX());
  if (failed(x))
    return failure();
  FailureOr<std::vector<int64_t>> tokens =
      readIndices(op, op.getRowToken(), x->getDim(0), frame);
  if (failed(tokens))
    return failure();
  if (!op.getRowWeight())
    return frame.set(op, op.getRows(), gatherRows(*x, *tokens));
  FailureOr<std::vector<float>> weights = readF32(op, op.getRowWeight(), frame);
  if (failed(weights))
    return failure();
  if (weights->size() != tokens->size())
    return op.emitOpError() << "has " << weights->size() << " weights for "
                            << tokens->size() << " rows";
  return frame.set(op, op.getRows(), gatherWeighted(*x, *tokens, *weights));
}

/// rows . weight^T plus the bias of an expert, when there is one.
static std::vector<double> multiplyAndAdd(const Tensor &rows,
                                          ArrayRef<Tensor> weights,
                                          ArrayRef<Tensor> biases, unsigned i,
                                          int64_t expert) {
  std::vector<double> result =
      multiplyTransposed(rows, weights[i].slice(expert));
  if (biases.empty())
    return result;
  std::vector<double> bias = biases[i].slice(expert).contiguous().getFloats();
  for (size_t e = 0; e < result.size(); ++e)
    result[e] += bias[e % bias.size()];
  return result;
}

/// One expert of `moe.grouped_ffn` on its rows of x.
static FailureOr<std::vector<double>> runExpert(GroupedFfnOp op, int64_t expert,
                                                const Tensor &x,
                                                ArrayRef<Tensor> weights,
                                                ArrayRef<Tensor> biases,
                                                ScalarProgram &activation) {
  unsigned parts = op.getParts();
  std::vector<std::vector<double>> inputs;
  for (unsigned p = 0; p < parts; ++p)
    inputs.push_back(multiplyAndAdd(x, weights, biases, p, expert));
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
  std::vector<double> rows =
      multiplyAndAdd(Tensor::ofFloats(x.getElementType(), {x.getDim(0), width},
                                      std::move(hidden)),
                     weights, biases, parts, expert);
  for (double &value : rows)
    value = roundToType(value, x.getElementType());
  return rows;
}

/// One segment of `moe.grouped_ffn`. Rows behind the last expert get 0.
static LogicalResult runSegment(GroupedFfnOp op, unsigned s, const Tensor &x,
                                ScalarProgram &activation, Frame &frame) {
  FailureOr<std::vector<int64_t>> tokens =
      readIndices(op, op.getRowToken()[s], x.getDim(0), frame);
  if (failed(tokens))
    return failure();
  FailureOr<std::vector<int64_t>> offsets =
      readOffsets(op, op.getExpertOffsets()[s], tokens->size(), frame);
  if (failed(offsets))
    return failure();
  std::vector<float> scales;
  if (!op.getRowWeight().empty()) {
    FailureOr<std::vector<float>> read =
        readF32(op, op.getRowWeight()[s], frame);
    if (failed(read))
      return failure();
    scales = std::move(*read);
    if (scales.size() != tokens->size())
      return op.emitOpError() << "has " << scales.size() << " scales for "
                              << tokens->size() << " rows";
  }
  SmallVector<Tensor> weights, biases;
  for (Value weight : op.getSegmentWeights(s))
    weights.push_back(frame.getTensor(weight));
  for (Value bias : op.getSegmentBiases(s))
    biases.push_back(frame.getTensor(bias));
  int64_t count = tokens->size(), width = weights.back().getDim(1);
  std::vector<double> results;
  for (size_t e = 0; e + 1 < offsets->size(); ++e) {
    int64_t begin = (*offsets)[e], rowCount = (*offsets)[e + 1] - begin;
    if (rowCount == 0)
      continue;
    auto mine = ArrayRef<int64_t>(*tokens).slice(begin, rowCount);
    Tensor taken =
        scales.empty()
            ? gatherRows(x, mine)
            : gatherWeighted(x, mine,
                             ArrayRef<float>(scales).slice(begin, rowCount));
    FailureOr<std::vector<double>> rows =
        runExpert(op, e, taken, weights, biases, activation);
    if (failed(rows))
      return failure();
    llvm::append_range(results, *rows);
  }
  results.resize(count * width, 0.0);
  return frame.set(
      op, op.getResults()[s],
      Tensor::ofFloats(x.getElementType(), {count, width}, std::move(results)));
}

static LogicalResult runGroupedFfn(GroupedFfnOp op, Frame &frame) {
  FailureOr<Tensor> x = frame.read(op, op.getX());
  FailureOr<ScalarProgram> activation =
      ScalarProgram::compile(op.getActivation().front(), frame);
  if (failed(x) || failed(activation))
    return failure();
  for (unsigned s = 0; s < op.getNumSegments(); ++s)
    if (failed(runSegment(op, s, *x, *activation, frame)))
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
    std::optional<ArrayRef<bool>> unweighted = op.getUnweighted();
    if (unweighted && (*unweighted)[segments.size() - 1])
      llvm::fill(segments.back().weights, 1.0f);
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
      .Case([&](GatherRowsOp op) { return runGatherRows(op, frame); })
      .Case([&](GroupedFfnOp op) { return runGroupedFfn(op, frame); })
      .Case([&](CombineRowsOp op) { return runCombineRows(op, frame); })
      .Case([&](CountRowsOp op) { return runCountRows(op, frame); })
      .Default([&](Operation *op) { return runRoutedRouterOp(op, frame); });
}
