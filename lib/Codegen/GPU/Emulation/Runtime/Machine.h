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

#include "Clock.h"
#include "Fiber.h"

#include "moe/Codegen/GPU/Emulation/Launch.h"
#include "moe/Codegen/GPU/Emulation/Operations.h"

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>

namespace moe::emu {

/// Distance of two blocks' shared memory, and its alignment: matrix
/// descriptors hold 18 bits of an address.
constexpr uint32_t kArenaBytes = 1u << 18;
/// What a block may use on the largest GPU.
constexpr uint32_t kMaxShared = 227 * 1024;
constexpr uint32_t kMaxCluster = 16;
constexpr uint32_t kMaxThreads = 1024;
constexpr uint32_t kWarpgroup = 128;
constexpr uint32_t kBarriers = 16;

class Machine;

//===----------------------------------------------------------------------===//
// Launch
//===----------------------------------------------------------------------===//

/// Global memory that the kernel may use, ascending by address.
struct Range {
  uintptr_t begin, end;
  bool writable;
  std::string name;
};

/// Shared by the machines of one launch.
struct LaunchState {
  explicit LaunchState(const LaunchConfig &config) : config(config) {}

  const LaunchConfig &config;
  std::vector<Range> ranges;
  uint32_t threads = 0;     // of a block
  uint32_t cluster = 1;     // blocks
  uint32_t sharedBytes = 0; // of a block
  uint64_t clusters = 0;
  std::atomic<uint64_t> next{0};
  std::atomic<bool> stop{false};

  /// Keeps one finding per kind and location, of the lowest block.
  void add(Finding finding);

  /// Blocks ascending, those of a block as they were found.
  std::vector<Finding> findings;

private:
  std::mutex mutex;
};

//===----------------------------------------------------------------------===//
// Threads
//===----------------------------------------------------------------------===//

enum class Wait : uint8_t {
  None,
  Warp,
  Barrier,
  ClusterBarrier,
  MBarrier,
  Warpgroup,
  Exited
};
constexpr unsigned kWaitKinds = 7;

/// A cp.async that was issued and not yet waited for.
struct AsyncCopy {
  uint8_t *shared;
  const uint8_t *global;
  const char *site;
  uint32_t stamp; // of the cells that it writes
  uint32_t group;
  uint8_t bytes, sourceBytes;
  bool landed;

  void land() {
    if (landed)
      return;
    if (sourceBytes)
      std::memcpy(shared, global, sourceBytes);
    std::memset(shared + sourceBytes, 0, bytes - sourceBytes);
    landed = true;
  }
};

/// The shared memory that a bulk store reads until its group is waited for.
struct BulkRead {
  uint32_t group;
  uint32_t block, offset, bytes;
  const char *site;
};

struct Fiber {
  moe_emu_thread thread; // first: operations get a pointer to it
  Machine *machine;
  StackContext context;
  uint8_t *stack;
  const char *waitSite;
  Wait wait;
  uint32_t index; // in the cluster
  uint32_t block; // rank in the cluster
  uint32_t local; // in the block

  ClockRef seen;
  uint32_t epoch;

  uint32_t lastRange;
  uint32_t atomicRun;

  std::vector<AsyncCopy> copies;
  uint32_t copyGroups;
  uint32_t copyArrivals; // pending cp.async.mbarrier.arrive
  /// Latest stamp per agent of copies whose arrival is done.
  std::vector<uint32_t> landedStamps;

  std::vector<BulkRead> bulkReads;
  uint32_t bulkGroups;

  uint32_t wgmmaGroups, wgmmaWaited;
  bool wgmmaOpen; // issued, not committed
  const char *wgmmaSite;

  uint64_t clusterPhase;
  bool clusterArrived;

  uint64_t barrierGeneration; // of the barrier that it waits for
  uint32_t barrierResult;

  void landed(uint32_t stamp, uint32_t epochMask) {
    for (uint32_t &old : landedStamps)
      if ((old ^ stamp) <= epochMask) {
        old = stamp;
        return;
      }
    landedStamps.push_back(stamp);
  }
};

inline Fiber &fiberOf(moe_emu_thread *thread) {
  return *reinterpret_cast<Fiber *>(thread);
}

//===----------------------------------------------------------------------===//
// Collectives
//===----------------------------------------------------------------------===//

enum class WarpOp : uint8_t {
  Sync,
  Shfl,
  Vote,
  MatchAny,
  MatchAll,
  Redux,
  Elect,
  Ldmatrix,
  Stmatrix,
  Mma
};

/// What a lane brings to a warp operation, and its result.
struct LaneArgs {
  const void *a, *b, *c;
  void *out;
  uint64_t value;
  uint32_t offset, clamp;
  uint32_t result, flag;
};

/// Lanes of a warp that wait for each other.
struct Rendezvous {
  uint32_t mask, arrived;
  WarpOp op;
  uint32_t variant;
  const char *site;
};

struct Warp {
  Fiber *lanes;     // of lane 0
  uint32_t present; // mask of lanes that exist
  uint32_t exited;
  std::vector<Rendezvous> pending;
  LaneArgs args[32];
};

struct BlockBarrier {
  struct WarpArrivals {
    uint64_t generation;
    uint32_t count;
    const char *site;
  };
  uint32_t arrived = 0, need = 0, votes = 0;
  uint64_t generation = 0;
  std::vector<Fiber *> waiters;
  std::vector<WarpArrivals> warps;
  ClockSum clocks;
};

struct ClusterBarrier {
  uint32_t arrived = 0;
  uint32_t gone = 0; // arrived, then exited without waiting
  uint64_t phase = 0;
  std::vector<Fiber *> waiters;
  ClockSum clocks;
  ClockRef published;
};

struct Warpgroup {
  struct Args {
    const uint32_t *a;
    const float *in;
    float *out;
  };
  uint32_t arrived = 0;
  uint32_t type = 0, n = 0, flags = 0;
  uint32_t agent = 0;
  bool aInRegisters = false;
  uint64_t descriptorA = 0, descriptorB = 0;
  const char *site = nullptr;
  Args args[kWarpgroup];
};

struct MBarrier {
  const uint8_t *address = nullptr;
  uint32_t block = 0, offset = 0;
  bool valid = false;
  uint32_t count = 0, pending = 0;
  int64_t bytes = 0; // expected minus arrived, of the phase
  uint64_t phase = 0;
  int64_t inFlight = 0; // bytes of issued copies that signal it
  uint32_t agent = 0;   // of the copies, in clocks
  uint32_t initStamp = 0;
  const char *site = ""; // of the initialisation
  ClockSum clocks;
  ClockRef published;
  std::vector<Fiber *> waiters;
};

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

struct SharedRef {
  uint32_t block, offset;
};

/// What is known of two bytes of shared memory. Epochs are packed as
/// (thread or agent) << shift | epoch; 0 is none.
struct Cell {
  uint32_t writer;
  uint32_t readers[2];
  uint16_t bulkReads;
  uint16_t flags;
};
enum : uint16_t {
  kAsyncWriter = 1, // last written through the async proxy
  kAtomicWriter = 2,
  kPendingWrite = 4, // a copy in flight will write it
};

/// Who accesses memory.
struct Actor {
  const Clock *seen;
  uint32_t self; // entry that is always up to date, or ~0u
  uint32_t stamp;
};

//===----------------------------------------------------------------------===//
// Asynchronous work
//===----------------------------------------------------------------------===//

struct TensorMap;

/// Work that the machine does when the schedule says so.
struct AsyncWork {
  enum Kind : uint8_t { TensorLoad, BulkLoad, TensorStore, BulkStore, Arrive };
  Kind kind;
  bool reduce = false;
  uint8_t reduceType = 0;
  Fiber *owner = nullptr;
  const char *site = "";
  uint32_t group = 0;           // of stores
  uint32_t bytes = 0;           // per receiving block
  uint32_t blocks = 0;          // mask of receiving blocks
  uint32_t stamps[kMaxCluster]; // of the written cells
  uint32_t stamp = 0;           // of an arrival: the owner's epoch
  ClockRef seen;                // of an arrival
  uint8_t *shared = nullptr;
  uint8_t *global = nullptr;
  const TensorMap *map = nullptr;
  int32_t coordinates[5] = {0, 0, 0, 0, 0};
  MBarrier *mbarriers[kMaxCluster];
  std::vector<AsyncCopy> copies; // of an arrival
};

//===----------------------------------------------------------------------===//
// Machine
//===----------------------------------------------------------------------===//

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
