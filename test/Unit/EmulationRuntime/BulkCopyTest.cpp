//===- BulkCopyTest.cpp - TMA and bulk copies -----------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "EmulationTest.h"

#include <algorithm>

using namespace moe::emu;
using namespace moe::emu::test;

namespace {

struct alignas(64) Map {
  uint8_t bytes[128];
};

/// A tensor in global memory and a box of it.
struct Tensor {
  uint32_t rank, elementBytes, swizzle;
  std::vector<uint64_t> sizes, strides;
  std::vector<uint32_t> box;
  std::vector<uint64_t> storage; // aligned to 16 from `base` on
  uint8_t *base = nullptr;
  Map map;

  Tensor(uint32_t elementBytes, std::vector<uint64_t> sizes,
         std::vector<uint32_t> box, uint32_t swizzle, uint64_t seed)
      : rank(uint32_t(sizes.size())), elementBytes(elementBytes),
        swizzle(swizzle), sizes(sizes), box(box) {
    uint64_t stride = sizes[0] * elementBytes;
    for (uint32_t i = 1; i <= rank; ++i) {
      stride = (stride + 15) / 16 * 16 + 16 * (i == 1);
      strides.push_back(stride);
      stride *= i < rank ? sizes[i] : 1;
    }
    storage = randomBits<uint64_t>(bytes() / 8 + 4, seed);
    place();
  }
  Tensor(const Tensor &other)
      : rank(other.rank), elementBytes(other.elementBytes),
        swizzle(other.swizzle), sizes(other.sizes), strides(other.strides),
        box(other.box), storage(other.storage) {
    place();
    std::memcpy(base, other.base, bytes());
  }

  void place() {
    base =
        reinterpret_cast<uint8_t *>((uintptr_t(storage.data()) + 15) / 16 * 16);
    auto error = encodeTensorMap(&map, elementBytes, rank, base, sizes.data(),
                                 strides.data(), box.data(), swizzle);
    EXPECT_FALSE(error) << error.value_or("");
  }

  /// The last stride is that of the whole tensor.
  uint64_t bytes() const {
    return rank == 1 ? (sizes[0] * elementBytes + 15) / 16 * 16
                     : strides[rank - 2] * sizes[rank - 1];
  }
  uint32_t boxBytes() const {
    uint32_t total = elementBytes;
    for (uint32_t extent : box)
      total *= extent;
    return total;
  }
  std::vector<MemoryRange> memory() const {
    std::vector<MemoryRange> ranges = {{base, bytes(), true, "tensor"},
                                       {&map, 128, false, "map"}};
    if (ranges[0].begin > ranges[1].begin)
      std::swap(ranges[0], ranges[1]);
    return ranges;
  }

  /// Calls visit(offset in the box, address or null) for each element.
  template <typename Visit>
  void forEach(const int32_t *coordinates, Visit visit) const {
    uint32_t index[5] = {};
    for (uint32_t n = 0; n < boxBytes() / elementBytes; ++n) {
      uint8_t *address = base;
      for (uint32_t i = 0; i < rank; ++i) {
        int64_t at = int64_t(coordinates[i]) + index[i];
        if (at < 0 || uint64_t(at) >= sizes[i])
          address = nullptr;
        if (address)
          address += uint64_t(at) * (i ? strides[i - 1] : elementBytes);
      }
      // Swizzled as documented: the 16-byte chunk's number within its row of
      // 128 bytes is xor-ed with the row's number, as far as the span goes.
      uint32_t offset = n * elementBytes;
      uint32_t span = swizzle ? 16u << swizzle : 0;
      if (span) {
        uint32_t chunk = offset / 16 % 8, row = offset / 128;
        chunk ^= row % (span / 16);
        offset = offset / 128 * 128 + chunk * 16 + offset % 16;
      }
      visit(offset, address);
      for (uint32_t i = 0; i < rank && ++index[i] == box[i]; ++i)
        index[i] = 0;
    }
  }
};

std::vector<Tensor> tensors() {
  return {
      {4, {37}, {16}, 0, 1},
      {2, {70, 9}, {64, 4}, 3, 2},
      {2, {40, 33}, {32, 24}, 2, 3},
      {1, {33, 20}, {32, 8}, 1, 4},
      {2, {24, 17}, {24, 8}, 0, 5},
      {4, {12, 5, 7}, {8, 3, 2}, 0, 6},
      {8, {6, 3, 3, 4}, {4, 2, 2, 3}, 1, 7},
      {2, {16, 3, 2, 3, 2}, {8, 2, 2, 2, 1}, 0, 8},
  };
}

/// Coordinates inside, across and outside the tensor.
std::vector<std::vector<int32_t>> coordinates(const Tensor &tensor) {
  std::vector<std::vector<int32_t>> all(4, std::vector<int32_t>(5, 0));
  for (uint32_t i = 0; i < tensor.rank; ++i) {
    all[1][i] = int32_t(tensor.sizes[i]) - int32_t(tensor.box[i]) / 2;
    all[2][i] = -int32_t(tensor.box[i]) / 2;
    all[3][i] = i == tensor.rank - 1 ? int32_t(tensor.sizes[i]) + 3 : 1;
  }
  return all;
}

uint64_t *barrierOf(Thread *thread) { return shared<uint64_t>(thread); }

/// Thread 0 loads a box to shared+1024 and all wait for it.
void loadBox(Thread *thread, const Tensor &tensor, const int32_t *at,
             uint32_t expected, uint32_t arrivals = 1) {
  if (thread->tid[0] == 0)
    moe_emu_mbarrier_init(thread, barrierOf(thread), arrivals, "init");
  moe_emu_barrier_sync(thread, 0, 0, "barrier");
  if (thread->tid[0] == 0) {
    moe_emu_mbarrier_arrive_expect_tx(thread, barrierOf(thread), expected,
                                      "expect");
    moe_emu_tma_load(thread, thread->shared + 1024, &tensor.map,
                     barrierOf(thread), tensor.rank, at, 0, "tma");
  }
  moe_emu_mbarrier_try_wait_parity(thread, barrierOf(thread), 0, "wait");
}

TEST(Tma, Load) {
  for (const Tensor &tensor : tensors())
    for (const auto &at : coordinates(tensor)) {
      std::vector<uint8_t> got(tensor.boxBytes());
      expectClean(
          {32, 8192},
          [&](Thread *thread) {
            loadBox(thread, tensor, at.data(), tensor.boxBytes());
            for (uint32_t i = thread->tid[0] * 2; i < got.size(); i += 64)
              *reinterpret_cast<uint16_t *>(&got[i]) =
                  load(thread, shared<uint16_t>(thread, 1024 + i), "read");
          },
          tensor.memory());
      tensor.forEach(at.data(), [&](uint32_t offset, const uint8_t *from) {
        uint64_t expected = 0, value = 0;
        if (from)
          std::memcpy(&expected, from, tensor.elementBytes);
        std::memcpy(&value, &got[offset], tensor.elementBytes);
        EXPECT_EQ(value, expected) << "rank " << tensor.rank;
      });
    }
}

/// Fills the box at shared+1024 and makes it visible to the async proxy.
void fillBox(Thread *thread, const std::vector<uint8_t> &box, bool fence) {
  for (uint32_t i = thread->tid[0] * 4; i < box.size(); i += 128)
    store(thread, shared<uint32_t>(thread, 1024 + i),
          *reinterpret_cast<const uint32_t *>(&box[i]), "fill");
  if (fence)
    moe_emu_fence_proxy_async(thread, "fence");
  moe_emu_barrier_sync(thread, 0, 0, "barrier");
}

TEST(Tma, Store) {
  for (const Tensor &tensor : tensors())
    for (const auto &at : coordinates(tensor)) {
      auto box = randomBits<uint8_t>(tensor.boxBytes(), 77);
      // What lies outside the box keeps its value.
      Tensor expected = tensor;
      expectClean(
          {32, 8192},
          [&](Thread *thread) {
            fillBox(thread, box, true);
            if (thread->tid[0] == 0) {
              moe_emu_tma_store(thread, &tensor.map, thread->shared + 1024,
                                tensor.rank, at.data(), "store");
              moe_emu_bulk_commit(thread, "commit");
              moe_emu_bulk_wait(thread, 0, 0, "wait");
            }
          },
          tensor.memory());
      expected.forEach(at.data(), [&](uint32_t offset, uint8_t *to) {
        if (to)
          std::memcpy(to, &box[offset], tensor.elementBytes);
      });
      EXPECT_EQ(std::memcmp(expected.base, tensor.base, tensor.bytes()), 0)
          << "rank " << tensor.rank;
    }
}

TEST(Tma, ReduceAdd) {
  // Two blocks add the same box; all sums are exact.
  struct Case {
    uint32_t type, bytes;
  };
  for (Case c : {Case{MOE_EMU_F32, 4}, Case{MOE_EMU_S32, 4},
                 Case{MOE_EMU_BF16, 2}, Case{MOE_EMU_F16, 2}}) {
    Tensor tensor(c.bytes, {32, 8}, {16, 4}, 0, 1);
    std::memset(tensor.base, 0, tensor.bytes());
    std::vector<uint8_t> box(tensor.boxBytes());
    // The number 3 in each format.
    for (uint32_t i = 0; i < box.size(); i += c.bytes) {
      uint32_t three = c.type == MOE_EMU_F32   ? 0x40400000
                       : c.type == MOE_EMU_S32 ? 3
                       : c.type == MOE_EMU_F16 ? 0x4200
                                               : 0x4040;
      std::memcpy(&box[i], &three, c.bytes);
    }
    int32_t at[] = {4, 6, 0, 0, 0};
    LaunchReport report = run(
        {32, 8192, 2},
        [&](Thread *thread) {
          fillBox(thread, box, true);
          if (thread->tid[0] == 0) {
            moe_emu_tma_reduce_add(thread, &tensor.map, thread->shared + 1024,
                                   2, at, c.type, "reduce");
            moe_emu_bulk_commit(thread, "commit");
            moe_emu_bulk_wait(thread, 0, 1, "wait");
          }
        },
        {Schedule::Late, 1}, tensor.memory(), true, 2);
    EXPECT_EQ(listed(report), "");
    uint32_t six = c.type == MOE_EMU_F32   ? 0x40C00000
                   : c.type == MOE_EMU_S32 ? 6
                   : c.type == MOE_EMU_F16 ? 0x4600
                                           : 0x40C0;
    tensor.forEach(at, [&](uint32_t, const uint8_t *element) {
      if (element)
        EXPECT_EQ(std::memcmp(element, &six, c.bytes), 0);
    });
    EXPECT_EQ(tensor.base[0], 0);
  }
}

TEST(Tma, Multicast) {
  Tensor tensor(2, {64, 32}, {64, 8}, 3, 9);
  std::vector<uint16_t> got[4];
  for (auto &values : got)
    values.resize(512);
  expectClean(
      {32, 8192, 4, 4},
      [&](Thread *thread) {
        uint32_t rank = thread->cluster_ctarank;
        if (thread->tid[0] == 0)
          moe_emu_mbarrier_init(thread, barrierOf(thread), 1, "init");
        moe_emu_cluster_arrive(thread, "arrive");
        moe_emu_cluster_wait(thread, "wait");
        bool receives = rank != 2;
        if (thread->tid[0] == 0 && receives)
          moe_emu_mbarrier_arrive_expect_tx(thread, barrierOf(thread), 1024,
                                            "expect");
        if (thread->tid[0] == 0 && rank == 1) {
          int32_t at[] = {0, 8};
          moe_emu_tma_load(thread, thread->shared + 1024, &tensor.map,
                           barrierOf(thread), 2, at, 0b1011, "tma");
        }
        if (receives) {
          moe_emu_mbarrier_try_wait_parity(thread, barrierOf(thread), 0,
                                           "wait");
          for (uint32_t i = thread->tid[0]; i < 512; i += 32)
            got[rank][i] =
                load(thread, shared<uint16_t>(thread, 1024) + i, "read");
        }
        moe_emu_cluster_arrive(thread, "arrive");
        moe_emu_cluster_wait(thread, "wait");
      },
      tensor.memory());
  int32_t at[] = {0, 8};
  tensor.forEach(at, [&](uint32_t offset, const uint8_t *from) {
    for (uint32_t rank : {0, 1, 3})
      EXPECT_EQ(std::memcmp(&got[rank][offset / 2], from, 2), 0);
  });
  EXPECT_EQ(got[2], std::vector<uint16_t>(512));
}

TEST(Bulk, LoadAndStore) {
  auto in = randomBits<uint64_t>(256, 11);
  std::vector<uint64_t> out(256);
  std::vector<MemoryRange> memory = {{in.data(), 2048, false, "in"},
                                     {out.data(), 2048, true, "out"}};
  if (in.data() > out.data())
    std::swap(memory[0], memory[1]);
  if (uintptr_t(in.data()) % 16 || uintptr_t(out.data()) % 16)
    GTEST_SKIP();
  expectClean(
      {64, 4096},
      [&](Thread *thread) {
        if (thread->tid[0] == 0) {
          moe_emu_mbarrier_init(thread, barrierOf(thread), 1, "init");
          moe_emu_mbarrier_expect_tx(thread, barrierOf(thread), 1024, "expect");
          moe_emu_bulk_load(thread, thread->shared + 16, in.data() + 64, 1024,
                            barrierOf(thread), 0, "load");
          moe_emu_mbarrier_arrive(thread, barrierOf(thread), 1, "arrive");
        }
        moe_emu_barrier_sync(thread, 0, 0, "barrier");
        moe_emu_mbarrier_try_wait_parity(thread, barrierOf(thread), 0, "wait");
        load(thread, shared<uint64_t>(thread, 16) + thread->tid[0], "read");
        if (thread->tid[0] == 32) {
          // Written by the async proxy: no fence is needed.
          moe_emu_bulk_store(thread, out.data() + 2, thread->shared + 16, 1024,
                             "store");
          moe_emu_bulk_commit(thread, "commit");
          moe_emu_bulk_wait(thread, 0, 0, "wait");
        }
      },
      memory);
  EXPECT_EQ(std::memcmp(out.data() + 2, in.data() + 64, 1024), 0);
  EXPECT_EQ(out[0], 0u);
}

//===----------------------------------------------------------------------===//
// Findings
//===----------------------------------------------------------------------===//

TEST(Tma, TransactionCount) {
  Tensor tensor(2, {64, 32}, {64, 8}, 3, 9);
  int32_t at[5] = {};
  for (uint32_t expected : {512u, 1040u, 2048u})
    expectFinding(
        {32, 8192},
        [&](Thread *thread) { loadBox(thread, tensor, at, expected); },
        FindingKind::TransactionCount, "wait",
        expected < 1024 ? "came that it does not expect"
                        : "that it expects never come",
        tensor.memory());
  // Two boxes, of which only the first is expected.
  for (Order order : allOrders()) {
    LaunchReport report = run(
        {32, 8192},
        [&](Thread *thread) {
          if (thread->tid[0] == 0) {
            moe_emu_mbarrier_init(thread, barrierOf(thread), 1, "init");
            moe_emu_mbarrier_arrive_expect_tx(thread, barrierOf(thread), 1024,
                                              "expect");
            for (uint32_t i = 0; i < 2; ++i)
              moe_emu_tma_load(thread, thread->shared + 1024 + i * 1024,
                               &tensor.map, barrierOf(thread), 2, at, 0, "tma");
          }
          moe_emu_barrier_sync(thread, 0, 0, "barrier");
          moe_emu_mbarrier_try_wait_parity(thread, barrierOf(thread), 0,
                                           "wait");
        },
        order, tensor.memory());
    ASSERT_FALSE(report.findings.empty());
    EXPECT_EQ(report.findings[0].kind, FindingKind::TransactionCount)
        << listed(report);
  }
  expectFinding(
      {1, 64},
      [](Thread *thread) {
        moe_emu_mbarrier_init(thread, barrierOf(thread), 1, "init");
        moe_emu_mbarrier_expect_tx(thread, barrierOf(thread), 1u << 20,
                                   "expect");
      },
      FindingKind::TransactionCount, "expect", "at most 1048575");
}

TEST(Tma, ReadBeforeWait) {
  Tensor tensor(2, {64, 32}, {64, 8}, 3, 9);
  int32_t at[5] = {};
  for (Order order : allOrders()) {
    LaunchReport report = run(
        {32, 8192},
        [&](Thread *thread) {
          if (thread->tid[0] == 0) {
            moe_emu_mbarrier_init(thread, barrierOf(thread), 1, "init");
            moe_emu_mbarrier_arrive_expect_tx(thread, barrierOf(thread), 1024,
                                              "expect");
            moe_emu_tma_load(thread, thread->shared + 1024, &tensor.map,
                             barrierOf(thread), 2, at, 0, "tma");
          }
          moe_emu_barrier_sync(thread, 0, 0, "barrier");
          load(thread, shared<uint16_t>(thread, 1024), "read");
          moe_emu_mbarrier_try_wait_parity(thread, barrierOf(thread), 0,
                                           "wait");
        },
        order, tensor.memory());
    ASSERT_FALSE(report.findings.empty());
    EXPECT_EQ(report.findings[0].kind, FindingKind::Race) << listed(report);
    EXPECT_EQ(report.findings[0].location, "read");
  }
}

TEST(Tma, MissingProxyFence) {
  Tensor tensor(2, {64, 32}, {64, 8}, 0, 9);
  std::vector<uint8_t> box = randomBits<uint8_t>(1024, 5);
  int32_t at[5] = {};
  expectFinding(
      {32, 8192},
      [&](Thread *thread) {
        fillBox(thread, box, false);
        if (thread->tid[0] == 0) {
          moe_emu_tma_store(thread, &tensor.map, thread->shared + 1024, 2, at,
                            "store");
          moe_emu_bulk_commit(thread, "commit");
          moe_emu_bulk_wait(thread, 0, 0, "wait");
        }
      },
      FindingKind::MissingProxyFence, "store", "without fence.proxy.async",
      tensor.memory());
  // Also when the async proxy overwrites.
  expectFinding(
      {32, 8192},
      [&](Thread *thread) {
        fillBox(thread, box, false);
        loadBox(thread, tensor, at, 1024);
      },
      FindingKind::MissingProxyFence, "tma", "without fence.proxy.async",
      tensor.memory());
  expectClean(
      {32, 8192},
      [&](Thread *thread) {
        fillBox(thread, box, true);
        loadBox(thread, tensor, at, 1024);
      },
      tensor.memory());
}

TEST(Tma, StoreInFlight) {
  Tensor tensor(2, {64, 32}, {64, 8}, 0, 9);
  std::vector<uint8_t> box = randomBits<uint8_t>(1024, 5);
  int32_t at[5] = {};
  auto body = [&](Thread *thread, bool wait, bool overwrite) {
    fillBox(thread, box, true);
    if (thread->tid[0])
      return;
    moe_emu_tma_store(thread, &tensor.map, thread->shared + 1024, 2, at,
                      "store");
    moe_emu_bulk_commit(thread, "commit");
    if (wait)
      moe_emu_bulk_wait(thread, 0, 1, "wait");
    if (overwrite)
      store(thread, shared<uint32_t>(thread, 1024), 1u, "write");
  };
  expectClean(
      {32, 8192}, [&](Thread *thread) { body(thread, true, true); },
      tensor.memory());
  expectFinding(
      {32, 8192}, [&](Thread *thread) { body(thread, false, true); },
      FindingKind::OverwriteInFlight, "write", "a bulk store still reads",
      tensor.memory());
  expectFinding(
      {32, 8192}, [&](Thread *thread) { body(thread, false, false); },
      FindingKind::CopyInFlight, "store", "not waited for", tensor.memory());
}

TEST(Tma, InFlightAtTheEnd) {
  Tensor tensor(2, {64, 32}, {64, 8}, 0, 9);
  int32_t at[5] = {};
  LaunchReport report = run({1, 8192}, [&](Thread *thread) {
    moe_emu_mbarrier_init(thread, barrierOf(thread), 1, "init");
    moe_emu_mbarrier_arrive_expect_tx(thread, barrierOf(thread), 1024,
                                      "expect");
    moe_emu_tma_load(thread, thread->shared + 1024, &tensor.map,
                     barrierOf(thread), 2, at, 0, "tma");
  });
  ASSERT_FALSE(report.findings.empty());
  EXPECT_EQ(report.findings[0].kind, FindingKind::CopyInFlight);
}

TEST(Tma, BadOperands) {
  Tensor tensor(2, {64, 32}, {64, 8}, 0, 9);
  Map garbage = {};
  int32_t at[5] = {};
  auto memory = tensor.memory();
  memory.push_back({&garbage, 128, false, "garbage"});
  std::sort(memory.begin(), memory.end(), [](auto &a, auto &b) {
    return uintptr_t(a.begin) < uintptr_t(b.begin);
  });
  auto expect = [&](FindingKind kind, const char *text, uint32_t offset,
                    const void *map, uint32_t rank,
                    const std::vector<MemoryRange> &ranges, uint32_t blocks) {
    expectFinding(
        {1, 2048},
        [&](Thread *thread) {
          moe_emu_mbarrier_init(thread, barrierOf(thread), 1, "init");
          moe_emu_tma_load(thread, thread->shared + offset, map,
                           barrierOf(thread), rank, at, blocks, "tma");
        },
        kind, "tma", text, ranges);
  };
  expect(FindingKind::Misaligned, "aligned to 128 bytes", 1008, &tensor.map, 2,
         memory, 0);
  expect(FindingKind::OutOfBoundsShared, "has 2048 bytes", 1152, &tensor.map, 2,
         memory, 0);
  expect(FindingKind::InvalidDescriptor, "there is no tensor map", 1024,
         &garbage, 2, memory, 0);
  expect(FindingKind::InvalidDescriptor, "of rank 2", 1024, &tensor.map, 3,
         memory, 0);
  expect(FindingKind::OutOfBoundsShared, "of a cluster of 1", 1024, &tensor.map,
         2, memory, 2);
  // The tensor itself is no longer a buffer of the launch.
  std::vector<MemoryRange> less = {{&tensor.map, 128, false, "map"}};
  expect(FindingKind::OutOfBoundsGlobal, "TMA load", 1024, &tensor.map, 2, less,
         0);
  // Reductions and stores need memory that may be written.
  for (MemoryRange &range : memory)
    range.writable = false;
  expectFinding(
      {1, 2048},
      [&](Thread *thread) {
        moe_emu_tma_store(thread, &tensor.map, thread->shared, 2, at, "store");
      },
      FindingKind::WriteToReadOnly, "store", "of 'tensor'", memory);
}

TEST(Tma, EncodeErrors) {
  alignas(64) uint8_t map[128];
  alignas(16) static uint8_t data[16];
  struct Arguments {
    uint32_t elementBytes = 2, rank = 2, swizzle = 3;
    void *base = data;
    uint64_t sizes[2] = {128, 8}, strides[1] = {256};
    uint32_t box[2] = {64, 8};
  };
  auto expect = [&](const char *text, std::function<void(Arguments &)> change) {
    Arguments a;
    change(a);
    auto error = encodeTensorMap(map, a.elementBytes, a.rank, a.base, a.sizes,
                                 a.strides, a.box, a.swizzle);
    EXPECT_EQ(error.value_or("no error"), text);
  };
  expect("no error", [](Arguments &) {});
  expect("elements of 3 bytes are not possible",
         [](Arguments &a) { a.elementBytes = 3; });
  expect("rank 6 is not between 1 and 5", [](Arguments &a) { a.rank = 6; });
  expect("swizzle mode 4 is not between 0 and 3",
         [](Arguments &a) { a.swizzle = 4; });
  expect("the base address must be aligned to 16 bytes",
         [](Arguments &a) { a.base = data + 8; });
  expect("size 0 of dimension 1 is not between 1 and 2^32",
         [](Arguments &a) { a.sizes[1] = 0; });
  expect("box 257 of dimension 1 is not between 1 and 256",
         [](Arguments &a) { a.box[1] = 257; });
  expect("stride 264 of dimension 1 is not a multiple of 16 below 2^40",
         [](Arguments &a) { a.strides[0] = 264; });
  expect("stride 240 of dimension 1 is smaller than the dimension below it",
         [](Arguments &a) { a.strides[0] = 240; });
  expect("the box's inner dimension of 18 bytes is not a multiple of 16",
         [](Arguments &a) { a.box[0] = 9; });
  expect("the box's inner dimension of 144 bytes is larger than the swizzle "
         "of 128",
         [](Arguments &a) { a.box[0] = 72; });
}

} // namespace
