//===- JitHopperTest.cpp - TMA, mbarriers, wgmma, clusters and their bugs -===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CutHarness.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <limits>
#include <numeric>

using namespace moe_test;

namespace {

struct Shape {
  int m, n, k;
};

enum class Kind { Gemm, Cluster, Gather };

const char *fileOf(Kind kind) {
  return kind == Kind::Gemm      ? "hopper_gemm.mlir"
         : kind == Kind::Cluster ? "hopper_cluster.mlir"
                                 : "hopper_gather.mlir";
}

/// Runs `gemm` of a file; `wrong` is set when the result is not the product.
moe::emu::LaunchReport run(const Cut &cut, Kind kind, Shape s,
                           const Policy &policy, bool &wrong) {
  std::mt19937 rng(s.m * 131 + s.n * 17 + s.k);
  auto a = randomBf16(rng, size_t(s.m) * s.k);
  auto b = randomBf16(rng, size_t(s.n) * s.k);
  std::vector<float> c(size_t(s.m) * s.n,
                       std::numeric_limits<float>::quiet_NaN());
  std::vector<int32_t> rows;
  if (kind == Kind::Gather)
    for (int i = 0; i < s.m; ++i)
      rows.push_back((i * 37 + 5) % s.m);
  uint32_t tilesM = (s.m + 63) / 64, tilesN = (s.n + 15) / 16;
  if (kind == Kind::Cluster)
    tilesM = (tilesM + 1) / 2 * 2;
  Launch launch(cut, "gemm");
  launch.grid(tilesM, tilesN).block(256).shared(30768);
  uint32_t boxRowsB = kind == Kind::Cluster ? 8 : 16;
  if (kind == Kind::Gather)
    launch.buffer(a, "a", /*writable=*/false)
        .buffer(rows, "rows", /*writable=*/false);
  else
    launch.memory(a, "a", /*writable=*/false)
        .tensor(a.data(), 2, {uint64_t(s.k), uint64_t(s.m)}, {64, 64}, 3);
  auto report = launch.memory(b, "b", /*writable=*/false)
                    .tensor(b.data(), 2, {uint64_t(s.k), uint64_t(s.n)},
                            {64, boxRowsB}, 3)
                    .buffer(c, "c")
                    .value(int32_t(s.m))
                    .value(int32_t(s.n))
                    .value(int32_t(s.k))
                    .run(policy);
  wrong = c != multiply(a, b, s.m, s.n, s.k, rows);
  return report;
}

class EmulatedHopper : public testing::TestWithParam<Kind> {};

TEST_P(EmulatedHopper, IsExactUnderAllSchedules) {
  auto cut = Cut::load(fileOf(GetParam()));
  ASSERT_TRUE(cut);
  for (Shape s : {Shape{64, 16, 64}, Shape{65, 18, 320}, Shape{200, 34, 448}})
    for (const Policy &policy : allPolicies()) {
      bool wrong;
      EXPECT_EQ(textOf(run(*cut, GetParam(), s, policy, wrong)), "");
      EXPECT_FALSE(wrong) << s.m << "x" << s.n << "x" << s.k;
    }
}

INSTANTIATE_TEST_SUITE_P(All, EmulatedHopper,
                         testing::Values(Kind::Gemm, Kind::Cluster,
                                         Kind::Gather),
                         [](const auto &info) {
                           return std::string(info.param == Kind::Gemm ? "Gemm"
                                              : info.param == Kind::Cluster
                                                  ? "Cluster"
                                                  : "Gather");
                         });

struct BugCase {
  Kind kind;
  const char *bug;
  /// Which places; the names of which one must be found.
  std::vector<unsigned> places;
  std::set<std::string> names;
};

void PrintTo(const BugCase &param, std::ostream *os) {
  *os << fileOf(param.kind) << " " << param.bug;
}

class EmulatedHopperBug : public testing::TestWithParam<BugCase> {};

TEST_P(EmulatedHopperBug, IsFoundByName) {
  const BugCase &param = GetParam();
  for (unsigned nth : param.places) {
    auto cut = Cut::load(fileOf(param.kind), {param.bug, nth});
    ASSERT_TRUE(cut);
    std::set<std::string> found;
    for (const Policy &policy : allPolicies()) {
      bool wrong;
      auto names =
          namesOf(run(*cut, param.kind, {130, 18, 448}, policy, wrong));
      found.insert(names.begin(), names.end());
    }
    bool named = false;
    for (const std::string &name : param.names)
      named |= found.count(name) != 0;
    EXPECT_TRUE(named) << param.bug << " " << nth << ": "
                       << testing::PrintToString(found);
  }
}

// Waits of a file in order: for an empty stage, for a full one.
INSTANTIATE_TEST_SUITE_P(
    All, EmulatedHopperBug,
    testing::Values(
        BugCase{Kind::Gemm, "wrong-tx-count", {0}, {"transaction-count"}},
        BugCase{Kind::Cluster, "wrong-tx-count", {0}, {"transaction-count"}},
        BugCase{Kind::Gather, "wrong-tx-count", {0}, {"transaction-count"}},
        BugCase{
            Kind::Gather, "missing-proxy-fence", {0}, {"missing-proxy-fence"}},
        BugCase{Kind::Gemm,
                "missing-mbarrier-wait",
                {0},
                {"race", "overwrite-in-flight", "barrier-misuse"}},
        BugCase{Kind::Gather,
                "missing-mbarrier-wait",
                {0},
                {"race", "overwrite-in-flight", "barrier-misuse"}},
        BugCase{Kind::Cluster,
                "missing-mbarrier-wait",
                {0},
                {"race", "overwrite-in-flight", "barrier-misuse"}},
        BugCase{Kind::Gemm,
                "missing-mbarrier-wait",
                {1},
                {"race", "uninitialised-read"}},
        BugCase{
            Kind::Gemm, "early-stage-release", {0}, {"overwrite-in-flight"}},
        BugCase{
            Kind::Cluster, "early-stage-release", {0}, {"overwrite-in-flight"}},
        // Of the copies, and of the multiplications.
        BugCase{Kind::Gather,
                "early-stage-release",
                {0, 1},
                {"race", "uninitialised-read", "missing-proxy-fence"}},
        BugCase{
            Kind::Gather, "early-stage-release", {2}, {"overwrite-in-flight"}},
        BugCase{
            Kind::Gather, "missing-wait", {0}, {"race", "uninitialised-read"}},
        BugCase{Kind::Gemm, "missing-barrier", {0}, {"race", "barrier-misuse"}},
        BugCase{
            Kind::Gather, "out-of-bounds", {0, 1}, {"out-of-bounds-global"}}),
    [](const auto &info) {
      std::string name = std::to_string(info.index) + "_" + info.param.bug;
      for (char &c : name)
        if (c == '-')
          c = '_';
      return name;
    });

} // namespace
