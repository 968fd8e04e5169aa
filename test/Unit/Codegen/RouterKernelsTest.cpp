//===- RouterKernelsTest.cpp - Logits and selection, bit for bit ----------===//
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
struct LogitsCase {
  int64_t experts, hidden;
  bool bf16, bias, round;

  std::string name() const {
    return "logits_" + std::to_string(experts) + "_" + std::to_string(hidden) +
           (bf16 ? "_bf16" : "_f32") + (bias ? "_bias" : "") +
           (round ? "_round" : "");
  }
  std::string kernel() const {
    std::string type = bf16 ? "memref<?xbf16>" : "memref<?xf32>";
    return "plan.kernel @" + name() + "(%x: " + type + ", %w: " + type +
           ", %b: memref<?xf32>, %o: memref<?xf32>, %n: index) {\n"
           "  moe.kernel.router_logits ins(%x, %w" +
           (bias ? ", %b" : "") + " : " + type + ", " + type +
           (bias ? ", memref<?xf32>" : "") +
           ") outs(%o : memref<?xf32>) tokens(%n) {experts = " +
           std::to_string(experts) +
           " : i64, hidden = " + std::to_string(hidden) + " : i64" +
           (round ? ", round = bf16" : "") + "}\n}\n";
  }
};

/// What a policy looks like in the dialect.
struct TopkCase {
  const char *name;
  int64_t experts;
  const char *policy;
  Policy expected;
  bool bias = false;

  std::string kernel() const {
    std::string b = bias ? ", %b" : "", t = bias ? ", memref<?xf32>" : "";
    return "plan.kernel @" + std::string(name) +
           "(%l: memref<?xf32>, %b: memref<?xf32>, %i: memref<?xi32>, "
           "%w: memref<?xf32>, %n: index) {\n"
           "  moe.kernel.select_topk ins(%l" +
           b + " : memref<?xf32>" + t +
           ") outs(%i, %w : memref<?xi32>, memref<?xf32>) tokens(%n) {experts "
           "= " +
           std::to_string(experts) + " : i64, policy = #moe.policy" + policy +
           "}\n}\n";
  }
};
} // namespace

template <typename CaseT>
static std::unique_ptr<Kernels> compileAll(const std::vector<CaseT> &cases) {
  std::string source, diagnostics;
  for (const CaseT &c : cases)
    source += c.kernel();
  std::unique_ptr<Kernels> kernels = Kernels::compile(source, diagnostics);
  EXPECT_TRUE(kernels) << diagnostics;
  return kernels;
}

TEST(RouterLogits, SixteenLaneSums) {
  std::vector<LogitsCase> cases = {
      {5, 40, false, false, false},    {5, 40, true, true, true},
      {1, 1, false, false, false},     {3, 17, false, true, false},
      {8, 16, true, false, true},      {64, 2048, true, false, false},
      {64, 2048, false, false, false}, {256, 31, false, true, false},
      {9, 333, true, true, false}};
  std::unique_ptr<Kernels> kernels = compileAll(cases);
  ASSERT_TRUE(kernels);
  Random random(1);
  for (const LogitsCase &c : cases)
    for (int64_t tokens : {0, 1, 2, 17, 333}) {
      if (c.hidden == 2048 && tokens == 333)
        continue;
      std::vector<float> x = randomValues(random, tokens * c.hidden);
      std::vector<float> w = randomValues(random, c.experts * c.hidden, 0.1f);
      std::vector<float> bias = randomValues(random, c.experts);
      // Products that are no numbers, overflow, or round to -0.
      for (size_t i = 7; i < x.size(); i += 5 * c.hidden + 3)
        x[i] = i % 4 == 0   ? kNaN
               : i % 4 == 1 ? kInf
               : i % 4 == 2 ? 1e-38f
                            : -0.0f;
      if (tokens > 1)
        for (int64_t h = 0; h < c.hidden; ++h)
          x[c.hidden + h] = 1e-30f * (h % 2 ? -1 : 1);
      for (int64_t h = 0; h < c.hidden; ++h)
        w[h] = h % 2 ? 1e-30f : -1e-30f;
      std::vector<uint16_t> x16 = roundToBf16(x), w16 = roundToBf16(w);
      if (c.bf16) {
        x = fromBf16(x16);
        w = fromBf16(w16);
      }
      std::vector<float> expected;
      for (int64_t t = 0; t < tokens; ++t)
        for (int64_t e = 0; e < c.experts; ++e) {
          float l =
              sixteenLaneDot(&x[t * c.hidden], &w[e * c.hidden], c.hidden);
          if (c.bias)
            l = l + bias[e];
          if (c.round)
            l = fromBf16(roundToBf16(l));
          expected.push_back(l);
        }
      forEveryWay(*kernels, c.name(), [&](int level, int workers, bool back) {
        SCOPED_TRACE(std::to_string(tokens) + " tokens");
        Buffer<float> out(expected.size());
        int status =
            c.bf16 ? kernels->run(c.name(), level, workers,
                                  {Buffer<uint16_t>(x16), Buffer<uint16_t>(w16),
                                   Buffer<float>(bias), out, tokens},
                                  back)
                   : kernels->run(c.name(), level, workers,
                                  {Buffer<float>(x), Buffer<float>(w),
                                   Buffer<float>(bias), out, tokens},
                                  back);
        EXPECT_EQ(status, 0);
        expectSameBits(out.values(), expected);
      });
    }
}

static Policy softmaxPolicy(int64_t k, bool normalize = false) {
  Policy p;
  p.topK = k;
  p.normalize = normalize;
  return p;
}

static std::vector<TopkCase> topkCases() {
  std::vector<TopkCase> cases;
  cases.push_back(
      {"five", 5, "<top_k = 3, normalize>", softmaxPolicy(3, true)});
  cases.push_back({"one", 1, "<top_k = 1>", softmaxPolicy(1)});
  cases.push_back({"all", 17, "<top_k = 17>", softmaxPolicy(17)});
  cases.push_back({"olmoe", 64, "<top_k = 8>", softmaxPolicy(8)});
  cases.push_back(
      {"many", 512, "<top_k = 33, normalize>", softmaxPolicy(33, true)});
  Policy deepseek;
  deepseek.score = Score::Sigmoid;
  deepseek.groups = 8;
  deepseek.keepGroups = 4;
  deepseek.filter = Filter::Top2Sum;
  deepseek.topK = 8;
  deepseek.normalize = true;
  deepseek.epsilon = 1e-20f;
  deepseek.scale = 2.5f;
  cases.push_back({"deepseek", 256,
                   "<score = sigmoid, groups = 8 keep 4 by top2_sum, top_k = "
                   "8, normalize epsilon 1.0e-20, scale = 2.5>",
                   deepseek, true});
  Policy groupMax;
  groupMax.groups = 4;
  groupMax.keepGroups = 3;
  groupMax.filter = Filter::Max;
  groupMax.topK = 5;
  groupMax.roundWeights = Narrow::BF16;
  cases.push_back(
      {"group_max", 12,
       "<groups = 4 keep 3 by max, top_k = 5, round_weights = bf16>",
       groupMax});
  Policy manyGroups;
  manyGroups.score = Score::None;
  manyGroups.groups = 20;
  manyGroups.keepGroups = 19;
  manyGroups.filter = Filter::Top2Sum;
  manyGroups.topK = 7;
  cases.push_back({"many_groups", 60,
                   "<score = none, groups = 20 keep 19 by top2_sum, top_k = 7>",
                   manyGroups, true});
  Policy ofLogits;
  ofLogits.score = Score::None;
  ofLogits.topK = 4;
  ofLogits.weights = WeightsFrom::Softmax;
  cases.push_back({"of_logits", 32,
                   "<score = none, top_k = 4, weights = softmax>", ofLogits});
  ofLogits.topK = 20;
  ofLogits.score = Score::Softmax;
  ofLogits.scale = 0.3f;
  cases.push_back({"of_logits_20", 40,
                   "<top_k = 20, weights = softmax, scale = 0.3>", ofLogits});
  return cases;
}

/// Rows of logits that are random, rounded so that they tie, or not finite.
static std::vector<float> hardLogits(Random &random, int64_t tokens,
                                     int64_t experts) {
  std::vector<float> logits = randomValues(random, tokens * experts, 3.0f);
  const float strange[] = {kNaN,  -kNaN, kInf,   -kInf, 0.0f,
                           -0.0f, 88.8f, -87.4f, 1e-40f};
  for (int64_t t = 0; t < tokens; ++t) {
    float *row = &logits[t * experts];
    for (int64_t e = 0; e < experts; ++e) {
      if (t % 8 == 1) // Many ties.
        row[e] = std::round(row[e]);
      else if (t % 8 == 2) // Nothing but ties.
        row[e] = 0.25f;
      else if (t % 8 == 3 && e % 3 == t % 3) // Some are strange.
        row[e] = strange[random() % 9];
      else if (t % 8 == 4) // All are strange.
        row[e] = strange[(e + t) % 9];
      else if (t % 8 == 5) // Nothing but NaN, or -infinity.
        row[e] = t % 16 == 5 ? kNaN : -kInf;
      else if (t % 8 == 6) // Zeros of both signs.
        row[e] = random() % 2 ? 0.0f : -0.0f;
    }
  }
  return logits;
}

TEST(SelectTopk, PoliciesBitForBit) {
  std::vector<TopkCase> cases = topkCases();
  std::unique_ptr<Kernels> kernels = compileAll(cases);
  ASSERT_TRUE(kernels);
  Random random(2);
  for (const TopkCase &c : cases)
    for (int64_t tokens : {0, 1, 2, 17, 333}) {
      std::vector<float> logits = hardLogits(random, tokens, c.experts);
      std::vector<float> bias = randomValues(random, c.experts, 0.5f);
      if (tokens == 17) // Equal keys, not equal scores.
        for (int64_t e = 0; e < c.experts; ++e)
          bias[e] = e % 2 ? 0.0f : -0.0f;
      std::vector<int32_t> ids;
      std::vector<float> weights;
      for (int64_t t = 0; t < tokens; ++t) {
        std::vector<float> row(logits.begin() + t * c.experts,
                               logits.begin() + (t + 1) * c.experts);
        for (Pair pair :
             route(row, c.bias ? bias.data() : nullptr, c.expected)) {
          ids.push_back(pair.id);
          weights.push_back(pair.weight);
        }
      }
      forEveryWay(*kernels, c.name, [&](int level, int workers, bool back) {
        SCOPED_TRACE(std::to_string(tokens) + " tokens");
        Buffer<int32_t> actualIds(ids.size());
        Buffer<float> actualWeights(weights.size());
        EXPECT_EQ(kernels->run(c.name, level, workers,
                               {Buffer<float>(logits), Buffer<float>(bias),
                                actualIds, actualWeights, tokens},
                               back),
                  0);
        ASSERT_EQ(actualIds.values(), ids);
        expectSameBits(actualWeights.values(), weights);
      });
    }
}

/// Sigmoid scores of all experts, in order: the documented exp and division on
/// numbers from the whole range of f32.
TEST(SelectTopk, ExpOverTheWholeRange) {
  Policy policy;
  policy.score = Score::Sigmoid;
  policy.topK = 16;
  std::vector<TopkCase> cases = {
      {"sweep", 16, "<score = sigmoid, top_k = 16>", policy}};
  std::unique_ptr<Kernels> kernels = compileAll(cases);
  ASSERT_TRUE(kernels);
  std::vector<float> logits, expected;
  for (uint64_t bits = 0; bits < (uint64_t(1) << 32); bits += 8209) {
    uint32_t narrow = bits;
    float value;
    std::memcpy(&value, &narrow, sizeof(value));
    logits.push_back(value);
  }
  // Where exp overflows, vanishes, and rounds to the next power of two.
  for (float center : {88.72283f, -87.33654f, 0.34657359f})
    for (int i = -1000; i <= 1000; ++i)
      logits.push_back(-(center + i * 1e-7f * center));
  while (logits.size() % 16)
    logits.push_back(1.0f);
  for (float value : logits)
    expected.push_back(1.0f / (1.0f + specifiedExp(-value)));
  int64_t tokens = logits.size() / 16;
  for (int level : kernels->levelsOf("sweep")) {
    SCOPED_TRACE(levelName(level));
    Buffer<int32_t> ids(logits.size());
    Buffer<float> weights(logits.size());
    EXPECT_EQ(kernels->run("sweep", level, 1,
                           {Buffer<float>(logits),
                            Buffer<float>(std::vector<float>(16)), ids, weights,
                            tokens}),
              0);
    expectSameBits(weights.values(), expected);
  }
}
