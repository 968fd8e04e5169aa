//===- Router.cpp - The router, bit for bit -------------------------------===//
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

#include "moe/Reference/Router.h"
#include "moe/Reference/Tensor.h"

#include "llvm/ADT/STLExtras.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::reference;

static constexpr float infinity = std::numeric_limits<float>::infinity();

static float addLanes(float (&lane)[16]) {
  for (int half = 8; half >= 1; half /= 2)
    for (int j = 0; j < half; ++j)
      lane[j] = lane[j] + lane[j + half];
  return lane[0];
}

float mlir::moe::reference::sixteenLaneDot(ArrayRef<float> a,
                                           ArrayRef<float> b) {
  float lane[16] = {};
  for (size_t i = 0; i < a.size(); ++i)
    lane[i % 16] = std::fma(a[i], b[i], lane[i % 16]);
  return addLanes(lane);
}

float mlir::moe::reference::sixteenLaneSum(ArrayRef<float> a) {
  float lane[16] = {};
  for (size_t i = 0; i < a.size(); ++i)
    lane[i % 16] = lane[i % 16] + a[i];
  return addLanes(lane);
}

/// 2^exponent for a normal result.
static float powerOfTwo(int32_t exponent) {
  uint32_t bits = static_cast<uint32_t>(exponent + 127) << 23;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

float mlir::moe::reference::routerExp(float x) {
  if (std::isnan(x))
    return x;
  if (x > 88.72283f)
    return infinity;
  if (x < -87.33654f)
    return 0.0f;
  float n = std::nearbyint(x * 1.44269502f);
  float r = std::fma(n, -0.693145752f, x);
  r = std::fma(n, -1.42860677e-6f, r);
  float p = 1.98756914e-4f;
  for (float c :
       {1.39819994e-3f, 8.33345205e-3f, 4.16657962e-2f, 0.166666657f, 0.5f})
    p = std::fma(p, r, c);
  float square = r * r;
  p = std::fma(p, square, r);
  p = p + 1.0f;
  int32_t exponent = static_cast<int32_t>(n);
  int32_t first = exponent >> 1;
  float scaled = p * powerOfTwo(first);
  return scaled * powerOfTwo(exponent - first);
}

float mlir::moe::reference::routerSigmoid(float x) {
  float t = 1.0f + routerExp(-x);
  return 1.0f / t;
}

float mlir::moe::reference::roundToBF16(float x) {
  uint32_t u;
  std::memcpy(&u, &x, sizeof(u));
  u = std::isnan(x) ? (u >> 16) | 0x40 : (u + 0x7fff + ((u >> 16) & 1)) >> 16;
  u <<= 16;
  std::memcpy(&x, &u, sizeof(u));
  return x;
}

float mlir::moe::reference::roundRouterValue(float x, Type type) {
  return type.isBF16() ? roundToBF16(x) : roundToType(x, type);
}

/// Step 1: logits to scores.
static std::vector<float> computeScores(ArrayRef<float> logits, Score kind) {
  std::vector<float> scores(logits.begin(), logits.end());
  if (kind == Score::Sigmoid)
    llvm::transform(logits, scores.begin(), routerSigmoid);
  if (kind != Score::Softmax)
    return scores;
  float largest = -infinity;
  for (float logit : logits)
    largest = logit > largest ? logit : largest;
  if (llvm::any_of(logits, [](float l) { return std::isnan(l); }))
    largest = std::numeric_limits<float>::quiet_NaN();
  for (float &score : scores)
    score = routerExp(score - largest);
  float sum = sixteenLaneSum(scores);
  for (float &score : scores)
    score = score / sum;
  return scores;
}

/// Step 3: the first `count` of `candidates` by key, ties to the lower number.
static std::vector<int64_t> takeFirst(std::vector<int64_t> candidates,
                                      ArrayRef<float> keys, int64_t count) {
  auto key = [&](int64_t i) {
    return std::isnan(keys[i]) ? -infinity : keys[i];
  };
  llvm::sort(candidates, [&](int64_t a, int64_t b) {
    return key(a) > key(b) || (key(a) == key(b) && a < b);
  });
  candidates.resize(count);
  return candidates;
}

/// Step 4: the experts that can be selected.
static std::vector<int64_t> filterGroups(ArrayRef<float> keys,
                                         PolicyAttr policy) {
  std::vector<int64_t> experts;
  if (policy.getGroupFilter() == GroupFilter::None) {
    for (size_t e = 0; e < keys.size(); ++e)
      experts.push_back(e);
    return experts;
  }
  int64_t size = keys.size() / policy.getGroups();
  auto expertsOf = [&](int64_t group) {
    std::vector<int64_t> members(size);
    for (int64_t i = 0; i < size; ++i)
      members[i] = group * size + i;
    return members;
  };
  auto number = [](float x) { return std::isnan(x) ? -infinity : x; };
  std::vector<int64_t> groups;
  std::vector<float> values;
  for (int64_t g = 0; g < policy.getGroups(); ++g) {
    groups.push_back(g);
    bool sum = policy.getGroupFilter() == GroupFilter::Top2Sum;
    std::vector<int64_t> best = takeFirst(expertsOf(g), keys, sum ? 2 : 1);
    float value = number(keys[best[0]]);
    if (sum)
      value = value + number(keys[best[1]]);
    values.push_back(value);
  }
  for (int64_t g : takeFirst(groups, values, policy.getKeepGroups()))
    llvm::append_range(experts, expertsOf(g));
  return experts;
}

/// Divides by the sum, added up in order from the first.
static void divideBySum(std::vector<float> &weights, float epsilon) {
  float sum = weights[0];
  for (size_t i = 1; i < weights.size(); ++i)
    sum = sum + weights[i];
  if (epsilon != 0)
    sum = sum + epsilon;
  for (float &weight : weights)
    weight = weight / sum;
}

static float toFloat(APFloat value) {
  bool losesInfo;
  value.convert(APFloat::IEEEsingle(), APFloat::rmNearestTiesToEven,
                &losesInfo);
  return value.convertToFloat();
}

Selection mlir::moe::reference::selectExperts(ArrayRef<float> logits,
                                              ArrayRef<float> bias,
                                              PolicyAttr policy) {
  std::vector<float> scores = computeScores(logits, policy.getScore());
  std::vector<float> keys = scores;
  for (size_t e = 0; e < bias.size(); ++e)
    keys[e] = keys[e] + bias[e];
  std::vector<int64_t> chosen =
      takeFirst(filterGroups(keys, policy), keys, policy.getTopK());

  // Step 6: weights in selection order.
  std::vector<float> weights;
  if (policy.getWeightSource() == WeightSource::Scores) {
    for (int64_t e : chosen)
      weights.push_back(scores[e]);
  } else {
    // A NaN makes all weights NaN through the sum, whatever the maximum is.
    float largest = -infinity;
    for (int64_t e : chosen)
      largest = logits[e] > largest ? logits[e] : largest;
    for (int64_t e : chosen)
      weights.push_back(routerExp(logits[e] - largest));
    divideBySum(weights, 0);
  }
  if (policy.getNormalize())
    divideBySum(weights, toFloat(policy.getEpsilon()));
  float scale = toFloat(policy.getScale());
  for (float &weight : weights) {
    if (scale != 1)
      weight = weight * scale;
    if (Type type = policy.getRoundWeights())
      weight = roundRouterValue(weight, type);
  }

  std::vector<size_t> order(chosen.size());
  for (size_t i = 0; i < order.size(); ++i)
    order[i] = i;
  llvm::sort(order, [&](size_t a, size_t b) { return chosen[a] < chosen[b]; });
  Selection selection;
  for (size_t i : order) {
    selection.ids.push_back(chosen[i]);
    selection.weights.push_back(weights[i]);
  }
  return selection;
}
