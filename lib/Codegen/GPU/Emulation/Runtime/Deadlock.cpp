//===- Deadlock.cpp - Why threads cannot go on ----------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Machine.h"

#include <cstdio>

namespace moe::emu {

static const char *const kWaitNames[kWaitKinds] = {
    "ready",        "at warp operations", "at barriers", "at cluster barriers",
    "at mbarriers", "at wgmma",           "exited"};

Machine::Text Machine::waitCounts() const {
  uint32_t counts[kWaitKinds] = {};
  for (const Fiber &fiber : fibers)
    ++counts[unsigned(fiber.wait)];
  Text result;
  int length = std::snprintf(result.text, sizeof result.text,
                             "of %u threads: ", launchFibers);
  const char *separator = "";
  for (unsigned i = 0; i < kWaitKinds; ++i) {
    if (!counts[i])
      continue;
    length += std::snprintf(result.text + length, sizeof result.text - length,
                            "%s%u %s", separator, counts[i], kWaitNames[i]);
    separator = ", ";
  }
  return result;
}

static const char *waitPlace(const Fiber &fiber) {
  return fiber.wait == Wait::Exited ? "has exited" : "waits elsewhere";
}

/// Whether a thread that a collective misses has gone another way, and does
/// not just wait for data.
static bool wentElsewhere(const Fiber &fiber) {
  return fiber.wait != Wait::MBarrier && fiber.wait != Wait::ClusterBarrier;
}

bool Machine::reportDivergence() {
  for (Warp &warp : warps)
    for (const Rendezvous &meeting : warp.pending)
      for (uint32_t lane = 0; lane < 32; ++lane) {
        uint32_t missing = meeting.mask & warp.present & ~meeting.arrived;
        if (!(missing >> lane & 1) || !wentElsewhere(warp.lanes[lane]))
          continue;
        const Fiber &at = warp.lanes[__builtin_ctz(meeting.arrived)];
        report(FindingKind::DivergentCollective, at, meeting.site, 0,
               "%u of %u lanes reached the operation; thread %u %s%s%s; %s",
               unsigned(__builtin_popcount(meeting.arrived)),
               unsigned(__builtin_popcount(meeting.mask & warp.present)),
               warp.lanes[lane].local, waitPlace(warp.lanes[lane]),
               *warp.lanes[lane].waitSite ? ": " : "",
               warp.lanes[lane].waitSite, waitCounts().text);
        return true;
      }
  for (uint32_t i = 0; i < barriers.size(); ++i) {
    BlockBarrier &barrier = barriers[i];
    uint32_t block = i / kBarriers;
    for (uint32_t w = 0; barrier.arrived && w < warpsPerBlock; ++w) {
      const BlockBarrier::WarpArrivals &arrivals = barrier.warps[w];
      Warp &warp = warps[block * warpsPerBlock + w];
      uint32_t lanes = __builtin_popcount(warp.present);
      if (arrivals.generation != barrier.generation || !arrivals.count ||
          arrivals.count >= lanes)
        continue;
      for (uint32_t lane = 0; lane < lanes; ++lane) {
        const Fiber &other = warp.lanes[lane];
        bool here = other.wait == Wait::Barrier &&
                    other.barrierGeneration == barrier.generation &&
                    other.waitSite == arrivals.site;
        if (here || !wentElsewhere(other))
          continue;
        report(FindingKind::DivergentCollective, other, arrivals.site, 0,
               "%u of %u threads of warp %u reached barrier %u; thread %u "
               "%s; %s",
               arrivals.count, lanes, w, i % kBarriers, other.local,
               waitPlace(other), waitCounts().text);
        return true;
      }
    }
  }
  for (const Warpgroup &group : warpgroups) {
    if (!group.arrived)
      continue;
    uint32_t index = group.agent - launchFibers;
    Fiber &first = fibers[index / groupsPerBlock * launch->threads +
                          index % groupsPerBlock * kWarpgroup];
    report(FindingKind::DivergentCollective, first, group.site, 0,
           "%u of 128 threads of the warpgroup reached wgmma; %s",
           group.arrived, waitCounts().text);
    return true;
  }
  return false;
}

bool Machine::reportTransactions() {
  for (uint32_t i = 0; i < mbarrierCount; ++i) {
    const MBarrier &barrier = *mbarriers[i];
    if (!barrier.valid || barrier.waiters.empty() || barrier.pending ||
        !barrier.bytes)
      continue;
    const Fiber &waiter = *barrier.waiters.front();
    report(FindingKind::TransactionCount, waiter, waiter.waitSite,
           barrier.offset,
           "all threads arrived at the mbarrier at shared+0x%x, but %lld "
           "bytes %s; %s",
           barrier.offset, static_cast<long long>(std::abs(barrier.bytes)),
           barrier.bytes > 0 ? "that it expects never come"
                             : "came that it does not expect",
           waitCounts().text);
    return true;
  }
  return false;
}

void Machine::reportDeadlock() {
  if (reportDivergence() || reportTransactions())
    return;
  for (const Fiber &fiber : fibers) {
    if (fiber.wait == Wait::Exited)
      continue;
    std::string detail;
    for (uint32_t i = 0; i < mbarrierCount; ++i) {
      const MBarrier &barrier = *mbarriers[i];
      if (barrier.waiters.empty() || barrier.waiters.front() != &fiber)
        continue;
      detail = " (mbarrier at shared+" + std::to_string(barrier.offset) + ", " +
               std::to_string(barrier.pending) + " of " +
               std::to_string(barrier.count) + " arrivals missing)";
    }
    report(FindingKind::Deadlock, fiber, fiber.waitSite, 0,
           "nobody can go on; %s%s", waitCounts().text, detail.c_str());
    return;
  }
}

} // namespace moe::emu
