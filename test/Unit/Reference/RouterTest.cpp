//===- RouterTest.cpp - The specified functions of the router -----------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Reference/Router.h"
#include "moe/Reference/Tensor.h"

#include "mlir/IR/BuiltinTypes.h"
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

TEST(RouterLog, IsWithinOneUnitInTheLastPlace) {
  double worst = 0;
  auto check = [&](float x) {
    float found = routerLog(x);
    double exact = std::log(static_cast<double>(x));
    if (exact == 0) {
      EXPECT_EQ(toBits(found), 0u);
      return;
    }
    double unit = std::ldexp(1.0, std::ilogb(exact) - 23);
    worst = std::max(worst, std::fabs(found - exact) / unit);
  };
  // Every exponent, subnormals included, and the neighbourhood of 1.
  for (uint32_t bits = 1; bits < 0x7f800000; bits += 4099)
    check(fromBits(bits));
  for (uint32_t bits = 0x3f700000; bits < 0x3f900000; bits += 3)
    check(fromBits(bits));
  EXPECT_LE(worst, 0.83);
  EXPECT_GT(worst, 0.0);
}

TEST(RouterLog, TreatsTheEndsAsSpecified) {
  float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(routerLog(0.0f), -infinity);
  EXPECT_EQ(routerLog(-0.0f), -infinity);
  EXPECT_EQ(routerLog(infinity), infinity);
  EXPECT_TRUE(std::isnan(routerLog(NAN)));
  EXPECT_TRUE(std::isnan(routerLog(-1.0f)));
  EXPECT_TRUE(std::isnan(routerLog(-infinity)));
  EXPECT_TRUE(std::isnan(routerLog(-0x1p-149f)));
  EXPECT_EQ(toBits(routerLog(1.0f)), 0u);
}

// Bits computed with another program from the same text.
TEST(RouterLog, GivesTheSpecifiedBits) {
  EXPECT_EQ(toBits(routerLog(2.0f)), 0x3f317218u);
  EXPECT_EQ(toBits(routerLog(0.5f)), 0xbf317218u);
  EXPECT_EQ(toBits(routerLog(10.5f)), 0x40167cefu);
  EXPECT_EQ(toBits(routerLog(0.707f)), 0xbeb185e2u);
  EXPECT_EQ(toBits(routerLog(1.41364f)), 0x3eb13cedu);
  EXPECT_EQ(toBits(routerLog(1e-40f)), 0xc2b834f2u);
  EXPECT_EQ(toBits(routerLog(3e38f)), 0x42b13196u);
  EXPECT_EQ(toBits(routerSoftplus(-3.5f)), 0x3cf3b725u);
  EXPECT_EQ(toBits(routerSoftplus(0.7f)), 0x3f8d3534u);
  EXPECT_EQ(toBits(routerSoftplus(5.0f)), 0x40a03703u);
}

TEST(RouterSoftplus, TreatsBothSides) {
  float infinity = std::numeric_limits<float>::infinity();
  for (float x : {-20.0f, -3.5f, -0.1f, 0.0f, 0.7f, 5.0f, 30.0f})
    EXPECT_NEAR(routerSoftplus(x), std::log1p(std::exp(double(x))),
                2e-7 * std::fmax(1.0, std::fabs(x)));
  EXPECT_EQ(routerSoftplus(100.0f), 100.0f);
  EXPECT_EQ(routerSoftplus(-infinity), 0.0f);
  EXPECT_EQ(routerSoftplus(infinity), infinity);
  EXPECT_TRUE(std::isnan(routerSoftplus(NAN)));
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

TEST(CosineDot, DividesByNormsOfAtLeastEpsilon) {
  // 3-4-5 and 6-8-10: all exact.
  std::vector<float> a = {3, 4}, b = {8, 6}, tiny = {0x1p-60f, 0},
                     zero = {0, 0};
  EXPECT_EQ(cosineDot(a, b, 1e-6f), 48.0f / 50.0f);
  EXPECT_EQ(cosineDot(a, b, 20), 48.0f / 400.0f);
  EXPECT_EQ(cosineDot(tiny, a, 1), 0x1p-60f * 3 / 5);
  EXPECT_TRUE(std::isnan(cosineDot(zero, a, 0)));
  EXPECT_EQ(cosineDot(zero, a, 1), 0.0f);
}

// Bits computed with another program from the same text.
TEST(RandomNumber, GivesTheSpecifiedBits) {
  auto bits = [](Distribution kind, uint64_t seed, uint64_t stream,
                 uint64_t row, uint64_t column, uint64_t columns) {
    return toBits(randomNumber(kind, seed, stream, row, column, columns));
  };
  Distribution uniform = Distribution::Uniform, normal = Distribution::Normal,
               gumbel = Distribution::Gumbel;
  EXPECT_EQ(bits(uniform, 1234567, 0, 0, 0, 8), 0x3eb33da0u);
  EXPECT_EQ(bits(uniform, 1234567, 3, 7, 2, 8), 0x3f1376cfu);
  EXPECT_EQ(bits(uniform, -1, 65535, 100000, 5, 16), 0x3f1f1fd8u);
  EXPECT_EQ(bits(gumbel, 1234567, 0, 0, 0, 8), 0xbd46436du);
  EXPECT_EQ(bits(gumbel, 1234567, 3, 7, 2, 8), 0x3f184e57u);
  EXPECT_EQ(bits(gumbel, -1, 65535, 100000, 5, 16), 0x3f3e4fecu);
  EXPECT_EQ(bits(normal, 1234567, 0, 0, 0, 8), 0xbec52c8eu);
  EXPECT_EQ(bits(normal, 1234567, 3, 7, 2, 8), 0x3e445a8au);
  EXPECT_EQ(bits(normal, -1, 65535, 100000, 5, 16), 0x3e9e8820u);
  // Both tails.
  EXPECT_EQ(bits(normal, 5, 0, 63, 0, 1), 0xc04f5fd4u);
  EXPECT_EQ(bits(normal, 5, 0, 117, 0, 1), 0x4057f0d0u);
}

TEST(RandomNumber, HasTheMomentsOfItsDistribution) {
  struct {
    Distribution kind;
    double mean, variance;
  } cases[] = {{Distribution::Uniform, 0.5, 1.0 / 12},
               {Distribution::Normal, 0, 1},
               {Distribution::Gumbel, 0.5772157, 1.6449341}};
  int count = 200000;
  for (auto [kind, mean, variance] : cases) {
    double sum = 0, squares = 0;
    for (int i = 0; i < count; ++i) {
      double x = randomNumber(kind, 42, 1, i, 0, 1);
      ASSERT_TRUE(std::isfinite(x));
      sum += x;
      squares += (x - mean) * (x - mean);
    }
    EXPECT_NEAR(sum / count, mean, 0.02);
    EXPECT_NEAR(squares / count, variance, 0.03 * variance);
  }
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
