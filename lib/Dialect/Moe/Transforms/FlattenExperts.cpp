//===- FlattenExperts.cpp - Experts within experts in one routing ---------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/Moe/Transforms/Passes.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"

namespace mlir::moe {
#define GEN_PASS_DEF_FLATTENEXPERTSPASS
#include "moe/Dialect/Moe/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// Whether experts route their rows among experts of their own.
static bool isNested(ExpertsOp op) {
  return llvm::any_of(
      op.getBody().front().without_terminator(),
      [](Operation &inner) { return isa<MoeDialect>(inner.getDialect()); });
}

namespace {

/// Moves the body of one op to where the op stands.
class ExpertsFlattening {
public:
  explicit ExpertsFlattening(ExpertsOp op)
      : outer(op), body(op.getBody().front()), b(op) {}
  LogicalResult run();

private:
  LogicalResult flatten(Operation &op);
  LogicalResult flattenLogits(RouterLogitsOp op);
  LogicalResult flattenExperts(ExpertsOp op);
  LogicalResult nest(Operation &op);

  /// The weight of the outer op whose slice `value` is; null for others.
  Value getWeight(Value value) {
    auto arg = dyn_cast<BlockArgument>(value);
    if (!arg || arg.getOwner() != &body || arg.getArgNumber() == 0)
      return {};
    return outer.getWeights()[arg.getArgNumber() - 1];
  }
  /// The weight with its first two dimensions made one; null with an error.
  Value joinExperts(Operation &user, Value weight);
  InFlightDiagnostic refuse(Operation &op) {
    return op.emitError() << "'" << op.getName()
                          << "' keeps experts within experts from being one "
                             "routing: ";
  }

  ExpertsOp outer;
  Block &body;
  OpBuilder b;
  IRMapping mapping;
};

} // namespace

Value ExpertsFlattening::joinExperts(Operation &user, Value weight) {
  auto type = cast<RankedTensorType>(weight.getType());
  SmallVector<int64_t> shape(type.getShape().drop_front());
  shape[0] *= type.getDimSize(0);
  auto joined = RankedTensorType::get(shape, type.getElementType());
  if (auto expand = weight.getDefiningOp<tensor::ExpandShapeOp>())
    if (expand.getSrcType() == joined)
      return expand.getSrc();
  auto get = weight.getDefiningOp<GetWeightOp>();
  if (!get) {
    refuse(user) << "a weight of its experts is neither the result of "
                    "moe.get_weight nor expanded from one with all experts in "
                    "the leading dimension";
    return {};
  }
  auto source =
      SymbolTable::lookupNearestSymbolFrom<WeightOp>(get, get.getWeightAttr());
  if (!source || source.getStack() || source.getSplit() ||
      source.getEncoding()) {
    refuse(user) << "weight '@" << get.getWeight()
                 << "' is stacked, split or encoded; give it all experts in "
                    "the leading dimension and expand that with "
                    "tensor.expand_shape";
    return {};
  }
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointAfter(source);
  auto copy = cast<WeightOp>(b.clone(*source));
  std::string name = (get.getWeight() + ".joined").str();
  while (SymbolTable::lookupNearestSymbolFrom(get, b.getStringAttr(name)))
    name += "_";
  copy.setSymName(name);
  if (!source.getStored())
    copy.setStored(source.getSourceType().getShape());
  copy.setType(joined);
  b.setInsertionPoint(outer);
  return GetWeightOp::create(b, get.getLoc(), joined, name);
}

LogicalResult ExpertsFlattening::flattenLogits(RouterLogitsOp op) {
  Value weight = getWeight(op.getWeight());
  if (!weight || op.getBias() || op.getRound() || op.getCosine())
    return refuse(*op) << "expected a weight of the outer experts, and neither "
                          "bias, round nor cosine";
  auto logits = GroupedLogitsOp::create(
      b, op.getLoc(), op.getLogits().getType(),
      mapping.lookupOrDefault(op.getX()), weight, outer.getRouting());
  mapping.map(op.getLogits(), logits.getLogits());
  return success();
}

LogicalResult ExpertsFlattening::nest(Operation &op) {
  // At the level of the function the rows of all outer experts would compete.
  if (auto route = dyn_cast<RouteOp>(op);
      route && route.getPolicy().getCapacity())
    return refuse(op) << "a capacity counts the rows of one outer expert only";
  Operation *inner = b.clone(op, mapping);
  auto type = cast<RoutingType>(op.getResult(0).getType());
  auto nested = NestOp::create(
      b, op.getLoc(),
      RoutingType::get(b.getContext(),
                       outer.getRouting().getType().getExperts() *
                           type.getExperts(),
                       type.getPerToken()),
      inner->getResult(0), outer.getRouting());
  mapping.map(op.getResult(0), nested.getRouting());
  return success();
}

LogicalResult ExpertsFlattening::flattenExperts(ExpertsOp op) {
  SmallVector<Value> weights;
  for (Value value : op.getWeights()) {
    Value weight = getWeight(value);
    if (!weight)
      return refuse(*op) << "a weight of its is none of the outer experts";
    weight = joinExperts(*op, weight);
    if (!weight)
      return failure();
    weights.push_back(weight);
  }
  auto experts = ExpertsOp::create(
      b, op.getLoc(), op.getResult().getType(),
      mapping.lookupOrDefault(op.getRows()), weights,
      cast<TypedValue<RoutingType>>(mapping.lookupOrDefault(op.getRouting())));
  op.getBody().cloneInto(&experts.getBody(), mapping);
  mapping.map(op.getResult(), experts.getResult());
  return success();
}

LogicalResult ExpertsFlattening::flatten(Operation &op) {
  if (auto logits = dyn_cast<RouterLogitsOp>(op))
    return flattenLogits(logits);
  if (auto experts = dyn_cast<ExpertsOp>(op))
    return flattenExperts(experts);
  WalkResult walk = op.walk([&](Operation *inner) {
    return WalkResult(
        failure(llvm::any_of(inner->getOperands(), [&](Value operand) {
          return getWeight(operand) != nullptr;
        })));
  });
  if (walk.wasInterrupted())
    return refuse(op) << "it reads a weight of the outer experts, which only "
                         "moe.router_logits and moe.experts can";
  if (isa<RouteOp, AssignOp>(op))
    return nest(op);
  if (isa<MoeDialect>(op.getDialect()) && !isa<DispatchOp, CombineOp>(op))
    return refuse(op) << "expected moe.router_logits, moe.route, moe.assign, "
                         "moe.dispatch, moe.experts, moe.combine or tensor "
                         "code";
  b.clone(op, mapping);
  return success();
}

LogicalResult ExpertsFlattening::run() {
  mapping.map(body.getArgument(0), outer.getRows());
  for (Operation &op : body.without_terminator())
    if (failed(flatten(op)))
      return failure();
  outer.getResult().replaceAllUsesWith(
      mapping.lookupOrDefault(body.getTerminator()->getOperand(0)));
  outer.erase();
  return success();
}

namespace {

struct FlattenExpertsPass
    : public moe::impl::FlattenExpertsPassBase<FlattenExpertsPass> {
  void runOnOperation() override {
    // Experts within experts within experts come out one level at a time.
    SmallVector<ExpertsOp> nested;
    do {
      nested.clear();
      for (auto func : getOperation().getOps<func::FuncOp>())
        func.walk([&](ExpertsOp op) {
          if (op->getParentOp() == func && isNested(op))
            nested.push_back(op);
        });
      for (ExpertsOp op : nested)
        if (failed(ExpertsFlattening(op).run()))
          return signalPassFailure();
    } while (!nested.empty());
  }
};

} // namespace
