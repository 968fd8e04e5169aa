//===- MoeRouterOps.cpp - Verifiers of routers beyond token choice --------===//
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

LogicalResult ChooseTokensOp::verify() {
  int64_t experts = extent(getLogits(), 1);
  RoutingType routing = getRouting().getType();
  if (routing.getExperts() != experts || routing.getPerToken() != experts)
    return emitOpError() << "C1: logits " << getLogits().getType()
                         << " need a routing of as many experts and per_token, "
                            "got "
                         << routing;
  auto [rows, extra] = getCapacity().getRowBound(/*perToken=*/1, experts);
  if (routing.getRows() != rows || routing.getExtra() != extra)
    return emitOpError() << "C2: the capacity bounds the rows by rows = "
                         << rows << " and extra = " << extra << ", got "
                         << routing;
  if (failed(verifyScale(*this, "C3", getScale())))
    return failure();
  return verifyRound(*this, "C3", getRoundWeights());
}

LogicalResult RouteProductsOp::verify() {
  int64_t a = extent(getFirst(), 1), b = extent(getSecond(), 1);
  int64_t topK = getPolicy().getTopK();
  RoutingType routing = getRouting().getType();
  if (ShapedType::isDynamic(a) || ShapedType::isDynamic(b) ||
      !agree(extent(getFirst(), 0), extent(getSecond(), 0)) ||
      routing.getExperts() != a * b || routing.getPerToken() != topK)
    return emitOpError() << "C1: expected N x A, N x B and a routing of A * B "
                            "experts with per_token = "
                         << topK << ", got " << getFirst().getType() << ", "
                         << getSecond().getType() << " and " << routing;
  if (topK > a || topK > b)
    return emitOpError() << "C1: top_k = " << topK << " exceeds " << a << " or "
                         << b << " candidates";
  if (failed(verifyAllRows(*this, "C1", routing)))
    return failure();
  return verifyProductPolicy(*this, "C2", getPolicy());
}

/// `type` as it is after all but `count` experts were taken away.
static RoutingType restrictTo(RoutingType type, int64_t count) {
  int64_t perToken = std::min(count, type.getPerToken());
  if (type.getRows() >= perToken)
    return RoutingType::get(type.getContext(), count, perToken);
  return RoutingType::get(type.getContext(), count, perToken, type.getRows(),
                          type.getExtra());
}

LogicalResult RestrictOp::verify() {
  RoutingType from = getRouting().getType(), to = getResult().getType();
  int64_t begin = getBegin(), end = getEnd();
  if (begin < 0 || begin >= end || end > from.getExperts())
    return emitOpError() << "C1: expected 0 <= begin < end <= "
                         << from.getExperts() << ", got [" << begin << ", "
                         << end << "]";
  RoutingType expected = restrictTo(from, end - begin);
  // The bound of the whole routing is one for its part, too.
  bool sameBound =
      to.getRows() == from.getRows() && to.getExtra() == from.getExtra();
  if (to != expected && !(sameBound && to.getExperts() == end - begin &&
                          to.getPerToken() == expected.getPerToken()))
    return emitOpError() << "C2: the result must be " << expected << ", got "
                         << to;
  return success();
}

LogicalResult GroupedLogitsOp::verify() {
  auto weight = cast<RankedTensorType>(getWeight().getType());
  int64_t hidden = extent(getRows(), 1);
  if (!weight.hasStaticShape() ||
      weight.getDimSize(0) != getRouting().getType().getExperts() ||
      weight.getDimSize(2) != hidden ||
      extent(getLogits(), 1) != weight.getDimSize(1) ||
      !agree(extent(getRows(), 0), extent(getLogits(), 0)))
    return emitOpError() << "C1: expected P x H, "
                         << getRouting().getType().getExperts()
                         << " x J x H and P x J with static H and J, got "
                         << getRows().getType() << ", " << weight << " and "
                         << getLogits().getType();
  return success();
}

LogicalResult NestOp::verify() {
  RoutingType inner = getInner().getType(), outer = getOuter().getType();
  RoutingType expected =
      RoutingType::get(getContext(), outer.getExperts() * inner.getExperts(),
                       inner.getPerToken(), inner.getRows(), inner.getExtra());
  if (getRouting().getType() != expected)
    return emitOpError() << "C1: the result must be " << expected << ", got "
                         << getRouting().getType();
  if (!isa_and_nonnull<RouteOp, AssignOp>(getInner().getDefiningOp()))
    return emitOpError() << "C2: inner must be the result of moe.route or "
                            "moe.assign";
  return success();
}

LogicalResult RandomOp::verify() {
  auto like = cast<RankedTensorType>(getLike().getType());
  if (like.getRank() == 0 ||
      !agree(like.getDimSize(0), extent(getResult(), 0)) ||
      ShapedType::isDynamic(extent(getResult(), 1)))
    return emitOpError() << "C1: expected as many rows as " << like
                         << " and a static number of columns, got "
                         << getResult().getType();
  if (getStream() >= 65536)
    return emitOpError() << "C2: expected 0 <= stream < 65536, got "
                         << static_cast<int64_t>(getStream());
  if (extent(getSeed(), 0) != 1)
    return emitOpError() << "C3: seed must have one element, got "
                         << getSeed().getType();
  return success();
}

LogicalResult LookupOp::verify() {
  auto table = cast<RankedTensorType>(getTable().getType());
  if (!table.hasStaticShape() || table.getNumElements() == 0 ||
      extent(getResult(), 1) != table.getDimSize(1) ||
      !agree(extent(getResult(), 0), extent(getIndices(), 0)) ||
      elementType(getResult()) != table.getElementType())
    return emitOpError() << "C1: expected a static V x D, N indices and N x D "
                            "of one element type, got "
                         << table << ", " << getIndices().getType() << " and "
                         << getResult().getType();
  return success();
}

LogicalResult SoftDispatchOp::verify() {
  int64_t slots = extent(getLogits(), 1), hidden = extent(getX(), 1);
  if (ShapedType::isDynamic(slots) || ShapedType::isDynamic(hidden) ||
      !agree(extent(getX(), 0), extent(getLogits(), 0)) ||
      extent(getSlots(), 0) != slots || extent(getSlots(), 1) != hidden ||
      elementType(getX()) != elementType(getSlots()))
    return emitOpError() << "C1: expected N x H, N x S and S x H with static S "
                            "and H, got "
                         << getX().getType() << ", " << getLogits().getType()
                         << " and " << getSlots().getType();
  return success();
}

LogicalResult SoftCombineOp::verify() {
  int64_t slots = extent(getSlots(), 0), hidden = extent(getSlots(), 1);
  if (ShapedType::isDynamic(slots) || ShapedType::isDynamic(hidden) ||
      extent(getLogits(), 1) != slots || extent(getResult(), 1) != hidden ||
      !agree(extent(getLogits(), 0), extent(getResult(), 0)) ||
      elementType(getSlots()) != elementType(getResult()))
    return emitOpError() << "C1: expected S x H, N x S and N x H with static S "
                            "and H, got "
                         << getSlots().getType() << ", "
                         << getLogits().getType() << " and "
                         << getResult().getType();
  return success();
}
