//===- WgmmaTest.cpp - Warpgroup matrix operations ------------------------===//
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

/// How an operand of `mn` x `k` elements lies in shared memory. The formulas
/// follow the canonical layouts of the PTX ISA: atoms of eight rows of 16
/// (no swizzle), 32, 64 or 128 bytes.
struct Layout {
  uint32_t mode; // of the descriptor: 0 none, 1: 128 B, 2: 64 B, 3: 32 B
  bool mnMajor;
  uint32_t mn, k;

  uint32_t span() const { return mode == 0 ? 16 : 256 >> mode; }
  uint32_t perRow() const { return span() / 2; }

  /// Strides between atoms: along the major dimension, and across.
  uint32_t majorStride() const {
    return mnMajor ? span() * 8 * ((k + 7) / 8) : span() * 8 * ((mn + 7) / 8);
  }
  uint32_t minorStride() const { return span() * 8; }
  uint32_t bytes() const {
    uint32_t major = mnMajor ? mn : k;
    return (major + perRow() - 1) / perRow() * majorStride();
  }

  uint32_t offset(uint32_t i, uint32_t x) const {
    uint32_t major = mnMajor ? i : x, minor = mnMajor ? x : i;
    uint32_t row = minor % 8, chunk = major % perRow() / 8;
    // Bits 4 and up of the address are xor-ed with bits 7 and up.
    if (mode == 1)
      chunk ^= row;
    else if (mode == 2)
      chunk ^= row / 2;
    else if (mode == 3)
      chunk ^= row / 4;
    return major / perRow() * majorStride() + minor / 8 * minorStride() +
           row * span() + chunk * 16 + major % 8 * 2;
  }

  /// The descriptor of the 16 columns from `x` on, `base` being the offset of
  /// the operand in shared memory.
  uint64_t descriptor(uint32_t base, uint32_t x) const {
    uint32_t start, leading, stride;
    if (mnMajor) {
      start = base + x / 8 * minorStride();
      // Without swizzle the two strides change places.
      leading = mode ? majorStride() : minorStride();
      stride = mode ? minorStride() : majorStride();
    } else {
      start = base + x / perRow() * majorStride() + x % perRow() * 2;
      leading = majorStride();
      stride = minorStride();
    }
    return uint64_t(start >> 4) | uint64_t(leading >> 4) << 16 |
           uint64_t(stride >> 4) << 32 | uint64_t(mode) << 62;
  }
};

/// D = A * B for one tile with k = 64, all products exact.
struct Multiply {
  Layout a, b;
  uint32_t type = MOE_EMU_BF16, n = 64, flags = 0;
  bool aInRegisters = false;
  std::vector<uint16_t> dataA, dataB;
  std::vector<float> valuesA, valuesB;
  std::vector<float> result;

  Multiply(uint32_t modeA, bool mnA, uint32_t modeB, bool mnB, uint32_t n,
           uint32_t type)
      : a{modeA, mnA, 64, 64}, b{modeB, mnB, n, 64}, type(type), n(n),
        dataA(64 * 64), dataB(64 * n), valuesA(64 * 64), valuesB(64 * n),
        result(64 * n) {
    std::mt19937_64 engine(n + 10 * modeA + modeB);
    for (uint32_t i = 0; i < dataA.size(); ++i)
      dataA[i] = smallNumber(engine, type == MOE_EMU_F16, &valuesA[i]);
    for (uint32_t i = 0; i < dataB.size(); ++i)
      dataB[i] = smallNumber(engine, type == MOE_EMU_F16, &valuesB[i]);
    flags = (mnA ? MOE_EMU_WGMMA_A_MN : 0) | (mnB ? MOE_EMU_WGMMA_B_MN : 0);
  }

  uint32_t baseB() const { return (a.bytes() + 1023) / 1024 * 1024; }
  Shape shape() const { return {128, baseB() + b.bytes()}; }

  void fill(Thread *thread) {
    for (uint32_t i = thread->tid[0]; i < dataA.size(); i += 128)
      store(thread, shared<uint16_t>(thread, a.offset(i / 64, i % 64)),
            dataA[i], "fill");
    for (uint32_t i = thread->tid[0]; i < dataB.size(); i += 128)
      store(thread,
            shared<uint16_t>(thread, baseB() + b.offset(i / 64, i % 64)),
            dataB[i], "fill");
  }

  void operator()(Thread *thread) {
    fill(thread);
    moe_emu_fence_proxy_async(thread, "fence");
    moe_emu_barrier_sync(thread, 0, 0, "barrier");
    float acc[128];
    for (float &value : acc)
      value = 1e30f; // zeroed by scale-d of the first step
    moe_emu_wgmma_fence(thread, "fence");
    uint32_t warp = thread->tid[0] / 32, lane = thread->tid[0] % 32;
    for (uint32_t x = 0; x < 64; x += 16) {
      uint32_t registers[4];
      for (uint32_t i = 0; i < 4; ++i) {
        uint32_t row = warp * 16 + lane / 4 + (i & 1) * 8;
        uint32_t column = x + lane % 4 * 2 + (i >> 1) * 8;
        std::memcpy(&registers[i], &dataA[row * 64 + column], 4);
      }
      moe_emu_wgmma(thread, type, n, flags | (x ? 0 : MOE_EMU_WGMMA_ZERO),
                    a.descriptor(0, x), aInRegisters ? registers : nullptr,
                    b.descriptor(baseB(), x), acc, acc, "wgmma");
    }
    moe_emu_wgmma_commit(thread, "commit");
    moe_emu_wgmma_wait(thread, 0, "wait");
    // The accumulator layout of the PTX ISA.
    for (uint32_t i = 0; i < n / 2; ++i) {
      uint32_t row = warp * 16 + lane / 4 + (i / 2 % 2) * 8;
      uint32_t column = i / 4 * 8 + lane % 4 * 2 + i % 2;
      result[row * n + column] = acc[i];
    }
  }

  void expectProduct() {
    float sign = flags & MOE_EMU_WGMMA_NEGATE_A ? -1.0f : 1.0f;
    sign *= flags & MOE_EMU_WGMMA_NEGATE_B ? -1.0f : 1.0f;
    for (uint32_t i = 0; i < 64; ++i)
      for (uint32_t j = 0; j < n; ++j) {
        float sum = 0;
        for (uint32_t x = 0; x < 64; ++x)
          sum += valuesA[i * 64 + x] * valuesB[j * 64 + x];
        ASSERT_EQ(result[i * n + j], sign * sum)
            << "row " << i << ", column " << j << ", n " << n << ", modes "
            << a.mode << b.mode << ", major " << a.mnMajor << b.mnMajor;
      }
  }

  Body body() {
    return [this](Thread *thread) { (*this)(thread); };
  }
};

TEST(Wgmma, AllLayouts) {
  for (uint32_t mode = 0; mode < 4; ++mode)
    for (bool mnA : {false, true})
      for (bool mnB : {false, true}) {
        Multiply kernel(mode, mnA, 3 - mode, mnB, 64, MOE_EMU_BF16);
        LaunchReport report = run(kernel.shape(), kernel.body());
        EXPECT_EQ(listed(report), "");
        EXPECT_EQ(report.macs, 64u * 64 * 64);
        kernel.expectProduct();
      }
}

TEST(Wgmma, WidthsAndTypes) {
  for (uint32_t n : {8u, 24u, 96u, 128u, 200u, 256u})
    for (uint32_t type : {MOE_EMU_BF16, MOE_EMU_F16}) {
      Multiply kernel(1, false, 1, n % 64 == 0, n, type);
      LaunchReport report = run(kernel.shape(), kernel.body());
      EXPECT_EQ(listed(report), "");
      kernel.expectProduct();
    }
}

TEST(Wgmma, RegistersAndSigns) {
  for (uint32_t flags : {0, MOE_EMU_WGMMA_NEGATE_A + 0,
                         MOE_EMU_WGMMA_NEGATE_A + MOE_EMU_WGMMA_NEGATE_B}) {
    Multiply kernel(1, false, 1, false, 128, MOE_EMU_BF16);
    kernel.aInRegisters = true;
    kernel.flags |= flags;
    expectClean(kernel.shape(), kernel.body());
    kernel.expectProduct();
  }
}

/// An instance whose steps can be left out or changed.
struct Steps {
  bool fence = true, barrier = true, wait = true, commit = true;
  bool overwrite = false, uniform = true, half = false;
  uint32_t pending = 0;
  int32_t shift = 0;
  uint64_t extra = 0;

  void run(Thread *thread, Multiply &kernel) {
    kernel.fill(thread);
    if (fence)
      moe_emu_fence_proxy_async(thread, "fence");
    if (barrier)
      moe_emu_barrier_sync(thread, 0, 0, "barrier");
    float acc[32] = {};
    uint64_t a = kernel.a.descriptor(0, 0) | extra;
    uint64_t b = kernel.b.descriptor(kernel.baseB() + shift, 0);
    if (!uniform && thread->tid[0] == 100)
      b += 2;
    if (half && thread->warpid == 3)
      return;
    moe_emu_wgmma(thread, MOE_EMU_BF16, 64, 0, a, nullptr, b, acc, acc,
                  "wgmma");
    if (commit)
      moe_emu_wgmma_commit(thread, "commit");
    if (wait)
      moe_emu_wgmma_wait(thread, pending, "wait");
    if (overwrite && thread->tid[0] == 0)
      store(thread, shared<uint16_t>(thread, kernel.baseB()), uint16_t(1),
            "write");
    if (overwrite && pending)
      moe_emu_wgmma_wait(thread, 0, "wait");
  }
};

struct StepsKernel {
  Multiply data{1, false, 1, false, 64, MOE_EMU_BF16};
  Steps steps;
  Body body() {
    return [this](Thread *thread) { steps.run(thread, data); };
  }
};

void expectSteps(std::function<void(Steps &)> change, FindingKind kind,
                 const char *site, const char *text) {
  StepsKernel kernel;
  change(kernel.steps);
  expectFinding(kernel.data.shape(), kernel.body(), kind, site, text);
}

TEST(Wgmma, Steps) {
  StepsKernel kernel;
  expectClean(kernel.data.shape(), kernel.body());
  // Overwriting after the wait is fine.
  kernel.steps.overwrite = true;
  expectClean(kernel.data.shape(), kernel.body());
}

TEST(Wgmma, MissingProxyFence) {
  expectSteps([](Steps &steps) { steps.fence = false; },
              FindingKind::MissingProxyFence, "wgmma",
              "without fence.proxy.async");
}

TEST(Wgmma, OverwriteInFlight) {
  expectSteps(
      [](Steps &steps) {
        steps.overwrite = true;
        steps.pending = 1;
      },
      FindingKind::OverwriteInFlight, "write", "wgmma.wait_group");
}

TEST(Wgmma, NotWaitedFor) {
  expectSteps([](Steps &steps) { steps.wait = false; },
              FindingKind::CopyInFlight, "wgmma", "not waited for");
  expectSteps([](Steps &steps) { steps.commit = false; },
              FindingKind::CopyInFlight, "wgmma", "not waited for");
}

TEST(Wgmma, Descriptors) {
  expectSteps([](Steps &steps) { steps.uniform = false; },
              FindingKind::InvalidDescriptor, "wgmma",
              "have different descriptors");
  expectSteps([](Steps &steps) { steps.extra = 3ull << 49; },
              FindingKind::InvalidDescriptor, "wgmma", "has base offset 3");
  expectSteps([](Steps &steps) { steps.shift = 1024; },
              FindingKind::OutOfBoundsShared, "wgmma", "the block has");
}

TEST(Wgmma, PartOfAWarpgroup) {
  expectSteps([](Steps &steps) { steps.half = true; },
              FindingKind::DivergentCollective, "wgmma",
              "96 of 128 threads of the warpgroup");
  expectFinding(
      {96, 1024},
      [](Thread *thread) {
        float acc[4] = {};
        moe_emu_wgmma(thread, MOE_EMU_BF16, 8, 0, 0, nullptr, 0, acc, acc,
                      "wgmma");
      },
      FindingKind::DivergentCollective, "wgmma", "the last warpgroup has 96");
}

} // namespace
