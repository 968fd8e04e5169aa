//===- MoeGraphVerifiers.cpp - Verifiers of graph-level ops ---------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "VerifyHelpers.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::detail;

LogicalResult
GetWeightOp::verifySymbolUses(SymbolTableCollection &symbolTable) {
  auto weight =
      symbolTable.lookupNearestSymbolFrom<WeightOp>(*this, getWeightAttr());
  if (!weight)
    return emitOpError() << "C1: no moe.weight named " << getWeightAttr();
  if (weight.getType() != getResult().getType())
    return emitOpError() << "C1: " << getWeightAttr() << " has type "
                         << weight.getType() << ", not "
                         << getResult().getType();
  return success();
}

LogicalResult RouterLogitsOp::verify() {
  int64_t hidden = extent(getX(), 1), experts = extent(getWeight(), 0);
  if (ShapedType::isDynamic(hidden) || ShapedType::isDynamic(experts) ||
      extent(getWeight(), 1) != hidden || extent(getLogits(), 1) != experts ||
      !agree(extent(getX(), 0), extent(getLogits(), 0)))
    return emitOpError() << "C1: expected N x H, E x H and N x E with static H "
                            "and E, got "
                         << getX().getType() << ", " << getWeight().getType()
                         << " and " << getLogits().getType();
  if (getBias() && extent(getBias(), 0) != experts)
    return emitOpError() << "C2: bias must have " << experts
                         << " elements, got " << getBias().getType();
  if (failed(verifyRound(*this, "C3", getRound())))
    return failure();
  return verifyCosine(*this, "C4", getCosine());
}

LogicalResult RouteOp::verify() {
  int64_t experts = extent(getLogits(), 1);
  int64_t nulls = getPolicy().getNullExperts(), topK = getPolicy().getTopK();
  RoutingType routing = getRouting().getType();
  if (!ShapedType::isDynamic(experts) && nulls >= experts)
    return emitOpError() << "C7: null_experts = " << nulls << " leaves none of "
                         << experts << " experts";
  if (ShapedType::isDynamic(experts) || routing.getExperts() != experts - nulls)
    return emitOpError() << "C1: a routing over " << routing.getExperts()
                         << " experts from logits " << getLogits().getType()
                         << (nulls ? " with " + std::to_string(nulls) +
                                         " null experts"
                                   : std::string());
  if (routing.getPerToken() != topK)
    return emitOpError() << "C2: per_token = " << routing.getPerToken()
                         << ", but top_k = " << topK;
  if (failed(verifyBias(*this, "C3", getPolicy(), getLogits(), getBias())) ||
      failed(verifyPolicyFits(*this, "C2", "C4", getPolicy(), experts)) ||
      failed(verifyPolicyOperands(*this, "C5", "C6", getPolicy(), getResident(),
                                  getRandom())))
    return failure();
  if (getResident() && extent(getResident(), 0) != experts)
    return emitOpError() << "C5: resident must have " << experts
                         << " elements, got " << getResident().getType();
  if (getRandom() && (extent(getRandom(), 1) != topK ||
                      !agree(extent(getRandom(), 0), extent(getLogits(), 0))))
    return emitOpError() << "C6: random must be N x " << topK << " for logits "
                         << getLogits().getType() << ", got "
                         << getRandom().getType();
  return verifyAllRows(*this, "C8", routing);
}

LogicalResult AssignOp::verify() {
  int64_t perToken = getRouting().getType().getPerToken();
  if (extent(getIndices(), 1) != perToken ||
      extent(getWeights(), 1) != perToken ||
      !agree(extent(getIndices(), 0), extent(getWeights(), 0)))
    return emitOpError() << "C1: indices and weights must both be N x "
                         << perToken << ", got " << getIndices().getType()
                         << " and " << getWeights().getType();
  return verifyAllRows(*this, "C1", getRouting().getType());
}

LogicalResult AssignAllOp::verify() {
  RoutingType routing = getRouting().getType();
  if (routing.getPerToken() != routing.getExperts())
    return emitOpError() << "C1: every token visits all "
                         << routing.getExperts() << " experts, but per_token = "
                         << routing.getPerToken();
  if (getWeights() && (extent(getWeights(), 1) != routing.getExperts() ||
                       !agree(extent(getWeights(), 0), extent(getX(), 0))))
    return emitOpError() << "C2: weights must be N x " << routing.getExperts()
                         << " for x of type " << getX().getType() << ", got "
                         << getWeights().getType();
  return verifyAllRows(*this, "C1", routing);
}

LogicalResult DispatchOp::verify() {
  return verifySameRows(*this, "C1", getX(), "x", getRows(), "the result");
}

LogicalResult ExpertsOp::verify() {
  int64_t experts = getRouting().getType().getExperts();
  for (Value weight : getWeights()) {
    auto type = cast<RankedTensorType>(weight.getType());
    if (type.getRank() == 0 || type.getDimSize(0) != experts)
      return emitOpError() << "C1: the leading dimension of every weight must "
                              "be the number of experts "
                           << experts << ", got " << type;
  }

  SmallVector<Type> expected{getRows().getType()};
  for (Value weight : getWeights())
    expected.push_back(dropLeading(cast<RankedTensorType>(weight.getType())));
  Block &block = getBody().front();
  if (!llvm::equal(block.getArgumentTypes(), expected))
    return emitOpError() << "C2: the region must take (" << expected
                         << "), got (" << block.getArgumentTypes() << ")";

  auto yielded = block.getTerminator()->getOperandTypes();
  if (yielded.size() != 1 || yielded[0] != getResult().getType() ||
      !agree(extent(getRows(), 0), extent(getResult(), 0)))
    return emitOpError() << "C3: the region must yield one "
                         << getResult().getType() << " for rows of type "
                         << getRows().getType() << ", got (" << yielded << ")";
  if (ShapedType::isDynamic(extent(getResult(), 1)))
    return emitOpError() << "C4: the row length of the result must be static, "
                            "got "
                         << getResult().getType();
  return success();
}

LogicalResult CombineOp::verify() {
  return verifySameRows(*this, "C1", getRows(), "the experts", getResult(),
                        "the result");
}

LogicalResult ExpertCountsOp::verify() {
  int64_t experts = getRouting().getType().getExperts();
  if (extent(getCounts(), 0) != experts)
    return emitOpError() << "C1: expected tensor<" << experts << "xi64>, got "
                         << getCounts().getType();
  if (getChosen() && !getRouting().getDefiningOp<RouteOp>())
    return emitOpError() << "C2: 'chosen' needs the result of moe.route";
  return success();
}
