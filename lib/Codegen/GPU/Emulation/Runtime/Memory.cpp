//===- Memory.cpp - Checks of accesses to memory --------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Machine.h"

#include <cstdio>

namespace moe::emu {

/// Atomics of one turn after which others get a chance: they may be a lock.
static constexpr uint32_t kAtomicsPerTurn = 64;
/// Addresses this near to shared memory are taken for overruns of it.
static constexpr uint64_t kNearShared = 16u << 20;

//===----------------------------------------------------------------------===//
// Bounds
//===----------------------------------------------------------------------===//

SharedRef Machine::locate(Fiber &fiber, const void *address, uint64_t bytes,
                          uint32_t align, const char *site, const char *what) {
  uint64_t offset = uintptr_t(address) - uintptr_t(arena);
  SharedRef ref{uint32_t(offset / kArenaBytes), uint32_t(offset % kArenaBytes)};
  if (offset >= uint64_t(launch->cluster) * kArenaBytes ||
      ref.offset + bytes > launch->sharedBytes)
    fatal(
        FindingKind::OutOfBoundsShared, fiber, site,
        offset < uint64_t(launch->cluster) * kArenaBytes
            ? ref.offset
            : uint64_t(uintptr_t(address)),
        "%s of %llu bytes at shared%+lld; the block has %u bytes", what,
        static_cast<unsigned long long>(bytes),
        static_cast<long long>(
            offset < uint64_t(launch->cluster) * kArenaBytes
                ? int64_t(ref.offset)
                : int64_t(uintptr_t(address) - uintptr_t(fiber.thread.shared))),
        launch->sharedBytes);
  if (align && ref.offset % align)
    fatal(FindingKind::Misaligned, fiber, site, ref.offset,
          "%s at shared+0x%x must be aligned to %u bytes", what, ref.offset,
          align);
  if (ref.block != fiber.block && liveInBlock[ref.block] == 0)
    fatal(FindingKind::OutOfBoundsShared, fiber, site, ref.offset,
          "%s at shared+0x%x of block %u of the cluster, which has ended", what,
          ref.offset, ref.block);
  return ref;
}

/// Whether there is nothing but the pattern.
static bool holdsOnly(const void *address, uint64_t bytes, uint16_t pattern) {
  for (uint64_t at = 0; at + sizeof(pattern) <= bytes; at += sizeof(pattern)) {
    uint16_t word;
    std::memcpy(&word, static_cast<const char *>(address) + at, sizeof(word));
    if (word != pattern)
      return false;
  }
  return true;
}

void Machine::checkGlobal(Fiber &fiber, const void *address, uint64_t bytes,
                          bool write, const char *site, const char *what) {
  const std::vector<Range> &ranges = launch->ranges;
  uintptr_t begin = uintptr_t(address);
  auto holds = [&](const Range &range) {
    return begin >= range.begin && begin < range.end &&
           bytes <= range.end - begin;
  };
  const Range *range = nullptr;
  if (fiber.lastRange < ranges.size() && holds(ranges[fiber.lastRange])) {
    range = &ranges[fiber.lastRange];
  } else {
    auto after = std::upper_bound(
        ranges.begin(), ranges.end(), begin,
        [](uintptr_t value, const Range &r) { return value < r.begin; });
    if (after != ranges.begin() && holds(*(after - 1))) {
      range = &*(after - 1);
      fiber.lastRange = uint32_t(range - ranges.data());
    }
  }
  if (range) {
    if (write && !range->writable)
      fatal(FindingKind::WriteToReadOnly, fiber, site, begin,
            "%s of %llu bytes at offset %llu of '%s', which is read-only", what,
            static_cast<unsigned long long>(bytes),
            static_cast<unsigned long long>(begin - range->begin),
            range->name.c_str());
    if (!write && bytes >= 4 && launch->config.unwritten &&
        holdsOnly(address, bytes, *launch->config.unwritten))
      report(FindingKind::UninitialisedRead, fiber, site, begin,
             "%s of %llu bytes at offset %llu of '%s', which nobody wrote",
             what, static_cast<unsigned long long>(bytes),
             static_cast<unsigned long long>(begin - range->begin),
             range->name.c_str());
    return;
  }
  // What no launch may touch even if it declares no ranges.
  int64_t distance = int64_t(begin - uintptr_t(fiber.thread.shared));
  bool nearShared =
      std::llabs(distance) < int64_t(kNearShared) && begin >> 32 == 0;
  if (nearShared)
    fatal(FindingKind::OutOfBoundsShared, fiber, site, begin,
          "%s of %llu bytes at shared%+lld; the block has %u bytes", what,
          static_cast<unsigned long long>(bytes),
          static_cast<long long>(distance), launch->sharedBytes);
  if (launch->config.memory.empty() && begin >= 65536)
    return;
  // The nearest range below tells an overrun from a wild pointer.
  auto after = std::upper_bound(
      ranges.begin(), ranges.end(), begin,
      [](uintptr_t value, const Range &r) { return value < r.begin; });
  // No strings here: what is on the stack is never destroyed.
  char hint[256] = "";
  int length = 0;
  if (after != ranges.begin()) {
    const Range &below = *(after - 1);
    if (begin - below.begin < 2 * (below.end - below.begin) + 4096)
      length = std::snprintf(
          hint, sizeof hint, "; '%.80s' of %llu bytes, offset %llu",
          below.name.c_str(),
          static_cast<unsigned long long>(below.end - below.begin),
          static_cast<unsigned long long>(begin - below.begin));
  }
  if (after != ranges.end() && after->begin - begin < 4096)
    std::snprintf(hint + length, sizeof hint - length,
                  "; %llu bytes before '%.80s'",
                  static_cast<unsigned long long>(after->begin - begin),
                  after->name.c_str());
  fatal(FindingKind::OutOfBoundsGlobal, fiber, site, begin,
        "%s of %llu bytes at %p is in no buffer of the launch%s", what,
        static_cast<unsigned long long>(bytes), address, hint);
}

//===----------------------------------------------------------------------===//
// Shared memory
//===----------------------------------------------------------------------===//

namespace {
/// Names who made an epoch, for messages.
struct Who {
  Who(const Machine &machine, uint32_t index) {
    if (index < machine.launchFibers) {
      const Fiber &fiber = machine.fibers[index];
      text = "thread " + std::to_string(fiber.local);
      if (machine.launch->cluster > 1)
        text += " of block " + std::to_string(fiber.block) + " of the cluster";
    } else if (index - machine.launchFibers < machine.warpgroups.size()) {
      text = "an unfinished wgmma";
    } else {
      text = "a bulk copy";
    }
  }
  std::string text;
};
} // namespace

static bool isWgmma(const Machine &machine, uint32_t index) {
  return index >= machine.launchFibers &&
         index - machine.launchFibers < machine.warpgroups.size();
}

void Machine::readShared(const Fiber &fiber, const Actor &actor, SharedRef ref,
                         uint32_t bytes, bool async, const char *site,
                         const char *what) {
  Cell *cell = cells(ref);
  Cell *end = cells({ref.block, ref.offset + bytes - 1}) + 1;
  const uint32_t reader = actor.stamp >> epochBits;
  // Cells of one access mostly have the same history.
  Cell before{0, {0, 0}, 0, 0}, after = before;
  for (uint32_t offset = ref.offset & ~1u; cell != end; ++cell, offset += 2) {
    if (!std::memcmp(cell, &before, sizeof before) && before.writer) {
      *cell = after;
      continue;
    }
    before = *cell;
    uint32_t writer = cell->writer >> epochBits;
    if (cell->flags & kPendingWrite) {
      report(FindingKind::Race, fiber, site, offset,
             "%s reads shared+0x%x, which a copy of %s in flight writes", what,
             offset, Who(*this, writer).text.c_str());
      return;
    }
    if (!cell->writer) {
      report(FindingKind::UninitialisedRead, fiber, site, offset,
             "%s reads shared+0x%x, which nobody wrote", what, offset);
      return;
    }
    if (!ordered(cell->writer, actor)) {
      report(FindingKind::Race, fiber, site, offset,
             "%s reads shared+0x%x, which %s wrote without a barrier between "
             "them",
             what, offset, Who(*this, writer).text.c_str());
    } else if (async && !(cell->flags & kAsyncWriter) &&
               actor.seen->proxy()[writer] < (cell->writer & epochMask())) {
      report(FindingKind::MissingProxyFence, fiber, site, offset,
             "%s reads shared+0x%x through the async proxy; %s wrote it "
             "through the generic proxy without fence.proxy.async",
             what, offset, Who(*this, writer).text.c_str());
    }
    // Of the readers that nothing orders before this one, one is kept.
    uint32_t *readers = cell->readers;
    if (readers[0] != actor.stamp) {
      if (readers[1] && readers[1] >> epochBits == reader)
        std::swap(readers[0], readers[1]);
      if (readers[0] >> epochBits != reader && !ordered(readers[0], actor))
        readers[1] = readers[0];
      readers[0] = actor.stamp;
    }
    after = *cell;
  }
}

void Machine::writeShared(const Fiber &fiber, const Actor &actor, SharedRef ref,
                          uint32_t bytes, uint16_t flags, const char *site,
                          const char *what) {
  Cell *cell = cells(ref);
  Cell *end = cells({ref.block, ref.offset + bytes - 1}) + 1;
  Cell known{0, {0, 0}, 0, 0};
  bool atomic = flags & kAtomicWriter;
  for (uint32_t offset = ref.offset & ~1u; cell != end; ++cell, offset += 2) {
    if (std::memcmp(cell, &known, sizeof known)) {
      known = *cell;
      bool atomics = atomic && cell->flags & kAtomicWriter;
      uint32_t writer = cell->writer >> epochBits;
      if (cell->flags & kPendingWrite) {
        report(FindingKind::OverwriteInFlight, fiber, site, offset,
               "%s writes shared+0x%x, which a copy of %s in flight writes",
               what, offset, Who(*this, writer).text.c_str());
      } else if (cell->bulkReads) {
        report(FindingKind::OverwriteInFlight, fiber, site, offset,
               "%s writes shared+0x%x, which a bulk store still reads", what,
               offset);
      } else if (!atomics && !ordered(cell->writer, actor)) {
        report(FindingKind::Race, fiber, site, offset,
               "%s writes shared+0x%x, which %s wrote without a barrier "
               "between them",
               what, offset, Who(*this, writer).text.c_str());
      } else if (flags & kAsyncWriter && cell->writer &&
                 !(cell->flags & kAsyncWriter) &&
                 actor.seen->proxy()[writer] < (cell->writer & epochMask())) {
        report(FindingKind::MissingProxyFence, fiber, site, offset,
               "%s writes shared+0x%x through the async proxy; %s wrote it "
               "through the generic proxy without fence.proxy.async",
               what, offset, Who(*this, writer).text.c_str());
      }
      for (uint32_t stamp : cell->readers) {
        if (ordered(stamp, actor))
          continue;
        uint32_t reader = stamp >> epochBits;
        if (isWgmma(*this, reader))
          report(FindingKind::OverwriteInFlight, fiber, site, offset,
                 "%s writes shared+0x%x, which a wgmma reads that no "
                 "wgmma.wait_group is known to have retired",
                 what, offset);
        else
          report(FindingKind::Race, fiber, site, offset,
                 "%s writes shared+0x%x, which %s read without a barrier "
                 "between them",
                 what, offset, Who(*this, reader).text.c_str());
      }
    }
    cell->writer = actor.stamp;
    cell->readers[0] = cell->readers[1] = 0;
    cell->flags = flags;
  }
}

} // namespace moe::emu

//===----------------------------------------------------------------------===//
// Operations
//===----------------------------------------------------------------------===//

using namespace moe::emu;

extern "C" {

void moe_emu_check(moe_emu_thread *thread, const void *address, uint32_t bytes,
                   uint32_t align, uint32_t kind, const char *site) {
  static const char *const names[] = {"load", "store", "atomic"};
  Fiber &fiber = fiberOf(thread);
  Machine &machine = *fiber.machine;
  if (!machine.check || !bytes)
    return;
  machine.countAccess(fiber, site);
  if (kind == MOE_EMU_ATOMIC && ++fiber.atomicRun % kAtomicsPerTurn == 0)
    machine.yield(fiber, site);

  uintptr_t begin = uintptr_t(address);
  bool shared = machine.isShared(address);
  if (align > 1 && begin & (align - 1))
    machine.fatal(
        FindingKind::Misaligned, fiber, site,
        shared ? begin % kArenaBytes : begin,
        "%s of %u bytes at %s0x%llx must be aligned to %u bytes",
        names[kind % 3], bytes, shared ? "shared+" : "",
        static_cast<unsigned long long>(shared ? begin % kArenaBytes : begin),
        align);
  if (!shared) {
    // Local memory is on the stack.
    if (begin - uintptr_t(fiber.stack) < kStackBytes)
      return;
    machine.checkGlobal(fiber, address, bytes, kind != MOE_EMU_READ, site,
                        names[kind % 3]);
    return;
  }
  SharedRef ref =
      machine.locate(fiber, address, bytes, 0, site, names[kind % 3]);
  Actor actor = machine.actor(fiber);
  if (kind == MOE_EMU_READ) {
    machine.readShared(fiber, actor, ref, bytes, false, site, "load");
    return;
  }
  if (kind == MOE_EMU_ATOMIC) {
    const Cell &cell = *machine.cells(ref);
    if (!cell.writer && !(cell.flags & kPendingWrite))
      machine.report(FindingKind::UninitialisedRead, fiber, site, ref.offset,
                     "atomic reads shared+0x%x, which nobody wrote",
                     ref.offset);
    machine.writeShared(fiber, actor, ref, bytes, kAtomicWriter, site,
                        "atomic");
    return;
  }
  // Two bytes share one cell: what single bytes race with is not known.
  if (bytes == 1) {
    Cell &cell = *machine.cells(ref);
    cell.writer = actor.stamp;
    cell.flags = 0;
    cell.readers[0] = cell.readers[1] = 0;
    return;
  }
  machine.writeShared(fiber, actor, ref, bytes, 0, site, "store");
}

void moe_emu_fence(moe_emu_thread *, const char *) {}

void moe_emu_fence_proxy_async(moe_emu_thread *thread, const char *) {
  Fiber &fiber = fiberOf(thread);
  Machine &machine = *fiber.machine;
  if (!machine.check)
    return;
  // All that the thread did and has seen, itself included.
  ClockRef now = machine.clocks.raised(fiber.seen, fiber.index, fiber.epoch);
  fiber.seen = machine.clocks.proxied(now);
  machine.tick(fiber);
}

} // extern "C"
