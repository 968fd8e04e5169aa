//===- State.h - What a cluster in execution consists of ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CODEGEN_GPU_EMULATION_RUNTIME_STATE_H
#define MOE_CODEGEN_GPU_EMULATION_RUNTIME_STATE_H

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

} // namespace moe::emu

#endif // MOE_CODEGEN_GPU_EMULATION_RUNTIME_STATE_H
