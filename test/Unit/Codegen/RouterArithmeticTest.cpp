//===- RouterArithmeticTest.cpp - Elementwise code, bit for bit -----------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// docs/Numerics.md, "Router arithmetic": what a model computes between its
// router's logits and the routing.
//
//===----------------------------------------------------------------------===//

#include "KernelHarness.h"
#include "Numerics.h"

#include "gtest/gtest.h"

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace moe_test;

static const char *source = R"(
plan.kernel @functions(%a: memref<?xf32>, %e: memref<?xf32>, %l: memref<?xf32>,
                       %s: memref<?xf32>, %n: index) {
  moe.kernel.map_rows rows(%a : memref<?xf32>)
      outs(%e, %l, %s : memref<?xf32>, memref<?xf32>, memref<?xf32>) tokens(%n)
      attributes {experts = 0 : i64} {
  ^bb0(%x: tensor<1x19xf32>):
    %exp = math.exp %x : tensor<1x19xf32>
    %log = math.log %x : tensor<1x19xf32>
    %sqrt = math.sqrt %x : tensor<1x19xf32>
    moe.yield %exp, %log, %sqrt
        : tensor<1x19xf32>, tensor<1x19xf32>, tensor<1x19xf32>
  }
}
plan.kernel @sums(%a: memref<?xf32>, %b: memref<?xf32>, %c: memref<?xf32>,
                  %o: memref<?xf32>, %n: index) {
  moe.kernel.map_rows rows(%a, %b, %c
      : memref<?xf32>, memref<?xf32>, memref<?xf32>)
      outs(%o : memref<?xf32>) tokens(%n)
      attributes {experts = 0 : i64} {
  ^bb0(%x: tensor<1x19xf32>, %y: tensor<1x19xf32>, %z: tensor<1x19xf32>):
    %p = arith.mulf %x, %y : tensor<1x19xf32>
    %s = arith.addf %p, %z : tensor<1x19xf32>
    %q = arith.mulf %s, %z : tensor<1x19xf32>
    %d = arith.subf %p, %q : tensor<1x19xf32>
    %r = arith.divf %d, %y : tensor<1x19xf32>
    moe.yield %r : tensor<1x19xf32>
  }
}
)";

static std::unique_ptr<Kernels> compile() {
  std::string diagnostics;
  std::unique_ptr<Kernels> kernels = Kernels::compile(source, diagnostics);
  EXPECT_TRUE(kernels) << diagnostics;
  return kernels;
}

TEST(RouterArithmetic, FunctionsOverTheWholeRange) {
  std::unique_ptr<Kernels> kernels = compile();
  ASSERT_TRUE(kernels);
  std::vector<float> x;
  auto addBits = [&](uint64_t bits) {
    uint32_t narrow = bits;
    float value;
    std::memcpy(&value, &narrow, sizeof(value));
    x.push_back(value);
  };
  for (uint64_t bits = 0; bits < (uint64_t(1) << 32); bits += 16411)
    addBits(bits);
  // Around the numbers at which one of the functions changes its ways.
  for (uint32_t center : {0x00000000u, 0x00800000u, 0x3f3504f3u, 0x3f800000u,
                          0x7f800000u, 0x80000000u, 0x42b17218u, 0xc2aeac4fu})
    for (int i = -500; i <= 500; ++i)
      addBits(center + uint32_t(i));
  while (x.size() % 19)
    x.push_back(2.0f);
  std::vector<float> exps, logs, roots;
  for (float value : x) {
    exps.push_back(specifiedExp(value));
    logs.push_back(specifiedLog(value));
    roots.push_back(std::sqrt(value));
  }
  for (int level : kernels->levelsOf("functions")) {
    SCOPED_TRACE(levelName(level));
    Buffer<float> e(x.size()), l(x.size()), s(x.size());
    EXPECT_EQ(kernels->run("functions", level, 1,
                           {Buffer<float>(x), e, l, s, int64_t(x.size() / 19)}),
              0);
    expectSameBits(e.values(), exps);
    expectSameBits(l.values(), logs);
    expectSameBits(s.values(), roots);
  }
}

/// The specification itself: its polynomial is that of the logarithm.
TEST(RouterArithmetic, SpecifiedLogIsClose) {
  double worst = 0;
  for (uint32_t bits = 1; bits < 0x7f800000u; bits += 4099) {
    float x;
    std::memcpy(&x, &bits, sizeof(x));
    double exact = std::log(double(x)), error = specifiedLog(x) - exact;
    float near = float(exact);
    double ulp = double(std::nextafterf(std::fabs(near), INFINITY)) -
                 double(std::fabs(near));
    worst = std::max(worst, std::fabs(error) / ulp);
  }
  EXPECT_LT(worst, 0.84);
  EXPECT_GT(worst, 0.5);
}

/// A product followed by a sum, where contraction would show.
TEST(RouterArithmetic, NothingIsContracted) {
  std::unique_ptr<Kernels> kernels = compile();
  ASSERT_TRUE(kernels);
  Random random(31);
  for (int64_t tokens : {0, 1, 100}) {
    std::vector<float> x = randomValues(random, tokens * 19);
    std::vector<float> y = randomValues(random, tokens * 19);
    std::vector<float> z(x.size()), expected;
    int contracted = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      float p = x[i] * y[i];
      z[i] = i % 2 ? -p : p;
      float s = p + z[i], q = s * z[i], d = p - q;
      expected.push_back(d / y[i]);
      contracted += std::fmaf(x[i], y[i], z[i]) != s;
    }
    if (tokens == 100) {
      EXPECT_GT(contracted, 0);
    }
    forEveryWay(*kernels, "sums", [&](int level, int workers, bool back) {
      Buffer<float> out(x.size());
      EXPECT_EQ(kernels->run("sums", level, workers,
                             {Buffer<float>(x), Buffer<float>(y),
                              Buffer<float>(z), out, tokens},
                             back),
                0);
      expectSameBits(out.values(), expected);
    });
  }
}
