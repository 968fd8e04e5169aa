//===- Barriers.cpp - Barriers of a block and of a cluster ----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Machine.h"

namespace moe::emu {

/// One thread's arrival. Returns the barrier if this completes it, with
/// the number of non-zero predicates in `votes`; else null.
static BlockBarrier *arrive(Machine &machine, Fiber &fiber, uint32_t id,
                            uint32_t count, bool predicate, const char *site) {
  uint32_t threads = machine.launch->threads;
  if (id >= kBarriers)
    machine.fatal(FindingKind::BarrierMisuse, fiber, site, 0,
                  "a block has barriers 0 to 15; %u is none", id);
  if (count % 32 || count > machine.warpsPerBlock * 32)
    machine.fatal(FindingKind::BarrierMisuse, fiber, site, 0,
                  "barrier %u for %u threads; the number must be a multiple "
                  "of 32 and at most the block's %u",
                  id, count, threads);
  uint32_t need = count ? std::min(count, threads) : threads;
  BlockBarrier &barrier = machine.barriers[fiber.block * kBarriers + id];
  if (barrier.arrived && barrier.need != need)
    machine.fatal(FindingKind::BarrierMisuse, fiber, site, 0,
                  "barrier %u for %u threads, while others wait at it for %u",
                  id, need, barrier.need);
  BlockBarrier::WarpArrivals &warp = barrier.warps[fiber.thread.warpid];
  if (warp.generation != barrier.generation || !warp.count) {
    warp = {barrier.generation, 0, site};
  } else if (warp.site != site) {
    machine.fatal(FindingKind::DivergentCollective, fiber, site, 0,
                  "other lanes of the warp are at barrier %u elsewhere%s%s", id,
                  *warp.site ? ": " : "", warp.site);
  }
  uint32_t lanes = __builtin_popcount(machine.warpOf(fiber).present);
  if (++warp.count > lanes)
    machine.fatal(FindingKind::BarrierMisuse, fiber, site, 0,
                  "the warp arrives twice at barrier %u before it completes",
                  id);
  barrier.need = need;
  barrier.votes += predicate;
  if (machine.check)
    barrier.clocks.add(fiber.seen, fiber.index, fiber.epoch);
  if (++barrier.arrived < need)
    return nullptr;
  return &barrier;
}

/// Lets all go who wait. `last`, if not null, leaves the barrier too.
static void complete(Machine &machine, BlockBarrier &barrier, Fiber *last) {
  ClockRef all = barrier.clocks.take();
  for (Fiber *waiter : barrier.waiters) {
    waiter->barrierResult = barrier.votes;
    if (machine.check) {
      waiter->seen = all;
      machine.tick(*waiter);
    }
    machine.wake(*waiter);
  }
  if (last) {
    last->barrierResult = barrier.votes;
    if (machine.check) {
      last->seen = all;
      machine.tick(*last);
    }
  }
  barrier.waiters.clear();
  barrier.arrived = barrier.votes = 0;
  ++barrier.generation;
}

static void synchronise(Fiber &fiber, uint32_t id, uint32_t count,
                        bool predicate, const char *site) {
  Machine &machine = *fiber.machine;
  if (BlockBarrier *barrier =
          arrive(machine, fiber, id, count, predicate, site)) {
    complete(machine, *barrier, &fiber);
    return;
  }
  BlockBarrier &barrier = machine.barriers[fiber.block * kBarriers + id];
  barrier.waiters.push_back(&fiber);
  fiber.barrierGeneration = barrier.generation;
  machine.suspend(fiber, Wait::Barrier, site);
}

void Machine::releaseCluster() {
  ClusterBarrier &barrier = clusterBarrier;
  if (!barrier.arrived || barrier.arrived < live + barrier.gone)
    return;
  barrier.arrived = barrier.gone = 0;
  ++barrier.phase;
  if (check)
    barrier.published = barrier.clocks.take();
  for (Fiber *waiter : barrier.waiters)
    wake(*waiter);
  barrier.waiters.clear();
}

} // namespace moe::emu

using namespace moe::emu;

extern "C" {

void moe_emu_barrier_sync(moe_emu_thread *thread, uint32_t id, uint32_t count,
                          const char *site) {
  synchronise(fiberOf(thread), id, count, false, site);
}

uint32_t moe_emu_barrier_reduce(moe_emu_thread *thread, uint32_t id,
                                uint32_t count, uint32_t op, uint32_t predicate,
                                const char *site) {
  Fiber &fiber = fiberOf(thread);
  synchronise(fiber, id, count, predicate != 0, site);
  uint32_t threads = fiber.machine->launch->threads;
  uint32_t all = count ? std::min(count, threads) : threads;
  switch (op) {
  case MOE_EMU_BARRIER_POPC:
    return fiber.barrierResult;
  case MOE_EMU_BARRIER_AND:
    return fiber.barrierResult == all;
  default:
    return fiber.barrierResult != 0;
  }
}

void moe_emu_barrier_arrive(moe_emu_thread *thread, uint32_t id, uint32_t count,
                            const char *site) {
  Fiber &fiber = fiberOf(thread);
  Machine &machine = *fiber.machine;
  BlockBarrier *barrier = arrive(machine, fiber, id, count, false, site);
  machine.tick(fiber);
  if (barrier)
    complete(machine, *barrier, nullptr);
}

void moe_emu_cluster_arrive(moe_emu_thread *thread, const char *site) {
  Fiber &fiber = fiberOf(thread);
  Machine &machine = *fiber.machine;
  ClusterBarrier &barrier = machine.clusterBarrier;
  if (fiber.clusterArrived)
    machine.fatal(FindingKind::BarrierMisuse, fiber, site, 0,
                  "a second barrier.cluster.arrive before the wait");
  fiber.clusterArrived = true;
  fiber.clusterPhase = barrier.phase;
  if (machine.check) {
    barrier.clocks.add(fiber.seen, fiber.index, fiber.epoch);
    machine.tick(fiber);
  }
  ++barrier.arrived;
  machine.releaseCluster();
}

void moe_emu_cluster_wait(moe_emu_thread *thread, const char *site) {
  Fiber &fiber = fiberOf(thread);
  Machine &machine = *fiber.machine;
  ClusterBarrier &barrier = machine.clusterBarrier;
  if (!fiber.clusterArrived)
    machine.fatal(FindingKind::BarrierMisuse, fiber, site, 0,
                  "barrier.cluster.wait without an arrive");
  if (fiber.clusterPhase == barrier.phase) {
    barrier.waiters.push_back(&fiber);
    machine.suspend(fiber, Wait::ClusterBarrier, site);
  }
  fiber.clusterArrived = false;
  if (machine.check)
    machine.acquire(fiber, barrier.published);
}

void *moe_emu_mapa(moe_emu_thread *thread, const void *address, uint32_t rank,
                   const char *site) {
  Fiber &fiber = fiberOf(thread);
  Machine &machine = *fiber.machine;
  if (rank >= machine.launch->cluster)
    machine.fatal(FindingKind::OutOfBoundsShared, fiber, site, 0,
                  "mapa of block %u in a cluster of %u", rank,
                  machine.launch->cluster);
  SharedRef ref = machine.locate(fiber, address, 0, 0, site, "mapa");
  return machine.at({rank, ref.offset});
}

} // extern "C"
