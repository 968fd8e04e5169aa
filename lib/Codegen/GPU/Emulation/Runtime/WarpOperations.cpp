//===- WarpOperations.cpp - Operations of a warp --------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Each lane deposits its operands; the last of the lanes that the mask names
// computes for all. Values need no clocks: of these operations only
// bar.warp.sync orders memory.
//
//===----------------------------------------------------------------------===//

#include "Machine.h"
#include "MatrixMath.h"

namespace moe::emu {

static const char *const kNames[] = {
    "bar.warp.sync",  "shfl.sync",  "vote.sync",  "match.any.sync",
    "match.all.sync", "redux.sync", "elect.sync", "ldmatrix",
    "stmatrix",       "mma.sync"};

//===----------------------------------------------------------------------===//
// Semantics, of all lanes at once
//===----------------------------------------------------------------------===//

namespace {
/// The lanes of a mask, lowest first.
struct Lanes {
  struct Iterator {
    uint32_t rest;
    uint32_t operator*() const { return __builtin_ctz(rest); }
    void operator++() { rest &= rest - 1; }
    bool operator!=(const Iterator &other) const { return rest != other.rest; }
  };
  uint32_t mask;
  Iterator begin() const { return {mask}; }
  Iterator end() const { return {0}; }
};
} // namespace

static void shuffle(Warp &warp, uint32_t lanes, uint32_t kind) {
  for (uint32_t lane : Lanes{lanes}) {
    LaneArgs &args = warp.args[lane];
    int offset = int(args.offset & 31), clamp = int(args.clamp & 31);
    int segment = int(args.clamp >> 8 & 31);
    int first = int(lane) & segment;
    int last = first | (clamp & ~segment);
    int source;
    bool inRange;
    switch (kind) {
    case MOE_EMU_SHFL_UP:
      source = int(lane) - offset;
      inRange = source >= last;
      break;
    case MOE_EMU_SHFL_DOWN:
      source = int(lane) + offset;
      inRange = source <= last;
      break;
    case MOE_EMU_SHFL_BFLY:
      source = int(lane) ^ offset;
      inRange = source <= last;
      break;
    default:
      source = first | (offset & ~segment);
      inRange = source <= last;
    }
    if (!inRange)
      source = int(lane);
    args.flag = inRange;
    // A lane outside the mask has no defined value.
    args.result = lanes >> source & 1 ? uint32_t(warp.args[source].value) : ~0u;
  }
}

static void vote(Warp &warp, uint32_t lanes, uint32_t kind) {
  uint32_t ballot = 0;
  for (uint32_t lane : Lanes{lanes})
    ballot |= uint32_t(warp.args[lane].value != 0) << lane;
  uint32_t result = kind == MOE_EMU_VOTE_ALL   ? ballot == lanes
                    : kind == MOE_EMU_VOTE_ANY ? ballot != 0
                    : kind == MOE_EMU_VOTE_UNI ? ballot == lanes || ballot == 0
                                               : ballot;
  for (uint32_t lane : Lanes{lanes})
    warp.args[lane].result = result;
}

static void match(Warp &warp, uint32_t lanes, bool all) {
  bool same = true;
  for (uint32_t lane : Lanes{lanes}) {
    uint32_t equal = 0;
    for (uint32_t other : Lanes{lanes})
      equal |= uint32_t(warp.args[other].value == warp.args[lane].value)
               << other;
    warp.args[lane].result = equal;
    same &= equal == lanes;
  }
  if (!all)
    return;
  for (uint32_t lane : Lanes{lanes}) {
    warp.args[lane].result = same ? lanes : 0;
    warp.args[lane].flag = same;
  }
}

static uint32_t combine(uint32_t op, uint32_t a, uint32_t b) {
  switch (op) {
  case MOE_EMU_REDUX_ADD:
    return a + b;
  case MOE_EMU_REDUX_MIN_S32:
    return uint32_t(std::min(int32_t(a), int32_t(b)));
  case MOE_EMU_REDUX_MAX_S32:
    return uint32_t(std::max(int32_t(a), int32_t(b)));
  case MOE_EMU_REDUX_MIN_U32:
    return std::min(a, b);
  case MOE_EMU_REDUX_MAX_U32:
    return std::max(a, b);
  case MOE_EMU_REDUX_AND:
    return a & b;
  case MOE_EMU_REDUX_OR:
    return a | b;
  default:
    return a ^ b;
  }
}

static void reduce(Warp &warp, uint32_t lanes, uint32_t op) {
  uint32_t first = __builtin_ctz(lanes);
  uint32_t result = uint32_t(warp.args[first].value);
  for (uint32_t lane : Lanes{lanes & (lanes - 1)})
    result = combine(op, result, uint32_t(warp.args[lane].value));
  for (uint32_t lane : Lanes{lanes})
    warp.args[lane].result = result;
}

/// Lane l holds elements (l / 4, 2 (l % 4)) and the next one in the row, or
/// transposed those at (2 (l % 4), l / 4) and in the row below.
static void loadMatrices(Warp &warp, uint32_t variant) {
  uint32_t count = variant >> 1;
  bool transpose = variant & 1;
  for (uint32_t m = 0; m < count; ++m) {
    const LaneArgs *rows = warp.args + 8 * m;
    for (uint32_t lane = 0; lane < 32; ++lane) {
      uint32_t *out = static_cast<uint32_t *>(warp.args[lane].out) + m;
      uint32_t row = lane / 4, pair = lane % 4;
      if (!transpose) {
        std::memcpy(out, static_cast<const uint32_t *>(rows[row].a) + pair, 4);
        continue;
      }
      uint16_t low = static_cast<const uint16_t *>(rows[2 * pair].a)[row];
      uint16_t high = static_cast<const uint16_t *>(rows[2 * pair + 1].a)[row];
      *out = low | uint32_t(high) << 16;
    }
  }
}

static void storeMatrices(Warp &warp, uint32_t variant) {
  uint32_t count = variant >> 1;
  bool transpose = variant & 1;
  for (uint32_t m = 0; m < count; ++m) {
    const LaneArgs *rows = warp.args + 8 * m;
    for (uint32_t lane = 0; lane < 32; ++lane) {
      uint32_t value = static_cast<const uint32_t *>(warp.args[lane].a)[m];
      uint32_t row = lane / 4, pair = lane % 4;
      if (!transpose) {
        std::memcpy(static_cast<uint32_t *>(rows[row].out) + pair, &value, 4);
        continue;
      }
      static_cast<uint16_t *>(rows[2 * pair].out)[row] = uint16_t(value);
      static_cast<uint16_t *>(rows[2 * pair + 1].out)[row] =
          uint16_t(value >> 16);
    }
  }
}

static void multiply(Warp &warp, uint32_t variant) {
  const uint32_t *a[32], *b[32];
  const float *c[32];
  float *d[32];
  for (uint32_t lane = 0; lane < 32; ++lane) {
    const LaneArgs &args = warp.args[lane];
    a[lane] = static_cast<const uint32_t *>(args.a);
    b[lane] = static_cast<const uint32_t *>(args.b);
    c[lane] = static_cast<const float *>(args.c);
    d[lane] = static_cast<float *>(args.out);
  }
  warpMatrixMultiply(variant & 1, variant >> 1, a, b, c, d);
}

static void compute(Machine &machine, Warp &warp, const Rendezvous &meeting) {
  uint32_t lanes = meeting.arrived;
  switch (meeting.op) {
  case WarpOp::Sync: {
    if (!machine.check)
      return;
    ClockSum sum;
    for (uint32_t lane : Lanes{lanes})
      sum.add(warp.lanes[lane].seen, warp.lanes[lane].index,
              warp.lanes[lane].epoch);
    ClockRef all = sum.take();
    for (uint32_t lane : Lanes{lanes}) {
      warp.lanes[lane].seen = all;
      machine.tick(warp.lanes[lane]);
    }
    return;
  }
  case WarpOp::Shfl:
    return shuffle(warp, lanes, meeting.variant);
  case WarpOp::Vote:
    return vote(warp, lanes, meeting.variant);
  case WarpOp::MatchAny:
    return match(warp, lanes, false);
  case WarpOp::MatchAll:
    return match(warp, lanes, true);
  case WarpOp::Redux:
    return reduce(warp, lanes, meeting.variant);
  case WarpOp::Elect:
    for (uint32_t lane : Lanes{lanes})
      warp.args[lane].result = lane == uint32_t(__builtin_ctz(lanes));
    return;
  case WarpOp::Ldmatrix:
    return loadMatrices(warp, meeting.variant);
  case WarpOp::Stmatrix:
    return storeMatrices(warp, meeting.variant);
  case WarpOp::Mma:
    machine.macs += 16 * 8 * (meeting.variant >> 1);
    return multiply(warp, meeting.variant);
  }
}

//===----------------------------------------------------------------------===//
// Rendezvous
//===----------------------------------------------------------------------===//

void Machine::meet(Fiber &fiber, Warp &warp, WarpOp op, uint32_t variant,
                   uint32_t mask, bool aligned, const char *site) {
  const uint32_t lane = fiber.thread.laneid;
  const uint32_t bit = 1u << lane;
  Rendezvous *meeting = nullptr;
  // Parts of a warp may meet on their own while other lanes wait for them
  // elsewhere. Lanes that wait for each other in two places never go on.
  for (Rendezvous &other : warp.pending)
    if (other.arrived & mask && other.mask & bit) {
      meeting = &other;
      break;
    }
  if (!(mask & bit))
    fatal(FindingKind::DivergentCollective, fiber, site, 0,
          "%s with mask 0x%08x, which lacks the lane %u that executes it",
          kNames[unsigned(op)], mask, lane);
  if (!meeting) {
    if (aligned && (warp.exited || warp.present != ~0u))
      fatal(FindingKind::DivergentCollective, fiber, site, 0,
            "%s needs all 32 lanes; lanes 0x%08x %s", kNames[unsigned(op)],
            warp.exited ? warp.exited : ~warp.present,
            warp.exited ? "have exited" : "do not exist");
    warp.pending.push_back({mask, 0, op, variant, site});
    meeting = &warp.pending.back();
  } else if (meeting->op != op || meeting->variant != variant ||
             meeting->mask != mask || (aligned && meeting->site != site)) {
    fatal(FindingKind::DivergentCollective, fiber, site, 0,
          "lane %u executes %s with mask 0x%08x while lanes 0x%08x wait in "
          "%s with mask 0x%08x%s%s",
          lane, kNames[unsigned(op)], mask, meeting->arrived,
          kNames[unsigned(meeting->op)], meeting->mask,
          *meeting->site ? ": " : "", meeting->site);
  }
  meeting->arrived |= bit;
  uint32_t awaited = mask & warp.present & (aligned ? ~0u : ~warp.exited);
  if (meeting->arrived != awaited) {
    suspend(fiber, Wait::Warp, site);
    return;
  }
  Rendezvous done = *meeting;
  *meeting = warp.pending.back();
  warp.pending.pop_back();
  compute(*this, warp, done);
  for (uint32_t other : Lanes{done.arrived & ~bit})
    wake(warp.lanes[other]);
}

void Machine::leaveWarp(Fiber &fiber) {
  Warp &warp = warpOf(fiber);
  warp.exited |= 1u << fiber.thread.laneid;
  for (size_t i = 0; i < warp.pending.size();) {
    Rendezvous meeting = warp.pending[i];
    if (!(meeting.mask & 1u << fiber.thread.laneid) ||
        meeting.op >= WarpOp::Ldmatrix ||
        meeting.arrived != (meeting.mask & warp.present & ~warp.exited)) {
      ++i;
      continue;
    }
    warp.pending.erase(warp.pending.begin() + i);
    compute(*this, warp, meeting);
    for (uint32_t other : Lanes{meeting.arrived})
      wake(warp.lanes[other]);
  }
}

} // namespace moe::emu

//===----------------------------------------------------------------------===//
// Operations
//===----------------------------------------------------------------------===//

using namespace moe::emu;

extern "C" {

void moe_emu_warp_sync(moe_emu_thread *thread, uint32_t mask,
                       const char *site) {
  Fiber &fiber = fiberOf(thread);
  Machine &machine = *fiber.machine;
  machine.meet(fiber, machine.warpOf(fiber), WarpOp::Sync, 0, mask, false,
               site);
}

uint32_t moe_emu_shfl(moe_emu_thread *thread, uint32_t kind, uint32_t mask,
                      uint32_t value, uint32_t offset, uint32_t clamp,
                      uint32_t *in_range, const char *site) {
  Fiber &fiber = fiberOf(thread);
  Warp &warp = fiber.machine->warpOf(fiber);
  LaneArgs &args = warp.args[thread->laneid];
  args.value = value;
  args.offset = offset;
  args.clamp = clamp;
  fiber.machine->meet(fiber, warp, WarpOp::Shfl, kind, mask, false, site);
  if (in_range)
    *in_range = args.flag;
  return args.result;
}

/// Operations of one value per lane.
static LaneArgs &meetWith(moe_emu_thread *thread, WarpOp op, uint32_t variant,
                          uint32_t mask, uint64_t value, const char *site) {
  Fiber &fiber = fiberOf(thread);
  Warp &warp = fiber.machine->warpOf(fiber);
  LaneArgs &args = warp.args[thread->laneid];
  args.value = value;
  fiber.machine->meet(fiber, warp, op, variant, mask, false, site);
  return args;
}

uint32_t moe_emu_vote(moe_emu_thread *thread, uint32_t kind, uint32_t mask,
                      uint32_t predicate, const char *site) {
  return meetWith(thread, WarpOp::Vote, kind, mask, predicate, site).result;
}

uint32_t moe_emu_match_any(moe_emu_thread *thread, uint32_t mask,
                           uint64_t value, const char *site) {
  return meetWith(thread, WarpOp::MatchAny, 0, mask, value, site).result;
}

uint32_t moe_emu_match_all(moe_emu_thread *thread, uint32_t mask,
                           uint64_t value, uint32_t *all, const char *site) {
  LaneArgs &args = meetWith(thread, WarpOp::MatchAll, 0, mask, value, site);
  if (all)
    *all = args.flag;
  return args.result;
}

uint32_t moe_emu_redux(moe_emu_thread *thread, uint32_t op, uint32_t mask,
                       uint32_t value, const char *site) {
  return meetWith(thread, WarpOp::Redux, op, mask, value, site).result;
}

uint32_t moe_emu_elect(moe_emu_thread *thread, uint32_t mask,
                       const char *site) {
  return meetWith(thread, WarpOp::Elect, 0, mask, 0, site).result;
}

void moe_emu_ldmatrix(moe_emu_thread *thread, const void *row, uint32_t count,
                      uint32_t transpose, uint32_t *out, const char *site) {
  Fiber &fiber = fiberOf(thread);
  Machine &machine = *fiber.machine;
  Warp &warp = machine.warpOf(fiber);
  LaneArgs &args = warp.args[thread->laneid];
  args.a = row;
  args.out = out;
  if (thread->laneid < 8 * count) {
    SharedRef ref = machine.locate(fiber, row, 16, 16, site, "ldmatrix");
    if (machine.check) {
      // Four lanes receive the row: that this lane wrote it itself is no
      // excuse, so its own epochs do not count as seen.
      Actor actor = machine.actor(fiber);
      actor.self = ~0u;
      machine.readShared(fiber, actor, ref, 16, false, site, "ldmatrix");
    }
  }
  machine.meet(fiber, warp, WarpOp::Ldmatrix, count << 1 | (transpose != 0),
               ~0u, true, site);
}

void moe_emu_stmatrix(moe_emu_thread *thread, void *row, uint32_t count,
                      uint32_t transpose, const uint32_t *in,
                      const char *site) {
  Fiber &fiber = fiberOf(thread);
  Machine &machine = *fiber.machine;
  Warp &warp = machine.warpOf(fiber);
  LaneArgs &args = warp.args[thread->laneid];
  args.a = in;
  args.out = row;
  if (thread->laneid < 8 * count) {
    SharedRef ref = machine.locate(fiber, row, 16, 16, site, "stmatrix");
    if (machine.check)
      machine.writeShared(fiber, machine.actor(fiber), ref, 16, 0, site,
                          "stmatrix");
  }
  machine.meet(fiber, warp, WarpOp::Stmatrix, count << 1 | (transpose != 0),
               ~0u, true, site);
}

void moe_emu_mma(moe_emu_thread *thread, uint32_t type, uint32_t k,
                 const uint32_t *a, const uint32_t *b, const float *c, float *d,
                 const char *site) {
  Fiber &fiber = fiberOf(thread);
  Warp &warp = fiber.machine->warpOf(fiber);
  LaneArgs &args = warp.args[thread->laneid];
  args.a = a;
  args.b = b;
  args.c = c;
  args.out = d;
  fiber.machine->meet(fiber, warp, WarpOp::Mma, k << 1 | (type == MOE_EMU_F16),
                      ~0u, true, site);
}

} // extern "C"
