//===- Launch.h - Running emulated kernels --------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The emulator's runtime, free of LLVM. One fiber per GPU thread; the fibers
// of a cluster run on one OS thread, clusters of a grid on several. Warp and
// warpgroup collectives, barriers, asynchronous copies, TMA, mbarriers and
// wgmma have the semantics of the PTX ISA; what no program may rely on is
// chosen by the schedule. docs/GPU.md lists operations and checks.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CODEGEN_GPU_EMULATION_LAUNCH_H
#define MOE_CODEGEN_GPU_EMULATION_LAUNCH_H

#include "moe/Codegen/GPU/Emulation/EmulatedModule.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace moe::emu {

/// When asynchronous work completes: as late as is legal, at once, or at
/// random; Random also picks the next thread at random.
enum class Schedule { Late, Eager, Random };

/// A piece of global memory that a kernel may use.
struct MemoryRange {
  const void *begin = nullptr;
  uint64_t size = 0;
  bool writable = true;
  std::string name;
};

struct LaunchConfig {
  const moe_emu_kernel *kernel = nullptr;
  uint32_t grid[3] = {1, 1, 1};
  uint32_t block[3] = {1, 1, 1};
  uint32_t dynamicShared = 0;
  void **params = nullptr;

  /// Races, uninitialised and out-of-bounds accesses, alignment, fences.
  /// Deadlock, divergent collectives and misuse of barriers are always found.
  bool check = true;
  Schedule schedule = Schedule::Late;
  uint64_t seed = 1;
  /// OS threads that share the clusters of the grid; 0: one per CPU.
  uint32_t osThreads = 0;
  /// All global memory that may be touched, ascending, without overlap.
  /// Empty: global addresses are not checked.
  std::vector<MemoryRange> memory;
  /// What 16-bit words of global memory hold that nobody has written. A read of
  /// at least 4 bytes that has only such words is an uninitialised read.
  std::optional<uint16_t> unwritten;
};

enum class FindingKind {
  Race,
  UninitialisedRead,
  OutOfBoundsShared,
  OutOfBoundsGlobal,
  WriteToReadOnly,
  Misaligned,
  Deadlock,
  DivergentCollective,
  BarrierMisuse,     // over-arrival, use before init, wrong thread count
  TransactionCount,  // bytes of a phase other than expected
  MissingProxyFence, // generic writes read through the async proxy
  OverwriteInFlight, // of an operand that an unfinished wgmma still reads
  CopyInFlight,      // a thread ends with cp.async not waited for
  InvalidDescriptor, // wgmma or tensor map
  InvalidLaunch,     // shared memory, block size, cluster
  Trap,              // the kernel stopped itself
};

/// "race", "uninitialised-read", ...: one name per kind, stable.
const char *findingName(FindingKind kind);

struct Finding {
  FindingKind kind;
  std::string kernel;
  /// Location of the op in the source IR, e.g. "layers.0.mlp"; may be empty.
  std::string location;
  uint32_t block[3] = {0, 0, 0};
  uint32_t thread = 0;
  /// Offset in shared memory, or an address; 0 when there is none.
  uint64_t address = 0;
  std::string message;

  /// One line: "race: kernel gemm, block (0,0,0), thread 5, shared+0x40: ...".
  std::string toString() const;
};

struct LaunchReport {
  /// At most 32; one per (kind, location) pair.
  std::vector<Finding> findings;
  uint64_t switches = 0;
  uint64_t macs = 0;
};

/// Runs the kernel to its end, or to a finding after which it cannot go on.
/// Thread-safe; concurrent launches share nothing but global memory.
LaunchReport launch(const LaunchConfig &config);

/// Fills a CUtensorMap-sized (128 bytes, 64-byte aligned) descriptor that
/// `launch` understands, for a tiled tensor map. Sizes innermost first;
/// `strides` (bytes) has rank - 1 entries. `swizzle` is 0 (none), 1 (32 B),
/// 2 (64 B), 3 (128 B). Returns a message when the rules of
/// cuTensorMapEncodeTiled are broken.
std::optional<std::string>
encodeTensorMap(void *map, uint32_t elementBytes, uint32_t rank, void *base,
                const uint64_t *sizes, const uint64_t *strides,
                const uint32_t *box, uint32_t swizzle);

/// Name and address of every function `moe_emu_*`, for a JIT.
struct Symbol {
  const char *name;
  void *address;
};
const std::vector<Symbol> &runtimeSymbols();

} // namespace moe::emu

#endif // MOE_CODEGEN_GPU_EMULATION_LAUNCH_H
