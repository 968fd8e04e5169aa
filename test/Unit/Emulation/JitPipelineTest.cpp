//===- JitPipelineTest.cpp - A cp.async pipeline and its bugs -------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CutHarness.h"

#include <gtest/gtest.h>

#include <limits>

using namespace moe_test;

namespace {

struct Shape {
  int m, n, k;
};

/// Runs pipeline.mlir; `wrong` is set when the result is not the product.
moe::emu::LaunchReport run(const Cut &cut, Shape s, const Policy &policy,
                           bool &wrong) {
  std::mt19937 rng(s.m * 131 + s.n * 17 + s.k);
  auto a = randomBf16(rng, size_t(s.m) * s.k);
  auto b = randomBf16(rng, size_t(s.n) * s.k);
  std::vector<float> c(size_t(s.m) * s.n,
                       std::numeric_limits<float>::quiet_NaN());
  auto report = Launch(cut, "gemm")
                    .grid((s.n + 15) / 16, (s.m + 31) / 32)
                    .block(64)
                    .shared(4608)
                    .buffer(a, "a", /*writable=*/false)
                    .buffer(b, "b", /*writable=*/false)
                    .buffer(c, "c")
                    .value(int32_t(s.m))
                    .value(int32_t(s.n))
                    .value(int32_t(s.k))
                    .run(policy);
  wrong = c != multiply(a, b, s.m, s.n, s.k);
  return report;
}

TEST(EmulatedPipeline, IsExactUnderAllSchedules) {
  auto cut = Cut::load("pipeline.mlir");
  ASSERT_TRUE(cut);
  for (Shape s : {Shape{32, 16, 16}, Shape{33, 18, 48}, Shape{70, 34, 208}})
    for (const Policy &policy : allPolicies()) {
      bool wrong;
      EXPECT_EQ(textOf(run(*cut, s, policy, wrong)), "");
      EXPECT_FALSE(wrong) << s.m << "x" << s.n << "x" << s.k;
    }
}

/// Every place of a bug, except the given ones, which are none: the finding's
/// name must be among those of some schedule.
struct BugCase {
  const char *bug;
  std::set<std::string> names;
  std::set<unsigned> harmless = {};
};

class EmulatedPipelineBug : public testing::TestWithParam<BugCase> {};

TEST_P(EmulatedPipelineBug, IsFoundByName) {
  const BugCase &param = GetParam();
  unsigned places = Cut::countPlaces("pipeline.mlir", param.bug);
  ASSERT_GT(places, param.harmless.size());
  for (unsigned nth = 0; nth < places; ++nth) {
    auto cut = Cut::load("pipeline.mlir", {param.bug, nth});
    ASSERT_TRUE(cut);
    std::set<std::string> found;
    for (const Policy &policy : allPolicies()) {
      bool wrong;
      auto names = namesOf(run(*cut, {33, 18, 208}, policy, wrong));
      found.insert(names.begin(), names.end());
      if (param.harmless.count(nth))
        EXPECT_FALSE(wrong);
    }
    bool named = false;
    for (const std::string &name : param.names)
      named |= found.count(name) != 0;
    EXPECT_EQ(named, !param.harmless.count(nth))
        << param.bug << " " << nth << ": " << testing::PrintToString(found);
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, EmulatedPipelineBug,
    testing::Values(
        BugCase{"missing-barrier", {"race"}},
        // The last wait has nothing to wait for but empty groups.
        BugCase{"missing-wait", {"race", "uninitialised-read"}, {1}},
        BugCase{"early-stage-release", {"race", "uninitialised-read"}, {1}},
        BugCase{"out-of-bounds", {"out-of-bounds-global"}},
        BugCase{"uninitialised-read", {"uninitialised-read"}},
        BugCase{"divergent-collective", {"divergent-collective"}},
        BugCase{"misaligned-ldmatrix", {"misaligned"}}),
    [](const auto &info) {
      std::string name = info.param.bug;
      for (char &c : name)
        if (c == '-')
          c = '_';
      return name;
    });

} // namespace
