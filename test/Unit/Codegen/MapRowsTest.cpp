//===- MapRowsTest.cpp - Tensor code row by row ---------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The order of sums is not specified here, so values are compared within a
// tolerance; between workers bits must agree.
//
//===----------------------------------------------------------------------===//

#include "KernelHarness.h"
#include "Numerics.h"

#include "gtest/gtest.h"

#include <algorithm>
#include <cmath>

using namespace moe_test;

static std::unique_ptr<Kernels> compile(const std::string &source) {
  std::string diagnostics;
  std::unique_ptr<Kernels> kernels = Kernels::compile(source, diagnostics);
  EXPECT_TRUE(kernels) << diagnostics;
  return kernels;
}

/// `text` with every $NAME replaced.
static std::string
substitute(std::string text,
           const std::vector<std::pair<std::string, std::string>> &names) {
  for (const auto &[name, value] : names)
    for (size_t at; (at = text.find("$" + name)) != std::string::npos;)
      text.replace(at, name.size() + 1, value);
  return text;
}

static void expectClose(const std::vector<float> &actual,
                        const std::vector<float> &expected, float tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  float largest = 1e-6f;
  for (float value : expected)
    largest = std::max(largest, std::fabs(value));
  for (size_t i = 0; i < actual.size(); ++i)
    ASSERT_NEAR(actual[i], expected[i], tolerance * largest) << "element " << i;
}

/// Runs the kernel in every way; the bits of each level must be the same for
/// any number of workers, and the values close to `expected`.
static void checkRows(const Kernels &kernels, const std::string &name,
                      bool bf16, const std::vector<float> &expected,
                      float tolerance,
                      const std::function<void(int, int, bool, Arg out)> &run) {
  std::vector<float> first;
  int firstLevel = -1;
  forEveryWay(kernels, name, [&](int level, int workers, bool back) {
    std::vector<float> actual;
    if (bf16) {
      Buffer<uint16_t> out(expected.size());
      run(level, workers, back, out);
      actual = fromBf16(out.values());
    } else {
      Buffer<float> out(expected.size());
      run(level, workers, back, out);
      actual = out.values();
    }
    expectClose(actual, expected, tolerance);
    if (level == firstLevel)
      expectSameBits(actual, first);
    first = actual;
    firstLevel = level;
  });
}

TEST(MapRows, Adds) {
  const int64_t hiddens[] = {1, 17, 40, 2048};
  std::string source;
  for (int64_t hidden : hiddens)
    for (std::string type : {"f32", "bf16"})
      source += substitute(
          R"(plan.kernel @add_$T_$H(%a: memref<?x$T>, %b: memref<?x$T>,
                                    %o: memref<?x$T>, %n: index) {
  moe.kernel.map_rows rows(%a, %b : memref<?x$T>, memref<?x$T>)
      outs(%o : memref<?x$T>) tokens(%n) attributes {experts = 0 : i64} {
  ^bb0(%x: tensor<1x$Hx$T>, %y: tensor<1x$Hx$T>):
    %e = tensor.empty() : tensor<1x$Hx$T>
    %s = linalg.generic {
        indexing_maps = [affine_map<(i, j) -> (i, j)>,
                         affine_map<(i, j) -> (i, j)>,
                         affine_map<(i, j) -> (i, j)>],
        iterator_types = ["parallel", "parallel"]}
        ins(%x, %y : tensor<1x$Hx$T>, tensor<1x$Hx$T>)
        outs(%e : tensor<1x$Hx$T>) {
    ^bb1(%p: $T, %q: $T, %r: $T):
      %z = arith.addf %p, %q : $T
      linalg.yield %z : $T
    } -> tensor<1x$Hx$T>
    moe.yield %s : tensor<1x$Hx$T>
  }
}
)",
          {{"T", type}, {"H", std::to_string(hidden)}});
  std::unique_ptr<Kernels> kernels = compile(source);
  ASSERT_TRUE(kernels);
  Random random(11);
  for (int64_t hidden : hiddens)
    for (int64_t tokens : {0, 1, 2, 17, 33})
      for (bool bf16 : {false, true}) {
        std::vector<float> a = randomValues(random, tokens * hidden),
                           b = randomValues(random, tokens * hidden), sum;
        std::vector<uint16_t> a16 = roundToBf16(a), b16 = roundToBf16(b);
        for (size_t i = 0; i < a.size(); ++i)
          sum.push_back(
              bf16 ? fromBf16(roundToBf16(fromBf16(a16[i]) + fromBf16(b16[i])))
                   : a[i] + b[i]);
        std::string name =
            (bf16 ? "add_bf16_" : "add_f32_") + std::to_string(hidden);
        checkRows(
            *kernels, name, bf16, sum, 0.0f,
            [&](int level, int workers, bool back, Arg out) {
              if (bf16)
                kernels->run(
                    name, level, workers,
                    {Buffer<uint16_t>(a16), Buffer<uint16_t>(b16), out, tokens},
                    back);
              else
                kernels->run(name, level, workers,
                             {Buffer<float>(a), Buffer<float>(b), out, tokens},
                             back);
            });
      }
}

/// The gate of a shared expert: sigmoid(x . w), as its importer writes it.
static const char *gateSource = R"(
plan.kernel @gate_$T_$H(%a: memref<?x$T>, %w: memref<?x$T>, %o: memref<?xf32>,
                        %n: index) {
  moe.kernel.map_rows rows(%a : memref<?x$T>) invariants(%w : memref<?x$T>)
      outs(%o : memref<?xf32>) tokens(%n) attributes {experts = 0 : i64} {
  ^bb0(%x: tensor<1x$Hx$T>, %y: tensor<1x$Hx$T>):
    %zero = arith.constant 0.0 : f32
    %one = arith.constant 1.0 : f32
    %e = tensor.empty() : tensor<1x1xf32>
    %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1x1xf32>)
        -> tensor<1x1xf32>
    %s = linalg.generic {
        indexing_maps = [affine_map<(m, n, k) -> (m, k)>,
                         affine_map<(m, n, k) -> (n, k)>,
                         affine_map<(m, n, k) -> (m, n)>],
        iterator_types = ["parallel", "parallel", "reduction"]}
        ins(%x, %y : tensor<1x$Hx$T>, tensor<1x$Hx$T>)
        outs(%f : tensor<1x1xf32>) {
    ^bb1(%p: $T, %q: $T, %r: f32):
      %u = $EXT %p
      %v = $EXT %q
      %z = math.fma %u, %v, %r : f32
      linalg.yield %z : f32
    } -> tensor<1x1xf32>
    %g = linalg.generic {
        indexing_maps = [affine_map<(m, n) -> (m, n)>,
                         affine_map<(m, n) -> (m, n)>],
        iterator_types = ["parallel", "parallel"]}
        ins(%s : tensor<1x1xf32>) outs(%e : tensor<1x1xf32>) {
    ^bb1(%p: f32, %r: f32):
      %neg = arith.negf %p : f32
      %exp = math.exp %neg : f32
      %den = arith.addf %exp, %one : f32
      %sig = arith.divf %one, %den : f32
      linalg.yield %sig : f32
    } -> tensor<1x1xf32>
    moe.yield %g : tensor<1x1xf32>
  }
}
)";

TEST(MapRows, SharedGate) {
  const int64_t hiddens[] = {1, 17, 40, 2048};
  std::string source;
  for (int64_t hidden : hiddens) {
    std::string f32 = gateSource;
    for (std::string value : {"%p", "%q"}) {
      // f32 needs no extension.
      size_t at = f32.find("$EXT " + value);
      f32.replace(at, 7, "arith.addf " + value + ", %zero : f32");
    }
    source += substitute(f32, {{"T", "f32"}, {"H", std::to_string(hidden)}});
    std::string bf16 = gateSource;
    for (std::string value : {"%p", "%q"})
      bf16.replace(bf16.find("$EXT " + value), 7,
                   "arith.extf " + value + " : bf16 to f32");
    source += substitute(bf16, {{"T", "bf16"}, {"H", std::to_string(hidden)}});
  }
  std::unique_ptr<Kernels> kernels = compile(source);
  ASSERT_TRUE(kernels);
  Random random(12);
  for (int64_t hidden : hiddens)
    for (int64_t tokens : {0, 1, 17})
      for (bool bf16 : {false, true}) {
        std::vector<float> x = randomValues(random, tokens * hidden),
                           w = randomValues(random, hidden, 0.05f), gate;
        std::vector<uint16_t> x16 = roundToBf16(x), w16 = roundToBf16(w);
        if (bf16) {
          x = fromBf16(x16);
          w = fromBf16(w16);
        }
        for (int64_t t = 0; t < tokens; ++t) {
          double sum = 0;
          for (int64_t h = 0; h < hidden; ++h)
            sum += double(x[t * hidden + h]) * w[h];
          gate.push_back(1.0 / (1.0 + std::exp(-sum)));
        }
        std::string name =
            (bf16 ? "gate_bf16_" : "gate_f32_") + std::to_string(hidden);
        checkRows(
            *kernels, name, /*bf16=*/false, gate, 1e-5f,
            [&](int level, int workers, bool back, Arg out) {
              if (bf16)
                kernels->run(
                    name, level, workers,
                    {Buffer<uint16_t>(x16), Buffer<uint16_t>(w16), out, tokens},
                    back);
              else
                kernels->run(name, level, workers,
                             {Buffer<float>(x), Buffer<float>(w), out, tokens},
                             back);
            });
      }
}

/// An expert that no pattern matches: matmul, bias, gelu, matmul; the weights
/// of the second are not transposed.
static const char *expertSource = R"(
plan.kernel @expert_$T_$H(%a: memref<?x$T>, %eo: memref<?xi32>,
                          %w1: memref<?x$T>, %b1: memref<?x$T>,
                          %w2: memref<?x$T>, %o: memref<?x$T>, %n: index) {
  moe.kernel.map_rows rows(%a : memref<?x$T>) offsets(%eo : memref<?xi32>)
      weights(%w1, %b1, %w2 : memref<?x$T>, memref<?x$T>, memref<?x$T>)
      outs(%o : memref<?x$T>) tokens(%n) attributes {experts = 5 : i64} {
  ^bb0(%x: tensor<1x$Hx$T>, %u: tensor<$Fx$Hx$T>, %v: tensor<$Fx$T>,
       %d: tensor<$Fx$Hx$T>):
    %zero = arith.constant 0.0 : f32
    %half = arith.constant 0.5 : f32
    %one = arith.constant 1.0 : f32
    %isq2 = arith.constant 0.70710678 : f32
    %c0 = arith.constant 0 : index
    %xd = tensor.cast %x : tensor<1x$Hx$T> to tensor<?x$Hx$T>
    %m = tensor.dim %xd, %c0 : tensor<?x$Hx$T>
    %ed = tensor.empty(%m) : tensor<?x$Fxf32>
    %fill = linalg.fill ins(%zero : f32) outs(%ed : tensor<?x$Fxf32>)
        -> tensor<?x$Fxf32>
    %up = linalg.matmul indexing_maps = [affine_map<(m, n, k) -> (m, k)>,
                                         affine_map<(m, n, k) -> (n, k)>,
                                         affine_map<(m, n, k) -> (m, n)>]
        ins(%xd, %u : tensor<?x$Hx$T>, tensor<$Fx$Hx$T>)
        outs(%fill : tensor<?x$Fxf32>) -> tensor<?x$Fxf32>
    %eh = tensor.empty(%m) : tensor<?x$Fx$T>
    %h = linalg.generic {
        indexing_maps = [affine_map<(i, j) -> (i, j)>,
                         affine_map<(i, j) -> (j)>,
                         affine_map<(i, j) -> (i, j)>],
        iterator_types = ["parallel", "parallel"]}
        ins(%up, %v : tensor<?x$Fxf32>, tensor<$Fx$T>)
        outs(%eh : tensor<?x$Fx$T>) {
    ^bb1(%p: f32, %q: $T, %r: $T):
      $EXTQ
      %s = arith.addf %p, %qf : f32
      %s1 = arith.mulf %s, %isq2 : f32
      %erf = math.erf %s1 : f32
      %e1 = arith.addf %erf, %one : f32
      %sh = arith.mulf %s, %half : f32
      %g = arith.mulf %sh, %e1 : f32
      $TRUNCG
      linalg.yield %gt : $T
    } -> tensor<?x$Fx$T>
    %e2 = tensor.empty(%m) : tensor<?x$Hxf32>
    %fill2 = linalg.fill ins(%zero : f32) outs(%e2 : tensor<?x$Hxf32>)
        -> tensor<?x$Hxf32>
    %down = linalg.matmul ins(%h, %d : tensor<?x$Fx$T>, tensor<$Fx$Hx$T>)
        outs(%fill2 : tensor<?x$Hxf32>) -> tensor<?x$Hxf32>
    %e3 = tensor.empty(%m) : tensor<?x$Hx$T>
    %y = linalg.generic {
        indexing_maps = [affine_map<(i, j) -> (i, j)>,
                         affine_map<(i, j) -> (i, j)>],
        iterator_types = ["parallel", "parallel"]}
        ins(%down : tensor<?x$Hxf32>) outs(%e3 : tensor<?x$Hx$T>) {
    ^bb1(%g: f32, %r: $T):
      $TRUNCG
      linalg.yield %gt : $T
    } -> tensor<?x$Hx$T>
    %ys = tensor.cast %y : tensor<?x$Hx$T> to tensor<1x$Hx$T>
    moe.yield %ys : tensor<1x$Hx$T>
  }
}
)";

TEST(MapRows, UnmatchedExpert) {
  struct Case {
    int64_t hidden, inner;
    bool bf16;
  } cases[] = {{40, 56, false}, {40, 56, true}, {17, 5, false}, {64, 96, true}};
  std::string source;
  for (const Case &c : cases)
    source += substitute(
        expertSource, {{"EXTQ", c.bf16 ? "%qf = arith.extf %q : bf16 to f32"
                                       : "%qf = arith.addf %q, %zero : f32"},
                       {"TRUNCG", c.bf16 ? "%gt = arith.truncf %g : f32 to bf16"
                                         : "%gt = arith.addf %g, %zero : f32"},
                       {"T", c.bf16 ? "bf16" : "f32"},
                       {"H", std::to_string(c.hidden)},
                       {"F", std::to_string(c.inner)}});
  std::unique_ptr<Kernels> kernels = compile(source);
  ASSERT_TRUE(kernels);
  Random random(13);
  constexpr int64_t experts = 5;
  // Experts without rows first, last and in between.
  const std::vector<int32_t> offsets[] = {{0, 0, 0, 0, 0, 0},
                                          {0, 0, 1, 1, 1, 1},
                                          {0, 3, 3, 4, 17, 17},
                                          {0, 0, 0, 0, 0, 9}};
  for (const Case &c : cases)
    for (const std::vector<int32_t> &eo : offsets) {
      int64_t h = c.hidden, f = c.inner, rows = eo.back();
      auto values = [&](size_t size, float scale,
                        std::vector<uint16_t> &narrow) {
        std::vector<float> wide = randomValues(random, size, scale);
        narrow = roundToBf16(wide);
        return c.bf16 ? fromBf16(narrow) : wide;
      };
      auto rounded = [&](double value) {
        return c.bf16 ? fromBf16(roundToBf16(value)) : float(value);
      };
      std::vector<uint16_t> x16, u16, v16, d16;
      std::vector<float> x = values(rows * h, 1.0f, x16),
                         u = values(experts * f * h, 0.2f, u16),
                         v = values(experts * f, 0.5f, v16),
                         d = values(experts * f * h, 0.2f, d16), expected;
      for (int64_t e = 0; e < experts; ++e)
        for (int64_t r = eo[e]; r < eo[e + 1]; ++r) {
          std::vector<float> inner;
          for (int64_t j = 0; j < f; ++j) {
            double sum = 0;
            for (int64_t i = 0; i < h; ++i)
              sum += double(x[r * h + i]) * u[(e * f + j) * h + i];
            sum += v[e * f + j];
            inner.push_back(
                rounded(0.5 * sum * (1.0 + std::erf(sum * 0.70710678))));
          }
          for (int64_t i = 0; i < h; ++i) {
            double sum = 0;
            for (int64_t j = 0; j < f; ++j)
              sum += double(inner[j]) * d[(e * f + j) * h + i];
            expected.push_back(rounded(sum));
          }
        }
      std::string name =
          (c.bf16 ? "expert_bf16_" : "expert_f32_") + std::to_string(h);
      checkRows(*kernels, name, c.bf16, expected, c.bf16 ? 1e-2f : 1e-5f,
                [&](int level, int workers, bool back, Arg out) {
                  Buffer<int32_t> lists(eo);
                  // The number of tokens is not the number of rows.
                  if (c.bf16)
                    kernels->run(name, level, workers,
                                 {Buffer<uint16_t>(x16), lists,
                                  Buffer<uint16_t>(u16), Buffer<uint16_t>(v16),
                                  Buffer<uint16_t>(d16), out, int64_t(100)},
                                 back);
                  else
                    kernels->run(name, level, workers,
                                 {Buffer<float>(x), lists, Buffer<float>(u),
                                  Buffer<float>(v), Buffer<float>(d), out,
                                  int64_t(100)},
                                 back);
                });
    }
}

/// A row of 24 through what tensor code may hold beside linalg.generic.
static const char *tensorSource = R"(
plan.kernel @tensor(%a: memref<?xf32>, %o: memref<?xf32>, %p: memref<?xf32>,
                    %n: index) {
  moe.kernel.map_rows rows(%a : memref<?xf32>)
      outs(%o, %p : memref<?xf32>, memref<?xf32>) tokens(%n)
      attributes {experts = 0 : i64} {
  ^bb0(%x: tensor<1x24xf32>):
    %zero = arith.constant 0.0 : f32
    %three = arith.constant 3 : index
    %c0 = arith.constant 0 : index
    // 4 x 6, transposed to 6 x 4.
    %flat = tensor.collapse_shape %x [[0, 1]]
        : tensor<1x24xf32> into tensor<24xf32>
    %m = tensor.expand_shape %flat [[0, 1]] output_shape [4, 6]
        : tensor<24xf32> into tensor<4x6xf32>
    %et = tensor.empty() : tensor<6x4xf32>
    %t = linalg.transpose ins(%m : tensor<4x6xf32>) outs(%et : tensor<6x4xf32>)
        permutation = [1, 0]
    // Rows 1 to 4 of it are multiplied by constants.
    %s = tensor.extract_slice %t[1, 0] [4, 4] [1, 1]
        : tensor<6x4xf32> to tensor<4x4xf32>
    %k = arith.constant dense<[1.0, 2.0, 4.0, 8.0]> : tensor<4xf32>
    %e4 = tensor.empty() : tensor<4x4xf32>
    %kb = linalg.broadcast ins(%k : tensor<4xf32>) outs(%e4 : tensor<4x4xf32>)
        dimensions = [0]
    %mul = linalg.mul ins(%s, %kb : tensor<4x4xf32>, tensor<4x4xf32>)
        outs(%e4 : tensor<4x4xf32>) -> tensor<4x4xf32>
    %i = tensor.insert_slice %mul into %t[1, 0] [4, 4] [1, 1]
        : tensor<4x4xf32> into tensor<6x4xf32>
    %back = tensor.collapse_shape %i [[0, 1]]
        : tensor<6x4xf32> into tensor<24xf32>
    %row = tensor.expand_shape %back [[0, 1]] output_shape [1, 24]
        : tensor<24xf32> into tensor<1x24xf32>
    // The sum of each column and the softmax over them, and element 3.
    %ones = arith.constant dense<1.0> : tensor<4xf32>
    %sums = linalg.reduce ins(%t : tensor<6x4xf32>) outs(%ones : tensor<4xf32>)
        dimensions = [0]
        (%v: f32, %acc: f32) {
          %z = arith.addf %v, %acc : f32
          linalg.yield %z : f32
        }
    %s1 = tensor.expand_shape %sums [[0, 1]] output_shape [1, 4]
        : tensor<4xf32> into tensor<1x4xf32>
    %e14 = tensor.empty() : tensor<1x4xf32>
    %soft = linalg.softmax dimension(1) ins(%s1 : tensor<1x4xf32>)
        outs(%e14 : tensor<1x4xf32>) -> tensor<1x4xf32>
    %third = tensor.extract %x[%c0, %three] : tensor<1x24xf32>
    %max = linalg.generic {
        indexing_maps = [affine_map<(i, j) -> (i, j)>,
                         affine_map<(i, j) -> (i)>],
        iterator_types = ["parallel", "reduction"]}
        ins(%x : tensor<1x24xf32>)
        outs(%init : tensor<1xf32>) {
    ^bb1(%u: f32, %w: f32):
      %z = arith.maximumf %u, %w : f32
      linalg.yield %z : f32
    } -> tensor<1xf32>
    %largest = tensor.extract %max[%c0] : tensor<1xf32>
    %two = tensor.from_elements %third, %largest : tensor<1x2xf32>
    %six = tensor.empty() : tensor<1x6xf32>
    %p0 = tensor.insert_slice %soft into %six[0, 0] [1, 4] [1, 1]
        : tensor<1x4xf32> into tensor<1x6xf32>
    %p1 = tensor.insert_slice %two into %p0[0, 4] [1, 2] [1, 1]
        : tensor<1x2xf32> into tensor<1x6xf32>
    moe.yield %row, %p1 : tensor<1x24xf32>, tensor<1x6xf32>
  }
}
)";

TEST(MapRows, TensorOps) {
  std::string source = tensorSource;
  std::string anchor = "    %max = linalg.generic";
  source.insert(source.find(anchor),
                "    %init = tensor.from_elements %zero : tensor<1xf32>\n");
  std::unique_ptr<Kernels> kernels = compile(source);
  ASSERT_TRUE(kernels);
  Random random(14);
  for (int64_t tokens : {0, 1, 7}) {
    std::vector<float> x = randomValues(random, tokens * 24), rows, tails;
    for (int64_t t = 0; t < tokens; ++t) {
      const float *row = &x[t * 24];
      const float factors[] = {1, 2, 4, 8};
      for (int i = 0; i < 6; ++i)
        for (int j = 0; j < 4; ++j)
          rows.push_back(row[j * 6 + i] *
                         (i >= 1 && i < 5 ? factors[j] : 1.0f));
      double sums[4], total = 0;
      for (int j = 0; j < 4; ++j) {
        sums[j] = 1;
        for (int i = 0; i < 6; ++i)
          sums[j] += row[j * 6 + i];
        total += std::exp(sums[j]);
      }
      for (double sum : sums)
        tails.push_back(std::exp(sum) / total);
      tails.push_back(row[3]);
      tails.push_back(std::max(0.0f, *std::max_element(row, row + 24)));
    }
    forEveryWay(*kernels, "tensor", [&](int level, int workers, bool back) {
      Buffer<float> out(rows.size()), tail(tails.size());
      EXPECT_EQ(kernels->run("tensor", level, workers,
                             {Buffer<float>(x), out, tail, tokens}, back),
                0);
      expectSameBits(out.values(), rows);
      expectClose(tail.values(), tails, 1e-5f);
    });
  }
}

/// Arithmetic on whole tensors, and code on rows of rank 1 and 3.
static const char *wholeSource = R"(
plan.kernel @whole(%a: memref<?xf32>, %b: memref<?xbf16>, %g: memref<?xf32>,
                   %o: memref<?xf32>, %p: memref<?xbf16>, %n: index) {
  moe.kernel.map_rows rows(%a, %b : memref<?xf32>, memref<?xbf16>)
      invariants(%g : memref<?xf32>)
      outs(%o, %p : memref<?xf32>, memref<?xbf16>) tokens(%n)
      attributes {experts = 0 : i64} {
  ^bb0(%x: tensor<1xf32>, %y: tensor<1x3x7xbf16>, %w: tensor<3x7xf32>):
    %half = arith.constant dense<0.5> : tensor<1xf32>
    %t = math.tanh %x : tensor<1xf32>
    %r = arith.mulf %t, %half : tensor<1xf32>
    %ye = arith.extf %y : tensor<1x3x7xbf16> to tensor<1x3x7xf32>
    %we = tensor.expand_shape %w [[0, 1], [2]] output_shape [1, 3, 7]
        : tensor<3x7xf32> into tensor<1x3x7xf32>
    %big = arith.cmpf ogt, %ye, %we : tensor<1x3x7xf32>
    %max = arith.select %big, %ye, %we : tensor<1x3x7xi1>, tensor<1x3x7xf32>
    %q = arith.truncf %max : tensor<1x3x7xf32> to tensor<1x3x7xbf16>
    moe.yield %r, %q : tensor<1xf32>, tensor<1x3x7xbf16>
  }
}
)";

TEST(MapRows, WholeTensors) {
  std::unique_ptr<Kernels> kernels = compile(wholeSource);
  ASSERT_TRUE(kernels);
  Random random(15);
  for (int64_t tokens : {0, 1, 7}) {
    std::vector<float> x = randomValues(random, tokens),
                       w = randomValues(random, 21), halves;
    std::vector<uint16_t> y = roundToBf16(randomValues(random, tokens * 21)),
                          largest;
    for (float value : x)
      halves.push_back(0.5f * std::tanh(value));
    for (size_t i = 0; i < y.size(); ++i)
      largest.push_back(roundToBf16(std::max(fromBf16(y[i]), w[i % 21])));
    forEveryWay(*kernels, "whole", [&](int level, int workers, bool back) {
      Buffer<float> out(x.size());
      Buffer<uint16_t> max(y.size());
      EXPECT_EQ(kernels->run("whole", level, workers,
                             {Buffer<float>(x), Buffer<uint16_t>(y),
                              Buffer<float>(w), out, max, tokens},
                             back),
                0);
      expectClose(out.values(), halves, 1e-6f);
      expectSameBits(max.values(), largest);
    });
  }
}

/// A kernel whose region holds `body` and yields %r.
static std::string kernelOf(const std::string &body) {
  return "func.func private @f(tensor<1x8xf32>) -> tensor<1x8xf32>\n"
         "plan.kernel @bad(%a: memref<?xf32>, %o: memref<?xf32>, %n: index) {\n"
         "  moe.kernel.map_rows rows(%a : memref<?xf32>)\n"
         "      outs(%o : memref<?xf32>) tokens(%n)\n"
         "      attributes {experts = 0 : i64} {\n"
         "  ^bb0(%x: tensor<1x8xf32>):\n" +
         body + "    moe.yield %r : tensor<1x8xf32>\n  }\n}\n";
}

TEST(MapRows, UnsupportedOpsAreNamed) {
  struct Case {
    const char *body, *message;
  } cases[] = {
      {"    %r = func.call @f(%x) : (tensor<1x8xf32>) -> tensor<1x8xf32>\n",
       "'func.call' op cannot run row by row; expert bodies and token code "
       "hold arith, linalg, math, scf and tensor ops"},
      {"    %c = arith.constant 0 : index\n"
       "    %e = tensor.extract %x[%c, %c] : tensor<1x8xf32>\n"
       "    %i = arith.fptosi %e : f32 to i32\n"
       "    %len = arith.index_cast %i : i32 to index\n"
       "    %s = tensor.extract_slice %x[0, 0] [1, %len] [1, 1]\n"
       "        : tensor<1x8xf32> to tensor<1x?xf32>\n"
       "    %f = tensor.from_elements %e : tensor<1xf32>\n"
       "    %m = linalg.reduce { arith.maximumf }\n"
       "        ins(%s : tensor<1x?xf32>) outs(%f : tensor<1xf32>)\n"
       "        dimensions = [1]\n"
       "    %g = tensor.extract %m[%c] : tensor<1xf32>\n"
       "    %r = tensor.insert %g into %x[%c, %c] : tensor<1x8xf32>\n",
       "has a loop of dynamic length in tensor code that runs row by row"}};
  for (const Case &c : cases) {
    std::string diagnostics;
    EXPECT_FALSE(Kernels::compile(kernelOf(c.body), diagnostics));
    EXPECT_NE(diagnostics.find(c.message), std::string::npos) << diagnostics;
  }
}
