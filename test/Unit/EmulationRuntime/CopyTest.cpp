//===- CopyTest.cpp - cp.async --------------------------------------------===//
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

/// Copies of all sizes, zero-filled from `source_bytes` on.
TEST(CpAsync, SizesAndZeroFill) {
  auto data = randomBits<uint8_t>(64 * 16, 1);
  std::vector<MemoryRange> memory = {{data.data(), data.size(), false, "data"}};
  for (uint32_t bytes : {4u, 8u, 16u})
    for (uint32_t source : {0u, 1u, bytes - 1, bytes, bytes + 7}) {
      uint8_t got[64][16] = {};
      expectClean(
          {64, 1024},
          [&](Thread *thread) {
            uint32_t i = thread->tid[0];
            uint8_t *to = thread->shared + i * 16;
            // Nothing is read where nothing is copied.
            const uint8_t *from = source ? &data[i * 16] : nullptr;
            moe_emu_cp_async(thread, to, from, bytes, source, "copy");
            moe_emu_cp_async_commit(thread, "commit");
            moe_emu_cp_async_wait_group(thread, 0, "wait");
            for (uint32_t b = 0; b < bytes; ++b)
              got[i][b] = load(thread, to + b, "read");
          },
          memory);
      for (uint32_t i = 0; i < 64; ++i)
        for (uint32_t b = 0; b < bytes; ++b)
          EXPECT_EQ(got[i][b], b < source ? data[i * 16 + b] : 0);
    }
}

/// A ring of stages: what a GEMM does. `wait` and `barriers` can be wrong.
struct Ring {
  std::vector<uint32_t> data = randomBits<uint32_t>(64 * 16, 2);
  uint32_t sums[64] = {};
  uint32_t inFlight = 1;
  bool firstBarrier = true, secondBarrier = true, waitAtEnd = true;

  void operator()(Thread *thread) {
    constexpr uint32_t kStages = 3, kSteps = 16;
    uint32_t i = thread->tid[0], sum = 0;
    auto issue = [&](uint32_t step) {
      if (step < kSteps)
        moe_emu_cp_async(thread,
                         shared<uint32_t>(thread) + step % kStages * 64 + i,
                         &data[step * 64 + i], 4, 4, "copy");
      moe_emu_cp_async_commit(thread, "commit");
    };
    issue(0);
    issue(1);
    for (uint32_t step = 0; step < kSteps; ++step) {
      moe_emu_cp_async_wait_group(thread, inFlight, "wait");
      if (firstBarrier)
        moe_emu_barrier_sync(thread, 0, 0, "barrier");
      if (!secondBarrier)
        issue(step + 2);
      uint32_t *stage = shared<uint32_t>(thread) + step % kStages * 64;
      sum += load(thread, stage + 63 - i, "read");
      if (secondBarrier) {
        moe_emu_barrier_sync(thread, 0, 0, "barrier");
        issue(step + 2);
      }
    }
    if (waitAtEnd)
      moe_emu_cp_async_wait_all(thread, "wait");
    sums[i] = sum;
  }

  Body body() {
    return [this](Thread *thread) { (*this)(thread); };
  }
};

TEST(CpAsync, Ring) {
  Ring ring;
  expectClean({64, 768}, ring.body());
  for (uint32_t i = 0; i < 64; ++i) {
    uint32_t sum = 0;
    for (uint32_t step = 0; step < 16; ++step)
      sum += ring.data[step * 64 + 63 - i];
    EXPECT_EQ(ring.sums[i], sum);
  }
  // With three stages one barrier per step is enough.
  ring.secondBarrier = false;
  expectClean({64, 768}, ring.body());
}

TEST(CpAsync, MissingWait) {
  Ring ring;
  ring.inFlight = 2;
  expectFinding({64, 768}, ring.body(), FindingKind::Race, "read",
                "in flight writes");
}

TEST(CpAsync, MissingBarrierAfterWait) {
  Ring ring;
  ring.firstBarrier = false;
  for (Order order : allOrders()) {
    LaunchReport report = run({64, 768}, ring.body(), order);
    ASSERT_FALSE(report.findings.empty());
    EXPECT_EQ(report.findings[0].location, "read");
    EXPECT_TRUE(report.findings[0].kind == FindingKind::Race ||
                report.findings[0].kind == FindingKind::UninitialisedRead)
        << listed(report);
  }
}

/// Two stages and one barrier: the copy overwrites what others still read.
TEST(CpAsync, EarlyStageRelease) {
  auto data = randomBits<uint32_t>(64 * 8, 3);
  auto body = [&](Thread *thread, bool barrier) {
    uint32_t i = thread->tid[0];
    for (uint32_t step = 0; step < 8; ++step) {
      uint32_t *stage = shared<uint32_t>(thread) + step % 2 * 64;
      moe_emu_cp_async(thread, stage + i, &data[step * 64 + i], 4, 4, "copy");
      moe_emu_cp_async_commit(thread, "commit");
      moe_emu_cp_async_wait_group(thread, 0, "wait");
      moe_emu_barrier_sync(thread, 0, 0, "barrier");
      EXPECT_EQ(load(thread, stage + 63 - i, "read"), data[step * 64 + 63 - i]);
      if (barrier)
        moe_emu_barrier_sync(thread, 0, 0, "barrier");
    }
  };
  // With two stages the barrier of the next step is enough ...
  expectClean({64, 512}, [&](Thread *thread) { body(thread, false); });
  // ... with one it is not.
  auto single = [&](Thread *thread, bool barrier) {
    uint32_t i = thread->tid[0];
    for (uint32_t step = 0; step < 8; ++step) {
      uint32_t *stage = shared<uint32_t>(thread);
      moe_emu_cp_async(thread, stage + i, &data[step * 64 + i], 4, 4, "copy");
      moe_emu_cp_async_commit(thread, "commit");
      moe_emu_cp_async_wait_group(thread, 0, "wait");
      moe_emu_barrier_sync(thread, 0, 0, "barrier");
      load(thread, stage + 63 - i, "read");
      if (barrier)
        moe_emu_barrier_sync(thread, 0, 0, "barrier");
    }
  };
  expectClean({64, 256}, [&](Thread *thread) { single(thread, true); });
  for (Order order : allOrders()) {
    LaunchReport report =
        run({64, 256}, [&](Thread *thread) { single(thread, false); }, order);
    ASSERT_FALSE(report.findings.empty());
    EXPECT_EQ(report.findings[0].kind, FindingKind::Race) << listed(report);
  }
}

TEST(CpAsync, OverwriteInFlight) {
  uint32_t value = 5;
  expectFinding(
      {32, 128},
      [&](Thread *thread) {
        uint32_t *to = shared<uint32_t>(thread) + thread->tid[0];
        moe_emu_cp_async(thread, to, &value, 4, 4, "copy");
        moe_emu_cp_async_commit(thread, "commit");
        store(thread, to, 1u, "write");
        moe_emu_cp_async_wait_all(thread, "wait");
      },
      FindingKind::OverwriteInFlight, "write", "in flight");
}

TEST(CpAsync, InFlightAtExit) {
  Ring ring;
  ring.waitAtEnd = false;
  ring.inFlight = 0;
  expectClean({64, 768}, ring.body());
  uint32_t value = 5;
  for (bool check : {true, false})
    expectFinding(
        {32, 128},
        [&](Thread *thread) {
          moe_emu_cp_async(thread, shared<uint32_t>(thread) + thread->tid[0],
                           &value, 4, 4, "copy");
          moe_emu_cp_async_commit(thread, "commit");
          moe_emu_cp_async_wait_group(thread, 1, "wait");
        },
        FindingKind::CopyInFlight, "copy", "not waited for", {}, check);
}

TEST(CpAsync, BadAddresses) {
  alignas(16) static uint8_t data[64];
  std::vector<MemoryRange> memory = {{data, 32, false, "data"}};
  auto expect = [&](FindingKind kind, const char *text, uint32_t to,
                    uint32_t from) {
    expectFinding(
        {32, 64},
        [&](Thread *thread) {
          moe_emu_cp_async(thread, thread->shared + to, data + from, 16, 16,
                           "copy");
        },
        kind, "copy", text, memory);
  };
  expect(FindingKind::Misaligned, "aligned to 16", 8, 0);
  expect(FindingKind::Misaligned, "aligned to 16", 0, 8);
  expect(FindingKind::OutOfBoundsShared, "has 64 bytes", 64, 0);
  expect(FindingKind::OutOfBoundsGlobal, "'data' of 32 bytes", 0, 32);
}

/// Copies may land in any order but not before they are issued, so what is
/// read may change until the wait.
TEST(CpAsync, SchedulesDiffer) {
  for (Order order : allOrders()) {
    uint32_t value = 5, got = 0;
    run(
        {1, 128},
        [&](Thread *thread) {
          moe_emu_cp_async(thread, thread->shared, &value, 4, 4, "copy");
          value = 6;
          moe_emu_cp_async_wait_all(thread, "wait");
          got = *shared<uint32_t>(thread);
        },
        order, {}, false);
    if (order.schedule == Schedule::Late)
      EXPECT_EQ(got, 6u);
    if (order.schedule == Schedule::Eager)
      EXPECT_EQ(got, 5u);
  }
}

} // namespace
