//===- RoutingRowsTest.cpp - Gather, combine and count on GPUs ------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "../Numerics.h"
#include "GpuHarness.h"

#include "gtest/gtest.h"

#include <cmath>

using namespace moe_test;

static std::unique_ptr<GpuKernels> compile(const std::string &source) {
  std::string diagnostics;
  std::unique_ptr<GpuKernels> kernels =
      GpuKernels::compile(source, diagnostics);
  EXPECT_TRUE(kernels) << diagnostics;
  return kernels;
}

TEST(GpuCountRows, Differences) {
  std::unique_ptr<GpuKernels> kernels =
      compile("plan.kernel @count(%o: memref<?xi32>, %c: memref<?xi64>) on "
              "cuda {\n"
              "  moe.kernel.count_rows ins(%o : memref<?xi32>) outs(%c : "
              "memref<?xi64>) {experts = 5 : i64}\n}\n");
  ASSERT_TRUE(kernels);
  std::vector<int32_t> offsets = {0, 3, 3, 10, 2000000000, 2000000001};
  for (const Way &way : allWays()) {
    auto counts = output<int64_t>(5);
    EXPECT_EQ(kernels->run("count", way, {input(offsets), counts}), 0);
    EXPECT_EQ(valuesOf<int64_t>(counts),
              std::vector<int64_t>({3, 0, 7, 1999999990, 1}));
  }
}

namespace {
/// Random lists of tokens x experts.
struct Routed {
  Lists lists;
  int64_t pairs;

  Routed(Random &random, int64_t tokens, int64_t perToken, int64_t experts) {
    std::vector<int32_t> ids =
        randomIds(random, tokens, perToken, experts, true);
    lists = groupRows(ids, randomValues(random, ids.size()), tokens, perToken,
                      experts);
    pairs = ids.size();
  }
};
} // namespace

TEST(GpuGatherRows, CopiesTokens) {
  std::string source;
  const int64_t hiddens[] = {1, 17, 40, 2048};
  for (int64_t hidden : hiddens)
    for (std::string type : {"f32", "bf16"})
      source +=
          "plan.kernel @gather_" + type + "_" + std::to_string(hidden) +
          "(%x: memref<?x" + type +
          ">, %t: memref<?xi32>, %o: memref<?xi32>, %r: memref<?x" + type +
          ">) on cuda {\n  moe.kernel.gather_rows ins(%x, %t, %o : memref<?x" +
          type + ">, memref<?xi32>, memref<?xi32>) outs(%r : memref<?x" + type +
          ">) {experts = 5 : i64, hidden = " + std::to_string(hidden) +
          " : i64}\n}\n";
  std::unique_ptr<GpuKernels> kernels = compile(source);
  ASSERT_TRUE(kernels);
  Random random(6);
  for (int64_t hidden : hiddens)
    for (int64_t tokens : {0, 1, 2, 17, 33}) {
      Routed routed(random, tokens, 3, 5);
      const Lists &lists = routed.lists;
      std::vector<float> x = randomValues(random, tokens * hidden);
      std::vector<float> expected;
      for (int32_t t : lists.rowToken)
        expected.insert(expected.end(), x.begin() + t * hidden,
                        x.begin() + (t + 1) * hidden);
      std::vector<uint16_t> x16 = roundToBf16(x),
                            expected16 = roundToBf16(expected);
      std::string size = std::to_string(hidden);
      for (const Way &way : allWays())
        // The rows of a caller may start anywhere.
        for (size_t offset : {0, 1}) {
          SCOPED_TRACE(size + ", tokens " + std::to_string(tokens) + ", " +
                       way.name());
          auto rows = output<float>(expected.size(), offset);
          kernels->run("gather_f32_" + size, way,
                       {input(x), input(lists.rowToken),
                        input(lists.expertOffsets), rows});
          expectSameBits(valuesOf<float>(rows), expected);
          auto rows16 = output<uint16_t>(expected.size());
          kernels->run("gather_bf16_" + size, way,
                       {input(x16, offset), input(lists.rowToken),
                        input(lists.expertOffsets), rows16});
          EXPECT_EQ(valuesOf<uint16_t>(rows16), expected16);
        }
    }
}

TEST(GpuGatherRows, MultipliesByWeights) {
  std::string source;
  const int64_t hiddens[] = {1, 17, 40, 520};
  for (int64_t hidden : hiddens)
    for (std::string type : {"f32", "bf16"})
      source +=
          "plan.kernel @gather_" + type + "_" + std::to_string(hidden) +
          "(%x: memref<?x" + type +
          ">, %t: memref<?xi32>, %o: memref<?xi32>, %w: memref<?xf32>, %r: "
          "memref<?x" +
          type +
          ">) on cuda {\n  moe.kernel.gather_rows ins(%x, %t, %o : "
          "memref<?x" +
          type +
          ">, memref<?xi32>, memref<?xi32>) "
          "weights(%w : memref<?xf32>) outs(%r : memref<?x" +
          type + ">) {experts = 5 : i64, hidden = " + std::to_string(hidden) +
          " : i64}\n}\n";
  std::unique_ptr<GpuKernels> kernels = compile(source);
  ASSERT_TRUE(kernels);
  Random random(9);
  for (int64_t hidden : hiddens)
    for (int64_t tokens : {0, 1, 17}) {
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
      std::string size = std::to_string(hidden);
      for (const Way &way : allWays())
        for (size_t offset : {0, 1}) {
          SCOPED_TRACE(size + ", tokens " + std::to_string(tokens) + ", " +
                       way.name());
          auto rows = output<float>(expected.size(), offset);
          kernels->run("gather_f32_" + size, way,
                       {input(x), input(lists.rowToken),
                        input(lists.expertOffsets), input(lists.rowWeight),
                        rows});
          expectSameBits(valuesOf<float>(rows), expected);
          auto rows16 = output<uint16_t>(expected.size());
          kernels->run("gather_bf16_" + size, way,
                       {input(x16, offset), input(lists.rowToken),
                        input(lists.expertOffsets), input(lists.rowWeight),
                        rows16});
          expectSameBits(valuesOf<uint16_t>(rows16), roundToBf16(expected16));
        }
    }
}

/// `unweighted`: for each segment, "false, true" or nothing.
static std::string combineKernel(const std::string &name,
                                 const std::string &type, int64_t hidden,
                                 bool two, const std::string &unweighted = "") {
  std::string rows = "memref<?x" + type + ">", list = "memref<?xi32>",
              weight = "memref<?xf32>";
  auto both = [&](std::string value, std::string t) {
    return "(%" + value + "0" + (two ? ", %" + value + "1" : "") + " : " + t +
           (two ? ", " + t : "") + ")";
  };
  std::string args;
  for (std::string i : {"0", "1"})
    args += "%y" + i + ": " + rows + ", %o" + i + ": " + list + ", %i" + i +
            ": " + list + ", %w" + i + ": " + weight + ", ";
  return "plan.kernel @" + name + "(" + args + "%out: " + rows +
         ", %n: index) on cuda {\n  moe.kernel.combine_rows rows" +
         both("y", rows) + " offsets" + both("o", list) + " indices" +
         both("i", list) + " weights" + both("w", weight) +
         " outs(%out : " + rows +
         ") tokens(%n) {hidden = " + std::to_string(hidden) + " : i64" +
         (unweighted.empty() ? ""
                             : ", unweighted = array<i1: " + unweighted + ">") +
         "}\n}\n";
}

TEST(GpuCombineRows, OneRoundingAtTheEnd) {
  const int64_t hiddens[] = {1, 17, 40, 64, 300, 2048};
  std::string source;
  for (int64_t hidden : hiddens)
    for (std::string type : {"f32", "bf16"})
      for (bool two : {false, true})
        source += combineKernel("combine_" + type + "_" +
                                    std::to_string(hidden) + (two ? "_2" : ""),
                                type, hidden, two);
  std::unique_ptr<GpuKernels> kernels = compile(source);
  ASSERT_TRUE(kernels);
  Random random(7);
  for (int64_t hidden : hiddens)
    for (int64_t tokens : {0, 1, 2, 17, 33})
      for (bool two : {false, true})
        for (bool bf16 : {false, true}) {
          if (hidden == 2048 && tokens > 2)
            continue;
          Routed first(random, tokens, 3, 5), second(random, tokens, 1, 1);
          const Lists *lists[] = {&first.lists, &second.lists};
          // A token without pairs.
          if (tokens == 17 && !two) {
            first.lists.tokenOffsets[4] = first.lists.tokenOffsets[3];
          }
          std::vector<float> rows[] = {
              randomValues(random, first.pairs * hidden),
              randomValues(random, second.pairs * hidden)};
          std::vector<uint16_t> rows16[] = {roundToBf16(rows[0]),
                                            roundToBf16(rows[1])};
          if (bf16)
            for (int s : {0, 1})
              rows[s] = fromBf16(rows16[s]);
          std::vector<float> expected;
          for (int64_t t = 0; t < tokens; ++t)
            for (int64_t h = 0; h < hidden; ++h) {
              float sum = 0.0f;
              for (int s = 0; s < (two ? 2 : 1); ++s)
                for (int32_t i = lists[s]->tokenOffsets[t];
                     i < lists[s]->tokenOffsets[t + 1]; ++i) {
                  int32_t r = lists[s]->tokenRows[i];
                  sum = std::fmaf(lists[s]->rowWeight[r],
                                  rows[s][r * hidden + h], sum);
                }
              expected.push_back(sum);
            }
          std::string name = std::string("combine_") +
                             (bf16 ? "bf16_" : "f32_") +
                             std::to_string(hidden) + (two ? "_2" : "");
          for (const Way &way : allWays())
            for (size_t offset : {0, 1}) {
              SCOPED_TRACE(name + ", tokens " + std::to_string(tokens) + ", " +
                           way.name());
              auto outF32 = output<float>(expected.size(), offset);
              auto outBf16 = output<uint16_t>(expected.size(), offset);
              std::vector<GpuArg> args;
              for (int s : {0, 1}) {
                args.push_back(bf16 ? input(rows16[s]) : input(rows[s]));
                args.push_back(input(lists[s]->tokenOffsets));
                args.push_back(input(lists[s]->tokenRows));
                args.push_back(input(lists[s]->rowWeight));
              }
              args.push_back(bf16 ? outBf16 : outF32);
              args.push_back(tokens);
              EXPECT_EQ(kernels->run(name, way, args), 0);
              if (bf16)
                expectSameBits(valuesOf<uint16_t>(outBf16),
                               roundToBf16(expected));
              else
                expectSameBits(valuesOf<float>(outF32), expected);
            }
        }
}

/// More pairs than a warp has lanes, and tokens with different numbers of them.
TEST(GpuCombineRows, ManyPairs) {
  std::unique_ptr<GpuKernels> kernels =
      compile(combineKernel("combine", "f32", 8, false));
  ASSERT_TRUE(kernels);
  Random random(8);
  int64_t tokens = 5, rows = 90;
  std::vector<int32_t> offsets = {0, 33, 33, 97, 128, 131}, list;
  for (int32_t i = 0; i < offsets.back(); ++i)
    list.push_back(random() % rows);
  std::vector<float> weights = randomValues(random, rows);
  std::vector<float> y = randomValues(random, rows * 8), expected;
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t h = 0; h < 8; ++h) {
      float sum = 0.0f;
      for (int32_t i = offsets[t]; i < offsets[t + 1]; ++i)
        sum = std::fmaf(weights[list[i]], y[list[i] * 8 + h], sum);
      expected.push_back(sum);
    }
  for (const Way &way : allWays()) {
    auto out = output<float>(expected.size());
    auto none = input(std::vector<int32_t>());
    EXPECT_EQ(
        kernels->run("combine", way,
                     {input(y), input(offsets), input(list), input(weights),
                      none, none, none, none, out, tokens}),
        0);
    expectSameBits(valuesOf<float>(out), expected);
  }
}

TEST(GpuCombineRows, SegmentsWithoutWeights) {
  const int64_t hidden = 40, tokens = 17;
  std::unique_ptr<GpuKernels> kernels =
      compile(combineKernel("combine", "f32", hidden, true, "true, false"));
  ASSERT_TRUE(kernels);
  Random random(10);
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
          float weight = s == 0 ? 1.0f : lists[s]->rowWeight[r];
          sum = std::fmaf(weight, rows[s][r * hidden + h], sum);
        }
      expected.push_back(sum);
    }
  for (const Way &way : allWays()) {
    auto out = output<float>(expected.size());
    std::vector<GpuArg> args;
    for (int s : {0, 1}) {
      args.push_back(input(rows[s]));
      args.push_back(input(lists[s]->tokenOffsets));
      args.push_back(input(lists[s]->tokenRows));
      args.push_back(input(lists[s]->rowWeight));
    }
    args.push_back(out);
    args.push_back(tokens);
    EXPECT_EQ(kernels->run("combine", way, args), 0);
    expectSameBits(valuesOf<float>(out), expected);
  }
}
