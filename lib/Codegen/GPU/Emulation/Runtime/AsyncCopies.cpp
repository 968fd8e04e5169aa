//===- AsyncCopies.cpp - cp.async, and when asynchronous work is done -----===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Checks happen when a copy is issued, as it may write from then on; until it
// is waited for, its destination must not be touched. What is found therefore
// hardly depends on the schedule.
//
//===----------------------------------------------------------------------===//

#include "Machine.h"

namespace moe::emu {

void Machine::enqueue(AsyncWork &&work) {
  if (schedule == Schedule::Eager ||
      (schedule == Schedule::Random && random() % 2 == 0)) {
    perform(work);
    return;
  }
  queue.push_back(std::move(work));
}

void Machine::settle(SharedRef ref, uint32_t bytes, uint32_t oldStamp,
                     uint32_t newStamp) {
  Cell *cell = cells(ref);
  for (Cell *end = cell + bytes / 2; cell != end; ++cell) {
    if (cell->writer != oldStamp || !(cell->flags & kPendingWrite))
      continue;
    cell->flags &= uint16_t(~kPendingWrite);
    cell->writer = newStamp;
  }
}

void Machine::settle(const AsyncCopy &copy, uint32_t newStamp) {
  if (!check)
    return;
  uint64_t offset = uint64_t(copy.shared - arena);
  settle({uint32_t(offset / kArenaBytes), uint32_t(offset % kArenaBytes)},
         copy.bytes, copy.stamp, newStamp);
}

/// Completes the copies of groups before `end`.
static void waitCopies(Fiber &fiber, uint32_t end) {
  Machine &machine = *fiber.machine;
  if (fiber.copyArrivals)
    machine.performIf([&](const AsyncWork &work) {
      return work.kind == AsyncWork::Arrive && work.owner == &fiber;
    });
  for (uint32_t landed : fiber.landedStamps)
    fiber.seen = machine.clocks.raised(fiber.seen, machine.indexOf(landed),
                                       landed & machine.epochMask());
  fiber.landedStamps.clear();
  size_t done = 0;
  uint32_t stamp = machine.stamp(fiber);
  for (AsyncCopy &copy : fiber.copies) {
    if (copy.group >= end)
      break;
    copy.land();
    machine.settle(copy, stamp);
    ++done;
  }
  fiber.copies.erase(fiber.copies.begin(), fiber.copies.begin() + done);
}

} // namespace moe::emu

using namespace moe::emu;

extern "C" {

void moe_emu_cp_async(moe_emu_thread *thread, void *shared, const void *global,
                      uint32_t bytes, uint32_t source_bytes, const char *site) {
  Fiber &fiber = fiberOf(thread);
  Machine &machine = *fiber.machine;
  uint32_t source = std::min(bytes, source_bytes);
  SharedRef ref = machine.locate(fiber, shared, bytes, bytes, site, "cp.async");
  if (source) {
    if (uintptr_t(global) % bytes)
      machine.fatal(FindingKind::Misaligned, fiber, site, uintptr_t(global),
                    "cp.async from %p must be aligned to %u bytes", global,
                    bytes);
    machine.checkGlobal(fiber, global, source, false, site, "cp.async");
  }
  if (machine.check) {
    machine.countAccess(fiber, site);
    machine.writeShared(fiber, machine.actor(fiber), ref, bytes, kPendingWrite,
                        site, "cp.async");
  }
  fiber.copies.push_back({static_cast<uint8_t *>(shared),
                          static_cast<const uint8_t *>(global), site,
                          machine.stamp(fiber), fiber.copyGroups,
                          uint8_t(bytes), uint8_t(source), false});
  if (machine.schedule == Schedule::Eager ||
      (machine.schedule == Schedule::Random && machine.random() % 2 == 0))
    fiber.copies.back().land();
}

void moe_emu_cp_async_commit(moe_emu_thread *thread, const char *) {
  ++fiberOf(thread).copyGroups;
}

void moe_emu_cp_async_wait_group(moe_emu_thread *thread, uint32_t pending,
                                 const char *) {
  Fiber &fiber = fiberOf(thread);
  if (fiber.copyGroups > pending)
    waitCopies(fiber, fiber.copyGroups - pending);
}

void moe_emu_cp_async_wait_all(moe_emu_thread *thread, const char *) {
  waitCopies(fiberOf(thread), ~0u);
}

void moe_emu_cp_async_mbarrier_arrive(moe_emu_thread *thread, void *mbarrier,
                                      uint32_t noinc, const char *site) {
  Fiber &fiber = fiberOf(thread);
  Machine &machine = *fiber.machine;
  MBarrier &barrier =
      machine.mbarrierAt(fiber, mbarrier, site, "cp.async.mbarrier.arrive");
  if (!noinc)
    ++barrier.pending;
  AsyncWork work;
  work.kind = AsyncWork::Arrive;
  work.owner = &fiber;
  work.site = site;
  work.stamp = fiber.epoch;
  work.seen = fiber.seen;
  work.mbarriers[0] = &barrier;
  work.copies = std::move(fiber.copies);
  fiber.copies.clear();
  ++fiber.copyArrivals;
  machine.tick(fiber);
  machine.enqueue(std::move(work));
}

} // extern "C"
