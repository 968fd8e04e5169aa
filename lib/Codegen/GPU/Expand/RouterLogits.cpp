//===- RouterLogits.cpp - Expansion of moe.kernel.router_logits -----------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Sixteen threads are the lanes of the sixteen-lane sums of docs/Numerics.md,
// so the bits depend neither on the blocking nor on the number of blocks. Half
// a warp computes one logit when there are few tokens, since then there is no
// parallelism to spare, and otherwise a small tile of them, which shares the
// loads.
//
//===----------------------------------------------------------------------===//

#include "WarpEmit.h"

#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::gpu;

constexpr int64_t kLanes = 16;
/// From so many tokens on tiles are worth it.
constexpr int64_t kManyTokens = 256;

namespace {

class RouterLogits {
public:
  RouterLogits(Emit &e, KernelRouterLogitsOp op, KernelContext &ctx)
      : ctx(ctx), op(op), experts(op.getExperts()), hidden(op.getHidden()),
        x(ctx.argument(op.getX())), weight(ctx.argument(op.getWeight())),
        out(ctx.argument(op.getOut())),
        tokens(argumentI32(e, ctx, op.getTokens())) {
    lane = e.bitAnd(ctx.lane, e.i32(kLanes - 1));
    half = e.div(ctx.lane, kLanes);
  }

  Value getTokens() const { return tokens; }

  /// All logits, in tiles of numTokens x numExperts. Where a tile sticks out,
  /// the last token or expert is computed again.
  void emit(Emit &e, int64_t numTokens, int64_t numExperts);

private:
  /// First addresses of this lane in the rows `ids` of `base`.
  SmallVector<Value> rowsOf(Emit &e, Value base, Type type,
                            ArrayRef<Value> ids);
  /// sums[i][j] += x[i] * w[j] for `steps` elements of each lane from
  /// `offset` on; those not below `valid`, when given, leave the sums alone.
  SmallVector<Value> accumulate(Emit &e, ArrayRef<Value> xRows,
                                ArrayRef<Value> wRows, Value offset,
                                int64_t steps, Value valid, ValueRange sums);

  KernelContext &ctx;
  KernelRouterLogitsOp op;
  int64_t experts, hidden;
  Value x, weight, out, tokens;
  /// Lane of the sum, half of the warp.
  Value lane, half;
};

} // namespace

static Type elementType(Value buffer) {
  return cast<MemRefType>(buffer.getType()).getElementType();
}

SmallVector<Value> RouterLogits::rowsOf(Emit &e, Value base, Type type,
                                        ArrayRef<Value> ids) {
  SmallVector<Value> rows;
  for (Value id : ids) {
    Value row = e.address(type, base, e.mul(e.toI64(id), hidden));
    rows.push_back(e.address(type, row, lane));
  }
  return rows;
}

SmallVector<Value> RouterLogits::accumulate(Emit &e, ArrayRef<Value> xRows,
                                            ArrayRef<Value> wRows, Value offset,
                                            int64_t steps, Value valid,
                                            ValueRange sums) {
  Type xType = elementType(op.getX()), wType = elementType(op.getWeight());
  // All loads first: they are what takes the time.
  auto loadAll = [&](ArrayRef<Value> rows, Type type) {
    SmallVector<SmallVector<Value>> values(steps);
    for (int64_t step = 0; step < steps; ++step)
      for (Value row : rows) {
        Value at = e.add(offset, step * kLanes);
        values[step].push_back(valid ? loadIf(e, valid, type, row, at,
                                              e.fromF32(e.f32(0.0f), type))
                                     : e.load(type, row, at));
      }
    return values;
  };
  SmallVector<SmallVector<Value>> xs = loadAll(xRows, xType);
  SmallVector<SmallVector<Value>> ws = loadAll(wRows, wType);
  SmallVector<Value> result(sums);
  for (int64_t step = 0; step < steps; ++step) {
    for (Value &value : xs[step])
      value = e.toF32(value);
    for (Value &value : ws[step])
      value = e.toF32(value);
    for (auto [i, xValue] : llvm::enumerate(xs[step]))
      for (auto [j, wValue] : llvm::enumerate(ws[step])) {
        Value &sum = result[i * wRows.size() + j];
        Value next = math::FmaOp::create(e, xValue, wValue, sum);
        // A lane of -0 would become +0 by adding nothing.
        sum = valid ? e.select(valid, next, sum) : next;
      }
  }
  return result;
}

void RouterLogits::emit(Emit &e, int64_t numTokens, int64_t numExperts) {
  int64_t expertTiles = llvm::divideCeil(experts, numExperts);
  Value items = e.mul(ceilDiv(e, tokens, numTokens), expertTiles);
  Value pairs = ceilDiv(e, items, 2);
  forAllWarps(e, ctx, pairs, [&](Emit &e, Value pair) {
    // Both halves go through all of the code: shuffles need the whole warp.
    Value item = e.add(e.mul(pair, 2), half);
    Value token = e.mul(e.div(item, expertTiles), numTokens);
    Value expert = e.mul(e.rem(item, expertTiles), numExperts);
    Value lastToken = e.add(tokens, -1), lastExpert = e.i32(experts - 1);
    SmallVector<Value> tokenIds, expertIds, sums;
    for (int64_t i = 0; i < numTokens; ++i)
      tokenIds.push_back(e.minU(e.add(token, i), lastToken));
    for (int64_t j = 0; j < numExperts; ++j)
      expertIds.push_back(e.minU(e.add(expert, j), lastExpert));
    SmallVector<Value> xRows = rowsOf(e, x, elementType(op.getX()), tokenIds);
    SmallVector<Value> wRows =
        rowsOf(e, weight, elementType(op.getWeight()), expertIds);
    sums.assign(numTokens * numExperts, e.f32(0.0f));

    // Enough loads in flight to hide some of their latency.
    int64_t unroll = numTokens * numExperts == 1 ? 16 : 4;
    int64_t whole = hidden / kLanes, step = unroll * kLanes;
    int64_t loopEnd = whole / unroll * step;
    if (loopEnd)
      sums = e.forRange(e.i32(0), e.i32(loopEnd), e.i32(step), sums,
                        [&](Emit &e, Value offset, ValueRange carried) {
                          return accumulate(e, xRows, wRows, offset, unroll,
                                            Value(), carried);
                        });
    if (int64_t rest = whole % unroll)
      sums = accumulate(e, xRows, wRows, e.i32(loopEnd), rest, Value(), sums);
    if (int64_t tail = hidden % kLanes)
      sums = accumulate(e, xRows, wRows, e.i32(whole * kLanes), 1,
                        e.lessU(lane, e.i32(tail)), sums);

    for (int64_t i = 0; i < numTokens; ++i)
      for (int64_t j = 0; j < numExperts; ++j) {
        Value logit = sums[i * numExperts + j];
        for (int64_t distance : {8, 4, 2, 1})
          logit =
              arith::AddFOp::create(e, logit, e.shuffleXor(logit, distance));
        Value inside = e.bitAnd(e.lessU(e.add(token, i), tokens),
                                e.lessU(e.add(expert, j), e.i32(experts)));
        // All lanes have the sum; each logit is stored by another.
        int64_t storer = (i * numExperts + j) % kLanes;
        Value stores = e.bitAnd(inside, e.equal(lane, storer));
        Value tokenId = tokenIds[i], expertId = expertIds[j];
        e.ifThen(stores, [&](Emit &e) {
          if (Value bias = op.getBias())
            logit = arith::AddFOp::create(
                e, logit,
                e.toF32(
                    e.load(elementType(bias), ctx.argument(bias), expertId)));
          if (std::optional<Type> round = op.getRound())
            logit = e.toF32(e.fromF32(logit, *round));
          Value at = e.add(e.mul(e.toI64(tokenId), experts), e.toI64(expertId));
          e.store(logit, out, at);
        });
      }
  });
}

LogicalResult mlir::moe::gpu::expandRouterLogits(KernelRouterLogitsOp op,
                                                 KernelContext &ctx) {
  Emit e(ctx.loc, ctx.b);
  RouterLogits emitter(e, op, ctx);
  Value many = e.lessU(e.i32(kManyTokens - 1), emitter.getTokens());
  int64_t tileExperts = std::min<int64_t>(4, op.getExperts());
  e.ifThenElse(
      many, [&](Emit &e) { emitter.emit(e, 4, tileExperts); },
      [&](Emit &e) { emitter.emit(e, 1, 1); });
  return success();
}
