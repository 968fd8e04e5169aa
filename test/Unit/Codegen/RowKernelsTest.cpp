//===- RowKernelsTest.cpp - Lists, gather and combine ---------------------===//
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
#include <numeric>

using namespace moe_test;

static std::unique_ptr<Kernels> compile(const std::string &source) {
  std::string diagnostics;
  std::unique_ptr<Kernels> kernels = Kernels::compile(source, diagnostics);
  EXPECT_TRUE(kernels) << diagnostics;
  return kernels;
}

/// `perToken` different ids of each token: sorted, or in any order. With
/// `gaps` some are -1, the last ones when sorted.
static std::vector<int32_t> randomIds(Random &random, int64_t tokens,
                                      int64_t perToken, int64_t experts,
                                      bool sorted, bool gaps = false) {
  std::vector<int32_t> ids, all(experts);
  std::iota(all.begin(), all.end(), 0);
  for (int64_t t = 0; t < tokens; ++t) {
    std::shuffle(all.begin(), all.end(), random);
    std::vector<int32_t> own(all.begin(), all.begin() + perToken);
    if (sorted)
      std::sort(own.begin(), own.end());
    if (gaps && sorted)
      std::fill(own.end() - random() % (perToken + 1), own.end(), -1);
    else if (gaps)
      for (int32_t &id : own)
        id = random() % 3 ? id : -1;
    ids.insert(ids.end(), own.begin(), own.end());
  }
  return ids;
}

static std::string groupKernel(const std::string &name, int64_t experts,
                               int64_t perToken, bool given) {
  return "plan.kernel @" + name +
         "(%i: memref<?xi32>, %w: memref<?xf32>, %eo: memref<?xi32>, "
         "%rt: memref<?xi32>, %rw: memref<?xf32>, %to: memref<?xi32>, "
         "%tr: memref<?xi32>, %n: index) {\n"
         "  moe.kernel.group_rows ins(%i, %w : memref<?xi32>, memref<?xf32>)\n"
         "    outs(%eo, %rt, %rw, %to, %tr : memref<?xi32>, memref<?xi32>,\n"
         "         memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n)\n"
         "    {experts = " +
         std::to_string(experts) +
         " : i64, per_token = " + std::to_string(perToken) + " : i64" +
         (given ? ", given" : "") + "}\n}\n";
}

TEST(GroupRows, FiveLists) {
  struct Case {
    std::string name;
    int64_t experts, perToken;
    bool given;
  } cases[] = {{"g5", 5, 3, false},     {"g5_given", 5, 3, true},
               {"g1", 1, 1, false},     {"g256", 256, 8, false},
               {"all", 6, 6, true},     {"g64_given", 64, 8, true},
               {"g1_given", 1, 1, true}};
  std::string source;
  for (const Case &c : cases)
    source += groupKernel(c.name, c.experts, c.perToken, c.given);
  std::unique_ptr<Kernels> kernels = compile(source);
  ASSERT_TRUE(kernels);
  Random random(3);
  for (const Case &c : cases)
    for (int64_t tokens : {0, 1, 2, 17, 333, 334}) {
      bool gaps = tokens % 2 == 0;
      std::vector<int32_t> ids =
          randomIds(random, tokens, c.perToken, c.experts, !c.given, gaps);
      std::vector<float> weights = randomValues(random, ids.size());
      Lists expected = groupRows(ids, weights, tokens, c.perToken, c.experts);
      forEveryWay(*kernels, c.name, [&](int level, int workers, bool back) {
        SCOPED_TRACE(std::to_string(tokens) + " tokens");
        size_t rows = expected.rowToken.size();
        Buffer<int32_t> eo(c.experts + 1), rt(rows), to(tokens + 1), tr(rows);
        Buffer<float> rw(rows);
        EXPECT_EQ(kernels->run(c.name, level, workers,
                               {Buffer<int32_t>(ids), Buffer<float>(weights),
                                eo, rt, rw, to, tr, tokens},
                               back),
                  0);
        EXPECT_EQ(eo.values(), expected.expertOffsets);
        EXPECT_EQ(rt.values(), expected.rowToken);
        EXPECT_EQ(to.values(), expected.tokenOffsets);
        EXPECT_EQ(tr.values(), expected.tokenRows);
        expectSameBits(rw.values(), expected.rowWeight);
      });
    }
}

TEST(GroupRows, BadIdsGiveStatusAndNoRows) {
  std::unique_ptr<Kernels> kernels =
      compile(groupKernel("given", 5, 3, /*given=*/true));
  ASSERT_TRUE(kernels);
  Random random(4);
  // Out of range on both sides, repeated next to each other and apart.
  std::vector<std::vector<int32_t>> bad = {
      {0, 5, 1},  {-2, 2, 3},        {2, 2, 4},        {4, 1, 4},
      {4, -1, 4}, {INT32_MIN, 0, 1}, {INT32_MAX, 0, 1}};
  for (const std::vector<int32_t> &triple : bad)
    for (int64_t where : {0, 3, 16}) {
      int64_t tokens = 17;
      std::vector<int32_t> ids = randomIds(random, tokens, 3, 5, false);
      std::copy(triple.begin(), triple.end(), ids.begin() + 3 * where);
      std::vector<float> weights = randomValues(random, ids.size());
      forEveryWay(*kernels, "given", [&](int level, int workers, bool back) {
        Buffer<int32_t> eo(6), rt(ids.size()), to(tokens + 1), tr(ids.size());
        Buffer<float> rw(ids.size());
        EXPECT_EQ(kernels->run("given", level, workers,
                               {Buffer<int32_t>(ids), Buffer<float>(weights),
                                eo, rt, rw, to, tr, tokens},
                               back),
                  MOERT_KERNEL_BAD_EXPERT_INDEX);
        EXPECT_EQ(eo.values(), std::vector<int32_t>(6, 0));
        EXPECT_EQ(to.values(), std::vector<int32_t>(tokens + 1, 0));
      });
    }
}

static std::string allKernel(const std::string &name, int64_t experts,
                             bool weights) {
  return "plan.kernel @" + name +
         "(%w: memref<?xf32>, %eo: memref<?xi32>, "
         "%rt: memref<?xi32>, %rw: memref<?xf32>, %to: memref<?xi32>, "
         "%tr: memref<?xi32>, %n: index) {\n"
         "  moe.kernel.all_rows " +
         (weights ? "ins(%w : memref<?xf32>) " : "") +
         "outs(%eo, %rt, %rw, %to, %tr : memref<?xi32>, memref<?xi32>,\n"
         "         memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n)\n"
         "    {experts = " +
         std::to_string(experts) + " : i64}\n}\n";
}

TEST(AllRows, FiveLists) {
  std::unique_ptr<Kernels> kernels =
      compile(allKernel("one", 1, true) + allKernel("three", 3, false) +
              allKernel("weighted", 3, true));
  ASSERT_TRUE(kernels);
  Random random(5);
  struct Case {
    std::string name;
    int64_t experts;
    bool weights;
  } cases[] = {{"one", 1, true}, {"three", 3, false}, {"weighted", 3, true}};
  for (const Case &c : cases)
    for (int64_t tokens : {0, 1, 2, 17, 333}) {
      std::vector<int32_t> ids;
      for (int64_t t = 0; t < tokens; ++t)
        for (int64_t e = 0; e < c.experts; ++e)
          ids.push_back(e);
      std::vector<float> weights = randomValues(random, ids.size());
      std::vector<float> used =
          c.weights ? weights : std::vector<float>(ids.size(), 1.0f);
      Lists expected = groupRows(ids, used, tokens, c.experts, c.experts);
      forEveryWay(*kernels, c.name, [&](int level, int workers, bool back) {
        Buffer<int32_t> eo(c.experts + 1), rt(ids.size()), to(tokens + 1),
            tr(ids.size());
        Buffer<float> rw(ids.size());
        EXPECT_EQ(
            kernels->run(c.name, level, workers,
                         {Buffer<float>(weights), eo, rt, rw, to, tr, tokens},
                         back),
            0);
        EXPECT_EQ(eo.values(), expected.expertOffsets);
        EXPECT_EQ(rt.values(), expected.rowToken);
        EXPECT_EQ(to.values(), expected.tokenOffsets);
        EXPECT_EQ(tr.values(), expected.tokenRows);
        expectSameBits(rw.values(), expected.rowWeight);
      });
    }
}

TEST(CountRows, Differences) {
  std::unique_ptr<Kernels> kernels =
      compile("plan.kernel @count(%o: memref<?xi32>, %c: memref<?xi64>) {\n"
              "  moe.kernel.count_rows ins(%o : memref<?xi32>) outs(%c : "
              "memref<?xi64>) {experts = 5 : i64}\n}\n");
  ASSERT_TRUE(kernels);
  forEveryWay(*kernels, "count", [&](int level, int workers, bool back) {
    Buffer<int64_t> counts(5);
    kernels->run(
        "count", level, workers,
        {Buffer<int32_t>({0, 3, 3, 10, 2000000000, 2000000001}), counts}, back);
    EXPECT_EQ(counts.values(), std::vector<int64_t>({3, 0, 7, 1999999990, 1}));
  });
}

namespace {
/// Random lists of tokens x experts, the second of two segments visiting all.
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

TEST(GatherRows, CopiesTokens) {
  std::string source;
  const int64_t hiddens[] = {1, 17, 40, 2048};
  for (int64_t hidden : hiddens)
    for (std::string type : {"f32", "bf16"})
      source +=
          "plan.kernel @gather_" + type + "_" + std::to_string(hidden) +
          "(%x: memref<?x" + type +
          ">, %t: memref<?xi32>, %o: memref<?xi32>, %r: memref<?x" + type +
          ">) {\n  moe.kernel.gather_rows ins(%x, %t, %o : memref<?x" + type +
          ">, memref<?xi32>, memref<?xi32>) outs(%r : memref<?x" + type +
          ">) {experts = 5 : i64, hidden = " + std::to_string(hidden) +
          " : i64}\n}\n";
  std::unique_ptr<Kernels> kernels = compile(source);
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
      forEveryWay(*kernels, "gather_f32_" + size,
                  [&](int level, int workers, bool back) {
                    Buffer<float> rows(expected.size());
                    kernels->run("gather_f32_" + size, level, workers,
                                 {Buffer<float>(x),
                                  Buffer<int32_t>(lists.rowToken),
                                  Buffer<int32_t>(lists.expertOffsets), rows},
                                 back);
                    expectSameBits(rows.values(), expected);
                  });
      forEveryWay(*kernels, "gather_bf16_" + size,
                  [&](int level, int workers, bool back) {
                    Buffer<uint16_t> rows(expected.size());
                    kernels->run("gather_bf16_" + size, level, workers,
                                 {Buffer<uint16_t>(x16),
                                  Buffer<int32_t>(lists.rowToken),
                                  Buffer<int32_t>(lists.expertOffsets), rows},
                                 back);
                    EXPECT_EQ(rows.values(), expected16);
                  });
    }
}

static std::string combineKernel(const std::string &name,
                                 const std::string &type, int64_t hidden,
                                 bool two) {
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
         ", %n: index) {\n  moe.kernel.combine_rows rows" + both("y", rows) +
         " offsets" + both("o", list) + " indices" + both("i", list) +
         " weights" + both("w", weight) + " outs(%out : " + rows +
         ") tokens(%n) {hidden = " + std::to_string(hidden) + " : i64}\n}\n";
}

TEST(CombineRows, OneRoundingAtTheEnd) {
  const int64_t hiddens[] = {1, 17, 40, 64, 300, 2048};
  std::string source;
  for (int64_t hidden : hiddens)
    for (std::string type : {"f32", "bf16"})
      for (bool two : {false, true})
        source += combineKernel("combine_" + type + "_" +
                                    std::to_string(hidden) + (two ? "_2" : ""),
                                type, hidden, two);
  std::unique_ptr<Kernels> kernels = compile(source);
  ASSERT_TRUE(kernels);
  Random random(7);
  for (int64_t hidden : hiddens)
    for (int64_t tokens : {0, 1, 2, 17, 33})
      for (bool two : {false, true})
        for (bool bf16 : {false, true}) {
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
          forEveryWay(*kernels, name, [&](int level, int workers, bool back) {
            Buffer<int32_t> o0(lists[0]->tokenOffsets), i0(lists[0]->tokenRows),
                o1(lists[1]->tokenOffsets), i1(lists[1]->tokenRows);
            Buffer<float> w0(lists[0]->rowWeight), w1(lists[1]->rowWeight);
            if (bf16) {
              Buffer<uint16_t> out(expected.size());
              kernels->run(name, level, workers,
                           {Buffer<uint16_t>(rows16[0]), o0, i0, w0,
                            Buffer<uint16_t>(rows16[1]), o1, i1, w1, out,
                            tokens},
                           back);
              expectSameBits(out.values(), roundToBf16(expected));
            } else {
              Buffer<float> out(expected.size());
              kernels->run(name, level, workers,
                           {Buffer<float>(rows[0]), o0, i0, w0,
                            Buffer<float>(rows[1]), o1, i1, w1, out, tokens},
                           back);
              expectSameBits(out.values(), expected);
            }
          });
        }
}
