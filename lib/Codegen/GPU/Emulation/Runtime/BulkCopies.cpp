//===- BulkCopies.cpp - TMA and bulk copies -------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Machine.h"
#include "MatrixMath.h"
#include "TensorMap.h"

namespace moe::emu {

//===----------------------------------------------------------------------===//
// Boxes
//===----------------------------------------------------------------------===//

namespace {
/// A row of a box: the part of it that lies in the tensor.
struct BoxRow {
  uint32_t offset;       // of the row in the unswizzled box
  uint8_t *global;       // of element `first`, null if the row is outside
  uint32_t first, count; // elements inside
};
} // namespace

template <typename Visit>
static void forEachRow(const TensorMap &map, const int32_t *coordinates,
                       Visit visit) {
  uint32_t rows = map.rows(), inner = map.innerBytes();
  int64_t start = coordinates[0];
  int64_t first = std::max<int64_t>(start, 0);
  int64_t last = std::min<int64_t>(start + map.box[0], int64_t(map.sizes[0]));
  for (uint32_t row = 0; row < rows; ++row) {
    uint32_t rest = row;
    bool inside = first < last;
    uint8_t *global = map.base + first * map.elementBytes;
    for (uint32_t i = 1; i < map.rank; ++i) {
      int64_t index = int64_t(coordinates[i]) + rest % map.box[i];
      rest /= map.box[i];
      if (index < 0 || uint64_t(index) >= map.sizes[i])
        inside = false;
      else
        global += uint64_t(index) * map.strides[i - 1];
    }
    BoxRow result{row * inner, nullptr, 0, 0};
    if (inside) {
      result.global = global;
      result.first = uint32_t(first - start);
      result.count = uint32_t(last - first);
    }
    visit(result);
  }
}

/// Visits the pieces of the row's inside that are contiguous in both memories:
/// (shared offset, global address, bytes).
template <typename Visit>
static void forEachPiece(const TensorMap &map, const BoxRow &row,
                         uint32_t sharedOffset, Visit visit) {
  uint32_t begin = row.first * map.elementBytes;
  uint32_t end = begin + row.count * map.elementBytes;
  for (uint32_t at = begin; at < end;) {
    uint32_t next = std::min(end, (at / 16 + 1) * 16);
    visit(swizzled(sharedOffset + row.offset + at, map.swizzle),
          row.global + (at - begin), next - at);
    at = next;
  }
}

//===----------------------------------------------------------------------===//
// Doing the work
//===----------------------------------------------------------------------===//

template <typename Word, typename Add>
static void addAtomically(void *address, Add add) {
  Word *word = static_cast<Word *>(address);
  Word old = __atomic_load_n(word, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(word, &old, add(old), true,
                                      __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
}

static void addElements(uint8_t *global, const uint8_t *shared, uint32_t bytes,
                        uint32_t type) {
  uint32_t size = type == MOE_EMU_BF16 || type == MOE_EMU_F16 ? 2 : 4;
  for (uint32_t i = 0; i < bytes; i += size) {
    uint32_t value = 0;
    std::memcpy(&value, shared + i, size);
    switch (type) {
    case MOE_EMU_S32:
      addAtomically<uint32_t>(global + i,
                              [&](uint32_t old) { return old + value; });
      break;
    case MOE_EMU_F32:
      addAtomically<uint32_t>(global + i, [&](uint32_t old) {
        return bitsOf(floatOf(old) + floatOf(value));
      });
      break;
    case MOE_EMU_BF16:
      addAtomically<uint16_t>(global + i, [&](uint16_t old) {
        return bfloatOf(fromBfloat(old) + fromBfloat(uint16_t(value)));
      });
      break;
    default:
      addAtomically<uint16_t>(global + i, [&](uint16_t old) {
        return halfOf(fromHalf(old) + fromHalf(uint16_t(value)));
      });
    }
  }
}

static SharedRef refOf(const Machine &machine, const uint8_t *shared) {
  uint64_t offset = uint64_t(shared - machine.arena);
  return {uint32_t(offset / kArenaBytes), uint32_t(offset % kArenaBytes)};
}

static void performLoad(Machine &machine, AsyncWork &work) {
  uint32_t offset = refOf(machine, work.shared).offset;
  for (uint32_t block = 0; block < machine.launch->cluster; ++block) {
    if (!(work.blocks >> block & 1))
      continue;
    uint8_t *base = machine.at({block, 0});
    if (work.kind == AsyncWork::BulkLoad) {
      std::memcpy(base + offset, work.global, work.bytes);
    } else {
      const TensorMap &map = *work.map;
      std::memset(base + offset, 0, work.bytes);
      forEachRow(map, work.coordinates, [&](const BoxRow &row) {
        forEachPiece(map, row, offset,
                     [&](uint32_t at, const uint8_t *global, uint32_t bytes) {
                       std::memcpy(base + at, global, bytes);
                     });
      });
    }
    MBarrier &barrier = *work.mbarriers[block];
    if (machine.check) {
      machine.settle({block, offset}, work.bytes, work.stamps[block],
                     work.stamps[block]);
      barrier.clocks.raise(&machine.clocks, barrier.agent,
                           work.stamps[block] & machine.epochMask());
    }
    barrier.inFlight -= work.bytes;
    barrier.bytes -= work.bytes;
    machine.completeIfDone(barrier, *work.owner, work.site);
  }
}

static void performStore(Machine &machine, AsyncWork &work) {
  if (work.kind == AsyncWork::BulkStore) {
    std::memcpy(work.global, work.shared, work.bytes);
    return;
  }
  SharedRef ref = refOf(machine, work.shared);
  const uint8_t *base = machine.at({ref.block, 0});
  forEachRow(*work.map, work.coordinates, [&](const BoxRow &row) {
    forEachPiece(*work.map, row, ref.offset,
                 [&](uint32_t at, uint8_t *global, uint32_t bytes) {
                   if (work.reduce)
                     addElements(global, base + at, bytes, work.reduceType);
                   else
                     std::memcpy(global, base + at, bytes);
                 });
  });
}

void Machine::perform(AsyncWork &work) {
  switch (work.kind) {
  case AsyncWork::TensorLoad:
  case AsyncWork::BulkLoad:
    return performLoad(*this, work);
  case AsyncWork::TensorStore:
  case AsyncWork::BulkStore:
    return performStore(*this, work);
  case AsyncWork::Arrive:
    break;
  }
  MBarrier &barrier = *work.mbarriers[0];
  // Only who waits at the mbarrier, or the owner for its groups, knows that
  // the copies have landed: they get a stamp of the mbarrier's agent.
  uint32_t stamp = check ? nextStamp(barrier.agent) : 0;
  for (AsyncCopy &copy : work.copies) {
    copy.land();
    settle(copy, stamp);
  }
  if (check) {
    barrier.clocks.add(work.seen, work.owner->index, work.stamp);
    barrier.clocks.raise(&clocks, barrier.agent, stamp & epochMask());
    work.owner->landed(stamp, epochMask());
  }
  --work.owner->copyArrivals;
  if (!barrier.pending) {
    report(FindingKind::BarrierMisuse, *work.owner, work.site, barrier.offset,
           "cp.async.mbarrier.arrive at the mbarrier at shared+0x%x, whose "
           "phase awaits no more of %u",
           barrier.offset, barrier.count);
    return;
  }
  --barrier.pending;
  completeIfDone(barrier, *work.owner, work.site);
}

//===----------------------------------------------------------------------===//
// Issue
//===----------------------------------------------------------------------===//

static const TensorMap &mapAt(Fiber &fiber, const void *address, uint32_t rank,
                              const char *site) {
  Machine &machine = *fiber.machine;
  if (uintptr_t(address) % 64)
    machine.fatal(FindingKind::Misaligned, fiber, site, uintptr_t(address),
                  "a tensor map must be aligned to 64 bytes");
  if (!machine.isShared(address))
    machine.checkGlobal(fiber, address, 128, false, site, "tensor map");
  const TensorMap &map = *static_cast<const TensorMap *>(address);
  if (map.magic != TensorMap::kMagic)
    machine.fatal(FindingKind::InvalidDescriptor, fiber, site,
                  uintptr_t(address), "there is no tensor map at %p", address);
  if (map.rank != rank)
    machine.fatal(FindingKind::InvalidDescriptor, fiber, site,
                  uintptr_t(address),
                  "%u coordinates for a tensor map of rank %u", rank, map.rank);
  return map;
}

/// Checks the tensor's memory that the box covers.
static void checkBox(Fiber &fiber, const TensorMap &map,
                     const int32_t *coordinates, bool write, const char *site,
                     const char *what) {
  forEachRow(map, coordinates, [&](const BoxRow &row) {
    if (row.global)
      fiber.machine->checkGlobal(fiber, row.global,
                                 uint64_t(row.count) * map.elementBytes, write,
                                 site, what);
  });
}

static void issueLoad(Fiber &fiber, AsyncWork work, void *shared,
                      void *mbarrier, uint32_t blocks, uint32_t align,
                      const char *site, const char *what) {
  Machine &machine = *fiber.machine;
  SharedRef ref = machine.locate(fiber, shared, work.bytes, align, site, what);
  SharedRef barrierRef = machine.locate(fiber, mbarrier, 8, 8, site, what);
  if (blocks >> machine.launch->cluster)
    machine.fatal(FindingKind::OutOfBoundsShared, fiber, site, ref.offset,
                  "%s to blocks 0x%x of a cluster of %u", what, blocks,
                  machine.launch->cluster);
  if (!blocks && barrierRef.block != ref.block)
    machine.fatal(FindingKind::BarrierMisuse, fiber, site, barrierRef.offset,
                  "%s into block %u of the cluster signals an mbarrier in "
                  "block %u",
                  what, ref.block, barrierRef.block);
  work.owner = &fiber;
  work.site = site;
  work.shared = static_cast<uint8_t *>(shared);
  work.blocks = blocks ? blocks : 1u << ref.block;
  for (uint32_t block = 0; block < machine.launch->cluster; ++block) {
    if (!(work.blocks >> block & 1))
      continue;
    MBarrier &barrier = machine.mbarrierAt(
        fiber, machine.at({block, barrierRef.offset}), site, what);
    work.mbarriers[block] = &barrier;
    barrier.inFlight += work.bytes;
    if (!machine.check)
      continue;
    Actor actor = machine.actor(fiber);
    actor.stamp = work.stamps[block] = machine.nextStamp(barrier.agent);
    machine.writeShared(fiber, actor, {block, ref.offset}, work.bytes,
                        kAsyncWriter | kPendingWrite, site, what);
  }
  machine.enqueue(std::move(work));
}

static void issueStore(Fiber &fiber, AsyncWork work, const void *shared,
                       uint32_t align, const char *site, const char *what) {
  Machine &machine = *fiber.machine;
  SharedRef ref = machine.locate(fiber, shared, work.bytes, align, site, what);
  if (ref.block != fiber.block)
    machine.fatal(FindingKind::OutOfBoundsShared, fiber, site, ref.offset,
                  "%s from shared memory of another block", what);
  work.owner = &fiber;
  work.site = site;
  work.group = fiber.bulkGroups;
  work.shared = static_cast<uint8_t *>(const_cast<void *>(shared));
  if (machine.check) {
    machine.readShared(fiber, machine.actor(fiber), ref, work.bytes, true, site,
                       what);
    Cell *cell = machine.cells(ref);
    for (uint32_t i = 0; i < work.bytes / 2; ++i)
      ++cell[i].bulkReads;
  }
  fiber.bulkReads.push_back(
      {fiber.bulkGroups, ref.block, ref.offset, work.bytes, site});
  machine.enqueue(std::move(work));
}

static AsyncWork tensorWork(AsyncWork::Kind kind, const TensorMap &map,
                            const int32_t *coordinates) {
  AsyncWork work;
  work.kind = kind;
  work.map = &map;
  work.bytes = map.boxBytes();
  std::copy_n(coordinates, map.rank, work.coordinates);
  return work;
}

} // namespace moe::emu

using namespace moe::emu;

extern "C" {

void moe_emu_tma_load(moe_emu_thread *thread, void *shared, const void *map,
                      void *mbarrier, uint32_t rank, const int32_t *coordinates,
                      uint32_t blocks, const char *site) {
  Fiber &fiber = fiberOf(thread);
  const TensorMap &tensor = mapAt(fiber, map, rank, site);
  checkBox(fiber, tensor, coordinates, false, site, "TMA load");
  issueLoad(fiber, tensorWork(AsyncWork::TensorLoad, tensor, coordinates),
            shared, mbarrier, blocks, 128, site, "TMA load");
}

void moe_emu_tma_store(moe_emu_thread *thread, const void *map,
                       const void *shared, uint32_t rank,
                       const int32_t *coordinates, const char *site) {
  Fiber &fiber = fiberOf(thread);
  const TensorMap &tensor = mapAt(fiber, map, rank, site);
  checkBox(fiber, tensor, coordinates, true, site, "TMA store");
  issueStore(fiber, tensorWork(AsyncWork::TensorStore, tensor, coordinates),
             shared, 128, site, "TMA store");
}

void moe_emu_tma_reduce_add(moe_emu_thread *thread, const void *map,
                            const void *shared, uint32_t rank,
                            const int32_t *coordinates, uint32_t type,
                            const char *site) {
  Fiber &fiber = fiberOf(thread);
  const TensorMap &tensor = mapAt(fiber, map, rank, site);
  uint32_t size = type == MOE_EMU_BF16 || type == MOE_EMU_F16 ? 2 : 4;
  if (tensor.elementBytes != size)
    fiber.machine->fatal(FindingKind::InvalidDescriptor, fiber, site, 0,
                         "TMA reduction of %u-byte elements in a tensor of "
                         "%u-byte elements",
                         size, tensor.elementBytes);
  checkBox(fiber, tensor, coordinates, true, site, "TMA reduction");
  AsyncWork work = tensorWork(AsyncWork::TensorStore, tensor, coordinates);
  work.reduce = true;
  work.reduceType = uint8_t(type);
  issueStore(fiber, std::move(work), shared, 128, site, "TMA reduction");
}

/// Work of a copy without a tensor map.
static AsyncWork bulkWork(Fiber &fiber, AsyncWork::Kind kind,
                          const void *global, uint32_t bytes,
                          const char *site) {
  Machine &machine = *fiber.machine;
  if (bytes % 16 || uintptr_t(global) % 16)
    machine.fatal(FindingKind::Misaligned, fiber, site, uintptr_t(global),
                  "bulk copy of %u bytes at %p: both must be multiples of 16",
                  bytes, global);
  machine.checkGlobal(fiber, global, bytes, kind == AsyncWork::BulkStore, site,
                      "bulk copy");
  AsyncWork work;
  work.kind = kind;
  work.bytes = bytes;
  work.global = static_cast<uint8_t *>(const_cast<void *>(global));
  return work;
}

void moe_emu_bulk_load(moe_emu_thread *thread, void *shared, const void *global,
                       uint32_t bytes, void *mbarrier, uint32_t blocks,
                       const char *site) {
  Fiber &fiber = fiberOf(thread);
  issueLoad(fiber, bulkWork(fiber, AsyncWork::BulkLoad, global, bytes, site),
            shared, mbarrier, blocks, 16, site, "bulk copy");
}

void moe_emu_bulk_store(moe_emu_thread *thread, void *global,
                        const void *shared, uint32_t bytes, const char *site) {
  Fiber &fiber = fiberOf(thread);
  issueStore(fiber, bulkWork(fiber, AsyncWork::BulkStore, global, bytes, site),
             shared, 16, site, "bulk copy");
}

void moe_emu_bulk_commit(moe_emu_thread *thread, const char *) {
  ++fiberOf(thread).bulkGroups;
}

void moe_emu_bulk_wait(moe_emu_thread *thread, uint32_t pending, uint32_t,
                       const char *) {
  Fiber &fiber = fiberOf(thread);
  Machine &machine = *fiber.machine;
  if (fiber.bulkGroups <= pending)
    return;
  uint32_t end = fiber.bulkGroups - pending;
  machine.performIf([&](const AsyncWork &work) {
    return work.owner == &fiber && work.group < end &&
           (work.kind == AsyncWork::TensorStore ||
            work.kind == AsyncWork::BulkStore);
  });
  size_t done = 0;
  for (const BulkRead &read : fiber.bulkReads) {
    if (read.group >= end)
      break;
    ++done;
    if (!machine.check)
      continue;
    Cell *cell = machine.cells({read.block, read.offset});
    for (uint32_t i = 0; i < read.bytes / 2; ++i)
      --cell[i].bulkReads;
  }
  fiber.bulkReads.erase(fiber.bulkReads.begin(),
                        fiber.bulkReads.begin() + done);
}

} // extern "C"
