//===- SelectTopkPairs.cpp - From choices to weighted pairs ---------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SelectTopk.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::cpu;

ChosenPairs::ChosenPairs(PolicyAttr policy, KernelContext &ctx)
    : policy(policy.getPolicy()), dropsPairs(policy.dropsPairs()) {
  int64_t lanes = roundUpToLanes(policy.getTopK());
  ids = ctx.allocScratch(ctx.b.getI32Type(), lanes);
  weights = ctx.allocScratch(ctx.b.getF32Type(), lanes);
}

void ChosenPairs::emitClearTail(ImplicitLocOpBuilder &b) {
  int64_t whole = policy.topK / kLanes * kLanes;
  if (policy.topK == whole)
    return;
  // Ids that never count as smaller.
  Value tail = indexConstant(b, whole);
  storeRaw(b, lanesConstant(b, std::numeric_limits<int32_t>::max()), ids, tail);
  storeRaw(b, lanesConstant(b, 0.0f), weights, tail);
}

void ChosenPairs::emitStore(ImplicitLocOpBuilder &b, Value j, Value id,
                            Value weight) {
  memref::StoreOp::create(b, id, ids, j);
  memref::StoreOp::create(b, weight, weights, j);
}

//===----------------------------------------------------------------------===//
// Arithmetic on all weights
//===----------------------------------------------------------------------===//

void ChosenPairs::update(ImplicitLocOpBuilder &b, Update change) {
  forLanes(b, roundUpToLanes(policy.topK),
           [&](ImplicitLocOpBuilder &b, Value j, int64_t) {
             storeRaw(b, change(b, loadRaw(b, weights, j)), weights, j);
           });
}

void ChosenPairs::divideBy(ImplicitLocOpBuilder &b, Value scalar) {
  Value divisor = broadcastLanes(b, scalar);
  update(b, [&](ImplicitLocOpBuilder &b, Value w) -> Value {
    return arith::DivFOp::create(b, w, divisor);
  });
}

Value ChosenPairs::reduce(ImplicitLocOpBuilder &b, Combine combine, Map map) {
  Value zero = indexConstant(b, 0);
  auto at = [&](ImplicitLocOpBuilder &b, Value j) {
    return map(b, j, memref::LoadOp::create(b, weights, j));
  };
  return forRange(b, indexConstant(b, 1), indexConstant(b, policy.topK), 1,
                  at(b, zero),
                  [&](ImplicitLocOpBuilder &b, Value j, ValueRange carried) {
                    return SmallVector<Value>{combine(b, carried[0], at(b, j))};
                  })[0];
}

Value ChosenPairs::sum(ImplicitLocOpBuilder &b, Map map) {
  return reduce(
      b,
      [](ImplicitLocOpBuilder &b, Value x, Value y) -> Value {
        return arith::AddFOp::create(b, x, y);
      },
      map);
}

/// The weight itself.
static Value weightItself(ImplicitLocOpBuilder &, Value, Value weight) {
  return weight;
}

Value ChosenPairs::isPair(ImplicitLocOpBuilder &b, Value id) {
  return arith::CmpIOp::create(b, arith::CmpIPredicate::sge, id,
                               i32Constant(b, 0));
}

//===----------------------------------------------------------------------===//
// Steps 6 to 9
//===----------------------------------------------------------------------===//

void ChosenPairs::emitWeightsOfLogits(ImplicitLocOpBuilder &b) {
  if (policy.weightSource == WeightSource::Sigmoid)
    return update(b, emitSigmoid);
  if (policy.weightSource != WeightSource::Softmax)
    return;
  Value largest = broadcastLanes(
      b, reduce(
             b,
             [](ImplicitLocOpBuilder &b, Value x, Value y) -> Value {
               return arith::MaximumFOp::create(b, x, y);
             },
             weightItself));
  update(b, [&](ImplicitLocOpBuilder &b, Value l) -> Value {
    return math::ExpOp::create(b, arith::SubFOp::create(b, l, largest));
  });
  divideBy(b, sum(b, weightItself));
}

void ChosenPairs::emitDrops(ImplicitLocOpBuilder &b, int64_t firstNull,
                            Value random, Value row) {
  if (policy.nullExperts > 0)
    forRange(b, indexConstant(b, 0), indexConstant(b, policy.topK), 1,
             [&](ImplicitLocOpBuilder &b, Value j) {
               Value id = memref::LoadOp::create(b, ids, j);
               Value isNull = arith::CmpIOp::create(
                   b, arith::CmpIPredicate::sge, id, i32Constant(b, firstNull));
               ifThen(b, isNull, [&](ImplicitLocOpBuilder &b) {
                 emitStore(b, j, i32Constant(b, -1), f32Constant(b, 0.0f));
               });
             });
  if (policy.normalize && !policy.afterDrop)
    emitNormalize(b, /*pairsOnly=*/false);
  if (policy.keep != Keep::All)
    emitKeep(b, random, row);
}

void ChosenPairs::emitNormalize(ImplicitLocOpBuilder &b, bool pairsOnly) {
  auto term = [&](ImplicitLocOpBuilder &b, Value j, Value w) {
    if (policy.norm != 0) {
      w = math::AbsFOp::create(b, w);
      Value power = w;
      for (int64_t i = 1; i < policy.norm; ++i)
        power = arith::MulFOp::create(b, power, w);
      w = power;
    }
    // Adding +0 is as good as leaving out: the sum only divides.
    if (pairsOnly)
      w = arith::SelectOp::create(b,
                                  isPair(b, memref::LoadOp::create(b, ids, j)),
                                  w, f32Constant(b, 0.0f));
    return w;
  };
  Value d = sum(b, term);
  if (policy.norm == 2) {
    d = math::SqrtOp::create(b, d);
  } else if (policy.norm > 2) {
    Value log = math::LogOp::create(b, d);
    Value share = arith::DivFOp::create(
        b, log, f32Constant(b, static_cast<float>(policy.norm)));
    d = math::ExpOp::create(b, share);
  }
  if (policy.atLeast) {
    Value least = f32Constant(b, policy.epsilon);
    // Unordered or greater: a NaN stays.
    Value stays = arith::CmpFOp::create(b, arith::CmpFPredicate::UGT, d, least);
    d = arith::SelectOp::create(b, stays, d, least);
  } else if (policy.epsilon != 0) {
    d = arith::AddFOp::create(b, d, f32Constant(b, policy.epsilon));
  }
  divideBy(b, d);
}

void ChosenPairs::emitKeep(ImplicitLocOpBuilder &b, Value random, Value row) {
  Value bound = f32Constant(b, policy.keepBound);
  Value first = memref::LoadOp::create(b, weights, indexConstant(b, 0));
  forRange(b, indexConstant(b, 1), indexConstant(b, policy.topK), 1, first,
           [&](ImplicitLocOpBuilder &b, Value j, ValueRange carried) {
             Value w = memref::LoadOp::create(b, weights, j);
             Value lesser = bound, greater = w, before = carried[0];
             if (policy.keep == Keep::TopP) {
               lesser = before;
               greater = bound;
             } else if (policy.keep == Keep::Random) {
               Value u = memref::LoadOp::create(
                   b, random, ValueRange{arith::AddIOp::create(b, row, j)});
               lesser = arith::MulFOp::create(b, u, bound);
             }
             Value stays = arith::CmpFOp::create(b, arith::CmpFPredicate::OLT,
                                                 lesser, greater);
             Value id = memref::LoadOp::create(b, ids, j);
             id = arith::SelectOp::create(b, stays, id, i32Constant(b, -1));
             memref::StoreOp::create(b, id, ids, j);
             return SmallVector<Value>{arith::AddFOp::create(b, before, w)};
           });
}

//===----------------------------------------------------------------------===//
// Steps 11 to 13
//===----------------------------------------------------------------------===//

void ChosenPairs::emitFinish(ImplicitLocOpBuilder &b, Value toIds,
                             Value toWeights, Value row) {
  if (policy.normalize && policy.afterDrop)
    emitNormalize(b, /*pairsOnly=*/true);
  Type round = policy.roundWeights;
  if (policy.scale != 1 || round)
    update(b, [&](ImplicitLocOpBuilder &b, Value w) {
      if (policy.scale != 1)
        w = arith::MulFOp::create(b, w, lanesConstant(b, policy.scale));
      return round ? roundTo(b, w, round) : w;
    });
  emitSorted(b, toIds, toWeights, row);
}

void ChosenPairs::emitSorted(ImplicitLocOpBuilder &b, Value toIds,
                             Value toWeights, Value row) {
  Value zero = indexConstant(b, 0);
  if (dropsPairs)
    forLanes(b, policy.topK,
             [&](ImplicitLocOpBuilder &b, Value j, int64_t count) {
               Value at = arith::AddIOp::create(b, row, j);
               storeRaw(b, lanesConstant(b, int32_t(-1)), toIds, at, count);
               storeRaw(b, lanesConstant(b, 0.0f), toWeights, at, count);
             });
  auto store = [&](ImplicitLocOpBuilder &b, Value j, Value id) {
    // Unsigned: what is no pair comes behind all pairs.
    Value pivot = broadcastLanes(b, id);
    Value smaller = forLanes(
        b, roundUpToLanes(policy.topK), lanesConstant(b, int32_t(0)),
        [&](ImplicitLocOpBuilder &b, Value i, int64_t, ValueRange carried) {
          Value less = arith::CmpIOp::create(b, arith::CmpIPredicate::ult,
                                             loadRaw(b, ids, i), pivot);
          Value one =
              arith::ExtUIOp::create(b, lanesType(b.getI32Type()), less);
          return SmallVector<Value>{arith::AddIOp::create(b, carried[0], one)};
        })[0];
    Value rank =
        vector::ReductionOp::create(b, vector::CombiningKind::ADD, smaller);
    Value at = arith::AddIOp::create(
        b, row, arith::IndexCastOp::create(b, b.getIndexType(), rank));
    memref::StoreOp::create(b, id, toIds, at);
    Value weight = memref::LoadOp::create(b, weights, j);
    memref::StoreOp::create(b, weight, toWeights, at);
  };
  forRange(b, zero, indexConstant(b, policy.topK), 1,
           [&](ImplicitLocOpBuilder &b, Value j) {
             Value id = memref::LoadOp::create(b, ids, j);
             if (!dropsPairs)
               return store(b, j, id);
             ifThen(b, isPair(b, id),
                    [&](ImplicitLocOpBuilder &b) { store(b, j, id); });
           });
}

void ChosenPairs::emitInOrder(ImplicitLocOpBuilder &b, Value toIds,
                              Value toWeights, Value row) {
  Value none = lanesConstant(b, int32_t(0)), zero = lanesConstant(b, 0.0f);
  forLanes(b, policy.topK,
           [&](ImplicitLocOpBuilder &b, Value j, int64_t count) {
             Value id = loadRaw(b, ids, j);
             Value is =
                 arith::CmpIOp::create(b, arith::CmpIPredicate::sge, id, none);
             Value weight =
                 arith::SelectOp::create(b, is, loadRaw(b, weights, j), zero);
             Value at = arith::AddIOp::create(b, row, j);
             storeRaw(b, id, toIds, at, count);
             storeRaw(b, weight, toWeights, at, count);
           });
}
