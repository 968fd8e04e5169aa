//===- FoldRowsTest.cpp - Reductions over rows ----------------------------===//
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

static std::unique_ptr<Kernels> compile(const std::string &source) {
  std::string diagnostics;
  std::unique_ptr<Kernels> kernels = Kernels::compile(source, diagnostics);
  EXPECT_TRUE(kernels) << diagnostics;
  return kernels;
}

/// Weighted sums of a row's elements, and how many of them are positive, with
/// the number of the last such row.
static const char *sumsSource = R"(
plan.kernel @sums(%a: memref<?xf32>, %c: memref<?xf32>, %s: memref<?xf32>,
                  %p: memref<?xi64>, %l: memref<?xi32>, %n: index) {
  moe.kernel.fold_rows rows(%a : memref<?xf32>) invariants(%c : memref<?xf32>)
      outs(%s, %p, %l : memref<?xf32>, memref<?xi64>, memref<?xi32>)
      inits [0.25, 3.0, -1.0] tokens(%n) {
  ^bb0(%i: index, %r: tensor<1x21xf32>, %v: tensor<1x21xf32>,
       %sum: tensor<1x21xf32>, %count: tensor<1x21xi64>,
       %last: tensor<1x21xi32>):
    %zero = arith.constant dense<0.0> : tensor<1x21xf32>
    %0 = arith.mulf %r, %v : tensor<1x21xf32>
    %1 = arith.addf %sum, %0 : tensor<1x21xf32>
    %is = arith.cmpf ogt, %r, %zero : tensor<1x21xf32>
    %one = arith.extui %is : tensor<1x21xi1> to tensor<1x21xi64>
    %2 = arith.addi %count, %one : tensor<1x21xi64>
    %i32 = arith.index_cast %i : index to i32
    %e = tensor.empty() : tensor<1x21xi32>
    %row = linalg.fill ins(%i32 : i32) outs(%e : tensor<1x21xi32>)
        -> tensor<1x21xi32>
    %3 = arith.select %is, %row, %last : tensor<1x21xi1>, tensor<1x21xi32>
    moe.yield %1, %2, %3
        : tensor<1x21xf32>, tensor<1x21xi64>, tensor<1x21xi32>
  }
}
)";

TEST(FoldRows, SeveralResults) {
  std::unique_ptr<Kernels> kernels = compile(sumsSource);
  ASSERT_TRUE(kernels);
  Random random(41);
  for (int64_t tokens : {0, 1, 2, 17, 333}) {
    std::vector<float> a = randomValues(random, tokens * 21),
                       c = randomValues(random, 21), sums(21, 0.25f);
    std::vector<int64_t> counts(21, 3);
    std::vector<int32_t> last(21, -1);
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t j = 0; j < 21; ++j) {
        float x = a[t * 21 + j];
        sums[j] = sums[j] + x * c[j];
        if (x > 0) {
          ++counts[j];
          last[j] = t;
        }
      }
    forEveryWay(*kernels, "sums", [&](int level, int workers, bool back) {
      SCOPED_TRACE(std::to_string(tokens) + " tokens");
      Buffer<float> s(21);
      Buffer<int64_t> p(21);
      Buffer<int32_t> l(21);
      EXPECT_EQ(
          kernels->run("sums", level, workers,
                       {Buffer<float>(a), Buffer<float>(c), s, p, l, tokens},
                       back),
          0);
      expectSameBits(s.values(), sums);
      EXPECT_EQ(p.values(), counts);
      EXPECT_EQ(l.values(), last);
    });
  }
}

/// What is carried changes places from row to row, one part is of the other,
/// and a row's values are kept whole.
static const char *exchangeSource = R"(
plan.kernel @exchange(%a: memref<?xf32>, %p: memref<?xf32>, %q: memref<?xf32>,
                      %r: memref<?xf32>, %n: index) {
  moe.kernel.fold_rows rows(%a : memref<?xf32>)
      outs(%p, %q, %r : memref<?xf32>, memref<?xf32>, memref<?xf32>)
      inits [1.0, -2.0, 0.5] tokens(%n) {
  ^bb0(%i: index, %x: tensor<1x5xf32>, %u: tensor<1x5xf32>,
       %v: tensor<1x5xf32>, %w: tensor<1x5xf32>):
    %0 = arith.addf %v, %x : tensor<1x5xf32>
    %s = tensor.extract_slice %u[0, 0] [1, 4] [1, 1]
        : tensor<1x5xf32> to tensor<1x4xf32>
    %1 = tensor.insert_slice %s into %w[0, 1] [1, 4] [1, 1]
        : tensor<1x4xf32> into tensor<1x5xf32>
    moe.yield %0, %u, %1 : tensor<1x5xf32>, tensor<1x5xf32>, tensor<1x5xf32>
  }
}
plan.kernel @latest(%a: memref<?xf32>, %p: memref<?xf32>, %q: memref<?xf32>,
                    %n: index) {
  moe.kernel.fold_rows rows(%a : memref<?xf32>)
      outs(%p, %q : memref<?xf32>, memref<?xf32>)
      inits [1.0, -2.0] tokens(%n) {
  ^bb0(%i: index, %x: tensor<1x5xf32>, %u: tensor<1x5xf32>,
       %v: tensor<1x5xf32>):
    moe.yield %x, %u : tensor<1x5xf32>, tensor<1x5xf32>
  }
}
)";

TEST(FoldRows, WhatIsCarriedMayChangePlaces) {
  std::unique_ptr<Kernels> kernels = compile(exchangeSource);
  ASSERT_TRUE(kernels);
  Random random(42);
  for (int64_t tokens : {0, 1, 2, 3, 18}) {
    std::vector<float> a = randomValues(random, tokens * 5), u(5, 1.0f),
                       v(5, -2.0f), w(5, 0.5f), x(5, 1.0f), y(5, -2.0f);
    for (int64_t t = 0; t < tokens; ++t) {
      std::vector<float> row(&a[t * 5], &a[t * 5] + 5), sum(5), mixed = w;
      for (int j = 0; j < 5; ++j)
        sum[j] = v[j] + row[j];
      std::copy(u.begin(), u.begin() + 4, mixed.begin() + 1);
      v = u;
      u = sum;
      w = mixed;
      y = x;
      x = row;
    }
    forEveryWay(*kernels, "exchange", [&](int level, int workers, bool back) {
      Buffer<float> p(5), q(5), r(5);
      EXPECT_EQ(kernels->run("exchange", level, workers,
                             {Buffer<float>(a), p, q, r, tokens}, back),
                0);
      expectSameBits(p.values(), u);
      expectSameBits(q.values(), v);
      expectSameBits(r.values(), w);
    });
    forEveryWay(*kernels, "latest", [&](int level, int workers, bool back) {
      Buffer<float> p(5), q(5);
      EXPECT_EQ(kernels->run("latest", level, workers,
                             {Buffer<float>(a), p, q, tokens}, back),
                0);
      expectSameBits(p.values(), x);
      expectSameBits(q.values(), y);
    });
  }
}

/// The mixture of all rows, by a running softmax over them: what slots of Soft
/// MoE are. Carries the maxima, the sums and the mixture.
static const char *mixtureSource = R"(
plan.kernel @mixture(%x: memref<?xf32>, %l: memref<?xf32>, %m: memref<?xf32>,
                     %s: memref<?xf32>, %y: memref<?xf32>, %n: index) {
  moe.kernel.fold_rows rows(%x, %l : memref<?xf32>, memref<?xf32>)
      outs(%m, %s, %y : memref<?xf32>, memref<?xf32>, memref<?xf32>)
      inits [-1.0e30, 0.0, 0.0] tokens(%n) {
  ^bb0(%i: index, %row: tensor<1x24xf32>, %logit: tensor<1x6xf32>,
       %max: tensor<6xf32>, %sum: tensor<6xf32>, %acc: tensor<6x24xf32>):
    %k = tensor.collapse_shape %logit [[0, 1]]
        : tensor<1x6xf32> into tensor<6xf32>
    %r = tensor.collapse_shape %row [[0, 1]]
        : tensor<1x24xf32> into tensor<24xf32>
    %new = arith.maximumf %max, %k : tensor<6xf32>
    %0 = arith.subf %max, %new : tensor<6xf32>
    %old = math.exp %0 : tensor<6xf32>
    %1 = arith.subf %k, %new : tensor<6xf32>
    %share = math.exp %1 : tensor<6xf32>
    %2 = arith.mulf %sum, %old : tensor<6xf32>
    %total = arith.addf %2, %share : tensor<6xf32>
    %mix = linalg.generic {
        indexing_maps = [affine_map<(s, h) -> (s)>, affine_map<(s, h) -> (s)>,
                         affine_map<(s, h) -> (h)>,
                         affine_map<(s, h) -> (s, h)>],
        iterator_types = ["parallel", "parallel"]}
        ins(%old, %share, %r : tensor<6xf32>, tensor<6xf32>, tensor<24xf32>)
        outs(%acc : tensor<6x24xf32>) {
    ^bb1(%o: f32, %p: f32, %h: f32, %a: f32):
      %3 = arith.mulf %a, %o : f32
      %4 = arith.mulf %p, %h : f32
      %5 = arith.addf %3, %4 : f32
      linalg.yield %5 : f32
    } -> tensor<6x24xf32>
    moe.yield %new, %total, %mix
        : tensor<6xf32>, tensor<6xf32>, tensor<6x24xf32>
  }
}
)";

TEST(FoldRows, SoftmaxOverRows) {
  std::unique_ptr<Kernels> kernels = compile(mixtureSource);
  ASSERT_TRUE(kernels);
  Random random(43);
  for (int64_t tokens : {0, 1, 2, 17, 100}) {
    std::vector<float> x = randomValues(random, tokens * 24),
                       l = randomValues(random, tokens * 6, 3.0f);
    forEveryWay(*kernels, "mixture", [&](int level, int workers, bool back) {
      Buffer<float> m(6), s(6), y(6 * 24);
      EXPECT_EQ(
          kernels->run("mixture", level, workers,
                       {Buffer<float>(x), Buffer<float>(l), m, s, y, tokens},
                       back),
          0);
      for (int64_t slot = 0; slot < 6; ++slot) {
        double largest = -1.0e30, sum = 0;
        for (int64_t t = 0; t < tokens; ++t)
          largest = std::max<double>(largest, l[t * 6 + slot]);
        for (int64_t t = 0; t < tokens; ++t)
          sum += std::exp(l[t * 6 + slot] - largest);
        EXPECT_EQ(m.values()[slot], float(largest));
        EXPECT_NEAR(s.values()[slot], sum, 1e-5 * sum);
        for (int64_t h = 0; h < 24; ++h) {
          double value = 0, size = 0;
          for (int64_t t = 0; t < tokens; ++t) {
            double part = std::exp(l[t * 6 + slot] - largest) * x[t * 24 + h];
            value += part;
            size += std::fabs(part);
          }
          EXPECT_NEAR(y.values()[slot * 24 + h], value, 1e-5 * size + 1e-30);
        }
      }
    });
  }
}

TEST(FoldRows, UnsupportedOpsAreNamed) {
  std::string diagnostics;
  EXPECT_FALSE(Kernels::compile(
      "func.func private @f(tensor<1x8xf32>) -> tensor<1x8xf32>\n"
      "plan.kernel @bad(%a: memref<?xf32>, %o: memref<?xf32>, %n: index) {\n"
      "  moe.kernel.fold_rows rows(%a : memref<?xf32>)\n"
      "      outs(%o : memref<?xf32>) inits [0.0] tokens(%n) {\n"
      "  ^bb0(%i: index, %x: tensor<1x8xf32>, %s: tensor<1x8xf32>):\n"
      "    %r = func.call @f(%s) : (tensor<1x8xf32>) -> tensor<1x8xf32>\n"
      "    moe.yield %r : tensor<1x8xf32>\n  }\n}\n",
      diagnostics));
  EXPECT_NE(diagnostics.find("'func.call' op cannot run row by row"),
            std::string::npos)
      << diagnostics;
}
