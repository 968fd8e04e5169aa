//===- RaggedGemmTest.cpp - The ragged GEMM, emulated ---------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "../Numerics.h"
#include "GpuHarness.h"

#include "gtest/gtest.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>

using namespace moe_test;

namespace {

enum class Element { BF16, F16, F32 };
enum class Activation { None, Product, Silu };

const char *nameOf(Element element) {
  const char *names[] = {"bf16", "f16", "f32"};
  return names[int(element)];
}

uint16_t roundToF16(float value) {
  _Float16 rounded = static_cast<_Float16>(value);
  uint16_t bits;
  std::memcpy(&bits, &rounded, 2);
  return bits;
}
float fromF16(uint16_t bits) {
  _Float16 value;
  std::memcpy(&value, &bits, 2);
  return value;
}

/// Rounds to an element type and back.
float roundTo(Element element, float value) {
  if (element == Element::BF16)
    return fromBf16(roundToBf16(value));
  return element == Element::F16 ? fromF16(roundToF16(value)) : value;
}

std::shared_ptr<DeviceBytes>
elements(Element element, const std::vector<float> &values, size_t offset = 0) {
  if (element == Element::F32)
    return input(values, offset);
  std::vector<uint16_t> bits(values.size());
  std::transform(values.begin(), values.end(), bits.begin(), [&](float value) {
    return element == Element::BF16 ? roundToBf16(value) : roundToF16(value);
  });
  return input(bits, offset);
}

std::vector<float> floats(Element element,
                          const std::shared_ptr<DeviceBytes> &bytes) {
  if (element == Element::F32)
    return valuesOf<float>(bytes);
  std::vector<float> values;
  for (uint16_t bits : valuesOf<uint16_t>(bytes))
    values.push_back(element == Element::BF16 ? fromBf16(bits) : fromF16(bits));
  return values;
}

struct Problem {
  Element element = Element::BF16;
  int64_t n = 1, k = 1, parts = 1;
  std::vector<int64_t> rows; // of each expert
  bool gathers = true;
  Activation activation = Activation::None;
  int64_t tileRows = 64;
  /// The bias of the first part is of the element type, a second one is f32.
  bool biased = false;

  int64_t experts() const { return rows.size(); }
  int64_t allRows() const {
    return std::accumulate(rows.begin(), rows.end(), int64_t(0));
  }

  std::string source() const {
    std::string type = nameOf(element), flat = "memref<?x" + type + ">";
    auto attr = [](const char *name, int64_t value) {
      return std::string(name) + " = " + std::to_string(value) + " : i64, ";
    };
    std::string text = "plan.kernel @gemm(%x: " + flat;
    if (gathers)
      text += ", %t: memref<?xi32>";
    if (biased)
      text += ", %b: " + flat + ", %c: memref<?xf32>";
    text += ", %w: memref<?xi8>, %l: memref<?xi32>, %o: " + flat +
            ") on cuda {\n moe.kernel.ragged_gemm ins(%x, %w : " + flat +
            ", memref<?xi8>)";
    if (gathers)
      text += " gather(%t : memref<?xi32>)";
    if (biased && parts == 1)
      text += " biases(%b : " + flat + ")";
    if (biased && parts == 2)
      text += " biases(%b, %c : " + flat + ", memref<?xf32>)";
    text += " worklist(%l : memref<?xi32>) outs(%o : " + flat +
            ") attributes {" + attr("experts", experts()) + attr("n", n) +
            attr("k", k) + attr("parts", parts) + attr("tile_rows", tileRows) +
            "weight_type = " + type + "}";
    if (activation == Activation::Product && parts == 1)
      text += "{\n^bb0(%g: f32):\n %r = arith.mulf %g, %g : f32\n"
              "moe.yield %r : f32\n}";
    if (activation == Activation::Product && parts == 2)
      text += "{\n^bb0(%g: f32, %u: f32):\n %r = arith.mulf %g, %u : f32\n"
              "moe.yield %r : f32\n}";
    if (activation == Activation::Silu)
      text += R"({
^bb0(%g: f32, %u: f32):
  %one = arith.constant 1.0 : f32
  %n = arith.negf %g : f32
  %e = math.exp %n : f32
  %d = arith.addf %e, %one : f32
  %s = arith.divf %g, %d : f32
  %r = arith.mulf %s, %u : f32
  moe.yield %r : f32
})";
    return text + "\n}\n";
  }
};

/// Inputs of a problem, and what becomes of them.
struct Data {
  Data(const Problem &problem, Random &random, bool integers);

  /// Layout Rows of moert/Format/Plan.fbs.
  std::vector<float> packed() const;
  std::vector<int32_t> worklist() const;
  /// Checks all results; `exact` for sums without rounding.
  void check(const std::vector<float> &results, bool exact) const;

  const Problem &problem;
  int64_t tokens;
  std::vector<float> x, weights; // weights: expert, part, channel, k
  std::vector<float> biases[2];  // of each part: expert, channel
  std::vector<int32_t> rowToken;
};

Data::Data(const Problem &problem, Random &random, bool integers)
    : problem(problem) {
  int64_t rows = problem.allRows();
  tokens = problem.gathers ? std::max<int64_t>(1, rows / 2 + 1) : rows;
  auto values = [&](size_t size) {
    std::vector<float> values = randomValues(random, size);
    for (float &value : values)
      value = integers ? std::min(2.0f, std::max(-2.0f, std::round(value)))
                       : roundTo(problem.element, value);
    return values;
  };
  x = values(tokens * problem.k);
  weights = values(problem.experts() * problem.parts * problem.n * problem.k);
  for (std::vector<float> &bias : biases)
    bias = values(problem.experts() * problem.n);
  for (int64_t row = 0; row < rows; ++row)
    rowToken.push_back(problem.gathers ? random() % tokens : row);
}

std::vector<float> Data::packed() const {
  int64_t kTile = problem.element == Element::F32 ? 4 : 8;
  int64_t kPadded = (problem.k + kTile - 1) / kTile * kTile;
  int64_t groups = (problem.n + 7) / 8;
  std::vector<float> packed(problem.experts() * groups * 8 * problem.parts *
                            kPadded);
  const float *from = weights.data();
  for (int64_t e = 0; e < problem.experts(); ++e)
    for (int64_t part = 0; part < problem.parts; ++part)
      for (int64_t c = 0; c < problem.n; ++c, from += problem.k) {
        int64_t row = ((e * groups + c / 8) * problem.parts + part) * 8 + c % 8;
        std::copy_n(from, problem.k, packed.begin() + row * kPadded);
      }
  return packed;
}

std::vector<int32_t> Data::worklist() const {
  std::vector<int32_t> list(4);
  int64_t first = 0;
  for (int64_t e = 0; e < problem.experts(); ++e) {
    for (int64_t row = 0; row < problem.rows[e]; row += problem.tileRows) {
      int64_t rows = std::min(problem.tileRows, problem.rows[e] - row);
      list.insert(list.end(),
                  {int32_t(e), int32_t(first + row), int32_t(rows), 0});
      ++list[0];
    }
    first += problem.rows[e];
  }
  return list;
}

void Data::check(const std::vector<float> &results, bool exact) const {
  int64_t k = problem.k, n = problem.n, row = 0;
  double unit = std::ldexp(1.0, problem.element == Element::BF16  ? -8
                                : problem.element == Element::F16 ? -11
                                                                  : -24);
  // Values below the smallest normal number of f16 have fewer digits.
  double tiny = problem.element == Element::F16 ? std::ldexp(1.0, -25) : 0.0;
  ASSERT_EQ(results.size(), size_t(problem.allRows() * n));
  for (int64_t e = 0; e < problem.experts(); ++e)
    for (int64_t i = 0; i < problem.rows[e]; ++i, ++row)
      for (int64_t c = 0; c < n; ++c) {
        double sums[2] = {}, bounds[2] = {};
        for (int64_t part = 0; part < problem.parts; ++part) {
          const float *a = &x[rowToken[row] * k];
          const float *b = &weights[((e * problem.parts + part) * n + c) * k];
          for (int64_t j = 0; j < k; ++j) {
            sums[part] += double(a[j]) * b[j];
            bounds[part] += std::abs(double(a[j]) * b[j]);
          }
          if (problem.biased) {
            sums[part] += biases[part][e * n + c];
            bounds[part] += std::abs(biases[part][e * n + c]);
          }
          bounds[part] *= (k + 17) * std::ldexp(1.0, -24);
        }
        double expected = sums[0], bound = bounds[0];
        if (problem.activation == Activation::Product) {
          int other = problem.parts - 1;
          expected = sums[0] * sums[other];
          bound = bounds[0] * std::abs(sums[other]) +
                  bounds[other] * (std::abs(sums[0]) + bounds[0]);
        }
        if (problem.activation == Activation::Silu) {
          double silu = sums[0] / (1.0 + std::exp(-sums[0]));
          expected = silu * sums[1];
          bound = 1.2 * bounds[0] * (std::abs(sums[1]) + bounds[1]) +
                  std::abs(silu) * bounds[1] + 1e-6 * std::abs(expected);
        }
        float actual = results[row * n + c];
        if (exact)
          ASSERT_EQ(actual, roundTo(problem.element, expected))
              << "row " << row << ", channel " << c;
        else
          ASSERT_LE(std::abs(actual - expected),
                    bound + unit * 1.01 * (std::abs(expected) + bound) + tiny)
              << "row " << row << ", channel " << c << ": " << actual << " for "
              << expected;
      }
}

class RaggedGemmTest : public ::testing::Test {
protected:
  std::unique_ptr<GpuKernels> compile(const Problem &problem,
                                      const std::string &arch = "sm_80") {
    std::string diagnostics;
    auto kernels = GpuKernels::compile(problem.source(), diagnostics, arch);
    EXPECT_TRUE(kernels) << diagnostics << problem.source();
    return kernels;
  }

  std::vector<float> run(const GpuKernels &kernels, const Data &data,
                         const Way &way) {
    const Problem &problem = data.problem;
    size_t size = problem.allRows() * problem.n;
    auto out = problem.element == Element::F32 ? output<float>(size)
                                               : output<uint16_t>(size);
    std::vector<GpuArg> args{elements(problem.element, data.x)};
    if (problem.gathers)
      args.push_back(input(data.rowToken));
    if (problem.biased) {
      // Inputs may start anywhere.
      args.push_back(elements(problem.element, data.biases[0], /*offset=*/1));
      args.push_back(input(data.biases[1], /*offset=*/1));
    }
    args.push_back(elements(problem.element, data.packed()));
    args.push_back(input(data.worklist()));
    args.push_back(out);
    EXPECT_EQ(kernels.run("gemm", way, args), 0);
    return floats(problem.element, out);
  }

  /// Exact sums in every way of running it, then random values in one.
  void check(const Problem &problem, const std::string &arch = "sm_80") {
    SCOPED_TRACE(std::string(nameOf(problem.element)) + ", " +
                 std::to_string(problem.n) + " x " + std::to_string(problem.k) +
                 ", parts " + std::to_string(problem.parts) + ", rows " +
                 std::to_string(problem.allRows()) + ", " + arch);
    auto kernels = compile(problem, arch);
    ASSERT_TRUE(kernels);
    Data integers(problem, random, /*integers=*/true);
    for (const Way &way : allWays()) {
      SCOPED_TRACE(way.name());
      integers.check(run(*kernels, integers, way),
                     problem.activation != Activation::Silu);
      if (HasFailure())
        return;
    }
    Data reals(problem, random, /*integers=*/false);
    reals.check(run(*kernels, reals, allWays()[2]), false);
  }

  Random random{20240611};
};

TEST_F(RaggedGemmTest, GatedExpertOfWidth80) {
  Problem problem;
  problem.n = 80;
  problem.k = 192;
  problem.parts = 2;
  problem.activation = Activation::Product;
  problem.rows = {17, 0, 1, 65};
  check(problem);
}

TEST_F(RaggedGemmTest, EveryElementType) {
  for (Element element : {Element::BF16, Element::F16, Element::F32}) {
    Problem problem;
    problem.element = element;
    problem.n = 40;
    problem.k = 72;
    problem.parts = 2;
    problem.activation = Activation::Silu;
    problem.rows = {5, 33};
    check(problem);
    problem.parts = 1;
    problem.activation = Activation::None;
    problem.gathers = false;
    check(problem);
  }
}

TEST_F(RaggedGemmTest, Biases) {
  for (Element element : {Element::BF16, Element::F16, Element::F32})
    for (int64_t n : {1, 7, 40, 130}) {
      Problem problem;
      problem.element = element;
      problem.biased = true;
      problem.n = n;
      problem.k = 40;
      problem.parts = 2;
      problem.activation = n == 40 ? Activation::Silu : Activation::Product;
      problem.rows = {5, 0, 33, 1};
      check(problem);
      problem.parts = 1;
      problem.activation = Activation::None;
      problem.gathers = false;
      check(problem);
    }
}

TEST_F(RaggedGemmTest, EveryRowClass) {
  for (Element element : {Element::BF16, Element::F32}) {
    Problem problem;
    problem.element = element;
    problem.n = 24;
    problem.k = 64;
    problem.gathers = false;
    problem.rows = {1, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 80, 129};
    check(problem);
  }
}

TEST_F(RaggedGemmTest, RowsOfEveryAlignment) {
  // Rows of 16, 8, 4 and 2 bytes alignment, shorter than and longer than the
  // tile, and narrower than one instruction.
  bool gathers = false;
  for (int64_t k : {8, 136, 4, 100, 2, 18, 66, 1, 17, 81}) {
    Problem problem;
    problem.n = 16;
    problem.k = k;
    problem.gathers = gathers = !gathers;
    problem.rows = {3, 0, 19};
    check(problem);
  }
  for (int64_t k : {1, 2, 37}) {
    Problem problem;
    problem.element = Element::F32;
    problem.n = 16;
    problem.k = k;
    problem.rows = {3, 0, 19};
    check(problem);
  }
}

TEST_F(RaggedGemmTest, AwkwardWidths) {
  for (int64_t n : {1, 2, 7, 23, 130})
    for (int64_t parts : {1, 2}) {
      Problem problem;
      problem.n = n;
      problem.k = 32;
      problem.parts = parts;
      problem.activation = parts == 2 ? Activation::Product : Activation::None;
      problem.rows = {2, 18};
      check(problem);
    }
}

TEST_F(RaggedGemmTest, AwkwardTileRows) {
  for (int64_t tileRows : {1, 8, 16, 24, 48, 100, 128}) {
    Problem problem;
    problem.n = 40;
    problem.k = 48;
    problem.tileRows = tileRows;
    problem.rows = {7, 0, 130, 1};
    check(problem);
  }
}

TEST_F(RaggedGemmTest, WideExperts) {
  Problem problem;
  problem.n = 704;
  problem.k = 192;
  problem.parts = 2;
  problem.activation = Activation::Silu;
  problem.rows = {20};
  check(problem);
  problem.n = 192;
  problem.k = 704;
  problem.parts = 1;
  problem.activation = Activation::None;
  problem.gathers = false;
  problem.rows = {3, 70};
  check(problem);
}

TEST_F(RaggedGemmTest, EveryArchitecture) {
  for (const char *arch :
       {"sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120a"}) {
    Problem problem;
    problem.n = 72;
    problem.k = 264;
    problem.parts = 2;
    problem.activation = Activation::Product;
    problem.rows = {1, 0, 40};
    check(problem, arch);
  }
}

// Shapes drawn from awkward values; MOE_GEMM_SHAPES says how many.
TEST_F(RaggedGemmTest, RandomShapes) {
  const char *archs[] = {"sm_80",  "sm_86",   "sm_89",
                         "sm_90a", "sm_100a", "sm_120a"};
  const char *count = std::getenv("MOE_GEMM_SHAPES");
  auto pick = [&](std::initializer_list<int64_t> values) {
    return values.begin()[random() % values.size()];
  };
  for (int i = 0, end = count ? std::atoi(count) : 6; i < end; ++i) {
    Problem problem;
    problem.element = Element(random() % 3);
    problem.n = pick({1, 5, 8, 12, 31, 40, 80, 96, 129, 192});
    problem.k = pick({1, 7, 16, 30, 44, 63, 80, 128, 192, 200, 257});
    problem.parts = pick({1, 2});
    problem.tileRows = pick({64, 64, 16, 33, 128});
    problem.gathers = random() % 2;
    problem.biased = random() % 2;
    problem.activation = Activation(random() % (problem.parts + 1));
    if (problem.parts == 2 && problem.activation == Activation::None)
      problem.activation = Activation::Product;
    for (int64_t e = pick({1, 3, 8}); e > 0; --e)
      problem.rows.push_back(pick({0, 1, 2, 16, 17, 40, 64, 90}));
    check(problem, archs[i % 6]);
    if (HasFailure())
      return;
  }
}

TEST_F(RaggedGemmTest, NoRowsAtAll) {
  Problem problem;
  problem.n = 16;
  problem.k = 16;
  problem.rows = {0, 0, 0};
  check(problem);
}

// A token's bits do not depend on which tile and row class it lands in.
TEST_F(RaggedGemmTest, BitsDoNotDependOnTheBatch) {
  for (Element element : {Element::BF16, Element::F16, Element::F32}) {
    Problem alone;
    alone.element = element;
    alone.n = 24;
    alone.k = 200;
    alone.rows = {1};
    Data one(alone, random, /*integers=*/false);
    auto kernels = compile(alone);
    ASSERT_TRUE(kernels);
    std::vector<float> expected = run(*kernels, one, allWays()[0]);
    for (int64_t rows : {2, 16, 20, 60, 70}) {
      Problem problem = alone;
      problem.rows = {rows};
      Data data(problem, random, /*integers=*/false);
      data.weights = one.weights;
      int64_t where = random() % rows;
      std::copy_n(one.x.begin() + one.rowToken[0] * alone.k, alone.k,
                  data.x.begin() + data.rowToken[where] * alone.k);
      std::vector<float> all = run(*kernels, data, allWays()[0]);
      expectSameBits(std::vector<float>(all.begin() + where * alone.n,
                                        all.begin() + (where + 1) * alone.n),
                     expected);
    }
  }
}

// What is not a number in one row stays there; other experts' too.
TEST_F(RaggedGemmTest, NotANumberStaysInItsRow) {
  Problem problem;
  problem.n = 16;
  problem.k = 40;
  problem.gathers = false;
  problem.rows = {3, 2};
  Data data(problem, random, /*integers=*/true);
  data.x[1 * problem.k + 7] = std::nanf("");
  auto kernels = compile(problem);
  ASSERT_TRUE(kernels);
  std::vector<float> results = run(*kernels, data, allWays()[0]);
  for (int64_t row = 0; row < problem.allRows(); ++row)
    for (int64_t c = 0; c < problem.n; ++c)
      EXPECT_EQ(std::isnan(results[row * problem.n + c]), row == 1);
}

} // namespace
