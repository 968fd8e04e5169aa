//===- BuildExperts.cpp - The experts of a block --------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BlockBuilder.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::model;

Value BlockBuilder::extend(Value x) {
  return x.getType() == f32 ? x : arith::ExtFOp::create(builder, loc, f32, x);
}

Value BlockBuilder::round(Value x, Type type) {
  return type == f32 ? x : arith::TruncFOp::create(builder, loc, type, x);
}

Value BlockBuilder::buildRows(Value matrix) {
  Value zero = arith::ConstantIndexOp::create(builder, loc, 0);
  return tensor::DimOp::create(builder, loc, matrix, zero);
}

Value BlockBuilder::buildZeros(Value rows, int64_t columns) {
  return linalg::FillOp::create(builder, loc, buildConstant(0.0),
                                buildEmpty(rows, columns, f32))
      .getResult(0);
}

Value BlockBuilder::buildMatmul(Value a, Value b, Value zeros, Value bias) {
  Value product = linalg::MatmulTransposeBOp::create(
                      builder, loc, zeros.getType(), ValueRange{a, b}, zeros)
                      .getResult(0);
  if (!bias)
    return product;
  return buildMap(buildRows(a), {product, bias}, f32, [&](ValueRange args) {
    return Value(arith::AddFOp::create(builder, loc, args[0], extend(args[1])));
  });
}

AffineMap BlockBuilder::getMap(Value input, int64_t columns) {
  auto type = cast<RankedTensorType>(input.getType());
  if (type.getRank() == 1)
    return AffineMap::get(2, 0, builder.getAffineDimExpr(1));
  if (type.getDimSize(1) == columns)
    return builder.getMultiDimIdentityMap(2);
  return AffineMap::get(
      2, 0, {builder.getAffineDimExpr(0), builder.getAffineConstantExpr(0)},
      builder.getContext());
}

Value BlockBuilder::buildMap(Value rows, ValueRange inputs, Type type,
                             function_ref<Value(ValueRange)> function) {
  int64_t columns =
      cast<RankedTensorType>(inputs.front().getType()).getDimSize(1);
  Value init = buildEmpty(rows, columns, type);
  SmallVector<AffineMap> maps;
  for (Value input : inputs)
    maps.push_back(getMap(input, columns));
  maps.push_back(builder.getMultiDimIdentityMap(2));
  SmallVector<utils::IteratorType> iterators(2, utils::IteratorType::parallel);
  return linalg::GenericOp::create(
             builder, loc, init.getType(), inputs, init, maps, iterators,
             [&](OpBuilder &, Location, ValueRange args) {
               Value result = function(args.drop_back());
               linalg::YieldOp::create(builder, loc, round(result, type));
             })
      .getResult(0);
}

void BlockBuilder::buildExpertBody(Block &body, const ExpertRoles &roles) {
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(&body);
  // Block arguments stand in the order of buildExperts.
  unsigned next = 0;
  auto take = [&](Role role) {
    return has(role) ? Value(body.getArgument(++next)) : Value();
  };
  Value x = body.getArgument(0), gateWeight = take(roles.gate);
  Value upWeight = take(roles.up), downWeight = take(roles.down);
  Value gateBias = take(roles.gateBias);
  Value upBias = upWeight ? take(roles.upBias) : Value();
  Value downBias = take(roles.downBias);

  auto downType = cast<RankedTensorType>(downWeight.getType());
  int64_t hidden = downType.getDimSize(0), width = downType.getDimSize(1);
  Value rows = buildRows(x);
  Value zeros = buildZeros(rows, width);
  SmallVector<Value> products = {buildMatmul(x, gateWeight, zeros, gateBias)};
  if (upWeight)
    products.push_back(buildMatmul(x, upWeight, zeros, upBias));
  const Family &family = *model.family;
  auto activate = [&](ValueRange args) -> Value {
    if (family.gating == Gating::Clamped)
      return buildClamped(builder, loc, args[0], args[1], model.alpha,
                          model.limit);
    Value active =
        findActivation(model.activation)->build(builder, loc, args[0]);
    return args.size() == 1
               ? active
               : arith::MulFOp::create(builder, loc, active, args[1]);
  };
  Value inner = buildMap(rows, products, element, activate);
  Value out =
      buildMatmul(inner, downWeight, buildZeros(rows, hidden), downBias);
  if (element != f32)
    out = buildMap(rows, out, element, [](ValueRange args) { return args[0]; });
  YieldOp::create(builder, loc, out);
}

Value BlockBuilder::buildExperts(Value x, Value routing,
                                 const ExpertRoles &roles,
                                 bool appliesToInput) {
  SmallVector<Value> weights;
  for (Role role : {roles.gate, roles.up, roles.down, roles.gateBias})
    if (has(role))
      weights.push_back(getWeight(role));
  if (has(roles.up) && has(roles.upBias))
    weights.push_back(getWeight(roles.upBias));
  if (has(roles.downBias))
    weights.push_back(getWeight(roles.downBias));
  UnitAttr onInput = appliesToInput ? builder.getUnitAttr() : UnitAttr();
  Value rows =
      DispatchOp::create(builder, loc, x.getType(), x, routing, onInput);
  auto experts =
      ExpertsOp::create(builder, loc, x.getType(), rows, weights, routing);
  Block &body = experts.getBody().emplaceBlock();
  body.addArgument(x.getType(), loc);
  for (Value weight : weights) {
    auto type = cast<RankedTensorType>(weight.getType());
    body.addArgument(type.clone(type.getShape().drop_front()), loc);
  }
  buildExpertBody(body, roles);
  return CombineOp::create(builder, loc, x.getType(), experts.getResult(),
                           routing, onInput);
}
