//===- LowerGroups.cpp - Commands that build the lists of a routing -----===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "FunctionLowering.h"

using namespace mlir;
using namespace mlir::moe;

GroupRowsOp FunctionLowering::getFusedGroup(SelectTopkOp select) {
  GroupRowsOp group;
  for (Operation *user : select.getIds().getUsers())
    if (auto candidate = dyn_cast<GroupRowsOp>(user);
        candidate && !candidate.getGiven() && !group &&
        candidate.getIds() == select.getIds() &&
        candidate.getWeights() == select.getWeights())
      group = candidate;
  // Nothing may want the choice before the lists are there.
  for (Operation *user : select->getUsers())
    if (group && user->isBeforeInBlock(group))
      return {};
  return group;
}

void FunctionLowering::lowerGroups(Operation *op) {
  Args args;
  Location loc = op->getLoc();
  auto group = dyn_cast<GroupRowsOp>(op);
  int64_t experts =
      cast<RankedTensorType>(op->getResult(0).getType()).getDimSize(0) - 1;
  int64_t pairs = group ? group.getIds().getType().getDimSize(1) : experts;
  define(op->getResult(0), 0);
  rowsPerToken[op->getResult(0)] = pairs;
  for (unsigned i : {1, 2, 4})
    define(op->getResult(i), pairs);
  // One more than tokens.
  Value &tokenOffsets = buffers[op->getResult(3)];
  if (!tokenOffsets)
    tokenOffsets = allocate(loc, size(4, 4));
  IntegerAttr tileRows;
  if (needsWorklist(op->getResult(0))) {
    // No more tiles than rows.
    worklists[op->getResult(0)] = allocate(loc, size(16 * pairs, 16));
    tileRows = b.getI64IntegerAttr(kTileRows);
  }

  auto select =
      group ? group.getIds().getDefiningOp<SelectTopkOp>() : SelectTopkOp();
  if (!onGpu() || !select || getFusedGroup(select) != group)
    select = {};
  if (select) {
    addTensor(args, select.getLogits());
    if (select.getBias())
      addTensor(args, select.getBias());
  }
  // Of assign_all's tokens only the number counts, and that is N.
  for (Value operand : op->getOperands())
    if (group || operand != op->getOperand(0))
      addTensor(args, operand);
  for (Value result : op->getResults())
    addTensor(args, result);
  addTokens(args);
  if (tileRows)
    args.add(worklists[op->getResult(0)], flat(b.getI32Type()));

  if (select)
    dispatch(op, "route", args, [&](OpBuilder &b, ValueRange v) {
      Value worklist = tileRows ? v.back() : Value();
      Value bias = select.getBias() ? v[1] : Value();
      ValueRange lists = v.drop_front(bias ? 2 : 1);
      KernelRouteRowsOp::create(
          b, loc, v[0], bias, lists[0], lists[1], lists[2], lists[3], lists[4],
          lists[5], lists[6], worklist, lists[7], b.getI64IntegerAttr(experts),
          select.getPolicyAttr(), tileRows);
    });
  else if (group)
    dispatch(
        op, "group_rows", args,
        [&](OpBuilder &b, ValueRange v) {
          Value worklist = tileRows ? v.back() : Value();
          KernelGroupRowsOp::create(
              b, loc, v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], worklist,
              b.getI64IntegerAttr(experts), b.getI64IntegerAttr(pairs),
              group.getGivenAttr(), tileRows);
        },
        /*single=*/true);
  else
    dispatch(op, "all_rows", args, [&](OpBuilder &b, ValueRange v) {
      Value worklist = tileRows ? v.back() : Value();
      bool weighted = v.size() == (worklist ? 8 : 7);
      ValueRange lists = weighted ? v.drop_front() : v;
      KernelAllRowsOp::create(b, loc, weighted ? v[0] : Value(), lists[0],
                              lists[1], lists[2], lists[3], lists[4], lists[5],
                              worklist, b.getI64IntegerAttr(experts), tileRows);
    });
  if (!group)
    return;
  std::string layer = func.getSymName().str();
  if (routings++)
    layer += "#" + std::to_string(routings - 1);
  plan::RecordExpertsOp::create(b, loc, buffer(op->getResult(0)), experts,
                                layer);
}
