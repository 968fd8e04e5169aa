//===- MBarrierTest.cpp - mbarriers ---------------------------------------===//
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

/// mbarriers at the start of shared memory, initialised by thread 0.
uint64_t *initialised(Thread *thread, uint32_t index, uint32_t count) {
  uint64_t *barrier = shared<uint64_t>(thread) + index;
  if (thread->tid[0] == 0)
    moe_emu_mbarrier_init(thread, barrier, count, "init");
  return barrier;
}

/// One warp produces, one consumes, through a full and an empty mbarrier.
struct Handover {
  bool waitFull = true, waitEmpty = true;
  uint32_t fullCount = 32, emptyCount = 32;
  uint32_t got[8][32];

  void operator()(Thread *thread) {
    uint64_t *full = initialised(thread, 0, fullCount);
    uint64_t *empty = initialised(thread, 1, emptyCount);
    moe_emu_barrier_sync(thread, 0, 0, "barrier");
    uint32_t lane = thread->laneid;
    uint32_t *data = shared<uint32_t>(thread, 64);
    for (uint32_t round = 0; round < 8; ++round) {
      uint32_t parity = round & 1;
      if (thread->warpid == 0) {
        // A fresh mbarrier's wait for parity 1 does not wait.
        if (waitEmpty)
          moe_emu_mbarrier_try_wait_parity(thread, empty, parity ^ 1, "empty");
        store(thread, data + lane, round * 64 + lane, "produce");
        moe_emu_mbarrier_arrive(thread, full, 1, "arrive full");
      } else {
        if (waitFull)
          moe_emu_mbarrier_try_wait_parity(thread, full, parity, "full");
        got[round][lane] = load(thread, data + 31 - lane, "consume");
        moe_emu_mbarrier_arrive(thread, empty, 1, "arrive empty");
      }
    }
  }

  Body body() {
    return [this](Thread *thread) { (*this)(thread); };
  }
};

TEST(MBarrier, Handover) {
  Handover kernel;
  expectClean({64, 256}, kernel.body());
  for (uint32_t round = 0; round < 8; ++round)
    for (uint32_t lane = 0; lane < 32; ++lane)
      EXPECT_EQ(kernel.got[round][lane], round * 64 + 31 - lane);
}

TEST(MBarrier, MissingFullWait) {
  for (Order order : allOrders()) {
    Handover kernel;
    kernel.waitFull = false;
    LaunchReport report = run({64, 256}, kernel.body(), order);
    ASSERT_FALSE(report.findings.empty());
    FindingKind kind = report.findings[0].kind;
    EXPECT_TRUE(kind == FindingKind::Race ||
                kind == FindingKind::UninitialisedRead ||
                kind == FindingKind::BarrierMisuse)
        << listed(report);
  }
}

/// The producer runs ahead: its stores race with the loads, or phases complete
/// that nobody waits for and the consumer waits for one that never comes.
TEST(MBarrier, MissingEmptyWait) {
  for (Order order : allOrders()) {
    Handover kernel;
    kernel.waitEmpty = false;
    LaunchReport report = run({64, 256}, kernel.body(), order);
    EXPECT_FALSE(report.findings.empty());
  }
}

TEST(MBarrier, WrongCount) {
  Handover many;
  many.fullCount = 33;
  expectFinding({64, 256}, many.body(), FindingKind::Deadlock, "empty",
                "64 at mbarriers");
  for (Order order : allOrders()) {
    Handover few;
    few.emptyCount = 31;
    LaunchReport report = run({64, 256}, few.body(), order);
    ASSERT_FALSE(report.findings.empty());
  }
}

TEST(MBarrier, OverArrival) {
  for (bool check : {true, false})
    expectFinding(
        {32, 64},
        [](Thread *thread) {
          uint64_t *barrier = initialised(thread, 0, 40);
          moe_emu_barrier_sync(thread, 0, 0, "barrier");
          moe_emu_mbarrier_arrive(thread, barrier, 2, "arrive");
          moe_emu_mbarrier_arrive(thread, barrier, 30, "arrive");
        },
        FindingKind::BarrierMisuse, "arrive", "awaits", {}, check);
}

TEST(MBarrier, UseBeforeInit) {
  expectFinding(
      {32, 64},
      [](Thread *thread) {
        moe_emu_mbarrier_arrive(thread, thread->shared, 1, "use");
      },
      FindingKind::BarrierMisuse, "use", "not initialised");
  // Initialised, but nothing says that it was before.
  expectFinding(
      {64, 64},
      [](Thread *thread) {
        uint64_t *barrier = initialised(thread, 0, 1);
        if (thread->tid[0] == 0)
          moe_emu_mbarrier_arrive(thread, barrier, 1, "use");
        for (int i = 0; i < 3; ++i)
          moe_emu_vote(thread, MOE_EMU_VOTE_ANY, ~0u, 1, "vote");
        if (thread->tid[0] == 1)
          moe_emu_mbarrier_try_wait_parity(thread, barrier, 0, "use");
      },
      FindingKind::BarrierMisuse, "use", "without a barrier after");
  // Overwritten, invalidated, initialised twice, misaligned.
  expectFinding(
      {32, 64},
      [](Thread *thread) {
        uint64_t *barrier = initialised(thread, 0, 32);
        moe_emu_barrier_sync(thread, 0, 0, "barrier");
        if (thread->tid[0] == 0)
          store<uint64_t>(thread, barrier, 0, "write");
        moe_emu_barrier_sync(thread, 0, 0, "barrier");
        moe_emu_mbarrier_arrive(thread, barrier, 1, "use");
      },
      FindingKind::BarrierMisuse, "use", "or overwritten");
  expectFinding(
      {1, 64},
      [](Thread *thread) {
        uint64_t *barrier = initialised(thread, 0, 32);
        moe_emu_mbarrier_inval(thread, barrier, "inval");
        moe_emu_mbarrier_arrive(thread, barrier, 1, "use");
      },
      FindingKind::BarrierMisuse, "use", "invalidated");
  expectFinding(
      {1, 64},
      [](Thread *thread) {
        initialised(thread, 0, 32);
        initialised(thread, 0, 32);
      },
      FindingKind::BarrierMisuse, "init", "which is in use");
  expectFinding(
      {1, 64},
      [](Thread *thread) {
        moe_emu_mbarrier_init(thread, thread->shared + 4, 1, "init");
      },
      FindingKind::Misaligned, "init", "aligned to 8 bytes");
  expectFinding(
      {1, 64},
      [](Thread *thread) {
        moe_emu_mbarrier_init(thread, thread->shared, 0, "init");
      },
      FindingKind::BarrierMisuse, "init", "a count of 0");
}

TEST(MBarrier, InvalidatedMemoryIsMemory) {
  expectClean({1, 64}, [](Thread *thread) {
    for (uint32_t i = 0; i < 3; ++i) {
      uint64_t *barrier = initialised(thread, 0, 1);
      uint64_t state = moe_emu_mbarrier_arrive(thread, barrier, 1, "arrive");
      EXPECT_EQ(moe_emu_mbarrier_try_wait(thread, barrier, state, "wait"), 1u);
      moe_emu_mbarrier_inval(thread, barrier, "inval");
      store<uint64_t>(thread, barrier, i, "write");
      EXPECT_EQ(load(thread, barrier, "read"), i);
    }
  });
}

/// test_wait polls; the state of an arrival names its phase.
TEST(MBarrier, TestWait) {
  expectClean({64, 64}, [](Thread *thread) {
    uint64_t *barrier = initialised(thread, 0, 64);
    moe_emu_barrier_sync(thread, 0, 0, "barrier");
    for (uint32_t round = 0; round < 5; ++round) {
      uint32_t *data = shared<uint32_t>(thread, 32);
      if (thread->tid[0] == round)
        store(thread, data, round, "write");
      uint64_t state = moe_emu_mbarrier_arrive(thread, barrier, 1, "arrive");
      if (thread->warpid)
        while (!moe_emu_mbarrier_test_wait(thread, barrier, state, "test")) {
        }
      else
        while (!moe_emu_mbarrier_test_wait_parity(thread, barrier, round & 1,
                                                  "test")) {
        }
      EXPECT_EQ(load(thread, data, "read"), round);
      moe_emu_barrier_sync(thread, 0, 0, "barrier");
    }
  });
  expectFinding(
      {1, 64},
      [](Thread *thread) {
        uint64_t *barrier = initialised(thread, 0, 2);
        while (!moe_emu_mbarrier_test_wait_parity(thread, barrier, 0, "test")) {
        }
      },
      FindingKind::Deadlock, "test", "polls or loops without end");
}

/// cp.async arrives at an mbarrier, counted in the initial count or not.
TEST(MBarrier, CpAsyncArrive) {
  auto data = randomBits<uint32_t>(64, 4);
  for (uint32_t noinc : {0u, 1u}) {
    auto body = [&](Thread *thread, bool wait) {
      uint32_t i = thread->tid[0];
      uint64_t *barrier = initialised(thread, 0, noinc ? 64 : 1);
      moe_emu_barrier_sync(thread, 0, 0, "barrier");
      uint32_t *to = shared<uint32_t>(thread, 64);
      moe_emu_cp_async(thread, to + i, &data[i], 4, 4, "copy");
      moe_emu_cp_async_mbarrier_arrive(thread, barrier, noinc, "async");
      if (!noinc) {
        moe_emu_barrier_sync(thread, 0, 0, "barrier");
        if (i == 0)
          moe_emu_mbarrier_arrive(thread, barrier, 1, "arrive");
      }
      if (wait)
        moe_emu_mbarrier_try_wait_parity(thread, barrier, 0, "wait");
      uint32_t got = load(thread, to + 63 - i, "read");
      if (wait)
        EXPECT_EQ(got, data[63 - i]);
    };
    expectClean({64, 512}, [&](Thread *thread) { body(thread, true); });
    for (Order order : allOrders()) {
      LaunchReport report =
          run({64, 512}, [&](Thread *thread) { body(thread, false); }, order);
      ASSERT_FALSE(report.findings.empty());
      EXPECT_TRUE(report.findings[0].kind == FindingKind::Race ||
                  report.findings[0].kind == FindingKind::UninitialisedRead)
          << listed(report);
    }
  }
}

/// The thread itself may wait for its groups instead.
TEST(MBarrier, CpAsyncArriveAndWaitGroup) {
  auto data = randomBits<uint32_t>(64, 4);
  expectClean({64, 512}, [&](Thread *thread) {
    uint32_t i = thread->tid[0];
    uint64_t *barrier = initialised(thread, 0, 64);
    moe_emu_barrier_sync(thread, 0, 0, "barrier");
    uint32_t *to = shared<uint32_t>(thread, 64) + i;
    moe_emu_cp_async(thread, to, &data[i], 4, 4, "copy");
    moe_emu_cp_async_mbarrier_arrive(thread, barrier, 1, "async");
    moe_emu_cp_async_wait_all(thread, "wait");
    EXPECT_EQ(load(thread, to, "read"), data[i]);
  });
}

/// Blocks of a cluster arrive at each other's mbarriers.
TEST(MBarrier, RemoteArrive) {
  expectClean({32, 256, 4, 4}, [](Thread *thread) {
    uint64_t *barrier = initialised(thread, 0, 4);
    moe_emu_cluster_arrive(thread, "arrive");
    moe_emu_cluster_wait(thread, "wait");
    uint32_t rank = thread->cluster_ctarank;
    if (thread->tid[0] < 4) {
      auto *slot = static_cast<uint32_t *>(moe_emu_mapa(
          thread, shared<uint32_t>(thread, 64) + rank, thread->tid[0], "mapa"));
      store(thread, slot, rank + 10, "remote");
      moe_emu_mbarrier_arrive(
          thread, moe_emu_mapa(thread, barrier, thread->tid[0], "mapa"), 1,
          "arrive");
    }
    moe_emu_mbarrier_try_wait_parity(thread, barrier, 0, "wait");
    for (uint32_t i = 0; i < 4; ++i)
      EXPECT_EQ(load(thread, shared<uint32_t>(thread, 64) + i, "read"), i + 10);
    moe_emu_cluster_arrive(thread, "arrive");
    moe_emu_cluster_wait(thread, "wait");
  });
  expectFinding(
      {32, 256, 2, 2},
      [](Thread *thread) {
        uint64_t *barrier = initialised(thread, 0, 1);
        moe_emu_cluster_arrive(thread, "arrive");
        moe_emu_cluster_wait(thread, "wait");
        moe_emu_mbarrier_try_wait_parity(
            thread,
            moe_emu_mapa(thread, barrier, 1 - thread->cluster_ctarank, "mapa"),
            1, "remote");
      },
      FindingKind::BarrierMisuse, "remote", "of another block");
}

} // namespace
