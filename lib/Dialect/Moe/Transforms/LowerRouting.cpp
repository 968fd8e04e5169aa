//===- LowerRouting.cpp - Routing as index lists --------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/Moe/Transforms/Passes.h"

#include "RoutingLowering.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace mlir::moe {
#define GEN_PASS_DEF_LOWERROUTINGPASS
#include "moe/Dialect/Moe/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

LogicalResult RoutingLowering::run() {
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
  // Lists that nothing reads, and what experts gather by themselves.
  ops.clear();
  for (Operation &op : func.front())
    if (isa<MoeDialect>(op.getDialect()) && !isa<YieldOp>(op))
      ops.push_back(&op);
  for (Operation *op : llvm::reverse(ops))
    if (isOpTriviallyDead(op))
      op->erase();
  return success();
}

static bool makesRouting(Operation *op) {
  return isa_and_nonnull<RouteOp, AssignOp, AssignAllOp, ChooseTokensOp,
                         RouteProductsOp, RestrictOp, NestOp>(op);
}

static bool usesRouting(Operation *op) {
  return isa<DispatchOp, ExpertsOp, CombineOp, ExpertCountsOp, RestrictOp,
             NestOp, GroupedLogitsOp, LoadBalanceLossOp, ImportanceLossOp,
             RoutingRegretOp>(op);
}

LogicalResult RoutingLowering::checkRoutings() {
  if (!func.getBody().hasOneBlock())
    return func.emitError() << "function '" << func.getSymName()
                            << "' has control flow; expected a single block";
  WalkResult walk = func.walk([&](Operation *op) {
    auto isRouting = llvm::IsaPred<RoutingType>;
    bool here = op->getBlock() == &func.front();
    for (Value operand : op->getOperands()) {
      if (!isRouting(operand.getType()))
        continue;
      if (!usesRouting(op) || !here || !makesRouting(operand.getDefiningOp())) {
        op->emitError()
            << "'" << op->getName()
            << "' uses a routing in a way that has no index lists; expected "
               "the result of a router (moe.route, moe.assign, moe.assign_all, "
               "moe.choose_tokens, moe.route_products, moe.restrict, moe.nest) "
               "in moe.dispatch, moe.experts, moe.combine, moe.restrict, "
               "moe.nest, moe.grouped_logits or a statistic, all in the block "
               "of the function";
        return WalkResult::interrupt();
      }
    }
    if (llvm::any_of(op->getResultTypes(), isRouting) &&
        !(makesRouting(op) && here)) {
      op->emitError() << "'" << op->getName()
                      << "' makes a routing that cannot be lowered";
      return WalkResult::interrupt();
    }
    return WalkResult::advance();
  });
  return failure(walk.wasInterrupted());
}

RoutingLowering::Lists &RoutingLowering::group(TypedValue<RoutingType> routing,
                                               Value ids, Value weights,
                                               bool given) {
  auto op = GroupRowsOp::create(b, routing.getLoc(),
                                listTypes(routing.getType().getExperts()), ids,
                                weights, given);
  Lists &lists = setLists(routing, op.getResults());
  lists.ids = lists.chosen = ids;
  lists.weights = weights;
  lists.given = given;
  return lists;
}

void RoutingLowering::lowerRoute(RouteOp op) {
  int64_t k = op.getPolicy().getTopK();
  Type ids = rowsLike(op.getLogits(), k, b.getI32Type());
  Type weights = rowsLike(op.getLogits(), k, b.getF32Type());
  auto select = SelectTopkOp::create(
      b, op.getLoc(), ids, weights, op.getLogits(), op.getBias(),
      op.getResident(), op.getRandom(), op.getPolicy());
  if (!op.getPolicy().getCapacity()) {
    group(op.getRouting(), select.getIds(), select.getWeights(), false);
    return;
  }
  auto dropped = RankedTensorType::get({op.getRouting().getType().getExperts()},
                                       b.getI32Type());
  auto apply = ApplyCapacityOp::create(
      b, op.getLoc(), TypeRange{ids, weights, dropped}, select.getIds(),
      select.getWeights(), op.getPolicy());
  group(op.getRouting(), apply.getIds(), apply.getWeights(), false).chosen =
      select.getIds();
}

void RoutingLowering::lowerRestrict(RestrictOp op) {
  Lists source = routings[op.getRouting()];
  auto slice = SliceRowsOp::create(
      b, op.getLoc(), listTypes(op.getResult().getType().getExperts()),
      source.expertOffsets, source.rowToken, source.rowWeight,
      source.tokenOffsets, source.tokenRows, op.getBegin(), op.getEnd());
  setLists(op.getResult(), slice.getResults());
}

void RoutingLowering::lowerNest(NestOp op) {
  Lists inner = routings[op.getInner()];
  auto ids = NestIdsOp::create(b, op.getLoc(), inner.ids.getType(), inner.ids,
                               routings[op.getOuter()].expertOffsets,
                               op.getInner().getType().getExperts());
  group(op.getRouting(), ids.getResult(), inner.weights, inner.given);
}

LogicalResult RoutingLowering::lower(Operation *op) {
  Location loc = op->getLoc();
  if (makesRouting(op))
    lowered.push_back(op);
  if (auto route = dyn_cast<RouteOp>(op)) {
    lowerRoute(route);
  } else if (auto assign = dyn_cast<AssignOp>(op)) {
    group(assign.getRouting(), assign.getIndices(), assign.getWeights(), true);
  } else if (auto all = dyn_cast<AssignAllOp>(op)) {
    auto rows = AllRowsOp::create(
        b, loc, listTypes(all.getRouting().getType().getExperts()), all.getX(),
        all.getWeights());
    setLists(all.getRouting(), rows.getResults());
  } else if (auto choose = dyn_cast<ChooseTokensOp>(op)) {
    RoutingType type = choose.getRouting().getType();
    auto rows = ChooseRowsOp::create(
        b, loc, listTypes(type.getExperts()), choose.getLogits(),
        choose.getScore(), choose.getCapacity(), choose.getAverage(),
        choose.getScaleAttr(), choose.getRoundWeightsAttr(), type.getRows(),
        type.getExtra());
    setLists(choose.getRouting(), rows.getResults());
  } else if (auto products = dyn_cast<RouteProductsOp>(op)) {
    int64_t k = products.getPolicy().getTopK();
    auto select = SelectProductsOp::create(
        b, loc, rowsLike(products.getFirst(), k, b.getI32Type()),
        rowsLike(products.getFirst(), k, b.getF32Type()), products.getFirst(),
        products.getSecond(), products.getPolicy());
    group(products.getRouting(), select.getIds(), select.getWeights(), false);
  } else if (auto restricted = dyn_cast<RestrictOp>(op)) {
    lowerRestrict(restricted);
  } else if (auto nest = dyn_cast<NestOp>(op)) {
    lowerNest(nest);
  } else if (auto logits = dyn_cast<GroupedLogitsOp>(op)) {
    replace(op,
            RowLogitsOp::create(b, loc, logits.getType(), logits.getRows(),
                                logits.getWeight(),
                                routings[logits.getRouting()].expertOffsets));
  } else if (auto dispatch = dyn_cast<DispatchOp>(op)) {
    const Lists &lists = routings[dispatch.getRouting()];
    replace(op, GatherRowsOp::create(
                    b, loc, dispatch.getType(), dispatch.getX(), lists.rowToken,
                    dispatch.getWeighted() ? lists.rowWeight : Value()));
  } else if (auto experts = dyn_cast<ExpertsOp>(op)) {
    return lowerExperts(experts);
  } else if (auto combine = dyn_cast<CombineOp>(op)) {
    const Lists &lists = routings[combine.getRouting()];
    DenseBoolArrayAttr unweighted;
    if (combine.getUnweighted())
      unweighted = b.getDenseBoolArrayAttr({true});
    replace(op,
            CombineRowsOp::create(b, loc, combine.getType(), combine.getRows(),
                                  lists.tokenOffsets, lists.tokenRows,
                                  lists.rowWeight, unweighted));
  } else if (auto counts = dyn_cast<ExpertCountsOp>(op)) {
    const Lists &lists = routings[counts.getRouting()];
    if (counts.getChosen())
      replace(op, CountIdsOp::create(b, loc, counts.getType(), lists.chosen));
    else
      replace(op, CountRowsOp::create(b, loc, counts.getType(),
                                      lists.expertOffsets));
  } else {
    return lowerStatistics(op);
  }
  return success();
}

namespace {

struct LowerRoutingPass
    : public moe::impl::LowerRoutingPassBase<LowerRoutingPass> {
  void runOnOperation() override {
    if (!getOperation().isDeclaration() &&
        failed(RoutingLowering(getOperation()).run()))
      signalPassFailure();
  }
};

} // namespace
