//===- Warpgroup.cpp - wgmma ----------------------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The product is computed when the last of the 128 threads arrives. That its
// operands are read until wgmma.wait_group is kept in the clocks: the reads
// belong to an agent of the warpgroup, whose epochs are commit groups and
// become seen by the threads that wait.
//
//===----------------------------------------------------------------------===//

#include "Machine.h"
#include "MatrixMath.h"
#include "TensorMap.h"

namespace moe::emu {

namespace {

/// An operand in shared memory: 16-byte chunks of eight elements.
struct Operand {
  uint32_t start, leading, stride, swizzle;
  bool mnMajor;

  Operand(uint64_t descriptor, bool mnMajor)
      : start(uint32_t(descriptor & 0x3FFF) << 4),
        leading(uint32_t(descriptor >> 16 & 0x3FFF) << 4),
        stride(uint32_t(descriptor >> 32 & 0x3FFF) << 4),
        // 1, 2, 3 in a descriptor are swizzles of 128, 64 and 32 bytes.
        swizzle((4 - uint32_t(descriptor >> 62)) % 4), mnMajor(mnMajor) {}

  /// Offset in shared memory of the chunk that starts at element (mn, k); the
  /// other elements follow along the major dimension.
  uint32_t chunk(uint32_t mn, uint32_t k) const {
    uint32_t span = 16u << swizzle; // bytes of a row of the layout's atom
    uint32_t elements = span / 2;
    uint32_t address;
    if (!mnMajor && swizzle == 0)
      address = mn / 8 * stride + mn % 8 * 16 + k / 8 * leading;
    else if (!mnMajor)
      address = mn / 8 * stride + mn % 8 * span + k * 2;
    else if (swizzle == 0)
      address = mn / 8 * stride + k / 8 * leading + k % 8 * 16;
    else
      address = mn / elements * leading + k / 8 * stride + k % 8 * span +
                mn % elements * 2;
    // Descriptors hold 18 bits of an address.
    return swizzled((start + address) & (kArenaBytes - 1), swizzle);
  }
};

/// Where the operands of one wgmma are read, and by whom.
struct Reader {
  Machine &machine;
  Fiber &fiber;
  Actor actor;
  const char *site;
  bool half;

  const uint16_t *chunk(uint32_t offset) {
    const uint8_t *address = machine.at({fiber.block, offset});
    SharedRef ref = machine.locate(fiber, address, 16, 0, site, "wgmma");
    if (machine.check)
      machine.readShared(fiber, actor, ref, 16, true, site, "wgmma");
    return reinterpret_cast<const uint16_t *>(address);
  }

  float element(uint16_t bits) const {
    return half ? fromHalf(bits) : fromBfloat(bits);
  }

  /// Calls put(mn, k, value) for all elements.
  template <typename Put>
  void read(const Operand &operand, uint32_t rows, float sign, Put put) {
    if (operand.mnMajor) {
      for (uint32_t k = 0; k < 16; ++k)
        for (uint32_t mn = 0; mn < rows; mn += 8) {
          const uint16_t *from = chunk(operand.chunk(mn, k));
          for (uint32_t i = 0; i < 8; ++i)
            put(mn + i, k, sign * element(from[i]));
        }
      return;
    }
    for (uint32_t mn = 0; mn < rows; ++mn)
      for (uint32_t k = 0; k < 16; k += 8) {
        const uint16_t *from = chunk(operand.chunk(mn, k));
        for (uint32_t i = 0; i < 8; ++i)
          put(mn, k + i, sign * element(from[i]));
      }
  }
};

} // namespace

static Warpgroup &groupOf(Machine &machine, const Fiber &fiber) {
  return machine.warpgroups[fiber.block * machine.groupsPerBlock +
                            fiber.local / kWarpgroup];
}

static void checkDescriptor(Fiber &fiber, uint64_t descriptor, char operand,
                            const char *site) {
  if (descriptor >> 49 & 7)
    fiber.machine->fatal(FindingKind::InvalidDescriptor, fiber, site,
                         (descriptor & 0x3FFF) << 4,
                         "the descriptor of %c has base offset %u; swizzled "
                         "tiles must start at a multiple of their pattern",
                         operand, unsigned(descriptor >> 49 & 7));
}

/// The threads of the warpgroup that `fiber` is in.
static Fiber *firstOfGroup(Machine &machine, const Fiber &fiber) {
  return &machine.fibers[fiber.block * machine.launch->threads +
                         fiber.local / kWarpgroup * kWarpgroup];
}

static void multiply(Machine &machine, Fiber &last, Warpgroup &group) {
  Fiber *threads = firstOfGroup(machine, last);
  const uint32_t n = group.n;
  machine.scratch.resize(64 * 16 + (16 + 64) * kGroupStride);
  float *a = machine.scratch.data();
  float *b = a + 64 * 16;
  float *d = b + 16 * kGroupStride;

  Reader reader{
      machine, last, {nullptr, ~0u, 0}, group.site, group.type == MOE_EMU_F16};
  ClockRef &all = machine.wgmmaClock;
  if (machine.check) {
    // One elected arrival per warpgroup is the convention of pipelines, so the
    // operation orders the memory of its threads.
    ClockSum sum;
    for (uint32_t i = 0; i < kWarpgroup; ++i)
      sum.add(threads[i].seen, threads[i].index, threads[i].epoch);
    all = sum.take();
    reader.actor.seen = all.get();
    reader.actor.stamp = machine.pack(group.agent, last.wgmmaGroups + 1);
  }

  float signA = group.flags & MOE_EMU_WGMMA_NEGATE_A ? -1.0f : 1.0f;
  float signB = group.flags & MOE_EMU_WGMMA_NEGATE_B ? -1.0f : 1.0f;
  if (group.aInRegisters) {
    for (uint32_t i = 0; i < kWarpgroup; ++i) {
      uint32_t row = i / 32 * 16 + i % 32 / 4, column = i % 4 * 2;
      for (uint32_t j = 0; j < 4; ++j) {
        uint32_t pair = group.args[i].a[j];
        float *to = a + (row + j % 2 * 8) * 16 + column + j / 2 * 8;
        to[0] = signA * reader.element(uint16_t(pair));
        to[1] = signA * reader.element(uint16_t(pair >> 16));
      }
    }
  } else {
    reader.read(
        Operand(group.descriptorA, group.flags & MOE_EMU_WGMMA_A_MN), 64, signA,
        [&](uint32_t mn, uint32_t k, float value) { a[mn * 16 + k] = value; });
  }
  reader.read(Operand(group.descriptorB, group.flags & MOE_EMU_WGMMA_B_MN), n,
              signB, [&](uint32_t mn, uint32_t k, float value) {
                b[k * kGroupStride + mn] = value;
              });
  groupMatrixMultiply(n, a, b, d);
  machine.macs += 64ull * n * 16;

  bool zero = group.flags & MOE_EMU_WGMMA_ZERO;
  for (uint32_t i = 0; i < kWarpgroup; ++i) {
    const Warpgroup::Args &thread = group.args[i];
    uint32_t row = i / 32 * 16 + i % 32 / 4, column = i % 4 * 2;
    for (uint32_t j = 0; j < n / 2; ++j) {
      float sum =
          d[(row + j / 2 % 2 * 8) * kGroupStride + j / 4 * 8 + column + j % 2];
      thread.out[j] = zero ? sum : thread.in[j] + sum;
    }
  }
  for (uint32_t i = 0; i < kWarpgroup; ++i) {
    if (machine.check) {
      threads[i].seen = all;
      machine.tick(threads[i]);
    }
    if (&threads[i] != &last)
      machine.wake(threads[i]);
  }
}

} // namespace moe::emu

using namespace moe::emu;

extern "C" {

void moe_emu_wgmma_fence(moe_emu_thread *, const char *) {}

void moe_emu_wgmma(moe_emu_thread *thread, uint32_t type, uint32_t n,
                   uint32_t flags, uint64_t descriptor_a, const uint32_t *a,
                   uint64_t descriptor_b, const float *in, float *out,
                   const char *site) {
  Fiber &fiber = fiberOf(thread);
  Machine &machine = *fiber.machine;
  Warpgroup &group = groupOf(machine, fiber);
  uint32_t index = fiber.local % kWarpgroup;
  if (fiber.local - index + kWarpgroup > machine.launch->threads)
    machine.fatal(FindingKind::DivergentCollective, fiber, site, 0,
                  "wgmma needs 128 threads; the last warpgroup has %u",
                  machine.launch->threads % kWarpgroup);
  if (n % 8 || n == 0 || n > 256)
    machine.fatal(FindingKind::InvalidDescriptor, fiber, site, 0,
                  "wgmma with n = %u", n);
  if (!a)
    checkDescriptor(fiber, descriptor_a, 'A', site);
  checkDescriptor(fiber, descriptor_b, 'B', site);
  if (group.arrived == 0) {
    group.type = type;
    group.n = n;
    group.flags = flags;
    group.aInRegisters = a;
    group.site = site;
    group.descriptorA = descriptor_a;
    group.descriptorB = descriptor_b;
  } else if (group.site != site || group.n != n || group.type != type ||
             group.flags != flags || group.aInRegisters != (a != nullptr)) {
    machine.fatal(FindingKind::DivergentCollective, fiber, site, 0,
                  "other threads of the warpgroup wait in another wgmma%s%s",
                  *group.site ? ": " : "", group.site);
  } else if (group.descriptorB != descriptor_b ||
             (!a && group.descriptorA != descriptor_a)) {
    machine.fatal(FindingKind::InvalidDescriptor, fiber, site,
                  (descriptor_b & 0x3FFF) << 4,
                  "the threads of the warpgroup have different descriptors");
  }
  group.args[index] = {a, in, out};
  fiber.wgmmaOpen = true;
  fiber.wgmmaSite = site;
  if (++group.arrived < kWarpgroup) {
    machine.suspend(fiber, Wait::Warpgroup, site);
    return;
  }
  group.arrived = 0;
  multiply(machine, fiber, group);
}

void moe_emu_wgmma_commit(moe_emu_thread *thread, const char *) {
  Fiber &fiber = fiberOf(thread);
  ++fiber.wgmmaGroups;
  fiber.wgmmaOpen = false;
}

void moe_emu_wgmma_wait(moe_emu_thread *thread, uint32_t pending,
                        const char *) {
  Fiber &fiber = fiberOf(thread);
  Machine &machine = *fiber.machine;
  if (fiber.wgmmaGroups <= pending)
    return;
  fiber.wgmmaWaited = std::max(fiber.wgmmaWaited, fiber.wgmmaGroups - pending);
  if (machine.check)
    fiber.seen = machine.clocks.raised(
        fiber.seen, groupOf(machine, fiber).agent, fiber.wgmmaWaited);
}

} // extern "C"
