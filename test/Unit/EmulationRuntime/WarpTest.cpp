//===- WarpTest.cpp - Warp operations against references ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "EmulationTest.h"

using namespace moe::emu;
using namespace moe::emu::test;

namespace {

/// The semantics of shfl.sync, from the PTX ISA's pseudo code.
uint32_t shuffled(const uint32_t *values, uint32_t lane, uint32_t kind,
                  uint32_t b, uint32_t c, bool &predicate) {
  int bval = b & 31, cval = c & 31, mask = c >> 8 & 31;
  int maxLane = (int(lane) & mask) | (cval & ~mask & 31);
  int minLane = int(lane) & mask;
  int j = 0;
  switch (kind) {
  case MOE_EMU_SHFL_UP:
    j = int(lane) - bval;
    predicate = j >= maxLane;
    break;
  case MOE_EMU_SHFL_DOWN:
    j = int(lane) + bval;
    predicate = j <= maxLane;
    break;
  case MOE_EMU_SHFL_BFLY:
    j = int(lane) ^ bval;
    predicate = j <= maxLane;
    break;
  default:
    j = minLane | (bval & ~mask & 31);
    predicate = j <= maxLane;
  }
  return values[predicate ? j : int(lane)];
}

TEST(Warp, Shuffle) {
  std::mt19937_64 engine(7);
  for (uint32_t kind = 0; kind < 4; ++kind)
    for (int round = 0; round < 24; ++round) {
      auto values = randomBits<uint32_t>(32, engine());
      uint32_t offset = engine() % 32;
      // Segments of 32, 16, 8, ..., 1 lanes.
      uint32_t segment = (32 - (1u << round % 6)) & 31;
      uint32_t clamp = segment << 8 | (kind == MOE_EMU_SHFL_UP ? 0 : 31);
      uint32_t got[32], in[32];
      expectClean({32}, [&](Thread *thread) {
        uint32_t lane = thread->laneid;
        got[lane] = moe_emu_shfl(thread, kind, ~0u, values[lane], offset, clamp,
                                 &in[lane], "shfl");
      });
      for (uint32_t lane = 0; lane < 32; ++lane) {
        bool predicate;
        EXPECT_EQ(got[lane], shuffled(values.data(), lane, kind, offset, clamp,
                                      predicate));
        EXPECT_EQ(in[lane], uint32_t(predicate));
      }
    }
}

TEST(Warp, VoteAndBallot) {
  std::mt19937_64 engine(8);
  for (int round = 0; round < 8; ++round) {
    uint32_t mask = uint32_t(engine()) | 1;
    uint32_t votes = round == 0 ? 0 : round == 1 ? ~0u : uint32_t(engine());
    uint32_t got[4][32];
    expectClean({32}, [&](Thread *thread) {
      uint32_t lane = thread->laneid;
      if (!(mask >> lane & 1))
        return;
      for (uint32_t kind = 0; kind < 4; ++kind)
        got[kind][lane] =
            moe_emu_vote(thread, kind, mask, votes >> lane & 1, "vote");
    });
    uint32_t ballot = votes & mask;
    for (uint32_t lane = 0; lane < 32; ++lane) {
      if (!(mask >> lane & 1))
        continue;
      EXPECT_EQ(got[MOE_EMU_VOTE_ALL][lane], uint32_t(ballot == mask));
      EXPECT_EQ(got[MOE_EMU_VOTE_ANY][lane], uint32_t(ballot != 0));
      EXPECT_EQ(got[MOE_EMU_VOTE_UNI][lane],
                uint32_t(ballot == mask || ballot == 0));
      EXPECT_EQ(got[MOE_EMU_VOTE_BALLOT][lane], ballot);
    }
  }
}

TEST(Warp, Match) {
  std::mt19937_64 engine(9);
  for (int round = 0; round < 6; ++round) {
    uint64_t values[32];
    for (uint64_t &value : values)
      value = (engine() % (round + 1)) * 0x100000001ull;
    uint32_t any[32], all[32], same[32];
    expectClean({32}, [&](Thread *thread) {
      uint32_t lane = thread->laneid;
      any[lane] = moe_emu_match_any(thread, ~0u, values[lane], "any");
      all[lane] =
          moe_emu_match_all(thread, ~0u, values[lane], &same[lane], "all");
    });
    bool equal = true;
    for (uint64_t value : values)
      equal &= value == values[0];
    for (uint32_t lane = 0; lane < 32; ++lane) {
      uint32_t expected = 0;
      for (uint32_t i = 0; i < 32; ++i)
        expected |= uint32_t(values[i] == values[lane]) << i;
      EXPECT_EQ(any[lane], expected);
      EXPECT_EQ(all[lane], equal ? ~0u : 0u);
      EXPECT_EQ(same[lane], uint32_t(equal));
    }
  }
}

TEST(Warp, Redux) {
  auto values = randomBits<uint32_t>(32, 10);
  uint32_t mask = 0xF0F0A5A5;
  for (uint32_t op = 0; op < 8; ++op) {
    uint32_t got[32];
    expectClean({32}, [&](Thread *thread) {
      uint32_t lane = thread->laneid;
      if (mask >> lane & 1)
        got[lane] = moe_emu_redux(thread, op, mask, values[lane], "redux");
    });
    uint64_t expected = 0;
    bool first = true;
    for (uint32_t lane = 0; lane < 32; ++lane) {
      if (!(mask >> lane & 1))
        continue;
      uint32_t v = values[lane], e = uint32_t(expected);
      if (first)
        expected = v;
      else if (op == MOE_EMU_REDUX_ADD)
        expected = uint32_t(e + v);
      else if (op == MOE_EMU_REDUX_MIN_S32)
        expected = int32_t(v) < int32_t(e) ? v : e;
      else if (op == MOE_EMU_REDUX_MAX_S32)
        expected = int32_t(v) > int32_t(e) ? v : e;
      else if (op == MOE_EMU_REDUX_MIN_U32)
        expected = v < e ? v : e;
      else if (op == MOE_EMU_REDUX_MAX_U32)
        expected = v > e ? v : e;
      else if (op == MOE_EMU_REDUX_AND)
        expected = v & e;
      else if (op == MOE_EMU_REDUX_OR)
        expected = v | e;
      else
        expected = v ^ e;
      first = false;
    }
    for (uint32_t lane = 0; lane < 32; ++lane)
      if (mask >> lane & 1)
        EXPECT_EQ(got[lane], uint32_t(expected)) << "op " << op;
  }
}

TEST(Warp, Elect) {
  uint32_t elected[64];
  expectClean({64}, [&](Thread *thread) {
    elected[thread->tid[0]] = moe_emu_elect(thread, 0xFFFFFFF0 | 0xF, "elect");
  });
  for (uint32_t i = 0; i < 64; ++i)
    EXPECT_EQ(elected[i], uint32_t(i % 32 == 0));
}

/// Lanes of disjoint masks meet apart, at different ops, in any order.
TEST(Warp, DisjointMasks) {
  uint32_t got[32];
  expectClean({32}, [&](Thread *thread) {
    uint32_t lane = thread->laneid;
    uint32_t mask = lane < 16 ? 0xFFFF : 0xFFFF0000;
    if (lane < 16) {
      got[lane] = moe_emu_redux(thread, MOE_EMU_REDUX_ADD, mask, lane, "low");
    } else {
      moe_emu_warp_sync(thread, mask, "sync");
      got[lane] = moe_emu_redux(thread, MOE_EMU_REDUX_ADD, mask, 1, "high");
    }
  });
  for (uint32_t lane = 0; lane < 32; ++lane)
    EXPECT_EQ(got[lane], lane < 16 ? 120u : 16u);
}

/// The last warp of a block may be short, and lanes may have exited.
TEST(Warp, MissingLanes) {
  uint32_t ballots[40];
  expectClean({40}, [&](Thread *thread) {
    if (thread->laneid == 3)
      return;
    ballots[thread->tid[0]] =
        moe_emu_vote(thread, MOE_EMU_VOTE_BALLOT, ~0u, 1, "ballot");
  });
  for (uint32_t i = 0; i < 40; ++i)
    if (i % 32 != 3)
      EXPECT_EQ(ballots[i], i < 32 ? ~8u : 0xF7u);
}

TEST(Warp, DivergentOperations) {
  expectFinding(
      {32},
      [](Thread *thread) {
        if (thread->laneid == 5)
          moe_emu_warp_sync(thread, ~0u, "op");
        else
          moe_emu_shfl(thread, MOE_EMU_SHFL_IDX, ~0u, 1, 0, 31, nullptr, "op");
      },
      FindingKind::DivergentCollective, "op", "while lanes");
  // Overlapping masks that differ.
  expectFinding(
      {32},
      [](Thread *thread) {
        moe_emu_warp_sync(thread, thread->laneid < 8 ? 0x1FF : ~0u, "op");
      },
      FindingKind::DivergentCollective, "op", "with mask");
  expectFinding(
      {32}, [](Thread *thread) { moe_emu_warp_sync(thread, 0x7FFFFFFF, "op"); },
      FindingKind::DivergentCollective, "op", "lacks the lane 31");
}

/// One lane in a collective, the others at a barrier: nobody can go on.
TEST(Warp, CollectiveUnderACondition) {
  expectFinding(
      {128},
      [](Thread *thread) {
        if (thread->tid[0] == 0)
          moe_emu_vote(thread, MOE_EMU_VOTE_ANY, ~0u, 1, "vote");
        moe_emu_barrier_sync(thread, 0, 0, "barrier");
      },
      FindingKind::DivergentCollective, "vote", "1 of 32 lanes");
}

/// An .aligned op at two sites is divergent although both say the same.
TEST(Warp, AlignedSites) {
  static const char here[] = "mma", there[] = "mma";
  auto body = [](Thread *thread, bool same) {
    uint32_t a[4] = {}, b[2] = {};
    float c[4] = {};
    moe_emu_mma(thread, MOE_EMU_BF16, 16, a, b, c, c,
                same || thread->laneid < 16 ? here : there);
  };
  expectClean({32}, [&](Thread *thread) { body(thread, true); });
  expectFinding(
      {32}, [&](Thread *thread) { body(thread, false); },
      FindingKind::DivergentCollective, "mma", "executes mma.sync");
}

} // namespace
