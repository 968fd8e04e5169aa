//===- RouterListsTest.cpp - Expert choice and product keys ---------------===//
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

static std::unique_ptr<Kernels> compile(const std::string &source) {
  std::string diagnostics;
  std::unique_ptr<Kernels> kernels = Kernels::compile(source, diagnostics);
  EXPECT_TRUE(kernels) << diagnostics << source;
  return kernels;
}

/// Whole rows of `width` are tied, all equal, or have strange numbers in them.
static std::vector<float> hardValues(Random &random, int64_t rows,
                                     int64_t width) {
  std::vector<float> values = randomValues(random, rows * width, 2.0f);
  const float strange[] = {kNaN, kInf, -kInf, 0.0f, -0.0f, 1e-40f};
  for (int64_t t = 0; t < rows; ++t)
    for (int64_t e = 0; e < width; ++e) {
      float &l = values[t * width + e];
      if (t % 5 == 1)
        l = std::round(l);
      else if (t % 5 == 2)
        l = 0.25f;
      else if (t % 5 == 3 && random() % 3 == 0)
        l = strange[random() % 6];
    }
  return values;
}

//===----------------------------------------------------------------------===//
// Expert choice
//===----------------------------------------------------------------------===//

namespace {
struct ChoiceCase {
  std::string name;
  int64_t experts;
  TokenChoice choice;

  std::string kernel() const {
    return "plan.kernel @" + name +
           "(%l: memref<?xf32>, %eo: memref<?xi32>, %rt: memref<?xi32>, "
           "%rw: memref<?xf32>, %to: memref<?xi32>, %tr: memref<?xi32>, "
           "%k: memref<?xi32>, %n: index) {\n"
           "  moe.kernel.choose_rows ins(%l : memref<?xf32>)\n"
           "    outs(%eo, %rt, %rw, %to, %tr : memref<?xi32>, memref<?xi32>,\n"
           "         memref<?xf32>, memref<?xi32>, memref<?xi32>)\n"
           "    scratch(%k : memref<?xi32>) tokens(%n)\n"
           "    {experts = " +
           std::to_string(experts) + " : i64, score = #moe<token_score " +
           nameOf(choice.score) + ">, capacity = #moe.capacity<" +
           choice.capacity.text() + ">" + (choice.average ? ", average" : "") +
           (choice.scale != 1.0f
                ? ", scale = " + std::to_string(choice.scale) + " : f32"
                : "") +
           (choice.round != Narrow::No
                ? std::string(", round_weights = ") + nameOf(choice.round)
                : "") +
           "}\n}\n";
  }
};
} // namespace

static std::vector<ChoiceCase> choiceCases(Random &random) {
  std::vector<ChoiceCase> cases;
  for (int64_t experts : {1, 3, 16, 17, 40})
    for (TokenScore score :
         {TokenScore::None, TokenScore::Softmax, TokenScore::Sigmoid,
          TokenScore::SoftmaxOverTokens})
      for (int64_t every : {0, 7}) {
        ChoiceCase c;
        c.name = "c" + std::to_string(cases.size());
        c.experts = experts;
        c.choice.score = score;
        Capacity &capacity = c.choice.capacity;
        capacity.kind = Capacity::Kind(1 + random() % 3);
        if (capacity.kind == Capacity::Slots)
          capacity.slots = 1 + random() % 5;
        else
          capacity.factor = random() % 2 ? 0.5f : 2.0f;
        capacity.every = every;
        c.choice.average = random() % 2;
        c.choice.scale = random() % 2 ? 2.5f : 1.0f;
        c.choice.round = Narrow(random() % 3);
        cases.push_back(c);
      }
  return cases;
}

TEST(ChooseRows, FiveLists) {
  Random random(21);
  std::vector<ChoiceCase> cases = choiceCases(random);
  std::string source;
  for (const ChoiceCase &c : cases)
    source += c.kernel();
  std::unique_ptr<Kernels> kernels = compile(source);
  ASSERT_TRUE(kernels);
  for (const ChoiceCase &c : cases)
    for (int64_t tokens : {0, 1, 2, 14, 61}) {
      std::vector<float> logits = hardValues(random, tokens, c.experts);
      if (tokens == 61) // Whole columns are strange, too.
        for (int64_t t = 0; t < tokens; ++t)
          logits[t * c.experts] = t % 2 ? kNaN : -kInf;
      Lists expected = chooseTokens(logits, tokens, c.experts, c.choice);
      forEveryWay(*kernels, c.name, [&](int level, int workers, bool back) {
        SCOPED_TRACE(c.kernel() + std::to_string(tokens) + " tokens");
        size_t rows = expected.rowToken.size();
        Buffer<int32_t> eo(c.experts + 1), rt(rows), to(tokens + 1), tr(rows),
            keys(tokens * c.experts + tokens);
        Buffer<float> rw(rows);
        EXPECT_EQ(kernels->run(
                      c.name, level, workers,
                      {Buffer<float>(logits), eo, rt, rw, to, tr, keys, tokens},
                      back),
                  0);
        ASSERT_EQ(eo.values(), expected.expertOffsets);
        ASSERT_EQ(rt.values(), expected.rowToken);
        ASSERT_EQ(to.values(), expected.tokenOffsets);
        ASSERT_EQ(tr.values(), expected.tokenRows);
        expectSameBits(rw.values(), expected.rowWeight);
      });
      if (HasFailure())
        return;
    }
}

//===----------------------------------------------------------------------===//
// Product keys
//===----------------------------------------------------------------------===//

namespace {
struct ProductsCase {
  std::string name;
  int64_t first, second;
  Policy policy;

  std::string kernel() const {
    return "plan.kernel @" + name +
           "(%a: memref<?xf32>, %b: memref<?xf32>, %i: memref<?xi32>, "
           "%w: memref<?xf32>, %n: index) {\n"
           "  moe.kernel.select_products ins(%a, %b : memref<?xf32>, "
           "memref<?xf32>) outs(%i, %w : memref<?xi32>, memref<?xf32>) "
           "tokens(%n) {first_size = " +
           std::to_string(first) +
           " : i64, second_size = " + std::to_string(second) +
           " : i64, policy = #moe.policy" + policy.text() + "}\n}\n";
  }
};
} // namespace

static std::vector<ProductsCase> productsCases() {
  std::vector<ProductsCase> cases;
  auto add = [&](int64_t first, int64_t second, int64_t topK) -> Policy & {
    ProductsCase c;
    c.name = "s" + std::to_string(cases.size());
    c.first = first;
    c.second = second;
    c.policy.topK = topK;
    c.policy.score = Score::None;
    cases.push_back(c);
    return cases.back().policy;
  };
  add(32, 32, 4).weights = WeightsFrom::Softmax;
  add(1, 1, 1);
  add(17, 5, 5).weights = WeightsFrom::Sigmoid;
  Policy &sigmoid = add(3, 40, 3);
  sigmoid.score = Score::Sigmoid;
  sigmoid.roundScores = Narrow::BF16;
  sigmoid.normalize = true;
  sigmoid.norm = 2;
  Policy &large = add(100, 128, 16);
  large.normalize = true;
  large.epsilon = 0.5f;
  large.scale = 3.0f;
  large.roundWeights = Narrow::F16;
  add(20, 33, 20).weights = WeightsFrom::Constant;
  return cases;
}

TEST(SelectProducts, BestPairsOfBothHalves) {
  std::vector<ProductsCase> cases = productsCases();
  std::string source;
  for (const ProductsCase &c : cases)
    source += c.kernel();
  std::unique_ptr<Kernels> kernels = compile(source);
  ASSERT_TRUE(kernels);
  Random random(22);
  for (const ProductsCase &c : cases)
    for (int64_t tokens : {0, 1, 2, 57}) {
      std::vector<float> first = hardValues(random, tokens, c.first);
      std::vector<float> second = hardValues(random, tokens, c.second);
      std::vector<int32_t> ids;
      std::vector<float> weights;
      for (int64_t t = 0; t < tokens; ++t)
        for (const Pair &pair :
             routeProducts({first.begin() + t * c.first,
                            first.begin() + (t + 1) * c.first},
                           {second.begin() + t * c.second,
                            second.begin() + (t + 1) * c.second},
                           c.policy)) {
          ids.push_back(pair.id);
          weights.push_back(pair.weight);
        }
      forEveryWay(*kernels, c.name, [&](int level, int workers, bool back) {
        SCOPED_TRACE(c.kernel() + std::to_string(tokens) + " tokens");
        Buffer<int32_t> actualIds(ids.size());
        Buffer<float> actualWeights(ids.size());
        EXPECT_EQ(kernels->run(c.name, level, workers,
                               {Buffer<float>(first), Buffer<float>(second),
                                actualIds, actualWeights, tokens},
                               back),
                  0);
        ASSERT_EQ(actualIds.values(), ids);
        expectSameBits(actualWeights.values(), weights);
      });
      if (HasFailure())
        return;
    }
}
