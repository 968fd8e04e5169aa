//===- LowerStatistics.cpp - Statistics and losses as folds ---------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RoutingLowering.h"

#include "RowCode.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace mlir::moe;

static Value addF(RowCode &c, Value a, Value b) {
  return arith::AddFOp::create(c, a, b);
}
static Value subF(RowCode &c, Value a, Value b) {
  return arith::SubFOp::create(c, a, b);
}
static Value mulF(RowCode &c, Value a, Value b) {
  return arith::MulFOp::create(c, a, b);
}
static Value divF(RowCode &c, Value a, Value b) {
  return arith::DivFOp::create(c, a, b);
}
/// A number of tokens or pairs in f32.
static Value toF32(RowCode &c, Value number) {
  return arith::SIToFPOp::create(c, c.getF32Type(), number);
}
/// `sum / number`, and 0 when there is none.
static Value mean(RowCode &c, Value sum, Value number) {
  Value none =
      arith::CmpFOp::create(c, arith::CmpFPredicate::OEQ, number, c.f32(0));
  return arith::SelectOp::create(c, none, c.f32(0), divF(c, sum, number));
}
/// The elements of a row, added from the left.
static Value sumInOrder(RowCode &c, Value row) {
  Value sum = c.f32(0);
  for (int64_t i : llvm::seq(cast<ShapedType>(row.getType()).getDimSize(1)))
    sum = addF(c, sum, c.at(row, i));
  return sum;
}
/// One more than the one number in `last`.
static Value increment(RowCode &c, Value last) {
  return c.tensorOf(arith::AddIOp::create(c, c.at(last), c.i32(1)).getResult());
}

namespace {
/// Types of accumulators.
struct Types {
  explicit Types(Builder b) : b(b) {}
  RankedTensorType row(int64_t columns) {
    return RankedTensorType::get({1, columns}, b.getF32Type());
  }
  RankedTensorType counts(int64_t columns) {
    return RankedTensorType::get({1, columns}, b.getI32Type());
  }
  RankedTensorType one() { return RankedTensorType::get({1}, b.getF32Type()); }
  RankedTensorType number() {
    return RankedTensorType::get({1}, b.getI32Type());
  }
  Builder b;
};
} // namespace

/// The sum of integers, one row each.
static Value sumOfCounts(OpBuilder &b, Location loc, Value counts) {
  return createFold(b, loc, RankedTensorType::get({1}, b.getI64Type()), counts,
                    {}, 0.0,
                    [](RowCode &c, ValueRange rows, ValueRange,
                       ValueRange last) -> SmallVector<Value> {
                      return {c.tensorOf(
                          arith::AddIOp::create(c, c.at(last[0]), c.at(rows[0]))
                              .getResult())};
                    })
      .getResult(0);
}

void RoutingLowering::lowerFractions(ExpertFractionsOp op) {
  Value sum = sumOfCounts(b, op.getLoc(), op.getCounts());
  auto type = cast<RankedTensorType>(op.getFractions().getType());
  replace(op, createOnce(b, op.getLoc(), type, sum, op.getCounts(),
                         [&](RowCode &c, Value sum, ValueRange in) {
                           Value all = toF32(c, c.at(sum));
                           return c.map(type, in,
                                        [&](RowCode &c, ValueRange v) {
                                          return mean(c, toF32(c, v[0]), all);
                                        });
                         }));
}

/// The scores of a row of logits, divided by their sum if so wanted.
static Value scoresOf(RowCode &c, Score score, bool normalized, Value logits) {
  Value scores = c.scores(score, logits);
  if (!normalized)
    return scores;
  Value sum = c.sum(scores);
  return c.map(cast<RankedTensorType>(scores.getType()), scores,
               [&](RowCode &c, ValueRange v) { return divF(c, v[0], sum); });
}

/// Adds two rows.
static Value addRows(RowCode &c, Value a, Value b) {
  return c.map(cast<RankedTensorType>(a.getType()), {a, b},
               [](RowCode &c, ValueRange v) { return addF(c, v[0], v[1]); });
}

void RoutingLowering::lowerMeanScores(MeanScoresOp op) {
  Types types(b);
  auto result = cast<RankedTensorType>(op.getMeans().getType());
  FoldRowsOp fold = createFold(
      b, op.getLoc(), {types.row(result.getDimSize(0)), types.number()},
      op.getLogits(), {}, {0.0, 0.0},
      [&](RowCode &c, ValueRange rows, ValueRange,
          ValueRange last) -> SmallVector<Value> {
        Value scores = scoresOf(c, op.getScore(), op.getNormalized(), rows[0]);
        return {addRows(c, last[0], scores), increment(c, last[1])};
      });
  replace(op, createOnce(
                  b, op.getLoc(), result, fold.getResult(0), fold.getResult(1),
                  [&](RowCode &c, Value sums, ValueRange in) {
                    Value n = toF32(c, c.at(in[0]));
                    return c.map(result, sums, [&](RowCode &c, ValueRange v) {
                      return mean(c, v[0], n);
                    });
                  }));
}

void RoutingLowering::lowerBalanceLoss(LoadBalanceLossOp op) {
  Types types(b);
  Location loc = op.getLoc();
  auto route = op.getRouting().getDefiningOp<RouteOp>();
  int64_t experts = cast<ShapedType>(op.getLogits().getType()).getDimSize(1);
  Value ids = routings[op.getRouting()].chosen;
  if (op.getFirstChoice()) {
    // The ids of a routing ascend and do not tell which was first.
    Policy policy = route.getPolicy().getPolicy();
    // With more than one raised key the first of all is not the best one: a
    // sum may round to another's.
    if (policy.preferBeyond < 2)
      policy.topK = 1;
    policy.biasAfterFirst = false;
    bool biased = !route.getPolicy().getPolicy().biasAfterFirst;
    ids = selectAgain(route, policy, biased).getIds();
  }
  float factor = experts;
  if (op.getPerChoice())
    factor /= route.getPolicy().getTopK();

  // Of the sequence that has come to its end.
  auto lossOf = [&](RowCode &c, Value scores, Value counts, Value number) {
    Value n = toF32(c, number);
    Value sum = c.reduce(
        {scores, counts}, c.f32(0),
        [&](RowCode &c, ValueRange v) {
          return mulF(c, divF(c, toF32(c, v[1]), n), divF(c, v[0], n));
        },
        [](RowCode &c, ValueRange v) { return addF(c, v[0], v[1]); });
    return mulF(c, c.f32(factor), sum);
  };
  auto cleared = [&](RowCode &c, Value isEnd, Value row) {
    return c.map(cast<RankedTensorType>(row.getType()), row,
                 [&](RowCode &c, ValueRange v) -> Value {
                   Value zero = arith::ConstantOp::create(
                       c, c.getZeroAttr(v[0].getType()));
                   return arith::SelectOp::create(c, isEnd, zero, v[0]);
                 });
  };

  // Scores, choices and tokens of a sequence; then losses and their number.
  SmallVector<Type> results{types.row(experts), types.counts(experts),
                            types.number()};
  std::optional<int64_t> every = op.getEvery();
  if (every)
    results.append({types.one(), types.number()});
  FoldRowsOp fold = createFold(
      b, loc, results, {op.getLogits(), ids}, {},
      SmallVector<double>(results.size(), 0.0),
      [&](RowCode &c, ValueRange rows, ValueRange,
          ValueRange last) -> SmallVector<Value> {
        SmallVector<Value> next(last);
        if (every) {
          Value number = c.at(last[2]), zero = c.i32(0);
          Value isEnd = arith::CmpIOp::create(c, arith::CmpIPredicate::eq,
                                              number, c.i32(*every));
          Value loss = lossOf(c, last[0], last[1], number);
          loss = arith::SelectOp::create(c, isEnd, loss, c.f32(0));
          next[0] = cleared(c, isEnd, last[0]);
          next[1] = cleared(c, isEnd, last[1]);
          next[2] = c.tensorOf(
              arith::SelectOp::create(c, isEnd, zero, number).getResult());
          next[3] = c.tensorOf(addF(c, c.at(last[3]), loss));
          Value ended = arith::ExtUIOp::create(c, c.getI32Type(), isEnd);
          next[4] = c.tensorOf(
              arith::AddIOp::create(c, c.at(last[4]), ended).getResult());
        }
        Value scores = scoresOf(c, op.getScore(), op.getNormalized(), rows[0]);
        next[0] = addRows(c, next[0], scores);
        Value chosen = rows[1];
        if (op.getFirstChoice() &&
            cast<RankedTensorType>(chosen.getType()).getDimSize(1) > 1)
          chosen = tensor::ExtractSliceOp::create(
              c, chosen,
              ArrayRef<OpFoldResult>{c.getIndexAttr(0), c.getIndexAttr(0)},
              ArrayRef<OpFoldResult>{c.getIndexAttr(1), c.getIndexAttr(1)},
              ArrayRef<OpFoldResult>{c.getIndexAttr(1), c.getIndexAttr(1)});
        next[1] = c.addAt(next[1], chosen, {},
                          [](RowCode &c, ValueRange) { return c.i32(1); });
        next[2] = increment(c, next[2]);
        return next;
      });
  replace(op,
          createOnce(b, loc, types.one(), fold.getResult(0),
                     fold.getResults().drop_front(),
                     [&](RowCode &c, Value scores, ValueRange in) -> Value {
                       Value number = c.at(in[1]), zero = c.i32(0);
                       Value none = arith::CmpIOp::create(
                           c, arith::CmpIPredicate::eq, number, zero);
                       Value loss = lossOf(c, scores, in[0], number);
                       loss = arith::SelectOp::create(c, none, c.f32(0), loss);
                       if (!every)
                         return c.tensorOf(loss);
                       Value last =
                           arith::SelectOp::create(c, none, zero, c.i32(1));
                       Value all = arith::AddIOp::create(c, c.at(in[3]), last);
                       return c.tensorOf(
                           mean(c, addF(c, c.at(in[2]), loss), toF32(c, all)));
                     }));
}

void RoutingLowering::lowerZLoss(RouterZLossOp op) {
  Types types(b);
  FoldRowsOp fold = createFold(
      b, op.getLoc(), {types.one(), types.number()}, op.getLogits(), {},
      {0.0, 0.0},
      [&](RowCode &c, ValueRange rows, ValueRange,
          ValueRange last) -> SmallVector<Value> {
        Value largest = c.reduce(
            rows[0], c.f32(-INFINITY),
            [](RowCode &, ValueRange v) { return v[0]; },
            [](RowCode &c, ValueRange v) -> Value {
              return arith::MaximumFOp::create(c, v[0], v[1]);
            });
        Value sum = c.reduce(
            rows[0], c.f32(0),
            [&](RowCode &c, ValueRange v) -> Value {
              return math::ExpOp::create(c, subF(c, v[0], largest));
            },
            [](RowCode &c, ValueRange v) { return addF(c, v[0], v[1]); });
        Value z = addF(c, largest, math::LogOp::create(c, sum));
        return {c.tensorOf(addF(c, c.at(last[0]), mulF(c, z, z))),
                increment(c, last[1])};
      });
  replace(op, createOnce(b, op.getLoc(), types.one(), fold.getResult(0),
                         fold.getResult(1),
                         [&](RowCode &c, Value sum, ValueRange in) {
                           Value n = toF32(c, c.at(in[0]));
                           return c.tensorOf(mean(c, c.at(sum), n));
                         }));
}

void RoutingLowering::lowerImportance(ImportanceLossOp op) {
  Types types(b);
  const Lists &lists = routings[op.getRouting()];
  int64_t experts = op.getRouting().getType().getExperts();
  FoldRowsOp fold = createFold(
      b, op.getLoc(), types.row(experts), {lists.ids, lists.weights}, {}, 0.0,
      [&](RowCode &c, ValueRange rows, ValueRange,
          ValueRange last) -> SmallVector<Value> {
        return {c.addAt(last[0], rows[0], rows[1],
                        [](RowCode &, ValueRange v) { return v[0]; })};
      });
  replace(op,
          createOnce(b, op.getLoc(), types.one(), fold.getResult(0), {},
                     [&](RowCode &c, Value sums, ValueRange) {
                       Value n = c.f32(experts);
                       Value average = divF(c, c.sum(sums), n);
                       Value squares = c.reduce(
                           sums, c.f32(0),
                           [&](RowCode &c, ValueRange v) {
                             Value d = subF(c, v[0], average);
                             return mulF(c, d, d);
                           },
                           [](RowCode &c, ValueRange v) {
                             return addF(c, v[0], v[1]);
                           });
                       Value divisor =
                           addF(c, mulF(c, average, average), c.f32(1e-10f));
                       return c.tensorOf(divF(c, divF(c, squares, n), divisor));
                     }));
}

void RoutingLowering::lowerUpdateBias(UpdateBiasOp op) {
  Value sum = sumOfCounts(b, op.getLoc(), op.getCounts());
  auto type = cast<RankedTensorType>(op.getResult().getType());
  float rate = op.getRate().convertToFloat();
  replace(op,
          createOnce(
              b, op.getLoc(), type, sum, {op.getBias(), op.getCounts()},
              [&](RowCode &c, Value sum, ValueRange in) {
                Value all = c.at(sum);
                return c.map(type, in, [&](RowCode &c, ValueRange v) {
                  Value own =
                      arith::MulIOp::create(c, v[1], c.i64(type.getDimSize(0)));
                  auto is = [&](arith::CmpIPredicate predicate) -> Value {
                    return arith::CmpIOp::create(c, predicate, own, all);
                  };
                  Value less =
                      arith::SelectOp::create(c, is(arith::CmpIPredicate::sgt),
                                              subF(c, v[0], c.f32(rate)), v[0]);
                  Value more = addF(c, v[0], c.f32(rate));
                  return arith::SelectOp::create(
                             c, is(arith::CmpIPredicate::slt), more, less)
                      .getResult();
                });
              }));
}

SelectTopkOp RoutingLowering::selectAgain(RouteOp route, const Policy &policy,
                                          bool biased) {
  // What says which experts are chosen, and nothing of weights and drops.
  Policy bare = policy;
  bare.weightSource = WeightSource::Scores;
  bare.jitter = 0;
  bare.normalize = bare.atLeast = bare.afterDrop = false;
  bare.norm = 0;
  bare.epsilon = 0;
  bare.scale = 1;
  bare.roundWeights = {};
  bare.keep = Keep::All;
  bare.keepBound = 0;
  // With a capacity, which nothing applies, choices stay in order.
  bare.capacityAttr = CapacityAttr::get(
      b.getContext(), CapacityKind::Slots, APFloat(0.0), /*slots=*/1,
      /*roundDown=*/false, /*minimum=*/1, /*multiple=*/1, /*every=*/0);
  bare.dropOrder = DropOrder::Choice;
  return SelectTopkOp::create(
      b, route.getLoc(), rowsLike(route.getLogits(), bare.topK, b.getI32Type()),
      rowsLike(route.getLogits(), bare.topK, b.getF32Type()), route.getLogits(),
      biased ? route.getBias() : Value(),
      bare.prefers ? route.getResident() : Value(), Value(),
      PolicyAttr::get(b.getContext(), bare));
}

void RoutingLowering::lowerRegret(RoutingRegretOp op) {
  Types types(b);
  auto route = op.getRouting().getDefiningOp<RouteOp>();
  Policy policy = route.getPolicy().getPolicy();
  // A null expert has a score like others.
  policy.nullExperts = 0;
  SelectTopkOp chosen = selectAgain(route, policy, true);
  policy.prefers = false;
  policy.prefer = 0;
  policy.preferBeyond = 0;
  SelectTopkOp best = selectAgain(route, policy, true);
  // The largest, the sum and the number.
  FoldRowsOp fold = createFold(
      b, op.getLoc(), {types.one(), types.one(), types.number()},
      {best.getWeights(), chosen.getWeights()}, {}, {-INFINITY, 0.0, 0.0},
      [&](RowCode &c, ValueRange rows, ValueRange,
          ValueRange last) -> SmallVector<Value> {
        // In order of selection: equal choices have no regret at all.
        Value regret = subF(c, sumInOrder(c, rows[0]), sumInOrder(c, rows[1]));
        Value largest = arith::MaximumFOp::create(c, c.at(last[0]), regret);
        return {c.tensorOf(largest), c.tensorOf(addF(c, c.at(last[1]), regret)),
                increment(c, last[2])};
      });
  auto type = cast<RankedTensorType>(op.getRegret().getType());
  replace(op, createOnce(b, op.getLoc(), type, fold.getResult(0),
                         fold.getResults().drop_front(),
                         [&](RowCode &c, Value largest, ValueRange in) {
                           Value n = toF32(c, c.at(in[1]));
                           Value none = arith::CmpFOp::create(
                               c, arith::CmpFPredicate::OEQ, n, c.f32(0));
                           Value most = arith::SelectOp::create(
                               c, none, c.f32(0), c.at(largest));
                           return c.tensorOf({most, mean(c, c.at(in[0]), n)});
                         }));
}

LogicalResult RoutingLowering::lowerStatistics(Operation *op) {
  if (auto fractions = dyn_cast<ExpertFractionsOp>(op))
    lowerFractions(fractions);
  else if (auto means = dyn_cast<MeanScoresOp>(op))
    lowerMeanScores(means);
  else if (auto loss = dyn_cast<LoadBalanceLossOp>(op))
    lowerBalanceLoss(loss);
  else if (auto loss = dyn_cast<RouterZLossOp>(op))
    lowerZLoss(loss);
  else if (auto loss = dyn_cast<ImportanceLossOp>(op))
    lowerImportance(loss);
  else if (auto update = dyn_cast<UpdateBiasOp>(op))
    lowerUpdateBias(update);
  else if (auto regret = dyn_cast<RoutingRegretOp>(op))
    lowerRegret(regret);
  else if (auto dispatch = dyn_cast<SoftDispatchOp>(op))
    lowerSoftDispatch(dispatch);
  else if (auto combine = dyn_cast<SoftCombineOp>(op))
    lowerSoftCombine(combine);
  return success();
}
