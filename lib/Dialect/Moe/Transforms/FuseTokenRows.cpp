//===- FuseTokenRows.cpp - Token-wise code as kernels ---------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/Moe/Transforms/Passes.h"

#include "RowCloner.h"

#include "mlir/Analysis/TopologicalSortUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
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
  return isa<MoeDialect>(op->getDialect()) || isa<func::ReturnOp>(op);
}

/// Ops that are cheaper to repeat in every kernel than to pass between them:
/// constants, sizes and uninitialised or filled tensors.
static bool isRepeated(Operation *op) {
  return op->hasTrait<OpTrait::ConstantLike>() ||
         isa<tensor::DimOp, tensor::EmptyOp, linalg::FillOp>(op) ||
         (isPure(op) && op->getNumRegions() == 0 &&
          llvm::none_of(op->getResultTypes(), llvm::IsaPred<ShapedType>));
}

namespace {

/// Which rows a value has: those of tokens (null), or of the pairs that a list
/// of expert offsets counts.
using RowSpace = Value;

class RowFusion {
public:
  explicit RowFusion(func::FuncOp func) : func(func), b(func) {}
  LogicalResult run();

private:
  /// The number of a kernel: one more than that of any routed op or kernel
  /// that must come before it.
  struct Position {
    unsigned level = 0;
    RowSpace space;
    bool hasRows = false;
  };
  FailureOr<Position> place(Operation *op);
  LogicalResult outline(ArrayRef<Operation *> cluster, RowSpace space);

  func::FuncOp func;
  OpBuilder b;
  DenseMap<Value, Position> positions;
};

FailureOr<RowFusion::Position> RowFusion::place(Operation *op) {
  Position position;
  for (Value operand : op->getOperands()) {
    const Position &p = positions[operand];
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

LogicalResult RowFusion::run() {
  for (BlockArgument arg : func.getArguments())
    positions[arg] = {0, {}, isRowTensor(arg.getType())};

  llvm::MapVector<std::pair<unsigned, RowSpace>, SmallVector<Operation *>>
      clusters;
  for (Operation &op : func.front()) {
    if (isRepeated(&op)) {
      // Follows what it is made from; a filled tensor belongs to any space.
      Position position;
      for (Value operand : op.getOperands())
        position.level = std::max(position.level, positions[operand].level);
      for (Value result : op.getResults())
        positions[result] = position;
      continue;
    }
    if (!isRoutedOp(&op)) {
      FailureOr<Position> position = place(&op);
      if (failed(position))
        return failure();
      for (Value result : op.getResults())
        positions[result] = {position->level, position->space,
                             isRowTensor(result.getType())};
      clusters[{position->level, position->space}].push_back(&op);
      continue;
    }
    unsigned level = 0;
    for (Value operand : op.getOperands())
      level = std::max(level, positions[operand].level);
    bool isConstant = isa<GetWeightOp>(op);
    RowSpace space;
    if (auto gather = dyn_cast<GatherRowsOp>(op)) {
      Operation *lists = gather.getRowToken().getDefiningOp();
      space = lists ? lists->getResult(0) : Value();
    } else if (auto map = dyn_cast<MapRowsOp>(op)) {
      space = map.getExpertOffsets();
    }
    for (auto [i, result] : llvm::enumerate(op.getResults())) {
      if (auto ffn = dyn_cast<GroupedFfnOp>(op))
        space = ffn.getExpertOffsets()[i];
      positions[result] = {isConstant ? 0 : level + 1, space,
                           isRowTensor(result.getType())};
    }
  }

  SmallVector<
      std::pair<std::pair<unsigned, RowSpace>, SmallVector<Operation *>>>
      ordered = clusters.takeVector();
  for (auto &[key, cluster] : ordered)
    if (failed(outline(cluster, key.second)))
      return failure();

  // What was repeated inside kernels may be dead now.
  for (Operation &op : llvm::make_early_inc_range(
           llvm::reverse(func.front().without_terminator())))
    if (!isRoutedOp(&op) && isOpTriviallyDead(&op))
      op.erase();
  // Kernels were put where their last operand is defined; users may stand
  // before that now only if they did not depend on it.
  return success(sortTopologically(&func.front()));
}

LogicalResult RowFusion::outline(ArrayRef<Operation *> cluster,
                                 RowSpace space) {
  llvm::SetVector<Operation *> members(cluster.begin(), cluster.end());
  // Pull in what is repeated, operands before users.
  SmallVector<Operation *> worklist(cluster);
  while (!worklist.empty()) {
    Operation *op = worklist.pop_back_val();
    for (Value operand : op->getOperands())
      if (Operation *def = operand.getDefiningOp();
          def && !isRoutedOp(def) && isRepeated(def) && members.insert(def))
        worklist.push_back(def);
    op->walk([&](Operation *inner) {
      for (Value operand : inner->getOperands())
        if (Operation *def = operand.getDefiningOp();
            def && def->getBlock() == &func.front() && !isRoutedOp(def) &&
            isRepeated(def) && members.insert(def))
          worklist.push_back(def);
    });
  }
  SmallVector<Operation *> sorted(members.getArrayRef());
  llvm::sort(sorted,
             [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });

  llvm::SetVector<Value> rows, invariants;
  SmallVector<Value> results;
  for (Operation *op : sorted) {
    op->walk([&](Operation *inner) {
      for (Value operand : inner->getOperands()) {
        Operation *def = operand.getDefiningOp();
        if (!isa<RankedTensorType>(operand.getType()) ||
            (def && members.contains(def)) ||
            operand.getParentRegion() != &func.getBody() ||
            isa<tensor::DimOp>(inner))
          continue;
        (isRowTensor(operand.getType()) ? rows : invariants).insert(operand);
      }
    });
    if (isRepeated(op))
      continue;
    for (Value result : op->getResults())
      if (llvm::any_of(result.getUsers(), [&](Operation *user) {
            return !members.contains(user) && !isa<tensor::DimOp>(user);
          }))
        results.push_back(result);
  }
  for (Value result : results)
    if (!isRowTensor(result.getType()))
      return result.getDefiningOp()->emitError()
             << "'" << result.getDefiningOp()->getName()
             << "' yields no rows of tokens; only token-wise tensor code can "
                "be compiled";
  if (rows.empty())
    return sorted.back()->emitError()
           << "'" << sorted.back()->getName()
           << "' depends on no rows of tokens; precompute it or make it a "
              "weight";

  b.setInsertionPoint(cluster.back());
  SmallVector<Type> types;
  for (Value result : results)
    types.push_back(result.getType());
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
      return !members.contains(use.getOwner());
    });
  for (Operation *op : llvm::reverse(cluster)) {
    // Sizes of values that are gone are sizes of their rows.
    for (Value result : op->getResults())
      for (Operation *user : llvm::make_early_inc_range(result.getUsers()))
        if (isa<tensor::DimOp>(user))
          user->setOperand(0, rows.front());
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
