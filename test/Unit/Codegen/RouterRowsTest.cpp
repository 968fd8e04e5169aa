//===- RouterRowsTest.cpp - Lists, rows and tables of composed routers ----===//
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

/// `text` with every $NAME replaced.
static std::string
substitute(std::string text,
           const std::vector<std::pair<std::string, std::string>> &names) {
  for (const auto &[name, value] : names)
    for (size_t at; (at = text.find("$" + name)) != std::string::npos;)
      text.replace(at, name.size() + 1, value);
  return text;
}

static std::string text(int64_t value) { return std::to_string(value); }

namespace {
/// A routing in which each pair is there or not.
struct SparseRouting {
  /// \param density  probability of a pair
  SparseRouting(Random &random, int64_t tokens, int64_t experts,
                double density) {
    std::bernoulli_distribution isPair(density);
    std::normal_distribution<float> weight;
    lists.expertOffsets.push_back(0);
    std::vector<std::vector<int32_t>> rowsOf(tokens);
    for (int64_t e = 0; e < experts; ++e) {
      for (int64_t t = 0; t < tokens; ++t)
        if (isPair(random)) {
          rowsOf[t].push_back(lists.rowToken.size());
          lists.rowToken.push_back(t);
          lists.rowWeight.push_back(weight(random));
        }
      lists.expertOffsets.push_back(lists.rowToken.size());
    }
    lists.tokenOffsets.push_back(0);
    for (const std::vector<int32_t> &rows : rowsOf) {
      lists.tokenRows.insert(lists.tokenRows.end(), rows.begin(), rows.end());
      lists.tokenOffsets.push_back(lists.tokenRows.size());
    }
  }

  int64_t rows() const { return lists.rowToken.size(); }

  Lists lists;
};

/// What experts [begin, end) of a routing see of it: their pairs, numbered
/// anew.
Lists restrictTo(const Lists &all, int64_t begin, int64_t end) {
  Lists part;
  std::vector<std::vector<int32_t>> rowsOf(all.tokenOffsets.size() - 1);
  part.expertOffsets.push_back(0);
  for (int64_t e = begin; e < end; ++e) {
    for (int32_t r = all.expertOffsets[e]; r < all.expertOffsets[e + 1]; ++r) {
      rowsOf[all.rowToken[r]].push_back(part.rowToken.size());
      part.rowToken.push_back(all.rowToken[r]);
      part.rowWeight.push_back(all.rowWeight[r]);
    }
    part.expertOffsets.push_back(part.rowToken.size());
  }
  part.tokenOffsets.push_back(0);
  for (const std::vector<int32_t> &rows : rowsOf) {
    part.tokenRows.insert(part.tokenRows.end(), rows.begin(), rows.end());
    part.tokenOffsets.push_back(part.tokenRows.size());
  }
  return part;
}
} // namespace

static const char *sliceSource = R"(
plan.kernel @slice_$B_$E(%so: memref<?xi32>, %st: memref<?xi32>,
    %sw: memref<?xf32>, %sto: memref<?xi32>, %str: memref<?xi32>,
    %eo: memref<?xi32>, %rt: memref<?xi32>, %rw: memref<?xf32>,
    %to: memref<?xi32>, %tr: memref<?xi32>, %n: index) {
  moe.kernel.slice_rows
      ins(%so, %st, %sw, %sto, %str : memref<?xi32>, memref<?xi32>,
          memref<?xf32>, memref<?xi32>, memref<?xi32>)
      outs(%eo, %rt, %rw, %to, %tr : memref<?xi32>, memref<?xi32>,
           memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n)
      {begin = $B : i64, end = $E : i64}
}
)";

TEST(SliceRows, FiveLists) {
  const std::pair<int64_t, int64_t> ranges[] = {{0, 1}, {0, 7}, {2, 5}, {6, 7}};
  std::string source;
  for (auto [begin, end] : ranges)
    source += substitute(sliceSource, {{"B", text(begin)}, {"E", text(end)}});
  std::unique_ptr<Kernels> kernels = compile(source);
  ASSERT_TRUE(kernels);
  Random random(31);
  for (const auto &range : ranges)
    for (int64_t tokens : {0, 1, 2, 17, 333})
      for (double density : {0.0, 0.4, 1.0}) {
        int64_t begin = range.first, end = range.second;
        SparseRouting routing(random, tokens, 7, density);
        const Lists &all = routing.lists;
        Lists expected = restrictTo(all, begin, end);
        std::string name = "slice_" + text(begin) + "_" + text(end);
        forEveryWay(*kernels, name, [&](int level, int workers, bool back) {
          SCOPED_TRACE(text(tokens) + " tokens");
          Buffer<int32_t> eo(end - begin + 1), rt(expected.rowToken.size()),
              to(tokens + 1), tr(expected.rowToken.size());
          Buffer<float> rw(expected.rowToken.size());
          EXPECT_EQ(kernels->run(name, level, workers,
                                 {Buffer<int32_t>(all.expertOffsets),
                                  Buffer<int32_t>(all.rowToken),
                                  Buffer<float>(all.rowWeight),
                                  Buffer<int32_t>(all.tokenOffsets),
                                  Buffer<int32_t>(all.tokenRows), eo, rt, rw,
                                  to, tr, tokens},
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

static const char *nestSource = R"(
plan.kernel @nest_$J_$K(%i: memref<?xi32>, %eo: memref<?xi32>,
                        %o: memref<?xi32>, %n: index) {
  moe.kernel.nest_ids ins(%i, %eo : memref<?xi32>, memref<?xi32>)
      outs(%o : memref<?xi32>) tokens(%n)
      {experts = 5 : i64, inner_experts = $J : i64, per_token = $K : i64}
}
)";

// Rows behind the last one are no pairs, whatever stands in their memory.
TEST(NestIds, NumbersOfExpertsWithinExperts) {
  const std::pair<int64_t, int64_t> sizes[] = {{8, 2}, {1, 1}, {31, 3}};
  std::string source;
  for (auto [inner, k] : sizes)
    source += substitute(nestSource, {{"J", text(inner)}, {"K", text(k)}});
  std::unique_ptr<Kernels> kernels = compile(source);
  ASSERT_TRUE(kernels);
  Random random(32);
  for (auto [inner, k] : sizes)
    for (int64_t tokens : {0, 1, 2, 17, 333})
      for (int64_t unused : {0, 1, 40}) {
        SparseRouting routing(random, tokens, 5, 0.3);
        int64_t rows = routing.rows(), memory = rows + unused;
        std::vector<int32_t> ids, expected;
        for (int64_t i = 0; i < memory * k; ++i)
          ids.push_back(int32_t(random() % (inner + 1)) - 1);
        for (int64_t r = 0; r < memory; ++r) {
          const std::vector<int32_t> &eo = routing.lists.expertOffsets;
          int32_t e =
              std::upper_bound(eo.begin(), eo.end(), r) - eo.begin() - 1;
          for (int64_t j = 0; j < k; ++j) {
            int32_t id = ids[r * k + j];
            expected.push_back(r < rows && id >= 0 ? id + e * inner : -1);
          }
        }
        std::string name = "nest_" + text(inner) + "_" + text(k);
        forEveryWay(*kernels, name, [&](int level, int workers, bool back) {
          Buffer<int32_t> out(expected.size());
          EXPECT_EQ(kernels->run(name, level, workers,
                                 {Buffer<int32_t>(ids),
                                  Buffer<int32_t>(routing.lists.expertOffsets),
                                  out, memory},
                                 back),
                    0);
          EXPECT_EQ(out.values(), expected);
        });
      }
}

static const char *countSource = R"(
plan.kernel @count_$E_$K(%i: memref<?xi32>, %c: memref<?xi64>, %n: index) {
  moe.kernel.count_ids ins(%i : memref<?xi32>) outs(%c : memref<?xi64>)
      tokens(%n) {experts = $E : i64, per_token = $K : i64}
}
)";

TEST(CountIds, ChoicesOfEachExpert) {
  const std::pair<int64_t, int64_t> sizes[] = {{8, 2}, {1, 1}, {37, 5}};
  std::string source;
  for (auto [experts, k] : sizes)
    source += substitute(countSource, {{"E", text(experts)}, {"K", text(k)}});
  std::unique_ptr<Kernels> kernels = compile(source);
  ASSERT_TRUE(kernels);
  Random random(33);
  for (const auto &size : sizes)
    for (int64_t tokens : {0, 1, 2, 17, 333}) {
      int64_t experts = size.first, k = size.second;
      std::vector<int32_t> ids;
      std::vector<int64_t> expected(experts);
      for (int64_t i = 0; i < tokens * k; ++i) {
        ids.push_back(int32_t(random() % (experts + 1)) - 1);
        if (ids.back() >= 0)
          ++expected[ids.back()];
      }
      std::string name = "count_" + text(experts) + "_" + text(k);
      forEveryWay(*kernels, name, [&](int level, int workers, bool back) {
        Buffer<int64_t> counts(experts);
        EXPECT_EQ(kernels->run(name, level, workers,
                               {Buffer<int32_t>(ids), counts, tokens}, back),
                  0);
        EXPECT_EQ(counts.values(), expected);
      });
    }
}

static const char *lookupSource = R"(
plan.kernel @lookup_$T_$C(%t: memref<?x$T>, %i: memref<?xi32>,
                          %o: memref<?x$T>, %n: index) {
  moe.kernel.lookup_rows ins(%t, %i : memref<?x$T>, memref<?xi32>)
      outs(%o : memref<?x$T>) tokens(%n) {size = 11 : i64, columns = $C : i64}
}
)";

/// Runs a lookup in rows of `T`, now and then with a bad index.
template <typename T>
static void checkLookup(const Kernels &kernels, const std::string &type,
                        int64_t columns, Random &random) {
  std::vector<T> table(11 * columns);
  for (T &value : table)
    value = T(random());
  std::string name = "lookup_" + type + "_" + text(columns);
  for (int64_t tokens : {0, 1, 2, 17, 333})
    for (int32_t bad : {0, -1, 11, INT32_MIN, INT32_MAX}) {
      std::vector<int32_t> indices;
      for (int64_t t = 0; t < tokens; ++t)
        indices.push_back(random() % 11);
      bool isBad = bad && tokens;
      if (isBad)
        indices[random() % tokens] = bad;
      std::vector<T> expected;
      for (int32_t i : indices)
        for (int64_t c = 0; c < columns; ++c)
          expected.push_back(i == bad && isBad ? T(0) : table[i * columns + c]);
      forEveryWay(kernels, name, [&](int level, int workers, bool back) {
        Buffer<T> out(expected.size());
        EXPECT_EQ(kernels.run(
                      name, level, workers,
                      {Buffer<T>(table), Buffer<int32_t>(indices), out, tokens},
                      back),
                  isBad ? MOERT_KERNEL_BAD_INDEX : MOERT_KERNEL_OK);
        EXPECT_EQ(out.values(), expected) << tokens << " tokens, " << bad;
      });
    }
}

TEST(LookupRows, RowsOfATable) {
  const int64_t widths[] = {1, 2, 16, 33};
  std::string source;
  for (int64_t columns : widths)
    for (const char *type : {"i32", "f32", "bf16", "f16"})
      source += substitute(lookupSource, {{"T", type}, {"C", text(columns)}});
  std::unique_ptr<Kernels> kernels = compile(source);
  ASSERT_TRUE(kernels);
  Random random(34);
  for (int64_t columns : widths) {
    checkLookup<int32_t>(*kernels, "i32", columns, random);
    checkLookup<uint32_t>(*kernels, "f32", columns, random);
    checkLookup<uint16_t>(*kernels, "bf16", columns, random);
    checkLookup<uint16_t>(*kernels, "f16", columns, random);
  }
}

static const char *rowLogitsSource = R"(
plan.kernel @rows_$T_$J_$H(%x: memref<?x$T>, %w: memref<?x$T>,
                           %eo: memref<?xi32>, %o: memref<?xf32>) {
  moe.kernel.row_logits
      ins(%x, %w, %eo : memref<?x$T>, memref<?x$T>, memref<?xi32>)
      outs(%o : memref<?xf32>)
      {experts = 5 : i64, inner_experts = $J : i64, hidden = $H : i64}
}
)";

TEST(RowLogits, ARouterForEachExpert) {
  const std::pair<int64_t, int64_t> sizes[] = {
      {8, 64}, {1, 1}, {6, 40}, {3, 17}, {33, 130}};
  std::string source;
  for (auto [inner, hidden] : sizes)
    for (const char *type : {"f32", "bf16"})
      source +=
          substitute(rowLogitsSource,
                     {{"T", type}, {"J", text(inner)}, {"H", text(hidden)}});
  std::unique_ptr<Kernels> kernels = compile(source);
  ASSERT_TRUE(kernels);
  Random random(35);
  for (auto [inner, hidden] : sizes)
    for (int64_t tokens : {0, 1, 2, 17, 61})
      for (bool bf16 : {false, true}) {
        SparseRouting routing(random, tokens, 5, 0.4);
        int64_t rows = routing.rows();
        std::vector<float> x = randomValues(random, rows * hidden),
                           w = randomValues(random, 5 * inner * hidden);
        std::vector<uint16_t> x16 = roundToBf16(x), w16 = roundToBf16(w);
        if (bf16) {
          x = fromBf16(x16);
          w = fromBf16(w16);
        }
        std::vector<float> expected;
        for (int64_t e = 0; e < 5; ++e)
          for (int32_t r = routing.lists.expertOffsets[e];
               r < routing.lists.expertOffsets[e + 1]; ++r)
            for (int64_t j = 0; j < inner; ++j)
              expected.push_back(sixteenLaneDot(
                  &x[r * hidden], &w[(e * inner + j) * hidden], hidden));
        std::string name = std::string("rows_") + (bf16 ? "bf16_" : "f32_") +
                           text(inner) + "_" + text(hidden);
        forEveryWay(*kernels, name, [&](int level, int workers, bool back) {
          SCOPED_TRACE(text(tokens) + " tokens");
          Buffer<float> out(expected.size());
          Buffer<int32_t> eo(routing.lists.expertOffsets);
          int status =
              bf16 ? kernels->run(name, level, workers,
                                  {Buffer<uint16_t>(x16), Buffer<uint16_t>(w16),
                                   eo, out},
                                  back)
                   : kernels->run(name, level, workers,
                                  {Buffer<float>(x), Buffer<float>(w), eo, out},
                                  back);
          EXPECT_EQ(status, 0);
          expectSameBits(out.values(), expected);
        });
      }
}

static const char *cosineSource = R"(
plan.kernel @cosine_$T_$E_$H(%x: memref<?x$T>, %w: memref<?x$T>,
                             %b: memref<?xf32>, %o: memref<?xf32>, %n: index) {
  moe.kernel.router_logits
      ins(%x, %w, %b : memref<?x$T>, memref<?x$T>, memref<?xf32>)
      outs(%o : memref<?xf32>) tokens(%n)
      {experts = $E : i64, hidden = $H : i64, cosine = 0.5 : f32}
}
)";

// Tokens and experts of norm 0, below epsilon, above it, and none.
TEST(RouterLogits, Cosine) {
  const std::pair<int64_t, int64_t> sizes[] = {
      {8, 64}, {1, 1}, {6, 40}, {3, 17}, {13, 130}};
  std::string source;
  for (auto [experts, hidden] : sizes)
    for (const char *type : {"f32", "bf16"})
      source +=
          substitute(cosineSource,
                     {{"T", type}, {"E", text(experts)}, {"H", text(hidden)}});
  std::unique_ptr<Kernels> kernels = compile(source);
  ASSERT_TRUE(kernels);
  Random random(36);
  const float scales[] = {
      1.0f,  0.0f, 1e-3f, 30.0f, std::numeric_limits<float>::quiet_NaN(),
      1e-30f};
  for (const auto &size : sizes)
    for (int64_t tokens : {0, 1, 2, 17, 61})
      for (bool bf16 : {false, true}) {
        int64_t experts = size.first, hidden = size.second;
        std::vector<float> x = randomValues(random, tokens * hidden),
                           w = randomValues(random, experts * hidden),
                           bias = randomValues(random, experts);
        for (size_t i = 0; i < x.size(); ++i)
          x[i] *= scales[i / hidden % 6];
        for (size_t i = 0; i < w.size(); ++i)
          w[i] *= scales[i / hidden % 4];
        std::vector<uint16_t> x16 = roundToBf16(x), w16 = roundToBf16(w);
        if (bf16) {
          x = fromBf16(x16);
          w = fromBf16(w16);
        }
        auto norm = [&](const float *row) {
          float root = std::sqrt(sixteenLaneDot(row, row, hidden));
          return root > 0.5f ? root : 0.5f;
        };
        std::vector<float> expected;
        for (int64_t t = 0; t < tokens; ++t)
          for (int64_t e = 0; e < experts; ++e) {
            const float *row = &x[t * hidden], *weight = &w[e * hidden];
            float d = sixteenLaneDot(row, weight, hidden);
            d = d / (norm(row) * norm(weight));
            expected.push_back(d + bias[e]);
          }
        std::string name = std::string("cosine_") + (bf16 ? "bf16_" : "f32_") +
                           text(experts) + "_" + text(hidden);
        forEveryWay(*kernels, name, [&](int level, int workers, bool back) {
          SCOPED_TRACE(text(tokens) + " tokens");
          Buffer<float> out(expected.size()), b(bias);
          int status =
              bf16 ? kernels->run(name, level, workers,
                                  {Buffer<uint16_t>(x16), Buffer<uint16_t>(w16),
                                   b, out, tokens},
                                  back)
                   : kernels->run(
                         name, level, workers,
                         {Buffer<float>(x), Buffer<float>(w), b, out, tokens},
                         back);
          EXPECT_EQ(status, 0);
          expectSameBits(out.values(), expected);
        });
      }
}
