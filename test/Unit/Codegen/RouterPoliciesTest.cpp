//===- RouterPoliciesTest.cpp - Whole policies, bit for bit ---------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelHarness.h"
#include "RouterNumerics.h"

#include "gtest/gtest.h"

#include <cmath>
#include <limits>

using namespace moe_test;

static constexpr float kInf = std::numeric_limits<float>::infinity();
static const float kNaN = std::numeric_limits<float>::quiet_NaN();

namespace {
struct PolicyCase {
  std::string name;
  int64_t experts;
  Policy policy;
  enum { NoBias, Bias, TokenBias } bias = NoBias;

  bool hasCapacity() const { return policy.capacity.kind != Capacity::None; }
  /// select_topk, and with a capacity apply_capacity.
  std::string kernels() const;
};

/// Random numbers that are easy to write down.
struct Picker {
  Random &random;

  bool oneIn(int n) { return random() % n == 0; }
  int64_t upTo(int64_t n) { return 1 + random() % n; }
  template <typename T> T from(std::initializer_list<T> values) {
    return values.begin()[random() % values.size()];
  }
};
} // namespace

std::string PolicyCase::kernels() const {
  std::string policyText = "policy = #moe.policy" + policy.text();
  std::string s =
      "plan.kernel @" + name +
      "(%l: memref<?xf32>, %b: memref<?xf32>, %r: memref<?xi32>, "
      "%u: memref<?xf32>, %i: memref<?xi32>, %w: memref<?xf32>, %n: index) {\n"
      "  moe.kernel.select_topk ins(%l";
  s += bias == NoBias ? " : memref<?xf32>)"
                      : ", %b : memref<?xf32>, "
                        "memref<?xf32>)";
  if (policy.prefers)
    s += " resident(%r : memref<?xi32>)";
  if (policy.keep == Keep::Random)
    s += " random(%u : memref<?xf32>)";
  s += " outs(%i, %w : memref<?xi32>, memref<?xf32>) tokens(%n) {experts = " +
       std::to_string(experts) + " : i64, " + policyText +
       (bias == TokenBias ? ", bias_per_token" : "") + "}\n}\n";
  if (!hasCapacity())
    return s;
  return s + "plan.kernel @" + name +
         "_drop(%c: memref<?xi32>, %v: memref<?xf32>, %i: memref<?xi32>, "
         "%w: memref<?xf32>, %d: memref<?xi32>, %o: memref<?xi32>, "
         "%n: index) {\n"
         "  moe.kernel.apply_capacity ins(%c, %v : memref<?xi32>, "
         "memref<?xf32>) outs(%i, %w, %d : memref<?xi32>, memref<?xf32>, "
         "memref<?xi32>) scratch(%o : memref<?xi32>) tokens(%n) {experts = " +
         std::to_string(experts - policy.nullExperts) + " : i64, " +
         policyText + "}\n}\n";
}

//===----------------------------------------------------------------------===//
// Random policies
//===----------------------------------------------------------------------===//

static Capacity randomCapacity(Picker &pick) {
  Capacity c;
  c.kind = Capacity::Kind(1 + pick.random() % 3);
  if (c.kind == Capacity::Slots) {
    c.slots = pick.upTo(6);
  } else {
    c.factor = c.kind == Capacity::Factor
                   ? pick.from({0.3f, 0.75f, 1.0f, 1.25f, 100.0f})
                   : pick.from({0.01f, 0.1f, 0.25f, 1.5f});
    c.floor = pick.oneIn(2);
    c.minimum = pick.from<int64_t>({1, 1, 2, 4});
    c.multiple = pick.from<int64_t>({1, 1, 3, 4});
  }
  c.every = pick.from<int64_t>({0, 0, 1, 7, 16, 1000});
  return c;
}

static void randomWeights(Picker &pick, Policy &p) {
  if (p.score == Score::None && p.filter == Filter::None && !p.prefers &&
      pick.oneIn(3)) {
    p.weights = WeightsFrom::Sparsemixer;
    p.jitter = pick.from({0.0f, 0.01f, 0.1f, 0.6f});
  } else if ((p.score == Score::None || p.score == Score::Softmax) &&
             pick.oneIn(3)) {
    p.weights = WeightsFrom::Softmax;
  } else {
    p.weights = pick.from({WeightsFrom::Scores, WeightsFrom::Scores,
                           WeightsFrom::Sigmoid, WeightsFrom::Constant});
  }
  if (p.topK >= 2 && p.weights != WeightsFrom::Constant && pick.oneIn(2)) {
    p.keep = Keep(1 + pick.random() % 3);
    p.keepBound = pick.from({0.05f, 0.2f, 0.5f, 0.9f});
  }
  bool drops = p.keep != Keep::All || p.capacity.kind != Capacity::None;
  bool afterDrop = drops && pick.oneIn(2);
  bool sumsToOne =
      p.weights == WeightsFrom::Softmax || p.weights == WeightsFrom::Constant;
  p.normalize = pick.oneIn(2) && (afterDrop || !sumsToOne);
  if (p.normalize) {
    p.afterDrop = afterDrop;
    p.norm = pick.from<int64_t>({0, 0, 1, 2, 3, 8});
    p.epsilon = pick.from({0.0f, 1e-20f, 0.125f});
    p.atLeast = p.epsilon != 0.0f && pick.oneIn(2);
  }
  p.scale = pick.from({1.0f, 2.5f, -0.3f});
  p.roundWeights = pick.from({Narrow::No, Narrow::BF16, Narrow::F16});
}

static PolicyCase randomCase(Random &random, int number) {
  Picker pick{random};
  PolicyCase c;
  c.name = "p" + std::to_string(number);
  c.experts = pick.from<int64_t>({1, 2, 3, 8, 16, 17, 24, 64, 160});
  Policy &p = c.policy;
  p.score = Score(random() % 4);
  p.roundScores =
      pick.from({Narrow::No, Narrow::No, Narrow::BF16, Narrow::F16});
  if (c.experts > 1 && pick.oneIn(4))
    p.nullExperts = pick.upTo(c.experts - 1);
  if (pick.oneIn(3))
    p.capacity = randomCapacity(pick);
  p.order = Order(random() % 4);

  int64_t selectable = c.experts;
  int64_t groups = pick.from<int64_t>({2, 4, 8, 20});
  if (c.experts % groups == 0 && groups < c.experts && pick.oneIn(2)) {
    p.groups = groups;
    p.keepGroups = pick.upTo(groups - 1);
    p.filter = pick.from({Filter::Max, Filter::Top2Sum});
    selectable = p.keepGroups * (c.experts / groups);
  }
  selectable = std::min(selectable, c.experts - p.nullExperts);
  p.topK =
      pick.oneIn(4) ? selectable : pick.upTo(std::min<int64_t>(selectable, 9));
  if (pick.oneIn(3)) {
    p.prefers = true;
    p.prefer = pick.from({0.0f, 0.1f, 5.0f});
    p.beyond = random() % (p.topK + 1);
  }
  c.bias =
      pick.from({PolicyCase::NoBias, PolicyCase::Bias, PolicyCase::TokenBias});
  p.biasAfterFirst = c.bias != PolicyCase::NoBias && p.topK >= 2 &&
                     p.filter == Filter::None && !p.prefers && pick.oneIn(2);
  randomWeights(pick, p);
  return c;
}

/// Logits of a token are random, tied, all equal, or not finite.
static std::vector<float> hardLogits(Random &random, int64_t tokens,
                                     int64_t experts) {
  std::vector<float> logits = randomValues(random, tokens * experts, 2.0f);
  const float strange[] = {kNaN,  kInf,  -kInf,  0.0f,
                           -0.0f, 88.8f, -87.4f, 1e-40f};
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t e = 0; e < experts; ++e) {
      float &l = logits[t * experts + e];
      switch (t % 9) {
      case 3:
        l = std::round(l);
        break;
      case 4:
        l = random() % 4 ? l : strange[random() % 8];
        break;
      case 5:
        l = strange[random() % 8];
        break;
      case 6:
        l = t % 2 ? 0.25f : (random() % 2 ? 0.0f : -0.0f);
        break;
      case 7:
        l = t % 2 ? kNaN : -kInf;
        break;
      }
    }
  return logits;
}

//===----------------------------------------------------------------------===//
// Tests
//===----------------------------------------------------------------------===//

static void append(const std::vector<Pair> &pairs, std::vector<int32_t> &ids,
                   std::vector<float> &weights) {
  for (const Pair &pair : pairs) {
    ids.push_back(pair.id);
    weights.push_back(pair.weight);
  }
}

static void expectCapacity(const Kernels &kernels, const PolicyCase &c,
                           std::vector<std::vector<Pair>> choices,
                           const std::vector<int32_t> &chosenIds,
                           const std::vector<float> &chosenWeights) {
  int64_t tokens = choices.size(), experts = c.experts - c.policy.nullExperts;
  std::vector<int32_t> dropped = applyCapacity(choices, c.policy, experts);
  std::vector<int32_t> ids;
  std::vector<float> weights;
  for (const std::vector<Pair> &ofToken : choices)
    append(finish(ofToken, c.policy), ids, weights);
  std::string name = c.name + "_drop";
  forEveryWay(kernels, name, [&](int level, int workers, bool back) {
    Buffer<int32_t> actualIds(ids.size()), actualDropped(experts),
        order(2 * ids.size());
    Buffer<float> actualWeights(ids.size());
    EXPECT_EQ(
        kernels.run(name, level, workers,
                    {Buffer<int32_t>(chosenIds), Buffer<float>(chosenWeights),
                     actualIds, actualWeights, actualDropped, order, tokens},
                    back),
        0);
    ASSERT_EQ(actualIds.values(), ids);
    ASSERT_EQ(actualDropped.values(), dropped);
    expectSameBits(actualWeights.values(), weights);
  });
}

static void expectPolicy(const Kernels &kernels, const PolicyCase &c,
                         int64_t tokens, Random &random) {
  int64_t experts = c.experts, k = c.policy.topK;
  std::vector<float> logits = hardLogits(random, tokens, experts);
  bool perToken = c.bias == PolicyCase::TokenBias;
  std::vector<float> bias =
      randomValues(random, experts * (perToken ? tokens : 1), 0.5f);
  std::vector<int32_t> resident(experts);
  for (int32_t &r : resident)
    r = random() % 3 ? 0 : int32_t(random());
  std::vector<float> uniform(tokens * k);
  for (float &u : uniform)
    u = float(random() >> 8) * 0x1p-24f;

  std::vector<std::vector<Pair>> choices;
  std::vector<int32_t> ids;
  std::vector<float> weights;
  for (int64_t t = 0; t < tokens; ++t) {
    TokenInputs inputs;
    if (c.bias != PolicyCase::NoBias)
      inputs.bias = &bias[perToken ? t * experts : 0];
    inputs.resident = resident.data();
    inputs.random = &uniform[t * k];
    std::vector<float> row(logits.begin() + t * experts,
                           logits.begin() + (t + 1) * experts);
    choices.push_back(choose(row, inputs, c.policy));
    append(c.hasCapacity() ? choices.back() : finish(choices.back(), c.policy),
           ids, weights);
  }
  forEveryWay(kernels, c.name, [&](int level, int workers, bool back) {
    Buffer<int32_t> actualIds(ids.size());
    Buffer<float> actualWeights(ids.size());
    EXPECT_EQ(kernels.run(c.name, level, workers,
                          {Buffer<float>(logits), Buffer<float>(bias),
                           Buffer<int32_t>(resident), Buffer<float>(uniform),
                           actualIds, actualWeights, tokens},
                          back),
              0);
    ASSERT_EQ(actualIds.values(), ids);
    expectSameBits(actualWeights.values(), weights);
  });
  if (c.hasCapacity() && !testing::Test::HasFailure())
    expectCapacity(kernels, c, choices, ids, weights);
}

static void expectPolicies(const std::vector<PolicyCase> &cases,
                           Random &random) {
  std::string source, diagnostics;
  for (const PolicyCase &c : cases)
    source += c.kernels();
  std::unique_ptr<Kernels> kernels = Kernels::compile(source, diagnostics);
  ASSERT_TRUE(kernels) << diagnostics << source;
  for (const PolicyCase &c : cases)
    for (int64_t tokens : {0, 1, 2, 45}) {
      SCOPED_TRACE(c.policy.text() + " of " + std::to_string(c.experts) +
                   " experts, bias " + std::to_string(c.bias) + ", " +
                   std::to_string(tokens) + " tokens");
      expectPolicy(*kernels, c, tokens, random);
      if (testing::Test::HasFailure())
        return;
    }
}

TEST(RouterPolicies, RandomPointsOfTheCrossProduct) {
  Random random(11);
  std::vector<PolicyCase> cases;
  for (int i = 0; i < 60; ++i)
    cases.push_back(randomCase(random, i));
  expectPolicies(cases, random);
}

/// Each clause by itself, as the models that have it write it.
TEST(RouterPolicies, ClausesOfModels) {
  Random random(12);
  std::vector<PolicyCase> cases;
  auto add = [&](int64_t experts, int64_t topK) -> PolicyCase & {
    PolicyCase c;
    c.name = "m" + std::to_string(cases.size());
    c.experts = experts;
    c.policy.topK = topK;
    cases.push_back(c);
    return cases.back();
  };
  PolicyCase &sqrtSoftplus = add(256, 6);
  sqrtSoftplus.policy.score = Score::SqrtSoftplus;
  sqrtSoftplus.policy.normalize = true;
  sqrtSoftplus.policy.scale = 1.5f;
  sqrtSoftplus.bias = PolicyCase::Bias;
  PolicyCase &sparsemixer = add(16, 2);
  sparsemixer.policy.score = Score::None;
  sparsemixer.policy.weights = WeightsFrom::Sparsemixer;
  sparsemixer.policy.jitter = 0.01f;
  PolicyCase &zeroExperts = add(48, 12);
  zeroExperts.policy.nullExperts = 16;
  zeroExperts.policy.scale = 6.0f;
  zeroExperts.bias = PolicyCase::Bias;
  PolicyCase &switchLike = add(8, 1);
  switchLike.policy.capacity.kind = Capacity::Factor;
  switchLike.policy.capacity.factor = 1.25f;
  for (Order order :
       {Order::Choice, Order::Position, Order::Weight, Order::Priority}) {
    PolicyCase &capacity = add(5, 3);
    capacity.policy.capacity.kind = Capacity::Factor;
    capacity.policy.capacity.factor = 0.5f;
    capacity.policy.order = order;
    capacity.policy.normalize = true;
    capacity.policy.afterDrop = true;
  }
  PolicyCase &topP = add(16, 8);
  topP.policy.keep = Keep::TopP;
  topP.policy.keepBound = 0.7f;
  topP.policy.normalize = true;
  topP.policy.afterDrop = true;
  PolicyCase &second = add(8, 2);
  second.policy.keep = Keep::Random;
  second.policy.keepBound = 0.5f;
  second.policy.normalize = true;
  PolicyCase &resident = add(64, 6);
  resident.policy.prefers = true;
  resident.policy.prefer = 0.02f;
  resident.policy.beyond = 2;
  expectPolicies(cases, random);
}
