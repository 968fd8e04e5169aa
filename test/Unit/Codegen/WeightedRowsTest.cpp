//===- WeightedRowsTest.cpp - Weights on the way in, not out --------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelHarness.h"
#include "Numerics.h"

#include "gtest/gtest.h"

#include <cmath>

using namespace moe_test;

static std::unique_ptr<Kernels> compile(const std::string &source) {
  std::string diagnostics;
  std::unique_ptr<Kernels> kernels = Kernels::compile(source, diagnostics);
  EXPECT_TRUE(kernels) << diagnostics;
  return kernels;
}

namespace {
/// Random lists of tokens x experts: ids ascend in steps of one.
struct Routed {
  Lists lists;
  int64_t pairs;

  Routed(Random &random, int64_t tokens, int64_t perToken, int64_t experts) {
    std::vector<int32_t> ids;
    for (int64_t t = 0; t < tokens; ++t) {
      int32_t first = random() % (experts - perToken + 1);
      for (int64_t j = 0; j < perToken; ++j)
        ids.push_back(first + j);
    }
    lists = groupRows(ids, randomValues(random, ids.size()), tokens, perToken,
                      experts);
    pairs = ids.size();
  }
};
} // namespace

TEST(WeightedRows, GatherMultiplies) {
  std::string source;
  const int64_t hiddens[] = {1, 17, 40, 512};
  for (int64_t hidden : hiddens)
    for (std::string type : {"f32", "bf16"})
      source += "plan.kernel @gather_" + type + "_" + std::to_string(hidden) +
                "(%x: memref<?x" + type +
                ">, %t: memref<?xi32>, %o: memref<?xi32>, %w: memref<?xf32>, "
                "%r: memref<?x" +
                type +
                ">) {\n  moe.kernel.gather_rows ins(%x, %t, %o : "
                "memref<?x" +
                type +
                ">, memref<?xi32>, memref<?xi32>) "
                "weights(%w : memref<?xf32>) outs(%r : memref<?x" +
                type +
                ">) {experts = 5 : i64, hidden = " + std::to_string(hidden) +
                " : i64}\n}\n";
  std::unique_ptr<Kernels> kernels = compile(source);
  ASSERT_TRUE(kernels);
  Random random(16);
  for (int64_t hidden : hiddens)
    for (int64_t tokens : {0, 1, 2, 17}) {
      Routed routed(random, tokens, 3, 5);
      const Lists &lists = routed.lists;
      std::vector<float> x = randomValues(random, tokens * hidden);
      std::vector<uint16_t> x16 = roundToBf16(x);
      std::vector<float> wide = fromBf16(x16), expected, expected16;
      for (size_t r = 0; r < lists.rowToken.size(); ++r)
        for (int64_t h = 0; h < hidden; ++h) {
          int64_t at = lists.rowToken[r] * hidden + h;
          expected.push_back(x[at] * lists.rowWeight[r]);
          expected16.push_back(wide[at] * lists.rowWeight[r]);
        }
      Buffer<int32_t> rowToken(lists.rowToken), offsets(lists.expertOffsets);
      Buffer<float> weights(lists.rowWeight);
      std::string size = std::to_string(hidden);
      forEveryWay(*kernels, "gather_f32_" + size,
                  [&](int level, int workers, bool back) {
                    Buffer<float> rows(expected.size());
                    kernels->run(
                        "gather_f32_" + size, level, workers,
                        {Buffer<float>(x), rowToken, offsets, weights, rows},
                        back);
                    expectSameBits(rows.values(), expected);
                  });
      forEveryWay(*kernels, "gather_bf16_" + size,
                  [&](int level, int workers, bool back) {
                    Buffer<uint16_t> rows(expected.size());
                    kernels->run("gather_bf16_" + size, level, workers,
                                 {Buffer<uint16_t>(x16), rowToken, offsets,
                                  weights, rows},
                                 back);
                    expectSameBits(rows.values(), roundToBf16(expected16));
                  });
    }
}

/// One segment is added as it is, the other with its weights.
TEST(WeightedRows, CombineAddsUnweightedSegments) {
  const int64_t hiddens[] = {1, 40, 300};
  std::string source, lists = "memref<?xi32>, memref<?xi32>",
                      floats = "memref<?xf32>, memref<?xf32>";
  for (int64_t hidden : hiddens)
    source += "plan.kernel @combine_" + std::to_string(hidden) +
              "(%y0: memref<?xf32>, %o0: memref<?xi32>, %i0: memref<?xi32>, "
              "%w0: memref<?xf32>, %y1: memref<?xf32>, %o1: memref<?xi32>, "
              "%i1: memref<?xi32>, %w1: memref<?xf32>, %out: memref<?xf32>, "
              "%n: index) {\n  moe.kernel.combine_rows rows(%y0, %y1 : " +
              floats + ") offsets(%o0, %o1 : " + lists +
              ") indices(%i0, %i1 : " + lists +
              ") weights(%w0, %w1 : " + floats +
              ") outs(%out : memref<?xf32>) tokens(%n) {hidden = " +
              std::to_string(hidden) +
              " : i64, unweighted = array<i1: true, false>}\n}\n";
  std::unique_ptr<Kernels> kernels = compile(source);
  ASSERT_TRUE(kernels);
  Random random(17);
  for (int64_t hidden : hiddens)
    for (int64_t tokens : {0, 1, 17}) {
      Routed first(random, tokens, 3, 5), second(random, tokens, 1, 1);
      const Lists *lists[] = {&first.lists, &second.lists};
      std::vector<float> rows[] = {randomValues(random, first.pairs * hidden),
                                   randomValues(random, second.pairs * hidden)};
      std::vector<float> expected;
      for (int64_t t = 0; t < tokens; ++t)
        for (int64_t h = 0; h < hidden; ++h) {
          float sum = 0.0f;
          for (int s : {0, 1})
            for (int32_t i = lists[s]->tokenOffsets[t];
                 i < lists[s]->tokenOffsets[t + 1]; ++i) {
              int32_t r = lists[s]->tokenRows[i];
              float value = rows[s][r * hidden + h];
              sum = s == 0 ? sum + value
                           : std::fmaf(lists[s]->rowWeight[r], value, sum);
            }
          expected.push_back(sum);
        }
      std::string name = "combine_" + std::to_string(hidden);
      forEveryWay(*kernels, name, [&](int level, int workers, bool back) {
        Buffer<float> out(expected.size());
        kernels->run(
            name, level, workers,
            {Buffer<float>(rows[0]), Buffer<int32_t>(lists[0]->tokenOffsets),
             Buffer<int32_t>(lists[0]->tokenRows),
             Buffer<float>(lists[0]->rowWeight), Buffer<float>(rows[1]),
             Buffer<int32_t>(lists[1]->tokenOffsets),
             Buffer<int32_t>(lists[1]->tokenRows),
             Buffer<float>(lists[1]->rowWeight), out, tokens},
            back);
        expectSameBits(out.values(), expected);
      });
    }
}
