//===- SelectTopk.cpp - Expansion of moe.kernel.select_topk ---------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One warp per token; experts, groups and pairs are spread over its lanes.
// Keys are compared as integers: the order of docs/Numerics.md ("Router", step
// 3) on f32 becomes the order of i32 by mapping -0 to +0, NaN to -infinity and
// turning the negative values around. The smallest i32 is then free to say
// "cannot be selected".
//
//===----------------------------------------------------------------------===//

#include "SelectTopk.h"
#include "LaneArray.h"

#include "mlir/Dialect/Math/IR/Math.h"

#include <limits>

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::gpu;

namespace {

/// The key of what cannot be selected.
constexpr int32_t kExcluded = std::numeric_limits<int32_t>::min();
constexpr int64_t kSumLanes = 16;

class SelectTopk {
public:
  SelectTopk(Emit &e, KernelContext &ctx, const SelectTopkArgs &args);

  void emitToken(Emit &e, Value token);

private:
  /// Fills `scores` and `keys`.
  void emitScores(Emit &e, Value logitRow);
  void emitSoftmax(Emit &e, Value largest);
  void emitKeys(Emit &e, Value token);
  /// The sixteen-lane sum of `scores`.
  Value emitSum(Emit &e);
  /// Excludes the keys of all groups but the best.
  void emitGroupFilter(Emit &e);
  /// The value of a group, as a key.
  Value emitGroupValue(Emit &e, Value group);
  /// Index of the first of the largest keys, which is then excluded.
  Value emitTakeBest(Emit &e, LaneArray &from);
  /// What a chosen expert's weight starts from: its score or its logit.
  Value emitFirstWeight(Emit &e, Value logitRow, Value expert);
  /// Turns the selected scores or logits in `weights` into weights.
  void emitWeights(Emit &e);
  void emitNormalize(Emit &e);
  /// Chosen experts that do nothing are no pairs.
  void emitNullExperts(Emit &e);
  /// Removes the pairs that do not stay.
  void emitKeep(Emit &e);
  /// The sum over `weights` in order of selection, of what `change` makes of
  /// each.
  Value emitWeightSum(Emit &e, function_ref<Value(Emit &, Value)> change);
  void updateWeights(Emit &e, function_ref<Value(Emit &, Value)> change);
  /// Writes the selected pairs in ascending order of their ids.
  void emitSorted(Emit &e, Value token);

  KernelContext &ctx;
  const SelectTopkArgs &args;
  PolicyAttr policy;
  int64_t experts, topK;
  LaneArray scores, keys, groupKeys, ids, weights, sums, ranks;
};

} // namespace

//===----------------------------------------------------------------------===//
// Keys
//===----------------------------------------------------------------------===//

/// Turns the order of negative f32 bits around; its own inverse.
static Value flipNegative(Emit &e, Value bits) {
  Value sign = arith::ShRSIOp::create(e, bits, e.i32(31));
  return e.bitXor(bits, e.bitAnd(sign, e.i32(0x7fffffff)));
}

static Value keyOf(Emit &e, Value value) {
  Value zero = e.f32(0.0f);
  Value isZero =
      arith::CmpFOp::create(e, arith::CmpFPredicate::OEQ, value, zero);
  Value isNaN =
      arith::CmpFOp::create(e, arith::CmpFPredicate::UNO, value, value);
  value = e.select(isZero, zero, value);
  value =
      e.select(isNaN, e.f32(-std::numeric_limits<float>::infinity()), value);
  return flipNegative(e, arith::BitcastOp::create(e, e.getI32Type(), value));
}

/// The f32 of a key.
static Value valueOfKey(Emit &e, Value key) {
  return arith::BitcastOp::create(e, e.getF32Type(), flipNegative(e, key));
}

static Value maxS(Emit &e, Value x, Value y) {
  return arith::MaxSIOp::create(e, x, y);
}

static Value minS(Emit &e, Value x, Value y) {
  return arith::MinSIOp::create(e, x, y);
}

static Value sigmoid(Emit &e, Value x) {
  Value one = e.f32(1.0f);
  Value power = math::ExpOp::create(e, arith::NegFOp::create(e, x));
  return arith::DivFOp::create(e, one, arith::AddFOp::create(e, one, power));
}

/// sqrt((x > 0 ? x : 0) + log(1 + exp(-|x|))); NaN stays NaN.
static Value sqrtSoftplus(Emit &e, Value x) {
  Value zero = e.f32(0.0f), one = e.f32(1.0f);
  Value isPositive =
      arith::CmpFOp::create(e, arith::CmpFPredicate::OGT, x, zero);
  Value isNaN = arith::CmpFOp::create(e, arith::CmpFPredicate::UNO, x, x);
  Value power = math::ExpOp::create(
      e, arith::NegFOp::create(e, math::AbsFOp::create(e, x)));
  Value log = math::LogOp::create(e, arith::AddFOp::create(e, one, power));
  Value sum = arith::AddFOp::create(e, e.select(isPositive, x, zero), log);
  return math::SqrtOp::create(e, e.select(isNaN, x, sum));
}

static Value orIfOutside(Emit &e, Value inside, Value value, Value otherwise) {
  return inside ? e.select(inside, value, otherwise) : value;
}

SelectTopk::SelectTopk(Emit &e, KernelContext &ctx, const SelectTopkArgs &args)
    : ctx(ctx), args(args), policy(args.policy), experts(args.experts),
      topK(policy.getTopK()), scores(e, ctx, e.getF32Type(), experts),
      keys(e, ctx, e.getI32Type(), experts),
      groupKeys(e, ctx, e.getI32Type(), policy.getGroups()),
      ids(e, ctx, e.getI32Type(), topK), weights(e, ctx, e.getF32Type(), topK),
      sums(e, ctx, e.getF32Type(), policy.getKeep() == Keep::TopP ? topK : 1),
      ranks(e, ctx, e.getI32Type(), topK) {}

Value SelectTopk::emitSum(Emit &e) {
  // A slot has two elements of each lane of the sum: that of this thread and
  // that of the thread 16 lanes away. Both threads add both.
  Value lane = e.bitAnd(ctx.lane, e.i32(kSumLanes - 1));
  Value isLower = e.lessU(ctx.lane, e.i32(kSumLanes));
  Value sum = scores.forSlots(
      e, e.f32(0.0f), [&](Emit &e, Slot slot, ValueRange carried) {
        Value own = scores.get(e, slot);
        Value other = e.shuffleXor(own, kSumLanes);
        Value elements[] = {e.select(isLower, own, other),
                            e.select(isLower, other, own)};
        bool isPartial = Value(scores.isInside(e, slot)) != Value();
        Value result = carried[0];
        Value index = e.add(e.sub(scores.indexOf(e, slot), ctx.lane), lane);
        for (Value element : elements) {
          Value next = arith::AddFOp::create(e, result, element);
          Value inside = isPartial ? e.lessU(index, e.i32(experts)) : Value();
          result = orIfOutside(e, inside, next, result);
          index = e.add(index, kSumLanes);
        }
        return SmallVector<Value>{result};
      })[0];
  for (int64_t distance : {8, 4, 2, 1})
    sum = arith::AddFOp::create(e, sum, e.shuffleXor(sum, distance));
  return sum;
}

void SelectTopk::emitScores(Emit &e, Value logitRow) {
  Value lowest = e.f32(-std::numeric_limits<float>::infinity());
  Value largest =
      scores.forSlots(e, lowest, [&](Emit &e, Slot slot, ValueRange carried) {
        Value index = scores.indexOf(e, slot);
        Value inside = scores.isInside(e, slot);
        Value logit =
            inside ? loadIf(e, inside, e.getF32Type(), logitRow, index, lowest)
                   : e.load(e.getF32Type(), logitRow, index);
        scores.set(e, slot, logit);
        return SmallVector<Value>{
            arith::MaximumFOp::create(e, carried[0], logit)};
      })[0];
  auto update = [&](function_ref<Value(Emit &, Value)> change) {
    scores.forSlots(e, [&](Emit &e, Slot slot) {
      scores.set(e, slot, change(e, scores.get(e, slot)));
    });
  };
  switch (policy.getScore()) {
  case Score::None:
    break;
  case Score::Sigmoid:
    update(sigmoid);
    break;
  case Score::SqrtSoftplus:
    update(sqrtSoftplus);
    break;
  case Score::Softmax:
    emitSoftmax(e, largest);
    break;
  }
  if (Type type = policy.getRoundScores())
    update(
        [&](Emit &e, Value score) { return e.toF32(e.fromF32(score, type)); });
}

void SelectTopk::emitSoftmax(Emit &e, Value largest) {
  largest = warpMaximum(e, largest);
  scores.forSlots(e, [&](Emit &e, Slot slot) {
    Value distance = arith::SubFOp::create(e, scores.get(e, slot), largest);
    scores.set(e, slot, math::ExpOp::create(e, distance));
  });
  Value sum = emitSum(e);
  scores.forSlots(e, [&](Emit &e, Slot slot) {
    scores.set(e, slot, arith::DivFOp::create(e, scores.get(e, slot), sum));
  });
}

void SelectTopk::emitKeys(Emit &e, Value token) {
  Value biases = args.bias;
  if (args.biasPerToken)
    biases = e.address(e.getF32Type(), biases, e.mul(e.toI64(token), experts));
  keys.forSlots(e, [&](Emit &e, Slot slot) {
    Value key = scores.get(e, slot);
    Value inside = keys.isInside(e, slot);
    if (biases) {
      Value index = keys.indexOf(e, slot);
      Value bias =
          inside ? loadIf(e, inside, e.getF32Type(), biases, index, e.f32(0.0f))
                 : e.load(e.getF32Type(), biases, index);
      key = arith::AddFOp::create(e, key, bias);
    }
    keys.set(e, slot, orIfOutside(e, inside, keyOf(e, key), e.i32(kExcluded)));
  });
}

//===----------------------------------------------------------------------===//
// Selection
//===----------------------------------------------------------------------===//

Value SelectTopk::emitTakeBest(Emit &e, LaneArray &from) {
  // Strictly greater: within a lane the first of equal keys stays.
  SmallVector<Value> best = from.forSlots(
      e, ValueRange{e.i32(kExcluded), ctx.lane},
      [&](Emit &e, Slot slot, ValueRange carried) {
        Value key = from.get(e, slot);
        Value isGreater = e.cmp(arith::CmpIPredicate::sgt, key, carried[0]);
        return SmallVector<Value>{
            e.select(isGreater, key, carried[0]),
            e.select(isGreater, from.indexOf(e, slot), carried[1])};
      });
  Value isLargest = e.equal(best[0], warpMaxS(e, best[0]));
  Value candidate =
      e.select(isLargest, best[1], e.i32(std::numeric_limits<int32_t>::max()));
  Value first = warpMinS(e, candidate);
  from.put(e, first, e.i32(kExcluded));
  return first;
}

Value SelectTopk::emitGroupValue(Emit &e, Value group) {
  int64_t size = experts / policy.getGroups();
  Value begin = e.mul(group, size);
  // The two largest keys of the lane.
  SmallVector<Value> best =
      keys.forSlots(e, ValueRange{e.i32(kExcluded), e.i32(kExcluded)},
                    [&](Emit &e, Slot slot, ValueRange carried) {
                      Value place = e.sub(keys.indexOf(e, slot), begin);
                      Value key = e.select(e.lessU(place, e.i32(size)),
                                           keys.get(e, slot), e.i32(kExcluded));
                      Value smaller = minS(e, carried[0], key);
                      return SmallVector<Value>{maxS(e, carried[0], key),
                                                maxS(e, carried[1], smaller)};
                    });
  Value first = warpMaxS(e, best[0]);
  if (policy.getGroupFilter() != GroupFilter::Top2Sum)
    return first;
  // The lane that gives the largest now offers its second one.
  Value owner = lowestBit(e, e.ballot(e.equal(best[0], first)));
  Value offer = e.select(e.equal(ctx.lane, owner), best[1], best[0]);
  Value second = warpMaxS(e, offer);
  Value sum =
      arith::AddFOp::create(e, valueOfKey(e, first), valueOfKey(e, second));
  return keyOf(e, sum);
}

void SelectTopk::emitGroupFilter(Emit &e) {
  int64_t groups = policy.getGroups(), size = experts / groups;
  groupKeys.fill(e, e.i32(kExcluded));
  LaneArray::forRange(e, {&groupKeys}, groups, ValueRange(),
                      [&](Emit &e, Value group, ValueRange) {
                        groupKeys.put(e, group, emitGroupValue(e, group));
                        return SmallVector<Value>();
                      });
  LaneArray::forRange(e, {&groupKeys}, policy.getKeepGroups(), ValueRange(),
                      [&](Emit &e, Value, ValueRange) {
                        emitTakeBest(e, groupKeys);
                        return SmallVector<Value>();
                      });
  // A group that was taken is excluded from being taken again; so what is still
  // selectable are the groups to drop.
  LaneArray::forRange(
      e, {&keys}, groups, ValueRange(), [&](Emit &e, Value group, ValueRange) {
        Value isKept = e.equal(groupKeys.at(e, group), kExcluded);
        Value begin = e.mul(group, size);
        keys.forSlots(e, [&](Emit &e, Slot slot) {
          Value place = e.sub(keys.indexOf(e, slot), begin);
          Value stays = e.bitOr(
              isKept, e.cmp(arith::CmpIPredicate::uge, place, e.i32(size)));
          keys.set(e, slot,
                   e.select(stays, keys.get(e, slot), e.i32(kExcluded)));
        });
        return SmallVector<Value>();
      });
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

void SelectTopk::updateWeights(Emit &e,
                               function_ref<Value(Emit &, Value)> change) {
  weights.forSlots(e, [&](Emit &e, Slot slot) {
    weights.set(e, slot, change(e, weights.get(e, slot)));
  });
}

Value SelectTopk::emitWeightSum(Emit &e,
                                function_ref<Value(Emit &, Value)> change) {
  Value first = change(e, weights.at(e, e.i32(0)));
  return weights.forElements(
      e, 1, first, [&](Emit &e, Value w, ValueRange carried) {
        return SmallVector<Value>{
            arith::AddFOp::create(e, carried[0], change(e, w))};
      })[0];
}

static Value unchanged(Emit &, Value value) { return value; }

Value SelectTopk::emitFirstWeight(Emit &e, Value logitRow, Value expert) {
  switch (policy.getWeightSource()) {
  case WeightSource::Constant:
    return e.f32(1.0f);
  case WeightSource::Softmax:
    return e.load(e.getF32Type(), logitRow, expert);
  case WeightSource::Sigmoid:
    return sigmoid(e, e.load(e.getF32Type(), logitRow, expert));
  case WeightSource::Scores:
    return scores.at(e, expert);
  case WeightSource::Sparsemixer:
    break;
  }
  llvm_unreachable("checkForms refuses it");
}

void SelectTopk::emitNullExperts(Emit &e) {
  Value real = e.i32(experts - policy.getNullExperts());
  ids.forSlots(e, [&](Emit &e, Slot slot) {
    Value id = ids.get(e, slot);
    Value isReal = e.lessU(id, real);
    ids.set(e, slot, e.select(isReal, id, e.i32(-1)));
    weights.set(e, slot, e.select(isReal, weights.get(e, slot), e.f32(0.0f)));
  });
}

void SelectTopk::emitNormalize(Emit &e) {
  const Policy &p = policy.getPolicy();
  Value d = emitWeightSum(e, [&](Emit &e, Value w) {
    if (p.norm == 0)
      return w;
    Value size = math::AbsFOp::create(e, w), power = size;
    for (int64_t i = 1; i < p.norm; ++i)
      power = arith::MulFOp::create(e, power, size);
    return power;
  });
  if (p.norm == 2)
    d = math::SqrtOp::create(e, d);
  if (p.norm > 2)
    d = math::ExpOp::create(e,
                            arith::DivFOp::create(e, math::LogOp::create(e, d),
                                                  e.f32(float(p.norm))));
  Value x = e.f32(p.epsilon);
  if (p.atLeast) {
    // NaN stays.
    Value isLess = arith::CmpFOp::create(e, arith::CmpFPredicate::OLE, d, x);
    d = e.select(isLess, x, d);
  } else if (p.epsilon != 0) {
    d = arith::AddFOp::create(e, d, x);
  }
  updateWeights(e, [&](Emit &e, Value w) -> Value {
    return arith::DivFOp::create(e, w, d);
  });
}

void SelectTopk::emitKeep(Emit &e) {
  const Policy &p = policy.getPolicy();
  Value bound = e.f32(p.keepBound);
  auto drop = [&](Emit &e, Slot slot, Value stays) {
    stays = e.bitOr(stays, e.equal(ids.indexOf(e, slot), 0));
    ids.set(e, slot, e.select(stays, ids.get(e, slot), e.i32(-1)));
    weights.set(e, slot, e.select(stays, weights.get(e, slot), e.f32(0.0f)));
  };
  auto compare = [&](Emit &e, arith::CmpFPredicate predicate, Value x) {
    return arith::CmpFOp::create(e, predicate, x, bound);
  };
  if (p.keep == Keep::Threshold) {
    ids.forSlots(e, [&](Emit &e, Slot slot) {
      drop(e, slot,
           compare(e, arith::CmpFPredicate::OGT, weights.get(e, slot)));
    });
    return;
  }
  // The sums before each choice.
  LaneArray::forRange(
      e, {&sums}, topK, e.f32(0.0f), [&](Emit &e, Value j, ValueRange carried) {
        sums.put(e, j, carried[0]);
        Value w = weights.at(e, j);
        Value next = arith::AddFOp::create(e, carried[0], w);
        return SmallVector<Value>{e.select(e.equal(j, 0), w, next)};
      });
  ids.forSlots(e, [&](Emit &e, Slot slot) {
    drop(e, slot, compare(e, arith::CmpFPredicate::OLT, sums.get(e, slot)));
  });
}

void SelectTopk::emitWeights(Emit &e) {
  const Policy &p = policy.getPolicy();
  if (p.weightSource == WeightSource::Softmax) {
    Value lowest = e.f32(-std::numeric_limits<float>::infinity());
    Value largest = weights.forSlots(
        e, lowest, [&](Emit &e, Slot slot, ValueRange carried) {
          Value logit = orIfOutside(e, weights.isInside(e, slot),
                                    weights.get(e, slot), lowest);
          return SmallVector<Value>{
              arith::MaximumFOp::create(e, carried[0], logit)};
        })[0];
    largest = warpMaximum(e, largest);
    updateWeights(e, [&](Emit &e, Value logit) -> Value {
      return math::ExpOp::create(e, arith::SubFOp::create(e, logit, largest));
    });
    Value sum = emitWeightSum(e, unchanged);
    updateWeights(e, [&](Emit &e, Value w) -> Value {
      return arith::DivFOp::create(e, w, sum);
    });
  }
  if (p.nullExperts > 0)
    emitNullExperts(e);
  if (p.normalize && !p.afterDrop)
    emitNormalize(e);
  if (p.keep != Keep::All)
    emitKeep(e);
  if (p.normalize && p.afterDrop)
    emitNormalize(e);
  bool isScaled = p.scale != 1;
  if (!isScaled && !p.roundWeights)
    return;
  updateWeights(e, [&](Emit &e, Value w) {
    if (isScaled)
      w = arith::MulFOp::create(e, w, e.f32(p.scale));
    return p.roundWeights ? e.toF32(e.fromF32(w, p.roundWeights)) : w;
  });
}

void SelectTopk::emitSorted(Emit &e, Value token) {
  ranks.fill(e, e.i32(0));
  // The rank of a pair is the number of smaller ids; what is no pair has the
  // largest one, -1, perhaps several times.
  bool repeats = policy.dropsPairs();
  if (topK > 1)
    LaneArray::forRange(
        e, {&ranks}, topK, ValueRange(), [&](Emit &e, Value j, ValueRange) {
          Value other = ids.at(e, j);
          ranks.forSlots(e, [&](Emit &e, Slot slot) {
            Value own = ids.get(e, slot), isSmaller = e.lessU(other, own);
            if (repeats) {
              Value isBefore = e.lessU(j, ids.indexOf(e, slot));
              isSmaller =
                  e.bitOr(isSmaller, e.bitAnd(e.equal(other, own), isBefore));
            }
            Value one = arith::ExtUIOp::create(e, e.getI32Type(), isSmaller);
            ranks.set(e, slot, e.add(ranks.get(e, slot), one));
          });
          return SmallVector<Value>();
        });
  Value first = e.mul(token, topK);
  ids.forSlots(e, [&](Emit &e, Slot slot) {
    auto write = [&](Emit &e) {
      Value at = e.add(first, ranks.get(e, slot));
      e.store(ids.get(e, slot), args.ids, at);
      Value weight = weights.get(e, slot);
      // Whatever was made of the zero of what is no pair.
      if (repeats)
        weight = e.select(e.equal(ids.get(e, slot), -1), e.f32(0.0f), weight);
      e.store(weight, args.weights, at);
    };
    if (Value inside = ids.isInside(e, slot))
      e.ifThen(inside, write);
    else
      write(e);
  });
}

void SelectTopk::emitToken(Emit &e, Value token) {
  Value logitRow =
      e.address(e.getF32Type(), args.logits, e.mul(e.toI64(token), experts));
  emitScores(e, logitRow);
  emitKeys(e, token);
  if (policy.getGroupFilter() != GroupFilter::None)
    emitGroupFilter(e);
  ids.fill(e, e.i32(0));
  weights.fill(e, e.f32(0.0f));
  LaneArray::forRange(e, {&keys, &ids, &weights}, topK, ValueRange(),
                      [&](Emit &e, Value j, ValueRange) {
                        Value best = emitTakeBest(e, keys);
                        ids.put(e, j, best);
                        weights.put(e, j, emitFirstWeight(e, logitRow, best));
                        return SmallVector<Value>();
                      });
  emitWeights(e);
  emitSorted(e, token);
}

void mlir::moe::gpu::emitSelectTopk(Emit &e, KernelContext &ctx,
                                    const SelectTopkArgs &args) {
  SelectTopk emitter(e, ctx, args);
  forAllWarps(e, ctx, args.tokens,
              [&](Emit &e, Value token) { emitter.emitToken(e, token); });
}

LogicalResult mlir::moe::gpu::expandSelectTopk(KernelSelectTopkOp op,
                                               KernelContext &ctx) {
  Emit e(ctx.loc, ctx.b);
  SelectTopkArgs args;
  args.logits = ctx.argument(op.getLogits());
  args.bias = op.getBias() ? ctx.argument(op.getBias()) : Value();
  args.ids = ctx.argument(op.getIds());
  args.weights = ctx.argument(op.getWeights());
  args.tokens = argumentI32(e, ctx, op.getTokens());
  args.experts = op.getExperts();
  args.policy = op.getPolicy();
  args.biasPerToken = op.getBiasPerToken();
  emitSelectTopk(e, ctx, args);
  return success();
}
