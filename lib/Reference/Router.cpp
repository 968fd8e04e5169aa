//===- Router.cpp - The choice of one token, bit for bit ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// "Router" and "Product keys" of docs/Numerics.md; numbers of steps are those
// given there. Compiled without contraction of a * b + c.
//
//===----------------------------------------------------------------------===//

#include "moe/Reference/Router.h"
#include "RouterOrder.h"

#include "llvm/ADT/STLExtras.h"

#include <cmath>
#include <limits>

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::reference;

static constexpr float infinity = std::numeric_limits<float>::infinity();

//===----------------------------------------------------------------------===//
// Scores and selection
//===----------------------------------------------------------------------===//

static float largestOf(ArrayRef<float> values) {
  float largest = -infinity;
  for (float value : values) {
    if (std::isnan(value))
      return value;
    largest = value > largest ? value : largest;
  }
  return largest;
}

std::vector<float> mlir::moe::reference::routerScores(ArrayRef<float> logits,
                                                      Score kind) {
  std::vector<float> scores(logits.begin(), logits.end());
  switch (kind) {
  case Score::None:
    return scores;
  case Score::Sigmoid:
    llvm::transform(logits, scores.begin(), routerSigmoid);
    return scores;
  case Score::SqrtSoftplus:
    for (float &score : scores)
      score = std::sqrt(routerSoftplus(score));
    return scores;
  case Score::Softmax:
    break;
  }
  float largest = largestOf(logits);
  for (float &score : scores)
    score = routerExp(score - largest);
  float sum = sixteenLaneSum(scores);
  for (float &score : scores)
    score = score / sum;
  return scores;
}

/// Step 1 with the rounding.
static std::vector<float> roundedScores(ArrayRef<float> logits,
                                        const Policy &policy) {
  std::vector<float> scores = routerScores(logits, policy.score);
  for (float &score : scores)
    score = roundRouterValue(score, policy.roundScores);
  return scores;
}

/// 0, 1, ... count - 1, each plus `begin`.
static std::vector<int64_t> numbersFrom(int64_t begin, int64_t count) {
  std::vector<int64_t> numbers(count);
  for (int64_t i = 0; i < count; ++i)
    numbers[i] = begin + i;
  return numbers;
}

/// Step 3: the first `count` of `candidates` by key.
static std::vector<int64_t> takeFirst(std::vector<int64_t> candidates,
                                      ArrayRef<float> keys, int64_t count) {
  llvm::sort(candidates, [&](int64_t a, int64_t b) {
    float x = orderValue(keys[a]), y = orderValue(keys[b]);
    return x > y || (x == y && a < b);
  });
  candidates.resize(count);
  return candidates;
}

/// Step 4: the experts that can be selected.
static std::vector<int64_t> filterGroups(ArrayRef<float> keys,
                                         const Policy &policy) {
  int64_t count = keys.size();
  if (policy.groupFilter == GroupFilter::None)
    return numbersFrom(0, count);
  int64_t size = count / policy.groups;
  bool sum = policy.groupFilter == GroupFilter::Top2Sum;
  std::vector<float> values;
  for (int64_t g = 0; g < policy.groups; ++g) {
    std::vector<int64_t> best =
        takeFirst(numbersFrom(g * size, size), keys, sum ? 2 : 1);
    float value = orderValue(keys[best[0]]);
    if (sum)
      value = value + orderValue(keys[best[1]]);
    values.push_back(value);
  }
  std::vector<int64_t> experts;
  for (int64_t g :
       takeFirst(numbersFrom(0, policy.groups), values, policy.keepGroups))
    llvm::append_range(experts, numbersFrom(g * size, size));
  return experts;
}

/// Step 2 without `prefer`: the scores plus the bias.
static std::vector<float> biasedKeys(ArrayRef<float> scores,
                                     ArrayRef<float> bias) {
  std::vector<float> keys(scores.begin(), scores.end());
  for (size_t e = 0; e < bias.size(); ++e)
    keys[e] = keys[e] + bias[e];
  return keys;
}

/// The rest of step 2: raises the keys of experts that are resident or best.
static void preferResident(std::vector<float> &keys, ArrayRef<int64_t> resident,
                           const Policy &policy) {
  std::vector<bool> raised(keys.size());
  for (size_t e = 0; e < keys.size(); ++e)
    raised[e] = resident[e] != 0;
  for (int64_t e :
       takeFirst(numbersFrom(0, keys.size()), keys, policy.preferBeyond))
    raised[e] = true;
  for (size_t e = 0; e < keys.size(); ++e)
    if (raised[e])
      keys[e] = keys[e] + policy.prefer;
}

static std::vector<int64_t> selectByKeys(ArrayRef<float> keys,
                                         const Policy &policy) {
  return takeFirst(filterGroups(keys, policy), keys, policy.topK);
}

/// Step 5 with `bias_after_first`.
static std::vector<int64_t> selectBiasedAfterFirst(ArrayRef<float> scores,
                                                   ArrayRef<float> bias,
                                                   int64_t k) {
  std::vector<int64_t> experts = numbersFrom(0, scores.size());
  int64_t best = takeFirst(experts, scores, 1).front();
  llvm::erase(experts, best);
  std::vector<int64_t> chosen = {best};
  llvm::append_range(chosen,
                     takeFirst(experts, biasedKeys(scores, bias), k - 1));
  return chosen;
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

static float divisorOf(ArrayRef<float> weights, const Policy &policy) {
  auto term = [&](float weight) {
    if (policy.norm == 0)
      return weight;
    float power = std::fabs(weight), factor = power;
    for (int64_t i = 1; i < policy.norm; ++i)
      power = power * factor;
    return power;
  };
  float sum = term(weights[0]);
  for (float weight : weights.drop_front())
    sum = sum + term(weight);
  if (policy.norm == 2)
    sum = std::sqrt(sum);
  if (policy.norm > 2)
    sum = routerExp(routerLog(sum) / static_cast<float>(policy.norm));
  if (policy.atLeast)
    return sum > policy.epsilon || std::isnan(sum) ? sum : policy.epsilon;
  return policy.epsilon != 0 ? sum + policy.epsilon : sum;
}

/// Step 8, also as step 11.
static void normalise(std::vector<float> &weights, const Policy &policy) {
  if (weights.empty())
    return;
  float divisor = divisorOf(weights, policy);
  for (float &weight : weights)
    weight = weight / divisor;
}

/// The weight of choice `j` as sparsemixer has it.
static float sparsemixerWeight(ArrayRef<float> logits, ArrayRef<int64_t> chosen,
                               size_t j, float jitter) {
  float largest = logits[chosen[j]];
  std::vector<float> terms(logits.size());
  for (size_t e = 0; e < logits.size(); ++e) {
    float size = std::fabs(logits[e]);
    float scale = size > largest ? size : largest;
    bool isFar = (largest - logits[e]) / scale > 2 * jitter;
    bool isTaken =
        llvm::is_contained(chosen.take_front(j), static_cast<int64_t>(e));
    terms[e] = isFar || isTaken ? 0.0f : routerExp(logits[e] - largest);
  }
  return 1.0f / sixteenLaneSum(terms);
}

/// Step 6.
static std::vector<float> weighChoices(ArrayRef<float> logits,
                                       ArrayRef<float> scores,
                                       ArrayRef<int64_t> chosen,
                                       const Policy &policy) {
  std::vector<float> weights;
  // A NaN makes all softmax weights NaN through the sum.
  float largest = -infinity, sum = 0;
  for (int64_t e : chosen)
    largest = logits[e] > largest ? logits[e] : largest;
  for (auto [j, e] : llvm::enumerate(chosen)) {
    switch (policy.weightSource) {
    case WeightSource::Scores:
      weights.push_back(scores[e]);
      break;
    case WeightSource::Softmax:
      weights.push_back(routerExp(logits[e] - largest));
      sum = j == 0 ? weights[0] : sum + weights[j];
      break;
    case WeightSource::Sigmoid:
      weights.push_back(routerSigmoid(logits[e]));
      break;
    case WeightSource::Sparsemixer:
      weights.push_back(sparsemixerWeight(logits, chosen, j, policy.jitter));
      break;
    case WeightSource::Constant:
      weights.push_back(1.0f);
      break;
    }
  }
  if (policy.weightSource == WeightSource::Softmax)
    for (float &weight : weights)
      weight = weight / sum;
  return weights;
}

/// Step 9: whether each choice stays.
static std::vector<bool> keepChoices(ArrayRef<float> weights,
                                     ArrayRef<float> random,
                                     const Policy &policy) {
  std::vector<bool> stays(weights.size(), true);
  float before = weights[0];
  for (size_t j = 1; j < weights.size(); ++j) {
    if (policy.keep == Keep::Threshold)
      stays[j] = weights[j] > policy.keepBound;
    if (policy.keep == Keep::TopP)
      stays[j] = before < policy.keepBound;
    if (policy.keep == Keep::Random)
      stays[j] = random[j] * policy.keepBound < weights[j];
    before = before + weights[j];
  }
  return stays;
}

//===----------------------------------------------------------------------===//
// One token
//===----------------------------------------------------------------------===//

Selection mlir::moe::reference::chooseExperts(const RouterRow &row,
                                              PolicyAttr attr) {
  Policy policy = attr.getPolicy();
  std::vector<float> scores = roundedScores(row.logits, policy);
  Selection selection;
  std::vector<int64_t> &chosen = selection.ids;
  if (policy.biasAfterFirst) {
    chosen = selectBiasedAfterFirst(scores, row.bias, policy.topK);
  } else {
    std::vector<float> keys = biasedKeys(scores, row.bias);
    std::vector<int64_t> best = selectByKeys(keys, policy);
    chosen = best;
    if (policy.prefers) {
      preferResident(keys, row.resident, policy);
      chosen = selectByKeys(keys, policy);
      float possible = 0, found = 0;
      for (auto [a, b] : llvm::zip_equal(best, chosen)) {
        possible = possible + scores[a];
        found = found + scores[b];
      }
      selection.regret = possible - found;
    }
  }

  selection.weights = weighChoices(row.logits, scores, chosen, policy);
  int64_t experts = row.logits.size() - policy.nullExperts;
  for (auto [id, weight] : llvm::zip_equal(chosen, selection.weights))
    if (id >= experts) {
      id = -1;
      weight = 0.0f;
    }
  if (policy.normalize && !policy.afterDrop)
    normalise(selection.weights, policy);
  std::vector<bool> stays = keepChoices(selection.weights, row.random, policy);
  for (size_t j = 0; j < chosen.size(); ++j) {
    if (!stays[j])
      chosen[j] = -1;
    // A divisor of 0 or NaN must not reach what is no pair.
    if (chosen[j] < 0)
      selection.weights[j] = 0.0f;
  }
  return selection;
}

Selection mlir::moe::reference::finishSelection(Selection choices,
                                                PolicyAttr attr) {
  Policy policy = attr.getPolicy();
  std::vector<size_t> left;
  std::vector<float> weights;
  for (size_t j = 0; j < choices.ids.size(); ++j)
    if (choices.ids[j] >= 0) {
      left.push_back(j);
      weights.push_back(choices.weights[j]);
    }
  if (policy.normalize && policy.afterDrop)
    normalise(weights, policy);
  for (float &weight : weights) {
    if (policy.scale != 1)
      weight = weight * policy.scale;
    weight = roundRouterValue(weight, policy.roundWeights);
  }

  std::vector<size_t> order(left.size());
  for (size_t i = 0; i < order.size(); ++i)
    order[i] = i;
  llvm::sort(order, [&](size_t a, size_t b) {
    return choices.ids[left[a]] < choices.ids[left[b]];
  });
  Selection selection;
  selection.regret = choices.regret;
  for (size_t i : order) {
    selection.ids.push_back(choices.ids[left[i]]);
    selection.weights.push_back(weights[i]);
  }
  selection.ids.resize(choices.ids.size(), -1);
  selection.weights.resize(choices.ids.size(), 0.0f);
  return selection;
}

Selection mlir::moe::reference::selectExperts(const RouterRow &row,
                                              PolicyAttr policy) {
  return finishSelection(chooseExperts(row, policy), policy);
}

Selection mlir::moe::reference::selectProducts(ArrayRef<float> first,
                                               ArrayRef<float> second,
                                               PolicyAttr attr) {
  Policy policy = attr.getPolicy();
  int64_t k = policy.topK, columns = second.size();
  // Candidates in ascending id, so that their places order them as ids do.
  std::vector<int64_t> rowsTaken =
      takeFirst(numbersFrom(0, first.size()), first, k);
  std::vector<int64_t> columnsTaken =
      takeFirst(numbersFrom(0, columns), second, k);
  llvm::sort(rowsTaken);
  llvm::sort(columnsTaken);
  std::vector<int64_t> ids;
  std::vector<float> logits;
  for (int64_t i : rowsTaken)
    for (int64_t j : columnsTaken) {
      ids.push_back(i * columns + j);
      logits.push_back(first[i] + second[j]);
    }
  std::vector<int64_t> chosen =
      takeFirst(numbersFrom(0, ids.size()), logits, k);

  Selection selection;
  std::vector<float> scores = roundedScores(logits, policy);
  selection.weights = weighChoices(logits, scores, chosen, policy);
  for (int64_t candidate : chosen)
    selection.ids.push_back(ids[candidate]);
  if (policy.normalize)
    normalise(selection.weights, policy);
  return finishSelection(std::move(selection), attr);
}
