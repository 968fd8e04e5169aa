//===- CheckTest.cpp - Checks of accesses to memory -----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "EmulationTest.h"

using namespace moe::emu;
using namespace moe::emu::test;

namespace {

TEST(Check, UninitialisedRead) {
  auto body = [](Thread *thread, bool fill) {
    uint32_t *data = shared<uint32_t>(thread) + thread->tid[0];
    if (fill || thread->tid[0] != 7)
      store(thread, data, 1u, "write");
    load(thread, data, "read");
  };
  expectClean({32, 128}, [&](Thread *thread) { body(thread, true); });
  expectFinding(
      {32, 128}, [&](Thread *thread) { body(thread, false); },
      FindingKind::UninitialisedRead, "read",
      "reads shared+0x1c, which nobody wrote");
  LaunchReport report =
      run({32, 128}, [&](Thread *thread) { body(thread, false); });
  EXPECT_EQ(report.findings[0].thread, 7u);
  EXPECT_EQ(report.findings[0].address, 0x1Cu);
  EXPECT_EQ(report.findings[0].toString(),
            "uninitialised-read: kernel kernel, block (0,0,0), thread 7, at "
            "read, shared+0x1c: load reads shared+0x1c, which nobody wrote");
}

/// Shared memory starts as NaNs in every block, checked or not.
TEST(Check, SharedStartsAsNaN) {
  for (bool check : {false, true}) {
    LaunchReport report = run(
        {32, 256, 3},
        [](Thread *thread) {
          EXPECT_EQ(shared<uint64_t>(thread)[thread->tid[0]], ~0ull);
          shared<uint64_t>(thread)[thread->tid[0]] = 0;
        },
        {Schedule::Late, 1}, {}, check);
    EXPECT_EQ(listed(report), "");
  }
}

/// The placement of arenas that addresses in the code rely on.
TEST(Check, SharedPlacement) {
  expectClean({32, 64, 4, 4}, [](Thread *thread) {
    uintptr_t address = uintptr_t(thread->shared);
    EXPECT_EQ(address % (256 * 1024), 0u);
    EXPECT_EQ(address >> 32, 0u);
  });
}

TEST(Check, OutOfBoundsShared) {
  for (int64_t offset : {128, 124 + 1024, -4, -(1 << 20), 1 << 20})
    expectFinding(
        {32, 128},
        [&](Thread *thread) {
          if (thread->tid[0] == 3)
            store(thread, reinterpret_cast<uint32_t *>(thread->shared + offset),
                  1u, "write");
        },
        FindingKind::OutOfBoundsShared, "write", "the block has 128 bytes");
}

TEST(Check, OutOfBoundsGlobal) {
  std::vector<uint32_t> a(64), b(64, 5);
  std::vector<MemoryRange> memory = {{a.data(), 256, true, "a"},
                                     {b.data(), 256, false, "b"}};
  if (a.data() > b.data())
    std::swap(memory[0], memory[1]);
  expectClean(
      {32},
      [&](Thread *thread) {
        uint32_t i = thread->tid[0];
        store(thread, &a[i], load(thread, &b[i + 32], "read"), "write");
      },
      memory);
  expectFinding(
      {32},
      [&](Thread *thread) {
        store(thread, a.data() + thread->tid[0] + 33, 1u, "write");
      },
      FindingKind::OutOfBoundsGlobal, "write", "store of 4 bytes at ", memory);
  expectFinding(
      {32}, [&](Thread *thread) { load(thread, a.data() - 1, "read"); },
      FindingKind::OutOfBoundsGlobal, "read", "4 bytes before 'a'", memory);
  // What straddles the end; and the access that would fault.
  expectFinding(
      {32},
      [&](Thread *thread) {
        moe_emu_check(thread, &a[63], 8, 4, MOE_EMU_READ, "read");
      },
      FindingKind::OutOfBoundsGlobal, "read", "'a' of 256 bytes", memory);
  expectFinding(
      {32},
      [&](Thread *thread) {
        load(thread, reinterpret_cast<uint32_t *>(uintptr_t(16)), "read");
      },
      FindingKind::OutOfBoundsGlobal, "read", "in no buffer");
}

TEST(Check, WriteToReadOnly) {
  std::vector<uint32_t> a(64, 9);
  std::vector<MemoryRange> memory = {{a.data(), 256, false, "weights"}};
  for (uint32_t kind : {MOE_EMU_WRITE, MOE_EMU_ATOMIC})
    expectFinding(
        {32},
        [&](Thread *thread) {
          moe_emu_check(thread, &a[2], 4, 4, kind, "write");
          a[2] = 0;
        },
        FindingKind::WriteToReadOnly, "write",
        "at offset 8 of 'weights', which is read-only", memory);
  EXPECT_EQ(a[2], 9u) << "the grid ends before the access";
}

/// Local memory and parameters are no global buffers, but may be accessed.
TEST(Check, LocalsAndParameters) {
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
  GTEST_SKIP() << "AddressSanitizer moves locals off the stack";
#endif
#endif
  std::vector<uint32_t> a(4);
  std::vector<MemoryRange> memory = {{a.data(), 16, true, "a"}};
  expectClean(
      {64},
      [&](Thread *thread) {
        uint32_t local[4] = {1, 2, 3, 4};
        uint32_t *pointer = local;
        store(thread, pointer + 1, 7u, "local");
        EXPECT_EQ(load(thread, pointer + 1, "local"), 7u);
      },
      memory);
  struct Values {
    uint64_t words[8];
  } values = {{1, 2, 3, 4, 5, 6, 7, 8}};
  void *params[] = {&values};
  uint32_t sizes[] = {sizeof values};
  moe_emu_kernel kernel{"k",
                        [](Thread *thread, void **params) {
                          auto *words = static_cast<uint64_t *>(params[0]);
                          EXPECT_EQ(load(thread, words + 7, "param"), 8u);
                          if (thread->ntid[0] == 32)
                            load(thread, words + 8, "behind");
                        },
                        1,
                        0,
                        sizes,
                        0,
                        1};
  LaunchConfig config;
  config.kernel = &kernel;
  config.block[0] = 64;
  config.params = params;
  config.memory = memory;
  EXPECT_EQ(launch(config).findings.size(), 0u);
  config.block[0] = 32;
  LaunchReport report = launch(config);
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_EQ(report.findings[0].kind, FindingKind::OutOfBoundsGlobal);
  EXPECT_EQ(report.findings[0].location, "behind");
}

TEST(Check, Misaligned) {
  alignas(16) uint8_t bytes[64] = {};
  expectFinding(
      {32, 64},
      [&](Thread *thread) {
        moe_emu_check(thread, thread->shared + 8, 16, 16, MOE_EMU_WRITE,
                      "write");
      },
      FindingKind::Misaligned, "write", "aligned to 16 bytes");
  expectFinding(
      {32},
      [&](Thread *thread) {
        moe_emu_check(thread, bytes + 2, 4, 4, MOE_EMU_READ, "read");
      },
      FindingKind::Misaligned, "read", "aligned to 4 bytes");
  expectClean({32}, [&](Thread *thread) {
    moe_emu_check(thread, bytes + 2, 4, 2, MOE_EMU_READ, "read");
  });
}

TEST(Check, Races) {
  // Two threads store to one place.
  expectFinding(
      {64, 64},
      [](Thread *thread) {
        if (thread->tid[0] % 40 == 0)
          store(thread, shared<uint16_t>(thread, 6), uint16_t(1), "write");
      },
      FindingKind::Race, "write", "without a barrier between them");
  // Neighbouring 16-bit elements are no race; neither are atomics.
  expectClean({64, 256}, [](Thread *thread) {
    store(thread, shared<uint16_t>(thread) + thread->tid[0], uint16_t(1),
          "write");
    uint32_t *sum = shared<uint32_t>(thread, 192);
    if (thread->tid[0] == 0)
      store(thread, sum, 0u, "zero");
    moe_emu_barrier_sync(thread, 0, 0, "barrier");
    moe_emu_check(thread, sum, 4, 4, MOE_EMU_ATOMIC, "atomic");
    __atomic_fetch_add(sum, 1, __ATOMIC_RELAXED);
    moe_emu_barrier_sync(thread, 0, 0, "barrier");
    EXPECT_EQ(load(thread, sum, "read"), 64u);
  });
  // An atomic and a load that nothing orders are.
  expectFinding(
      {64, 64},
      [](Thread *thread) {
        uint32_t *sum = shared<uint32_t>(thread);
        if (thread->tid[0] == 0)
          store(thread, sum, 0u, "zero");
        moe_emu_barrier_sync(thread, 0, 0, "barrier");
        if (thread->warpid == 0) {
          moe_emu_check(thread, sum, 4, 4, MOE_EMU_ATOMIC, "op");
          __atomic_fetch_add(sum, 1, __ATOMIC_RELAXED);
        } else {
          load(thread, sum, "op");
        }
      },
      FindingKind::Race, "op", "without a barrier");
}

/// bar.warp.sync orders the lanes of a warp, and only these.
TEST(Check, WarpSyncOrdersAWarp) {
  auto body = [](Thread *thread, uint32_t distance) {
    uint32_t *data = shared<uint32_t>(thread);
    store(thread, data + thread->tid[0], 1u, "write");
    moe_emu_warp_sync(thread, ~0u, "sync");
    load(thread, data + (thread->tid[0] ^ distance), "read");
  };
  expectClean({64, 256}, [&](Thread *thread) { body(thread, 31); });
  for (Order order : allOrders()) {
    LaunchReport report =
        run({64, 256}, [&](Thread *thread) { body(thread, 32); }, order);
    ASSERT_FALSE(report.findings.empty());
    EXPECT_EQ(report.findings[0].location, "read");
  }
}

TEST(Check, TrapEndsTheGrid) {
  uint32_t count = 0;
  LaunchReport report = run({32, 0, 8}, [&](Thread *thread) {
    ++count;
    moe_emu_trap(thread, "trap");
    ADD_FAILURE();
  });
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_EQ(report.findings[0].kind, FindingKind::Trap);
  EXPECT_EQ(count, 1u);
}

/// One finding per kind and location, and no more than 32.
TEST(Check, FindingsAreFew) {
  static char sites[64][4];
  for (int i = 0; i < 64; ++i)
    std::snprintf(sites[i], 4, "s%d", i);
  LaunchReport report = run({32, 256}, [](Thread *thread) {
    for (auto &site : sites)
      for (uint32_t i = 0; i < 64; ++i)
        load(thread, shared<uint32_t>(thread) + i, site);
  });
  EXPECT_EQ(report.findings.size(), 32u);
  for (size_t i = 0; i < report.findings.size(); ++i)
    EXPECT_EQ(report.findings[i].location, sites[i]);
}

} // namespace
