//===- MoeFolds.cpp - Folds and canonicalisations -------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Patterns.h"
#include "moe/Dialect/Moe/IR/Moe.h"

#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace mlir::moe;

OpFoldResult CombineOp::fold(FoldAdaptor) {
  // One expert, every token, weight 1: rows are the tokens in order, and each
  // token's sum is its one row.
  auto dispatch = getRows().getDefiningOp<DispatchOp>();
  auto all = getRouting().getDefiningOp<AssignAllOp>();
  if (!dispatch || !all || dispatch.getRouting() != getRouting() ||
      getRouting().getType().getExperts() != 1 ||
      dispatch.getX().getType() != getResult().getType())
    return {};
  // Weights count unless neither side asks for them.
  if (all.getWeights() && (dispatch.getWeighted() || !getUnweighted()))
    return {};
  return dispatch.getX();
}

/// Decides which of `operands` to keep, where operand i is block argument
/// `firstArg` + i: repeated ones are merged with the first, unused ones are
/// not kept. Returns the numbers of those kept.
static SmallVector<unsigned> mergeOperands(ValueRange operands, Block &body,
                                           unsigned firstArg,
                                           PatternRewriter &rewriter) {
  llvm::SmallMapVector<Value, unsigned, 8> first;
  SmallVector<unsigned> kept;
  for (auto [i, operand] : llvm::enumerate(operands)) {
    auto [entry, isNew] = first.insert({operand, i});
    if (!isNew)
      rewriter.replaceAllUsesWith(body.getArgument(firstArg + i),
                                  body.getArgument(firstArg + entry->second));
  }
  for (auto [operand, i] : first)
    if (!body.getArgument(firstArg + i).use_empty())
      kept.push_back(i);
  return kept;
}

/// The operands with the given numbers.
static SmallVector<Value> select(ValueRange operands,
                                 ArrayRef<unsigned> numbers) {
  return llvm::map_to_vector(numbers, [&](unsigned i) { return operands[i]; });
}

/// Erases the block arguments of a group of `count` from `firstArg` on but for
/// those kept.
static void eraseOthers(Block &body, unsigned firstArg, unsigned count,
                        ArrayRef<unsigned> kept) {
  for (unsigned i = count; i-- > 0;)
    if (!llvm::is_contained(kept, i))
      body.eraseArgument(firstArg + i);
}

/// Whether a group of operands has one that is unused or repeated.
static bool hasRedundant(ValueRange operands, Block &body, unsigned firstArg) {
  llvm::SmallDenseSet<Value, 8> seen;
  for (auto [i, operand] : llvm::enumerate(operands))
    if (!seen.insert(operand).second ||
        body.getArgument(firstArg + i).use_empty())
      return true;
  return false;
}

namespace {

/// Weights that the body of an expert does not use, or that are given twice.
struct DropRedundantWeights : OpRewritePattern<ExpertsOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(ExpertsOp op,
                                PatternRewriter &rewriter) const override {
    Block &body = op.getBody().front();
    ValueRange weights = op.getWeights();
    if (!hasRedundant(weights, body, 1))
      return rewriter.notifyMatchFailure(op, "every weight is needed once");
    rewriter.modifyOpInPlace(op, [&] {
      auto kept = mergeOperands(weights, body, 1, rewriter);
      eraseOthers(body, 1, weights.size(), kept);
      op.getWeightsMutable().assign(select(weights, kept));
    });
    return success();
  }
};

/// Operands of moe.map_rows that are unused or given twice. The offsets stay:
/// they say how many rows there are.
struct DropRedundantMapOperands : OpRewritePattern<MapRowsOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(MapRowsOp op,
                                PatternRewriter &rewriter) const override {
    Block &body = op.getBody().front();
    SmallVector<Value> rows(op.getRows()), weights(op.getExpertWeights()),
        invariants(op.getInvariants());
    unsigned firstWeight = rows.size();
    unsigned firstInvariant = firstWeight + weights.size();
    // One of rows stays to say how many there are.
    bool keepsOneRow = rows.size() == 1;
    if ((keepsOneRow || !hasRedundant(rows, body, 0)) &&
        !hasRedundant(weights, body, firstWeight) &&
        !hasRedundant(invariants, body, firstInvariant))
      return rewriter.notifyMatchFailure(op, "every operand is needed once");
    rewriter.modifyOpInPlace(op, [&] {
      auto keptInvariants =
          mergeOperands(invariants, body, firstInvariant, rewriter);
      auto keptWeights = mergeOperands(weights, body, firstWeight, rewriter);
      auto keptRows = mergeOperands(rows, body, 0, rewriter);
      if (keptRows.empty())
        keptRows.push_back(0);
      eraseOthers(body, firstInvariant, invariants.size(), keptInvariants);
      eraseOthers(body, firstWeight, weights.size(), keptWeights);
      eraseOthers(body, 0, rows.size(), keptRows);
      op.getInvariantsMutable().assign(select(invariants, keptInvariants));
      op.getExpertWeightsMutable().assign(select(weights, keptWeights));
      op.getRowsMutable().assign(select(rows, keptRows));
    });
    return success();
  }
};

/// Results of moe.map_rows that nothing uses.
struct DropUnusedMapResults : OpRewritePattern<MapRowsOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(MapRowsOp op,
                                PatternRewriter &rewriter) const override {
    SmallVector<unsigned> kept;
    for (OpResult result : op.getResults())
      if (!result.use_empty())
        kept.push_back(result.getResultNumber());
    // With no use at all the op is dead and goes anyway.
    if (kept.empty() || kept.size() == op.getNumResults())
      return rewriter.notifyMatchFailure(op, "every result is used");
    auto types = llvm::map_to_vector(
        kept, [&](unsigned i) { return op.getResult(i).getType(); });
    auto smaller = MapRowsOp::create(rewriter, op.getLoc(), types, op.getRows(),
                                     op.getExpertOffsets(),
                                     op.getExpertWeights(), op.getInvariants());
    smaller->setDiscardableAttrs(op->getDiscardableAttrDictionary());
    smaller.getBody().takeBody(op.getBody());
    Operation *yield = smaller.getBody().front().getTerminator();
    rewriter.modifyOpInPlace(
        yield, [&] { yield->setOperands(select(yield->getOperands(), kept)); });
    for (auto [i, old] : llvm::enumerate(kept))
      rewriter.replaceAllUsesWith(op.getResult(old), smaller.getResult(i));
    rewriter.eraseOp(op);
    return success();
  }
};

/// All experts of a routing are the routing.
struct RestrictToAll : OpRewritePattern<RestrictOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(RestrictOp op,
                                PatternRewriter &rewriter) const override {
    // The same type is the same number of experts.
    if (op.getRouting().getType() != op.getResult().getType())
      return rewriter.notifyMatchFailure(op, "experts are left out");
    rewriter.replaceOp(op, op.getRouting());
    return success();
  }
};

/// A part of a part is a part. The bound on the rows of the outer part is one
/// for the inner one; the verifier knows that of the whole's only.
struct RestrictOnce : OpRewritePattern<RestrictOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(RestrictOp op,
                                PatternRewriter &rewriter) const override {
    auto outer = op.getRouting().getDefiningOp<RestrictOp>();
    if (!outer)
      return rewriter.notifyMatchFailure(op, "not a part of a part");
    RoutingType whole = outer.getRouting().getType();
    RoutingType part = op.getResult().getType();
    bool everyRow =
        part.getRows() == part.getPerToken() && part.getExtra() == 0;
    bool sameBound = part.getRows() == whole.getRows() &&
                     part.getExtra() == whole.getExtra();
    if (!sameBound && !(everyRow && whole.getRows() >= part.getPerToken()))
      return rewriter.notifyMatchFailure(op, "bounds on rows differ");
    rewriter.replaceOpWithNewOp<RestrictOp>(op, part, outer.getRouting(),
                                            outer.getBegin() + op.getBegin(),
                                            outer.getBegin() + op.getEnd());
    return success();
  }
};

} // namespace

void moe::detail::populateRestrictPatterns(RewritePatternSet &patterns) {
  patterns.add<RestrictToAll, RestrictOnce>(patterns.getContext());
}

void ExpertsOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                            MLIRContext *context) {
  patterns.add<DropRedundantWeights>(context);
}

void MapRowsOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                            MLIRContext *context) {
  patterns.add<DropRedundantMapOperands, DropUnusedMapResults>(context);
}
