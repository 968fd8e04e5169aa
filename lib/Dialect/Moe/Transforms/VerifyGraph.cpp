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
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace mlir::moe {
#define GEN_PASS_DEF_VERIFYGRAPHPASS
#include "moe/Dialect/Moe/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

static bool isGraphOp(Operation *op) {
  if (isa<MoeDialect>(op->getDialect()))
    return isa<GetWeightOp, RouterLogitsOp, RouteOp, AssignOp, AssignAllOp,
               DispatchOp, ExpertsOp, CombineOp, ExpertCountsOp, YieldOp>(op);
  return isa<arith::ArithDialect, linalg::LinalgDialect, math::MathDialect,
             tensor::TensorDialect>(op->getDialect());
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
  for (auto [i, type] : llvm::enumerate(func.getArgumentTypes()))
    if (!isRowTensor(type))
      return func.emitError()
             << "input " << i << " of function '" << func.getSymName()
             << "' has type " << type
             << "; expected a tensor whose first dimension, and no other, is "
                "dynamic (the number of tokens)";
  for (auto [i, type] : llvm::enumerate(func.getResultTypes())) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    if (!tensor || (!tensor.hasStaticShape() && !isRowTensor(tensor)))
      return func.emitError()
             << "result " << i << " of function '" << func.getSymName()
             << "' has type " << type
             << "; expected a tensor with no dynamic dimension but the first";
  }
  for (Operation &op : func.front()) {
    if (isa<func::ReturnOp>(op))
      continue;
    if (!isGraphOp(&op))
      return op.emitError() << "'" << op.getName()
                            << "' cannot be compiled; expected graph ops of "
                               "the moe dialect and ops of arith, linalg, math "
                               "and tensor";
  }
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
