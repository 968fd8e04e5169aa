//===- LaunchTest.cpp - Grids, threads and their numbers ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "EmulationTest.h"

#include <atomic>
#include <set>
#include <thread>

using namespace moe::emu;
using namespace moe::emu::test;

namespace {

TEST(Launch, Numbers) {
  // Shape (2, 3, 2) of blocks of (5, 4, 3) threads: every number once.
  struct Seen {
    std::atomic<int> count[12][60] = {};
  } seen;
  void *params[1];
  Seen *pointer = &seen;
  params[0] = &pointer;
  uint32_t sizes[] = {8};
  moe_emu_kernel kernel{"numbers",
                        [](Thread *t, void **params) {
                          uint32_t block =
                              t->ctaid[0] + 2 * (t->ctaid[1] + 3 * t->ctaid[2]);
                          uint32_t i =
                              t->tid[0] + 5 * (t->tid[1] + 4 * t->tid[2]);
                          EXPECT_EQ(t->laneid, i % 32);
                          EXPECT_EQ(t->warpid, i / 32);
                          EXPECT_EQ(t->nctaid[1], 3u);
                          EXPECT_EQ(t->ntid[2], 3u);
                          EXPECT_EQ(t->cluster_nctarank, 1u);
                          ++(*static_cast<Seen **>(params[0]))->count[block][i];
                        },
                        1,
                        0,
                        sizes,
                        60,
                        1};
  for (uint32_t osThreads : {0u, 1u, 3u, 64u}) {
    for (auto &block : seen.count)
      for (auto &count : block)
        count = 0;
    LaunchConfig config;
    config.kernel = &kernel;
    uint32_t grid[] = {2, 3, 2}, block[] = {5, 4, 3};
    std::copy_n(grid, 3, config.grid);
    std::copy_n(block, 3, config.block);
    config.params = params;
    config.osThreads = osThreads;
    LaunchReport report = launch(config);
    EXPECT_EQ(listed(report), "");
    for (auto &line : seen.count)
      for (auto &count : line)
        EXPECT_EQ(count, 1);
  }
}

TEST(Launch, Invalid) {
  auto expect =
      [](const char *text,
         std::function<void(LaunchConfig &, moe_emu_kernel &)> change) {
        moe_emu_kernel kernel{"k",     [](Thread *, void **) { ADD_FAILURE(); },
                              0,       1024,
                              nullptr, 256,
                              1};
        LaunchConfig config;
        config.kernel = &kernel;
        config.block[0] = 32;
        change(config, kernel);
        LaunchReport report = launch(config);
        ASSERT_EQ(report.findings.size(), 1u);
        EXPECT_EQ(report.findings[0].kind, FindingKind::InvalidLaunch);
        EXPECT_EQ(report.findings[0].message, text);
      };
  using Config = LaunchConfig;
  using Kernel = moe_emu_kernel;
  expect("the grid or block has no threads",
         [](Config &config, Kernel &) { config.grid[1] = 0; });
  expect("blocks of 2048 threads; at most 1024 are possible",
         [](Config &config, Kernel &) {
           config.block[0] = config.block[1] = 32, config.block[2] = 2;
         });
  expect("blocks of 288 threads; the kernel allows 256",
         [](Config &config, Kernel &) { config.block[0] = 288; });
  expect("232449 bytes of shared memory; a block has at most 232448",
         [](Config &config, Kernel &) { config.dynamicShared = 231425; });
  expect("a grid of 5 blocks is no multiple of the cluster's 2",
         [](Config &config, Kernel &kernel) {
           config.grid[0] = 5;
           kernel.cluster = 2;
         });
  expect("clusters of 32 blocks; at most 16 are possible",
         [](Config &, Kernel &kernel) { kernel.cluster = 32; });
  expect("the kernel has parameters, the launch has none",
         [](Config &, Kernel &kernel) { kernel.num_params = 1; });
  expect("the grid or block is too large in dimension 1",
         [](Config &config, Kernel &) { config.grid[1] = 65536; });
  static char bytes[8];
  expect("memory ranges 'a' and 'b' overlap or are not ascending",
         [](Config &config, Kernel &) {
           config.memory = {{bytes, 5, true, "a"}, {bytes + 4, 4, true, "b"}};
         });
  LaunchReport report = launch(LaunchConfig());
  EXPECT_EQ(report.findings.at(0).message, "there is no kernel");
}

/// A race whose victims depend on the order.
void racy(Thread *thread) {
  uint32_t *data = shared<uint32_t>(thread);
  moe_emu_warp_sync(thread, ~0u, "sync");
  if (thread->laneid == thread->ctaid[0] % 8)
    store(thread, data, thread->tid[0], "write");
  load(thread, data, "read");
}

TEST(Launch, FindingsAreDeterministic) {
  for (Order order : allOrders()) {
    LaunchReport first = run({256, 64, 6}, racy, order);
    EXPECT_FALSE(first.findings.empty());
    for (int i = 0; i < 3; ++i) {
      LaunchReport again = run({256, 64, 6}, racy, order);
      EXPECT_EQ(listed(again), listed(first));
      EXPECT_EQ(again.switches, first.switches);
    }
    // Which OS thread runs a block changes nothing about the block.
    LaunchReport parallel = run({256, 64, 6}, racy, order, {}, true, 3);
    EXPECT_EQ(listed(parallel), listed(first));
  }
}

/// Random schedules of different seeds run threads in different orders.
TEST(Launch, SeedsDiffer) {
  std::set<std::vector<uint32_t>> orders;
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    std::vector<uint32_t> order;
    run({64}, [&](Thread *thread) { order.push_back(thread->tid[0]); },
        {Schedule::Random, seed});
    orders.insert(order);
  }
  EXPECT_EQ(orders.size(), 8u);
}

/// Launches from several threads at once share nothing but global memory.
TEST(Launch, Concurrent) {
  std::atomic<uint32_t> sum{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int j = 0; j < 8; ++j) {
        LaunchReport report = run({128, 1024, 4}, [&](Thread *thread) {
          uint32_t *data = shared<uint32_t>(thread);
          store(thread, data + thread->tid[0], thread->tid[0], "write");
          moe_emu_barrier_sync(thread, 0, 0, "barrier");
          sum += load(thread, data + 127 - thread->tid[0], "read");
        });
        EXPECT_EQ(listed(report), "");
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(sum, 4u * 8 * 4 * (127 * 128 / 2));
}

/// After a grid that was cut short, the next one is as ever.
TEST(Launch, AfterAnEnd) {
  for (int i = 0; i < 50; ++i) {
    LaunchReport report = run({256, 1024, 2}, [](Thread *thread) {
      moe_emu_barrier_sync(thread, 0, 0, "barrier");
      if (thread->tid[0] == 77)
        moe_emu_trap(thread, "trap");
      moe_emu_barrier_sync(thread, 1, 0, "barrier");
    });
    ASSERT_EQ(report.findings.size(), 1u);
    report = run({128, 512, 2, 2}, [](Thread *thread) {
      moe_emu_barrier_sync(thread, 0, 0, "barrier");
    });
    ASSERT_EQ(listed(report), "");
  }
}

} // namespace
