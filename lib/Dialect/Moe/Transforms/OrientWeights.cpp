//===- OrientWeights.cpp - Turns weights for transposed products ----------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The kernels multiply by transposed weights. A checkpoint that keeps a weight
// the other way around is read with `transpose` toggled, which costs nothing at
// run time, and the body of the expert multiplies by what it then is.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/Moe/Transforms/Passes.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/IR/LinalgInterfaces.h"
#include "mlir/IR/SymbolTable.h"

namespace mlir::moe {
#define GEN_PASS_DEF_ORIENTWEIGHTSPASS
#include "moe/Dialect/Moe/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// `weight^T` as an op of its own.
static bool isTranspose(OpOperand &use) {
  auto transpose = dyn_cast<linalg::TransposeOp>(use.getOwner());
  return transpose && use.get() == transpose.getInput() &&
         transpose->getNumResults() == 1 &&
         transpose.getPermutation() == ArrayRef<int64_t>{1, 0};
}

/// `x . weight`, in a form whose maps can be changed.
static bool isPlainProduct(OpOperand &use) {
  auto op = dyn_cast<linalg::LinalgOp>(use.getOwner());
  if (!op || !isa<linalg::MatmulOp, linalg::GenericOp>(op) ||
      !linalg::isaContractionOpInterface(op) || op.getNumLoops() != 3 ||
      op.getNumDpsInputs() != 2 || op->getNumResults() != 1 ||
      use.getOperandNumber() != 1 || op->getOperand(0) == use.get())
    return false;
  AffineExpr m, n, k;
  bindDims(op.getContext(), m, n, k);
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  auto map = [&](AffineExpr a, AffineExpr b) {
    return AffineMap::get(3, 0, {a, b}, op.getContext());
  };
  return maps[0] == map(m, k) && maps[1] == map(k, n) && maps[2] == map(m, n);
}

static RankedTensorType swapLast(RankedTensorType type) {
  SmallVector<int64_t> shape(type.getShape());
  std::swap(shape[shape.size() - 2], shape.back());
  return type.clone(shape);
}

namespace {
class WeightTurner {
public:
  explicit WeightTurner(ModuleOp module) : module(module), symbols(module) {}

  /// Turns the weights of one op that are multiplied by as they are.
  void run(ExpertsOp op) {
    for (OpOperand &weight : op.getWeightsMutable())
      // Twice, when a transposed weight is multiplied by as it is.
      while (isTurned(op, weight))
        turn(op, weight);
  }
  /// Removes weights that nothing reads any more.
  void eraseUnused() {
    for (WeightOp weight : replaced)
      if (SymbolTable::symbolKnownUseEmpty(weight, module))
        symbols.erase(weight);
  }

private:
  static BlockArgument argumentOf(ExpertsOp op, OpOperand &weight) {
    unsigned number =
        weight.getOperandNumber() - op.getWeights().getBeginOperandIndex();
    return op.getBody().getArgument(1 + number);
  }

  static bool isTurned(ExpertsOp op, OpOperand &weight) {
    BlockArgument argument = argumentOf(op, weight);
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    return type && type.getRank() == 2 && !argument.use_empty() &&
           weight.get().getDefiningOp<GetWeightOp>() &&
           llvm::all_of(argument.getUses(), [](OpOperand &use) {
             return isTranspose(use) || isPlainProduct(use);
           });
  }

  void turn(ExpertsOp op, OpOperand &weight) {
    auto get = cast<GetWeightOp>(weight.get().getDefiningOp());
    WeightOp turned = getTurned(get);
    OpBuilder builder(get);
    auto value =
        GetWeightOp::create(builder, get.getLoc(), turned.getType(),
                            FlatSymbolRefAttr::get(turned.getSymNameAttr()));
    weight.set(value);
    if (get.use_empty())
      get.erase();

    BlockArgument argument = argumentOf(op, weight);
    argument.setType(swapLast(cast<RankedTensorType>(argument.getType())));
    for (OpOperand &use : llvm::make_early_inc_range(argument.getUses())) {
      Operation *user = use.getOwner();
      if (isa<linalg::TransposeOp>(user)) {
        user->getResult(0).replaceAllUsesWith(argument);
        user->erase();
        continue;
      }
      setTransposedMaps(user);
    }
  }

  static void setTransposedMaps(Operation *product) {
    AffineExpr m, n, k;
    MLIRContext *context = product->getContext();
    bindDims(context, m, n, k);
    auto map = [&](AffineExpr a, AffineExpr b) {
      return AffineMap::get(3, 0, {a, b}, context);
    };
    ArrayAttr maps = Builder(context).getAffineMapArrayAttr(
        {map(m, k), map(n, k), map(m, n)});
    if (auto matmul = dyn_cast<linalg::MatmulOp>(product))
      matmul.setIndexingMapsAttr(maps);
    else
      cast<linalg::GenericOp>(product).setIndexingMapsAttr(maps);
  }

  WeightOp getTurned(GetWeightOp get) {
    auto weight = symbols.lookup<WeightOp>(get.getWeight());
    WeightOp &known = turned[weight];
    if (known)
      return known;
    known = cast<WeightOp>(weight->clone());
    auto type = swapLast(cast<RankedTensorType>(weight.getType()));
    known.setSymName((weight.getSymName() + ".transposed").str());
    known.setType(type);
    known.setTranspose(!weight.getTranspose());
    symbols.insert(known, std::next(weight->getIterator()));
    replaced.push_back(weight);
    return known;
  }

  ModuleOp module;
  SymbolTable symbols;
  DenseMap<Operation *, WeightOp> turned;
  SmallVector<WeightOp> replaced;
};

struct OrientWeightsPass
    : public moe::impl::OrientWeightsPassBase<OrientWeightsPass> {
  void runOnOperation() override {
    WeightTurner turner(getOperation());
    getOperation().walk([&](ExpertsOp op) { turner.run(op); });
    turner.eraseUnused();
  }
};

} // namespace
