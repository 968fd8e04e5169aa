//===- RouterTest.cpp - The specified functions of the router -----------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Reference/Router.h"
#include "moe/Reference/Tensor.h"

#include "mlir/IR/MLIRContext.h"
#include "gtest/gtest.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::reference;

static float fromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

static uint32_t toBits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

TEST(RouterExp, IsWithinTwoUnitsInTheLastPlace) {
  double worst = 0;
  auto check = [&](float x) {
    float found = routerExp(x);
    double exact = std::exp(static_cast<double>(x));
    double unit = std::ldexp(1.0, std::ilogb(exact) - 23);
    worst = std::max(worst, std::fabs(found - exact) / unit);
  };
  for (int i = -87336; i <= 88722; ++i)
    check(i * 1e-3f);
  for (float x = 1e-30f; x < 1; x *= 1.01f) {
    check(x);
    check(-x);
  }
  std::mt19937 random(1);
  std::uniform_real_distribution<float> anywhere(-87.3f, 88.7f);
  for (int i = 0; i < 200000; ++i)
    check(anywhere(random));
  EXPECT_LE(worst, 2.0);
  EXPECT_GT(worst, 0.0);
}

TEST(RouterExp, IsMonotoneAtTheEndsOfItsRange) {
  float infinity = std::numeric_limits<float>::infinity();
  for (float end : {88.72283f, -87.33654f, 0.0f}) {
    float x = end;
    for (int i = 0; i < 2000; ++i)
      x = std::nextafter(x, -infinity);
    float last = routerExp(x);
    for (int i = 0; i < 4000; ++i) {
      x = std::nextafter(x, infinity);
      float next = routerExp(x);
      ASSERT_GE(next, last) << "at " << x;
      last = next;
    }
  }
}

TEST(RouterExp, TreatsTheEndsAsSpecified) {
  float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(routerExp(0.0f), 1.0f);
  EXPECT_EQ(routerExp(-0.0f), 1.0f);
  EXPECT_EQ(routerExp(infinity), infinity);
  EXPECT_EQ(toBits(routerExp(-infinity)), 0u);
  EXPECT_TRUE(std::isnan(routerExp(NAN)));
  EXPECT_TRUE(std::isfinite(routerExp(88.72283f)));
  EXPECT_EQ(routerExp(std::nextafter(88.72283f, infinity)), infinity);
  EXPECT_GT(routerExp(-87.33654f), 0.0f);
  EXPECT_EQ(toBits(routerExp(std::nextafter(-87.33654f, -infinity))), 0u);
  EXPECT_EQ(routerSigmoid(0.0f), 0.5f);
  EXPECT_EQ(routerSigmoid(100.0f), 1.0f);
  EXPECT_EQ(routerSigmoid(-100.0f), 0.0f);
}

// Bits computed with another program from the same text; a change of the
// order of operations or of a constant changes them.
TEST(RouterExp, GivesTheSpecifiedBits) {
  EXPECT_EQ(toBits(routerExp(1.0f)), 0x402df854u);
  EXPECT_EQ(toBits(routerExp(-1.0f)), 0x3ebc5ab2u);
  EXPECT_EQ(toBits(routerExp(10.5f)), 0x470ddb81u);
  EXPECT_EQ(toBits(routerExp(-33.3f)), 0x2778b2eau);
  EXPECT_EQ(toBits(routerExp(88.5f)), 0x7f4cdcc4u);
  EXPECT_EQ(toBits(routerSigmoid(0.7f)), 0x3f2b0e5au);
}

TEST(SixteenLaneSum, AddsLanesInHalves) {
  // 2^24 + 1 is no f32, so it matters which ones meet first.
  std::vector<float> a(16, 0.0f);
  a[0] = 0x1p24f;
  a[8] = 1; // Meets 2^24 first and is lost.
  a[1] = 1;
  EXPECT_EQ(sixteenLaneSum(a), 0x1p24f);
  a[8] = 0;
  a[9] = 1; // Meets the other one first.
  EXPECT_EQ(sixteenLaneSum(a), 0x1p24f + 2);
}

TEST(SixteenLaneSum, GivesElementSixteenToLaneZero) {
  std::vector<float> a(18, 0.0f);
  a[0] = 0x1p24f;
  a[16] = 1; // Lost in lane 0.
  a[1] = 1;
  a[17] = 1; // With a[1] in lane 1.
  EXPECT_EQ(sixteenLaneSum(a), 0x1p24f + 2);
  EXPECT_EQ(sixteenLaneSum({}), 0.0f);
}

TEST(SixteenLaneSum, FusesProductsOfADot) {
  // (1 + 2^-12)^2 = 1 + 2^-11 + 2^-24 needs more bits than f32 has.
  std::vector<float> a(17, 0.0f), b(17, 0.0f);
  a[0] = -1;
  b[0] = 1 + 0x1p-11f;
  a[16] = b[16] = 1 + 0x1p-12f;
  EXPECT_EQ(sixteenLaneDot(a, b), 0x1p-24f);
}

TEST(RoundToBF16, FollowsTheBits) {
  // Half way goes to even, just above goes up.
  EXPECT_EQ(toBits(roundToBF16(fromBits(0x3f808000))), 0x3f800000u);
  EXPECT_EQ(toBits(roundToBF16(fromBits(0x3f818000))), 0x3f820000u);
  EXPECT_EQ(toBits(roundToBF16(fromBits(0x3f808001))), 0x3f810000u);
  EXPECT_EQ(toBits(roundToBF16(fromBits(0xbf808001))), 0xbf810000u);
  // The largest f32 overflows; subnormals round like others.
  EXPECT_EQ(toBits(roundToBF16(fromBits(0x7f7fffff))), 0x7f800000u);
  EXPECT_EQ(toBits(roundToBF16(fromBits(0x00018000))), 0x00020000u);
  // NaNs stay NaNs, with sign and upper bits.
  EXPECT_EQ(toBits(roundToBF16(fromBits(0xff800001))), 0xffc00000u);
  EXPECT_EQ(toBits(roundToBF16(fromBits(0x7fa50000))), 0x7fe50000u);
}

TEST(RoundToType, AgreesWithTheBitsOfBF16) {
  MLIRContext context;
  Type bf16 = BFloat16Type::get(&context);
  std::mt19937 random(2);
  for (int i = 0; i < 1000000; ++i) {
    float x = fromBits(random());
    if (!std::isnan(x))
      ASSERT_EQ(toBits(roundToType(x, bf16)), toBits(roundToBF16(x))) << x;
  }
}

namespace {

class SelectExperts : public testing::Test {
protected:
  SelectExperts() { context.loadDialect<MoeDialect>(); }

  PolicyAttr policy(Score score, int64_t k, bool normalize = false,
                    float epsilon = 0, float scale = 1) {
    return PolicyAttr::get(&context, score, k, 1, 1, GroupFilter::None,
                           WeightSource::Scores, normalize, APFloat(epsilon),
                           APFloat(scale), Type());
  }
  PolicyAttr grouped(int64_t k, int64_t groups, int64_t keep,
                     GroupFilter filter) {
    return PolicyAttr::get(&context, Score::None, k, groups, keep, filter,
                           WeightSource::Scores, false, APFloat(0.0f),
                           APFloat(1.0f), Type());
  }
  using Ids = std::vector<int64_t>;
  MLIRContext context;
  float infinity = std::numeric_limits<float>::infinity();
};

} // namespace

TEST_F(SelectExperts, TakesTheLowestIndexOfEqualKeys) {
  float logits[] = {1, 2, 2, 2, 0};
  EXPECT_EQ(selectExperts(logits, {}, policy(Score::Softmax, 2)).ids,
            (Ids{1, 2}));
}

TEST_F(SelectExperts, NaNAndInfinityMakeAllScoresNaN) {
  for (float bad : {NAN, infinity}) {
    float logits[] = {1, bad, 3, 4};
    Selection found = selectExperts(logits, {}, policy(Score::Softmax, 2));
    EXPECT_EQ(found.ids, (Ids{0, 1}));
    EXPECT_TRUE(std::isnan(found.weights[0]) && std::isnan(found.weights[1]));
  }
}

TEST_F(SelectExperts, ANaNKeyCountsAsMinusInfinity) {
  float logits[] = {NAN, -infinity, -5, NAN};
  EXPECT_EQ(selectExperts(logits, {}, policy(Score::None, 3)).ids,
            (Ids{0, 1, 2}));
}

TEST_F(SelectExperts, BiasSelectsButDoesNotWeigh) {
  float logits[] = {3, 0, 0, 0}, bias[] = {-1, 0, 1, 1};
  Selection found = selectExperts(logits, bias, policy(Score::Sigmoid, 2));
  EXPECT_EQ(found.ids, (Ids{2, 3}));
  EXPECT_EQ(found.weights[0], 0.5f);
}

TEST_F(SelectExperts, GroupsFilterBeforeSelection) {
  // Groups of two: sums 9, 10, 8; maxima 9, 5, 8.
  float logits[] = {9, 0, 5, 5, 8, 0};
  EXPECT_EQ(
      selectExperts(logits, {}, grouped(2, 3, 1, GroupFilter::Top2Sum)).ids,
      (Ids{2, 3}));
  EXPECT_EQ(selectExperts(logits, {}, grouped(2, 3, 2, GroupFilter::Max)).ids,
            (Ids{0, 4}));
}

TEST_F(SelectExperts, ExpertsOfDroppedGroupsNeverCount) {
  // All keys negative: an expert of a dropped group must not look like 0.
  float logits[] = {-9, -8, -2, -3};
  EXPECT_EQ(selectExperts(logits, {}, grouped(2, 2, 1, GroupFilter::Max)).ids,
            (Ids{2, 3}));
}

TEST_F(SelectExperts, NormalisesWithEpsilonThenScales) {
  float logits[] = {1, 3};
  Selection found =
      selectExperts(logits, {}, policy(Score::None, 2, true, 4, 2));
  EXPECT_EQ(found.weights, (std::vector<float>{0.25f, 0.75f}));
}
