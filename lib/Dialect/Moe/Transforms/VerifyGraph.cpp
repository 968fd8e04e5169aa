//===- VerifyGraph.cpp - Border check of the graph ------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/Moe/Transforms/Passes.h"

#include "RowCloner.h"
#include "moe/Dialect/Moe/Transforms/RowSpaces.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace mlir::moe {
#define GEN_PASS_DEF_VERIFYGRAPHPASS
#include "moe/Dialect/Moe/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

static bool isGraphOp(Operation *op) {
  if (isa_and_nonnull<MoeDialect>(op->getDialect()))
    return isa<GetWeightOp, RouterLogitsOp, RouteOp, AssignOp, AssignAllOp,
               ChooseTokensOp, RouteProductsOp, RestrictOp, GroupedLogitsOp,
               NestOp, RandomOp, LookupOp, SoftDispatchOp, SoftCombineOp,
               DispatchOp, ExpertsOp, CombineOp, ExpertCountsOp,
               ExpertFractionsOp, MeanScoresOp, LoadBalanceLossOp,
               RouterZLossOp, ImportanceLossOp, UpdateBiasOp, RoutingRegretOp,
               YieldOp>(op);
  return isa_and_nonnull<arith::ArithDialect, linalg::LinalgDialect,
                         math::MathDialect, tensor::TensorDialect>(
      op->getDialect());
}

namespace {

/// Follows which rows a tensor has: one per token, or one per pair of a
/// routing. Types do not tell them apart.
class RowChecker {
public:
  LogicalResult check(Operation &op);

private:
  /// Fails when `value` has rows and they are others than those of `space`.
  LogicalResult expect(Operation &op, Value value, RowSpace space) {
    if (!value || spaces.lookup(value) == space)
      return success();
    RowSpace own = spaces.lookup(value);
    auto name = [&](const RowSpace &space, const RowSpace &other) {
      if (space.kind == RowSpace::Kind::Fixed)
        return std::to_string(space.rows) + " rows";
      if (space.kind != RowSpace::Kind::Pairs)
        return std::string("one row per token");
      if (&space == &own)
        return std::string(other.kind == RowSpace::Kind::Pairs
                               ? "one row per pair of another routing"
                               : "one row per (token, expert) pair");
      return std::string("one row per pair of its routing");
    };
    return op.emitError() << "'" << op.getName() << "' expects "
                          << name(space, own) << ", but its operand has "
                          << name(own, space);
  }
  LogicalResult expectSame(Operation &op, ValueRange values) {
    for (Value value : values)
      if (failed(expect(op, value, spaces.lookup(values.front()))))
        return failure();
    return success();
  }
  LogicalResult checkRouter(Operation &op);
  LogicalResult checkRows(Operation &op);

  /// Pairs are named by their routing.
  RowSpaces spaces;
};

} // namespace

/// What makes a routing.
LogicalResult RowChecker::checkRouter(Operation &op) {
  Value routing = op.getResult(0);
  SmallVector<Value> rows;
  if (auto route = dyn_cast<RouteOp>(op)) {
    rows.push_back(route.getLogits());
    if (route.getBias() &&
        cast<ShapedType>(route.getBias().getType()).getRank() == 2)
      rows.push_back(route.getBias());
    if (route.getRandom())
      rows.push_back(route.getRandom());
  } else if (isa<RestrictOp>(op)) {
    spaces.setTokens(routing, spaces.getTokens(op.getOperand(0)));
    return success();
  } else if (auto nest = dyn_cast<NestOp>(op)) {
    RowSpace tokens = spaces.getTokens(nest.getInner());
    spaces.setTokens(routing, tokens);
    if (tokens == RowSpace::ofPairs(nest.getOuter()))
      return success();
    return op.emitError() << "'" << op.getName()
                          << "' nests a routing of other rows than those that "
                             "moe.dispatch by the outer routing gives";
  } else {
    rows.assign(op.operand_begin(), op.operand_end());
  }
  spaces.setTokens(routing, spaces.lookup(rows.front()));
  return expectSame(op, rows);
}

/// What reads or makes rows, tensor code included.
LogicalResult RowChecker::checkRows(Operation &op) {
  if (auto dispatch = dyn_cast<DispatchOp>(op)) {
    Value routing = dispatch.getRouting();
    spaces.set(dispatch.getRows(), RowSpace::ofPairs(routing));
    if (dispatch.getRows().getType().hasStaticShape())
      return op.emitError()
             << "'" << op.getName() << "' has a result of type "
             << dispatch.getRows().getType()
             << "; the number of pairs is not known at compile time";
    return expect(op, dispatch.getX(), spaces.getTokens(routing));
  }
  if (auto experts = dyn_cast<ExpertsOp>(op)) {
    RowSpace space = RowSpace::ofPairs(experts.getRouting());
    spaces.set(experts.getResult(), space);
    return expect(op, experts.getRows(), space);
  }
  if (auto logits = dyn_cast<GroupedLogitsOp>(op)) {
    RowSpace space = RowSpace::ofPairs(logits.getRouting());
    spaces.set(logits.getLogits(), space);
    return expect(op, logits.getRows(), space);
  }
  if (auto combine = dyn_cast<CombineOp>(op)) {
    RowSpace tokens = spaces.getTokens(combine.getRouting());
    spaces.set(combine.getResult(), tokens);
    if (tokens.kind == RowSpace::Kind::Fixed &&
        combine.getType() !=
            combine.getType().clone(
                {tokens.rows, combine.getType().getDimSize(1)}))
      return op.emitError() << "'" << op.getName() << "' has a result of type "
                            << combine.getType() << "; expected " << tokens.rows
                            << " rows, as many as its routing has tokens";
    return expect(op, combine.getRows(),
                  RowSpace::ofPairs(combine.getRouting()));
  }
  if (auto logits = dyn_cast<RouterLogitsOp>(op)) {
    spaces.set(logits.getLogits(), spaces.lookup(logits.getX()));
    return success();
  }
  if (auto random = dyn_cast<RandomOp>(op)) {
    spaces.set(random.getResult(), spaces.lookup(random.getLike()));
    return success();
  }
  if (auto table = dyn_cast<LookupOp>(op)) {
    spaces.set(table.getResult(), spaces.lookup(table.getIndices()));
    return success();
  }
  if (auto soft = dyn_cast<SoftDispatchOp>(op))
    return expect(op, soft.getX(), spaces.lookup(soft.getLogits()));
  if (auto soft = dyn_cast<SoftCombineOp>(op)) {
    spaces.set(soft.getResult(), spaces.lookup(soft.getLogits()));
    return success();
  }
  if (auto loss = dyn_cast<LoadBalanceLossOp>(op))
    return expect(op, loss.getLogits(), spaces.getTokens(loss.getRouting()));
  if (isa<tensor::DimOp>(op) || isa<MoeDialect>(op.getDialect()))
    return success();
  std::optional<RowSpace> space;
  for (Value operand : op.getOperands()) {
    if (!isRowTensor(operand.getType()))
      continue;
    RowSpace own = spaces.lookup(operand);
    if (space && *space != own)
      return op.emitError() << "'" << op.getName()
                            << "' mixes rows of tokens with rows of experts, "
                               "or rows of two routings";
    space = own;
  }
  if (space)
    for (Value result : op.getResults())
      if (isRowTensor(result.getType()))
        spaces.set(result, *space);
  return success();
}

LogicalResult RowChecker::check(Operation &op) {
  if (isa<func::ReturnOp>(op)) {
    for (Value operand : op.getOperands())
      if (isRowTensor(operand.getType()) &&
          failed(expect(op, operand, RowSpace::ofTokens())))
        return failure();
    return success();
  }
  if (llvm::any_of(op.getResultTypes(), llvm::IsaPred<RoutingType>))
    return checkRouter(op);
  return checkRows(op);
}

static LogicalResult verifyGraph(func::FuncOp func) {
  if (func.isDeclaration())
    return func.emitError()
           << "function '" << func.getSymName() << "' has no body to compile";
  if (!func.getBody().hasOneBlock())
    return func.emitError() << "function '" << func.getSymName()
                            << "' has control flow; expected a single block";
  if (func.getNumArguments() == 0)
    return func.emitError()
           << "function '" << func.getSymName() << "' has no input";
  if (func.getNumResults() == 0)
    return func.emitError()
           << "function '" << func.getSymName() << "' has no result";
  for (auto [i, type] : llvm::enumerate(func.getArgumentTypes())) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    if (!tensor || !(isRowTensor(type) ||
                     (tensor.getRank() != 0 && tensor.hasStaticShape())))
      return func.emitError()
             << "input " << i << " of function '" << func.getSymName()
             << "' has type " << type
             << "; expected a tensor whose first dimension is dynamic (the "
                "number of tokens) and no other, or a static one";
    if (!isStorable(getElementTypeOrSelf(type)))
      return func.emitError()
             << "input " << i << " of function '" << func.getSymName()
             << "' has element type " << getElementTypeOrSelf(type)
             << "; expected f32, bf16, f16, i64, i32 or i8";
  }
  if (llvm::none_of(func.getArgumentTypes(), isRowTensor))
    return func.emitError()
           << "no input of function '" << func.getSymName()
           << "' has one row per token; expected a tensor whose first "
              "dimension, and no other, is dynamic";
  for (auto [i, type] : llvm::enumerate(func.getResultTypes())) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    if (!tensor || (!tensor.hasStaticShape() && !isRowTensor(tensor)))
      return func.emitError()
             << "result " << i << " of function '" << func.getSymName()
             << "' has type " << type
             << "; expected a tensor with no dynamic dimension but the first";
    if (!isStorable(tensor.getElementType()))
      return func.emitError()
             << "result " << i << " of function '" << func.getSymName()
             << "' has element type " << tensor.getElementType()
             << "; expected f32, bf16, f16, i64, i32 or i8";
  }
  WalkResult walk = func.getBody().walk([&](Operation *op) {
    // Control flow inside the code of one row is fine.
    bool isNested = op->getParentOp() != func;
    if (isa<func::ReturnOp>(op) || isGraphOp(op) ||
        (isNested && isa_and_nonnull<scf::SCFDialect>(op->getDialect())))
      return WalkResult::advance();
    op->emitError() << "'" << op->getName()
                    << "' cannot be compiled; expected graph ops of the moe "
                       "dialect and ops of arith, linalg, math and tensor";
    return WalkResult::interrupt();
  });
  if (walk.wasInterrupted())
    return failure();

  RowChecker rows;
  for (Operation &op : func.front())
    if (failed(rows.check(op)))
      return failure();
  return success();
}

namespace {

struct VerifyGraphPass
    : public moe::impl::VerifyGraphPassBase<VerifyGraphPass> {
  void runOnOperation() override {
    if (failed(verifyGraph(getOperation())))
      return signalPassFailure();
    markAllAnalysesPreserved();
  }
};

} // namespace
