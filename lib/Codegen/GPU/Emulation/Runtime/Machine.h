//===- Machine.h - A cluster of blocks in execution -----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A machine runs one cluster at a time on one OS thread: it owns the arenas of
// shared memory, the stacks and all state of barriers, warps and asynchronous
// work. Nothing here is shared between OS threads but LaunchState.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CODEGEN_GPU_EMULATION_RUNTIME_MACHINE_H
#define MOE_CODEGEN_GPU_EMULATION_RUNTIME_MACHINE_H

#include "State.h"

namespace moe::emu {

class Machine {
public:
  Machine() = default;
  Machine(const Machine &) = delete;
  ~Machine();

  /// Makes ready for the clusters of a launch; false when memory is short.
  bool prepare(LaunchState &launchState);
  void runCluster(uint64_t cluster);
  /// Drops what refers to the launch.
  void finish();

  // Findings.
  __attribute__((format(printf, 6, 7))) void
  report(FindingKind kind, const Fiber &fiber, const char *site,
         uint64_t address, const char *format, ...);
  /// The same, and ends the grid.
  [[noreturn]] __attribute__((format(printf, 6, 7))) void
  fatal(FindingKind kind, Fiber &fiber, const char *site, uint64_t address,
        const char *format, ...);

  // Scheduling.
  void wake(Fiber &fiber) {
    fiber.wait = Wait::None;
    ready[readyTail++ & readyMask] = &fiber;
    idleTurns = 0;
  }
  void suspend(Fiber &fiber, Wait wait, const char *site) {
    fiber.wait = wait;
    fiber.waitSite = site;
    switchNext(fiber);
  }
  void yield(Fiber &fiber, const char *site);
  uint64_t random() {
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return rng;
  }
  [[noreturn]] void exitFiber(Fiber &fiber);

  // Clocks.
  uint32_t stamp(const Fiber &fiber) const {
    return pack(fiber.index, fiber.epoch);
  }
  uint32_t pack(uint32_t index, uint32_t epoch) const {
    return index << epochBits | (epoch & epochMask());
  }
  uint32_t indexOf(uint32_t stamp) const { return stamp >> epochBits; }
  uint32_t epochMask() const { return (1u << epochBits) - 1; }
  bool ordered(uint32_t stampBefore, const Actor &actor) const {
    uint32_t index = stampBefore >> epochBits;
    return stampBefore == 0 || index == actor.self ||
           actor.seen->seen()[index] >= (stampBefore & epochMask());
  }
  uint32_t agentCount() const { return agents; }
  Actor actor(const Fiber &fiber) const {
    return {fiber.seen.get(), fiber.index, stamp(fiber)};
  }
  /// Starts a new epoch, after what the thread did was published.
  void tick(Fiber &fiber) {
    if (fiber.epoch < epochMask())
      ++fiber.epoch;
  }
  void acquire(Fiber &fiber, const ClockRef &clock) {
    if (clock)
      fiber.seen = clocks.joined(fiber.seen, clock);
  }

  // Memory.
  bool isShared(const void *address) const {
    return uintptr_t(address) - uintptr_t(arena) <
           uint64_t(launch->cluster) * kArenaBytes;
  }
  /// Checks bounds and, if `align` is not 0, alignment; ends the grid.
  SharedRef locate(Fiber &fiber, const void *address, uint64_t bytes,
                   uint32_t align, const char *site, const char *what);
  uint8_t *at(SharedRef ref) const {
    return arena + uint64_t(ref.block) * kArenaBytes + ref.offset;
  }
  void readShared(const Fiber &fiber, const Actor &actor, SharedRef ref,
                  uint32_t bytes, bool async, const char *site,
                  const char *what);
  void writeShared(const Fiber &fiber, const Actor &actor, SharedRef ref,
                   uint32_t bytes, uint16_t flags, const char *site,
                   const char *what);
  /// Ends the grid when the access is not allowed.
  void checkGlobal(Fiber &fiber, const void *address, uint64_t bytes,
                   bool write, const char *site, const char *what);
  Cell *cells(SharedRef ref) {
    return shadow.data() + uint64_t(ref.block) * cellsPerBlock + ref.offset / 2;
  }
  void countAccess(Fiber &fiber, const char *site) {
    if (--accessBudget == 0)
      noProgress(fiber, site);
  }

  // Warps.
  Warp &warpOf(const Fiber &fiber) {
    return warps[fiber.block * warpsPerBlock + fiber.thread.warpid];
  }
  /// Waits for the lanes of `mask`; results are in the lane's arguments.
  void meet(Fiber &fiber, Warp &warp, WarpOp op, uint32_t variant,
            uint32_t mask, bool aligned, const char *site);
  /// Lanes that wait for an exiting one go on without it.
  void leaveWarp(Fiber &fiber);
  /// Completes the cluster barrier when all threads that are left arrived.
  void releaseCluster();

  // Asynchronous work.
  void enqueue(AsyncWork &&work);
  void perform(AsyncWork &work);
  /// Performs what `select` picks, in order.
  template <typename Select> void performIf(Select select) {
    for (size_t i = 0; i < queue.size();) {
      if (!select(queue[i])) {
        ++i;
        continue;
      }
      AsyncWork work = std::move(queue[i]);
      queue.erase(queue.begin() + i);
      perform(work);
    }
  }
  /// Ends the time in which nobody may touch what a copy writes.
  void settle(SharedRef ref, uint32_t bytes, uint32_t oldStamp,
              uint32_t newStamp);
  void settle(const AsyncCopy &copy, uint32_t newStamp);

  // mbarriers.
  MBarrier &newMBarrier(SharedRef ref);
  MBarrier &mbarrierAt(Fiber &fiber, const void *address, const char *site,
                       const char *what);
  void completeIfDone(MBarrier &barrier, const Fiber &fiber, const char *site);
  uint32_t nextStamp(uint32_t agent) {
    uint32_t &epoch = agentEpochs[agent - launchFibers];
    if (epoch < epochMask())
      ++epoch;
    return pack(agent, epoch);
  }

  LaunchState *launch = nullptr;
  bool check = false;
  Schedule schedule = Schedule::Late;
  uint64_t switches = 0, macs = 0;

  uint8_t *arena = nullptr;
  uint32_t launchFibers = 0; // threads of a cluster
  uint32_t warpsPerBlock = 0;
  uint32_t groupsPerBlock = 0; // warpgroups
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  std::vector<Warpgroup> warpgroups;
  std::vector<BlockBarrier> barriers;
  ClusterBarrier clusterBarrier;
  std::vector<uint32_t> liveInBlock;
  uint32_t live = 0;
  std::deque<AsyncWork> queue;
  ClockPool clocks;
  std::vector<std::unique_ptr<MBarrier>> mbarriers;
  uint32_t mbarrierCount = 0;
  /// Space for operands of wgmma, and the clock of its threads.
  std::vector<float> scratch;
  ClockRef wgmmaClock;

private:
  void switchNext(Fiber &fiber);
  Fiber *pickReady();
  void runQueued();
  [[noreturn]] void leave(Fiber &fiber);
  [[noreturn]] void noProgress(Fiber &fiber, const char *site);
  void reportDeadlock();
  bool reportDivergence();
  bool reportTransactions();
  /// Not a string: it may be on a stack that is given up.
  struct Text {
    char text[256];
  };
  Text waitCounts() const;
  void addFinding(FindingKind kind, const Fiber &fiber, const char *site,
                  uint64_t address, std::string message);
  void startCluster(uint64_t cluster);
  void endCluster();
  static void runFiber(void *fiber);

  std::vector<uint8_t *> stacks;
  uint8_t *mapping = nullptr;
  size_t mappedBytes = 0;
  std::vector<Fiber *> ready;
  uint32_t readyHead = 0, readyTail = 0, readyMask = 0;
  uint64_t idleTurns = 0;
  uint64_t accessBudget = 0;
  StackContext mainContext;
  uint64_t rng = 1;
  uint32_t epochBits = 16;
  std::vector<uint32_t> agentEpochs;
  uint32_t agents = 0;
  std::vector<Cell> shadow;
  uint64_t cellsPerBlock = 0;
  /// What was already found, to stay quick when every access is wrong.
  std::vector<std::pair<FindingKind, const char *>> known;
};

} // namespace moe::emu

#endif // MOE_CODEGEN_GPU_EMULATION_RUNTIME_MACHINE_H
