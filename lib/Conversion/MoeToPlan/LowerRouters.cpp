//===- LowerRouters.cpp - Commands of routers -----------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "FunctionLowering.h"

using namespace mlir;
using namespace mlir::moe;

static int64_t getColumns(Value matrix) {
  return cast<ShapedType>(matrix.getType()).getDimSize(1);
}

void FunctionLowering::lowerRouterLogits(RouterLogitsOp op) {
  Args args;
  Location loc = op.getLoc();
  auto type = op.getWeight().getType();
  define(op.getLogits());
  addTensors(args, op->getOperands());
  unsigned out = addTensor(args, op.getLogits());
  Count count = addCountOf(args, op.getX());
  dispatch(op, "router_logits", args, [&](OpBuilder &b, ValueRange v) {
    KernelRouterLogitsOp::create(
        b, loc, v[0], v[1], op.getBias() ? v[2] : Value(), v[out],
        getCount(b, loc, v, count), b.getI64IntegerAttr(type.getDimSize(0)),
        b.getI64IntegerAttr(type.getDimSize(1)), op.getRoundAttr(),
        op.getCosineAttr());
  });
}

void FunctionLowering::lowerSelect(SelectTopkOp op) {
  define(op.getIds());
  define(op.getWeights());
  if (onGpu() && getFusedGroup(op))
    return;
  Args args;
  Location loc = op.getLoc();
  addTensors(args, op->getOperands());
  unsigned out = addTensor(args, op.getIds());
  addTensor(args, op.getWeights());
  Count count = addCountOf(args, op.getLogits());
  UnitAttr biasPerToken;
  if (op.getBias() && cast<ShapedType>(op.getBias().getType()).getRank() == 2)
    biasPerToken = b.getUnitAttr();
  dispatch(op, "select_topk", args, [&](OpBuilder &b, ValueRange v) {
    unsigned next = 1;
    auto take = [&](Value operand) { return operand ? v[next++] : Value(); };
    Value bias = take(op.getBias()), resident = take(op.getResident()),
          random = take(op.getRandom());
    KernelSelectTopkOp::create(b, loc, v[0], bias, resident, random, v[out],
                               v[out + 1], getCount(b, loc, v, count),
                               b.getI64IntegerAttr(getColumns(op.getLogits())),
                               op.getPolicyAttr(), biasPerToken);
  });
  tap(op.getIds());
}

void FunctionLowering::lowerCapacity(ApplyCapacityOp op) {
  Args args;
  Location loc = op.getLoc();
  for (Value result : op->getResults())
    define(result);
  RowBound pairs =
      getBound(spaces.lookup(op.getChosenIds())) * op.getPolicy().getTopK();
  Value order = allocate(loc, size(pairs, 2 * 4));
  addTensors(args, op->getOperands());
  addTensors(args, op->getResults());
  args.add(order, flat(b.getI32Type()));
  Count count = addCountOf(args, op.getChosenIds());
  int64_t experts = op.getDropped().getType().getDimSize(0);
  dispatch(
      op, "apply_capacity", args,
      [&](OpBuilder &b, ValueRange v) {
        KernelApplyCapacityOp::create(b, loc, v[0], v[1], v[2], v[3], v[4],
                                      v[5], getCount(b, loc, v, count),
                                      b.getI64IntegerAttr(experts),
                                      op.getPolicyAttr());
      },
      /*single=*/true);
  tap(op.getIds());
}

void FunctionLowering::lowerProducts(SelectProductsOp op) {
  Args args;
  Location loc = op.getLoc();
  for (Value result : op->getResults())
    define(result);
  addTensors(args, op->getOperands());
  addTensors(args, op->getResults());
  Count count = addCountOf(args, op.getFirst());
  dispatch(op, "select_products", args, [&](OpBuilder &b, ValueRange v) {
    KernelSelectProductsOp::create(
        b, loc, v[0], v[1], v[2], v[3], getCount(b, loc, v, count),
        b.getI64IntegerAttr(getColumns(op.getFirst())),
        b.getI64IntegerAttr(getColumns(op.getSecond())), op.getPolicyAttr());
  });
  tap(op.getIds());
}

void FunctionLowering::lowerNest(NestIdsOp op) {
  Args args;
  Location loc = op.getLoc();
  define(op.getResult());
  addTensors(args, op->getOperands());
  unsigned out = addTensor(args, op.getResult());
  // All rows that there is memory for, so that those behind the last pair are
  // marked as well.
  RowBound bound = getBound(spaces.lookup(op.getIds()));
  unsigned n = args.add(tokens, b.getIndexType());
  int64_t experts =
      cast<ShapedType>(op.getExpertOffsets().getType()).getDimSize(0) - 1;
  dispatch(op, "nest_ids", args, [&](OpBuilder &b, ValueRange v) {
    Value factor = arith::ConstantIndexOp::create(b, loc, bound.perToken);
    Value constant = arith::ConstantIndexOp::create(b, loc, bound.constant);
    Value rows = arith::AddIOp::create(
        b, loc, arith::MulIOp::create(b, loc, v[n], factor), constant);
    KernelNestIdsOp::create(
        b, loc, v[0], v[1], v[out], rows, b.getI64IntegerAttr(experts),
        op.getInnerExpertsAttr(), b.getI64IntegerAttr(getColumns(op.getIds())));
  });
  tap(op.getResult());
}

bool FunctionLowering::lowerRouter(Operation *op) {
  Location loc = op->getLoc();
  Args args;
  if (auto logits = dyn_cast<RouterLogitsOp>(op)) {
    lowerRouterLogits(logits);
  } else if (auto select = dyn_cast<SelectTopkOp>(op)) {
    lowerSelect(select);
  } else if (auto apply = dyn_cast<ApplyCapacityOp>(op)) {
    lowerCapacity(apply);
  } else if (auto products = dyn_cast<SelectProductsOp>(op)) {
    lowerProducts(products);
  } else if (auto nest = dyn_cast<NestIdsOp>(op)) {
    lowerNest(nest);
  } else if (auto logits = dyn_cast<RowLogitsOp>(op)) {
    define(logits.getLogits());
    addTensors(args, op->getOperands());
    addTensor(args, logits.getLogits());
    auto shape = cast<ShapedType>(logits.getWeight().getType()).getShape();
    dispatch(op, "row_logits", args, [&](OpBuilder &b, ValueRange v) {
      KernelRowLogitsOp::create(
          b, loc, v[0], v[1], v[2], v[3], b.getI64IntegerAttr(shape[0]),
          b.getI64IntegerAttr(shape[1]), b.getI64IntegerAttr(shape[2]));
    });
  } else if (auto counts = dyn_cast<CountIdsOp>(op)) {
    define(counts.getCounts());
    addTensor(args, counts.getIds());
    addTensor(args, counts.getCounts());
    Count count = addCountOf(args, counts.getIds());
    dispatch(
        op, "count_ids", args,
        [&](OpBuilder &b, ValueRange v) {
          KernelCountIdsOp::create(
              b, loc, v[0], v[1], getCount(b, loc, v, count),
              b.getI64IntegerAttr(counts.getCounts().getType().getDimSize(0)),
              b.getI64IntegerAttr(getColumns(counts.getIds())));
        },
        /*single=*/true);
  } else if (auto random = dyn_cast<RandomOp>(op)) {
    define(random.getResult());
    addTensor(args, random.getSeed());
    addTensor(args, random.getResult());
    Count count = addCountOf(args, random.getLike());
    dispatch(op, "random", args, [&](OpBuilder &b, ValueRange v) {
      KernelRandomOp::create(
          b, loc, v[0], v[1], getCount(b, loc, v, count),
          random.getDistributionAttr(),
          b.getI64IntegerAttr(getColumns(random.getResult())),
          b.getI64IntegerAttr(random.getStream()));
    });
  } else if (auto table = dyn_cast<LookupOp>(op)) {
    define(table.getResult());
    addTensors(args, op->getOperands());
    addTensor(args, table.getResult());
    Count count = addCountOf(args, table.getIndices());
    auto shape = table.getTable().getType().getShape();
    dispatch(op, "lookup_rows", args, [&](OpBuilder &b, ValueRange v) {
      KernelLookupRowsOp::create(
          b, loc, v[0], v[1], v[2], getCount(b, loc, v, count),
          b.getI64IntegerAttr(shape[0]), b.getI64IntegerAttr(shape[1]));
    });
  } else {
    return false;
  }
  return true;
}
