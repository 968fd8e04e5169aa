//===- MergeSegments.cpp - Shared experts in one grouped GEMM -------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/Moe/Transforms/Passes.h"
#include "moe/Dialect/Moe/Transforms/RowSpaces.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/OperationSupport.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MERGESEGMENTSPASS
#include "moe/Dialect/Moe/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// The two operands of an elementwise sum of tensors, rounded once: f32, or a
/// narrower type extended, added and truncated.
static std::optional<std::pair<Value, Value>> matchSum(Operation *op) {
  if (auto add = dyn_cast<arith::AddFOp>(op))
    return std::make_pair(add.getLhs(), add.getRhs());
  auto linalgOp = dyn_cast<linalg::LinalgOp>(op);
  if (!linalgOp || linalgOp.getNumDpsInits() != 1 ||
      linalgOp.getNumDpsInputs() != 2 ||
      linalgOp.getNumParallelLoops() != linalgOp.getNumLoops() ||
      !llvm::all_of(linalgOp.getIndexingMapsArray(),
                    [](AffineMap map) { return map.isIdentity(); }))
    return std::nullopt;
  Block &body = op->getRegion(0).front();
  Value value = body.getTerminator()->getOperand(0);
  if (auto truncate = value.getDefiningOp<arith::TruncFOp>())
    value = truncate.getIn();
  auto add = value.getDefiningOp<arith::AddFOp>();
  if (!add)
    return std::nullopt;
  auto argument = [&](Value v) -> std::optional<unsigned> {
    if (auto extend = v.getDefiningOp<arith::ExtFOp>())
      v = extend.getIn();
    auto arg = dyn_cast<BlockArgument>(v);
    if (!arg || arg.getOwner() != &body)
      return std::nullopt;
    return arg.getArgNumber();
  };
  std::optional<unsigned> lhs = argument(add.getLhs()),
                          rhs = argument(add.getRhs());
  if (!lhs || !rhs || *lhs > 1 || *rhs > 1 || *lhs == *rhs)
    return std::nullopt;
  return std::make_pair(linalgOp.getDpsInputs()[*lhs],
                        linalgOp.getDpsInputs()[*rhs]);
}

/// Where a segment of a combine stands in the order of addition: other segments
/// before parts of routings, these in ascending order of expert; experts that
/// every token visits last.
static std::pair<bool, int64_t> getRank(CombineRowsOp op, unsigned segment) {
  Operation *maker = op.getTokenRows()[segment].getDefiningOp();
  if (auto slice = dyn_cast_or_null<SliceRowsOp>(maker))
    return {false, slice.getBegin()};
  return {isa_and_nonnull<AllRowsOp>(maker), 0};
}

/// Whether `sum` is the only user of a combine but for questions after its
/// number of rows, which is that of any input.
static bool isOnlyUser(CombineRowsOp combine, Operation *sum) {
  return llvm::all_of(combine->getUsers(), [&](Operation *user) {
    auto dim = dyn_cast<tensor::DimOp>(user);
    return user == sum || (dim && dim.getConstantIndex() == 0);
  });
}

/// An input with one row per token.
static Value findTokens(func::FuncOp func) {
  for (BlockArgument arg : func.getArguments())
    if (auto type = dyn_cast<RankedTensorType>(arg.getType());
        type && type.getRank() >= 1 && type.isDynamicDim(0))
      return arg;
  return {};
}

static bool mergeCombines(func::FuncOp func, OpBuilder &b) {
  Value tokens = findTokens(func);
  RowSpaces spaces;
  for (Operation &op : func.front()) {
    spaces.visit(&op);
    auto sum = op.getNumResults() == 1 ? matchSum(&op) : std::nullopt;
    if (!sum)
      continue;
    auto first = sum->first.getDefiningOp<CombineRowsOp>();
    auto second = sum->second.getDefiningOp<CombineRowsOp>();
    if (!first || !second || first == second || !isOnlyUser(first, &op) ||
        !isOnlyUser(second, &op) ||
        first.getType() != op.getResult(0).getType() ||
        second.getType() != first.getType())
      continue;
    // Sizes are asked of the tokens then.
    bool hasTokens = tokens && spaces.lookup(first) == RowSpace::ofTokens();
    if (!hasTokens && !(first->hasOneUse() && second->hasOneUse()))
      continue;
    SmallVector<std::pair<CombineRowsOp, unsigned>> segments;
    for (CombineRowsOp combine : {first, second})
      for (unsigned s = 0, e = combine.getRows().size(); s < e; ++s)
        segments.emplace_back(combine, s);
    llvm::stable_sort(segments, [](auto &a, auto &b) {
      return getRank(a.first, a.second) < getRank(b.first, b.second);
    });
    SmallVector<Value> rows, tokenOffsets, tokenRows, weights;
    SmallVector<bool> unweighted;
    for (auto [combine, s] : segments) {
      rows.push_back(combine.getRows()[s]);
      tokenOffsets.push_back(combine.getTokenOffsets()[s]);
      tokenRows.push_back(combine.getTokenRows()[s]);
      weights.push_back(combine.getRowWeight()[s]);
      unweighted.push_back(combine.getUnweighted() &&
                           (*combine.getUnweighted())[s]);
    }
    DenseBoolArrayAttr flags;
    if (llvm::is_contained(unweighted, true))
      flags = b.getDenseBoolArrayAttr(unweighted);
    b.setInsertionPoint(&op);
    auto merged =
        CombineRowsOp::create(b, op.getLoc(), first.getType(), rows,
                              tokenOffsets, tokenRows, weights, flags);
    op.getResult(0).replaceAllUsesWith(merged);
    op.erase();
    for (CombineRowsOp combine : {first, second}) {
      if (hasTokens)
        combine.getResult().replaceAllUsesWith(tokens);
      combine.erase();
    }
    return true;
  }
  return false;
}

/// Factors of the rows of both ops, none when neither has any; nothing when
/// only one has and the rows of the other have no list of ones.
static std::optional<SmallVector<Value>> joinScales(GroupedFfnOp first,
                                                    GroupedFfnOp second) {
  SmallVector<Value> scales;
  if (first.getRowWeight().empty() && second.getRowWeight().empty())
    return scales;
  for (GroupedFfnOp op : {first, second}) {
    if (!op.getRowWeight().empty()) {
      llvm::append_range(scales, op.getRowWeight());
      continue;
    }
    // The weights of experts that every token visits are 1.
    for (Value tokens : op.getRowToken()) {
      auto all = tokens.getDefiningOp<AllRowsOp>();
      if (!all || all.getWeights())
        return std::nullopt;
      scales.push_back(all.getRowWeight());
    }
  }
  return scales;
}

static bool mergeFfns(func::FuncOp func, OpBuilder &b) {
  SmallVector<GroupedFfnOp> ops(func.getOps<GroupedFfnOp>());
  for (auto [i, first] : llvm::enumerate(ops)) {
    for (GroupedFfnOp second : ArrayRef(ops).drop_front(i + 1)) {
      if (first.getX() != second.getX() ||
          first.getParts() != second.getParts() ||
          !OperationEquivalence::isRegionEquivalentTo(
              &first.getActivation(), &second.getActivation(),
              OperationEquivalence::IgnoreLocations))
        continue;
      // The merged op stands where the second did, so nothing in between may
      // use the first, and the second must not depend on it.
      if (llvm::any_of(first->getUsers(), [&](Operation *user) {
            return user->isBeforeInBlock(second) || user == second;
          }))
        continue;
      std::optional<SmallVector<Value>> scales = joinScales(first, second);
      if (!scales || first.getBiases().empty() != second.getBiases().empty())
        continue;
      b.setInsertionPoint(second);
      auto join = [](auto range1, auto range2) {
        SmallVector<Value> all(range1);
        llvm::append_range(all, range2);
        return all;
      };
      SmallVector<Type> types(first->getResultTypes());
      llvm::append_range(types, second->getResultTypes());
      auto merged = GroupedFfnOp::create(
          b, b.getFusedLoc({first.getLoc(), second.getLoc()}), types,
          first.getX(),
          join(first.getExpertOffsets(), second.getExpertOffsets()),
          join(first.getRowToken(), second.getRowToken()), *scales,
          join(first.getWeights(), second.getWeights()),
          join(first.getBiases(), second.getBiases()), first.getParts());
      merged.getActivation().takeBody(first.getActivation());
      unsigned n = first->getNumResults();
      first->replaceAllUsesWith(merged.getResults().take_front(n));
      second->replaceAllUsesWith(merged.getResults().drop_front(n));
      first.erase();
      second.erase();
      return true;
    }
  }
  return false;
}

namespace {

struct MergeSegmentsPass
    : public moe::impl::MergeSegmentsPassBase<MergeSegmentsPass> {
  void runOnOperation() override {
    func::FuncOp func = getOperation();
    if (func.isDeclaration() || !func.getBody().hasOneBlock())
      return;
    OpBuilder b(func);
    while (mergeCombines(func, b) || mergeFfns(func, b))
      ;
  }
};

} // namespace
