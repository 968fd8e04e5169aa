//===- RoutingLowering.h - From routings to index lists ---------*- C++ -*-===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_DIALECT_MOE_TRANSFORMS_ROUTINGLOWERING_H
#define MOE_LIB_DIALECT_MOE_TRANSFORMS_ROUTINGLOWERING_H

#include "moe/Dialect/Moe/IR/Moe.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace mlir::moe {

/// Lowers one function: LowerRouting.cpp what makes and uses routings,
/// LowerExperts.cpp the experts, LowerStatistics.cpp statistics and losses,
/// LowerSoft.cpp Soft MoE.
class RoutingLowering {
public:
  explicit RoutingLowering(func::FuncOp func) : func(func), b(func) {}
  LogicalResult run();

private:
  /// What stands for a routing.
  struct Lists {
    Value expertOffsets, rowToken, rowWeight, tokenOffsets, tokenRows;
    /// What the lists were grouped from; null when it were no ids.
    Value ids, weights;
    /// Ids before capacity dropped pairs.
    Value chosen;
    /// The ids come from outside.
    bool given = false;
  };

  /// Checks that every routing is made and used by ops of this block that know
  /// what to do with its lists.
  LogicalResult checkRoutings();
  LogicalResult lower(Operation *op);
  void lowerRoute(RouteOp op);
  void lowerRestrict(RestrictOp op);
  void lowerNest(NestOp op);
  LogicalResult lowerExperts(ExpertsOp op);
  LogicalResult lowerToMapRows(ExpertsOp op, const Lists &lists);

  LogicalResult lowerStatistics(Operation *op);
  void lowerFractions(ExpertFractionsOp op);
  void lowerMeanScores(MeanScoresOp op);
  void lowerBalanceLoss(LoadBalanceLossOp op);
  void lowerZLoss(RouterZLossOp op);
  void lowerImportance(ImportanceLossOp op);
  void lowerUpdateBias(UpdateBiasOp op);
  void lowerRegret(RoutingRegretOp op);
  /// What the tokens of a route choose under `policy`, before any drops, in
  /// order of selection; the weights are scores.
  SelectTopkOp selectAgain(RouteOp route, const Policy &policy, bool biased);

  void lowerSoftDispatch(SoftDispatchOp op);
  void lowerSoftCombine(SoftCombineOp op);

  /// N x columns, as many rows as `like`.
  RankedTensorType rowsLike(Value like, int64_t columns, Type element) {
    int64_t rows = cast<RankedTensorType>(like.getType()).getDimSize(0);
    return RankedTensorType::get({rows, columns}, element);
  }
  /// Types of the lists for a number of experts.
  SmallVector<Type> listTypes(int64_t experts) {
    Type i32 = b.getI32Type(), f32 = b.getF32Type();
    auto list = [](Type type) {
      return RankedTensorType::get({ShapedType::kDynamic}, type);
    };
    return {RankedTensorType::get({experts + 1}, i32), list(i32), list(f32),
            list(i32), list(i32)};
  }
  Lists &setLists(Value routing, ValueRange lists) {
    Lists &result = routings[routing];
    result.expertOffsets = lists[0];
    result.rowToken = lists[1];
    result.rowWeight = lists[2];
    result.tokenOffsets = lists[3];
    result.tokenRows = lists[4];
    return result;
  }
  /// Groups pairs given as ids and weights.
  Lists &group(TypedValue<RoutingType> routing, Value ids, Value weights,
               bool given);

  void replace(Operation *op, Value value) {
    op->getResult(0).replaceAllUsesWith(value);
    lowered.push_back(op);
  }

  func::FuncOp func;
  OpBuilder b;
  DenseMap<Value, Lists> routings;
  SmallVector<Operation *> lowered;
};

} // namespace mlir::moe

#endif // MOE_LIB_DIALECT_MOE_TRANSFORMS_ROUTINGLOWERING_H
