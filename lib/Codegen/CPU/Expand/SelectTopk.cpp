//===- SelectTopk.cpp - Expansion of moe.kernel.select_topk ---------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One token after the other, through the steps of docs/Numerics.md ("Router").
//
//===----------------------------------------------------------------------===//

#include "SelectTopk.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::cpu;

namespace {

class SelectTopk {
public:
  SelectTopk(KernelSelectTopkOp op, KernelContext &ctx)
      : op(op), policy(op.getPolicy().getPolicy()), experts(op.getExperts()),
        keys(op, ctx), pairs(op.getPolicy(), ctx) {}

  void emitToken(ImplicitLocOpBuilder &b, Value token);

private:
  /// The j-th choice, from the keys as they are.
  void emitChoice(ImplicitLocOpBuilder &b, Value j, Value logitRow);
  /// The weight of sparsemixer for the choice `best`, the last one taken.
  Value emitSparsemixer(ImplicitLocOpBuilder &b, Value best, Value logitRow);

  KernelSelectTopkOp op;
  const Policy policy;
  int64_t experts;
  SelectionKeys keys;
  ChosenPairs pairs;
};

} // namespace

Value SelectTopk::emitSparsemixer(ImplicitLocOpBuilder &b, Value best,
                                  Value logitRow) {
  Value at = arith::AddIOp::create(b, logitRow, best);
  Value m = memref::LoadOp::create(b, op.getLogits(), at);
  Value largest = broadcastLanes(b, m);
  Value bound = lanesConstant(b, 2 * policy.jitter);
  Value zero = lanesConstant(b, 0.0f), excluded = lanesConstant(b, kExcluded);
  // The keys taken so far are excluded. The choice itself counts: put it back
  // for a moment.
  memref::StoreOp::create(b, i32Constant(b, 0), keys.keys, best);
  Value lanes = forLanes(
      b, experts, zero,
      [&](ImplicitLocOpBuilder &b, Value e, int64_t count, ValueRange carried) {
        Value l = loadLanes(b, op.getLogits(),
                            arith::AddIOp::create(b, logitRow, e), count);
        Value less = arith::SubFOp::create(b, l, largest);
        Value distance = arith::SubFOp::create(b, largest, l);
        Value size = math::AbsFOp::create(b, l);
        Value isGreater =
            arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, size, largest);
        Value scale = arith::SelectOp::create(b, isGreater, size, largest);
        Value ratio = arith::DivFOp::create(b, distance, scale);
        // Not greater: also when the ratio is NaN.
        Value isNear =
            arith::CmpFOp::create(b, arith::CmpFPredicate::ULE, ratio, bound);
        Value isFree = arith::CmpIOp::create(
            b, arith::CmpIPredicate::ne, loadRaw(b, keys.keys, e), excluded);
        Value counts = arith::AndIOp::create(b, isNear, isFree);
        Value term = arith::SelectOp::create(
            b, counts, math::ExpOp::create(b, less), zero);
        Value lane = arith::AddFOp::create(b, carried[0], term);
        return SmallVector<Value>{selectLanes(b, count, lane, carried[0])};
      })[0];
  memref::StoreOp::create(b, i32Constant(b, kExcluded), keys.keys, best);
  return arith::DivFOp::create(b, f32Constant(b, 1.0f), addHalves(b, lanes));
}

void SelectTopk::emitChoice(ImplicitLocOpBuilder &b, Value j, Value logitRow) {
  Value best = emitTakeBest(b, keys.keys, experts).index;
  Value weight;
  switch (policy.weightSource) {
  case WeightSource::Scores:
    weight = memref::LoadOp::create(b, keys.scores, best);
    break;
  case WeightSource::Softmax:
  case WeightSource::Sigmoid:
    weight = memref::LoadOp::create(
        b, op.getLogits(),
        ValueRange{arith::AddIOp::create(b, logitRow, best)});
    break;
  case WeightSource::Sparsemixer:
    weight = emitSparsemixer(b, best, logitRow);
    break;
  case WeightSource::Constant:
    weight = f32Constant(b, 1.0f);
    break;
  }
  Value id = arith::IndexCastOp::create(b, b.getI32Type(), best);
  pairs.emitStore(b, j, id, weight);
}

void SelectTopk::emitToken(ImplicitLocOpBuilder &b, Value token) {
  Value zero = indexConstant(b, 0);
  Value logitRow = multiplyAdd(b, token, experts, zero);
  Value row = multiplyAdd(b, token, policy.topK, zero);
  keys.emitFirst(b, token, logitRow);
  pairs.emitClearTail(b);
  Value next = zero;
  if (keys.firstDiffers()) {
    emitChoice(b, zero, logitRow);
    keys.emitRest(b, token);
    next = indexConstant(b, 1);
  }
  forRange(
      b, next, indexConstant(b, policy.topK), 1,
      [&](ImplicitLocOpBuilder &b, Value j) { emitChoice(b, j, logitRow); });
  pairs.emitWeightsOfLogits(b);
  pairs.emitDrops(b, experts - policy.nullExperts, op.getRandom(), row);
  if (policy.capacityAttr)
    pairs.emitInOrder(b, op.getIds(), op.getWeights(), row);
  else
    pairs.emitFinish(b, op.getIds(), op.getWeights(), row);
}

LogicalResult mlir::moe::cpu::expandSelectTopk(KernelSelectTopkOp op,
                                               KernelContext &ctx) {
  ImplicitLocOpBuilder b(ctx.loc, ctx.b);
  SelectTopk emitter(op, ctx);
  auto [begin, end] = ctx.splitRange(op.getTokens());
  forRange(b, begin, end, 1, [&](ImplicitLocOpBuilder &b, Value token) {
    emitter.emitToken(b, token);
  });
  return success();
}
