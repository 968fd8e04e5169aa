//===- LowerRouting.cpp - Routing as index lists --------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/Moe/Transforms/Passes.h"

#include "MatchExpertFfn.h"
#include "RowCloner.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Remarks.h"

namespace mlir::moe {
#define GEN_PASS_DEF_LOWERROUTINGPASS
#include "moe/Dialect/Moe/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

namespace {

/// The five lists of a routing.
struct RoutingLists {
  Value expertOffsets, rowToken, rowWeight, tokenOffsets, tokenRows;
};

class RoutingLowering {
public:
  explicit RoutingLowering(func::FuncOp func) : func(func), b(func) {}

  LogicalResult run() {
    if (failed(checkRoutings()))
      return failure();
    SmallVector<Operation *> ops;
    for (Operation &op : func.front())
      ops.push_back(&op);
    for (Operation *op : ops) {
      b.setInsertionPoint(op);
      if (failed(lower(op)))
        return failure();
    }
    for (Operation *op : llvm::reverse(ops))
      if (llvm::is_contained(lowered, op) || isOpTriviallyDead(op))
        op->erase();
    // What the experts gather by themselves.
    for (auto gather :
         llvm::make_early_inc_range(func.front().getOps<GatherRowsOp>()))
      if (gather.use_empty())
        gather.erase();
    return success();
  }

private:
  /// Checks that every routing is made and used by ops of this block that know
  /// what to do with its lists.
  LogicalResult checkRoutings();
  LogicalResult lower(Operation *op);
  LogicalResult lowerExperts(ExpertsOp op);
  LogicalResult lowerToMapRows(ExpertsOp op, const RoutingLists &lists);

  /// Types of the lists for a number of experts.
  SmallVector<Type> listTypes(int64_t experts) {
    Type i32 = b.getI32Type(), f32 = b.getF32Type();
    auto list = [](Type type) {
      return RankedTensorType::get({ShapedType::kDynamic}, type);
    };
    return {RankedTensorType::get({experts + 1}, i32), list(i32), list(f32),
            list(i32), list(i32)};
  }

  void setLists(Value routing, ValueRange lists) {
    routings[routing] = {lists[0], lists[1], lists[2], lists[3], lists[4]};
  }

  void replace(Operation *op, Value value) {
    op->getResult(0).replaceAllUsesWith(value);
    lowered.push_back(op);
  }

  func::FuncOp func;
  OpBuilder b;
  DenseMap<Value, RoutingLists> routings;
  SmallVector<Operation *> lowered;
};

LogicalResult RoutingLowering::checkRoutings() {
  if (!func.getBody().hasOneBlock())
    return func.emitError() << "function '" << func.getSymName()
                            << "' has control flow; expected a single block";
  WalkResult walk = func.walk([&](Operation *op) {
    auto isRouting = llvm::IsaPred<RoutingType>;
    bool makes = isa<RouteOp, AssignOp, AssignAllOp>(op);
    bool uses = isa<DispatchOp, ExpertsOp, CombineOp, ExpertCountsOp>(op);
    bool here = op->getBlock() == &func.front();
    for (Value operand : op->getOperands()) {
      if (!isRouting(operand.getType()))
        continue;
      Operation *def = operand.getDefiningOp();
      if (!uses || !here || !def || !isa<RouteOp, AssignOp, AssignAllOp>(def)) {
        op->emitError()
            << "'" << op->getName()
            << "' uses a routing in a way that has no index lists; expected "
               "the result of moe.route, moe.assign or moe.assign_all in "
               "moe.dispatch, moe.experts, moe.combine or moe.expert_counts, "
               "all in the block of the function";
        return WalkResult::interrupt();
      }
    }
    if (llvm::any_of(op->getResultTypes(), isRouting) && !(makes && here)) {
      op->emitError() << "'" << op->getName()
                      << "' makes a routing that cannot be lowered";
      return WalkResult::interrupt();
    }
    return WalkResult::advance();
  });
  return failure(walk.wasInterrupted());
}

LogicalResult RoutingLowering::lower(Operation *op) {
  Location loc = op->getLoc();
  if (auto route = dyn_cast<RouteOp>(op)) {
    int64_t k = route.getPolicy().getTopK();
    auto matrix = [&](Type type) {
      return RankedTensorType::get({ShapedType::kDynamic, k}, type);
    };
    auto select = SelectTopkOp::create(
        b, loc, matrix(b.getI32Type()), matrix(b.getF32Type()),
        route.getLogits(), route.getBias(), route.getPolicy());
    auto group = GroupRowsOp::create(
        b, loc, listTypes(route.getRouting().getType().getExperts()),
        select.getIds(), select.getWeights(), /*given=*/false);
    setLists(route.getRouting(), group.getResults());
    lowered.push_back(op);
    return success();
  }
  if (auto assign = dyn_cast<AssignOp>(op)) {
    auto group = GroupRowsOp::create(
        b, loc, listTypes(assign.getRouting().getType().getExperts()),
        assign.getIndices(), assign.getWeights(), /*given=*/true);
    setLists(assign.getRouting(), group.getResults());
    lowered.push_back(op);
    return success();
  }
  if (auto assign = dyn_cast<AssignAllOp>(op)) {
    auto rows = AllRowsOp::create(
        b, loc, listTypes(assign.getRouting().getType().getExperts()),
        assign.getX(), assign.getWeights());
    setLists(assign.getRouting(), rows.getResults());
    lowered.push_back(op);
    return success();
  }
  if (auto dispatch = dyn_cast<DispatchOp>(op)) {
    replace(op,
            GatherRowsOp::create(b, loc, dispatch.getType(), dispatch.getX(),
                                 routings[dispatch.getRouting()].rowToken));
    return success();
  }
  if (auto experts = dyn_cast<ExpertsOp>(op))
    return lowerExperts(experts);
  if (auto combine = dyn_cast<CombineOp>(op)) {
    const RoutingLists &lists = routings[combine.getRouting()];
    replace(op, CombineRowsOp::create(b, loc, combine.getType(),
                                      combine.getRows(), lists.tokenOffsets,
                                      lists.tokenRows, lists.rowWeight));
    return success();
  }
  if (auto counts = dyn_cast<ExpertCountsOp>(op)) {
    replace(op,
            CountRowsOp::create(b, loc, counts.getType(),
                                routings[counts.getRouting()].expertOffsets));
    return success();
  }
  return success();
}

LogicalResult RoutingLowering::lowerExperts(ExpertsOp op) {
  const RoutingLists &lists = routings[op.getRouting()];
  auto missed = [&](const std::string &why) {
    remark::missed(op.getLoc(), remark::RemarkOpts::name("GenericExpertBody")
                                    .category("moe-lower-routing"))
        << remark::reason("expert body runs row by row: {0}", why);
    return lowerToMapRows(op, lists);
  };
  std::string why;
  FailureOr<ExpertFfn> ffn = matchExpertFfn(op, why);
  if (failed(ffn))
    return missed(why);
  auto gather = op.getRows().getDefiningOp<GatherRowsOp>();
  if (!gather || gather.getRowToken() != lists.rowToken)
    return missed("its rows do not come straight from moe.dispatch by the "
                  "same routing");

  SmallVector<Value> weights;
  for (unsigned i : ffn->parts)
    weights.push_back(op.getWeights()[i]);
  weights.push_back(op.getWeights()[ffn->last]);
  auto grouped = GroupedFfnOp::create(
      b, op.getLoc(), op->getResultTypes(), gather.getX(), lists.expertOffsets,
      lists.rowToken, weights, ffn->parts.size());
  buildActivation(*ffn, grouped.getActivation(), b);
  replace(op, grouped.getResult(0));
  return success();
}

LogicalResult RoutingLowering::lowerToMapRows(ExpertsOp op,
                                              const RoutingLists &lists) {
  auto map =
      MapRowsOp::create(b, op.getLoc(), op->getResultTypes(), op.getRows(),
                        lists.expertOffsets, op.getWeights(), ValueRange());
  OpBuilder::InsertionGuard guard(b);
  Block *block = b.createBlock(&map.getBody());
  RowCloner cloner(b);
  Block &body = op.getBody().front();
  for (BlockArgument arg : body.getArguments())
    cloner.mapping.map(
        arg, block->addArgument(getRowType(arg.getType()), arg.getLoc()));
  for (Operation &inner : body.without_terminator()) {
    std::string why;
    if (failed(cloner.clone(&inner, why)))
      return inner.emitError()
             << "the body of an expert must treat rows independently; '"
             << inner.getName() << "' does not: " << why;
  }
  YieldOp::create(b, op.getLoc(),
                  cloner.mapping.lookup(body.getTerminator()->getOperand(0)));
  replace(op, map.getResult(0));
  return success();
}

struct LowerRoutingPass
    : public moe::impl::LowerRoutingPassBase<LowerRoutingPass> {
  void runOnOperation() override {
    if (!getOperation().isDeclaration() &&
        failed(RoutingLowering(getOperation()).run()))
      signalPassFailure();
  }
};

} // namespace
