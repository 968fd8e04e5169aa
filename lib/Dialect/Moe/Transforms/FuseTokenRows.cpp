//===- FuseTokenRows.cpp - Token-wise code as kernels ---------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/Moe/Transforms/Passes.h"

#include "RowCloner.h"
#include "moe/Dialect/Moe/Transforms/RowSpaces.h"

#include "mlir/Analysis/TopologicalSortUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Transforms/RegionUtils.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"

namespace mlir::moe {
#define GEN_PASS_DEF_FUSETOKENROWSPASS
#include "moe/Dialect/Moe/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// Ops that stay at function level.
static bool isRoutedOp(Operation *op) {
  return isa_and_nonnull<MoeDialect>(op->getDialect()) ||
         isa<func::ReturnOp>(op);
}

/// What an op reads: its operands and what its regions take from outside.
static llvm::SetVector<Value> getReadValues(Operation *op) {
  llvm::SetVector<Value> values(op->operand_begin(), op->operand_end());
  getUsedValuesDefinedAbove(op->getRegions(), values);
  return values;
}

/// Ops that are repeated in every kernel rather than passed between them:
/// constants, sizes, uninitialised or filled tensors, and what is the same for
/// all rows.
static bool isRepeated(Operation *op) {
  if (op->hasTrait<OpTrait::ConstantLike>() ||
      isa<tensor::DimOp, tensor::EmptyOp>(op))
    return true;
  // A tensor that is filled, or reshaped before it is, has no value of its own
  // unless some other op made it.
  Value made;
  if (auto fill = dyn_cast<linalg::FillOp>(op))
    made = fill.getOutputs()[0];
  else if (isa<tensor::CollapseShapeOp, tensor::ExpandShapeOp>(op))
    made = op->getOperand(0);
  if (made && isRowTensor(made.getType())) {
    Operation *def = made.getDefiningOp();
    return def && !isRoutedOp(def) && isRepeated(def);
  }
  if (!isMemoryEffectFree(op) || op->getNumResults() == 0)
    return false;
  if (op->getNumRegions() == 0 &&
      llvm::none_of(op->getResultTypes(), llvm::IsaPred<ShapedType>))
    return true;
  auto isRow = [](Value value) { return isRowTensor(value.getType()); };
  return llvm::none_of(getReadValues(op), isRow) &&
         llvm::none_of(op->getResults(), isRow);
}

namespace {

/// Which rows a value has: those of tokens (null), or of the pairs that a list
/// of expert offsets counts.
using PairSpace = Value;

class RowFusion {
public:
  explicit RowFusion(func::FuncOp func) : func(func), b(func) {}
  LogicalResult run();

private:
  /// The number of a kernel: one more than that of any routed op or kernel
  /// that must come before it.
  struct Position {
    unsigned level = 0;
    PairSpace space;
    bool hasRows = false;
  };
  FailureOr<Position> place(Operation *op);
  /// Checks an op that is repeated but that function-level ops read as well.
  LogicalResult checkRepeated(Operation *op);
  LogicalResult outline(ArrayRef<Operation *> cluster, PairSpace space);
  /// Makes a kernel of what `op` computes for routed ops, the same for all
  /// tokens.
  LogicalResult outlineOnce(Operation *op);
  void eraseDead() {
    SmallVector<Operation *> ops;
    for (Operation &op : func.front())
      ops.push_back(&op);
    for (Operation *op : llvm::reverse(ops))
      if (!isRoutedOp(op) && isOpTriviallyDead(op))
        op->erase();
  }
  /// Answers a size of a tensor that is gone: of its rows there are as many as
  /// of `rows`, other extents are static.
  void replaceSize(tensor::DimOp dim, Value rows);

  func::FuncOp func;
  OpBuilder b;
  /// An input with one row per token.
  Value tokens;
  DenseMap<Value, Position> positions;
  RowSpaces spaces;
};

FailureOr<RowFusion::Position> RowFusion::place(Operation *op) {
  Position position;
  for (Value operand : getReadValues(op)) {
    Position p = positions.lookup(operand);
    position.level = std::max(position.level, p.level);
    if (!p.hasRows)
      continue;
    if (position.hasRows && position.space != p.space)
      return op->emitError() << "'" << op->getName()
                             << "' mixes rows of tokens with rows of experts, "
                                "or rows of two routings";
    position.space = p.space;
    position.hasRows = true;
  }
  return position;
}

LogicalResult RowFusion::checkRepeated(Operation *op) {
  for (Value result : op->getResults()) {
    if (isRowTensor(result.getType()) ||
        llvm::none_of(result.getUsers(), isRoutedOp))
      continue;
    auto type = dyn_cast<RankedTensorType>(result.getType());
    if (op->hasTrait<OpTrait::ConstantLike>() ||
        (type && type.hasStaticShape() &&
         (type.getElementType().isF32() ||
          type.getElementType().isInteger(32) ||
          type.getElementType().isInteger(64))))
      continue;
    return op->emitError()
           << "'" << op->getName()
           << "' yields no rows of tokens; only token-wise tensor code can "
              "be compiled";
  }
  return success();
}

LogicalResult RowFusion::run() {
  if (!func.getBody().hasOneBlock())
    return func.emitError() << "function '" << func.getSymName()
                            << "' has control flow; expected a single block";
  eraseDead();
  for (BlockArgument arg : func.getArguments()) {
    positions[arg] = {0, {}, isRowTensor(arg.getType())};
    if (!tokens && isRowTensor(arg.getType()))
      tokens = arg;
  }

  llvm::MapVector<std::pair<unsigned, PairSpace>, SmallVector<Operation *>>
      clusters;
  SmallVector<Operation *> filled, computed;
  for (Operation &op : func.front()) {
    if (!isRoutedOp(&op) && isRepeated(&op)) {
      // Follows what it is made from; a filled tensor belongs to any space.
      Position position;
      if (!isa<tensor::DimOp>(op))
        for (Value operand : getReadValues(&op))
          position.level =
              std::max(position.level, positions.lookup(operand).level);
      for (Value result : op.getResults())
        positions[result] = position;
      if (failed(checkRepeated(&op)))
        return failure();
      // Constants are kernels of their own later.
      if (!op.hasTrait<OpTrait::ConstantLike>() &&
          llvm::any_of(op.getUsers(), isRoutedOp))
        (llvm::any_of(op.getResultTypes(), isRowTensor) ? filled : computed)
            .push_back(&op);
      continue;
    }
    if (!isRoutedOp(&op)) {
      FailureOr<Position> position = place(&op);
      if (failed(position))
        return failure();
      for (Value result : op.getResults()) {
        positions[result] = {position->level, position->space,
                             isRowTensor(result.getType())};
        if (isRowTensor(result.getType()) && position->space)
          spaces.set(result, RowSpace::ofPairs(position->space));
      }
      clusters[{position->level, position->space}].push_back(&op);
      continue;
    }
    unsigned level = 0;
    for (Value operand : op.getOperands())
      level = std::max(level, positions.lookup(operand).level);
    spaces.visit(&op);
    bool isConstant = isa<GetWeightOp>(op);
    for (Value result : op.getResults())
      positions[result] = {isConstant ? 0 : level + 1,
                           spaces.lookup(result).pairs,
                           isRowTensor(result.getType())};
  }

  for (Operation *op : filled)
    if (failed(outline(op, {})))
      return failure();
  for (Operation *op : computed)
    if (failed(outlineOnce(op)))
      return failure();
  SmallVector<
      std::pair<std::pair<unsigned, PairSpace>, SmallVector<Operation *>>>
      ordered = clusters.takeVector();
  for (auto &[key, cluster] : ordered)
    if (failed(outline(cluster, key.second)))
      return failure();

  // What was repeated inside kernels may be dead now.
  eraseDead();
  // Kernels were put where their last operand is defined; users may stand
  // before that now only if they did not depend on it.
  if (!sortTopologically(&func.front()))
    return func.emitError() << "tensor code of function '" << func.getSymName()
                            << "' depends on itself";
  return success();
}

/// The op and what is repeated for it, operands before users.
static SmallVector<Operation *> getRepeated(ArrayRef<Operation *> ops) {
  llvm::SetVector<Operation *> members(ops.begin(), ops.end());
  SmallVector<Operation *> worklist(ops);
  while (!worklist.empty()) {
    Operation *op = worklist.pop_back_val();
    for (Value value : getReadValues(op))
      if (Operation *def = value.getDefiningOp();
          def && !isRoutedOp(def) && isRepeated(def) && members.insert(def))
        worklist.push_back(def);
  }
  SmallVector<Operation *> sorted(members.getArrayRef());
  llvm::sort(sorted,
             [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
  return sorted;
}

LogicalResult RowFusion::outlineOnce(Operation *op) {
  SmallVector<Operation *> members = getRepeated(op);
  llvm::SetVector<Value> invariants;
  for (Operation *member : members)
    for (Value value : getReadValues(member)) {
      if (llvm::is_contained(members, value.getDefiningOp()))
        continue;
      auto type = dyn_cast<RankedTensorType>(value.getType());
      if (!type || !type.hasStaticShape())
        return op->emitError()
               << "'" << op->getName()
               << "' yields no rows of tokens; only token-wise tensor code can "
                  "be compiled";
      invariants.insert(value);
    }
  // A fold over one row, of which nothing is read.
  b.setInsertionPoint(op);
  auto rowType = RankedTensorType::get({1}, b.getI32Type());
  Value row =
      arith::ConstantOp::create(b, op->getLoc(), b.getZeroAttr(rowType));
  auto fold = FoldRowsOp::create(
      b, op->getLoc(), op->getResultTypes(), row, invariants.getArrayRef(),
      b.getF64ArrayAttr(SmallVector<double>(op->getNumResults(), 0.0)));
  OpBuilder::InsertionGuard guard(b);
  Block *block = b.createBlock(&fold.getBody());
  block->addArgument(b.getIndexType(), op->getLoc());
  block->addArgument(rowType, op->getLoc());
  IRMapping mapping;
  for (Value value : invariants)
    mapping.map(value, block->addArgument(value.getType(), op->getLoc()));
  for (Type type : op->getResultTypes())
    block->addArgument(type, op->getLoc());
  for (Operation *member : members)
    b.clone(*member, mapping);
  SmallVector<Value> yielded;
  for (Value result : op->getResults())
    yielded.push_back(mapping.lookup(result));
  YieldOp::create(b, op->getLoc(), yielded);
  for (auto [result, folded] : llvm::zip(op->getResults(), fold.getResults()))
    result.replaceUsesWithIf(
        folded, [](OpOperand &use) { return isRoutedOp(use.getOwner()); });
  return success();
}

void RowFusion::replaceSize(tensor::DimOp dim, Value rows) {
  auto type = cast<RankedTensorType>(dim.getSource().getType());
  int64_t index = dim.getConstantIndex().value_or(0);
  if (index == 0 || type.isDynamicDim(index)) {
    dim->setOperand(0, rows);
    return;
  }
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(dim);
  Value size =
      arith::ConstantIndexOp::create(b, dim.getLoc(), type.getDimSize(index));
  dim.replaceAllUsesWith(size);
  dim.erase();
}

LogicalResult RowFusion::outline(ArrayRef<Operation *> cluster,
                                 PairSpace space) {
  bool isFilled = isRepeated(cluster.front());
  SmallVector<Operation *> sorted = getRepeated(cluster);
  llvm::SetVector<Operation *> members(sorted.begin(), sorted.end());

  llvm::SetVector<Value> rows, invariants;
  SmallVector<Value> results;
  for (Operation *op : sorted) {
    if (isa<tensor::DimOp>(op))
      continue;
    for (Value value : getReadValues(op)) {
      if (Operation *def = value.getDefiningOp(); def && members.contains(def))
        continue;
      auto type = dyn_cast<RankedTensorType>(value.getType());
      if (!type || !(type.hasStaticShape() || isRowTensor(type)))
        return op->emitError()
               << "'" << op->getName() << "' reads a value of type "
               << value.getType()
               << "; expected a tensor with no dynamic dimension but the first";
      (isRowTensor(type) ? rows : invariants).insert(value);
    }
    if (!isFilled && isa<linalg::LinalgOp>(op) && isRepeated(op) &&
        !isa<linalg::FillOp>(op))
      remark::missed(op->getLoc(),
                     remark::RemarkOpts::name("RepeatedForEachRow")
                         .category("moe-fuse-token-rows"))
          << remark::reason("'{0}' is the same for all rows but computed for "
                            "each; make it a weight",
                            op->getName().getStringRef());
    if (isRepeated(op) != isFilled || (isFilled && op != cluster.front()))
      continue;
    for (Value result : op->getResults())
      if (llvm::any_of(result.getUsers(), [&](Operation *user) {
            // Regions may read results as well; their ops are no members.
            Operation *top = func.front().findAncestorOpInBlock(*user);
            return !members.contains(top) && !isa<tensor::DimOp>(top);
          }))
        results.push_back(result);
  }
  if (isFilled && rows.empty() && tokens)
    rows.insert(tokens);
  if (rows.empty())
    return sorted.back()->emitError()
           << "'" << sorted.back()->getName()
           << "' depends on no rows of tokens; precompute it or make it a "
              "weight";
  for (Value result : results)
    if (!isRowTensor(result.getType()))
      return result.getDefiningOp()->emitError()
             << "'" << result.getDefiningOp()->getName()
             << "' yields no rows of tokens; only token-wise tensor code can "
                "be compiled";

  b.setInsertionPoint(cluster.back());
  SmallVector<Type> types = llvm::map_to_vector(
      results, [](Value result) { return result.getType(); });
  auto map =
      MapRowsOp::create(b, cluster.front()->getLoc(), types, rows.getArrayRef(),
                        space, ValueRange(), invariants.getArrayRef());
  {
    OpBuilder::InsertionGuard guard(b);
    Block *block = b.createBlock(&map.getBody());
    RowCloner cloner(b);
    for (Value value : rows)
      cloner.mapping.map(
          value, block->addArgument(getRowType(value.getType()), map.getLoc()));
    for (Value value : invariants)
      cloner.mapping.map(value,
                         block->addArgument(value.getType(), map.getLoc()));
    for (Operation *op : sorted) {
      std::string why;
      if (failed(cloner.clone(op, why)))
        return op->emitError()
               << "'" << op->getName() << "' is not token-wise: " << why;
    }
    SmallVector<Value> yielded;
    for (Value result : results)
      yielded.push_back(cloner.mapping.lookup(result));
    YieldOp::create(b, map.getLoc(), yielded);
  }
  for (auto [result, mapped] : llvm::zip(results, map.getResults()))
    result.replaceUsesWithIf(mapped, [&](OpOperand &use) {
      if (isFilled)
        return isRoutedOp(use.getOwner());
      return !members.contains(
          func.front().findAncestorOpInBlock(*use.getOwner()));
    });
  if (isFilled)
    return success();
  // Ops that are members too, such as sizes, stay for the kernels that repeat
  // them; what they read of the others is replaced.
  for (Operation *op : llvm::reverse(cluster)) {
    for (Value result : op->getResults())
      for (Operation *user : llvm::make_early_inc_range(result.getUsers()))
        if (auto dim = dyn_cast<tensor::DimOp>(user))
          replaceSize(dim, rows.front());
    op->erase();
  }
  return success();
}

struct FuseTokenRowsPass
    : public moe::impl::FuseTokenRowsPassBase<FuseTokenRowsPass> {
  void runOnOperation() override {
    if (!getOperation().isDeclaration() &&
        failed(RowFusion(getOperation()).run()))
      signalPassFailure();
  }
};

} // namespace
