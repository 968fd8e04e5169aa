//===- RandomTest.cpp - Random numbers, bit for bit -----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelHarness.h"
#include "Numerics.h"

#include "gtest/gtest.h"

#include <algorithm>
#include <cmath>

using namespace moe_test;

/// "Random numbers" of docs/Numerics.md, word by word.
static uint64_t specifiedHash(uint64_t seed, uint64_t stream, uint64_t place) {
  uint64_t c = (stream << 48) + place;
  uint64_t z = seed + 0x9E3779B97F4A7C15u * (1 + c);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

static float horner(std::initializer_list<double> coefficients, float x) {
  float r = float(*coefficients.begin());
  for (const double *c = coefficients.begin() + 1; c != coefficients.end(); ++c)
    r = std::fmaf(r, x, float(*c));
  return r;
}

static float specifiedNormal(float p) {
  auto a = {-3.969683028665376e+01, 2.209460984245205e+02,
            -2.759285104469687e+02, 1.383577518672690e+02,
            -3.066479806614716e+01, 2.506628277459239e+00};
  auto b = {-5.447609879822406e+01, 1.615858368580409e+02,
            -1.556989798598866e+02, 6.680131188771972e+01,
            -1.328068155288572e+01, 1.0};
  auto c = {-7.784894002430293e-03, -3.223964580411365e-01,
            -2.400758277161838e+00, -2.549732539343734e+00,
            4.374664141464968e+00,  2.938163982698783e+00};
  auto d = {7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00,
            3.754408661907416e+00, 1.0};
  if (p < 0.02425f) {
    float q = std::sqrt(-2.0f * specifiedLog(p));
    return horner(c, q) / horner(d, q);
  }
  if (p > 1.0f - 0.02425f) {
    float q = std::sqrt(-2.0f * specifiedLog(1.0f - p));
    return -horner(c, q) / horner(d, q);
  }
  float q = p - 0.5f;
  float r = q * q;
  return horner(a, r) * q / horner(b, r);
}

static float specifiedRandom(const std::string &distribution, uint64_t h) {
  if (distribution == "uniform")
    return float(h >> 40) * 0x1p-24f;
  float p = (float(h >> 41) + 0.5f) * 0x1p-23f;
  if (distribution == "normal")
    return specifiedNormal(p);
  return -specifiedLog(-specifiedLog(p));
}

static std::string randomKernel(const std::string &distribution,
                                int64_t columns, int64_t stream) {
  return "plan.kernel @" + distribution + "_" + std::to_string(columns) + "_" +
         std::to_string(stream) +
         "(%s: memref<1xi64>, %o: memref<?xf32>, %n: index) {\n"
         "  moe.kernel.random ins(%s : memref<1xi64>) outs(%o : memref<?xf32>) "
         "tokens(%n) {distribution = #moe<distribution " +
         distribution + ">, columns = " + std::to_string(columns) +
         " : i64, stream = " + std::to_string(stream) + " : i64}\n}\n";
}

TEST(Random, Numbers) {
  const std::pair<int64_t, int64_t> shapes[] = {
      {1, 0}, {2, 1}, {8, 65535}, {33, 7}};
  const char *distributions[] = {"uniform", "normal", "gumbel"};
  std::string source, diagnostics;
  for (auto [columns, stream] : shapes)
    for (const char *distribution : distributions)
      source += randomKernel(distribution, columns, stream);
  std::unique_ptr<Kernels> kernels = Kernels::compile(source, diagnostics);
  ASSERT_TRUE(kernels) << diagnostics;
  for (auto [columns, stream] : shapes)
    for (std::string distribution : distributions)
      for (int64_t tokens : {0, 1, 2, 17, 1000})
        for (int64_t seed : {int64_t(0), int64_t(-1), int64_t(20260304),
                             INT64_MIN, INT64_MAX}) {
          std::vector<float> expected;
          for (int64_t t = 0; t < tokens; ++t)
            for (int64_t j = 0; j < columns; ++j)
              expected.push_back(specifiedRandom(
                  distribution, specifiedHash(seed, stream, t * columns + j)));
          std::string name = distribution + "_" + std::to_string(columns) +
                             "_" + std::to_string(stream);
          forEveryWay(*kernels, name, [&](int level, int workers, bool back) {
            Buffer<float> out(expected.size());
            EXPECT_EQ(
                kernels->run(name, level, workers,
                             {Buffer<int64_t>(std::vector{seed}), out, tokens},
                             back),
                0);
            expectSameBits(out.values(), expected);
          });
        }
}

// The specification says what its names promise: mean, deviation and range.
TEST(Random, Distributions) {
  const int64_t count = 200000;
  struct Case {
    const char *name;
    double mean, variance, least, largest;
  } cases[] = {{"uniform", 0.5, 1.0 / 12, 0.0, 1.0},
               {"normal", 0.0, 1.0, -5.6, 5.6},
               {"gumbel", 0.5772, 1.6449, -2.9, 16.7}};
  for (const Case &c : cases) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < count; ++i) {
      float x = specifiedRandom(c.name, specifiedHash(42, 3, i));
      ASSERT_TRUE(x >= c.least && x <= c.largest) << c.name << " " << x;
      sum += x;
      squares += double(x) * x;
    }
    double mean = sum / count;
    EXPECT_NEAR(mean, c.mean, 0.01) << c.name;
    EXPECT_NEAR(squares / count - mean * mean, c.variance, 0.02) << c.name;
  }
}
