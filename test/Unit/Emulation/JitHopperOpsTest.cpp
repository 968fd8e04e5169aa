//===- JitHopperOpsTest.cpp - Single operations of Hopper -----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CutHarness.h"

#include <gtest/gtest.h>

#include <numeric>

using namespace moe_test;

namespace {

class EmulatedHopperOps : public testing::TestWithParam<Policy> {
protected:
  static void SetUpTestSuite() { cut = Cut::load("hopper_ops.mlir"); }
  static void TearDownTestSuite() { cut.reset(); }
  void SetUp() override { ASSERT_TRUE(cut); }

  static std::unique_ptr<Cut> cut;
};

std::unique_ptr<Cut> EmulatedHopperOps::cut;

TEST_P(EmulatedHopperOps, BulkCopiesBothWays) {
  std::vector<int32_t> in(64), out(64);
  std::iota(in.begin(), in.end(), 100);
  auto report = Launch(*cut, "bulk")
                    .block(64)
                    .shared(264)
                    .buffer(in, "in", /*writable=*/false)
                    .buffer(out, "out")
                    .run(GetParam());
  EXPECT_EQ(textOf(report), "");
  for (int i = 0; i < 64; ++i)
    EXPECT_EQ(out[i], 2 * in[i]);
}

TEST_P(EmulatedHopperOps, TmaStoresAndAddsWithinTheTensor) {
  // 6 rows of 20; the box of 4 by 8 sticks out at two sides.
  constexpr int kRows = 6, kColumns = 20, kX = 16, kY = 4;
  std::vector<float> to(kRows * kColumns, -1), sums(kRows * kColumns, 0.5f);
  auto report = Launch(*cut, "tma_store")
                    .block(32)
                    .shared(128)
                    .memory(to, "to")
                    .memory(sums, "sums")
                    .tensor(to.data(), 4, {kColumns, kRows}, {8, 4}, 0)
                    .tensor(sums.data(), 4, {kColumns, kRows}, {8, 4}, 0)
                    .value(int32_t(kX))
                    .value(int32_t(kY))
                    .run(GetParam());
  EXPECT_EQ(textOf(report), "");
  for (int y = 0; y < kRows; ++y)
    for (int x = 0; x < kColumns; ++x) {
      bool inside = y >= kY && x >= kX;
      float value = (y - kY) * 8 + (x - kX);
      EXPECT_EQ(to[y * kColumns + x], inside ? value : -1) << y << " " << x;
      EXPECT_EQ(sums[y * kColumns + x], inside ? 0.5f + value : 0.5f);
    }
}

TEST_P(EmulatedHopperOps, PhasesByParityAndByState) {
  std::vector<int32_t> in(32), out(32);
  std::iota(in.begin(), in.end(), 5);
  auto report = Launch(*cut, "states")
                    .block(32)
                    .shared(144)
                    .buffer(in, "in", /*writable=*/false)
                    .buffer(out, "out")
                    .run(GetParam());
  EXPECT_EQ(textOf(report), "");
  for (int i = 0; i < 32; ++i)
    EXPECT_EQ(out[i], in[(i + 1) % 32]);
}

TEST_P(EmulatedHopperOps, StoredFragmentsAndElection) {
  std::vector<uint16_t> out(258);
  auto report = Launch(*cut, "fragments")
                    .block(32)
                    .shared(512)
                    .buffer(out, "out")
                    .run(GetParam());
  EXPECT_EQ(textOf(report), "");
  for (int matrix = 0; matrix < 2; ++matrix)
    for (int r = 0; r < 8; ++r)
      for (int c = 0; c < 8; ++c) {
        EXPECT_EQ(out[64 * matrix + 8 * r + c], 64 * matrix + 8 * r + c);
        EXPECT_EQ(out[128 + 64 * matrix + 8 * r + c], 64 * matrix + 8 * c + r);
      }
  EXPECT_EQ(out[256], 128);
}

TEST_P(EmulatedHopperOps, BlocksOfAClusterReadEachOther) {
  std::vector<int32_t> out(3 * 4 * 32);
  auto report = Launch(*cut, "peers")
                    .grid(12)
                    .block(32)
                    .shared(128)
                    .buffer(out, "out")
                    .run(GetParam(), /*osThreads=*/2);
  EXPECT_EQ(textOf(report), "");
  for (int block = 0; block < 12; ++block)
    for (int lane = 0; lane < 32; ++lane)
      EXPECT_EQ(out[block * 32 + lane],
                1000 * (block / 4) + 100 * ((block % 4 + 1) % 4) + lane);
}

TEST_P(EmulatedHopperOps, PredicatesChooseTheThread) {
  std::vector<int32_t> in(8 * 8), out(64);
  std::iota(in.begin(), in.end(), 70);
  auto report = Launch(*cut, "predicated")
                    .block(64)
                    .shared(264)
                    .memory(in, "in", /*writable=*/false)
                    .tensor(in.data(), 4, {8, 8}, {8, 8}, 0)
                    .buffer(out, "out")
                    .run(GetParam());
  EXPECT_EQ(textOf(report), "");
  EXPECT_EQ(out, in);
}

std::string nameOf(const testing::TestParamInfo<Policy> &info) {
  static const char *const names[] = {"Late", "Eager", "Random"};
  return names[int(info.param.schedule)] + std::to_string(info.param.seed);
}

INSTANTIATE_TEST_SUITE_P(All, EmulatedHopperOps,
                         testing::ValuesIn(allPolicies()), nameOf);

} // namespace
