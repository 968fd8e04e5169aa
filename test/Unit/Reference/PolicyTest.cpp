//===- PolicyTest.cpp - The clauses of a policy, by hand ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Reference/Router.h"

#include "mlir/AsmParser/AsmParser.h"
#include "mlir/IR/MLIRContext.h"
#include "gtest/gtest.h"

#include <cmath>
#include <limits>

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::reference;

namespace {

using Ids = std::vector<int64_t>;
using Weights = std::vector<float>;

class Policies : public testing::Test {
protected:
  Policies() { context.loadDialect<MoeDialect>(); }

  PolicyAttr policy(const std::string &words) {
    Attribute attr = parseAttribute("#moe.policy<" + words + ">", &context);
    EXPECT_TRUE(isa_and_nonnull<PolicyAttr>(attr)) << words;
    return cast<PolicyAttr>(attr);
  }
  CapacityAttr capacity(const std::string &words) {
    Attribute attr = parseAttribute("#moe.capacity<" + words + ">", &context);
    EXPECT_TRUE(isa_and_nonnull<CapacityAttr>(attr)) << words;
    return cast<CapacityAttr>(attr);
  }
  Selection select(std::vector<float> logits, const std::string &words,
                   std::vector<float> bias = {}, Ids resident = {},
                   std::vector<float> random = {}) {
    return selectExperts({logits, bias, resident, random}, policy(words));
  }

  MLIRContext context;
  float infinity = std::numeric_limits<float>::infinity();
};

} // namespace

//===----------------------------------------------------------------------===//
// Scores and selection
//===----------------------------------------------------------------------===//

TEST_F(Policies, TakesTheLowestIndexOfEqualKeys) {
  EXPECT_EQ(select({1, 2, 2, 2, 0}, "top_k = 2").ids, (Ids{1, 2}));
  EXPECT_EQ(select({1, 1, 1, 1}, "top_k = 3").ids, (Ids{0, 1, 2}));
}

TEST_F(Policies, NaNAndInfinityMakeAllScoresNaN) {
  for (float bad : {NAN, infinity}) {
    Selection found = select({1, bad, 3, 4}, "top_k = 2");
    EXPECT_EQ(found.ids, (Ids{0, 1}));
    EXPECT_TRUE(std::isnan(found.weights[0]) && std::isnan(found.weights[1]));
  }
}

TEST_F(Policies, ANaNKeyCountsAsMinusInfinity) {
  EXPECT_EQ(select({NAN, -infinity, -5, NAN}, "score = none, top_k = 3").ids,
            (Ids{0, 1, 2}));
}

TEST_F(Policies, BiasSelectsButDoesNotWeigh) {
  Selection found =
      select({3, 0, 0, 0}, "score = sigmoid, top_k = 2", {-1, 0, 1, 1});
  EXPECT_EQ(found.ids, (Ids{2, 3}));
  EXPECT_EQ(found.weights[0], 0.5f);
}

TEST_F(Policies, BiasCountsFromTheSecondChoiceOn) {
  std::vector<float> logits = {3, 2, 1, 0}, bias = {-9, 0, 5, 7};
  EXPECT_EQ(select(logits, "score = none, top_k = 2", bias).ids, (Ids{2, 3}));
  EXPECT_EQ(
      select(logits, "score = none, bias_after_first, top_k = 2", bias).ids,
      (Ids{0, 3}));
  // In order of selection; the first choice cannot be taken again.
  EXPECT_EQ(chooseExperts({{3, 2, 1}, {9, 0, 5}, {}, {}},
                          policy("score = none, bias_after_first, top_k = 3"))
                .ids,
            (Ids{0, 2, 1}));
}

TEST_F(Policies, SqrtSoftplusScores) {
  Selection found =
      select({0, 3, -40, infinity}, "score = sqrt_softplus, top_k = 4");
  EXPECT_EQ(found.weights[0], std::sqrt(routerSoftplus(0)));
  EXPECT_NEAR(found.weights[0], 0.8325546f, 1e-7);
  EXPECT_NEAR(found.weights[1], 1.7460204f, 3e-7);
  EXPECT_NEAR(found.weights[2], 0, 1e-7);
  EXPECT_EQ(found.weights[3], infinity);
}

TEST_F(Policies, RoundsScoresBeforeSelecting) {
  // 1 + 2^-9 rounds to 1 in bf16, so that the lower expert wins the tie.
  std::vector<float> logits = {1, 1 + 0x1p-9f, 0.5f};
  EXPECT_EQ(select(logits, "score = none, top_k = 1").ids, (Ids{1}));
  Selection found =
      select(logits, "score = none, round_scores = bf16, top_k = 1");
  EXPECT_EQ(found.ids, (Ids{0}));
  EXPECT_EQ(
      select({1 + 0x1p-9f}, "score = none, round_scores = bf16, top_k = 1")
          .weights,
      (Weights{1}));
}

TEST_F(Policies, GroupsFilterBeforeSelection) {
  // Groups of two: sums 9, 10, 8; maxima 9, 5, 8.
  std::vector<float> logits = {9, 0, 5, 5, 8, 0};
  EXPECT_EQ(
      select(logits, "score = none, groups = 3 keep 1 by top2_sum, top_k = 2")
          .ids,
      (Ids{2, 3}));
  EXPECT_EQ(
      select(logits, "score = none, groups = 3 keep 2 by max, top_k = 2").ids,
      (Ids{0, 4}));
  // All keys negative: an expert of a dropped group must not look like 0.
  EXPECT_EQ(select({-9, -8, -2, -3},
                   "score = none, groups = 2 keep 1 by max, top_k = 2")
                .ids,
            (Ids{2, 3}));
}

TEST_F(Policies, PrefersResidentExperts) {
  std::vector<float> logits = {4, 3, 2, 1};
  Ids resident = {0, 0, 1, 7};
  auto chosen = [&](const std::string &prefer) {
    return select(logits, "score = none, top_k = 2, prefer = " + prefer, {},
                  resident);
  };
  EXPECT_EQ(chosen("0.5").ids, (Ids{0, 1}));
  EXPECT_EQ(chosen("0.5").regret, 0.0f);
  // Keys 4, 3, 3.5, 2.5: one expert is exchanged, for one point of score.
  EXPECT_EQ(chosen("1.5").ids, (Ids{0, 2}));
  EXPECT_EQ(chosen("1.5").regret, 1.0f);
  EXPECT_EQ(chosen("9.0").ids, (Ids{2, 3}));
  EXPECT_EQ(chosen("9.0").regret, 4.0f);
  // The best one is always as good as resident; nothing is added twice.
  EXPECT_EQ(chosen("9.0 beyond 1").ids, (Ids{0, 2}));
  EXPECT_EQ(chosen("9.0 beyond 2").ids, (Ids{0, 1}));
  // Weights stay the scores.
  EXPECT_EQ(chosen("9.0").weights, (Weights{2, 1}));
}

TEST_F(Policies, NullExpertsAreNoPairs) {
  // Experts 2 and 3 are null; the weights of the others are not raised.
  Selection found =
      select({1, 5, 4, 0}, "score = none, null_experts = 2, top_k = 2");
  EXPECT_EQ(found.ids, (Ids{1, -1}));
  EXPECT_EQ(found.weights, (Weights{5, 0}));
  found = select({1, 5, 9, 8}, "score = none, null_experts = 2, top_k = 2");
  EXPECT_EQ(found.ids, (Ids{-1, -1}));
  EXPECT_EQ(found.weights, (Weights{0, 0}));
  // The divisor is the sum of what is no null expert.
  found = select({2, 5, 6, -9},
                 "score = none, null_experts = 2, top_k = 3, normalize");
  EXPECT_EQ(found.ids, (Ids{0, 1, -1}));
  EXPECT_EQ(found.weights, (Weights{2.0f / 7, 5.0f / 7, 0}));
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

TEST_F(Policies, WeightSources) {
  std::vector<float> logits = {0.7f, -1, 2};
  EXPECT_EQ(
      select(logits, "score = none, top_k = 2, weights = constant").weights,
      (Weights{1, 1}));
  EXPECT_EQ(
      select(logits, "score = none, top_k = 2, weights = sigmoid").weights,
      (Weights{routerSigmoid(0.7f), routerSigmoid(2)}));
  Weights softmax =
      select(logits, "score = none, top_k = 2, weights = softmax").weights;
  EXPECT_NEAR(softmax[0], 0.21416502, 1e-7);
  EXPECT_NEAR(softmax[1], 0.78583498, 1e-7);
}

TEST_F(Policies, SparsemixerSpreadsOverLogitsThatAreNear) {
  const char *words =
      "score = none, top_k = 2, weights = sparsemixer jitter 0.1";
  // First choice 2.2: only 2.0 is near. Second choice 2.0: none is left.
  Selection found = select({1, 2, 2.2f, -1}, words);
  EXPECT_EQ(found.ids, (Ids{1, 2}));
  EXPECT_EQ(found.weights[0], 1.0f);
  EXPECT_NEAR(found.weights[1], 0.549834f, 1e-6);
  // Second choice 2.0: 1.9 is near; the first choice is not counted again.
  found = select({1.9f, 2, 2.2f, -1}, words);
  EXPECT_NEAR(found.weights[0], 0.5249792f, 1e-6);
  EXPECT_NEAR(found.weights[1], 1 / (1 + std::exp(-0.2) + std::exp(-0.3)),
              1e-6);
  // 0 / 0 is not far.
  EXPECT_EQ(select({0, 0, -5}, words).weights, (Weights{0.5f, 1}));
  // The quotient is taken by the larger of |l| and the largest: 4 / 3 is far,
  // with jitter 1 it is not.
  EXPECT_EQ(select({1, -3}, "score = none, top_k = 1, weights = sparsemixer "
                            "jitter 0.5")
                .weights,
            (Weights{1}));
  EXPECT_NEAR(select({1, -3}, "score = none, top_k = 1, weights = sparsemixer "
                              "jitter 1.0")
                  .weights[0],
              1 / (1 + std::exp(-4.0)), 1e-6);
}

TEST_F(Policies, Normalises) {
  auto weights = [&](std::vector<float> logits, const std::string &words) {
    return select(std::move(logits), "score = none, top_k = 2, " + words)
        .weights;
  };
  EXPECT_EQ(weights({1, 3}, "normalize epsilon 4.0, scale = 2.0"),
            (Weights{0.25f, 0.75f}));
  EXPECT_EQ(weights({1, 3}, "normalize at_least 8.0"),
            (Weights{0.125f, 0.375f}));
  EXPECT_EQ(weights({1, 3}, "normalize at_least 2.0"), (Weights{0.25f, 0.75f}));
  EXPECT_EQ(weights({3, 4}, "normalize by 2"), (Weights{0.6f, 0.8f}));
  EXPECT_EQ(weights({3, -1}, "normalize by 1"), (Weights{0.75f, -0.25f}));
  Weights cubic = weights({3, 4}, "normalize by 3");
  EXPECT_EQ(cubic[0], 3 / routerExp(routerLog(91) / 3));
  EXPECT_NEAR(cubic[0], 3 / std::cbrt(91.0), 1e-6);
  // A NaN is not raised to the least divisor.
  for (float weight : weights({NAN, 1}, "normalize at_least 2.0"))
    EXPECT_TRUE(std::isnan(weight));
}

TEST_F(Policies, ScalesThenRounds) {
  Selection found =
      select({1, 1 + 0x1p-7f}, "score = none, top_k = 2, scale = 1.00390625, "
                               "round_weights = bf16");
  // 1.00390625 is half way to 1 + 2^-7 and goes to even.
  EXPECT_EQ(found.weights, (Weights{1, 1 + 0x1p-6f}));
}

//===----------------------------------------------------------------------===//
// Which pairs stay
//===----------------------------------------------------------------------===//

TEST_F(Policies, KeepsChoicesAboveAThreshold) {
  const char *words = "score = none, top_k = 3, keep = threshold 2.0";
  Selection found = select({2, 5, 3, 1}, words);
  EXPECT_EQ(found.ids, (Ids{1, 2, -1}));
  EXPECT_EQ(found.weights, (Weights{5, 3, 0}));
  // The first stays whatever its weight.
  EXPECT_EQ(select({0, 1, 0, 0}, words).ids, (Ids{1, -1, -1}));
  EXPECT_EQ(select({NAN, NAN, NAN, NAN}, words).ids, (Ids{0, -1, -1}));
}

TEST_F(Policies, KeepsTheNucleus) {
  std::vector<float> logits = {1, 4, 2, 3};
  auto ids = [&](const std::string &p) {
    return select(logits, "score = none, top_k = 4, keep = top_p " + p).ids;
  };
  // Weights before each choice: 0, 4, 7, 9.
  EXPECT_EQ(ids("1.0"), (Ids{1, -1, -1, -1}));
  EXPECT_EQ(ids("4.0"), (Ids{1, -1, -1, -1}));
  EXPECT_EQ(ids("4.5"), (Ids{1, 3, -1, -1}));
  EXPECT_EQ(ids("8.0"), (Ids{1, 2, 3, -1}));
  EXPECT_EQ(ids("10.0"), (Ids{0, 1, 2, 3}));
}

TEST_F(Policies, KeepsAtRandom) {
  const char *words = "score = none, top_k = 2, keep = random 4.0";
  // Of the first choice the random number does not matter.
  EXPECT_EQ(select({3, 1}, words, {}, {}, {0.9f, 0.2f}).ids, (Ids{0, 1}));
  EXPECT_EQ(select({3, 1}, words, {}, {}, {0.9f, 0.25f}).ids, (Ids{0, -1}));
}

TEST_F(Policies, NormalisesOverWhatIsLeft) {
  Selection found =
      select({2, 6, 1}, "score = none, top_k = 3, normalize after_drop, "
                        "keep = threshold 1.5");
  EXPECT_EQ(found.ids, (Ids{0, 1, -1}));
  EXPECT_EQ(found.weights, (Weights{0.25f, 0.75f, 0}));
}

TEST_F(Policies, CountsSlots) {
  auto slots = [&](const std::string &words, int64_t tokens, int64_t k = 2,
                   int64_t experts = 8) {
    return countSlots(capacity(words), tokens, k, experts);
  };
  EXPECT_EQ(slots("factor 1.25", 4), 2);
  EXPECT_EQ(slots("factor 1.25 floor", 4), 1);
  EXPECT_EQ(slots("factor 0.5 floor", 4), 1);
  EXPECT_EQ(slots("factor 1.25 min 4", 4), 4);
  EXPECT_EQ(slots("factor 1.25 multiple 8", 100), 32);
  EXPECT_EQ(slots("factor 1.25 multiple 8", 128), 40);
  EXPECT_EQ(slots("tokens 0.5", 5), 3);
  EXPECT_EQ(slots("tokens 0.5 floor", 5), 2);
  EXPECT_EQ(slots("factor 1.0e+30", 7), 7);
  EXPECT_EQ(slots("slots 3", 1), 3);
  // The factor is an f64: 0.1f is a little more than a tenth.
  EXPECT_EQ(slots("tokens 0.1", 10), 1);
  EXPECT_EQ(slots("tokens 0.3", 1000), 300);
}

namespace {

/// Four tokens, three experts. Choices: 0 1, 0 1, 0 2, 1 0.
class Capacities : public Policies {
protected:
  /// The ids that are left of all tokens, one after the other.
  Ids left(const std::string &words) {
    attr = policy("score = none, top_k = 2, " + words);
    selections.clear();
    for (const auto &row : logits)
      selections.push_back(chooseExperts({row, {}, {}, {}}, attr));
    dropped = applyCapacity(selections, 3, attr);
    Ids ids;
    for (Selection &selection : selections) {
      selection = finishSelection(selection, attr);
      ids.insert(ids.end(), selection.ids.begin(), selection.ids.end());
    }
    return ids;
  }

  std::vector<std::vector<float>> logits = {
      {5, 4, -9}, {6, 3, -9}, {9, -9, 1}, {2, 7, -9}};
  PolicyAttr attr;
  std::vector<Selection> selections;
  Ids dropped;
};

} // namespace

TEST_F(Capacities, FirstChoicesGoFirst) {
  EXPECT_EQ(left("capacity = slots 2 by choice"),
            (Ids{0, 1, 0, -1, 2, -1, 1, -1}));
  EXPECT_EQ(dropped, (Ids{2, 1, 0}));
}

TEST_F(Capacities, ByPosition) {
  EXPECT_EQ(left("capacity = slots 2 by position"),
            (Ids{0, 1, 0, 1, 2, -1, -1, -1}));
  EXPECT_EQ(dropped, (Ids{2, 1, 0}));
}

TEST_F(Capacities, ByWeight) {
  EXPECT_EQ(left("capacity = slots 2 by weight"),
            (Ids{1, -1, 0, -1, 0, 2, 1, -1}));
  EXPECT_EQ(dropped, (Ids{2, 1, 0}));
}

TEST_F(Capacities, ByPriorityOfTheToken) {
  EXPECT_EQ(left("capacity = slots 2 by priority"),
            (Ids{-1, -1, 0, 1, 0, 2, 1, -1}));
  EXPECT_EQ(dropped, (Ids{2, 1, 0}));
}

TEST_F(Capacities, GroupsOfTokensHaveSlotsOfTheirOwn) {
  EXPECT_EQ(left("capacity = slots 1 every 2 by choice"),
            (Ids{0, 1, -1, -1, 0, 2, 1, -1}));
  EXPECT_EQ(dropped, (Ids{2, 1, 0}));
  // The last group is one token, which competes with nobody.
  EXPECT_EQ(left("capacity = slots 1 every 3 by choice"),
            (Ids{0, 1, -1, -1, 2, -1, 0, 1}));
}

TEST_F(Capacities, EqualAndNaNWeightsGoByPosition) {
  for (float weight : {1.0f, NAN}) {
    logits.assign(3, {weight, weight, weight});
    EXPECT_EQ(left("capacity = slots 1 by weight"),
              (Ids{0, 1, -1, -1, -1, -1}));
    EXPECT_EQ(left("capacity = slots 2 by priority"),
              (Ids{0, 1, 0, 1, -1, -1}));
  }
  // A NaN goes after every number.
  logits = {{NAN, NAN, NAN}, {3, 2, 1}};
  EXPECT_EQ(left("capacity = slots 1 by weight"), (Ids{-1, -1, 0, 1}));
}

TEST_F(Capacities, NormalisesOverWhatIsLeft) {
  left("normalize after_drop, scale = 2.0, capacity = slots 2 by choice");
  EXPECT_EQ(selections[0].weights, (Weights{10.0f / 9, 8.0f / 9}));
  EXPECT_EQ(selections[1].weights, (Weights{2, 0}));
  EXPECT_EQ(selections[2].weights, (Weights{2, 0}));
  left("normalize, capacity = slots 2 by choice");
  EXPECT_EQ(selections[1].weights, (Weights{6.0f / 9, 0}));
}

TEST_F(Capacities, OfNoTokens) {
  logits.clear();
  EXPECT_EQ(left("capacity = factor 1.0 by choice"), (Ids{}));
  EXPECT_EQ(dropped, (Ids{0, 0, 0}));
}

//===----------------------------------------------------------------------===//
// Expert choice and product keys
//===----------------------------------------------------------------------===//

TEST_F(Policies, ExpertsChooseTokens) {
  // Expert 0 takes tokens 1 and 3, expert 1 tokens 0 and 1; token 2 none.
  std::vector<float> logits = {0, 7, 5, 6, -1, NAN, 5, -8};
  TokenChoice choice;
  choice.capacity = capacity("tokens 0.5");
  auto found = chooseTokens(logits, 4, 2, choice);
  EXPECT_EQ(found[0].ids, (Ids{-1, 1}));
  EXPECT_EQ(found[1].ids, (Ids{0, 1}));
  EXPECT_EQ(found[2].ids, (Ids{-1, -1}));
  EXPECT_EQ(found[3].ids, (Ids{0, -1}));
  EXPECT_EQ(found[1].weights, (Weights{5, 6}));
  choice.average = true;
  choice.scale = 2;
  found = chooseTokens(logits, 4, 2, choice);
  EXPECT_EQ(found[0].weights, (Weights{0, 14}));
  EXPECT_EQ(found[1].weights, (Weights{5, 6}));
  // In groups of three: two slots, then one token with one slot.
  choice = {};
  choice.capacity = capacity("tokens 0.5 every 3");
  found = chooseTokens(logits, 4, 2, choice);
  EXPECT_EQ(found[0].ids, (Ids{0, 1}));
  EXPECT_EQ(found[1].ids, (Ids{0, 1}));
  EXPECT_EQ(found[2].ids, (Ids{-1, -1}));
  EXPECT_EQ(found[3].ids, (Ids{0, 1}));
}

TEST_F(Policies, TokenScores) {
  std::vector<float> logits = {0, 1, 2, 3};
  TokenChoice choice;
  choice.capacity = capacity("tokens 1.0");
  auto weights = [&](TokenScore score) {
    choice.score = score;
    Weights all;
    for (const Selection &selection : chooseTokens(logits, 2, 2, choice))
      all.insert(all.end(), selection.weights.begin(), selection.weights.end());
    return all;
  };
  float low = routerExp(-1) / (1 + routerExp(-1)), high = 1 - low;
  EXPECT_EQ(weights(TokenScore::Sigmoid)[1], routerSigmoid(1));
  EXPECT_NEAR(weights(TokenScore::Softmax)[0], low, 1e-7);
  EXPECT_NEAR(weights(TokenScore::Softmax)[3], high, 1e-7);
  // Over the tokens the difference is 2.
  float far = routerExp(-2) / (routerExp(-2) + 1);
  EXPECT_EQ(weights(TokenScore::SoftmaxOverTokens)[0], far);
  EXPECT_EQ(weights(TokenScore::SoftmaxOverTokens)[1], far);
  logits[0] = NAN;
  EXPECT_TRUE(std::isnan(weights(TokenScore::SoftmaxOverTokens)[2]));
  EXPECT_EQ(weights(TokenScore::SoftmaxOverTokens)[1], far);
  EXPECT_TRUE(chooseTokens({}, 0, 2, choice).empty());
}

TEST_F(Policies, ProductKeys) {
  // Candidates 1, 2 of the first and 2, 0 of the second; sums 9 and, tied, 8.
  std::vector<float> first = {1, 3, 2}, second = {5, 4, 6, 0};
  auto found = [&](const std::string &words) {
    return selectProducts(first, second, policy(words));
  };
  Selection plain = found("score = none, top_k = 2");
  EXPECT_EQ(plain.ids, (Ids{4, 6}));
  EXPECT_EQ(plain.weights, (Weights{8, 9}));
  EXPECT_EQ(found("score = none, top_k = 2, normalize, scale = 17.0").weights,
            (Weights{8.0f / 17 * 17, 9.0f / 17 * 17}));
  EXPECT_EQ(found("score = sigmoid, top_k = 2").weights[0], routerSigmoid(8));
  EXPECT_NEAR(found("score = none, top_k = 2, weights = softmax").weights[1],
              1 / (1 + std::exp(-1.0)), 1e-7);
  // A NaN is never before a number, and ties go to the lower id.
  first = {NAN, 1, 1};
  second = {0, 0, 0, NAN};
  EXPECT_EQ(found("score = none, top_k = 3").ids, (Ids{4, 5, 6}));
}
