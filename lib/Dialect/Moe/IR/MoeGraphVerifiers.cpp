//===- MoeGraphVerifiers.cpp - Verifiers of graph-level ops ---------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "VerifyHelpers.h"

#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::detail;

/// Largest number of names that one range may stand for: far above any model,
/// small enough that a typing error does not fill the memory.
static constexpr uint64_t maxRangeNames = 65536;

/// C6 of moe.weight for one source. Sets `count` to the number of names.
static LogicalResult verifySource(WeightOp op, StringRef source,
                                  uint64_t &count) {
  count = 1;
  if (source.empty())
    return op.emitOpError() << "C6: a source name is empty";
  if (source.find_first_of("{}") == StringRef::npos)
    return success();
  auto malformed = [&]() {
    return op.emitOpError() << "C6: \"" << source
                            << "\" must have at most one range, written "
                               "{first..last}";
  };
  if (source.count('{') != 1 || source.count('}') != 1)
    return malformed();
  auto [head, tail] = source.split('{');
  StringRef range = tail.split('}').first;
  auto [firstText, lastText] = range.split("..");
  uint64_t first, last;
  // No leading zeros: printing the number would not give them back.
  auto parseNumber = [](StringRef text, uint64_t &number) {
    return (text.size() == 1 || !text.starts_with("0")) &&
           !text.getAsInteger(10, number);
  };
  if (head.contains('}') || !parseNumber(firstText, first) ||
      !parseNumber(lastText, last))
    return malformed();
  if (first > last)
    return op.emitOpError()
           << "C6: range {" << range << "} of \"" << source << "\" is empty";
  if (last - first >= maxRangeNames)
    return op.emitOpError() << "C6: range {" << range << "} of \"" << source
                            << "\" has more than " << maxRangeNames << " names";
  count = last - first + 1;
  return success();
}

/// C4 of moe.weight.
static LogicalResult verifySplit(WeightOp op, ArrayRef<int64_t> split,
                                 ArrayRef<int64_t> sourceShape) {
  auto error = [&]() {
    return op.emitOpError() << "C4: split [" << split << "] ";
  };
  if (split.size() != 5)
    return error() << "must be [dimension, begin, end, step, extent]";
  int64_t dim = split[0], begin = split[1], end = split[2], step = split[3];
  if (dim < 0 || dim >= static_cast<int64_t>(sourceShape.size()))
    return error() << "names dimension " << dim << " of sources of rank "
                   << sourceShape.size();
  if (begin < 0 || begin >= end || end > split[4])
    return error() << "must have 0 <= begin < end <= extent";
  if (step < 1 || (end - begin) % step)
    return error() << "must have a step >= 1 that divides end - begin = "
                   << end - begin;
  if ((end - begin) / step != sourceShape[dim])
    return error() << "takes " << (end - begin) / step
                   << " elements where the type has " << sourceShape[dim];
  return success();
}

LogicalResult WeightOp::verify() {
  auto type = cast<RankedTensorType>(getType());
  Type element = type.getElementType();
  if (!type.hasStaticShape() || llvm::is_contained(type.getShape(), 0) ||
      !(element.isF32() || isNarrowFloat(element)))
    return emitOpError() << "C1: expected a static, non-empty tensor of f32, "
                            "bf16 or f16, got "
                         << type;

  uint64_t names = 0;
  for (StringRef source : getSources().getAsValueRange<StringAttr>()) {
    uint64_t count;
    if (failed(verifySource(*this, source, count)))
      return failure();
    names += count;
  }
  if (names == 0)
    return emitOpError() << "C2: a weight needs at least one source";
  if (!getStack() && names != 1)
    return emitOpError() << "C2: " << names
                         << " sources without 'stack'; expected exactly one";
  if (getStack() && (type.getRank() == 0 ||
                     static_cast<uint64_t>(type.getDimSize(0)) != names))
    return emitOpError() << "C3: " << names << " sources do not stack to "
                         << type;

  // The shape of a source after `split`, before `transpose`.
  SmallVector<int64_t> shape(type.getShape().drop_front(getStack() ? 1 : 0));
  if (getTranspose()) {
    if (shape.size() < 2)
      return emitOpError() << "C5: 'transpose' needs sources of rank >= 2, got "
                              "rank "
                           << shape.size();
    std::swap(shape[shape.size() - 1], shape[shape.size() - 2]);
  }
  if (auto split = getSplit())
    if (failed(verifySplit(*this, *split, shape)))
      return failure();

  llvm::StringSet<> seen;
  for (const std::string &name : getSourceNames())
    if (!seen.insert(name).second)
      return emitOpError() << "C6: source \"" << name << "\" occurs twice";
  return success();
}

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
  return verifyRound(*this, "C3", getRound());
}

LogicalResult RouteOp::verify() {
  int64_t experts = extent(getLogits(), 1);
  RoutingType routing = getRouting().getType();
  if (routing.getExperts() != experts)
    return emitOpError() << "C1: a routing over " << routing.getExperts()
                         << " experts from logits " << getLogits().getType();
  if (routing.getPerToken() != getPolicy().getTopK())
    return emitOpError() << "C2: per_token = " << routing.getPerToken()
                         << ", but top_k = " << getPolicy().getTopK();
  if (getBias() && extent(getBias(), 0) != experts)
    return emitOpError() << "C3: bias must have " << experts
                         << " elements, got " << getBias().getType();
  return verifyPolicyFits(*this, "C2", "C4", getPolicy(), experts);
}

LogicalResult AssignOp::verify() {
  int64_t perToken = getRouting().getType().getPerToken();
  if (extent(getIndices(), 1) != perToken ||
      extent(getWeights(), 1) != perToken ||
      !agree(extent(getIndices(), 0), extent(getWeights(), 0)))
    return emitOpError() << "C1: indices and weights must both be N x "
                         << perToken << ", got " << getIndices().getType()
                         << " and " << getWeights().getType();
  return success();
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
  return success();
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
  return success();
}
