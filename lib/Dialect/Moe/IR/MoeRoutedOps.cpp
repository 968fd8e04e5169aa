//===- MoeRoutedOps.cpp - Verifiers of routed-level ops -------------------===//
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

LogicalResult SelectTopkOp::verify() {
  int64_t experts = extent(getLogits(), 1), tokens = extent(getLogits(), 0);
  int64_t topK = getPolicy().getTopK();
  for (Value value : {getIds(), getWeights()})
    if (extent(value, 1) != topK || !agree(extent(value, 0), tokens))
      return emitOpError() << "C1: ids and weights must be N x " << topK
                           << " for logits " << getLogits().getType()
                           << ", got " << value.getType();
  if (failed(verifyBias(*this, "C2", getPolicy(), getLogits(), getBias())))
    return failure();
  if (ShapedType::isDynamic(experts))
    return emitOpError() << "C3: the number of experts must be static, got "
                         << getLogits().getType();
  if (failed(verifyPolicyFits(*this, "C3", "C3", getPolicy(), experts)) ||
      failed(verifyPolicyOperands(*this, "C4", "C4", getPolicy(), getResident(),
                                  getRandom())))
    return failure();
  if (getResident() && extent(getResident(), 0) != experts)
    return emitOpError() << "C4: resident must have " << experts
                         << " elements, got " << getResident().getType();
  if (getRandom() && (extent(getRandom(), 1) != topK ||
                      !agree(extent(getRandom(), 0), tokens)))
    return emitOpError() << "C4: random must be N x " << topK << " for logits "
                         << getLogits().getType() << ", got "
                         << getRandom().getType();
  return success();
}

LogicalResult GroupRowsOp::verify() {
  int64_t tokens = extent(getIds(), 0), perToken = extent(getIds(), 1);
  if (ShapedType::isDynamic(perToken) || extent(getWeights(), 1) != perToken ||
      !agree(tokens, extent(getWeights(), 0)))
    return emitOpError() << "C1: ids and weights must both be N x k with a "
                            "static k, got "
                         << getIds().getType() << " and "
                         << getWeights().getType();
  int64_t offsets = extent(getExpertOffsets(), 0);
  if (ShapedType::isDynamic(offsets) || offsets < perToken + 1)
    return emitOpError() << "C2: expert_offsets must have E+1 elements with "
                            "E >= "
                         << perToken << ", got "
                         << getExpertOffsets().getType();
  return verifyLists(*this, "C3", tokens, perToken);
}

LogicalResult AllRowsOp::verify() {
  int64_t offsets = extent(getExpertOffsets(), 0), tokens = extent(getX(), 0);
  if (ShapedType::isDynamic(offsets) || offsets < 2)
    return emitOpError() << "C1: expert_offsets must have E+1 elements with "
                            "E >= 1, got "
                         << getExpertOffsets().getType();
  if (getWeights() && (extent(getWeights(), 1) != offsets - 1 ||
                       !agree(extent(getWeights(), 0), tokens)))
    return emitOpError() << "C1: weights must be N x " << offsets - 1
                         << " for x of type " << getX().getType() << ", got "
                         << getWeights().getType();
  return verifyLists(*this, "C2", tokens, offsets - 1);
}

LogicalResult GatherRowsOp::verify() {
  if (!agree(extent(getRows(), 0), extent(getRowToken(), 0)))
    return emitOpError() << "C1: " << getRowToken().getType()
                         << " does not give " << getRows().getType();
  if (getRowWeight() && !agree(extent(getRowWeight(), 0), extent(getRows(), 0)))
    return emitOpError() << "C1: weights of type " << getRowWeight().getType()
                         << " do not weight " << getRows().getType();
  return verifySameRows(*this, "C1", getX(), "x", getRows(), "the result");
}

/// C5 and C6 of moe.grouped_ffn.
static LogicalResult verifyScalesAndBiases(GroupedFfnOp op) {
  size_t segments = op.getNumSegments();
  if (!op.getRowWeight().empty() && op.getRowWeight().size() != segments)
    return op.emitOpError()
           << "C5: expected " << segments << " scales or none, got "
           << op.getRowWeight().size();
  for (auto [weight, token] : llvm::zip(op.getRowWeight(), op.getRowToken()))
    if (!agree(extent(weight, 0), extent(token, 0)))
      return op.emitOpError() << "C5: scales must be as long as tokens, got "
                              << weight.getType() << " and " << token.getType();

  if (op.getBiases().empty())
    return success();
  if (op.getBiases().size() != op.getWeights().size())
    return op.emitOpError() << "C6: expected " << op.getWeights().size()
                            << " biases or none, got " << op.getBiases().size();
  for (auto [bias, weight] : llvm::zip(op.getBiases(), op.getWeights()))
    if (cast<RankedTensorType>(bias.getType()).getShape() !=
        cast<RankedTensorType>(weight.getType()).getShape().drop_back())
      return op.emitOpError() << "C6: the bias of " << weight.getType()
                              << " must have one element for each of its rows, "
                                 "got "
                              << bias.getType();
  return success();
}

LogicalResult GroupedFfnOp::verify() {
  size_t segments = getResults().size();
  int64_t parts = getParts();
  if (parts < 1 || parts > 2)
    return emitOpError() << "C1: parts must be 1 or 2, got " << parts;
  if (segments == 0 || getExpertOffsets().size() != segments ||
      getRowToken().size() != segments ||
      getWeights().size() != segments * (parts + 1))
    return emitOpError() << "C1: " << segments << " results need as many "
                         << "offsets and tokens and " << segments * (parts + 1)
                         << " weights, got " << getExpertOffsets().size()
                         << ", " << getRowToken().size() << " and "
                         << getWeights().size();

  int64_t hidden = extent(getX(), 1);
  for (size_t s = 0; s < segments; ++s) {
    auto error = [&]() { return emitOpError() << "C2: segment " << s << ": "; };
    ValueRange weights = getSegmentWeights(s);
    auto last = cast<RankedTensorType>(weights.back().getType());
    auto first = cast<RankedTensorType>(weights.front().getType());
    if (!last.hasStaticShape() || !first.hasStaticShape())
      return error() << "weights must be static, got " << first << " and "
                     << last;
    int64_t experts = last.getDimSize(0), inner = last.getDimSize(2);
    if (extent(getExpertOffsets()[s], 0) != experts + 1)
      return error() << "expert_offsets must have " << experts + 1
                     << " elements, got " << getExpertOffsets()[s].getType();
    for (Value weight : weights.drop_back())
      if (cast<RankedTensorType>(weight.getType()).getShape() !=
          ArrayRef<int64_t>({experts, inner, hidden}))
        return error() << "a first weight must be " << experts << " x " << inner
                       << " x " << hidden << ", got " << weight.getType();
    Value result = getResults()[s];
    if (extent(result, 1) != last.getDimSize(1) ||
        !agree(extent(result, 0), extent(getRowToken()[s], 0)))
      return error() << "the result must have a row of " << last.getDimSize(1)
                     << " elements for each of " << getRowToken()[s].getType()
                     << ", got " << result.getType();
  }

  Type weightType = elementType(getWeights()[0]);
  for (Value weight : getWeights())
    if (elementType(weight) != weightType)
      return emitOpError() << "C3: weights must have one element type, got "
                           << weightType << " and " << elementType(weight);
  for (Value result : getResults())
    if (elementType(result) != elementType(getX()))
      return emitOpError() << "C3: x and the results must have one element "
                              "type, got "
                           << elementType(getX()) << " and "
                           << elementType(result);
  if (failed(verifyActivation(*this, "C4", getActivation(), parts)))
    return failure();
  return verifyScalesAndBiases(*this);
}

LogicalResult MapRowsOp::verify() {
  if (getRows().empty())
    return emitOpError() << "C1: there must be at least one of rows";
  int64_t count = ShapedType::kDynamic;
  for (Type type : getRows().getTypes())
    if (!isRowsOf(type, count))
      return emitOpError() << "C1: rows must agree in their number and have "
                              "static extents but for it, got "
                           << getRows().getTypes();

  if (!getExpertWeights().empty() && !getExpertOffsets())
    return emitOpError() << "C3: expert weights need offsets";
  for (Value weight : getExpertWeights()) {
    auto type = cast<RankedTensorType>(weight.getType());
    if (type.getRank() == 0 ||
        extent(getExpertOffsets(), 0) != type.getDimSize(0) + 1)
      return emitOpError() << "C3: a leading dimension of E needs E+1 offsets, "
                              "got "
                           << type << " and " << getExpertOffsets().getType();
  }

  SmallVector<Type> expected;
  for (Type type : getRows().getTypes())
    expected.push_back(singleRow(cast<RankedTensorType>(type)));
  for (Type type : getExpertWeights().getTypes())
    expected.push_back(dropLeading(cast<RankedTensorType>(type)));
  llvm::append_range(expected, getInvariants().getTypes());
  Block &block = getBody().front();
  if (!llvm::equal(block.getArgumentTypes(), expected))
    return emitOpError() << "C2: the region must take (" << expected
                         << "), got (" << block.getArgumentTypes() << ")";

  SmallVector<Type> yields;
  for (Type type : getResultTypes()) {
    if (!isRowsOf(type, count))
      return emitOpError() << "C4: a result must have as many rows as rows and "
                              "static extents but for it, got "
                           << type;
    yields.push_back(singleRow(cast<RankedTensorType>(type)));
  }
  auto yielded = block.getTerminator()->getOperandTypes();
  if (!llvm::equal(yielded, yields))
    return emitOpError() << "C4: the region must yield (" << yields
                         << "), got (" << yielded << ")";
  return success();
}

LogicalResult CombineRowsOp::verify() {
  size_t segments = getRows().size();
  if (segments == 0 || getTokenOffsets().size() != segments ||
      getTokenRows().size() != segments || getRowWeight().size() != segments)
    return emitOpError() << "C1: expected at least one of rows and as many of "
                            "each list, got "
                         << segments << " rows, " << getTokenOffsets().size()
                         << " offsets, " << getTokenRows().size()
                         << " indices and " << getRowWeight().size()
                         << " weights";
  for (Value rows : getRows())
    if (failed(verifySameRows(*this, "C2", getResult(), "the result", rows,
                              "an operand of rows")))
      return failure();
  int64_t tokens = extent(getResult(), 0);
  for (size_t s = 0; s < segments; ++s) {
    int64_t rows = extent(getRows()[s], 0);
    int64_t indices = extent(getTokenRows()[s], 0);
    int64_t weights = extent(getRowWeight()[s], 0);
    if (!agree(rows, indices) || !agree(rows, weights) ||
        !agree(indices, weights))
      return emitOpError() << "C3: rows, indices and weights of segment " << s
                           << " must have one length, got "
                           << getRows()[s].getType() << ", "
                           << getTokenRows()[s].getType() << " and "
                           << getRowWeight()[s].getType();
    if (!ShapedType::isDynamic(tokens) &&
        !agree(extent(getTokenOffsets()[s], 0), tokens + 1))
      return emitOpError() << "C3: offsets of segment " << s << " must have "
                           << tokens + 1 << " elements, got "
                           << getTokenOffsets()[s].getType();
  }
  if (getUnweighted() && getUnweighted()->size() != segments)
    return emitOpError() << "C4: unweighted must have " << segments
                         << " elements, got " << getUnweighted()->size();
  return success();
}

LogicalResult CountRowsOp::verify() {
  int64_t offsets = extent(getExpertOffsets(), 0);
  if (ShapedType::isDynamic(offsets) || extent(getCounts(), 0) != offsets - 1)
    return emitOpError() << "C1: expected E+1 offsets and E counts, got "
                         << getExpertOffsets().getType() << " and "
                         << getCounts().getType();
  return success();
}
