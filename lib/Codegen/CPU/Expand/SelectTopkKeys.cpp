//===- SelectTopkKeys.cpp - Selection keys of a token ---------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SelectTopk.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::cpu;

SelectionKeys::SelectionKeys(KernelSelectTopkOp op, KernelContext &ctx)
    : op(op), policy(op.getPolicy().getPolicy()), experts(op.getExperts()) {
  Type f32 = ctx.b.getF32Type(), i32 = ctx.b.getI32Type();
  scores = ctx.allocScratch(f32, roundUpToLanes(experts));
  keys = ctx.allocScratch(i32, roundUpToLanes(experts));
  if (policy.groupFilter != GroupFilter::None)
    groupKeys = ctx.allocScratch(i32, roundUpToLanes(policy.groups));
  if (policy.prefers && policy.preferBeyond > 0) {
    bestIds = ctx.allocScratch(i32, policy.preferBeyond);
    bestKeys = ctx.allocScratch(i32, policy.preferBeyond);
  }
}

bool SelectionKeys::firstDiffers() {
  return policy.biasAfterFirst && op.getBias();
}

Value SelectionKeys::loadBias(ImplicitLocOpBuilder &b, Value token, Value e,
                              int64_t count) {
  Value at = op.getBiasPerToken() ? multiplyAdd(b, token, experts, e) : e;
  return loadLanes(b, op.getBias(), at, count);
}

void SelectionKeys::emitFirst(ImplicitLocOpBuilder &b, Value token,
                              Value logitRow) {
  emitScores(
      b, policy.score, policy.roundScores, op.getLogits(), logitRow, experts,
      scores,
      [&](ImplicitLocOpBuilder &b, Value score, Value e, int64_t count) {
        storeRaw(b, score, scores, e);
        if (op.getBias() && !firstDiffers())
          score = arith::AddFOp::create(b, score, loadBias(b, token, e, count));
        Value key =
            selectLanes(b, count, keyOf(b, score), lanesConstant(b, kExcluded));
        storeRaw(b, key, keys, e);
      });
  if (policy.prefers)
    emitPrefer(b);
  if (policy.groupFilter != GroupFilter::None)
    emitGroupFilter(b);
}

void SelectionKeys::emitRest(ImplicitLocOpBuilder &b, Value token) {
  Value excluded = lanesConstant(b, kExcluded);
  forLanes(b, experts, [&](ImplicitLocOpBuilder &b, Value e, int64_t count) {
    Value old = loadRaw(b, keys, e);
    Value isTaken =
        arith::CmpIOp::create(b, arith::CmpIPredicate::eq, old, excluded);
    Value biased = arith::AddFOp::create(b, loadRaw(b, scores, e),
                                         loadBias(b, token, e, count));
    Value key = arith::SelectOp::create(b, isTaken, excluded, keyOf(b, biased));
    storeRaw(b, key, keys, e);
  });
}

//===----------------------------------------------------------------------===//
// Prefer
//===----------------------------------------------------------------------===//

void SelectionKeys::emitPrefer(ImplicitLocOpBuilder &b) {
  Value zero = indexConstant(b, 0);
  Value numBest = indexConstant(b, policy.preferBeyond);
  auto raise = [&](ImplicitLocOpBuilder &b, Value key) {
    Value value = valueOfKey(b, key);
    Value more = constantLike(b, value, policy.prefer);
    return keyOf(b, arith::AddFOp::create(b, value, more));
  };
  // Taking the best excludes them; they come back raised, and so are not
  // raised a second time for being resident.
  forRange(b, zero, numBest, 1, [&](ImplicitLocOpBuilder &b, Value j) {
    BestKey best = emitTakeBest(b, keys, experts);
    storeIndex(b, best.index, bestIds, j);
    memref::StoreOp::create(b, best.key, bestKeys, j);
  });
  Value excluded = lanesConstant(b, kExcluded);
  Value none = lanesConstant(b, int32_t(0));
  forLanes(b, experts, [&](ImplicitLocOpBuilder &b, Value e, int64_t count) {
    Value key = loadRaw(b, keys, e);
    Value isResident =
        arith::CmpIOp::create(b, arith::CmpIPredicate::ne,
                              loadRaw(b, op.getResident(), e, count), none);
    Value isTaken =
        arith::CmpIOp::create(b, arith::CmpIPredicate::eq, key, excluded);
    Value raised = arith::SelectOp::create(b, isResident, raise(b, key), key);
    storeRaw(b, arith::SelectOp::create(b, isTaken, excluded, raised), keys, e);
  });
  forRange(b, zero, numBest, 1, [&](ImplicitLocOpBuilder &b, Value j) {
    Value id = loadIndex(b, bestIds, j);
    Value key = memref::LoadOp::create(b, bestKeys, j);
    memref::StoreOp::create(b, raise(b, key), keys, id);
  });
}

//===----------------------------------------------------------------------===//
// Groups
//===----------------------------------------------------------------------===//

Value SelectionKeys::emitGroupValue(ImplicitLocOpBuilder &b, Value begin) {
  int64_t size = experts / policy.groups;
  Value excluded = lanesConstant(b, kExcluded);
  bool two = policy.groupFilter == GroupFilter::Top2Sum;
  // The two largest keys of each lane.
  SmallVector<Value> best = forLanes(
      b, size, ValueRange{excluded, excluded},
      [&](ImplicitLocOpBuilder &b, Value i, int64_t count, ValueRange carried) {
        Value key = loadRaw(b, keys, arith::AddIOp::create(b, begin, i), count);
        key = selectLanes(b, count, key, excluded);
        Value smaller = arith::MinSIOp::create(b, carried[0], key);
        return SmallVector<Value>{
            arith::MaxSIOp::create(b, carried[0], key),
            arith::MaxSIOp::create(b, carried[1], smaller)};
      });
  Value first =
      vector::ReductionOp::create(b, vector::CombiningKind::MAXSI, best[0]);
  if (!two)
    return first;
  // Fold the halves; each step keeps the two largest of four.
  Value high = best[0], low = best[1];
  for (int64_t half = kLanes / 2; half >= 1; half /= 2) {
    auto slice = [&](Value lanes, int64_t at) -> Value {
      return vector::ExtractStridedSliceOp::create(b, lanes, at, half, 1);
    };
    Value a = slice(high, 0), c = slice(high, half);
    Value second = arith::MaxSIOp::create(b, slice(low, 0), slice(low, half));
    high = arith::MaxSIOp::create(b, a, c);
    low = arith::MaxSIOp::create(b, second, arith::MinSIOp::create(b, a, c));
  }
  Value second = vector::ExtractOp::create(b, low, ArrayRef<int64_t>{0});
  Value sum =
      arith::AddFOp::create(b, valueOfKey(b, first), valueOfKey(b, second));
  return keyOf(b, sum);
}

void SelectionKeys::emitGroupFilter(ImplicitLocOpBuilder &b) {
  int64_t groups = policy.groups, size = experts / groups;
  Value zero = indexConstant(b, 0), numGroups = indexConstant(b, groups);
  if (groups % kLanes != 0)
    storeRaw(b, lanesConstant(b, kExcluded), groupKeys,
             indexConstant(b, groups / kLanes * kLanes));
  forRange(b, zero, numGroups, 1, [&](ImplicitLocOpBuilder &b, Value group) {
    Value key = emitGroupValue(b, multiplyAdd(b, group, size, zero));
    memref::StoreOp::create(b, key, groupKeys, group);
  });
  forRange(b, zero, indexConstant(b, policy.keepGroups), 1,
           [&](ImplicitLocOpBuilder &b, Value) {
             emitTakeBest(b, groupKeys, groups);
           });
  // A group that was taken is excluded from being taken again; so what is
  // still selectable are the groups to drop.
  forRange(b, zero, numGroups, 1, [&](ImplicitLocOpBuilder &b, Value group) {
    Value key = memref::LoadOp::create(b, groupKeys, group);
    Value dropped = arith::CmpIOp::create(b, arith::CmpIPredicate::ne, key,
                                          i32Constant(b, kExcluded));
    ifThen(b, dropped, [&](ImplicitLocOpBuilder &b) {
      Value begin = multiplyAdd(b, group, size, zero);
      forLanes(b, size, [&](ImplicitLocOpBuilder &b, Value i, int64_t count) {
        storeRaw(b, lanesConstant(b, kExcluded), keys,
                 arith::AddIOp::create(b, begin, i), count);
      });
    });
  });
}
