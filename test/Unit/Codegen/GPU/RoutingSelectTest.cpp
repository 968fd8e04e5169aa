//===- RoutingSelectTest.cpp - Logits and selection on GPUs ---------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Bit for bit what docs/Numerics.md says, under every schedule.
//
//===----------------------------------------------------------------------===//

#include "../RouterNumerics.h"
#include "GpuHarness.h"

#include "llvm/ADT/APFloat.h"

#include "gtest/gtest.h"

#include <cmath>
#include <limits>

using namespace moe_test;

static constexpr float kInf = std::numeric_limits<float>::infinity();
static const float kNaN = std::numeric_limits<float>::quiet_NaN();

namespace {
struct LogitsCase {
  int64_t experts, hidden;
  std::string type;
  bool bias, round;

  std::string rounding() const { return type == "f16" ? "f16" : "bf16"; }
  std::string name() const {
    return "logits_" + std::to_string(experts) + "_" + std::to_string(hidden) +
           "_" + type + (bias ? "_bias" : "") + (round ? "_round" : "");
  }
  std::string kernel() const {
    std::string buffer = "memref<?x" + type + ">";
    return "plan.kernel @" + name() + "(%x: " + buffer + ", %w: " + buffer +
           ", %b: memref<?xf32>, %o: memref<?xf32>, %n: index) on cuda {\n"
           "  moe.kernel.router_logits ins(%x, %w" +
           (bias ? ", %b" : "") + " : " + buffer + ", " + buffer +
           (bias ? ", memref<?xf32>" : "") +
           ") outs(%o : memref<?xf32>) tokens(%n) {experts = " +
           std::to_string(experts) +
           " : i64, hidden = " + std::to_string(hidden) + " : i64" +
           (round ? ", round = " + rounding() : "") + "}\n}\n";
  }
};

struct TopkCase {
  std::string name;
  int64_t experts;
  /// What the policy looks like in the dialect.
  std::string policy;
  Policy expected;
  bool bias = false;
  bool biasPerToken = false;

  std::string kernel() const {
    std::string b = bias ? ", %b" : "", t = bias ? ", memref<?xf32>" : "";
    return "plan.kernel @" + name +
           "(%l: memref<?xf32>, %b: memref<?xf32>, %i: memref<?xi32>, "
           "%w: memref<?xf32>, %n: index) on cuda {\n"
           "  moe.kernel.select_topk ins(%l" +
           b + " : memref<?xf32>" + t +
           ") outs(%i, %w : memref<?xi32>, memref<?xf32>) tokens(%n) {experts "
           "= " +
           std::to_string(experts) + " : i64, policy = #moe.policy" + policy +
           (biasPerToken ? ", bias_per_token" : "") + "}\n}\n";
  }
};
} // namespace

template <typename CaseT>
static std::unique_ptr<GpuKernels> compileAll(const std::vector<CaseT> &cases) {
  std::string source, diagnostics;
  for (const CaseT &c : cases)
    source += c.kernel();
  std::unique_ptr<GpuKernels> kernels =
      GpuKernels::compile(source, diagnostics);
  EXPECT_TRUE(kernels) << diagnostics;
  return kernels;
}

/// Bits of f32 values rounded to bf16 or f16, and back.
static std::vector<uint16_t> narrow(const std::vector<float> &values,
                                    const std::string &type) {
  if (type == "bf16")
    return roundToBf16(values);
  std::vector<uint16_t> bits;
  for (float value : values) {
    llvm::APFloat number(value);
    bool losesInfo;
    number.convert(llvm::APFloat::IEEEhalf(),
                   llvm::APFloat::rmNearestTiesToEven, &losesInfo);
    bits.push_back(number.bitcastToAPInt().getZExtValue());
  }
  return bits;
}

static std::vector<float> widen(const std::vector<uint16_t> &bits,
                                const std::string &type) {
  if (type == "bf16")
    return fromBf16(bits);
  std::vector<float> values;
  for (uint16_t word : bits) {
    llvm::APFloat number(llvm::APFloat::IEEEhalf(), llvm::APInt(16, word));
    bool losesInfo;
    number.convert(llvm::APFloat::IEEEsingle(),
                   llvm::APFloat::rmNearestTiesToEven, &losesInfo);
    values.push_back(number.convertToFloat());
  }
  return values;
}

TEST(GpuRouterLogits, SixteenLaneSums) {
  std::vector<LogitsCase> cases = {
      {5, 40, "f32", false, false},  {5, 40, "bf16", true, true},
      {1, 1, "f32", false, false},   {3, 17, "f32", true, false},
      {8, 16, "bf16", false, true},  {64, 528, "bf16", false, false},
      {7, 527, "f32", false, false}, {12, 31, "bf16", true, false},
      {9, 333, "bf16", true, false}, {6, 100, "f16", true, true}};
  std::unique_ptr<GpuKernels> kernels = compileAll(cases);
  ASSERT_TRUE(kernels);
  Random random(1);
  for (const LogitsCase &c : cases)
    for (int64_t tokens : {0, 1, 2, 17, 333}) {
      bool isNarrow = c.type != "f32";
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
      std::vector<uint16_t> x16 = narrow(x, c.type), w16 = narrow(w, c.type);
      if (isNarrow) {
        x = widen(x16, c.type);
        w = widen(w16, c.type);
      }
      std::vector<float> expected;
      for (int64_t t = 0; t < tokens; ++t)
        for (int64_t e = 0; e < c.experts; ++e) {
          float l =
              sixteenLaneDot(&x[t * c.hidden], &w[e * c.hidden], c.hidden);
          if (c.bias)
            l = l + bias[e];
          if (c.round)
            l = widen(narrow({l}, c.rounding()), c.rounding())[0];
          expected.push_back(l);
        }
      for (const Way &way : allWays()) {
        if (tokens > 100 && way.blocks != 3)
          continue;
        SCOPED_TRACE(c.name() + ", tokens " + std::to_string(tokens) + ", " +
                     way.name());
        auto out = output<float>(expected.size(), 1);
        std::vector<GpuArg> args = {isNarrow ? input(x16, 1) : input(x, 1),
                                    isNarrow ? input(w16) : input(w),
                                    input(bias), out, tokens};
        EXPECT_EQ(kernels->run(c.name(), way, args), 0);
        expectSameBits(valuesOf<float>(out), expected);
      }
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
  // More than registers hold.
  cases.push_back(
      {"more", 600, "<top_k = 9, normalize>", softmaxPolicy(9, true)});
  cases.push_back({"two", 2, "<top_k = 1>", softmaxPolicy(1)});
  cases.push_back({"seven", 7, "<top_k = 2>", softmaxPolicy(2)});
  cases.push_back(
      {"mixtral", 8, "<top_k = 2, normalize>", softmaxPolicy(2, true)});
  cases.push_back({"sixteen", 16, "<top_k = 4>", softmaxPolicy(4), true});
  cases.push_back(
      {"qwen", 128, "<top_k = 8, normalize>", softmaxPolicy(8, true)});
  cases.push_back({"odd", 300, "<top_k = 6>", softmaxPolicy(6), true});
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

/// What further families do.
static std::vector<TopkCase> moreCases() {
  std::vector<TopkCase> cases;
  auto add = [&](std::string name, int64_t experts, const Policy &policy,
                 bool bias = false) {
    cases.push_back({std::move(name), experts, policy.text(), policy, bias});
  };
  Policy softplus;
  softplus.score = Score::SqrtSoftplus;
  softplus.topK = 6;
  softplus.normalize = true;
  softplus.scale = 1.5f;
  add("softplus", 64, softplus, true);
  softplus.roundScores = Narrow::BF16;
  softplus.topK = 40;
  add("softplus_rounded", 77, softplus);
  Policy sigmoid;
  sigmoid.score = Score::None;
  sigmoid.weights = WeightsFrom::Sigmoid;
  sigmoid.topK = 1;
  add("llama4", 16, sigmoid);
  sigmoid.topK = 3;
  sigmoid.roundScores = Narrow::F16;
  sigmoid.roundWeights = Narrow::F16;
  add("sigmoid3", 33, sigmoid);
  Policy constant;
  constant.weights = WeightsFrom::Constant;
  constant.topK = 4;
  constant.scale = 0.25f;
  add("constant", 20, constant, true);
  for (int64_t norm : {1, 2, 3, 4}) {
    Policy p = softmaxPolicy(5, true);
    p.score = norm % 2 ? Score::None : Score::Softmax;
    p.norm = norm;
    add("norm" + std::to_string(norm), 40, p);
    p.atLeast = true;
    p.epsilon = 0.5f;
    add("norm_least" + std::to_string(norm), 40, p);
  }
  for (Keep keep : {Keep::Threshold, Keep::TopP})
    for (int64_t nulls : {0, 5})
      for (bool after : {false, true}) {
        Policy p = softmaxPolicy(nulls ? 3 : 35, true);
        p.keep = keep;
        p.keepBound = keep == Keep::Threshold ? 0.02f : 0.7f;
        p.nullExperts = nulls;
        p.afterDrop = after;
        p.scale = -2.0f;
        add("keep_" + std::to_string(int(keep)) + std::to_string(nulls) +
                (after ? "_after" : ""),
            nulls ? 12 : 60, p);
      }
  Policy nulls = softmaxPolicy(4, true);
  nulls.nullExperts = 8;
  add("nulls", 16, nulls, true);
  Policy large = softmaxPolicy(520, true);
  large.keep = Keep::TopP;
  large.keepBound = 0.9f;
  add("large", 600, large);
  return cases;
}

static void expectPolicies(const std::vector<TopkCase> &cases,
                           const std::vector<int64_t> &sizes) {
  std::unique_ptr<GpuKernels> kernels = compileAll(cases);
  ASSERT_TRUE(kernels);
  Random random(2);
  for (const TopkCase &c : cases)
    for (int64_t tokens : sizes) {
      std::vector<float> logits = hardLogits(random, tokens, c.experts);
      int64_t biasRows = c.biasPerToken ? tokens : 1;
      std::vector<float> bias =
          randomValues(random, biasRows * c.experts, 0.5f);
      if (tokens == 17 && !c.biasPerToken) // Equal keys, not equal scores.
        for (int64_t e = 0; e < c.experts; ++e)
          bias[e] = e % 2 ? 0.0f : -0.0f;
      std::vector<int32_t> ids;
      std::vector<float> weights;
      for (int64_t t = 0; t < tokens; ++t) {
        std::vector<float> row(logits.begin() + t * c.experts,
                               logits.begin() + (t + 1) * c.experts);
        const float *own = bias.data() + (c.biasPerToken ? t * c.experts : 0);
        for (Pair pair : route(row, c.bias ? own : nullptr, c.expected)) {
          ids.push_back(pair.id);
          weights.push_back(pair.weight);
        }
      }
      for (const Way &way : allWays()) {
        if (tokens > 100 && way.blocks != 5)
          continue;
        SCOPED_TRACE(c.name + ", tokens " + std::to_string(tokens) + ", " +
                     way.name());
        auto actualIds = output<int32_t>(ids.size());
        auto actualWeights = output<float>(weights.size());
        EXPECT_EQ(kernels->run(c.name, way,
                               {input(logits), input(bias), actualIds,
                                actualWeights, tokens}),
                  0);
        ASSERT_EQ(valuesOf<int32_t>(actualIds), ids);
        expectSameBits(valuesOf<float>(actualWeights), weights);
      }
    }
}

TEST(GpuSelectTopk, PoliciesBitForBit) {
  expectPolicies(topkCases(), {0, 1, 2, 17, 333});
}

TEST(GpuSelectTopk, FurtherClausesBitForBit) {
  expectPolicies(moreCases(), {0, 1, 17});
}

TEST(GpuSelectTopk, BiasOfEachToken) {
  TopkCase c = {"own_bias", 33, "<top_k = 4>", softmaxPolicy(4), true, true};
  expectPolicies({c}, {0, 1, 17});
}

/// So many pairs that they do not fit registers either.
TEST(GpuSelectTopk, ManyPairs) {
  Policy policy = softmaxPolicy(520, true);
  policy.groups = 40;
  policy.keepGroups = 38;
  policy.filter = Filter::Top2Sum;
  expectPolicies(
      {{"many_pairs", 600,
        "<groups = 40 keep 38 by top2_sum, top_k = 520, normalize>", policy}},
      {3});
}

/// Sigmoid scores of all experts, in order: the documented exp and division on
/// numbers from the whole range of f32.
TEST(GpuSelectTopk, ExpOverTheWholeRange) {
  Policy policy;
  policy.score = Score::Sigmoid;
  policy.topK = 32;
  std::vector<TopkCase> cases = {
      {"sweep", 32, "<score = sigmoid, top_k = 32>", policy}};
  std::unique_ptr<GpuKernels> kernels = compileAll(cases);
  ASSERT_TRUE(kernels);
  std::vector<float> logits, expected;
  for (uint64_t bits = 0; bits < (uint64_t(1) << 32); bits += 350003) {
    uint32_t narrow = bits;
    float value;
    std::memcpy(&value, &narrow, sizeof(value));
    logits.push_back(value);
  }
  // Where exp overflows, vanishes, and rounds to the next power of two.
  for (float center : {88.72283f, -87.33654f, 0.34657359f})
    for (int i = -500; i <= 500; ++i)
      logits.push_back(-(center + i * 2e-7f * center));
  while (logits.size() % 32)
    logits.push_back(1.0f);
  for (float value : logits)
    expected.push_back(1.0f / (1.0f + specifiedExp(-value)));
  int64_t tokens = logits.size() / 32;
  auto ids = output<int32_t>(logits.size());
  auto weights = output<float>(logits.size());
  EXPECT_EQ(kernels->run("sweep", allWays()[0],
                         {input(logits), input(std::vector<float>(32)), ids,
                          weights, tokens}),
            0);
  expectSameBits(valuesOf<float>(weights), expected);
}
