//===- Grouping.cpp - The lists of a routing ------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Every warp owns a range of tokens and counts its pairs per expert. The counts
// of all warps become the first rows of each (warp, expert), and every warp
// then hands out its rows in the order of its pairs. Within 32 pairs the order
// is that of the lanes: no atomic is needed, and nothing depends on timing.
//
//===----------------------------------------------------------------------===//

#include "Grouping.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::gpu;

constexpr int64_t kWarp = 32;
/// Shared memory that every architecture gives without being asked, less what
/// other users may want.
constexpr int64_t kSharedBytes = 44 * 1024;

Grouping::Grouping(Emit &e, KernelContext &ctx, const GroupingArgs &args)
    : ctx(ctx), args(args), experts(args.experts), perToken(args.perToken),
      i32(e.getI32Type()) {
  int64_t words = (ctx.warps() + 2) * experts;
  Value base = words * 4 <= kSharedBytes ? ctx.allocShared(words * 4)
                                         : ctx.allocScratch(words * 4);
  counters = base;
  firstRows = e.offset(base, ctx.warps() * experts * 4);
  firstTiles = e.offset(base, (ctx.warps() + 1) * experts * 4);
  if (args.given)
    flags = ctx.allocShared(ctx.warps() * 4);
  if (args.sparse)
    pairCounts = ctx.allocShared(ctx.warps() * 4);
}

void mlir::moe::gpu::emitTile(Emit &e, Value worklist, Value tile, Value expert,
                              Value row, Value rows) {
  Value words[] = {expert, row, rows, e.i32(0)};
  Value base = e.add(e.mul(tile, 4), 4);
  for (auto [i, word] : llvm::enumerate(words))
    e.store(word, worklist, e.add(base, i));
}

void mlir::moe::gpu::emitWorklistHead(Emit &e, Value worklist, Value tiles) {
  Value words[] = {tiles, e.i32(0), e.i32(0), e.i32(0)};
  for (auto [i, word] : llvm::enumerate(words))
    e.store(word, worklist, e.i32(i));
}

//===----------------------------------------------------------------------===//
// Given routes
//===----------------------------------------------------------------------===//

Value Grouping::emitIsBad(Emit &e) {
  Value pairs = e.mul(args.tokens, perToken);
  Value no = arith::ConstantOp::create(e, e.getBoolAttr(false));
  return e.forRange(
      ctx.thread, pairs, e.i32(ctx.threads()), no,
      [&](Emit &e, Value pair, ValueRange carried) {
        Value id = e.load(i32, args.ids, pair);
        Value place = e.rem(pair, perToken);
        Value first = e.sub(pair, place);
        Value isId = e.cmp(arith::CmpIPredicate::ne, id, e.i32(-1));
        Value outside = e.cmp(arith::CmpIPredicate::uge, id, e.i32(experts));
        Value isBad = e.bitOr(carried[0], e.bitAnd(isId, outside));
        return e.forRange(
            e.i32(0), place, e.i32(1), isBad,
            [&](Emit &e, Value i, ValueRange carried) {
              Value other = e.load(i32, args.ids, e.add(first, i));
              Value repeats = e.bitAnd(isId, e.equal(other, id));
              return SmallVector<Value>{e.bitOr(carried[0], repeats)};
            });
      })[0];
}

Value Grouping::emitAny(Emit &e, Value value) {
  Value inWarp = e.ballot(value);
  e.ifThen(e.equal(ctx.lane, 0),
           [&](Emit &e) { e.store(inWarp, flags, ctx.warp); });
  e.syncBlock();
  Value all = e.i32(0);
  for (int64_t warp = 0; warp < ctx.warps(); ++warp)
    all = e.bitOr(all, e.load(i32, flags, e.i32(warp)));
  return e.cmp(arith::CmpIPredicate::ne, all, e.i32(0));
}

void Grouping::emitNoRows(Emit &e) {
  forThreads(e, ctx, e.i32(experts + 1), [&](Emit &e, Value i) {
    e.store(e.i32(0), args.expertOffsets, i);
  });
  forThreads(e, ctx, e.add(args.tokens, 1), [&](Emit &e, Value i) {
    e.store(e.i32(0), args.tokenOffsets, i);
  });
  if (args.worklist)
    e.ifThen(e.equal(ctx.thread, 0),
             [&](Emit &e) { emitWorklistHead(e, args.worklist, e.i32(0)); });
}

//===----------------------------------------------------------------------===//
// Lists
//===----------------------------------------------------------------------===//

Value Grouping::forPairs(Emit &e, Value init, PairBody body) {
  Value chunk = ceilDiv(e, args.tokens, ctx.warps());
  Value from = e.minU(e.mul(ctx.warp, chunk), args.tokens);
  Value to = e.minU(e.add(from, chunk), args.tokens);
  Value begin = e.mul(from, perToken), end = e.mul(to, perToken);
  auto loadId = [&](Emit &e, Value base) {
    Value place = e.add(base, ctx.lane);
    return loadIf(e, e.lessU(place, end), i32, args.ids, place, e.i32(-1));
  };
  return e.forRange(
      begin, end, e.i32(kWarp), {loadId(e, begin), init},
      [&](Emit &e, Value base, ValueRange carried) {
        // The next ids are on their way while these are looked at.
        Value next = loadId(e, e.add(base, kWarp));
        Pair pair;
        pair.id = carried[0];
        pair.place = e.add(base, ctx.lane);
        pair.isPlace = e.lessU(pair.place, end);
        pair.isPair = args.sparse
                          ? e.cmp(arith::CmpIPredicate::ne, pair.id, e.i32(-1))
                          : pair.isPlace;
        pair.mask = warpMatch(e, pair.id);
        Value isFirst = e.equal(lowestBit(e, pair.mask), ctx.lane);
        pair.isLeader = e.bitAnd(pair.isPair, isFirst);
        Value result = body(e, pair, carried[1]);
        // Another lane may count the same expert next.
        e.syncWarp();
        return SmallVector<Value>{next, result};
      })[1];
}

void Grouping::emitScan(Emit &e) {
  Value zero = e.i32(0);
  SmallVector<Value> totals = e.forRange(
      zero, e.i32(experts), e.i32(kWarp), {zero, zero},
      [&](Emit &e, Value base, ValueRange carried) {
        Value expert = e.add(base, ctx.lane);
        Value isExpert = e.lessU(expert, e.i32(experts));
        Value count = loadIf(e, isExpert, i32, firstRows, expert, zero);
        Value tiles = args.worklist ? ceilDiv(e, count, args.tileRows) : zero;
        Value rowsUpTo = warpScan(e, count, ctx.lane);
        Value tilesUpTo = args.worklist ? warpScan(e, tiles, ctx.lane) : zero;
        Value row = e.add(carried[0], e.sub(rowsUpTo, count));
        Value tile = e.add(carried[1], e.sub(tilesUpTo, tiles));
        e.ifThen(isExpert, [&](Emit &e) {
          e.store(row, firstRows, expert);
          e.store(row, args.expertOffsets, expert);
          if (args.worklist)
            e.store(tile, firstTiles, expert);
        });
        Value last = e.i32(kWarp - 1);
        Value rows = e.add(carried[0], e.shuffleIndex(rowsUpTo, last));
        Value allTiles =
            args.worklist ? e.add(carried[1], e.shuffleIndex(tilesUpTo, last))
                          : zero;
        return SmallVector<Value>{rows, allTiles};
      });
  e.ifThen(e.equal(ctx.lane, 0), [&](Emit &e) {
    e.store(totals[0], args.expertOffsets, e.i32(experts));
    e.store(totals[0], args.tokenOffsets, args.tokens);
    if (args.worklist)
      emitWorklistHead(e, args.worklist, totals[1]);
  });
}

void Grouping::emitTiles(Emit &e, Value expert, Value begin, Value end) {
  Value first = e.load(i32, firstTiles, expert);
  Value rows = e.i32(args.tileRows);
  e.forRange(begin, end, rows, {first},
             [&](Emit &e, Value row, ValueRange carried) {
               Value count = e.minU(rows, e.sub(end, row));
               emitTile(e, args.worklist, carried[0], expert, row, count);
               return SmallVector<Value>{e.add(carried[0], 1)};
             });
}

std::pair<Value, Value> Grouping::emitPlaceInToken(Emit &e, const Pair &pair,
                                                   Value at) {
  Value begin = e.sub(pair.place, e.rem(pair.place, perToken));
  SmallVector<Value> counts = e.forRange(
      begin, e.add(begin, perToken), e.i32(1), {e.i32(0), e.i32(0)},
      [&](Emit &e, Value other, ValueRange carried) {
        auto count = [&](Value value, Value condition) {
          return e.add(value, arith::ExtUIOp::create(e, i32, condition));
        };
        Value id = e.load(i32, args.ids, other);
        Value isId = e.cmp(arith::CmpIPredicate::ne, id, e.i32(-1));
        Value isBefore = e.bitAnd(isId, e.lessU(other, pair.place));
        // -1 is the largest of all unsigned.
        return SmallVector<Value>{count(carried[0], isBefore),
                                  count(carried[1], e.lessU(id, pair.id))};
      });
  return {e.sub(at, counts[0]), counts[1]};
}

void Grouping::emitPlace(Emit &e) {
  Value mine = e.mul(ctx.warp, experts);
  Value lanesBelow = e.add(e.shl(e.i32(1), ctx.lane), -1);
  // Pairs before those of this warp.
  Value before = e.i32(0);
  if (args.sparse)
    before = e.forRange(e.i32(0), ctx.warp, e.i32(1), before,
                        [&](Emit &e, Value warp, ValueRange carried) {
                          Value count = e.load(i32, pairCounts, warp);
                          return SmallVector<Value>{e.add(carried[0], count)};
                        })[0];
  forPairs(e, before, [&](Emit &e, const Pair &pair, Value before) {
    Value counter = e.add(mine, pair.id);
    Value next = loadIf(e, pair.isLeader, i32, counters, counter, e.i32(0));
    e.ifThen(pair.isLeader, [&](Emit &e) {
      e.store(e.add(next, countBits(e, pair.mask)), counters, counter);
    });
    Value first = e.shuffleIndex(next, lowestBit(e, pair.mask));
    Value row = e.add(first, countBits(e, e.bitAnd(pair.mask, lanesBelow)));
    Value at = pair.place;
    if (args.sparse) {
      Value pairs = e.ballot(pair.isPair);
      at = e.add(before, countBits(e, e.bitAnd(pairs, lanesBelow)));
      before = e.add(before, countBits(e, pairs));
      Value isFirst = e.equal(e.rem(pair.place, perToken), 0);
      e.ifThen(e.bitAnd(pair.isPlace, isFirst), [&](Emit &e) {
        e.store(at, args.tokenOffsets, e.div(pair.place, perToken));
      });
    }
    e.ifThen(pair.isPair, [&](Emit &e) {
      e.store(e.div(pair.place, perToken), args.rowToken, row);
      e.store(e.load(e.getF32Type(), args.weights, pair.place), args.rowWeight,
              row);
      Value target = at;
      if (args.given) {
        // Given ids stand in any order; the rows of a token ascend as they do.
        auto [begin, smaller] = emitPlaceInToken(e, pair, at);
        target = e.add(begin, smaller);
      }
      e.store(row, args.tokenRows, target);
    });
    return before;
  });
}

void Grouping::emitLists(Emit &e) {
  int64_t warps = ctx.warps();
  forThreads(e, ctx, e.i32(warps * experts),
             [&](Emit &e, Value i) { e.store(e.i32(0), counters, i); });
  if (!args.sparse)
    forThreads(e, ctx, args.tokens, [&](Emit &e, Value token) {
      e.store(e.mul(token, perToken), args.tokenOffsets, token);
    });
  e.syncBlock();

  Value mine = e.mul(ctx.warp, experts);
  Value pairs =
      forPairs(e, e.i32(0), [&](Emit &e, const Pair &pair, Value carried) {
        e.ifThen(pair.isLeader, [&](Emit &e) {
          Value counter = e.add(mine, pair.id);
          Value count = e.load(i32, counters, counter);
          e.store(e.add(count, countBits(e, pair.mask)), counters, counter);
        });
        if (!args.sparse)
          return carried;
        return e.add(carried, countBits(e, e.ballot(pair.isPair)));
      });
  if (args.sparse)
    e.ifThen(e.equal(ctx.lane, 0),
             [&](Emit &e) { e.store(pairs, pairCounts, ctx.warp); });
  e.syncBlock();

  forThreads(e, ctx, e.i32(experts), [&](Emit &e, Value expert) {
    Value count = e.i32(0);
    for (int64_t warp = 0; warp < warps; ++warp)
      count =
          e.add(count, e.load(i32, counters, e.add(expert, warp * experts)));
    e.store(count, firstRows, expert);
  });
  e.syncBlock();
  e.ifThen(e.equal(ctx.warp, 0), [&](Emit &e) { emitScan(e); });
  e.syncBlock();

  forThreads(e, ctx, e.i32(experts), [&](Emit &e, Value expert) {
    Value begin = e.load(i32, firstRows, expert), row = begin;
    for (int64_t warp = 0; warp < warps; ++warp) {
      Value counter = e.add(expert, warp * experts);
      Value count = e.load(i32, counters, counter);
      e.store(row, counters, counter);
      row = e.add(row, count);
    }
    if (args.worklist)
      emitTiles(e, expert, begin, row);
  });
  e.syncBlock();
  emitPlace(e);
}

void Grouping::emit(Emit &e) {
  if (!args.given)
    return emitLists(e);
  Value isBad = emitAny(e, emitIsBad(e));
  auto emitBad = [&](Emit &e) {
    emitNoRows(e);
    e.ifThen(e.equal(ctx.thread, 0), [&](Emit &e) {
      OpBuilder::InsertionGuard guard(ctx.b);
      ctx.b.setInsertionPoint(e.getInsertionBlock(), e.getInsertionPoint());
      // MOERT_KERNEL_BAD_EXPERT_INDEX.
      ctx.raiseStatus(e.i32(1));
    });
  };
  e.ifThenElse(isBad, emitBad, [&](Emit &e) { emitLists(e); });
}
