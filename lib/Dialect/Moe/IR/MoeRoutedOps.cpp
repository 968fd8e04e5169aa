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

/// Fails unless the lists of a routing of `tokens` tokens with `perToken`
/// pairs each have lengths that fit each other.
template <typename OpT>
static LogicalResult verifyLists(OpT op, StringRef label, int64_t tokens,
                                 int64_t perToken) {
  int64_t pairs = ShapedType::kDynamic;
  if (!ShapedType::isDynamic(tokens) && !ShapedType::isDynamic(perToken))
    pairs = tokens * perToken;
  for (Value list : {op.getRowToken(), op.getRowWeight(), op.getTokenRows()}) {
    int64_t length = extent(list, 0);
    if (!agree(length, pairs))
      return op.emitOpError()
             << label << ": lists over pairs must have one length, "
             << "got " << op.getRowToken().getType() << ", "
             << op.getRowWeight().getType() << " and "
             << op.getTokenRows().getType();
    if (!ShapedType::isDynamic(length))
      pairs = length;
  }
  int64_t offsets = extent(op.getTokenOffsets(), 0);
  if (!ShapedType::isDynamic(tokens) && !agree(offsets, tokens + 1))
    return op.emitOpError()
           << label << ": token_offsets must have " << tokens + 1
           << " elements, got " << op.getTokenOffsets().getType();
  return success();
}

LogicalResult SelectTopkOp::verify() {
  int64_t experts = extent(getLogits(), 1), tokens = extent(getLogits(), 0);
  int64_t topK = getPolicy().getTopK();
  for (Value value : {getIds(), getWeights()})
    if (extent(value, 1) != topK || !agree(extent(value, 0), tokens))
      return emitOpError() << "C1: ids and weights must be N x " << topK
                           << " for logits " << getLogits().getType()
                           << ", got " << value.getType();
  if (getBias() && extent(getBias(), 0) != experts)
    return emitOpError() << "C2: bias must have " << experts
                         << " elements, got " << getBias().getType();
  if (ShapedType::isDynamic(experts))
    return emitOpError() << "C3: the number of experts must be static, got "
                         << getLogits().getType();
  return verifyPolicyFits(*this, "C3", "C3", getPolicy(), experts);
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
  return verifySameRows(*this, "C1", getX(), "x", getRows(), "the result");
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
  return verifyActivation(*this, "C4", getActivation(), parts);
}

/// C1 and C4 of moe.map_rows: static extents after the leading one, and one
/// number of rows.
static bool isRowsOf(Type type, int64_t &rows) {
  auto tensor = cast<RankedTensorType>(type);
  if (tensor.getRank() == 0 || !agree(tensor.getDimSize(0), rows) ||
      llvm::any_of(tensor.getShape().drop_front(), ShapedType::isDynamic))
    return false;
  if (!tensor.isDynamicDim(0))
    rows = tensor.getDimSize(0);
  return true;
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
