//===- RouterNumerics.cpp - The routers of docs/Numerics.md ---------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RouterNumerics.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <numeric>

using namespace moe_test;

static constexpr float kInf = std::numeric_limits<float>::infinity();
static constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

//===----------------------------------------------------------------------===//
// Text
//===----------------------------------------------------------------------===//

static std::string number(double value) {
  char text[40];
  std::snprintf(text, sizeof(text), "%.17e", value);
  return text;
}

const char *moe_test::nameOf(Narrow value) {
  const char *names[] = {"", "bf16", "f16"};
  return names[int(value)];
}

const char *moe_test::nameOf(TokenScore value) {
  const char *names[] = {"none", "softmax", "sigmoid", "softmax_over_tokens"};
  return names[int(value)];
}

std::string Capacity::text() const {
  std::string s = kind == Factor   ? "factor " + number(factor)
                  : kind == Tokens ? "tokens " + number(factor)
                                   : "slots " + std::to_string(slots);
  if (floor)
    s += " floor";
  if (minimum != 1)
    s += " min " + std::to_string(minimum);
  if (multiple != 1)
    s += " multiple " + std::to_string(multiple);
  if (every)
    s += " every " + std::to_string(every);
  return s;
}

std::string Policy::text() const {
  const char *scores[] = {"none", "softmax", "sigmoid", "sqrt_softplus"};
  const char *filters[] = {"", "max", "top2_sum"};
  const char *sources[] = {"scores", "softmax", "sigmoid", "sparsemixer",
                           "constant"};
  const char *keeps[] = {"", "threshold", "top_p", "random"};
  const char *orders[] = {"choice", "position", "weight", "priority"};
  auto integer = [](int64_t value) { return std::to_string(value); };

  std::string s = std::string("<score = ") + scores[int(score)];
  if (roundScores != Narrow::No)
    s += std::string(", round_scores = ") + nameOf(roundScores);
  if (biasAfterFirst)
    s += ", bias_after_first";
  if (prefers)
    s += ", prefer = " + number(prefer) +
         (beyond ? " beyond " + integer(beyond) : "");
  if (filter != Filter::None)
    s += ", groups = " + integer(groups) + " keep " + integer(keepGroups) +
         " by " + filters[int(filter)];
  s += ", top_k = " + integer(topK);
  if (nullExperts)
    s += ", null_experts = " + integer(nullExperts);
  s += std::string(", weights = ") + sources[int(weights)];
  if (weights == WeightsFrom::Sparsemixer)
    s += " jitter " + number(jitter);
  if (normalize) {
    s += ", normalize";
    if (norm)
      s += " by " + integer(norm);
    if (epsilon != 0.0f)
      s += (atLeast ? " at_least " : " epsilon ") + number(epsilon);
    if (afterDrop)
      s += " after_drop";
  }
  if (scale != 1.0f)
    s += ", scale = " + number(scale);
  if (roundWeights != Narrow::No)
    s += std::string(", round_weights = ") + nameOf(roundWeights);
  if (keep != Keep::All)
    s += std::string(", keep = ") + keeps[int(keep)] + " " + number(keepBound);
  if (capacity.kind != Capacity::None)
    s += ", capacity = " + capacity.text() + " by " + orders[int(order)];
  return s + ">";
}

//===----------------------------------------------------------------------===//
// Pieces
//===----------------------------------------------------------------------===//

static float narrow(float value, Narrow type) {
  if (type == Narrow::BF16)
    return fromBf16(roundToBf16(value));
  if (type == Narrow::F16)
    return static_cast<float>(static_cast<_Float16>(value));
  return value;
}

static float sigmoid(float x) { return 1.0f / (1.0f + specifiedExp(-x)); }

static float softplus(float x) {
  return (x > 0.0f ? x : 0.0f) +
         specifiedLog(1.0f + specifiedExp(-std::fabs(x)));
}

/// The largest element; NaN when any element is NaN.
static float largest(const std::vector<float> &values) {
  float m = -kInf;
  for (float v : values) {
    if (std::isnan(v))
      return kNaN;
    m = std::max(m, v);
  }
  return m;
}

/// A NaN counts as -infinity.
static float comparable(float key) { return std::isnan(key) ? -kInf : key; }

/// The indices of `keys` in the order of step 3.
static std::vector<int> inOrder(const std::vector<float> &keys) {
  std::vector<int> indices(keys.size());
  std::iota(indices.begin(), indices.end(), 0);
  std::sort(indices.begin(), indices.end(), [&](int e, int f) {
    float x = comparable(keys[e]), y = comparable(keys[f]);
    return x > y || (x == y && e < f);
  });
  return indices;
}

/// Step 1.
static std::vector<float> scoresOf(const std::vector<float> &logits,
                                   Score score, Narrow round) {
  std::vector<float> result = logits;
  if (score == Score::Softmax) {
    float m = largest(logits);
    for (float &s : result)
      s = specifiedExp(s - m);
    float sum = sixteenLaneSum(result.data(), result.size());
    for (float &s : result)
      s = s / sum;
  }
  for (float &s : result) {
    if (score == Score::Sigmoid)
      s = sigmoid(s);
    if (score == Score::SqrtSoftplus)
      s = std::sqrt(softplus(s));
    s = narrow(s, round);
  }
  return result;
}

/// Step 4: which experts can be selected.
static std::vector<bool> selectableOf(const std::vector<float> &keys,
                                      const Policy &policy) {
  if (policy.filter == Filter::None)
    return std::vector<bool>(keys.size(), true);
  size_t size = keys.size() / policy.groups;
  std::vector<float> values;
  for (int64_t g = 0; g < policy.groups; ++g) {
    std::vector<float> ofGroup(keys.begin() + g * size,
                               keys.begin() + (g + 1) * size);
    std::vector<int> best = inOrder(ofGroup);
    float value = comparable(ofGroup[best[0]]);
    if (policy.filter == Filter::Top2Sum)
      value += comparable(ofGroup[best[1]]);
    values.push_back(value);
  }
  std::vector<int> best = inOrder(values);
  std::vector<bool> selectable(keys.size(), false);
  for (int64_t g = 0; g < policy.keepGroups; ++g)
    std::fill_n(selectable.begin() + best[g] * size, size, true);
  return selectable;
}

/// Steps 2 to 5.
static std::vector<int> select(const std::vector<float> &scores,
                               const TokenInputs &inputs,
                               const Policy &policy) {
  size_t experts = scores.size();
  std::vector<float> biased = scores;
  if (inputs.bias)
    for (size_t e = 0; e < experts; ++e)
      biased[e] = biased[e] + inputs.bias[e];
  std::vector<int> chosen;
  if (policy.biasAfterFirst) {
    chosen.push_back(inOrder(scores)[0]);
    for (int e : inOrder(biased))
      if (e != chosen[0] && int64_t(chosen.size()) < policy.topK)
        chosen.push_back(e);
    return chosen;
  }
  std::vector<float> keys = biased;
  if (policy.prefers) {
    std::vector<bool> raised(experts, false);
    for (size_t e = 0; e < experts; ++e)
      raised[e] = inputs.resident[e] != 0;
    std::vector<int> best = inOrder(biased);
    for (int64_t j = 0; j < policy.beyond; ++j)
      raised[best[j]] = true;
    for (size_t e = 0; e < experts; ++e)
      if (raised[e])
        keys[e] = keys[e] + policy.prefer;
  }
  std::vector<bool> selectable = selectableOf(keys, policy);
  for (int e : inOrder(keys))
    if (selectable[e] && int64_t(chosen.size()) < policy.topK)
      chosen.push_back(e);
  return chosen;
}

/// One weight of sparsemixer in step 6.
static float sparsemixer(const std::vector<float> &l,
                         const std::vector<int> &chosen, size_t j,
                         float jitter) {
  float m = l[chosen[j]];
  std::vector<float> terms;
  for (size_t e = 0; e < l.size(); ++e) {
    bool isEarlier = std::find(chosen.begin(), chosen.begin() + j, int(e)) !=
                     chosen.begin() + j;
    float size = std::fabs(l[e]);
    bool isFar = (m - l[e]) / (size > m ? size : m) > 2.0f * jitter;
    terms.push_back(isEarlier || isFar ? 0.0f : specifiedExp(l[e] - m));
  }
  return 1.0f / sixteenLaneSum(terms.data(), terms.size());
}

static float sumInOrder(const std::vector<float> &w) {
  float d = w[0];
  for (size_t j = 1; j < w.size(); ++j)
    d = d + w[j];
  return d;
}

/// Step 6, for the chosen logits and scores.
static std::vector<float> weightsOf(const std::vector<float> &logits,
                                    const std::vector<float> &scores,
                                    WeightsFrom source) {
  std::vector<float> w = scores;
  if (source == WeightsFrom::Constant)
    w.assign(w.size(), 1.0f);
  for (size_t j = 0; j < w.size(); ++j) {
    if (source == WeightsFrom::Sigmoid)
      w[j] = sigmoid(logits[j]);
    if (source == WeightsFrom::Softmax)
      w[j] = specifiedExp(logits[j] - largest(logits));
  }
  if (source == WeightsFrom::Softmax) {
    float d = sumInOrder(w);
    for (float &x : w)
      x = x / d;
  }
  return w;
}

/// Step 8: what weights are divided by.
static float divisor(const std::vector<float> &w, const Policy &policy) {
  std::vector<float> terms = w;
  if (policy.norm)
    for (float &x : terms) {
      float size = std::fabs(x);
      x = size;
      for (int64_t i = 1; i < policy.norm; ++i)
        x = x * size;
    }
  float d = sumInOrder(terms);
  if (policy.norm == 2)
    d = std::sqrt(d);
  if (policy.norm > 2)
    d = specifiedExp(specifiedLog(d) / float(policy.norm));
  if (policy.atLeast)
    return std::isnan(d) || d > policy.epsilon ? d : policy.epsilon;
  return policy.epsilon != 0.0f ? d + policy.epsilon : d;
}

//===----------------------------------------------------------------------===//
// Token choice
//===----------------------------------------------------------------------===//

std::vector<Pair> moe_test::choose(const std::vector<float> &logits,
                                   const TokenInputs &inputs,
                                   const Policy &policy) {
  std::vector<float> scores =
      scoresOf(logits, policy.score, policy.roundScores);
  std::vector<int> chosen = select(scores, inputs, policy);
  std::vector<float> chosenLogits, chosenScores;
  for (int e : chosen) {
    chosenLogits.push_back(logits[e]);
    chosenScores.push_back(scores[e]);
  }
  std::vector<float> w = weightsOf(chosenLogits, chosenScores, policy.weights);
  if (policy.weights == WeightsFrom::Sparsemixer)
    for (size_t j = 0; j < w.size(); ++j)
      w[j] = sparsemixer(logits, chosen, j, policy.jitter);

  int firstNull = int(logits.size()) - int(policy.nullExperts);
  std::vector<bool> isPair(w.size(), true);
  for (size_t j = 0; j < w.size(); ++j)
    if (chosen[j] >= firstNull) {
      w[j] = 0.0f;
      isPair[j] = false;
    }
  if (policy.normalize && !policy.afterDrop) {
    float d = divisor(w, policy);
    for (float &x : w)
      x = x / d;
  }
  float before = w[0];
  for (size_t j = 1; j < w.size(); ++j) {
    bool stays = policy.keep == Keep::All ||
                 (policy.keep == Keep::Threshold && w[j] > policy.keepBound) ||
                 (policy.keep == Keep::TopP && before < policy.keepBound) ||
                 (policy.keep == Keep::Random &&
                  inputs.random[j] * policy.keepBound < w[j]);
    isPair[j] = isPair[j] && stays;
    before = before + w[j];
  }
  std::vector<Pair> choices;
  for (size_t j = 0; j < w.size(); ++j)
    choices.push_back(isPair[j] ? Pair{chosen[j], w[j]} : Pair{-1, 0.0f});
  return choices;
}

std::vector<Pair> moe_test::finish(std::vector<Pair> choices,
                                   const Policy &policy) {
  std::vector<Pair> pairs;
  for (const Pair &choice : choices)
    if (choice.id >= 0)
      pairs.push_back(choice);
  if (policy.normalize && policy.afterDrop && !pairs.empty()) {
    std::vector<float> w;
    for (const Pair &pair : pairs)
      w.push_back(pair.weight);
    float d = divisor(w, policy);
    for (Pair &pair : pairs)
      pair.weight = pair.weight / d;
  }
  for (Pair &pair : pairs) {
    if (policy.scale != 1.0f)
      pair.weight = pair.weight * policy.scale;
    pair.weight = narrow(pair.weight, policy.roundWeights);
  }
  std::sort(pairs.begin(), pairs.end(),
            [](const Pair &a, const Pair &b) { return a.id < b.id; });
  pairs.resize(choices.size(), Pair{-1, 0.0f});
  return pairs;
}

std::vector<Pair> moe_test::route(const std::vector<float> &logits,
                                  const float *bias, const Policy &policy) {
  TokenInputs inputs;
  inputs.bias = bias;
  return finish(choose(logits, inputs, policy), policy);
}

//===----------------------------------------------------------------------===//
// Capacity
//===----------------------------------------------------------------------===//

int64_t Capacity::slotsFor(int64_t tokens, int64_t perToken,
                           int64_t experts) const {
  if (kind == Slots)
    return slots;
  double f = factor, c = 0.0;
  if (kind == Factor)
    c = double(tokens) * double(perToken) * f / double(experts);
  else
    c = double(tokens) * f;
  c = floor ? std::floor(c) : std::ceil(c);
  if (c > double(tokens))
    c = double(tokens);
  int64_t n = std::max(int64_t(c), minimum);
  while (n % multiple)
    ++n;
  return n;
}

std::vector<int32_t>
moe_test::applyCapacity(std::vector<std::vector<Pair>> &choices,
                        const Policy &policy, int64_t experts) {
  std::vector<int32_t> dropped(experts, 0);
  struct Place {
    int64_t token, j;
  };
  int64_t tokens = choices.size();
  int64_t every = policy.capacity.every ? policy.capacity.every : tokens;
  for (int64_t begin = 0; begin < tokens; begin += every) {
    int64_t end = std::min(begin + every, tokens);
    std::vector<Place> places;
    for (int64_t t = begin; t < end; ++t)
      for (int64_t j = 0; j < policy.topK; ++j)
        places.push_back({t, j});
    auto weight = [&](int64_t t, int64_t j) {
      return comparable(choices[t][j].weight);
    };
    auto comesFirst = [&](const Place &a, const Place &b) {
      switch (policy.order) {
      case Order::Choice:
        return a.j != b.j ? a.j < b.j : a.token < b.token;
      case Order::Position:
        return a.token != b.token ? a.token < b.token : a.j < b.j;
      case Order::Weight: {
        float x = weight(a.token, a.j), y = weight(b.token, b.j);
        if (x != y)
          return x > y;
        return a.token != b.token ? a.token < b.token : a.j < b.j;
      }
      case Order::Priority: {
        float x = weight(a.token, 0), y = weight(b.token, 0);
        if (a.j != b.j)
          return a.j < b.j;
        return x != y ? x > y : a.token < b.token;
      }
      }
      return false;
    };
    std::sort(places.begin(), places.end(), comesFirst);
    int64_t slots = policy.capacity.slotsFor(end - begin, policy.topK, experts);
    std::vector<int64_t> before(experts, 0);
    for (const Place &place : places) {
      int32_t &id = choices[place.token][place.j].id;
      if (id < 0 || before[id]++ < slots)
        continue;
      ++dropped[id];
      id = -1;
    }
  }
  return dropped;
}

//===----------------------------------------------------------------------===//
// Product keys
//===----------------------------------------------------------------------===//

std::vector<Pair> moe_test::routeProducts(const std::vector<float> &first,
                                          const std::vector<float> &second,
                                          const Policy &policy) {
  struct Candidate {
    int32_t id;
    float logit;
  };
  std::vector<Candidate> candidates;
  std::vector<int> rows = inOrder(first), columns = inOrder(second);
  for (int64_t i = 0; i < policy.topK; ++i)
    for (int64_t j = 0; j < policy.topK; ++j)
      candidates.push_back({int32_t(rows[i] * second.size() + columns[j]),
                            first[rows[i]] + second[columns[j]]});
  std::sort(candidates.begin(), candidates.end(),
            [](const Candidate &a, const Candidate &b) {
              float x = comparable(a.logit), y = comparable(b.logit);
              return x != y ? x > y : a.id < b.id;
            });
  candidates.resize(policy.topK);
  std::vector<float> logits;
  for (const Candidate &candidate : candidates)
    logits.push_back(candidate.logit);
  std::vector<float> w =
      weightsOf(logits, scoresOf(logits, policy.score, policy.roundScores),
                policy.weights);
  if (policy.normalize) {
    float d = divisor(w, policy);
    for (float &x : w)
      x = x / d;
  }
  std::vector<Pair> pairs;
  for (size_t j = 0; j < w.size(); ++j)
    pairs.push_back({candidates[j].id, w[j]});
  return finish(pairs, policy);
}

//===----------------------------------------------------------------------===//
// Expert choice
//===----------------------------------------------------------------------===//

Lists moe_test::chooseTokens(const std::vector<float> &logits, int64_t tokens,
                             int64_t experts, const TokenChoice &choice) {
  std::vector<float> scores = logits;
  int64_t every = choice.capacity.every ? choice.capacity.every : tokens;
  if (choice.score == TokenScore::Softmax ||
      choice.score == TokenScore::Sigmoid)
    for (int64_t t = 0; t < tokens; ++t) {
      std::vector<float> row(logits.begin() + t * experts,
                             logits.begin() + (t + 1) * experts);
      row = scoresOf(row,
                     choice.score == TokenScore::Softmax ? Score::Softmax
                                                         : Score::Sigmoid,
                     Narrow::No);
      std::copy(row.begin(), row.end(), scores.begin() + t * experts);
    }
  Lists lists;
  std::vector<std::vector<int32_t>> rowsOf(tokens);
  lists.expertOffsets.push_back(0);
  for (int64_t e = 0; e < experts; ++e) {
    for (int64_t begin = 0; begin < tokens; begin += every) {
      int64_t end = std::min(begin + every, tokens);
      std::vector<float> column;
      for (int64_t t = begin; t < end; ++t)
        column.push_back(scores[t * experts + e]);
      if (choice.score == TokenScore::SoftmaxOverTokens) {
        float m = largest(column), s = 0.0f;
        for (float &x : column) {
          x = specifiedExp(x - m);
          s = s + x;
        }
        for (float &x : column)
          x = x / s;
      }
      std::vector<int> best = inOrder(column);
      best.resize(std::min<int64_t>(
          column.size(), choice.capacity.slotsFor(end - begin, 1, experts)));
      std::sort(best.begin(), best.end());
      for (int t : best) {
        rowsOf[begin + t].push_back(lists.rowToken.size());
        lists.rowToken.push_back(begin + t);
        lists.rowWeight.push_back(column[t]);
      }
    }
    lists.expertOffsets.push_back(lists.rowToken.size());
  }
  for (size_t row = 0; row < lists.rowToken.size(); ++row) {
    float &w = lists.rowWeight[row];
    if (choice.average)
      w = w / float(rowsOf[lists.rowToken[row]].size());
    if (choice.scale != 1.0f)
      w = w * choice.scale;
    w = narrow(w, choice.round);
  }
  for (const std::vector<int32_t> &rows : rowsOf) {
    lists.tokenOffsets.push_back(lists.tokenRows.size());
    lists.tokenRows.insert(lists.tokenRows.end(), rows.begin(), rows.end());
  }
  lists.tokenOffsets.push_back(lists.tokenRows.size());
  return lists;
}
