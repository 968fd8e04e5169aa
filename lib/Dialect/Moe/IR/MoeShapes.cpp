//===- MoeShapes.cpp - Extents of results in terms of operands ------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// The interface answers which extent of an operand a result's extent equals;
// the dialect canonicalises `tensor.dim` with it.
//
//===----------------------------------------------------------------------===//

#include "Patterns.h"
#include "VerifyHelpers.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace mlir::moe;

/// Extent `dim` of `value`: an attribute when it is static.
static OpFoldResult extentOf(OpBuilder &builder, Location loc, Value value,
                             int64_t dim) {
  return tensor::getMixedSize(builder, loc, value, dim);
}

OpFoldResult mlir::moe::getNumTokens(OpBuilder &builder, Location loc,
                                     TypedValue<RoutingType> routing) {
  Operation *op = routing.getDefiningOp();
  if (auto route = dyn_cast_or_null<RouteOp>(op))
    return extentOf(builder, loc, route.getLogits(), 0);
  if (auto assign = dyn_cast_or_null<AssignOp>(op))
    return extentOf(builder, loc, assign.getIndices(), 0);
  if (auto all = dyn_cast_or_null<AssignAllOp>(op))
    return extentOf(builder, loc, all.getX(), 0);
  if (auto choose = dyn_cast_or_null<ChooseTokensOp>(op))
    return extentOf(builder, loc, choose.getLogits(), 0);
  if (auto products = dyn_cast_or_null<RouteProductsOp>(op))
    return extentOf(builder, loc, products.getFirst(), 0);
  if (auto restricted = dyn_cast_or_null<RestrictOp>(op))
    return getNumTokens(builder, loc, restricted.getRouting());
  if (auto nest = dyn_cast_or_null<NestOp>(op))
    return getNumTokens(builder, loc, nest.getInner());
  return {};
}

/// Shapes of all results: the leading extent is `leading` unless it is static,
/// the others are static (the verifiers see to that) or unknown.
static void fillShapes(OpBuilder &builder, Operation *op,
                       ArrayRef<OpFoldResult> leading,
                       ReifiedRankedShapedTypeDims &shapes) {
  for (auto [result, first] : llvm::zip_equal(op->getResults(), leading)) {
    auto type = cast<RankedTensorType>(result.getType());
    SmallVector<OpFoldResult> &shape = shapes.emplace_back();
    for (auto [dim, size] : llvm::enumerate(type.getShape())) {
      if (!ShapedType::isDynamic(size))
        shape.push_back(builder.getIndexAttr(size));
      else
        shape.push_back(dim == 0 ? first : OpFoldResult());
    }
  }
}

LogicalResult
RouterLogitsOp::reifyResultShapes(OpBuilder &builder,
                                  ReifiedRankedShapedTypeDims &shapes) {
  fillShapes(builder, *this, extentOf(builder, getLoc(), getX(), 0), shapes);
  return success();
}

LogicalResult
DispatchOp::reifyResultShapes(OpBuilder &builder,
                              ReifiedRankedShapedTypeDims &shapes) {
  // One expert that every token visits has the tokens for rows. The number of
  // pairs of other routings is not an extent of anything.
  OpFoldResult rows;
  auto all = getRouting().getDefiningOp<AssignAllOp>();
  if (all && getRouting().getType().getExperts() == 1)
    rows = extentOf(builder, getLoc(), all.getX(), 0);
  fillShapes(builder, *this, rows, shapes);
  return success();
}

LogicalResult
ExpertsOp::reifyResultShapes(OpBuilder &builder,
                             ReifiedRankedShapedTypeDims &shapes) {
  fillShapes(builder, *this, extentOf(builder, getLoc(), getRows(), 0), shapes);
  return success();
}

LogicalResult
CombineOp::reifyResultShapes(OpBuilder &builder,
                             ReifiedRankedShapedTypeDims &shapes) {
  fillShapes(builder, *this, getNumTokens(builder, getLoc(), getRouting()),
             shapes);
  return success();
}

LogicalResult
SelectTopkOp::reifyResultShapes(OpBuilder &builder,
                                ReifiedRankedShapedTypeDims &shapes) {
  OpFoldResult tokens = extentOf(builder, getLoc(), getLogits(), 0);
  fillShapes(builder, *this, {tokens, tokens}, shapes);
  return success();
}

LogicalResult
GatherRowsOp::reifyResultShapes(OpBuilder &builder,
                                ReifiedRankedShapedTypeDims &shapes) {
  fillShapes(builder, *this, extentOf(builder, getLoc(), getRowToken(), 0),
             shapes);
  return success();
}

LogicalResult
GroupedFfnOp::reifyResultShapes(OpBuilder &builder,
                                ReifiedRankedShapedTypeDims &shapes) {
  SmallVector<OpFoldResult> rows;
  for (Value rowToken : getRowToken())
    rows.push_back(extentOf(builder, getLoc(), rowToken, 0));
  fillShapes(builder, *this, rows, shapes);
  return success();
}

LogicalResult
MapRowsOp::reifyResultShapes(OpBuilder &builder,
                             ReifiedRankedShapedTypeDims &shapes) {
  SmallVector<OpFoldResult> rows(
      getNumResults(), extentOf(builder, getLoc(), getRows().front(), 0));
  fillShapes(builder, *this, rows, shapes);
  return success();
}

LogicalResult
GroupedLogitsOp::reifyResultShapes(OpBuilder &builder,
                                   ReifiedRankedShapedTypeDims &shapes) {
  OpFoldResult first = extentOf(builder, getLoc(), getRows(), 0);
  fillShapes(builder, *this, first, shapes);
  return success();
}

LogicalResult
RowLogitsOp::reifyResultShapes(OpBuilder &builder,
                               ReifiedRankedShapedTypeDims &shapes) {
  OpFoldResult first = extentOf(builder, getLoc(), getRows(), 0);
  fillShapes(builder, *this, first, shapes);
  return success();
}

LogicalResult RandomOp::reifyResultShapes(OpBuilder &builder,
                                          ReifiedRankedShapedTypeDims &shapes) {
  OpFoldResult first = extentOf(builder, getLoc(), getLike(), 0);
  fillShapes(builder, *this, first, shapes);
  return success();
}

LogicalResult LookupOp::reifyResultShapes(OpBuilder &builder,
                                          ReifiedRankedShapedTypeDims &shapes) {
  OpFoldResult first = extentOf(builder, getLoc(), getIndices(), 0);
  fillShapes(builder, *this, first, shapes);
  return success();
}

LogicalResult
SoftCombineOp::reifyResultShapes(OpBuilder &builder,
                                 ReifiedRankedShapedTypeDims &shapes) {
  OpFoldResult first = extentOf(builder, getLoc(), getLogits(), 0);
  fillShapes(builder, *this, first, shapes);
  return success();
}

LogicalResult
NestIdsOp::reifyResultShapes(OpBuilder &builder,
                             ReifiedRankedShapedTypeDims &shapes) {
  OpFoldResult first = extentOf(builder, getLoc(), getIds(), 0);
  fillShapes(builder, *this, first, shapes);
  return success();
}

LogicalResult
SoftDispatchOp::reifyResultShapes(OpBuilder &builder,
                                  ReifiedRankedShapedTypeDims &shapes) {
  fillShapes(builder, *this, OpFoldResult(), shapes);
  return success();
}

LogicalResult
SelectProductsOp::reifyResultShapes(OpBuilder &builder,
                                    ReifiedRankedShapedTypeDims &shapes) {
  OpFoldResult first = extentOf(builder, getLoc(), getFirst(), 0);
  fillShapes(builder, *this, {first, first}, shapes);
  return success();
}

LogicalResult
ApplyCapacityOp::reifyResultShapes(OpBuilder &builder,
                                   ReifiedRankedShapedTypeDims &shapes) {
  OpFoldResult tokens = extentOf(builder, getLoc(), getChosenIds(), 0);
  fillShapes(builder, *this, {tokens, tokens, OpFoldResult()}, shapes);
  return success();
}

namespace {

/// tensor.dim of a result of this dialect becomes the extent of an operand.
struct DimOfResult : OpRewritePattern<tensor::DimOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(tensor::DimOp dim,
                                PatternRewriter &rewriter) const override {
    auto result = dyn_cast<OpResult>(dim.getSource());
    std::optional<int64_t> index = dim.getConstantIndex();
    if (!result || !index || !isa<MoeDialect>(result.getOwner()->getDialect()))
      return rewriter.notifyMatchFailure(dim, "not of this dialect");
    auto type = dyn_cast<RankedTensorType>(result.getType());
    // Static extents fold already; of the dynamic ones only the leading one
    // can be an operand's.
    if (!type || *index != 0 || type.getRank() == 0 || !type.isDynamicDim(0))
      return rewriter.notifyMatchFailure(dim, "not a number of rows");
    auto reify = dyn_cast<ReifyRankedShapedTypeOpInterface>(result.getOwner());
    if (!reify)
      return rewriter.notifyMatchFailure(dim, "extents are not operands'");
    rewriter.setInsertionPoint(dim);
    FailureOr<OpFoldResult> size =
        reify.reifyDimOfResult(rewriter, result.getResultNumber(), *index);
    if (failed(size) || !*size)
      return rewriter.notifyMatchFailure(dim, "extent is unknown");
    rewriter.replaceOp(
        dim, getValueOrCreateConstantIndexOp(rewriter, dim.getLoc(), *size));
    return success();
  }
};

} // namespace

void MoeDialect::getCanonicalizationPatterns(
    RewritePatternSet &patterns) const {
  patterns.add<DimOfResult>(getContext());
  detail::populateRestrictPatterns(patterns);
}
