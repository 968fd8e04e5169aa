//===- RouterCapacity.cpp - Choices in which tokens compete ---------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// "Capacity" and "Expert choice" of docs/Numerics.md. Compiled without
// contraction of a * b + c.
//
//===----------------------------------------------------------------------===//

#include "RouterOrder.h"
#include "moe/Reference/Router.h"

#include "llvm/ADT/STLExtras.h"

#include <algorithm>
#include <cmath>
#include <tuple>

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::reference;

int64_t mlir::moe::reference::countSlots(CapacityAttr capacity, int64_t tokens,
                                         int64_t perToken, int64_t experts) {
  if (capacity.getKind() == CapacityKind::Slots)
    return capacity.getSlots();
  double c = tokens, factor = capacity.getFactor().convertToDouble();
  if (capacity.getKind() == CapacityKind::Factor) {
    c = c * static_cast<double>(perToken);
    c = c * factor;
    c = c / static_cast<double>(experts);
  } else {
    c = c * factor;
  }
  c = capacity.getRoundDown() ? std::floor(c) : std::ceil(c);
  c = std::min(c, static_cast<double>(tokens));
  int64_t slots = std::max(static_cast<int64_t>(c), capacity.getMinimum());
  int64_t multiple = capacity.getMultiple();
  return (slots + multiple - 1) / multiple * multiple;
}

/// Calls `body` with the first and the last-but-one token of each group.
static void forEachGroup(CapacityAttr capacity, int64_t tokens,
                         function_ref<void(int64_t, int64_t)> body) {
  int64_t size = capacity.getEvery() ? capacity.getEvery() : tokens;
  for (int64_t begin = 0; begin < tokens; begin += size)
    body(begin, std::min(tokens, begin + size));
}

namespace {
/// Choice j of a token.
struct Pair {
  int64_t token, j, expert;
  float weight, firstWeight;
};
} // namespace

/// Whether `a` gets a slot before `b`.
static bool comesBefore(const Pair &a, const Pair &b, DropOrder order) {
  bool choiceFirst = order == DropOrder::Choice || order == DropOrder::Priority;
  if (choiceFirst && a.j != b.j)
    return a.j < b.j;
  if (order == DropOrder::Weight || order == DropOrder::Priority) {
    bool isWeight = order == DropOrder::Weight;
    float x = orderValue(isWeight ? a.weight : a.firstWeight);
    float y = orderValue(isWeight ? b.weight : b.firstWeight);
    if (x != y)
      return x > y;
  }
  return std::tie(a.token, a.j) < std::tie(b.token, b.j);
}

std::vector<int64_t>
mlir::moe::reference::applyCapacity(MutableArrayRef<Selection> tokens,
                                    int64_t experts, PolicyAttr attr) {
  Policy policy = attr.getPolicy();
  CapacityAttr capacity = policy.getCapacity();
  std::vector<int64_t> dropped(experts, 0);
  forEachGroup(capacity, tokens.size(), [&](int64_t begin, int64_t end) {
    int64_t slots = countSlots(capacity, end - begin, policy.topK, experts);
    std::vector<Pair> pairs;
    for (int64_t t = begin; t < end; ++t)
      for (auto [j, id] : llvm::enumerate(tokens[t].ids))
        if (id >= 0)
          pairs.push_back({t, static_cast<int64_t>(j), id, tokens[t].weights[j],
                           tokens[t].weights[0]});
    llvm::sort(pairs, [&](const Pair &a, const Pair &b) {
      return comesBefore(a, b, policy.dropOrder);
    });
    std::vector<int64_t> taken(experts, 0);
    for (const Pair &pair : pairs) {
      if (taken[pair.expert]++ < slots)
        continue;
      tokens[pair.token].ids[pair.j] = -1;
      tokens[pair.token].weights[pair.j] = 0.0f;
      ++dropped[pair.expert];
    }
  });
  return dropped;
}

//===----------------------------------------------------------------------===//
// Expert choice
//===----------------------------------------------------------------------===//

/// Replaces the logits of one group of tokens by their softmax over the
/// tokens.
static void softmaxOverTokens(MutableArrayRef<float> scores, int64_t begin,
                              int64_t end, int64_t experts) {
  for (int64_t e = 0; e < experts; ++e) {
    auto at = [&](int64_t t) -> float & { return scores[t * experts + e]; };
    float largest = at(begin);
    for (int64_t t = begin; t < end; ++t)
      if (at(t) > largest || std::isnan(at(t)))
        largest = at(t);
    float sum = 0.0f;
    for (int64_t t = begin; t < end; ++t) {
      at(t) = routerExp(at(t) - largest);
      sum = sum + at(t);
    }
    for (int64_t t = begin; t < end; ++t)
      at(t) = at(t) / sum;
  }
}

/// What experts rank tokens by, N x E.
static std::vector<float> tokenScores(ArrayRef<float> logits, int64_t tokens,
                                      int64_t experts,
                                      const TokenChoice &choice) {
  std::vector<float> scores(logits.begin(), logits.end());
  switch (choice.score) {
  case TokenScore::None:
    break;
  case TokenScore::Sigmoid:
    llvm::transform(logits, scores.begin(), routerSigmoid);
    break;
  case TokenScore::Softmax:
    scores.clear();
    for (int64_t t = 0; t < tokens; ++t)
      llvm::append_range(
          scores,
          routerScores(logits.slice(t * experts, experts), Score::Softmax));
    break;
  case TokenScore::SoftmaxOverTokens:
    forEachGroup(choice.capacity, tokens, [&](int64_t begin, int64_t end) {
      softmaxOverTokens(scores, begin, end, experts);
    });
    break;
  }
  return scores;
}

std::vector<Selection>
mlir::moe::reference::chooseTokens(ArrayRef<float> logits, int64_t tokens,
                                   int64_t experts, const TokenChoice &choice) {
  std::vector<float> scores = tokenScores(logits, tokens, experts, choice);
  std::vector<Selection> selections(tokens);
  for (Selection &selection : selections) {
    selection.ids.assign(experts, -1);
    selection.weights.assign(experts, 0.0f);
  }
  forEachGroup(choice.capacity, tokens, [&](int64_t begin, int64_t end) {
    int64_t slots = countSlots(choice.capacity, end - begin, 1, experts);
    for (int64_t e = 0; e < experts; ++e) {
      std::vector<int64_t> order;
      for (int64_t t = begin; t < end; ++t)
        order.push_back(t);
      llvm::sort(order, [&](int64_t a, int64_t b) {
        float x = orderValue(scores[a * experts + e]);
        float y = orderValue(scores[b * experts + e]);
        return x > y || (x == y && a < b);
      });
      order.resize(std::min(slots, end - begin));
      for (int64_t t : order) {
        selections[t].ids[e] = e;
        selections[t].weights[e] = scores[t * experts + e];
      }
    }
  });
  for (Selection &selection : selections) {
    int64_t takers =
        experts - llvm::count(selection.ids, static_cast<int64_t>(-1));
    for (auto [id, weight] :
         llvm::zip_equal(selection.ids, selection.weights)) {
      if (id < 0)
        continue;
      if (choice.average)
        weight = weight / static_cast<float>(takers);
      if (choice.scale != 1)
        weight = weight * choice.scale;
      weight = roundRouterValue(weight, choice.roundWeights);
    }
  }
  return selections;
}
