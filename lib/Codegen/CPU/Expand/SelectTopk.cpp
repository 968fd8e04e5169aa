//===- SelectTopk.cpp - Expansion of moe.kernel.select_topk ---------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One token after the other. Keys are compared as integers: the order of
// docs/Numerics.md ("Router", step 3) on f32 becomes the order of i32 by
// mapping -0 to +0, NaN to -infinity and turning the negative values around.
// The smallest i32 is then free to say "cannot be selected".
//
//===----------------------------------------------------------------------===//

#include "Lanes.h"
#include "moe/Codegen/CPU/KernelExpansion.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

#include <limits>

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::cpu;

namespace {

/// The key of what cannot be selected.
constexpr int32_t kExcluded = std::numeric_limits<int32_t>::min();

class SelectTopk {
public:
  SelectTopk(KernelSelectTopkOp op, KernelContext &ctx);

  void emitToken(ImplicitLocOpBuilder &b, Value token);

private:
  /// Fills `scores` (when the policy has a score function) and `keys`.
  void emitKeys(ImplicitLocOpBuilder &b, Value logitRow);
  /// Excludes the keys of all groups but the best.
  void emitGroupFilter(ImplicitLocOpBuilder &b);
  /// The value of the group whose keys begin at `begin`, as a key.
  Value emitGroupValue(ImplicitLocOpBuilder &b, Value begin);
  /// Index of the first of the largest `size` keys, which is then excluded.
  Value emitTakeBest(ImplicitLocOpBuilder &b, Value from, int64_t size);
  /// Turns the selected scores or logits in `weights` into weights.
  void emitWeights(ImplicitLocOpBuilder &b);
  /// Writes the selected pairs in ascending order of their ids.
  void emitSorted(ImplicitLocOpBuilder &b, Value token);

  KernelSelectTopkOp op;
  PolicyAttr policy;
  int64_t experts, topK;
  /// Scratch: per expert, per group, per selected pair.
  Value scores, keys, groupKeys, ids, weights;
};

} // namespace

//===----------------------------------------------------------------------===//
// Keys
//===----------------------------------------------------------------------===//

static Value compareFloat(ImplicitLocOpBuilder &b, arith::CmpFPredicate how,
                          Value x, Value y) {
  return arith::CmpFOp::create(b, how, x, y);
}

/// Turns the order of negative f32 bits around; its own inverse.
static Value flipNegative(ImplicitLocOpBuilder &b, Value bits) {
  auto constant = [&](int32_t value) -> Value {
    if (isa<VectorType>(bits.getType()))
      return lanesConstant(b, value);
    return i32Constant(b, value);
  };
  Value sign = arith::ShRSIOp::create(b, bits, constant(31));
  Value mask = arith::AndIOp::create(b, sign, constant(0x7fffffff));
  return arith::XOrIOp::create(b, bits, mask);
}

/// Keys of f32 values, scalar or vector.
static Value keyOf(ImplicitLocOpBuilder &b, Value value) {
  bool isVector = isa<VectorType>(value.getType());
  auto constant = [&](float c) -> Value {
    return isVector ? lanesConstant(b, c) : f32Constant(b, c);
  };
  Value zero = constant(0.0f);
  Value lowest = constant(-std::numeric_limits<float>::infinity());
  Value isZero = compareFloat(b, arith::CmpFPredicate::OEQ, value, zero);
  Value isNaN = compareFloat(b, arith::CmpFPredicate::UNO, value, value);
  value = arith::SelectOp::create(b, isZero, zero, value);
  value = arith::SelectOp::create(b, isNaN, lowest, value);
  Type intType = b.getI32Type();
  if (isVector)
    intType = lanesType(intType);
  return flipNegative(b, arith::BitcastOp::create(b, intType, value));
}

/// The f32 of a key.
static Value valueOfKey(ImplicitLocOpBuilder &b, Value key) {
  return arith::BitcastOp::create(b, b.getF32Type(), flipNegative(b, key));
}

/// Largest lane, NaN when any lane is NaN.
static Value reduceMaximum(ImplicitLocOpBuilder &b, Value lanes) {
  for (int64_t half = kLanes / 2; half >= 1; half /= 2) {
    Value low = vector::ExtractStridedSliceOp::create(b, lanes, 0, half, 1);
    Value high = vector::ExtractStridedSliceOp::create(b, lanes, half, half, 1);
    lanes = arith::MaximumFOp::create(b, low, high);
  }
  return vector::ExtractOp::create(b, lanes, ArrayRef<int64_t>{0});
}

static Value sigmoid(ImplicitLocOpBuilder &b, Value x) {
  Value one = lanesConstant(b, 1.0f);
  Value e = math::ExpOp::create(b, arith::NegFOp::create(b, x));
  return arith::DivFOp::create(b, one, arith::AddFOp::create(b, one, e));
}

SelectTopk::SelectTopk(KernelSelectTopkOp op, KernelContext &ctx)
    : op(op), policy(op.getPolicy()), experts(op.getExperts()),
      topK(policy.getTopK()) {
  Type f32 = ctx.b.getF32Type(), i32 = ctx.b.getI32Type();
  scores = ctx.allocScratch(f32, roundUpToLanes(experts));
  keys = ctx.allocScratch(i32, roundUpToLanes(experts));
  if (policy.getGroupFilter() != GroupFilter::None)
    groupKeys = ctx.allocScratch(i32, roundUpToLanes(policy.getGroups()));
  ids = ctx.allocScratch(i32, roundUpToLanes(topK));
  weights = ctx.allocScratch(f32, roundUpToLanes(topK));
}

void SelectTopk::emitKeys(ImplicitLocOpBuilder &b, Value logitRow) {
  auto logitsAt = [&](ImplicitLocOpBuilder &b, Value e, int64_t count) {
    return loadLanes(b, op.getLogits(), arith::AddIOp::create(b, logitRow, e),
                     count);
  };
  Value sum;
  if (policy.getScore() == Score::Softmax) {
    Value lowest = lanesConstant(b, -std::numeric_limits<float>::infinity());
    Value largest = forLanes(b, experts, lowest,
                             [&](ImplicitLocOpBuilder &b, Value e,
                                 int64_t count, ValueRange carried) {
                               Value l = selectLanes(
                                   b, count, logitsAt(b, e, count), lowest);
                               return SmallVector<Value>{
                                   arith::MaximumFOp::create(b, carried[0], l)};
                             })[0];
    Value maximum = broadcastLanes(b, reduceMaximum(b, largest));
    Value lanes = forLanes(
        b, experts, lanesConstant(b, 0.0f),
        [&](ImplicitLocOpBuilder &b, Value e, int64_t count,
            ValueRange carried) {
          Value l = logitsAt(b, e, count);
          Value t =
              math::ExpOp::create(b, arith::SubFOp::create(b, l, maximum));
          storeRaw(b, t, scores, e);
          Value lane = arith::AddFOp::create(b, carried[0], t);
          return SmallVector<Value>{selectLanes(b, count, lane, carried[0])};
        })[0];
    sum = broadcastLanes(b, addHalves(b, lanes));
  }
  forLanes(b, experts, [&](ImplicitLocOpBuilder &b, Value e, int64_t count) {
    Value score;
    switch (policy.getScore()) {
    case Score::Softmax:
      score = arith::DivFOp::create(b, loadRaw(b, scores, e), sum);
      break;
    case Score::Sigmoid:
      score = sigmoid(b, logitsAt(b, e, count));
      break;
    case Score::None:
      score = logitsAt(b, e, count);
      break;
    }
    storeRaw(b, score, scores, e);
    if (Value bias = op.getBias())
      score = arith::AddFOp::create(b, score, loadLanes(b, bias, e, count));
    Value key =
        selectLanes(b, count, keyOf(b, score), lanesConstant(b, kExcluded));
    storeRaw(b, key, keys, e);
  });
}

//===----------------------------------------------------------------------===//
// Selection
//===----------------------------------------------------------------------===//

Value SelectTopk::emitTakeBest(ImplicitLocOpBuilder &b, Value from,
                               int64_t size) {
  SmallVector<int32_t> counting(kLanes);
  std::iota(counting.begin(), counting.end(), 0);
  Value iota = arith::ConstantOp::create(
      b, DenseElementsAttr::get(lanesType(b.getI32Type()),
                                ArrayRef<int32_t>(counting)));
  // Strictly greater: within a lane the first of equal keys stays.
  SmallVector<Value> best = forLanes(
      b, roundUpToLanes(size),
      ValueRange{lanesConstant(b, kExcluded), iota, iota},
      [&](ImplicitLocOpBuilder &b, Value i, int64_t, ValueRange carried) {
        Value key = loadRaw(b, from, i);
        Value greater = arith::CmpIOp::create(b, arith::CmpIPredicate::sgt, key,
                                              carried[0]);
        Value next = arith::AddIOp::create(
            b, carried[2], lanesConstant(b, static_cast<int32_t>(kLanes)));
        return SmallVector<Value>{
            arith::SelectOp::create(b, greater, key, carried[0]),
            arith::SelectOp::create(b, greater, carried[2], carried[1]), next};
      });
  Value largest =
      vector::ReductionOp::create(b, vector::CombiningKind::MAXSI, best[0]);
  Value isLargest = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, best[0],
                                          broadcastLanes(b, largest));
  Value candidates = arith::SelectOp::create(
      b, isLargest, best[1],
      lanesConstant(b, std::numeric_limits<int32_t>::max()));
  Value first =
      vector::ReductionOp::create(b, vector::CombiningKind::MINSI, candidates);
  Value index = arith::IndexCastOp::create(b, b.getIndexType(), first);
  memref::StoreOp::create(b, i32Constant(b, kExcluded), from, index);
  return index;
}

Value SelectTopk::emitGroupValue(ImplicitLocOpBuilder &b, Value begin) {
  int64_t size = experts / policy.getGroups();
  Value excluded = lanesConstant(b, kExcluded);
  bool two = policy.getGroupFilter() == GroupFilter::Top2Sum;
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

void SelectTopk::emitGroupFilter(ImplicitLocOpBuilder &b) {
  int64_t groups = policy.getGroups(), size = experts / groups;
  Value zero = indexConstant(b, 0), numGroups = indexConstant(b, groups);
  if (groups % kLanes != 0)
    storeRaw(b, lanesConstant(b, kExcluded), groupKeys,
             indexConstant(b, groups / kLanes * kLanes));
  forRange(b, zero, numGroups, 1, [&](ImplicitLocOpBuilder &b, Value group) {
    Value key = emitGroupValue(b, multiplyAdd(b, group, size, zero));
    memref::StoreOp::create(b, key, groupKeys, group);
  });
  forRange(b, zero, indexConstant(b, policy.getKeepGroups()), 1,
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

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

void SelectTopk::emitWeights(ImplicitLocOpBuilder &b) {
  Value zero = indexConstant(b, 0), one = indexConstant(b, 1);
  Value end = indexConstant(b, topK);
  // Reduces the weights in selection order, starting from the first.
  auto reduce =
      [&](function_ref<Value(ImplicitLocOpBuilder &, Value, Value)> combine)
      -> Value {
    Value first = memref::LoadOp::create(b, weights, zero);
    return forRange(b, one, end, 1, first,
                    [&](ImplicitLocOpBuilder &b, Value j, ValueRange carried) {
                      Value w = memref::LoadOp::create(b, weights, j);
                      return SmallVector<Value>{combine(b, carried[0], w)};
                    })[0];
  };
  auto update = [&](function_ref<Value(ImplicitLocOpBuilder &, Value)> change) {
    forLanes(b, roundUpToLanes(topK),
             [&](ImplicitLocOpBuilder &b, Value j, int64_t) {
               storeRaw(b, change(b, loadRaw(b, weights, j)), weights, j);
             });
  };
  auto sum = [&]() {
    return reduce([](ImplicitLocOpBuilder &b, Value x, Value y) -> Value {
      return arith::AddFOp::create(b, x, y);
    });
  };
  auto divideBy = [&](Value scalar) {
    Value divisor = broadcastLanes(b, scalar);
    update([&](ImplicitLocOpBuilder &b, Value w) -> Value {
      return arith::DivFOp::create(b, w, divisor);
    });
  };

  if (policy.getWeightSource() == WeightSource::Softmax) {
    Value largest = broadcastLanes(
        b, reduce([](ImplicitLocOpBuilder &b, Value x, Value y) -> Value {
          return arith::MaximumFOp::create(b, x, y);
        }));
    update([&](ImplicitLocOpBuilder &b, Value l) -> Value {
      return math::ExpOp::create(b, arith::SubFOp::create(b, l, largest));
    });
    divideBy(sum());
  }
  if (policy.getNormalize()) {
    Value d = sum();
    if (!policy.getEpsilon().isZero())
      d = arith::AddFOp::create(
          b, d, f32Constant(b, policy.getEpsilon().convertToFloat()));
    divideBy(d);
  }
  bool scaled = !policy.getScale().isExactlyValue(1.0);
  Type round = policy.getRoundWeights();
  if (!scaled && !round)
    return;
  update([&](ImplicitLocOpBuilder &b, Value w) {
    if (scaled)
      w = arith::MulFOp::create(
          b, w, lanesConstant(b, policy.getScale().convertToFloat()));
    return round ? roundTo(b, w, round) : w;
  });
}

void SelectTopk::emitSorted(ImplicitLocOpBuilder &b, Value token) {
  Value zero = indexConstant(b, 0);
  Value row = multiplyAdd(b, token, topK, zero);
  forRange(
      b, zero, indexConstant(b, topK), 1,
      [&](ImplicitLocOpBuilder &b, Value j) {
        Value id = memref::LoadOp::create(b, ids, j);
        Value pivot = broadcastLanes(b, id);
        Value smaller = forLanes(
            b, roundUpToLanes(topK), lanesConstant(b, 0),
            [&](ImplicitLocOpBuilder &b, Value i, int64_t, ValueRange carried) {
              Value less = arith::CmpIOp::create(b, arith::CmpIPredicate::slt,
                                                 loadRaw(b, ids, i), pivot);
              Value one =
                  arith::ExtUIOp::create(b, lanesType(b.getI32Type()), less);
              return SmallVector<Value>{
                  arith::AddIOp::create(b, carried[0], one)};
            })[0];
        Value rank =
            vector::ReductionOp::create(b, vector::CombiningKind::ADD, smaller);
        Value at = arith::AddIOp::create(
            b, row, arith::IndexCastOp::create(b, b.getIndexType(), rank));
        memref::StoreOp::create(b, id, op.getIds(), at);
        Value weight = memref::LoadOp::create(b, weights, j);
        memref::StoreOp::create(b, weight, op.getWeights(), at);
      });
}

void SelectTopk::emitToken(ImplicitLocOpBuilder &b, Value token) {
  Value logitRow = multiplyAdd(b, token, experts, indexConstant(b, 0));
  emitKeys(b, logitRow);
  if (policy.getGroupFilter() != GroupFilter::None)
    emitGroupFilter(b);
  // Lanes behind the last pair: ids that never count as smaller.
  int64_t whole = topK / kLanes * kLanes;
  if (topK != whole) {
    Value tail = indexConstant(b, whole);
    storeRaw(b, lanesConstant(b, std::numeric_limits<int32_t>::max()), ids,
             tail);
    storeRaw(b, lanesConstant(b, 0.0f), weights, tail);
  }
  bool fromLogits = policy.getWeightSource() == WeightSource::Softmax;
  forRange(b, indexConstant(b, 0), indexConstant(b, topK), 1,
           [&](ImplicitLocOpBuilder &b, Value j) {
             Value best = emitTakeBest(b, keys, experts);
             storeIndex(b, best, ids, j);
             Value weight =
                 fromLogits
                     ? memref::LoadOp::create(
                           b, op.getLogits(),
                           ValueRange{arith::AddIOp::create(b, logitRow, best)})
                     : memref::LoadOp::create(b, scores, ValueRange{best});
             memref::StoreOp::create(b, weight, weights, j);
           });
  emitWeights(b);
  emitSorted(b, token);
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
