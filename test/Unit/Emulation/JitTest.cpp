//===- JitTest.cpp - Ops of warps and blocks against plain code -----------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CutHarness.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <numeric>

using namespace moe_test;

namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

const Cut *load(const char *file) {
  static std::map<std::string, std::unique_ptr<Cut>> known;
  auto [entry, isNew] = known.try_emplace(file);
  if (isNew)
    entry->second = Cut::load(file);
  return entry->second.get();
}

std::vector<int32_t> randomInts(unsigned seed, size_t count, int32_t limit) {
  std::mt19937 rng(seed);
  std::uniform_int_distribution<int32_t> any(-limit, limit);
  std::vector<int32_t> values(count);
  for (int32_t &value : values)
    value = any(rng);
  return values;
}

/// What `collectives` of warp.mlir stores.
std::vector<int32_t> expectedCollectives(const std::vector<int32_t> &x) {
  std::vector<int32_t> out(22 * 32);
  uint32_t ballot = 0, sum = 0, all = ~0u, difference = 0, unsignedMax = 0;
  uint32_t lowerOr = 0;
  int32_t min = x[0], upperMax = x[16];
  for (int l = 0; l < 32; ++l) {
    ballot |= uint32_t(x[l] & 1) << l;
    sum += uint32_t(x[l]);
    all &= uint32_t(x[l]);
    difference ^= uint32_t(x[l]);
    unsignedMax = std::max(unsignedMax, uint32_t(x[l]));
    min = std::min(min, x[l]);
    if (l < 16)
      lowerOr |= uint32_t(x[l]);
    else
      upperMax = std::max(upperMax, x[l]);
  }
  for (int l = 0; l < 32; ++l) {
    uint32_t matches = 0;
    bool same = true;
    for (int k = 0; k < 32; ++k) {
      matches |= uint32_t((x[k] & 7) == (x[l] & 7)) << k;
      same &= (x[k] & 7) == (x[l] & 7);
    }
    uint32_t below = (uint32_t(1) << l) - 1;
    const int32_t values[22] = {x[l ^ 1],
                                x[l >= 3 ? l - 3 : l],
                                x[l % 8 + 5 < 8 ? l + 5 : l],
                                x[x[l] & 31],
                                x[l + 4 < 32 ? l + 4 : l],
                                l + 4 < 32,
                                int32_t(ballot),
                                ballot != 0,
                                ballot == ~0u,
                                ballot == 0 || ballot == ~0u,
                                int32_t(matches),
                                -1,
                                same ? -1 : 0,
                                int32_t(sum),
                                min,
                                int32_t(unsignedMax),
                                int32_t(all),
                                int32_t(difference),
                                l < 16 ? int32_t(lowerOr) : upperMax,
                                int32_t(below),
                                int32_t(~below),
                                __builtin_popcount(ballot & below)};
    for (int k = 0; k < 22; ++k)
      out[32 * k + l] = values[k];
  }
  return out;
}

TEST(EmulatedWarp, CollectivesGiveWhatPtxSays) {
  const Cut *cut = load("warp.mlir");
  ASSERT_TRUE(cut);
  for (unsigned seed = 0; seed < 3; ++seed)
    for (const Policy &policy : allPolicies()) {
      std::vector<int32_t> in = randomInts(seed, 32, 1 << 30), out(22 * 32);
      auto report = Launch(*cut, "collectives")
                        .block(32)
                        .buffer(in, "in", /*writable=*/false)
                        .buffer(out, "out")
                        .run(policy);
      EXPECT_EQ(textOf(report), "");
      EXPECT_EQ(out, expectedCollectives(in));
    }
}

TEST(EmulatedWarp, FragmentsOfF16Multiply) {
  const Cut *cut = load("matrix.mlir");
  ASSERT_TRUE(cut);
  std::mt19937 rng(7);
  std::uniform_int_distribution<int> eighths(-8, 8);
  for (const Policy &policy : allPolicies()) {
    std::vector<uint16_t> a(16 * 16), b(16 * 8);
    std::vector<float> c(16 * 8), out(16 * 8, kNaN), expected(16 * 8);
    for (uint16_t &x : a)
      x = toF16(float(eighths(rng)) / 8);
    for (uint16_t &x : b)
      x = toF16(float(eighths(rng)) / 8);
    for (float &x : c)
      x = float(eighths(rng));
    for (int i = 0; i < 16; ++i)
      for (int j = 0; j < 8; ++j) {
        expected[i * 8 + j] = c[i * 8 + j];
        for (int k = 0; k < 16; ++k)
          expected[i * 8 + j] += fromF16(a[i * 16 + k]) * fromF16(b[k * 8 + j]);
      }
    auto report = Launch(*cut, "tile_f16")
                      .block(32)
                      .shared(768)
                      .buffer(a, "a", false)
                      .buffer(b, "b", false)
                      .buffer(c, "c", false)
                      .buffer(out, "out")
                      .run(policy);
    EXPECT_EQ(textOf(report), "");
    EXPECT_EQ(out, expected);
  }
}

TEST(EmulatedBlock, SharedMemoryAndBarriers) {
  const Cut *cut = load("block.mlir");
  ASSERT_TRUE(cut);
  for (const Policy &policy : allPolicies()) {
    std::vector<int32_t> in = randomInts(1, 5 * 64, 1000), out(5 * 64);
    auto report = Launch(*cut, "reverse")
                      .grid(5)
                      .block(64)
                      .shared(256)
                      .buffer(in, "in", false)
                      .buffer(out, "out")
                      .run(policy, /*osThreads=*/2);
    EXPECT_EQ(textOf(report), "");
    for (int i = 0; i < 5 * 64; ++i)
      EXPECT_EQ(out[i], in[i / 64 * 64 + 63 - i % 64] + 64);
  }
}

TEST(EmulatedBlock, NamedBarriersAndReduction) {
  const Cut *cut = load("block.mlir");
  ASSERT_TRUE(cut);
  for (const Policy &policy : allPolicies()) {
    constexpr int kRounds = 7;
    std::vector<int32_t> in = randomInts(2, kRounds * 32, 1000), out(128);
    auto report = Launch(*cut, "named")
                      .block(96)
                      .shared(128)
                      .buffer(in, "in", false)
                      .buffer(out, "out")
                      .value(int32_t(kRounds))
                      .run(policy);
    EXPECT_EQ(textOf(report), "");
    int odd = 0;
    for (int l = 0; l < 32; ++l) {
      int32_t sum = 0;
      for (int r = 0; r < kRounds; ++r)
        sum += in[32 * r + l];
      EXPECT_EQ(out[l], sum);
      odd += sum & 1;
    }
    for (int t = 0; t < 96; ++t)
      EXPECT_EQ(out[32 + t], odd);
  }
}

TEST(EmulatedBlock, WorklistDrainsAndResets) {
  const Cut *cut = load("block.mlir");
  ASSERT_TRUE(cut);
  for (const Policy &policy : allPolicies())
    for (uint32_t osThreads : {1u, 2u}) {
      constexpr int32_t kWork = 37;
      std::vector<int32_t> out(kWork, -1), finished(1);
      auto report = Launch(*cut, "worklist")
                        .grid(6)
                        .block(32)
                        .buffer(out, "out")
                        .value(kWork)
                        .buffer(finished, "finished")
                        .run(policy, osThreads);
      EXPECT_EQ(textOf(report), "");
      for (int32_t i = 0; i < kWork; ++i)
        EXPECT_EQ(out[i], i * i);
    }
}

TEST(EmulatedBlock, ArithmeticIsThatOfTheGPU) {
  const Cut *cut = load("block.mlir");
  ASSERT_TRUE(cut);
  std::mt19937 rng(11);
  std::normal_distribution<float> normal(0, 10);
  std::vector<float> in(32), out(32 * 6, kNaN);
  for (float &x : in)
    x = normal(rng);
  in[0] = 2.5f;
  in[1] = -0.0f;
  in[2] = 1.00390625f; // a tie for bf16
  auto report = Launch(*cut, "arithmetic")
                    .block(32)
                    .buffer(in, "in", false)
                    .buffer(out, "out")
                    .value(0.3f)
                    .run(allPolicies()[0]);
  EXPECT_EQ(textOf(report), "");
  for (int i = 0; i < 32; ++i) {
    const float *row = &out[i * 6];
    EXPECT_EQ(row[0], fromBf16(toBf16(in[i])));
    EXPECT_EQ(row[1], fromF16(toF16(in[i])));
    EXPECT_EQ(row[2], std::nearbyint(in[i]));
    EXPECT_EQ(row[3], std::max(in[i], 0.0f));
    EXPECT_EQ(row[4], std::fma(in[i], 0.3f, 0.3f));
    EXPECT_EQ(row[5], fromBf16(toBf16(in[i] + in[i])));
  }
}

TEST(EmulatedBlock, BlocksMayWaitForEachOther) {
  const Cut *cut = load("block.mlir");
  ASSERT_TRUE(cut);
  for (uint32_t osThreads : {1u, 2u}) {
    std::vector<int32_t> lock(1), sum(1);
    auto report = Launch(*cut, "lock")
                      .grid(40)
                      .block(1)
                      .buffer(lock, "lock")
                      .buffer(sum, "sum")
                      .run(allPolicies()[0], osThreads);
    EXPECT_EQ(textOf(report), "");
    EXPECT_EQ(sum[0], 39 * 40 / 2);
  }
}

TEST(EmulatedBlock, RangesOfBytes) {
  const Cut *cut = load("block.mlir");
  ASSERT_TRUE(cut);
  std::vector<uint8_t> in(16), out(64);
  std::iota(in.begin(), in.end(), 1);
  auto report = Launch(*cut, "bytes")
                    .block(1)
                    .shared(64)
                    .buffer(in, "in", false)
                    .buffer(out, "out")
                    .run(allPolicies()[0]);
  EXPECT_EQ(textOf(report), "");
  for (int i = 0; i < 64; ++i)
    EXPECT_EQ(out[i], i < 16 ? i + 1 : 7);
}

TEST(EmulatedBlock, ReductionsOfBarriers) {
  const Cut *cut = load("block.mlir");
  ASSERT_TRUE(cut);
  for (int odd : {0, 17, 64})
    for (const Policy &policy : allPolicies()) {
      std::vector<int32_t> in(64, 4), out(2, -1);
      std::fill_n(in.begin(), odd, 5);
      auto report = Launch(*cut, "judge")
                        .block(64)
                        .buffer(in, "in", false)
                        .buffer(out, "out")
                        .run(policy);
      EXPECT_EQ(textOf(report), "");
      EXPECT_EQ(out[0] != 0, odd == 64);
      EXPECT_EQ(out[1] != 0, odd > 0);
    }
}

TEST(EmulatedBlock, TrapEndsTheLaunch) {
  const Cut *cut = load("block.mlir");
  ASSERT_TRUE(cut);
  std::vector<int32_t> in(64, 4), out(2, -1);
  in[40] = -1;
  auto report = Launch(*cut, "judge")
                    .block(64)
                    .buffer(in, "in", false)
                    .buffer(out, "out")
                    .run(allPolicies()[0]);
  ASSERT_EQ(report.findings.size(), 1u) << textOf(report);
  EXPECT_EQ(report.findings[0].thread, 40u);
  EXPECT_EQ(namesOf(report), std::set<std::string>{"trap"});
  EXPECT_EQ(out[0], -1);
}

TEST(EmulatedModule, TableDescribesTheModule) {
  const Cut *cut = load("block.mlir");
  ASSERT_TRUE(cut);
  const moe_emu_module &module = cut->module();
  EXPECT_EQ(module.abi_version, uint32_t(MOE_EMU_ABI_VERSION));
  EXPECT_EQ(module.kernel_count, 7u);
  const moe_emu_kernel *kernel = cut->kernel("worklist");
  ASSERT_TRUE(kernel);
  EXPECT_EQ(kernel->num_params, 3u);
  EXPECT_EQ(kernel->param_sizes[0], 8u);
  EXPECT_EQ(kernel->param_sizes[1], 4u);
  EXPECT_EQ(kernel->static_shared, 1024u);
  EXPECT_EQ(kernel->max_threads, 32u);
  EXPECT_EQ(kernel->cluster, 1u);
  ASSERT_EQ(module.global_count, 1u);
  EXPECT_STREQ(module.globals[0].name, "ticket");
  EXPECT_EQ(module.globals[0].size, 4u);
  EXPECT_EQ(*static_cast<uint32_t *>(module.globals[0].address), 0u);
  EXPECT_FALSE(cut->kernel("scale")) << "a function is no kernel";
}

TEST(EmulatedModule, ObjectsAreReproducible) {
  std::string text = readCut("block.mlir"), messages;
  std::vector<char> first = emitObject(text, messages);
  EXPECT_EQ(messages, "");
  ASSERT_GT(first.size(), 4u);
  EXPECT_EQ(std::string(first.data(), 4), "\x7f"
                                          "ELF");
  EXPECT_EQ(first, emitObject(text, messages));
}

TEST(EmulatedModule, NamesTheLibraryFunctionItLacks) {
  std::string messages;
  EXPECT_TRUE(emitObject("gpu.module @cut {\n"
                         "  llvm.func @k(%x: i128) attributes {nvvm.kernel} {\n"
                         "    %0 = llvm.mul %x, %x : i128\n"
                         "    %1 = llvm.udiv %0, %x : i128\n"
                         "    %2 = llvm.inttoptr %1 : i128 to !llvm.ptr<1>\n"
                         "    llvm.store %1, %2 : i128, !llvm.ptr<1>\n"
                         "    llvm.return\n"
                         "  }\n"
                         "}\n",
                         messages)
                  .empty());
  EXPECT_EQ(messages, "emulated code would call '__udivti3', which the "
                      "emulator does not have\n");
}

} // namespace
