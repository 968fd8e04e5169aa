//===- VerifyGraph.cpp - Border check of the graph ------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/Moe/Transforms/Passes.h"

#include "RowCloner.h"

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
               DispatchOp, ExpertsOp, CombineOp, ExpertCountsOp, YieldOp>(op);
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
  void addTokens(Value value) { spaces[value] = Value(); }

private:
  /// Fails when `value` has rows and they are others than those of `space`
  /// (null: tokens).
  LogicalResult expect(Operation &op, Value value, Value space) {
    auto it = spaces.find(value);
    if (!value || it == spaces.end() || it->second == space)
      return success();
    const char *wanted =
        space ? "one row per pair of its routing" : "one row per token";
    const char *got = !it->second ? "one row per token"
                      : space     ? "one row per pair of another routing"
                                  : "one row per (token, expert) pair";
    return op.emitError() << "'" << op.getName() << "' expects " << wanted
                          << ", but its operand has " << got;
  }

  /// Null for tokens, else the routing; absent for other values.
  DenseMap<Value, Value> spaces;
};

} // namespace

LogicalResult RowChecker::check(Operation &op) {
  if (auto logits = dyn_cast<RouterLogitsOp>(op)) {
    addTokens(logits.getLogits());
    return expect(op, logits.getX(), {});
  }
  if (auto dispatch = dyn_cast<DispatchOp>(op)) {
    spaces[dispatch.getRows()] = dispatch.getRouting();
    return expect(op, dispatch.getX(), {});
  }
  if (auto experts = dyn_cast<ExpertsOp>(op)) {
    spaces[experts.getResult()] = experts.getRouting();
    return expect(op, experts.getRows(), experts.getRouting());
  }
  if (auto combine = dyn_cast<CombineOp>(op)) {
    addTokens(combine.getResult());
    return expect(op, combine.getRows(), combine.getRouting());
  }
  if (isa<RouteOp, AssignOp, AssignAllOp, func::ReturnOp>(op)) {
    for (Value operand : op.getOperands())
      if (failed(expect(op, operand, {})))
        return failure();
    return success();
  }
  if (isa<tensor::DimOp>(op))
    return success();
  std::optional<Value> space;
  for (Value operand : op.getOperands()) {
    auto it = spaces.find(operand);
    if (it == spaces.end())
      continue;
    if (space && *space != it->second)
      return op.emitError() << "'" << op.getName()
                            << "' mixes rows of tokens with rows of experts, "
                               "or rows of two routings";
    space = it->second;
  }
  if (space)
    for (Value result : op.getResults())
      if (isRowTensor(result.getType()))
        spaces[result] = *space;
  return success();
}

/// Element types that buffers of the plan can have.
static bool isStorable(Type type) {
  return type.isF32() || type.isBF16() || type.isF16() || type.isInteger(64) ||
         type.isInteger(32) || type.isInteger(8);
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
    if (!isRowTensor(type))
      return func.emitError()
             << "input " << i << " of function '" << func.getSymName()
             << "' has type " << type
             << "; expected a tensor whose first dimension, and no other, is "
                "dynamic (the number of tokens)";
    if (!isStorable(getElementTypeOrSelf(type)))
      return func.emitError()
             << "input " << i << " of function '" << func.getSymName()
             << "' has element type " << getElementTypeOrSelf(type)
             << "; expected f32, bf16, f16, i64, i32 or i8";
  }
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
  for (BlockArgument arg : func.getArguments())
    rows.addTokens(arg);
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
