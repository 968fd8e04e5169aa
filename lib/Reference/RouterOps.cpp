//===- RouterOps.cpp - Routers at graph level -----------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Ops that make logits, random numbers and routings. Compiled without
// contraction of a * b + c.
//
//===----------------------------------------------------------------------===//

#include "Contraction.h"
#include "MoeOps.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::reference;

//===----------------------------------------------------------------------===//
// Shared helpers
//===----------------------------------------------------------------------===//

FailureOr<std::vector<float>>
mlir::moe::reference::readF32(Operation *op, Value value, const Frame &frame) {
  FailureOr<Tensor> tensor = frame.read(op, value);
  if (failed(tensor))
    return failure();
  return toF32(*tensor);
}

/// Fails unless the policy fits so many experts, null ones included.
static LogicalResult checkPolicy(Operation *op, PolicyAttr policy,
                                 int64_t experts) {
  int64_t groups = policy.getGroups();
  int64_t selectable = experts - policy.getNullExperts();
  if (policy.getGroupFilter() != GroupFilter::None) {
    int64_t least = policy.getGroupFilter() == GroupFilter::Top2Sum ? 2 : 1;
    if (experts % groups != 0 || experts / groups < least)
      return op->emitOpError() << "cannot form " << groups << " groups of "
                               << experts << " experts";
    selectable = experts / groups * policy.getKeepGroups();
  }
  if (policy.getTopK() > selectable)
    return op->emitOpError() << "cannot choose " << policy.getTopK() << " of "
                             << selectable << " experts";
  return success();
}

FailureOr<std::vector<Selection>> mlir::moe::reference::chooseForAll(
    Operation *op, const RouterOperands &operands, const Frame &frame) {
  FailureOr<Tensor> logits = frame.read(op, operands.logits);
  if (failed(logits))
    return failure();
  int64_t tokens = logits->getDim(0), experts = logits->getDim(1),
          k = operands.policy.getTopK();
  if (failed(checkPolicy(op, operands.policy, experts)))
    return failure();

  std::vector<float> bias, random;
  std::vector<int64_t> resident;
  bool biasPerToken = false;
  if (operands.bias) {
    FailureOr<Tensor> tensor = frame.read(op, operands.bias);
    if (failed(tensor))
      return failure();
    bias = toF32(*tensor);
    biasPerToken = tensor->getRank() == 2;
    int64_t needed = biasPerToken ? tokens * experts : experts;
    if (static_cast<int64_t>(bias.size()) != needed)
      return op->emitOpError()
             << "has a bias of " << bias.size() << " elements for "
             << (biasPerToken ? "logits of " + logits->getTypeString()
                              : std::to_string(experts) + " experts");
  }
  if (operands.resident) {
    FailureOr<Tensor> tensor = frame.read(op, operands.resident);
    if (failed(tensor))
      return failure();
    resident = tensor->getInts();
    if (static_cast<int64_t>(resident.size()) != experts)
      return op->emitOpError() << "marks " << resident.size() << " of "
                               << experts << " experts as resident or not";
  }
  if (operands.random) {
    FailureOr<Tensor> tensor = frame.read(op, operands.random);
    if (failed(tensor))
      return failure();
    random = toF32(*tensor);
    if (tensor->getShape() != ArrayRef<int64_t>{tokens, k})
      return op->emitOpError()
             << "has " << tensor->getTypeString() << " random numbers for "
             << tokens << " tokens of " << k << " choices";
  }

  std::vector<float> values = toF32(*logits);
  std::vector<Selection> selections(tokens);
  parallelFor(tokens, tokens * experts > (1 << 18), [&](int64_t t) {
    RouterRow row;
    row.logits = ArrayRef<float>(values).slice(t * experts, experts);
    row.bias = biasPerToken ? ArrayRef<float>(bias).slice(t * experts, experts)
                            : ArrayRef<float>(bias);
    row.resident = resident;
    if (!random.empty())
      row.random = ArrayRef<float>(random).slice(t * k, k);
    selections[t] = chooseExperts(row, operands.policy);
  });
  return selections;
}

RouteRecord mlir::moe::reference::toTensors(MLIRContext *context,
                                            ArrayRef<Selection> selections,
                                            int64_t perToken) {
  std::vector<int64_t> ids;
  std::vector<double> weights;
  for (const Selection &selection : selections) {
    llvm::append_range(ids, selection.ids);
    llvm::append_range(weights, selection.weights);
  }
  int64_t tokens = selections.size();
  RouteRecord record;
  record.ids = Tensor::ofInts(IntegerType::get(context, 32), {tokens, perToken},
                              std::move(ids));
  record.weights = Tensor::ofFloats(Float32Type::get(context),
                                    {tokens, perToken}, std::move(weights));
  return record;
}

FailureOr<std::vector<Selection>>
mlir::moe::reference::chooseProducts(Operation *op, Value firstValue,
                                     Value secondValue, PolicyAttr policy,
                                     const Frame &frame) {
  FailureOr<Tensor> first = frame.read(op, firstValue),
                    second = frame.read(op, secondValue);
  if (failed(first) || failed(second))
    return failure();
  int64_t tokens = first->getDim(0), rows = first->getDim(1),
          columns = second->getDim(1), k = policy.getTopK();
  if (second->getDim(0) != tokens || k > rows || k > columns)
    return op->emitOpError()
           << "cannot choose " << k << " pairs of " << first->getTypeString()
           << " and " << second->getTypeString();
  std::vector<float> a = toF32(*first), b = toF32(*second);
  std::vector<Selection> selections(tokens);
  parallelFor(tokens, tokens * (rows + columns) > (1 << 18), [&](int64_t t) {
    selections[t] =
        selectProducts(ArrayRef<float>(a).slice(t * rows, rows),
                       ArrayRef<float>(b).slice(t * columns, columns), policy);
  });
  return selections;
}

FailureOr<Tensor> mlir::moe::reference::groupedLogits(
    Operation *op, Value rowsValue, Value weightValue,
    ArrayRef<int64_t> expertOffsets, const Frame &frame) {
  FailureOr<Tensor> rows = frame.read(op, rowsValue);
  if (failed(rows))
    return failure();
  const Tensor &weight = frame.getTensor(weightValue);
  int64_t count = rows->getDim(0), hidden = rows->getDim(1),
          experts = weight.getDim(0), columns = weight.getDim(1);
  if (weight.getDim(2) != hidden ||
      static_cast<int64_t>(expertOffsets.size()) != experts + 1 ||
      expertOffsets.back() > count)
    return op->emitOpError()
           << "multiplies " << rows->getTypeString() << " by "
           << weight.getTypeString() << " in " << expertOffsets.size() - 1
           << " groups of " << expertOffsets.back() << " rows";
  std::vector<float> values = toF32(*rows), logits(count * columns);
  parallelFor(experts, count * columns * hidden > (1 << 20), [&](int64_t e) {
    if (expertOffsets[e] == expertOffsets[e + 1])
      return;
    std::vector<float> router = toF32(weight.slice(e).contiguous());
    for (int64_t r = expertOffsets[e]; r < expertOffsets[e + 1]; ++r)
      for (int64_t j = 0; j < columns; ++j)
        logits[r * columns + j] =
            sixteenLaneDot(ArrayRef<float>(values).slice(r * hidden, hidden),
                           ArrayRef<float>(router).slice(j * hidden, hidden));
  });
  return ofF32(Float32Type::get(op->getContext()), {count, columns}, logits);
}

//===----------------------------------------------------------------------===//
// Logits and numbers
//===----------------------------------------------------------------------===//

static LogicalResult runRouterLogits(RouterLogitsOp op, Frame &frame) {
  FailureOr<Tensor> x = frame.read(op, op.getX()),
                    weight = frame.read(op, op.getWeight());
  if (failed(x) || failed(weight))
    return failure();
  int64_t tokens = x->getDim(0), hidden = x->getDim(1),
          experts = weight->getDim(0);
  if (weight->getDim(1) != hidden)
    return op.emitOpError() << "multiplies " << x->getTypeString() << " by "
                            << weight->getTypeString();
  std::vector<float> bias;
  if (op.getBias()) {
    FailureOr<std::vector<float>> values = readF32(op, op.getBias(), frame);
    if (failed(values))
      return failure();
    bias = std::move(*values);
    if (static_cast<int64_t>(bias.size()) != experts)
      return op.emitOpError() << "has a bias of " << bias.size()
                              << " elements for " << experts << " experts";
  }
  std::optional<APFloat> cosine = op.getCosine();
  float epsilon = cosine ? cosine->convertToFloat() : 0;
  std::vector<float> rows = toF32(*x), columns = toF32(*weight),
                     logits(tokens * experts);
  parallelFor(tokens, tokens * experts * hidden > (1 << 20), [&](int64_t t) {
    auto row = ArrayRef<float>(rows).slice(t * hidden, hidden);
    for (int64_t e = 0; e < experts; ++e) {
      auto column = ArrayRef<float>(columns).slice(e * hidden, hidden);
      float logit = cosine ? cosineDot(row, column, epsilon)
                           : sixteenLaneDot(row, column);
      if (!bias.empty())
        logit = logit + bias[e];
      if (std::optional<Type> type = op.getRound())
        logit = roundRouterValue(logit, *type);
      logits[t * experts + e] = logit;
    }
  });
  return frame.set(
      op, op.getLogits(),
      ofF32(Float32Type::get(op.getContext()), {tokens, experts}, logits));
}

static LogicalResult runRandom(RandomOp op, Frame &frame) {
  FailureOr<Tensor> seed = frame.read(op, op.getSeed());
  if (failed(seed))
    return failure();
  if (seed->getNumElements() != 1)
    return op.emitOpError() << "has " << seed->getNumElements() << " seeds";
  int64_t rows = frame.getTensor(op.getLike()).getDim(0);
  int64_t columns = op.getResult().getType().getDimSize(1);
  std::vector<float> values(rows * columns);
  for (int64_t t = 0; t < rows; ++t)
    for (int64_t j = 0; j < columns; ++j)
      values[t * columns + j] = randomNumber(
          op.getDistribution(), seed->getInt(0), op.getStream(), t, j, columns);
  return frame.set(
      op, op.getResult(),
      ofF32(Float32Type::get(op.getContext()), {rows, columns}, values));
}

static LogicalResult runLookup(LookupOp op, Frame &frame) {
  FailureOr<Tensor> table = frame.read(op, op.getTable()),
                    indices = frame.read(op, op.getIndices());
  if (failed(table) || failed(indices))
    return failure();
  int64_t size = table->getDim(0), columns = table->getDim(1),
          count = indices->getDim(0);
  SmallVector<Scalar> values;
  for (int64_t t = 0; t < count; ++t) {
    int64_t index = indices->getInt(t);
    if (index < 0 || index >= size)
      return emitNumbered(op, 17)
             << "index " << t << " is " << index
             << ", but the table has rows 0 to " << size - 1;
    for (int64_t j = 0; j < columns; ++j)
      values.push_back(table->getScalar(index * columns + j));
  }
  return frame.set(
      op, op.getResult(),
      Tensor::ofScalars(table->getElementType(), {count, columns}, values));
}

static LogicalResult runGroupedLogits(GroupedLogitsOp op, Frame &frame) {
  const Routing &routing = frame.getRouting(op.getRouting());
  FailureOr<Tensor> logits = groupedLogits(op, op.getRows(), op.getWeight(),
                                           routing.expertOffsets, frame);
  return failed(logits) ? failure() : frame.set(op, op.getLogits(), *logits);
}

//===----------------------------------------------------------------------===//
// Routings
//===----------------------------------------------------------------------===//

/// A routing from the choices of all tokens, and its record when `recorded`.
static LogicalResult setRouting(Operation *op, Frame &frame,
                                ArrayRef<Selection> selections, bool recorded,
                                std::vector<int64_t> chosen = {}) {
  auto type = cast<RoutingType>(op->getResult(0).getType());
  RouteRecord record =
      toTensors(op->getContext(), selections, type.getPerToken());
  if (recorded)
    frame.recordRoute(record);
  Routing routing =
      Routing::build(type.getExperts(), type.getPerToken(), selections.size(),
                     record.ids.getInts(), toF32(record.weights));
  routing.chosen = std::move(chosen);
  for (const Selection &selection : selections)
    routing.regret.push_back(selection.regret);
  return frame.set(op, op->getResult(0), std::move(routing));
}

static LogicalResult runRoute(RouteOp op, Frame &frame) {
  FailureOr<std::vector<Selection>> selections =
      chooseForAll(op,
                   {op.getLogits(), op.getBias(), op.getResident(),
                    op.getRandom(), op.getPolicy()},
                   frame);
  if (failed(selections))
    return failure();
  std::vector<int64_t> chosen;
  for (const Selection &selection : *selections)
    llvm::append_range(chosen, selection.ids);
  int64_t experts = op.getRouting().getType().getExperts();
  if (op.getPolicy().getCapacity())
    applyCapacity(*selections, experts, op.getPolicy());
  for (Selection &selection : *selections)
    selection = finishSelection(std::move(selection), op.getPolicy());
  return setRouting(op, frame, *selections, /*recorded=*/true,
                    std::move(chosen));
}

static LogicalResult runChooseTokens(ChooseTokensOp op, Frame &frame) {
  FailureOr<std::vector<Selection>> selections = chooseTokensForAll(op, frame);
  return failed(selections)
             ? failure()
             : setRouting(op, frame, *selections, /*recorded=*/false);
}

static LogicalResult runRouteProducts(RouteProductsOp op, Frame &frame) {
  FailureOr<std::vector<Selection>> selections =
      chooseProducts(op, op.getFirst(), op.getSecond(), op.getPolicy(), frame);
  return failed(selections)
             ? failure()
             : setRouting(op, frame, *selections, /*recorded=*/true);
}

static LogicalResult runNest(NestOp op, Frame &frame) {
  const Routing &inner = frame.getRouting(op.getInner()),
                &outer = frame.getRouting(op.getOuter());
  int64_t rows = outer.getNumRows(), k = inner.perToken;
  if (inner.getNumTokens() != rows)
    return op.emitOpError() << "nests a routing of " << inner.getNumTokens()
                            << " tokens in one of " << rows << " rows";
  std::vector<int64_t> outerExpert = outer.getRowExperts(),
                       innerExpert = inner.getRowExperts();
  std::vector<int64_t> ids(rows * k, -1);
  std::vector<float> weights(rows * k, 0.0f);
  for (int64_t r = 0; r < rows; ++r) {
    int64_t next = r * k;
    for (int64_t i = inner.tokenOffsets[r]; i < inner.tokenOffsets[r + 1];
         ++i) {
      int64_t row = inner.tokenRows[i];
      ids[next] = outerExpert[r] * inner.experts + innerExpert[row];
      weights[next++] = inner.rowWeight[row];
    }
  }
  return frame.set(
      op, op.getRouting(),
      Routing::build(outer.experts * inner.experts, k, rows, ids, weights));
}

LogicalResult mlir::moe::reference::runRouterOp(Operation *op, Frame &frame) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](RouterLogitsOp op) { return runRouterLogits(op, frame); })
      .Case([&](GroupedLogitsOp op) { return runGroupedLogits(op, frame); })
      .Case([&](RandomOp op) { return runRandom(op, frame); })
      .Case([&](LookupOp op) { return runLookup(op, frame); })
      .Case([&](RouteOp op) { return runRoute(op, frame); })
      .Case([&](ChooseTokensOp op) { return runChooseTokens(op, frame); })
      .Case([&](RouteProductsOp op) { return runRouteProducts(op, frame); })
      .Case([&](NestOp op) { return runNest(op, frame); })
      .Case([&](RestrictOp op) {
        const Routing &routing = frame.getRouting(op.getRouting());
        return frame.set(op, op.getResult(),
                         routing.restricted(op.getBegin(), op.getEnd()));
      })
      .Default([&](Operation *op) { return runStatisticsOp(op, frame); });
}
