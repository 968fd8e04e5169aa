//===- LowerExperts.cpp - Experts on rows ---------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RoutingLowering.h"

#include "MatchExpertFfn.h"
#include "RowCloner.h"

#include "mlir/IR/Remarks.h"

using namespace mlir;
using namespace mlir::moe;

LogicalResult RoutingLowering::lowerExperts(ExpertsOp op) {
  const Lists &lists = routings[op.getRouting()];
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
  if (!gather || gather.getRowToken() != lists.rowToken ||
      (gather.getRowWeight() && gather.getRowWeight() != lists.rowWeight))
    return missed("its rows do not come straight from moe.dispatch by the "
                  "same routing");

  SmallVector<Value> scales, weights, biases;
  if (gather.getRowWeight())
    scales.push_back(gather.getRowWeight());
  for (unsigned i : ffn->parts)
    weights.push_back(op.getWeights()[i]);
  weights.push_back(op.getWeights()[ffn->last]);
  for (unsigned i : ffn->biases)
    biases.push_back(op.getWeights()[i]);
  for (Value weight : weights)
    if (Operation *def = weight.getDefiningOp(); def && !isa<GetWeightOp>(def))
      return missed("a weight is computed, so that it cannot be packed");
  auto grouped = GroupedFfnOp::create(
      b, op.getLoc(), op->getResultTypes(), gather.getX(), lists.expertOffsets,
      lists.rowToken, scales, weights, biases, ffn->parts.size());
  grouped.getActivation().takeBody(*ffn->activation);
  replace(op, grouped.getResult(0));
  return success();
}

LogicalResult RoutingLowering::lowerToMapRows(ExpertsOp op,
                                              const Lists &lists) {
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
