//===- BarrierTest.cpp - Barriers of blocks and clusters ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "EmulationTest.h"

#include <numeric>

using namespace moe::emu;
using namespace moe::emu::test;

namespace {

/// Every thread writes, waits, and reads what the next thread wrote.
void rotate(Thread *thread, bool before, bool after) {
  uint32_t n = thread->ntid[0], i = thread->tid[0];
  uint32_t *data = shared<uint32_t>(thread);
  for (uint32_t round = 0; round < 3; ++round) {
    store(thread, data + i, i + round, "write");
    if (before)
      moe_emu_barrier_sync(thread, 0, 0, "barrier");
    uint32_t got = load(thread, data + (i + 1) % n, "read");
    if (before && after)
      EXPECT_EQ(got, (i + 1) % n + round);
    if (after)
      moe_emu_barrier_sync(thread, 0, 0, "barrier");
  }
}

TEST(Barrier, OrdersMemory) {
  for (uint32_t threads : {32u, 100u, 1024u})
    expectClean({threads, 4096},
                [](Thread *thread) { rotate(thread, true, true); });
}

TEST(Barrier, MissingBeforeTheRead) {
  // By schedule, the first wrong read finds old data of nobody or of another.
  for (Order order : allOrders()) {
    LaunchReport report = run(
        {64, 4096}, [](Thread *thread) { rotate(thread, false, true); }, order);
    ASSERT_FALSE(report.findings.empty());
    EXPECT_TRUE(report.findings[0].kind == FindingKind::Race ||
                report.findings[0].kind == FindingKind::UninitialisedRead)
        << listed(report);
  }
}

TEST(Barrier, MissingAfterTheRead) {
  for (Order order : allOrders()) {
    LaunchReport report = run(
        {64, 4096}, [](Thread *thread) { rotate(thread, true, false); }, order);
    ASSERT_FALSE(report.findings.empty());
    EXPECT_EQ(report.findings[0].kind, FindingKind::Race) << listed(report);
  }
}

TEST(Barrier, Reduce) {
  uint32_t got[3][96];
  for (uint32_t voters : {0u, 40u, 96u}) {
    expectClean({96}, [&](Thread *thread) {
      uint32_t i = thread->tid[0];
      for (uint32_t op = 0; op < 3; ++op)
        got[op][i] =
            moe_emu_barrier_reduce(thread, 1, 0, op, i < voters, "reduce");
    });
    for (uint32_t i = 0; i < 96; ++i) {
      EXPECT_EQ(got[MOE_EMU_BARRIER_POPC][i], voters);
      EXPECT_EQ(got[MOE_EMU_BARRIER_AND][i], uint32_t(voters == 96));
      EXPECT_EQ(got[MOE_EMU_BARRIER_OR][i], uint32_t(voters != 0));
    }
  }
}

/// Producers arrive and go on, consumers wait; a second barrier comes back.
void producerConsumer(Thread *thread, bool wait) {
  uint32_t i = thread->tid[0], lane = i % 32;
  uint32_t *data = shared<uint32_t>(thread);
  for (uint32_t round = 0; round < 4; ++round) {
    if (i < 32) {
      if (round)
        moe_emu_barrier_sync(thread, 2, 64, "empty");
      store(thread, data + lane, round * 100 + lane, "produce");
      moe_emu_barrier_arrive(thread, 1, 64, "full");
    } else {
      if (wait)
        moe_emu_barrier_sync(thread, 1, 64, "full");
      else
        moe_emu_barrier_arrive(thread, 1, 64, "full");
      EXPECT_EQ(load(thread, data + 31 - lane, "consume"),
                wait ? round * 100 + 31 - lane
                     : *shared<uint32_t>(thread, (31 - lane) * 4));
      if (round < 3)
        moe_emu_barrier_arrive(thread, 2, 64, "empty");
    }
  }
}

TEST(Barrier, NamedProducerConsumer) {
  expectClean({64, 128},
              [](Thread *thread) { producerConsumer(thread, true); });
  for (Order order : allOrders()) {
    LaunchReport report = run(
        {64, 128}, [](Thread *thread) { producerConsumer(thread, false); },
        order);
    ASSERT_FALSE(report.findings.empty());
    EXPECT_TRUE(report.findings[0].kind == FindingKind::Race ||
                report.findings[0].kind == FindingKind::UninitialisedRead)
        << listed(report);
  }
}

TEST(Barrier, Misuse) {
  auto expect = [](FindingKind kind, const char *text, const Body &body) {
    expectFinding({64}, body, kind, "barrier", text);
  };
  expect(FindingKind::BarrierMisuse, "barriers 0 to 15", [](Thread *thread) {
    moe_emu_barrier_sync(thread, 16, 0, "barrier");
  });
  expect(FindingKind::BarrierMisuse, "multiple of 32", [](Thread *thread) {
    moe_emu_barrier_sync(thread, 1, 40, "barrier");
  });
  expect(FindingKind::BarrierMisuse, "while others wait at it for",
         [](Thread *thread) {
           uint32_t count = thread->warpid ? 64 : 32 + 32 * 0;
           // One lane of warp 0 is enough to see both counts.
           moe_emu_barrier_sync(thread, 1, thread->tid[0] % 32 ? count : 64,
                                "barrier");
         });
  expect(FindingKind::BarrierMisuse, "arrives twice", [](Thread *thread) {
    if (thread->warpid == 0)
      moe_emu_barrier_arrive(thread, 1, 64, "barrier");
    if (thread->warpid == 0)
      moe_emu_barrier_arrive(thread, 1, 64, "barrier");
    moe_emu_barrier_sync(thread, 0, 0, "other");
  });
}

TEST(Barrier, DivergentSites) {
  static const char here[] = "barrier", there[] = "barrier";
  expectFinding(
      {64},
      [](Thread *thread) {
        moe_emu_barrier_sync(thread, 0, 0, thread->laneid < 7 ? here : there);
      },
      FindingKind::DivergentCollective, "barrier", "elsewhere");
  // Warps may differ.
  expectClean({64}, [](Thread *thread) {
    moe_emu_barrier_sync(thread, 0, 0, thread->warpid ? here : there);
  });
}

TEST(Barrier, PartOfAWarp) {
  expectFinding(
      {64},
      [](Thread *thread) {
        if (thread->tid[0] < 40)
          moe_emu_barrier_sync(thread, 0, 0, "barrier");
      },
      FindingKind::DivergentCollective, "barrier", "of 32 threads of warp 1");
}

TEST(Barrier, Deadlock) {
  expectFinding(
      {96},
      [](Thread *thread) {
        if (thread->warpid != 2)
          moe_emu_barrier_sync(thread, 0, 0, "barrier");
      },
      FindingKind::Deadlock, "barrier",
      "of 96 threads: 64 at barriers, 32 exited");
}

TEST(Barrier, PollingForever) {
  expectFinding(
      {32},
      [](Thread *thread) {
        for (;;)
          moe_emu_yield(thread, "poll");
      },
      FindingKind::Deadlock, "poll", "polls or loops without end");
  uint32_t lock = 1;
  expectFinding(
      {32},
      [&](Thread *thread) {
        for (;;)
          moe_emu_check(thread, &lock, 4, 4, MOE_EMU_ATOMIC, "lock");
      },
      FindingKind::Deadlock, "lock", "polls or loops without end");
}

/// A loop that waits for a value that no other thread gets to write.
TEST(Barrier, LoopingForever) {
  uint32_t flag = 0;
  LaunchReport report = run({32}, [&](Thread *thread) {
    while (load(thread, &flag, "loop") == 0) {
    }
  });
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_EQ(report.findings[0].kind, FindingKind::Deadlock);
  EXPECT_EQ(report.findings[0].location, "loop");
}

//===----------------------------------------------------------------------===//
// Clusters
//===----------------------------------------------------------------------===//

void exchange(Thread *thread, bool wait) {
  uint32_t rank = thread->cluster_ctarank, n = thread->cluster_nctarank;
  uint32_t i = thread->tid[0];
  uint32_t *mine = shared<uint32_t>(thread) + i;
  store(thread, mine, rank * 1000 + i, "write");
  moe_emu_cluster_arrive(thread, "arrive");
  if (wait)
    moe_emu_cluster_wait(thread, "wait");
  uint32_t other = (rank + 1) % n;
  auto *theirs =
      static_cast<uint32_t *>(moe_emu_mapa(thread, mine, other, "mapa"));
  uint32_t got = load(thread, theirs, "remote");
  if (wait)
    EXPECT_EQ(got, other * 1000 + i);
  else
    moe_emu_cluster_wait(thread, "wait");
  // Nobody may leave while others read.
  moe_emu_cluster_arrive(thread, "arrive");
  moe_emu_cluster_wait(thread, "wait");
}

TEST(Cluster, Exchange) {
  Shape shape{64, 1024, 8, 4};
  expectClean(shape, [](Thread *thread) { exchange(thread, true); });
  for (Order order : allOrders()) {
    LaunchReport report =
        run(shape, [](Thread *thread) { exchange(thread, false); }, order);
    ASSERT_FALSE(report.findings.empty());
    EXPECT_TRUE(report.findings[0].kind == FindingKind::Race ||
                report.findings[0].kind == FindingKind::UninitialisedRead)
        << listed(report);
    EXPECT_EQ(report.findings[0].location, "remote");
  }
}

TEST(Cluster, Ranks) {
  uint32_t ranks[6] = {};
  expectClean({32, 0, 6, 3}, [&](Thread *thread) {
    EXPECT_EQ(thread->cluster_nctarank, 3u);
    ranks[thread->ctaid[0]] = thread->cluster_ctarank;
  });
  for (uint32_t i = 0; i < 6; ++i)
    EXPECT_EQ(ranks[i], i % 3);
}

/// Threads that exited are not waited for, whether they had arrived or not.
TEST(Cluster, ExitedThreads) {
  expectClean({64, 0, 2, 2}, [](Thread *thread) {
    if (thread->tid[0] == 1)
      return;
    moe_emu_cluster_arrive(thread, "arrive");
    if (thread->tid[0] == 2)
      return;
    moe_emu_cluster_wait(thread, "wait");
  });
}

TEST(Cluster, Misuse) {
  expectFinding(
      {32, 0, 2, 2},
      [](Thread *thread) { moe_emu_cluster_wait(thread, "cluster"); },
      FindingKind::BarrierMisuse, "cluster", "without an arrive");
  expectFinding(
      {32, 0, 2, 2},
      [](Thread *thread) {
        moe_emu_cluster_arrive(thread, "cluster");
        moe_emu_cluster_arrive(thread, "cluster");
      },
      FindingKind::BarrierMisuse, "cluster", "second");
  expectFinding(
      {32, 64, 2, 2},
      [](Thread *thread) {
        moe_emu_mapa(thread, thread->shared, 2, "cluster");
      },
      FindingKind::OutOfBoundsShared, "cluster", "mapa of block 2");
}

/// A block must not end while another one reads its shared memory.
TEST(Cluster, BlockEndedBefore) {
  expectFinding(
      {32, 256, 2, 2},
      [](Thread *thread) {
        uint32_t *mine = shared<uint32_t>(thread) + thread->tid[0];
        store(thread, mine, 1u, "write");
        moe_emu_cluster_arrive(thread, "arrive");
        moe_emu_cluster_wait(thread, "wait");
        if (thread->cluster_ctarank == 1)
          return;
        for (int i = 0; i < 200; ++i)
          moe_emu_yield(thread, "poll");
        load(thread,
             static_cast<uint32_t *>(moe_emu_mapa(thread, mine, 1, "mapa")),
             "remote");
      },
      FindingKind::OutOfBoundsShared, "remote", "which has ended");
}

} // namespace
