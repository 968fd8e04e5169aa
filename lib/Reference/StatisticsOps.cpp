//===- StatisticsOps.cpp - Load statistics, losses and Soft MoE -----------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Sums are kept in f64 and rounded once: targets agree with them to a
// tolerance (docs/Numerics.md, "Statistics").
//
//===----------------------------------------------------------------------===//

#include "MoeOps.h"

#include "llvm/ADT/TypeSwitch.h"

#include <algorithm>
#include <cmath>

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::reference;

/// f64 values as the f32 result of `op`, of one dimension.
static LogicalResult setNumbers(Operation *op, Frame &frame,
                                ArrayRef<double> values) {
  std::vector<float> rounded(values.begin(), values.end());
  int64_t count = values.size();
  return frame.set(op, op->getResult(0),
                   ofF32(Float32Type::get(op->getContext()), {count}, rounded));
}

static double divideOr0(double value, double divisor) {
  return divisor == 0 ? 0 : value / divisor;
}

//===----------------------------------------------------------------------===//
// Statistics
//===----------------------------------------------------------------------===//

static LogicalResult runExpertFractions(ExpertFractionsOp op, Frame &frame) {
  FailureOr<Tensor> counts = frame.read(op, op.getCounts());
  if (failed(counts))
    return failure();
  std::vector<int64_t> values = counts->getInts();
  double sum = 0;
  for (int64_t value : values)
    sum += value;
  std::vector<double> fractions;
  for (int64_t value : values)
    fractions.push_back(divideOr0(value, sum));
  return setNumbers(op, frame, fractions);
}

/// The sums over tokens [begin, end) of the scores of each expert.
static std::vector<double> sumScores(ArrayRef<float> logits, int64_t experts,
                                     int64_t begin, int64_t end, Score score,
                                     bool normalized) {
  std::vector<double> sums(experts, 0.0);
  for (int64_t t = begin; t < end; ++t) {
    std::vector<float> scores =
        routerScores(logits.slice(t * experts, experts), score);
    double all = 1;
    if (normalized) {
      all = 0;
      for (float value : scores)
        all += value;
    }
    for (int64_t e = 0; e < experts; ++e)
      sums[e] += scores[e] / all;
  }
  return sums;
}

static LogicalResult runMeanScores(MeanScoresOp op, Frame &frame) {
  FailureOr<Tensor> logits = frame.read(op, op.getLogits());
  if (failed(logits))
    return failure();
  int64_t tokens = logits->getDim(0);
  std::vector<double> means =
      sumScores(toF32(*logits), logits->getDim(1), 0, tokens, op.getScore(),
                op.getNormalized());
  for (double &mean : means)
    mean = divideOr0(mean, tokens);
  return setNumbers(op, frame, means);
}

static LogicalResult runLoadBalanceLoss(LoadBalanceLossOp op, Frame &frame) {
  FailureOr<Tensor> logits = frame.read(op, op.getLogits());
  if (failed(logits))
    return failure();
  const Routing &routing = frame.getRouting(op.getRouting());
  int64_t tokens = logits->getDim(0), experts = logits->getDim(1),
          k = routing.perToken;
  if (routing.getNumTokens() != tokens)
    return op.emitOpError()
           << "has logits of " << tokens << " tokens for a routing of "
           << routing.getNumTokens();
  std::vector<float> values = toF32(*logits);
  int64_t size = op.getEvery().value_or(std::max<int64_t>(tokens, 1));
  double loss = 0;
  int64_t sequences = 0;
  for (int64_t begin = 0; begin < tokens; begin += size, ++sequences) {
    int64_t end = std::min(tokens, begin + size);
    std::vector<double> counts(experts, 0.0);
    for (int64_t t = begin; t < end; ++t)
      for (int64_t j = 0; j < (op.getFirstChoice() ? 1 : k); ++j)
        if (int64_t id = routing.chosen[t * k + j]; id >= 0)
          ++counts[id];
    std::vector<double> sums = sumScores(values, experts, begin, end,
                                         op.getScore(), op.getNormalized());
    double length = end - begin, balance = 0;
    for (int64_t e = 0; e < experts; ++e)
      balance += counts[e] / length * (sums[e] / length);
    loss += experts * balance / (op.getPerChoice() ? k : 1);
  }
  return setNumbers(op, frame, divideOr0(loss, sequences));
}

static LogicalResult runRouterZLoss(RouterZLossOp op, Frame &frame) {
  FailureOr<Tensor> logits = frame.read(op, op.getLogits());
  if (failed(logits))
    return failure();
  int64_t tokens = logits->getDim(0), experts = logits->getDim(1);
  std::vector<float> values = toF32(*logits);
  double sum = 0;
  for (int64_t t = 0; t < tokens; ++t) {
    auto row = ArrayRef<float>(values).slice(t * experts, experts);
    double largest = *llvm::max_element(row), exponentials = 0;
    for (float logit : row)
      exponentials += std::exp(logit - largest);
    double log = largest + std::log(exponentials);
    sum += log * log;
  }
  return setNumbers(op, frame, divideOr0(sum, tokens));
}

static LogicalResult runImportanceLoss(ImportanceLossOp op, Frame &frame) {
  const Routing &routing = frame.getRouting(op.getRouting());
  std::vector<double> importance(routing.experts, 0.0);
  double mean = 0;
  for (auto [expert, weight] :
       llvm::zip_equal(routing.getRowExperts(), routing.rowWeight)) {
    importance[expert] += weight;
    mean += weight;
  }
  mean /= routing.experts;
  double variance = 0;
  for (double value : importance)
    variance += (value - mean) * (value - mean);
  variance /= routing.experts;
  return setNumbers(op, frame, variance / (mean * mean + 1e-10));
}

static LogicalResult runUpdateBias(UpdateBiasOp op, Frame &frame) {
  FailureOr<Tensor> bias = frame.read(op, op.getBias()),
                    counts = frame.read(op, op.getCounts());
  if (failed(bias) || failed(counts))
    return failure();
  std::vector<float> values = toF32(*bias);
  std::vector<int64_t> loads = counts->getInts();
  int64_t experts = values.size(), sum = 0;
  for (int64_t load : loads)
    sum += load;
  float rate = op.getRate().convertToFloat();
  for (int64_t e = 0; e < experts; ++e) {
    int64_t share = experts * loads[e];
    if (share < sum)
      values[e] = values[e] + rate;
    else if (share > sum)
      values[e] = values[e] - rate;
  }
  return frame.set(op, op.getResult(),
                   ofF32(Float32Type::get(op.getContext()), {experts}, values));
}

static LogicalResult runRoutingRegret(RoutingRegretOp op, Frame &frame) {
  const Routing &routing = frame.getRouting(op.getRouting());
  double largest = 0, sum = 0;
  for (auto [t, regret] : llvm::enumerate(routing.regret)) {
    // A NaN stays.
    if (t == 0 || std::isnan(regret) || regret > largest)
      largest = std::isnan(largest) ? largest : regret;
    sum += regret;
  }
  return setNumbers(op, frame,
                    {largest, divideOr0(sum, routing.regret.size())});
}

//===----------------------------------------------------------------------===//
// Soft MoE
//===----------------------------------------------------------------------===//

/// The softmax of `count` logits, each `stride` after the last.
static std::vector<double> softmax(ArrayRef<float> logits, int64_t start,
                                   int64_t stride, int64_t count) {
  std::vector<double> p(count);
  double largest = -HUGE_VAL, sum = 0;
  for (int64_t i = 0; i < count; ++i)
    largest = std::fmax(largest, logits[start + i * stride]);
  for (int64_t i = 0; i < count; ++i)
    sum += p[i] = std::exp(logits[start + i * stride] - largest);
  for (double &value : p)
    value /= sum;
  return p;
}

/// sums[s] += p[i] * rows[i].
static void mix(ArrayRef<double> p, const Tensor &rows,
                MutableArrayRef<double> sums) {
  int64_t width = sums.size();
  for (auto [i, weight] : llvm::enumerate(p))
    for (int64_t h = 0; h < width; ++h)
      sums[h] += weight * rows.getFloat(i * width + h);
}

/// Both ops: every row of the result is a mixture of `rows`.
static LogicalResult runMixture(Operation *op, Value rowsValue,
                                Value logitsValue, bool overTokens,
                                Frame &frame) {
  FailureOr<Tensor> rows = frame.read(op, rowsValue),
                    logits = frame.read(op, logitsValue);
  if (failed(rows) || failed(logits))
    return failure();
  int64_t tokens = logits->getDim(0), slots = logits->getDim(1),
          width = rows->getDim(1);
  int64_t mixed = overTokens ? tokens : slots,
          results = overTokens ? slots : tokens;
  if (rows->getDim(0) != mixed)
    return op->emitOpError() << "mixes " << rows->getTypeString()
                             << " by logits of " << logits->getTypeString();
  std::vector<float> values = toF32(*logits);
  std::vector<double> sums(results * width, 0.0);
  for (int64_t i = 0; i < results; ++i)
    mix(overTokens ? softmax(values, i, slots, tokens)
                   : softmax(values, i * slots, 1, slots),
        *rows, MutableArrayRef<double>(sums).slice(i * width, width));
  Type type = rows->getElementType();
  for (double &value : sums)
    value = roundToType(value, type);
  return frame.set(op, op->getResult(0),
                   Tensor::ofFloats(type, {results, width}, std::move(sums)));
}

LogicalResult mlir::moe::reference::runStatisticsOp(Operation *op,
                                                    Frame &frame) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](ExpertFractionsOp op) { return runExpertFractions(op, frame); })
      .Case([&](MeanScoresOp op) { return runMeanScores(op, frame); })
      .Case([&](LoadBalanceLossOp op) { return runLoadBalanceLoss(op, frame); })
      .Case([&](RouterZLossOp op) { return runRouterZLoss(op, frame); })
      .Case([&](ImportanceLossOp op) { return runImportanceLoss(op, frame); })
      .Case([&](UpdateBiasOp op) { return runUpdateBias(op, frame); })
      .Case([&](RoutingRegretOp op) { return runRoutingRegret(op, frame); })
      .Case([&](SoftDispatchOp op) {
        return runMixture(op, op.getX(), op.getLogits(), true, frame);
      })
      .Case([&](SoftCombineOp op) {
        return runMixture(op, op.getSlots(), op.getLogits(), false, frame);
      })
      .Default([&](Operation *op) { return runRoutedOp(op, frame); });
}
