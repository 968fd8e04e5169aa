//===- PipelineTest.cpp - A small Hopper GEMM, and what can go wrong ------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One producer thread fills stages by TMA, a warpgroup consumes them with
// wgmma; full and empty mbarriers hand the stages over. In a cluster of two,
// each block loads half of B and multicasts it.
//
//===----------------------------------------------------------------------===//

#include "EmulationTest.h"

#include <algorithm>
#include <cmath>

using namespace moe::emu;
using namespace moe::emu::test;

namespace {

constexpr uint32_t kN = 64, kTileK = 64, kStages = 2;
constexpr uint32_t kTileA = 64 * kTileK * 2, kTileB = kN * kTileK * 2;
constexpr uint32_t kStageBytes = kTileA + kTileB;
constexpr uint32_t kShared = 1024 + kStages * kStageBytes;

struct alignas(64) Map {
  uint8_t bytes[128];
};

struct Gemm {
  // Bugs.
  bool waitFull = true, waitEmpty = true, arriveEmpty = true;
  bool releaseEarly = false, waitAll = true;
  uint32_t expectedBytes = kStageBytes;
  uint32_t cluster;
  bool multicastEmpty = true;

  uint32_t steps = 7, m;
  std::vector<uint16_t> a, b;
  std::vector<float> valuesA, valuesB, d;
  Map mapA, mapB;

  explicit Gemm(uint32_t cluster = 1)
      : cluster(cluster), m(64 * 2), a(m * k()), b(kN * k()), valuesA(a.size()),
        valuesB(b.size()), d(m * kN) {
    std::mt19937_64 engine(5);
    for (uint32_t i = 0; i < a.size(); ++i)
      a[i] = smallNumber(engine, false, &valuesA[i]);
    for (uint32_t i = 0; i < b.size(); ++i)
      b[i] = smallNumber(engine, false, &valuesB[i]);
    encode(mapA, a.data(), m, 64);
    encode(mapB, b.data(), kN, kN / cluster);
  }

  uint32_t k() const { return steps * kTileK; }

  void encode(Map &map, uint16_t *base, uint64_t rows, uint32_t box) {
    uint64_t sizes[] = {k(), rows}, strides[] = {k() * 2};
    uint32_t boxes[] = {kTileK, box};
    auto error = encodeTensorMap(&map, 2, 2, base, sizes, strides, boxes, 3);
    EXPECT_FALSE(error) << error.value_or("");
  }

  static uint64_t descriptor(uint32_t offset) {
    return uint64_t(offset >> 4) | uint64_t(1024 >> 4) << 32 |
           uint64_t(1) << 62;
  }

  void produce(Thread *thread, uint64_t *full, uint64_t *empty) {
    uint32_t rank = thread->cluster_ctarank;
    uint16_t everyone = uint16_t((1u << cluster) - 1);
    for (uint32_t step = 0; step < steps; ++step) {
      uint32_t stage = step % kStages, parity = step / kStages & 1;
      if (waitEmpty)
        moe_emu_mbarrier_try_wait_parity(thread, empty + stage, parity ^ 1,
                                         "wait empty");
      moe_emu_mbarrier_arrive_expect_tx(thread, full + stage, expectedBytes,
                                        "expect");
      uint8_t *tileA = thread->shared + 1024 + stage * kStageBytes;
      int32_t k0 = int32_t(step * kTileK);
      int32_t atA[] = {k0, int32_t(thread->ctaid[0] * 64)};
      int32_t atB[] = {k0, int32_t(rank * kN / cluster)};
      moe_emu_tma_load(thread, tileA, &mapA, full + stage, 2, atA, 0, "load A");
      moe_emu_tma_load(thread, tileA + kTileA + rank * (kTileB / cluster),
                       &mapB, full + stage, 2, atB, cluster == 1 ? 0 : everyone,
                       "load B");
    }
  }

  /// The stage is free in all blocks that write to it.
  void release(Thread *thread, uint64_t *empty) {
    if (!arriveEmpty || thread->tid[0] % 128)
      return;
    for (uint32_t rank = 0; rank < (multicastEmpty ? cluster : 1); ++rank)
      moe_emu_mbarrier_arrive(
          thread,
          cluster == 1 ? empty : moe_emu_mapa(thread, empty, rank, "mapa"), 1,
          "release");
  }

  void consume(Thread *thread, uint64_t *full, uint64_t *empty) {
    float acc[kN / 2] = {};
    for (uint32_t step = 0; step < steps; ++step) {
      uint32_t stage = step % kStages, parity = step / kStages & 1;
      if (waitFull)
        moe_emu_mbarrier_try_wait_parity(thread, full + stage, parity,
                                         "wait full");
      moe_emu_wgmma_fence(thread, "fence");
      uint32_t tileA = 1024 + stage * kStageBytes;
      for (uint32_t x = 0; x < kTileK; x += 16)
        moe_emu_wgmma(thread, MOE_EMU_BF16, kN, 0, descriptor(tileA + x * 2),
                      nullptr, descriptor(tileA + kTileA + x * 2), acc, acc,
                      "wgmma");
      moe_emu_wgmma_commit(thread, "commit");
      if (releaseEarly) {
        // The wgmma of this step may still read its stage.
        moe_emu_wgmma_wait(thread, 1, "wait");
        release(thread, empty + stage);
        continue;
      }
      moe_emu_wgmma_wait(thread, 0, "wait");
      release(thread, empty + stage);
    }
    moe_emu_wgmma_wait(thread, 0, "wait");
    uint32_t i = thread->tid[0] % 128, warp = i / 32, lane = i % 32;
    for (uint32_t j = 0; j < kN / 2; ++j) {
      uint32_t row =
          thread->ctaid[0] * 64 + warp * 16 + lane / 4 + j / 2 % 2 * 8;
      d[row * kN + j / 4 * 8 + lane % 4 * 2 + j % 2] = acc[j];
    }
  }

  void operator()(Thread *thread) {
    uint64_t *full = shared<uint64_t>(thread), *empty = full + kStages;
    if (thread->tid[0] == 0)
      for (uint32_t stage = 0; stage < kStages; ++stage) {
        moe_emu_mbarrier_init(thread, full + stage, 1, "init");
        moe_emu_mbarrier_init(thread, empty + stage, cluster, "init");
      }
    moe_emu_cluster_arrive(thread, "cluster");
    moe_emu_cluster_wait(thread, "cluster");
    if (thread->tid[0] < 128)
      consume(thread, full, empty);
    else if (thread->tid[0] == 128)
      produce(thread, full, empty);
    // Others may still write to this block, or arrive at its mbarriers.
    moe_emu_warp_sync(thread, ~0u, "converge");
    moe_emu_cluster_arrive(thread, "cluster");
    moe_emu_cluster_wait(thread, "cluster");
  }

  Shape shape() const { return {160, kShared, 2, cluster}; }
  Body body() {
    return [this](Thread *thread) { (*this)(thread); };
  }
  std::vector<MemoryRange> memory() const {
    std::vector<MemoryRange> ranges = {{a.data(), a.size() * 2, false, "a"},
                                       {b.data(), b.size() * 2, false, "b"},
                                       {this, sizeof *this, false, "maps"}};
    std::sort(ranges.begin(), ranges.end(), [](auto &x, auto &y) {
      return uintptr_t(x.begin) < uintptr_t(y.begin);
    });
    return ranges;
  }

  void expectProduct() const {
    for (uint32_t i = 0; i < m; ++i)
      for (uint32_t j = 0; j < kN; ++j) {
        float sum = 0;
        for (uint32_t x = 0; x < k(); ++x)
          sum += valuesA[i * k() + x] * valuesB[j * k() + x];
        ASSERT_EQ(d[i * kN + j], sum) << i << ", " << j;
      }
  }

  /// Under every order the first finding is one of `kinds`.
  void expectCaught(std::vector<FindingKind> kinds) {
    for (Order order : allOrders()) {
      LaunchReport report = run(shape(), body(), order, memory());
      ASSERT_FALSE(report.findings.empty());
      EXPECT_EQ(std::count(kinds.begin(), kinds.end(), report.findings[0].kind),
                1)
          << listed(report);
    }
  }
};

TEST(Pipeline, Gemm) {
  for (uint32_t cluster : {1u, 2u}) {
    Gemm gemm(cluster);
    for (Order order : allOrders())
      for (bool check : {true, false}) {
        std::fill(gemm.d.begin(), gemm.d.end(), NAN);
        LaunchReport report =
            run(gemm.shape(), gemm.body(), order, gemm.memory(), check);
        EXPECT_EQ(listed(report), "") << "cluster " << cluster;
        gemm.expectProduct();
      }
  }
}

TEST(Pipeline, WrongTransactionCount) {
  for (uint32_t bytes : {kStageBytes - 16, kStageBytes + 16, kTileA}) {
    Gemm gemm;
    gemm.expectedBytes = bytes;
    // With the bytes of A alone a phase completes before B has come, which
    // the reader of B can see first.
    gemm.expectCaught({FindingKind::TransactionCount, FindingKind::Race});
  }
}

TEST(Pipeline, MissingEmptyWait) {
  for (uint32_t cluster : {1u, 2u}) {
    Gemm gemm(cluster);
    gemm.waitEmpty = false;
    gemm.expectCaught({FindingKind::Race, FindingKind::BarrierMisuse,
                       FindingKind::OverwriteInFlight});
  }
}

TEST(Pipeline, MissingFullWait) {
  Gemm gemm;
  gemm.waitFull = false;
  gemm.expectCaught({FindingKind::Race, FindingKind::UninitialisedRead});
}

TEST(Pipeline, EarlyRelease) {
  for (uint32_t cluster : {1u, 2u}) {
    Gemm gemm(cluster);
    gemm.releaseEarly = true;
    gemm.expectCaught({FindingKind::OverwriteInFlight});
  }
}

TEST(Pipeline, MissingRelease) {
  Gemm gemm;
  gemm.arriveEmpty = false;
  gemm.expectCaught({FindingKind::Deadlock});
}

/// The other block's producer writes to this block's stage as well.
TEST(Pipeline, ReleaseOfOneBlockOnly) {
  Gemm gemm(2);
  gemm.multicastEmpty = false;
  gemm.expectCaught({FindingKind::Deadlock, FindingKind::TransactionCount});
}

//===----------------------------------------------------------------------===//
// Gathered operands
//===----------------------------------------------------------------------===//

/// Threads gather rows of A by cp.async, swizzled by hand, for wgmma; an
/// arrival per thread says that its copies are done.
struct Gather {
  bool fence = true, arriveAfterWait = true;
  std::vector<uint16_t> a, b;
  std::vector<float> valuesA, valuesB, d;
  std::vector<uint32_t> rows;

  Gather()
      : a(100 * 64), b(64 * 64), valuesA(a.size()), valuesB(b.size()),
        d(64 * 64), rows(64) {
    std::mt19937_64 engine(6);
    for (uint32_t i = 0; i < a.size(); ++i)
      a[i] = smallNumber(engine, false, &valuesA[i]);
    for (uint32_t i = 0; i < b.size(); ++i)
      b[i] = smallNumber(engine, false, &valuesB[i]);
    for (uint32_t &row : rows)
      row = engine() % 101; // 100 is padding
  }

  void copyRow(Thread *thread, uint32_t base, uint32_t i,
               const uint16_t *from) {
    for (uint32_t chunk = 0; chunk < 8; ++chunk)
      moe_emu_cp_async(
          thread, thread->shared + base + i * 128 + ((chunk ^ (i % 8)) * 16),
          from ? from + chunk * 8 : nullptr, 16, from ? 16 : 0, "copy");
  }

  void operator()(Thread *thread) {
    uint32_t i = thread->tid[0];
    uint64_t *full = shared<uint64_t>(thread);
    if (i == 0)
      moe_emu_mbarrier_init(thread, full, 128, "init");
    moe_emu_barrier_sync(thread, 0, 0, "barrier");
    if (i >= 128) {
      uint32_t j = i - 128;
      if (j < 64)
        copyRow(thread, 1024, j, rows[j] < 100 ? &a[rows[j] * 64] : nullptr);
      else
        copyRow(thread, 1024 + 8192, j - 64, &b[(j - 64) * 64]);
      if (arriveAfterWait) {
        moe_emu_cp_async_wait_all(thread, "wait");
        if (fence)
          moe_emu_fence_proxy_async(thread, "fence");
        moe_emu_mbarrier_arrive(thread, full, 1, "arrive");
      } else {
        moe_emu_cp_async_mbarrier_arrive(thread, full, 1, "arrive");
      }
      return;
    }
    moe_emu_mbarrier_try_wait_parity(thread, full, 0, "wait full");
    if (!arriveAfterWait && fence)
      moe_emu_fence_proxy_async(thread, "fence");
    float acc[32] = {};
    for (uint32_t x = 0; x < 64; x += 16)
      moe_emu_wgmma(thread, MOE_EMU_BF16, 64, 0, Gemm::descriptor(1024 + x * 2),
                    nullptr, Gemm::descriptor(1024 + 8192 + x * 2), acc, acc,
                    "wgmma");
    moe_emu_wgmma_commit(thread, "commit");
    moe_emu_wgmma_wait(thread, 0, "wait");
    for (uint32_t j = 0; j < 32; ++j)
      d[(i / 32 * 16 + i % 32 / 4 + j / 2 % 2 * 8) * 64 + j / 4 * 8 +
        i % 4 * 2 + j % 2] = acc[j];
  }

  Body body() {
    return [this](Thread *thread) { (*this)(thread); };
  }
};

TEST(Pipeline, Gather) {
  for (bool arriveAfterWait : {true, false}) {
    Gather gather;
    gather.arriveAfterWait = arriveAfterWait;
    expectClean({256, 1024 + 2 * 8192}, gather.body());
    for (uint32_t i = 0; i < 64; ++i)
      for (uint32_t j = 0; j < 64; ++j) {
        float sum = 0;
        for (uint32_t x = 0; x < 64 && gather.rows[i] < 100; ++x)
          sum += gather.valuesA[gather.rows[i] * 64 + x] *
                 gather.valuesB[j * 64 + x];
        ASSERT_EQ(gather.d[i * 64 + j], sum);
      }
    gather.fence = false;
    expectFinding({256, 1024 + 2 * 8192}, gather.body(),
                  FindingKind::MissingProxyFence, "wgmma",
                  "without fence.proxy.async");
  }
}

} // namespace
