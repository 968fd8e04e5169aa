//===- PolicyTest.cpp - Which routing policies are legal ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DialectTest.h"

#include "mlir/AsmParser/AsmParser.h"
#include "llvm/ADT/bit.h"
#include "llvm/Support/raw_ostream.h"

#include <cmath>
#include <map>
#include <random>

using namespace mlir;
using namespace mlir::moe;

namespace {

struct PolicyTest : moe_test::DialectTest {
  /// Null, with `diagnostics` set, for an illegal policy.
  PolicyAttr make(const Policy &policy) {
    return PolicyAttr::getChecked(
        [&] { return emitError(UnknownLoc::get(&context)); }, &context, policy);
  }

  PolicyAttr withScale(float scale) {
    Policy policy;
    policy.topK = 2;
    policy.scale = scale;
    return make(policy);
  }

  /// The attribute printed and parsed again.
  Attribute reparse(Attribute attr) {
    std::string text;
    llvm::raw_string_ostream(text) << attr;
    Attribute again = parseAttribute(text, &context);
    EXPECT_TRUE(again) << text << "\n" << diagnostics;
    return again;
  }

  /// One of the capacities, or none.
  Attribute someCapacity(std::mt19937 &random) {
    const char *texts[] = {"factor 1.25", "slots 7", "tokens 0.5 every 64",
                           "factor 2.0 floor min 4 multiple 8 every 1024"};
    unsigned i = random() % 8;
    if (i >= std::size(texts))
      return {};
    return parseAttribute("#moe.capacity<" + std::string(texts[i]) + ">",
                          &context);
  }

  Policy somePolicy(std::mt19937 &random);
};

bool isNarrow(Type type) { return type.isBF16() || type.isF16(); }

/// The constraint that a policy breaks first, or "" for a legal one: written
/// anew from the attribute's description.
std::string expectedError(const Policy &p) {
  bool hasGroups = p.groupFilter != GroupFilter::None;
  bool normalizesAll = p.normalize && !p.afterDrop;
  bool sigmoids = p.score == Score::Sigmoid || p.score == Score::SqrtSoftplus;
  if (p.topK < 1)
    return "C1";
  if (hasGroups ? !(1 <= p.keepGroups && p.keepGroups < p.groups)
                : p.groups != 1 || p.keepGroups != 1)
    return "C2";
  if (p.weightSource == WeightSource::Softmax && (sigmoids || normalizesAll))
    return "C3";
  if (p.weightSource == WeightSource::Constant &&
      (normalizesAll || p.keep != Keep::All))
    return "C3";
  if (p.weightSource == WeightSource::Sparsemixer &&
      (p.score != Score::None || hasGroups || p.prefers))
    return "C3";
  if (!std::isfinite(p.scale) || p.scale == 0 || !std::isfinite(p.epsilon) ||
      p.epsilon < 0 || (p.atLeast && p.epsilon == 0))
    return "C4";
  // What belongs to `normalize` needs it.
  if (!p.normalize && (p.epsilon != 0 || p.atLeast || p.norm || p.afterDrop))
    return "C4";
  if (p.norm < 0 || p.norm > 8)
    return "C4";
  if ((p.roundWeights && !isNarrow(p.roundWeights)) ||
      (p.roundScores && !isNarrow(p.roundScores)))
    return "C5";
  if (p.afterDrop && p.keep == Keep::All && !p.capacityAttr)
    return "C6";
  if (p.biasAfterFirst && (p.topK < 2 || hasGroups || p.prefers))
    return "C7";
  if (p.keep != Keep::All &&
      (!std::isfinite(p.keepBound) || p.keepBound <= 0 || p.topK < 2))
    return "C8";
  if (!std::isfinite(p.prefer) || p.prefer < 0 || !std::isfinite(p.jitter) ||
      p.jitter < 0 || p.preferBeyond < 0 || p.preferBeyond > p.topK)
    return "C8";
  if (p.nullExperts < 0)
    return "C9";
  return "";
}

template <typename T>
T oneOf(std::mt19937 &random, std::initializer_list<T> values) {
  return values.begin()[random() % values.size()];
}

/// Every clause is there or not, and now and then wrong.
Policy PolicyTest::somePolicy(std::mt19937 &random) {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  auto rarely = [&] { return random() % 5 == 0; };
  auto badly = [&] { return random() % 40 == 0; };
  Builder b(&context);
  Policy p;
  p.topK = badly() ? oneOf<int64_t>(random, {-1, 0})
                   : oneOf<int64_t>(random, {1, 2, 8});
  p.score = oneOf(random, {Score::None, Score::Softmax, Score::Sigmoid,
                           Score::SqrtSoftplus});
  auto type = [&]() -> Type {
    if (badly())
      return b.getF32Type();
    return oneOf(random,
                 {Type(), Type(), Type(b.getBF16Type()), Type(b.getF16Type())});
  };
  p.roundScores = type();
  p.roundWeights = type();
  p.biasAfterFirst = rarely();
  if (rarely()) {
    p.groups = oneOf<int64_t>(random, {1, 4, 4, 8, 0});
    p.keepGroups = oneOf<int64_t>(random, {1, 2, 4, 0});
    p.groupFilter =
        oneOf(random, {GroupFilter::Max, GroupFilter::Top2Sum,
                       badly() ? GroupFilter::None : GroupFilter::Max});
  }
  if (rarely()) {
    p.prefers = true;
    p.prefer = oneOf(random, {0.0f, 0.25f, 3.0f, badly() ? -1.0f : 0.5f});
    p.preferBeyond = oneOf<int64_t>(random, {0, 1, badly() ? 9 : 1});
  }
  if (rarely())
    p.nullExperts = badly() ? -1 : 3;
  p.weightSource =
      oneOf(random,
            {WeightSource::Scores, WeightSource::Softmax, WeightSource::Sigmoid,
             WeightSource::Sparsemixer, WeightSource::Constant});
  if (p.weightSource == WeightSource::Sparsemixer)
    p.jitter = oneOf(random, {0.0f, 0.01f, badly() ? nan : 0.1f});
  p.normalize = rarely();
  if (p.normalize || badly()) {
    p.norm = oneOf<int64_t>(random, {0, 1, 2, 8, badly() ? 9 : 3});
    p.epsilon = oneOf(random, {0.0f, 1e-20f, 0.5f, badly() ? -1e-6f : 0.0f,
                               badly() ? inf : 0.0f, badly() ? nan : 0.0f});
    p.atLeast = p.epsilon != 0 ? rarely() : badly();
    p.afterDrop = random() % 2;
  }
  p.scale = oneOf(random, {1.0f, 2.5f, -16.0f, badly() ? 0.0f : 1.0f,
                           badly() ? -inf : 1.0f, badly() ? nan : 1.0f});
  p.keep = oneOf(random, {Keep::All, Keep::All, Keep::All, Keep::Threshold,
                          Keep::TopP, Keep::Random});
  if (p.keep != Keep::All)
    p.keepBound = oneOf(
        random, {0.1f, 0.9f, badly() ? 0.0f : 2.0f, badly() ? inf : 2.0f});
  p.capacityAttr = someCapacity(random);
  if (p.capacityAttr)
    p.dropOrder = oneOf(random, {DropOrder::Choice, DropOrder::Position,
                                 DropOrder::Weight, DropOrder::Priority});
  return p;
}

} // namespace

// Policies are accepted or refused as their description says, with the label
// of the constraint that they break, and survive printing.
TEST_F(PolicyTest, RandomPolicies) {
  std::mt19937 random(20260301);
  std::map<std::string, int> refused;
  int accepted = 0;
  for (int i = 0; i < 60000; ++i) {
    Policy p = somePolicy(random);
    diagnostics.clear();
    std::string expected = expectedError(p);
    PolicyAttr policy = make(p);
    ASSERT_EQ(bool(policy), expected.empty()) << expected << diagnostics;
    if (policy) {
      ++accepted;
      ASSERT_EQ(policy, reparse(policy));
      continue;
    }
    ++refused[expected];
    ASSERT_EQ(diagnostics.substr(0, 2), expected) << diagnostics;
  }
  EXPECT_GT(accepted, 5000);
  // Every constraint was broken.
  EXPECT_EQ(refused.size(), 9u);
}

// The bound on the slots of all experts holds for every number of tokens and
// is not far from the truth.
TEST_F(PolicyTest, CapacityBounds) {
  std::mt19937 random(20260302);
  for (int i = 0; i < 2000; ++i) {
    int64_t experts = 1 + random() % 16, k = 1 + random() % experts;
    auto kind = oneOf(random, {CapacityKind::Factor, CapacityKind::Tokens,
                               CapacityKind::Slots});
    bool exact = kind == CapacityKind::Slots;
    float factor = exact ? 0 : 0.01f * (1 + random() % 400);
    int64_t slots = exact ? 1 + random() % 9 : 0;
    bool down = !exact && random() % 2;
    int64_t minimum = exact ? 1 : 1 + random() % 4;
    int64_t multiple = exact ? 1 : 1 + random() % 8;
    int64_t every = random() % 3 ? 0 : 1 + random() % 20;
    auto capacity = CapacityAttr::get(&context, kind, APFloat(double(factor)),
                                      slots, down, minimum, multiple, every);
    auto [rows, extra] = capacity.getRowBound(k, experts);
    for (int64_t tokens : {0, 1, 2, 7, 31, 100, 1000}) {
      int64_t taken = 0, group = every ? every : std::max<int64_t>(tokens, 1);
      for (int64_t first = 0; first < tokens; first += group) {
        int64_t s = std::min(group, tokens - first);
        double c = kind == CapacityKind::Factor
                       ? double(s) * double(k) * double(factor) / experts
                   : kind == CapacityKind::Tokens ? double(s) * double(factor)
                                                  : double(slots);
        c = std::min(down ? std::floor(c) : std::ceil(c), double(s));
        int64_t each = std::max<int64_t>(int64_t(c), minimum);
        each = (each + multiple - 1) / multiple * multiple;
        taken += experts * std::min(each, s);
      }
      ASSERT_LE(taken, rows * tokens + extra)
          << experts << " experts, " << tokens << " tokens";
    }
    // Never more than every token at every expert.
    ASSERT_LE(rows, experts);
    ASSERT_LE(extra, experts * (1 + std::max(slots, minimum) + multiple));
  }
}

// Scales are f32 and keep their bits through text, whatever the bits.
TEST_F(PolicyTest, ScalesKeepTheirBits) {
  std::mt19937 random(20260101);
  for (int i = 0; i < 5000; ++i) {
    float scale = llvm::bit_cast<float>(static_cast<uint32_t>(random()));
    if (!std::isfinite(scale) || scale == 0)
      continue;
    PolicyAttr policy = withScale(scale);
    ASSERT_TRUE(policy);
    auto again = dyn_cast_or_null<PolicyAttr>(reparse(policy));
    ASSERT_TRUE(again);
    ASSERT_EQ(llvm::bit_cast<uint32_t>(again.getScale()),
              llvm::bit_cast<uint32_t>(scale));
  }
}

// Numbers that models use look as people write them.
TEST_F(PolicyTest, ScalesReadWell) {
  for (auto [scale, text] :
       std::initializer_list<std::pair<float, const char *>>{
           {2.5f, "scale = 2.5"},
           {16.0f, "scale = 16.0"},
           {0.1f, "scale = 0.1"},
           {1.0f / 3, "scale = 0.333333343"}}) {
    std::string printed;
    llvm::raw_string_ostream(printed) << withScale(scale);
    EXPECT_NE(printed.find(std::string(text) + ">"), std::string::npos)
        << printed;
  }
}
