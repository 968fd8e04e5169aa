//===- RoutingGroupTest.cpp - The lists of a routing on GPUs --------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "../RouterNumerics.h"
#include "GpuHarness.h"

#include "gtest/gtest.h"

#include <algorithm>

using namespace moe_test;

static std::unique_ptr<GpuKernels> compile(const std::string &source) {
  std::string diagnostics;
  std::unique_ptr<GpuKernels> kernels =
      GpuKernels::compile(source, diagnostics);
  EXPECT_TRUE(kernels) << diagnostics;
  return kernels;
}

namespace {
template <typename T>
std::vector<T> firstOf(const std::shared_ptr<DeviceBytes> &bytes, size_t n) {
  std::vector<T> values = valuesOf<T>(bytes);
  EXPECT_LE(n, values.size());
  values.resize(n);
  return values;
}

/// The lists that a kernel writes, and what is expected of them.
struct ListBuffers {
  std::shared_ptr<DeviceBytes> expertOffsets, rowToken, rowWeight, tokenOffsets,
      tokenRows, worklist;

  ListBuffers(int64_t tokens, int64_t pairs, int64_t experts, int64_t tileRows)
      : expertOffsets(output<int32_t>(experts + 1)),
        rowToken(output<int32_t>(pairs)), rowWeight(output<float>(pairs)),
        tokenOffsets(output<int32_t>(tokens + 1)),
        tokenRows(output<int32_t>(pairs)) {
    // As many tiles as there can be: a part of one for each expert with rows.
    int64_t tiles = std::min(experts, pairs) + pairs / tileRows;
    worklist = output<int32_t>(4 + 4 * tiles);
  }
  void appendTo(std::vector<GpuArg> &args) const {
    for (auto &list : {expertOffsets, rowToken, rowWeight, tokenOffsets,
                       tokenRows, worklist})
      args.push_back(list);
  }
  void expect(const Lists &expected, int64_t tileRows) const {
    EXPECT_EQ(valuesOf<int32_t>(expertOffsets), expected.expertOffsets);
    EXPECT_EQ(valuesOf<int32_t>(tokenOffsets), expected.tokenOffsets);
    // What is no pair leaves the ends of the lists as they were.
    size_t rows = expected.rowToken.size();
    EXPECT_EQ(firstOf<int32_t>(rowToken, rows), expected.rowToken);
    EXPECT_EQ(firstOf<int32_t>(tokenRows, rows), expected.tokenRows);
    expectSameBits(firstOf<float>(rowWeight, rows), expected.rowWeight);
    std::vector<int32_t> tiles;
    for (size_t e = 0; e + 1 < expected.expertOffsets.size(); ++e)
      for (int32_t row = expected.expertOffsets[e];
           row < expected.expertOffsets[e + 1]; row += tileRows) {
        int32_t left = expected.expertOffsets[e + 1] - row;
        for (int32_t word :
             {int32_t(e), row, std::min<int32_t>(tileRows, left), 0})
          tiles.push_back(word);
      }
    std::vector<int32_t> words = {int32_t(tiles.size() / 4), 0, 0, 0};
    words.insert(words.end(), tiles.begin(), tiles.end());
    std::vector<int32_t> actual = valuesOf<int32_t>(worklist);
    ASSERT_GE(actual.size(), words.size());
    actual.resize(words.size());
    EXPECT_EQ(actual, words);
  }
};
} // namespace

/// Names, as arguments of kernels, of the lists and their types.
static const char *kListArgs =
    "%eo: memref<?xi32>, %rt: memref<?xi32>, %rw: memref<?xf32>, "
    "%to: memref<?xi32>, %tr: memref<?xi32>, %wl: memref<?xi32>, %n: index";
static const char *kListTypes =
    "memref<?xi32>, memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>";

static std::string groupKernel(const std::string &name, int64_t experts,
                               int64_t perToken, bool given, int64_t tileRows) {
  return "plan.kernel @" + name + "(%i: memref<?xi32>, %w: memref<?xf32>, " +
         kListArgs +
         ") on cuda {\n"
         "  moe.kernel.group_rows ins(%i, %w : memref<?xi32>, memref<?xf32>)\n"
         "    outs(%eo, %rt, %rw, %to, %tr : " +
         kListTypes + ") tokens(%n) worklist(%wl : memref<?xi32>) {experts = " +
         std::to_string(experts) +
         " : i64, per_token = " + std::to_string(perToken) +
         " : i64, tile_rows = " + std::to_string(tileRows) + " : i64" +
         (given ? ", given" : "") + "}\n}\n";
}

TEST(GpuGroupRows, ListsAndTiles) {
  struct Case {
    std::string name;
    int64_t experts, perToken;
    bool given;
    int64_t tileRows;
  } cases[] = {{"g5", 5, 3, false, 16},     {"g5_given", 5, 3, true, 7},
               {"g1", 1, 1, false, 16},     {"g256", 256, 8, false, 64},
               {"all", 6, 6, true, 128},    {"g64_given", 64, 8, true, 16},
               {"g2000", 2000, 4, true, 1}, {"g60", 60, 4, false, 16}};
  std::string source;
  for (const Case &c : cases)
    source += groupKernel(c.name, c.experts, c.perToken, c.given, c.tileRows);
  std::unique_ptr<GpuKernels> kernels = compile(source);
  ASSERT_TRUE(kernels);
  Random random(3);
  for (const Case &c : cases)
    for (int64_t tokens : {0, 1, 2, 17, 333}) {
      std::vector<int32_t> ids =
          randomIds(random, tokens, c.perToken, c.experts, !c.given);
      std::vector<float> weights = randomValues(random, ids.size());
      Lists expected = groupRows(ids, weights, tokens, c.perToken, c.experts);
      for (const Way &way : allWays()) {
        SCOPED_TRACE(c.name + ", tokens " + std::to_string(tokens) + ", " +
                     way.name());
        ListBuffers lists(tokens, ids.size(), c.experts, c.tileRows);
        std::vector<GpuArg> args = {input(ids), input(weights)};
        lists.appendTo(args);
        args.push_back(tokens);
        EXPECT_EQ(kernels->run(c.name, way, args), 0);
        lists.expect(expected, c.tileRows);
      }
    }
}

/// Ids of -1: last in a token, or anywhere when they are given; tokens and
/// experts without any pair.
TEST(GpuGroupRows, MissingPairs) {
  struct Case {
    std::string name;
    int64_t experts, perToken;
    bool given;
  } cases[] = {{"m5", 5, 3, false},        {"m5_given", 5, 3, true},
               {"m1", 1, 1, false},        {"m256", 256, 8, false},
               {"m64_given", 64, 8, true}, {"m80_given", 80, 70, true}};
  std::string source;
  for (const Case &c : cases)
    source += groupKernel(c.name, c.experts, c.perToken, c.given, 16);
  std::unique_ptr<GpuKernels> kernels = compile(source);
  ASSERT_TRUE(kernels);
  Random random(11);
  for (const Case &c : cases)
    for (int64_t tokens : {0, 1, 2, 17, 150}) {
      std::vector<int32_t> ids =
          randomIds(random, tokens, c.perToken, c.experts, !c.given);
      for (int64_t t = 0; t < tokens; ++t) {
        auto first = ids.begin() + t * c.perToken, last = first + c.perToken;
        for (auto id = first; id != last; ++id)
          if (random() % 3 == 0 || t % 7 == 1)
            *id = -1;
        if (!c.given)
          std::stable_partition(first, last, [](int32_t i) { return i >= 0; });
      }
      std::vector<float> weights = randomValues(random, ids.size());
      Lists expected = groupRows(ids, weights, tokens, c.perToken, c.experts);
      for (const Way &way : allWays()) {
        SCOPED_TRACE(c.name + ", tokens " + std::to_string(tokens) + ", " +
                     way.name());
        ListBuffers lists(tokens, ids.size(), c.experts, 16);
        std::vector<GpuArg> args = {input(ids), input(weights)};
        lists.appendTo(args);
        args.push_back(tokens);
        EXPECT_EQ(kernels->run(c.name, way, args), 0);
        lists.expect(expected, 16);
      }
    }
}

TEST(GpuGroupRows, BadIdsGiveStatusAndNoRows) {
  std::unique_ptr<GpuKernels> kernels =
      compile(groupKernel("given", 5, 3, /*given=*/true, 16));
  ASSERT_TRUE(kernels);
  Random random(4);
  // Out of range on both sides, repeated next to each other and apart.
  std::vector<std::vector<int32_t>> bad = {
      {0, 5, 1}, {-2, 2, 3},        {2, 2, 4},
      {4, 1, 4}, {INT32_MIN, 0, 1}, {INT32_MAX, 0, 1}};
  for (const std::vector<int32_t> &triple : bad)
    for (int64_t where : {0, 3, 100}) {
      int64_t tokens = 101;
      std::vector<int32_t> ids = randomIds(random, tokens, 3, 5, false);
      std::copy(triple.begin(), triple.end(), ids.begin() + 3 * where);
      std::vector<float> weights = randomValues(random, ids.size());
      for (const Way &way : allWays()) {
        SCOPED_TRACE(way.name());
        ListBuffers lists(tokens, ids.size(), 5, 16);
        std::vector<GpuArg> args = {input(ids), input(weights)};
        lists.appendTo(args);
        args.push_back(tokens);
        // MOERT_KERNEL_BAD_EXPERT_INDEX.
        EXPECT_EQ(kernels->run("given", way, args), 1);
        EXPECT_EQ(valuesOf<int32_t>(lists.expertOffsets),
                  std::vector<int32_t>(6, 0));
        EXPECT_EQ(valuesOf<int32_t>(lists.tokenOffsets),
                  std::vector<int32_t>(tokens + 1, 0));
        std::vector<int32_t> head = valuesOf<int32_t>(lists.worklist);
        head.resize(4);
        EXPECT_EQ(head, std::vector<int32_t>(4, 0));
      }
    }
}

TEST(GpuAllRows, ListsAndTiles) {
  struct Case {
    std::string name;
    int64_t experts;
    bool weights;
    int64_t tileRows;
  } cases[] = {
      {"one", 1, true, 16}, {"three", 3, false, 5}, {"weighted", 3, true, 128}};
  std::string source;
  for (const Case &c : cases)
    source += "plan.kernel @" + c.name + "(%w: memref<?xf32>, " + kListArgs +
              ") on cuda {\n  moe.kernel.all_rows " +
              (c.weights ? "ins(%w : memref<?xf32>) " : "") +
              "outs(%eo, %rt, %rw, %to, %tr : " + kListTypes +
              ") tokens(%n) worklist(%wl : memref<?xi32>) {experts = " +
              std::to_string(c.experts) +
              " : i64, tile_rows = " + std::to_string(c.tileRows) +
              " : i64}\n}\n";
  std::unique_ptr<GpuKernels> kernels = compile(source);
  ASSERT_TRUE(kernels);
  Random random(5);
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
      for (const Way &way : allWays()) {
        SCOPED_TRACE(c.name + ", tokens " + std::to_string(tokens) + ", " +
                     way.name());
        ListBuffers lists(tokens, ids.size(), c.experts, c.tileRows);
        std::vector<GpuArg> args = {input(weights)};
        lists.appendTo(args);
        args.push_back(tokens);
        EXPECT_EQ(kernels->run(c.name, way, args), 0);
        lists.expect(expected, c.tileRows);
      }
    }
}

namespace {
/// A policy for route_rows, as text and as what is expected of it.
struct RouteCase {
  std::string name;
  int64_t experts, tileRows, threads;
  std::string policy;
  Policy expected;
  bool bias;

  std::string kernel() const {
    std::string b = bias ? ", %b" : "", t = bias ? ", memref<?xf32>" : "";
    return "plan.kernel @" + name +
           "(%l: memref<?xf32>, %b: memref<?xf32>, %i: memref<?xi32>, "
           "%w: memref<?xf32>, " +
           kListArgs +
           ") on cuda variants [#moe.gpu<arch = \"sm_80\", threads = " +
           std::to_string(threads) +
           ", blocks = 1, n = 1, k = 1, stages = 1, accumulation = \"f32\">] "
           "{\n  moe.kernel.route_rows ins(%l" +
           b + " : memref<?xf32>" + t +
           ") outs(%i, %w, %eo, %rt, %rw, %to, %tr : memref<?xi32>, "
           "memref<?xf32>, " +
           kListTypes +
           ") tokens(%n) worklist(%wl : memref<?xi32>) {experts = " +
           std::to_string(experts) + " : i64, policy = #moe.policy" + policy +
           ", tile_rows = " + std::to_string(tileRows) + " : i64}\n}\n";
  }
};
} // namespace

static RouteCase routeCase(std::string name, int64_t experts, int64_t topK,
                           int64_t tileRows) {
  RouteCase c{std::move(name), experts, tileRows, 512, "", Policy(), false};
  c.policy = "<top_k = " + std::to_string(topK) + ", normalize>";
  c.expected.topK = topK;
  c.expected.normalize = true;
  return c;
}

/// Any policy that fits a random number of experts.
static RouteCase randomRouteCase(Random &random, int number) {
  const int64_t sizes[] = {1, 2, 7, 8, 12, 16, 60, 64, 128, 256, 300, 560};
  auto pick = [&](auto... choices) {
    int64_t all[] = {choices...};
    return all[random() % (sizeof(all) / sizeof(all[0]))];
  };
  auto upTo = [&](int64_t last) { return int64_t(random() % last) + 1; };
  RouteCase c = routeCase("fuzz" + std::to_string(number), sizes[random() % 12],
                          1, pick(1, 7, 16, 128));
  c.threads = pick(32, 64, 256, 1024);
  c.bias = random() % 2;
  Policy &p = c.expected;
  p = Policy();
  p.score = Score(random() % 4);
  int64_t selectable = c.experts;
  int64_t groups = pick(1, 2, 3, 4, 6, 8, 30);
  if (groups > 1 && c.experts % groups == 0) {
    int64_t size = c.experts / groups;
    p.groups = groups;
    p.keepGroups = upTo(groups - 1);
    p.filter = size > 1 && random() % 2 ? Filter::Top2Sum : Filter::Max;
    selectable = p.keepGroups * size;
  }
  p.topK = random() % 4 ? upTo(std::min<int64_t>(selectable, 9))
                        : upTo(std::min<int64_t>(selectable, 70));
  bool fromLogits = p.score == Score::None || p.score == Score::Softmax;
  if (fromLogits && random() % 3 == 0)
    p.weights = WeightsFrom::Softmax;
  else if (random() % 4 == 0)
    p.weights = random() % 2 ? WeightsFrom::Sigmoid : WeightsFrom::Constant;
  if (random() % 4 == 0)
    p.roundScores = random() % 2 ? Narrow::BF16 : Narrow::F16;
  if (p.topK >= 2 && p.weights != WeightsFrom::Constant && random() % 3 == 0) {
    p.keep = random() % 2 ? Keep::Threshold : Keep::TopP;
    p.keepBound = p.keep == Keep::Threshold ? 0.125f : 0.625f;
  }
  if (p.keep != Keep::All && random() % 2)
    p.normalize = p.afterDrop = true;
  else if (p.weights != WeightsFrom::Softmax &&
           p.weights != WeightsFrom::Constant)
    p.normalize = random() % 2;
  if (p.normalize && random() % 2) {
    p.epsilon = 1e-20f;
  } else if (p.normalize && random() % 2) {
    p.atLeast = true;
    p.epsilon = 0.5f;
  }
  if (p.normalize && random() % 3 == 0)
    p.norm = random() % 4 + 1;
  if (random() % 2)
    p.scale = 2.5f;
  if (random() % 3 == 0)
    p.roundWeights = Narrow::BF16;
  c.policy = p.text();
  return c;
}

/// Runs every case in all ways, or in one that changes from case to case.
static void expectRoutes(const std::vector<RouteCase> &cases, Random &random,
                         const std::vector<int64_t> &sizes, bool oneWay) {
  std::string source;
  for (const RouteCase &c : cases)
    source += c.kernel();
  std::unique_ptr<GpuKernels> kernels = compile(source);
  ASSERT_TRUE(kernels) << source;
  size_t turn = 0;
  for (const RouteCase &c : cases)
    for (int64_t tokens : sizes) {
      std::vector<float> logits = hardLogits(random, tokens, c.experts);
      std::vector<float> bias = randomValues(random, c.experts, 0.5f);
      int64_t topK = c.expected.topK;
      std::vector<int32_t> ids;
      std::vector<float> weights;
      for (int64_t t = 0; t < tokens; ++t) {
        std::vector<float> row(logits.begin() + t * c.experts,
                               logits.begin() + (t + 1) * c.experts);
        for (Pair pair :
             route(row, c.bias ? bias.data() : nullptr, c.expected)) {
          ids.push_back(pair.id);
          weights.push_back(pair.weight);
        }
      }
      Lists expected = groupRows(ids, weights, tokens, topK, c.experts);
      std::vector<Way> ways = allWays();
      if (oneWay)
        ways = {ways[turn++ % ways.size()]};
      for (const Way &way : ways) {
        SCOPED_TRACE(c.name + " " + c.policy + ", experts " +
                     std::to_string(c.experts) + ", threads " +
                     std::to_string(c.threads) + ", tokens " +
                     std::to_string(tokens) + ", " + way.name());
        ListBuffers lists(tokens, ids.size(), c.experts, c.tileRows);
        auto outIds = output<int32_t>(ids.size());
        auto outWeights = output<float>(ids.size());
        std::vector<GpuArg> args = {input(logits), input(bias), outIds,
                                    outWeights};
        lists.appendTo(args);
        args.push_back(tokens);
        EXPECT_EQ(kernels->run(c.name, way, args), 0);
        ASSERT_EQ(valuesOf<int32_t>(outIds), ids);
        expectSameBits(valuesOf<float>(outWeights), weights);
        lists.expect(expected, c.tileRows);
      }
    }
}

TEST(GpuRouteRows, SelectionAndListsInOneLaunch) {
  Random random(9);
  expectRoutes({routeCase("mixtral", 8, 2, 16), routeCase("olmoe", 64, 8, 64),
                routeCase("one", 1, 1, 16), routeCase("odd", 300, 5, 3)},
               random, {0, 1, 2, 17, 333}, /*oneWay=*/false);
}

TEST(GpuRouteRows, AnyPolicyAndAnyNumberOfThreads) {
  Random random(10);
  std::vector<RouteCase> cases;
  for (int i = 0; i < 24; ++i)
    cases.push_back(randomRouteCase(random, i));
  expectRoutes(cases, random, {1, 3, 19}, /*oneWay=*/true);
}
