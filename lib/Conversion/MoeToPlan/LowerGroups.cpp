//===- LowerGroups.cpp - Commands that build the lists of a routing -------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "FunctionLowering.h"

using namespace mlir;
using namespace mlir::moe;

/// Experts of the routing that an op makes lists of.
static int64_t getNumExperts(Operation *maker) {
  return cast<ShapedType>(maker->getResult(0).getType()).getDimSize(0) - 1;
}

void FunctionLowering::boundPairs(Operation *maker) {
  Value offsets = maker->getResult(0);
  RowBound tokens = getBound(spaces.getTokens(offsets));
  int64_t experts = getNumExperts(maker), perToken = experts;
  RowBound bound;
  if (auto group = dyn_cast<GroupRowsOp>(maker)) {
    perToken = group.getIds().getType().getDimSize(1);
    bound = tokens * perToken;
  } else if (auto choose = dyn_cast<ChooseRowsOp>(maker)) {
    bound = tokens * choose.getRows() + choose.getExtra();
  } else if (auto slice = dyn_cast<SliceRowsOp>(maker)) {
    // No more than the whole, and no more than each token at each expert.
    Value source = slice.getSourceOffsets();
    perToken = std::min(experts, pairsPerToken.lookup(source));
    bound = pairBounds.lookup(source);
    RowBound all = tokens * perToken;
    if (all.perToken <= bound.perToken && all.constant <= bound.constant)
      bound = all;
  } else {
    bound = tokens * perToken;
  }
  pairBounds[offsets] = bound;
  pairsPerToken[offsets] = perToken;
}

void FunctionLowering::defineLists(Operation *maker) {
  for (unsigned i : {0, 1, 2, 4})
    define(maker->getResult(i));
  Value offsets = maker->getResult(0);
  // One more than tokens.
  Value &tokenOffsets = buffers[maker->getResult(3)];
  if (!tokenOffsets)
    tokenOffsets = allocate(maker->getLoc(),
                            size(getBound(spaces.getTokens(offsets)) + 1, 4));
  // No more tiles than rows.
  if (needsWorklist(offsets))
    worklists[offsets] =
        allocate(maker->getLoc(), size(pairBounds.lookup(offsets) + 1, 16));
}

GroupRowsOp FunctionLowering::getFusedGroup(SelectTopkOp select) {
  // What the fused kernel has no operands for.
  auto bias = select.getBias();
  if (select.getPolicy().getCapacity() ||
      select.getPolicy().getNullExperts() > 0 || select.getResident() ||
      select.getRandom() ||
      (bias && cast<ShapedType>(bias.getType()).getRank() != 1) ||
      spaces.lookup(select.getLogits()) != RowSpace::ofTokens())
    return {};
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

void FunctionLowering::tap(Value ids, bool readOnly) {
  for (Operation *user : ids.getUsers()) {
    auto group = dyn_cast<GroupRowsOp>(user);
    if (!group || group.getGiven())
      continue;
    RowBound bound = getBound(spaces.lookup(ids));
    plan::TapRoutesOp::create(b, group.getLoc(), buffer(ids),
                              buffer(group.getWeights()), size(bound, 1),
                              group.getIds().getType().getDimSize(1),
                              getNumExperts(group), layers.at(group), readOnly);
    return;
  }
}

void FunctionLowering::record(Operation *maker) {
  auto layer = layers.find(maker);
  if (layer == layers.end())
    return;
  Value dropped;
  if (auto group = dyn_cast<GroupRowsOp>(maker))
    if (auto apply = group.getIds().getDefiningOp<ApplyCapacityOp>())
      dropped = buffer(apply.getDropped());
  plan::RecordExpertsOp::create(b, maker->getLoc(), buffer(maker->getResult(0)),
                                getNumExperts(maker), layer->second, dropped);
}

void FunctionLowering::lowerGroups(Operation *op) {
  Args args;
  Location loc = op->getLoc();
  auto group = dyn_cast<GroupRowsOp>(op);
  int64_t experts = getNumExperts(op);
  defineLists(op);
  Value offsets = op->getResult(0);
  IntegerAttr tileRows;
  if (worklists.contains(offsets))
    tileRows = b.getI64IntegerAttr(kTileRows);

  auto select =
      group ? group.getIds().getDefiningOp<SelectTopkOp>() : SelectTopkOp();
  if (!onGpu() || !select || getFusedGroup(select) != group)
    select = {};
  if (select) {
    addTensor(args, select.getLogits());
    if (select.getBias())
      addTensor(args, select.getBias());
  }
  // Of assign_all's tokens only the number counts.
  addTensors(args, op->getOperands().drop_front(group ? 0 : 1));
  addTensors(args, op->getResults());
  Count count = addCount(args, spaces.getTokens(offsets));
  if (tileRows)
    args.add(worklists[offsets], flat(b.getI32Type()));

  if (select) {
    dispatch(op, "route", args, [&](OpBuilder &b, ValueRange v) {
      Value worklist = tileRows ? v.back() : Value();
      Value bias = select.getBias() ? v[1] : Value();
      ValueRange lists = v.drop_front(bias ? 2 : 1);
      KernelRouteRowsOp::create(
          b, loc, v[0], bias, lists[0], lists[1], lists[2], lists[3], lists[4],
          lists[5], lists[6], worklist, getCount(b, loc, v, count),
          b.getI64IntegerAttr(experts), select.getPolicyAttr(), tileRows);
    });
    tap(select.getIds(), /*readOnly=*/true);
  } else if (group) {
    dispatch(
        op, "group_rows", args,
        [&](OpBuilder &b, ValueRange v) {
          Value worklist = tileRows ? v.back() : Value();
          KernelGroupRowsOp::create(
              b, loc, v[0], v[1], v[2], v[3], v[4], v[5], v[6],
              getCount(b, loc, v, count), worklist,
              b.getI64IntegerAttr(experts),
              b.getI64IntegerAttr(pairsPerToken.lookup(offsets)),
              group.getGivenAttr(), tileRows);
        },
        /*single=*/true);
  } else {
    dispatch(op, "all_rows", args, [&](OpBuilder &b, ValueRange v) {
      Value worklist = tileRows ? v.back() : Value();
      bool weighted = cast<AllRowsOp>(op).getWeights() != nullptr;
      ValueRange lists = weighted ? v.drop_front() : v;
      KernelAllRowsOp::create(b, loc, weighted ? v[0] : Value(), lists[0],
                              lists[1], lists[2], lists[3], lists[4],
                              getCount(b, loc, v, count), worklist,
                              b.getI64IntegerAttr(experts), tileRows);
    });
  }
  record(op);
}

void FunctionLowering::lowerChooseRows(ChooseRowsOp op) {
  Args args;
  Location loc = op.getLoc();
  defineLists(op);
  int64_t experts = getNumExperts(op);
  RowBound tokens = getBound(spaces.lookup(op.getLogits()));
  Value keys = allocate(loc, size(tokens, (experts + 1) * 4));
  addTensor(args, op.getLogits());
  addTensors(args, op->getResults());
  args.add(keys, flat(b.getI32Type()));
  Count count = addCountOf(args, op.getLogits());
  dispatch(
      op, "choose_rows", args,
      [&](OpBuilder &b, ValueRange v) {
        KernelChooseRowsOp::create(
            b, loc, v[0], v[1], v[2], v[3], v[4], v[5], v[6],
            getCount(b, loc, v, count), b.getI64IntegerAttr(experts),
            op.getScoreAttr(), op.getCapacityAttr(), op.getAverageAttr(),
            op.getScaleAttr(), op.getRoundWeightsAttr());
      },
      /*single=*/true);
  record(op);
}

void FunctionLowering::lowerSliceRows(SliceRowsOp op) {
  Args args;
  Location loc = op.getLoc();
  defineLists(op);
  addTensors(args, op->getOperands());
  addTensors(args, op->getResults());
  Count count = addCount(args, spaces.getTokens(op.getExpertOffsets()));
  IntegerAttr tileRows;
  auto worklist = worklists.find(op.getExpertOffsets());
  if (worklist != worklists.end()) {
    tileRows = b.getI64IntegerAttr(kTileRows);
    args.add(worklist->second, flat(b.getI32Type()));
  }
  dispatch(
      op, "slice_rows", args,
      [&](OpBuilder &b, ValueRange v) {
        KernelSliceRowsOp::create(
            b, loc, v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9],
            getCount(b, loc, v, count), tileRows ? v.back() : Value(),
            op.getBeginAttr(), op.getEndAttr(), tileRows);
      },
      /*single=*/true);
}
