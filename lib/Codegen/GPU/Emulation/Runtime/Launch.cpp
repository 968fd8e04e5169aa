//===- Launch.cpp - Grids over OS threads ---------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Machine.h"

#include <thread>

namespace moe::emu {

//===----------------------------------------------------------------------===//
// Machines between launches
//===----------------------------------------------------------------------===//

namespace {

/// Stacks and shared memory are kept: mapping them costs more than a small
/// kernel runs.
class Pool {
public:
  std::unique_ptr<Machine> take() {
    std::lock_guard<std::mutex> lock(mutex);
    if (free.empty())
      return std::make_unique<Machine>();
    std::unique_ptr<Machine> machine = std::move(free.back());
    free.pop_back();
    return machine;
  }

  void give(std::unique_ptr<Machine> machine) {
    std::lock_guard<std::mutex> lock(mutex);
    if (free.size() < kMost)
      free.push_back(std::move(machine));
  }

private:
  static constexpr size_t kMost = 64;
  std::mutex mutex;
  std::vector<std::unique_ptr<Machine>> free;
};

Pool &pool() {
  // Never destroyed: a launch may run while the process ends.
  static Pool &instance = *new Pool;
  return instance;
}

} // namespace

//===----------------------------------------------------------------------===//
// Launch
//===----------------------------------------------------------------------===//

static std::optional<std::string> invalidLaunch(const LaunchConfig &config) {
  auto text = [](uint64_t value) { return std::to_string(value); };
  const moe_emu_kernel *kernel = config.kernel;
  if (!kernel || !kernel->entry)
    return "there is no kernel";
  uint64_t threads = 1, blocks = 1;
  for (int i = 0; i < 3; ++i) {
    threads *= config.block[i];
    blocks *= config.grid[i];
    if (config.grid[i] > (i ? 65535u : 0x7FFFFFFFu) ||
        config.block[i] > kMaxThreads)
      return "the grid or block is too large in dimension " + text(i);
  }
  if (!threads || !blocks)
    return "the grid or block has no threads";
  if (threads > kMaxThreads)
    return "blocks of " + text(threads) + " threads; at most " +
           text(kMaxThreads) + " are possible";
  if (kernel->max_threads && threads > kernel->max_threads)
    return "blocks of " + text(threads) + " threads; the kernel allows " +
           text(kernel->max_threads);
  uint64_t shared = uint64_t(kernel->static_shared) + config.dynamicShared;
  if (shared > kMaxShared)
    return text(shared) + " bytes of shared memory; a block has at most " +
           text(kMaxShared);
  uint32_t cluster = std::max(kernel->cluster, 1u);
  if (cluster > kMaxCluster)
    return "clusters of " + text(cluster) + " blocks; at most " +
           text(kMaxCluster) + " are possible";
  if (config.grid[0] % cluster)
    return "a grid of " + text(config.grid[0]) +
           " blocks is no multiple of the cluster's " + text(cluster);
  if (kernel->num_params && !config.params)
    return "the kernel has parameters, the launch has none";
  for (size_t i = 1; i < config.memory.size(); ++i) {
    const MemoryRange &below = config.memory[i - 1];
    if (uintptr_t(below.begin) + below.size > uintptr_t(config.memory[i].begin))
      return "memory ranges '" + below.name + "' and '" +
             config.memory[i].name + "' overlap or are not ascending";
  }
  return std::nullopt;
}

static void collectRanges(LaunchState &state) {
  const LaunchConfig &config = state.config;
  for (const MemoryRange &range : config.memory)
    state.ranges.push_back({uintptr_t(range.begin),
                            uintptr_t(range.begin) + range.size, range.writable,
                            range.name});
  // Parameters passed by value are read where they lie.
  for (uint32_t i = 0; i < config.kernel->num_params; ++i) {
    uintptr_t begin = uintptr_t(config.params[i]);
    uint64_t size =
        config.kernel->param_sizes ? config.kernel->param_sizes[i] : 0;
    auto overlaps = [&](const Range &range) {
      return begin < range.end && range.begin < begin + size;
    };
    if (size &&
        std::none_of(state.ranges.begin(), state.ranges.end(), overlaps))
      state.ranges.push_back(
          {begin, begin + size, false, "parameter " + std::to_string(i)});
  }
  std::sort(state.ranges.begin(), state.ranges.end(),
            [](const Range &a, const Range &b) { return a.begin < b.begin; });
}

LaunchReport launch(const LaunchConfig &config) {
  LaunchReport result;
  auto fail = [&](std::string message) {
    Finding finding;
    finding.kind = FindingKind::InvalidLaunch;
    if (config.kernel && config.kernel->name)
      finding.kernel = config.kernel->name;
    finding.message = std::move(message);
    result.findings.push_back(std::move(finding));
    return result;
  };
  if (std::optional<std::string> message = invalidLaunch(config))
    return fail(std::move(*message));

  LaunchState state(config);
  state.threads = config.block[0] * config.block[1] * config.block[2];
  state.cluster = std::max(config.kernel->cluster, 1u);
  state.sharedBytes = config.kernel->static_shared + config.dynamicShared;
  state.clusters = uint64_t(config.grid[0]) / state.cluster * config.grid[1] *
                   config.grid[2];
  collectRanges(state);

  std::mutex mutex;
  bool outOfMemory = true;
  auto work = [&] {
    std::unique_ptr<Machine> machine = pool().take();
    bool ready = machine->prepare(state);
    while (ready && !state.stop.load(std::memory_order_relaxed)) {
      uint64_t cluster = state.next.fetch_add(1);
      if (cluster >= state.clusters)
        break;
      machine->runCluster(cluster);
    }
    if (ready)
      machine->finish();
    std::lock_guard<std::mutex> lock(mutex);
    // One machine is enough to run all clusters.
    outOfMemory &= !ready;
    result.switches += machine->switches;
    result.macs += machine->macs;
    if (ready)
      pool().give(std::move(machine));
  };

  uint32_t count =
      config.osThreads ? config.osThreads : std::thread::hardware_concurrency();
  count = uint32_t(std::min<uint64_t>(std::max(count, 1u), state.clusters));
  std::vector<std::thread> others;
  for (uint32_t i = 1; i < count; ++i)
    others.emplace_back(work);
  work();
  for (std::thread &other : others)
    other.join();
  if (outOfMemory)
    return fail("no memory for stacks or for shared memory below 4 GiB");
  result.findings = std::move(state.findings);
  return result;
}

} // namespace moe::emu
