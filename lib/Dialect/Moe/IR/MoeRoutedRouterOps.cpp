//===- MoeRoutedRouterOps.cpp - Verifiers of routers on lists -------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The routed-level forms of what MoeRouterOps.cpp verifies, and the reduction
// over rows.
//
//===----------------------------------------------------------------------===//

#include "VerifyHelpers.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::detail;

LogicalResult ApplyCapacityOp::verify() {
  int64_t topK = getPolicy().getTopK(), tokens = ShapedType::kDynamic;
  for (Value value :
       {getChosenIds(), getIds(), getChosenWeights(), getWeights()}) {
    if (extent(value, 1) != topK || !agree(extent(value, 0), tokens))
      return emitOpError() << "C1: all ids and weights must be N x " << topK
                           << ", got " << value.getType();
    if (!ShapedType::isDynamic(extent(value, 0)))
      tokens = extent(value, 0);
  }
  if (ShapedType::isDynamic(extent(getDropped(), 0)) ||
      extent(getDropped(), 0) < topK)
    return emitOpError() << "C2: dropped must have one element for each of at "
                            "least "
                         << topK << " experts, got " << getDropped().getType();
  if (!getPolicy().getCapacity())
    return emitOpError() << "C3: the policy has no capacity";
  return success();
}

LogicalResult SelectProductsOp::verify() {
  int64_t a = extent(getFirst(), 1), b = extent(getSecond(), 1);
  int64_t topK = getPolicy().getTopK(), tokens = extent(getFirst(), 0);
  if (ShapedType::isDynamic(a) || ShapedType::isDynamic(b) ||
      !agree(tokens, extent(getSecond(), 0)))
    return emitOpError() << "C1: expected N x A and N x B with static A and B, "
                            "got "
                         << getFirst().getType() << " and "
                         << getSecond().getType();
  for (Value value : {getIds(), getWeights()})
    if (extent(value, 1) != topK || !agree(extent(value, 0), tokens))
      return emitOpError() << "C1: ids and weights must be N x " << topK
                           << " for lists " << getFirst().getType() << ", got "
                           << value.getType();
  if (topK > a || topK > b)
    return emitOpError() << "C2: top_k = " << topK << " exceeds " << a << " or "
                         << b << " candidates";
  return verifyProductPolicy(*this, "C3", getPolicy());
}

LogicalResult ChooseRowsOp::verify() {
  int64_t experts = extent(getLogits(), 1);
  if (ShapedType::isDynamic(experts) ||
      extent(getExpertOffsets(), 0) != experts + 1)
    return emitOpError() << "C1: expected N x E and E+1 offsets, got "
                         << getLogits().getType() << " and "
                         << getExpertOffsets().getType();
  if (failed(verifyLists(*this, "C1", extent(getLogits(), 0),
                         ShapedType::kDynamic)))
    return failure();
  int64_t rows = getRows(), extra = getExtra();
  if (rows < 0 || extra < 0 || rows + extra == 0)
    return emitOpError() << "C2: rows and extra must not be negative nor both "
                            "0, got "
                         << rows << " and " << extra;
  auto bound = getCapacity().getRowBound(/*perToken=*/1, experts);
  // No expert has more rows than there are tokens.
  if (rows < experts && (rows < bound.first || extra < bound.second))
    return emitOpError() << "C2: the capacity bounds the rows by rows = "
                         << bound.first << " and extra = " << bound.second
                         << ", got " << rows << " and " << extra;
  if (failed(verifyScale(*this, "C2", getScale())))
    return failure();
  return verifyRound(*this, "C2", getRoundWeights());
}

LogicalResult SliceRowsOp::verify() {
  int64_t begin = getBegin(), end = getEnd();
  int64_t offsets = extent(getSourceOffsets(), 0);
  if (ShapedType::isDynamic(offsets) || begin < 0 || begin >= end ||
      end >= offsets)
    return emitOpError() << "C1: expected 0 <= begin < end < number of source "
                            "offsets, got ["
                         << begin << ", " << end << "] of "
                         << getSourceOffsets().getType();
  if (extent(getExpertOffsets(), 0) != end - begin + 1)
    return emitOpError() << "C2: expert_offsets must have " << end - begin + 1
                         << " elements, got " << getExpertOffsets().getType();
  int64_t tokens = extent(getSourceTokenOffsets(), 0);
  return verifyLists(*this, "C2",
                     ShapedType::isDynamic(tokens) ? tokens : tokens - 1,
                     ShapedType::kDynamic);
}

LogicalResult RowLogitsOp::verify() {
  auto weight = cast<RankedTensorType>(getWeight().getType());
  if (!weight.hasStaticShape() ||
      weight.getDimSize(2) != extent(getRows(), 1) ||
      extent(getExpertOffsets(), 0) != weight.getDimSize(0) + 1 ||
      extent(getLogits(), 1) != weight.getDimSize(1) ||
      !agree(extent(getRows(), 0), extent(getLogits(), 0)))
    return emitOpError() << "C1: expected P x H, E x J x H, E+1 and P x J with "
                            "static E, J and H, got "
                         << getRows().getType() << ", " << weight << ", "
                         << getExpertOffsets().getType() << " and "
                         << getLogits().getType();
  return success();
}

LogicalResult NestIdsOp::verify() {
  if (extent(getIds(), 1) != extent(getResult(), 1) ||
      !agree(extent(getIds(), 0), extent(getResult(), 0)))
    return emitOpError() << "C1: ids and the result must have one shape, got "
                         << getIds().getType() << " and "
                         << getResult().getType();
  return verifySizes(*this, "C1",
                     {{"inner", static_cast<int64_t>(getInnerExperts())}});
}

LogicalResult CountIdsOp::verify() {
  if (ShapedType::isDynamic(extent(getCounts(), 0)))
    return emitOpError() << "C1: the number of experts must be static, got "
                         << getCounts().getType();
  return success();
}

LogicalResult FoldRowsOp::verify() {
  if (getRows().empty())
    return emitOpError() << "C1: there must be at least one of rows";
  int64_t count = ShapedType::kDynamic;
  for (Type type : getRows().getTypes())
    if (!isRowsOf(type, count))
      return emitOpError() << "C1: rows must agree in their number and have "
                              "static extents but for it, got "
                           << getRows().getTypes();
  for (Type type : getResultTypes()) {
    Type element = cast<RankedTensorType>(type).getElementType();
    if (!element.isF32() && !element.isInteger(32) && !element.isInteger(64))
      return emitOpError() << "C2: results must be of f32, i32 or i64, got "
                           << type;
  }
  if (getInits().size() != getNumResults())
    return emitOpError() << "C2: expected one init for each of "
                         << getNumResults() << " results, got "
                         << getInits().size();

  SmallVector<Type> expected{IndexType::get(getContext())};
  for (Type type : getRows().getTypes())
    expected.push_back(singleRow(cast<RankedTensorType>(type)));
  llvm::append_range(expected, getInvariants().getTypes());
  llvm::append_range(expected, getResultTypes());
  Block &block = getBody().front();
  if (!llvm::equal(block.getArgumentTypes(), expected))
    return emitOpError() << "C3: the region must take (" << expected
                         << "), got (" << block.getArgumentTypes() << ")";
  auto yielded = block.getTerminator()->getOperandTypes();
  if (!llvm::equal(yielded, getResultTypes()))
    return emitOpError() << "C3: the region must yield (" << getResultTypes()
                         << "), got (" << yielded << ")";
  return success();
}
