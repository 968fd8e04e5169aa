//===- MBarriers.cpp - mbarriers ------------------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The eight bytes in shared memory name an object of the machine. A store over
// them, or memory that was never initialised, is thus seen at the next use.
//
//===----------------------------------------------------------------------===//

#include "Machine.h"

namespace moe::emu {

static constexpr uint64_t kMagic = 0x4D62617200000000ull;
static constexpr uint64_t kMagicMask = 0xFFFFFFFF00000000ull;
static constexpr uint32_t kMaxCount = (1u << 20) - 1;

/// The object that the bytes at `address` name, or null.
static MBarrier *find(Machine &machine, const void *address) {
  uint64_t word;
  std::memcpy(&word, address, sizeof word);
  uint32_t index = uint32_t(word);
  if ((word & kMagicMask) != kMagic || index >= machine.mbarrierCount ||
      machine.mbarriers[index]->address != address)
    return nullptr;
  return machine.mbarriers[index].get();
}

MBarrier &Machine::newMBarrier(SharedRef ref) {
  uint8_t *address = at(ref);
  if (MBarrier *old = find(*this, address)) {
    uint32_t agent = old->agent;
    *old = MBarrier();
    old->address = address;
    old->agent = agent;
    return *old;
  }
  uint32_t index = mbarrierCount++;
  if (index == mbarriers.size())
    mbarriers.push_back(std::make_unique<MBarrier>());
  MBarrier &barrier = *mbarriers[index];
  barrier = MBarrier();
  barrier.address = address;
  // With more mbarriers than agents some share one, which only hides races.
  uint32_t first = uint32_t(warpgroups.size());
  barrier.agent = launchFibers + first + index % (agentCount() - first);
  uint64_t word = kMagic | index;
  std::memcpy(address, &word, sizeof word);
  return barrier;
}

MBarrier &Machine::mbarrierAt(Fiber &fiber, const void *address,
                              const char *site, const char *what) {
  SharedRef ref = locate(fiber, address, 8, 8, site, what);
  MBarrier *barrier = find(*this, address);
  if (!barrier || !barrier->valid)
    fatal(FindingKind::BarrierMisuse, fiber, site, ref.offset,
          "%s of the mbarrier at shared+0x%x, which is %s", what, ref.offset,
          barrier ? "invalidated" : "not initialised, or overwritten");
  if (check && !ordered(barrier->initStamp, actor(fiber)))
    report(FindingKind::BarrierMisuse, fiber, site, ref.offset,
           "%s of the mbarrier at shared+0x%x without a barrier after its "
           "initialisation",
           what, ref.offset);
  return *barrier;
}

void Machine::completeIfDone(MBarrier &barrier, const Fiber &fiber,
                             const char *site) {
  if (barrier.pending || barrier.bytes)
    return;
  if (barrier.inFlight)
    report(FindingKind::TransactionCount, fiber, site, barrier.offset,
           "the phase of the mbarrier at shared+0x%x completes while copies "
           "of %lld bytes that signal it are in flight",
           barrier.offset, static_cast<long long>(barrier.inFlight));
  barrier.pending = barrier.count;
  ++barrier.phase;
  if (check)
    if (ClockRef sum = barrier.clocks.take())
      barrier.published = barrier.published
                              ? clocks.joined(barrier.published, sum)
                              : std::move(sum);
  for (Fiber *waiter : barrier.waiters)
    wake(*waiter);
  barrier.waiters.clear();
}

static void expect(Machine &machine, MBarrier &barrier, Fiber &fiber,
                   uint32_t bytes, const char *site) {
  barrier.bytes += bytes;
  if (barrier.bytes > int64_t(kMaxCount))
    machine.fatal(FindingKind::TransactionCount, fiber, site, barrier.offset,
                  "the mbarrier at shared+0x%x expects %lld bytes; at most "
                  "%u are possible",
                  barrier.offset, static_cast<long long>(barrier.bytes),
                  kMaxCount);
}

static uint64_t arrive(Machine &machine, MBarrier &barrier, Fiber &fiber,
                       uint32_t count, const char *site) {
  if (count == 0 || count > barrier.pending)
    machine.fatal(FindingKind::BarrierMisuse, fiber, site, barrier.offset,
                  "%u arrivals at the mbarrier at shared+0x%x, whose phase "
                  "awaits %u more of %u",
                  count, barrier.offset, barrier.pending, barrier.count);
  uint64_t state = barrier.phase;
  if (machine.check) {
    barrier.clocks.add(fiber.seen, fiber.index, fiber.epoch);
    machine.tick(fiber);
  }
  barrier.pending -= count;
  machine.completeIfDone(barrier, fiber, site);
  return state;
}

/// Waits until phase `phase` is complete.
static void wait(Machine &machine, MBarrier &barrier, Fiber &fiber,
                 uint64_t phase, const char *site) {
  if (barrier.phase <= phase) {
    barrier.waiters.push_back(&fiber);
    machine.suspend(fiber, Wait::MBarrier, site);
  }
  if (machine.check)
    machine.acquire(fiber, barrier.published);
}

static uint32_t test(Machine &machine, MBarrier &barrier, Fiber &fiber,
                     uint64_t phase, const char *site) {
  if (barrier.phase <= phase)
    machine.yield(fiber, site);
  if (barrier.phase <= phase)
    return 0;
  if (machine.check)
    machine.acquire(fiber, barrier.published);
  return 1;
}

/// The mbarrier of a wait, which must be the block's own.
static MBarrier &ownMBarrier(Fiber &fiber, const void *address,
                             const char *site) {
  Machine &machine = *fiber.machine;
  MBarrier &barrier = machine.mbarrierAt(fiber, address, site, "mbarrier wait");
  if (barrier.block != fiber.block)
    machine.fatal(FindingKind::BarrierMisuse, fiber, site, barrier.offset,
                  "a wait at the mbarrier of another block of the cluster");
  return barrier;
}

/// The phase before the running one has the other parity, and is complete.
static bool alreadyComplete(const MBarrier &barrier, uint32_t parity) {
  return (barrier.phase & 1) != (parity & 1);
}

} // namespace moe::emu

using namespace moe::emu;

extern "C" {

void moe_emu_mbarrier_init(moe_emu_thread *thread, void *mbarrier,
                           uint32_t count, const char *site) {
  Fiber &fiber = fiberOf(thread);
  Machine &machine = *fiber.machine;
  SharedRef ref = machine.locate(fiber, mbarrier, 8, 8, site, "mbarrier.init");
  if (count == 0 || count > kMaxCount)
    machine.fatal(FindingKind::BarrierMisuse, fiber, site, ref.offset,
                  "mbarrier.init with a count of %u", count);
  if (MBarrier *old = find(machine, mbarrier))
    if (old->valid)
      machine.report(FindingKind::BarrierMisuse, fiber, site, ref.offset,
                     "mbarrier.init of the mbarrier at shared+0x%x, which is "
                     "in use",
                     ref.offset);
  if (machine.check)
    machine.writeShared(fiber, machine.actor(fiber), ref, 8, 0, site,
                        "mbarrier.init");
  MBarrier &barrier = machine.newMBarrier(ref);
  barrier.block = ref.block;
  barrier.offset = ref.offset;
  barrier.valid = true;
  barrier.count = barrier.pending = count;
  barrier.initStamp = machine.stamp(fiber);
  barrier.site = site;
}

void moe_emu_mbarrier_inval(moe_emu_thread *thread, void *mbarrier,
                            const char *site) {
  Fiber &fiber = fiberOf(thread);
  Machine &machine = *fiber.machine;
  MBarrier &barrier =
      machine.mbarrierAt(fiber, mbarrier, site, "mbarrier.inval");
  if (barrier.bytes || barrier.inFlight)
    machine.report(FindingKind::TransactionCount, fiber, site, barrier.offset,
                   "mbarrier.inval while %lld bytes are pending",
                   static_cast<long long>(barrier.bytes));
  if (!barrier.waiters.empty())
    machine.report(FindingKind::BarrierMisuse, fiber, site, barrier.offset,
                   "mbarrier.inval while threads wait");
  barrier.valid = false;
}

uint64_t moe_emu_mbarrier_arrive(moe_emu_thread *thread, void *mbarrier,
                                 uint32_t count, const char *site) {
  Fiber &fiber = fiberOf(thread);
  Machine &machine = *fiber.machine;
  MBarrier &barrier =
      machine.mbarrierAt(fiber, mbarrier, site, "mbarrier.arrive");
  return arrive(machine, barrier, fiber, count, site);
}

uint64_t moe_emu_mbarrier_arrive_expect_tx(moe_emu_thread *thread,
                                           void *mbarrier, uint32_t bytes,
                                           const char *site) {
  Fiber &fiber = fiberOf(thread);
  Machine &machine = *fiber.machine;
  MBarrier &barrier =
      machine.mbarrierAt(fiber, mbarrier, site, "mbarrier.arrive.expect_tx");
  expect(machine, barrier, fiber, bytes, site);
  return arrive(machine, barrier, fiber, 1, site);
}

void moe_emu_mbarrier_expect_tx(moe_emu_thread *thread, void *mbarrier,
                                uint32_t bytes, const char *site) {
  Fiber &fiber = fiberOf(thread);
  Machine &machine = *fiber.machine;
  expect(machine,
         machine.mbarrierAt(fiber, mbarrier, site, "mbarrier.expect_tx"), fiber,
         bytes, site);
}

uint32_t moe_emu_mbarrier_try_wait_parity(moe_emu_thread *thread,
                                          void *mbarrier, uint32_t parity,
                                          const char *site) {
  Fiber &fiber = fiberOf(thread);
  MBarrier &barrier = ownMBarrier(fiber, mbarrier, site);
  if (alreadyComplete(barrier, parity)) {
    fiber.machine->acquire(fiber, barrier.published);
    return 1;
  }
  wait(*fiber.machine, barrier, fiber, barrier.phase, site);
  return 1;
}

uint32_t moe_emu_mbarrier_try_wait(moe_emu_thread *thread, void *mbarrier,
                                   uint64_t state, const char *site) {
  Fiber &fiber = fiberOf(thread);
  wait(*fiber.machine, ownMBarrier(fiber, mbarrier, site), fiber, state, site);
  return 1;
}

uint32_t moe_emu_mbarrier_test_wait_parity(moe_emu_thread *thread,
                                           void *mbarrier, uint32_t parity,
                                           const char *site) {
  Fiber &fiber = fiberOf(thread);
  MBarrier &barrier = ownMBarrier(fiber, mbarrier, site);
  if (alreadyComplete(barrier, parity)) {
    fiber.machine->acquire(fiber, barrier.published);
    return 1;
  }
  return test(*fiber.machine, barrier, fiber, barrier.phase, site);
}

uint32_t moe_emu_mbarrier_test_wait(moe_emu_thread *thread, void *mbarrier,
                                    uint64_t state, const char *site) {
  Fiber &fiber = fiberOf(thread);
  return test(*fiber.machine, ownMBarrier(fiber, mbarrier, site), fiber, state,
              site);
}

} // extern "C"
