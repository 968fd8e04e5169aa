//===- MoeStatisticsOps.cpp - Verifiers of statistics ---------------------===//
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

/// Fails unless `result` has `count` elements.
static LogicalResult verifyCount(Operation *op, StringRef label, Value result,
                                 int64_t count) {
  if (extent(result, 0) != count)
    return op->emitOpError() << label << ": the result must be tensor<" << count
                             << "xf32>, got " << result.getType();
  return success();
}

LogicalResult ExpertFractionsOp::verify() {
  int64_t experts = extent(getCounts(), 0);
  if (ShapedType::isDynamic(experts) || extent(getFractions(), 0) != experts)
    return emitOpError() << "C1: expected one static number of elements, got "
                         << getCounts().getType() << " and "
                         << getFractions().getType();
  return success();
}

LogicalResult MeanScoresOp::verify() {
  int64_t experts = extent(getLogits(), 1);
  if (ShapedType::isDynamic(experts))
    return emitOpError() << "C1: the number of experts must be static, got "
                         << getLogits().getType();
  return verifyCount(*this, "C1", getMeans(), experts);
}

LogicalResult LoadBalanceLossOp::verify() {
  auto route = getRouting().getDefiningOp<RouteOp>();
  if (!route)
    return emitOpError() << "C2: the routing must be the result of moe.route";
  if (extent(getLogits(), 1) != extent(route.getLogits(), 1))
    return emitOpError() << "C1: logits must have one column for each of "
                         << extent(route.getLogits(), 1) << " experts, got "
                         << getLogits().getType();
  if (std::optional<int64_t> every = getEvery();
      every && (*every < 1 || *every > std::numeric_limits<int32_t>::max()))
    return emitOpError() << "C3: every must be at least 1 and below 2^31, got "
                         << *every;
  return verifyCount(*this, "C3", getLoss(), 1);
}

LogicalResult RouterZLossOp::verify() {
  return verifyCount(*this, "C1", getLoss(), 1);
}

LogicalResult ImportanceLossOp::verify() {
  if (failed(verifyCount(*this, "C1", getLoss(), 1)))
    return failure();
  if (!isa_and_nonnull<RouteOp, AssignOp>(getRouting().getDefiningOp()))
    return emitOpError() << "C2: the routing must be the result of moe.route "
                            "or moe.assign";
  return success();
}

LogicalResult UpdateBiasOp::verify() {
  int64_t experts = extent(getBias(), 0);
  if (ShapedType::isDynamic(experts) || extent(getCounts(), 0) != experts ||
      extent(getResult(), 0) != experts)
    return emitOpError() << "C1: expected one static number of elements, got "
                         << getBias().getType() << ", " << getCounts().getType()
                         << " and " << getResult().getType();
  APFloat rate = getRate();
  if (!rate.isFinite() || rate.isZero() || rate.isNegative())
    return emitOpError() << "C2: rate must be finite and greater than 0, got "
                         << rate.convertToFloat();
  return success();
}

LogicalResult RoutingRegretOp::verify() {
  auto route = getRouting().getDefiningOp<RouteOp>();
  if (!route || !route.getPolicy().getPolicy().prefers)
    return emitOpError() << "C1: the routing must be the result of moe.route "
                            "with 'prefer'";
  return verifyCount(*this, "C2", getRegret(), 2);
}
