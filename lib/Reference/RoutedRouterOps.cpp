//===- RoutedRouterOps.cpp - Routers at routed level ----------------------===//
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

/// Defines ids and weights, the first two results of `op`; the final ones of a
/// router are recorded as a route.
static LogicalResult setChoices(Operation *op, Frame &frame,
                                ArrayRef<Selection> selections,
                                int64_t perToken, bool recorded) {
  RouteRecord record = toTensors(op->getContext(), selections, perToken);
  if (recorded)
    frame.recordRoute(record);
  if (failed(frame.set(op, op->getResult(0), record.ids)))
    return failure();
  return frame.set(op, op->getResult(1), record.weights);
}

static LogicalResult runSelectTopk(SelectTopkOp op, Frame &frame) {
  PolicyAttr policy = op.getPolicy();
  FailureOr<std::vector<Selection>> selections = chooseForAll(
      op,
      {op.getLogits(), op.getBias(), op.getResident(), op.getRandom(), policy},
      frame);
  if (failed(selections))
    return failure();
  bool isFinal = !policy.getCapacity();
  if (isFinal)
    for (Selection &selection : *selections)
      selection = finishSelection(std::move(selection), policy);
  return setChoices(op, frame, *selections, policy.getTopK(), isFinal);
}

static LogicalResult runApplyCapacity(ApplyCapacityOp op, Frame &frame) {
  FailureOr<Tensor> ids = frame.read(op, op.getChosenIds()),
                    weights = frame.read(op, op.getChosenWeights());
  if (failed(ids) || failed(weights))
    return failure();
  PolicyAttr policy = op.getPolicy();
  int64_t tokens = ids->getDim(0), k = policy.getTopK(),
          experts = op.getDropped().getType().getDimSize(0);
  if (ids->getShape() != weights->getShape() || ids->getDim(1) != k)
    return op.emitOpError()
           << "has " << ids->getTypeString() << " ids and "
           << weights->getTypeString() << " weights of " << k << " choices";
  std::vector<int64_t> allIds = ids->getInts();
  std::vector<float> allWeights = toF32(*weights);
  std::vector<Selection> selections(tokens);
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t i = t * k; i < (t + 1) * k; ++i) {
      if (allIds[i] < -1 || allIds[i] >= experts)
        return op.emitOpError() << "has expert " << allIds[i] << " of "
                                << experts << " in token " << t;
      selections[t].ids.push_back(allIds[i]);
      selections[t].weights.push_back(allWeights[i]);
    }
  std::vector<int64_t> dropped = applyCapacity(selections, experts, policy);
  for (Selection &selection : selections)
    selection = finishSelection(std::move(selection), policy);
  if (failed(setChoices(op, frame, selections, k, /*recorded=*/true)))
    return failure();
  return frame.set(op, op.getDropped(),
                   Tensor::ofInts(IntegerType::get(op.getContext(), 32),
                                  {experts}, std::move(dropped)));
}

static LogicalResult runSelectProducts(SelectProductsOp op, Frame &frame) {
  FailureOr<std::vector<Selection>> selections =
      chooseProducts(op, op.getFirst(), op.getSecond(), op.getPolicy(), frame);
  if (failed(selections))
    return failure();
  return setChoices(op, frame, *selections, op.getPolicy().getTopK(),
                    /*recorded=*/true);
}

static LogicalResult runChooseRows(ChooseRowsOp op, Frame &frame) {
  FailureOr<std::vector<Selection>> selections = chooseTokensForAll(op, frame);
  FailureOr<int64_t> experts = expertsOf(op, op.getExpertOffsets());
  if (failed(selections) || failed(experts))
    return failure();
  int64_t tokens = selections->size();
  RouteRecord lists = toTensors(op.getContext(), *selections, *experts);
  Routing routing = Routing::build(*experts, *experts, tokens,
                                   lists.ids.getInts(), toF32(lists.weights));
  int64_t bound = op.getRows() * tokens + op.getExtra();
  if (routing.getNumRows() > bound)
    return op.emitOpError() << "chooses " << routing.getNumRows()
                            << " rows, but the bound is " << bound;
  return setLists(op, frame, routing);
}

static LogicalResult runSliceRows(SliceRowsOp op, Frame &frame) {
  FailureOr<Tensor> rowToken = frame.read(op, op.getSourceRowToken()),
                    tokenOffsets = frame.read(op, op.getSourceTokenOffsets()),
                    tokenRows = frame.read(op, op.getSourceTokenRows());
  FailureOr<std::vector<float>> rowWeight =
      readF32(op, op.getSourceRowWeight(), frame);
  if (failed(rowToken) || failed(tokenOffsets) || failed(tokenRows) ||
      failed(rowWeight))
    return failure();
  FailureOr<std::vector<int64_t>> offsets =
      readOffsets(op, op.getSourceOffsets(), rowToken->getDim(0), frame);
  if (failed(offsets))
    return failure();
  int64_t end = op.getEnd();
  if (end >= static_cast<int64_t>(offsets->size()))
    return op.emitOpError()
           << "takes experts up to " << end << " of " << offsets->size() - 1;
  Routing routing;
  routing.experts = routing.perToken = offsets->size() - 1;
  routing.expertOffsets = std::move(*offsets);
  routing.rowToken = rowToken->getInts();
  routing.rowWeight = std::move(*rowWeight);
  routing.tokenOffsets = tokenOffsets->getInts();
  routing.tokenRows = tokenRows->getInts();
  return setLists(op, frame, routing.restricted(op.getBegin(), end));
}

static LogicalResult runRowLogits(RowLogitsOp op, Frame &frame) {
  int64_t rows = frame.getTensor(op.getRows()).getDim(0);
  FailureOr<std::vector<int64_t>> offsets =
      readOffsets(op, op.getExpertOffsets(), rows, frame);
  if (failed(offsets))
    return failure();
  FailureOr<Tensor> logits =
      groupedLogits(op, op.getRows(), op.getWeight(), *offsets, frame);
  return failed(logits) ? failure() : frame.set(op, op.getLogits(), *logits);
}

static LogicalResult runNestIds(NestIdsOp op, Frame &frame) {
  FailureOr<Tensor> ids = frame.read(op, op.getIds());
  if (failed(ids))
    return failure();
  int64_t rows = ids->getDim(0), k = ids->getDim(1);
  FailureOr<std::vector<int64_t>> offsets =
      readOffsets(op, op.getExpertOffsets(), rows, frame);
  if (failed(offsets))
    return failure();
  int64_t count = op.getInnerExperts();
  std::vector<int64_t> inner = ids->getInts(), result(rows * k, -1);
  for (size_t e = 0; e + 1 < offsets->size(); ++e)
    for (int64_t i = (*offsets)[e] * k; i < (*offsets)[e + 1] * k; ++i)
      if (inner[i] >= 0 && inner[i] < count)
        result[i] = inner[i] + static_cast<int64_t>(count * e);
      else if (inner[i] != -1)
        result[i] = count * (offsets->size() - 1);
  return frame.set(
      op, op.getResult(),
      Tensor::ofInts(ids->getElementType(), {rows, k}, std::move(result)));
}

static LogicalResult runCountIds(CountIdsOp op, Frame &frame) {
  FailureOr<Tensor> ids = frame.read(op, op.getIds());
  if (failed(ids))
    return failure();
  int64_t experts = op.getCounts().getType().getDimSize(0);
  std::vector<int64_t> counts(experts, 0);
  for (int64_t id : ids->getInts()) {
    if (id < -1 || id >= experts)
      return op.emitOpError() << "has expert " << id << " of " << experts;
    if (id >= 0)
      ++counts[id];
  }
  return frame.set(op, op.getCounts(),
                   Tensor::ofInts(IntegerType::get(op.getContext(), 64),
                                  {experts}, std::move(counts)));
}

LogicalResult mlir::moe::reference::runRoutedRouterOp(Operation *op,
                                                      Frame &frame) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](SelectTopkOp op) { return runSelectTopk(op, frame); })
      .Case([&](ApplyCapacityOp op) { return runApplyCapacity(op, frame); })
      .Case([&](SelectProductsOp op) { return runSelectProducts(op, frame); })
      .Case([&](ChooseRowsOp op) { return runChooseRows(op, frame); })
      .Case([&](SliceRowsOp op) { return runSliceRows(op, frame); })
      .Case([&](RowLogitsOp op) { return runRowLogits(op, frame); })
      .Case([&](NestIdsOp op) { return runNestIds(op, frame); })
      .Case([&](CountIdsOp op) { return runCountIds(op, frame); })
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
      .Default([&](Operation *op) { return runRowRegionOp(op, frame); });
}
