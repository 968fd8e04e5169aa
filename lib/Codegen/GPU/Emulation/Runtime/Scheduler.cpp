//===- Scheduler.cpp - Turns of the threads of a cluster ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A thread runs until it must wait, then switches straight to the next one
// that is ready. When none is, pending asynchronous work is done; when there
// is none either, the cluster has finished or is stuck.
//
//===----------------------------------------------------------------------===//

#include "Machine.h"

#include <sys/mman.h>

namespace moe::emu {

/// Turns per thread in which all only polled before they count as stuck.
static constexpr uint64_t kMaxIdleTurns = 2048;
/// Checked accesses of one turn before the thread counts as stuck.
static constexpr uint64_t kMaxAccesses = 1ull << 25;
/// Different mbarriers of a block that the race detector tells apart.
static constexpr uint32_t kMBarrierAgents = 32;

//===----------------------------------------------------------------------===//
// Preparation
//===----------------------------------------------------------------------===//

Machine::~Machine() {
  for (uint8_t *stack : stacks)
    freeStack(stack);
  if (mapping)
    munmap(mapping, mappedBytes);
}

bool Machine::prepare(LaunchState &launchState) {
  launch = &launchState;
  const LaunchConfig &config = launch->config;
  check = config.check;
  schedule = config.schedule;
  switches = macs = 0;
  known.clear();

  size_t bytes = (launch->cluster + 1) * size_t(kArenaBytes);
  if (bytes > mappedBytes) {
    if (mapping)
      munmap(mapping, mappedBytes);
    mapping = nullptr;
    mappedBytes = 0;
    // Shared addresses are 32-bit integers in the code.
    void *memory =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_32BIT, -1, 0);
    if (memory == MAP_FAILED)
      return false;
    mapping = static_cast<uint8_t *>(memory);
    mappedBytes = bytes;
    uintptr_t start =
        (uintptr_t(mapping) + kArenaBytes - 1) & ~uintptr_t(kArenaBytes - 1);
    arena = reinterpret_cast<uint8_t *>(start);
  }

  uint32_t threads = launch->threads;
  uint32_t blocks = launch->cluster;
  launchFibers = threads * blocks;
  while (stacks.size() < launchFibers) {
    uint8_t *stack = allocateStack();
    if (!stack)
      return false;
    stacks.push_back(stack);
  }

  warpsPerBlock = (threads + 31) / 32;
  groupsPerBlock = (threads + kWarpgroup - 1) / kWarpgroup;
  agents = (groupsPerBlock + kMBarrierAgents) * blocks;
  uint32_t bits = 1;
  while ((launchFibers + agents) >> bits)
    ++bits;
  epochBits = 32 - bits;
  clocks.reset(launchFibers + agents);

  fibers.resize(launchFibers);
  warps.resize(warpsPerBlock * blocks);
  warpgroups.resize(groupsPerBlock * blocks);
  barriers.resize(kBarriers * blocks);
  liveInBlock.resize(blocks);
  uint32_t size = 1;
  while (size < launchFibers + 1)
    size *= 2;
  ready.assign(size, nullptr);
  readyMask = size - 1;
  cellsPerBlock = launch->sharedBytes / 2 + 1;
  return true;
}

void Machine::finish() {
  for (Fiber &fiber : fibers) {
    fiber.seen = ClockRef();
    fiber.copies.clear();
    fiber.landedStamps.clear();
    fiber.bulkReads.clear();
  }
  for (BlockBarrier &barrier : barriers) {
    barrier.clocks.take();
    barrier.waiters.clear();
  }
  clusterBarrier = ClusterBarrier();
  for (uint32_t i = 0; i < mbarrierCount; ++i)
    *mbarriers[i] = MBarrier();
  mbarrierCount = 0;
  queue.clear();
  wgmmaClock = ClockRef();
  clocks.reset(launchFibers + agents);
}

void Machine::startCluster(uint64_t cluster) {
  const LaunchConfig &config = launch->config;
  finish();
  rng = (config.seed + 1) * 0x9E3779B97F4A7C15ull ^
        (cluster + 1) * 0xD1B54A32D192ED03ull;
  rng = rng ? rng : 1;
  for (int i = 0; i < 4; ++i)
    random();
  agentEpochs.assign(agents, 0);
  readyHead = readyTail = 0;
  idleTurns = 0;
  accessBudget = kMaxAccesses;
  if (check)
    shadow.assign(cellsPerBlock * launch->cluster, Cell());
  for (BlockBarrier &barrier : barriers) {
    barrier.arrived = barrier.need = barrier.votes = 0;
    barrier.generation = 1;
    barrier.warps.assign(warpsPerBlock, {0, 0, ""});
  }
  for (uint32_t i = 0; i < warpgroups.size(); ++i) {
    warpgroups[i].arrived = 0;
    warpgroups[i].agent = launchFibers + i;
  }

  uint32_t across = config.grid[0] / launch->cluster;
  uint32_t x = uint32_t(cluster % across) * launch->cluster;
  uint64_t rest = cluster / across;
  uint32_t y = uint32_t(rest % config.grid[1]);
  uint32_t z = uint32_t(rest / config.grid[1]);
  ClockRef start = clocks.zero();
  for (uint32_t block = 0; block < launch->cluster; ++block) {
    uint8_t *shared = arena + uint64_t(block) * kArenaBytes;
    std::memset(shared, 0xFF, launch->sharedBytes);
    liveInBlock[block] = launch->threads;
    for (uint32_t i = 0; i < launch->threads; ++i) {
      uint32_t index = block * launch->threads + i;
      Fiber &fiber = fibers[index];
      moe_emu_thread &thread = fiber.thread;
      thread.tid[0] = i % config.block[0];
      thread.tid[1] = i / config.block[0] % config.block[1];
      thread.tid[2] = i / (config.block[0] * config.block[1]);
      std::copy_n(config.block, 3, thread.ntid);
      std::copy_n(config.grid, 3, thread.nctaid);
      thread.ctaid[0] = x + block;
      thread.ctaid[1] = y;
      thread.ctaid[2] = z;
      thread.laneid = i % 32;
      thread.warpid = i / 32;
      thread.shared = shared;
      thread.cluster_ctarank = block;
      thread.cluster_nctarank = launch->cluster;
      fiber.machine = this;
      fiber.stack = stacks[index];
      fiber.context = {prepareStack(fiber.stack, index, runFiber, &fiber),
                       fiber.stack, kStackBytes, nullptr};
      fiber.waitSite = "";
      fiber.index = index;
      fiber.block = block;
      fiber.local = i;
      fiber.seen = start;
      fiber.epoch = 1;
      fiber.lastRange = fiber.atomicRun = 0;
      fiber.copyGroups = fiber.copyArrivals = fiber.bulkGroups = 0;
      fiber.wgmmaGroups = fiber.wgmmaWaited = 0;
      fiber.wgmmaOpen = false;
      fiber.clusterPhase = 0;
      fiber.clusterArrived = false;
      wake(fiber);
    }
    for (uint32_t i = 0; i < warpsPerBlock; ++i) {
      Warp &warp = warps[block * warpsPerBlock + i];
      warp.lanes = &fibers[block * launch->threads + i * 32];
      uint32_t lanes = std::min(32u, launch->threads - i * 32);
      warp.present = lanes == 32 ? ~0u : (1u << lanes) - 1;
      warp.exited = 0;
      warp.pending.clear();
    }
  }
  live = launchFibers;
}

void Machine::runCluster(uint64_t cluster) {
  startCluster(cluster);
  Fiber *first = pickReady();
  ++switches;
  mainContext.bottom = nullptr;
  switchStack(mainContext, first->context, false);
  if (!launch->stop.load(std::memory_order_relaxed))
    endCluster();
}

/// All threads have exited, or none can go on.
void Machine::endCluster() {
  if (live) {
    reportDeadlock();
    launch->stop = true;
    return;
  }
  for (uint32_t i = 0; i < mbarrierCount; ++i) {
    const MBarrier &barrier = *mbarriers[i];
    if (!barrier.valid || barrier.bytes == 0)
      continue;
    report(FindingKind::TransactionCount,
           fibers[barrier.block * launch->threads], barrier.site,
           barrier.offset,
           "the block ends while its mbarrier at shared+0x%x %s %lld bytes",
           barrier.offset,
           barrier.bytes > 0 ? "still expects" : "has received unexpected",
           static_cast<long long>(std::abs(barrier.bytes)));
  }
}

//===----------------------------------------------------------------------===//
// Turns
//===----------------------------------------------------------------------===//

void Machine::runFiber(void *argument) {
  Fiber &fiber = *static_cast<Fiber *>(argument);
  // The first thread of a cluster is entered from the stack of the OS thread.
  StackContext &main = fiber.machine->mainContext;
  enteredStack(main.bottom ? nullptr : &main);
  const LaunchConfig &config = fiber.machine->launch->config;
  config.kernel->entry(&fiber.thread, config.params);
  fiber.machine->exitFiber(fiber);
}

/// The kernel's function has returned.
void Machine::exitFiber(Fiber &fiber) {
  for (const AsyncCopy &copy : fiber.copies)
    report(FindingKind::CopyInFlight, fiber, copy.site, 0,
           "the thread ends while a cp.async of it is not waited for");
  if (!fiber.bulkReads.empty())
    report(FindingKind::CopyInFlight, fiber, fiber.bulkReads.front().site,
           fiber.bulkReads.front().offset,
           "the thread ends while a bulk store of it is not waited for");
  if (fiber.wgmmaOpen || fiber.wgmmaWaited < fiber.wgmmaGroups)
    report(FindingKind::CopyInFlight, fiber, fiber.wgmmaSite, 0,
           "the thread ends while a wgmma of it is not waited for");
  fiber.wait = Wait::Exited;
  fiber.waitSite = "";
  idleTurns = 0;
  --live;
  if (--liveInBlock[fiber.block] == 0)
    for (const AsyncWork &work : queue)
      if (work.kind <= AsyncWork::BulkLoad && work.blocks >> fiber.block & 1)
        report(FindingKind::CopyInFlight, fiber, work.site, 0,
               "the block ends while a bulk copy into its shared memory is in "
               "flight");
  if (fiber.clusterArrived && fiber.clusterPhase == clusterBarrier.phase)
    ++clusterBarrier.gone;
  leaveWarp(fiber);
  releaseCluster();
  switchNext(fiber);
  __builtin_unreachable();
}

Fiber *Machine::pickReady() {
  if (schedule == Schedule::Random)
    std::swap(
        ready[readyHead & readyMask],
        ready[(readyHead + random() % (readyTail - readyHead)) & readyMask]);
  return ready[readyHead++ & readyMask];
}

/// Performs one piece of asynchronous work.
void Machine::runQueued() {
  size_t pick =
      schedule == Schedule::Random ? size_t(random() % queue.size()) : 0;
  AsyncWork work = std::move(queue[pick]);
  queue.erase(queue.begin() + pick);
  idleTurns = 0;
  perform(work);
}

void Machine::switchNext(Fiber &fiber) {
  if (schedule == Schedule::Random && !queue.empty() && random() % 16 == 0)
    runQueued();
  accessBudget = kMaxAccesses;
  while (readyHead == readyTail && !queue.empty())
    runQueued();
  StackContext *next = &mainContext;
  if (readyHead != readyTail) {
    Fiber *other = pickReady();
    if (other == &fiber)
      return;
    next = &other->context;
  }
  ++switches;
  switchStack(fiber.context, *next, fiber.wait == Wait::Exited);
}

void Machine::yield(Fiber &fiber, const char *site) {
  if (++idleTurns > kMaxIdleTurns * (launchFibers + 8))
    noProgress(fiber, site);
  // Polling threads must not keep asynchronous work from ever being done.
  if (!queue.empty() && idleTurns > launchFibers)
    runQueued();
  ready[readyTail++ & readyMask] = &fiber;
  fiber.waitSite = site;
  switchNext(fiber);
}

void Machine::noProgress(Fiber &fiber, const char *site) {
  fatal(FindingKind::Deadlock, fiber, site, 0,
        "the thread polls or loops without end; %s", waitCounts().text);
}

void Machine::leave(Fiber &fiber) {
  launch->stop = true;
  switchStack(fiber.context, mainContext, true);
  __builtin_unreachable();
}

} // namespace moe::emu

extern "C" {

void moe_emu_yield(moe_emu_thread *thread, const char *site) {
  moe::emu::Fiber &fiber = moe::emu::fiberOf(thread);
  fiber.machine->yield(fiber, site);
}

void moe_emu_trap(moe_emu_thread *thread, const char *site) {
  moe::emu::Fiber &fiber = moe::emu::fiberOf(thread);
  fiber.machine->fatal(moe::emu::FindingKind::Trap, fiber, site, 0,
                       "the kernel stopped itself");
}

} // extern "C"
