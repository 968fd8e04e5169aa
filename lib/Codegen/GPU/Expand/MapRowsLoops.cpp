//===- MapRowsLoops.cpp - Linalg ops on buffers to loops of threads -------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MapRowsLoops.h"

#include "mlir/Dialect/Affine/Utils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;
using namespace mlir::moe::gpu;

namespace {

class ThreadLoops {
public:
  explicit ThreadLoops(linalg::LinalgOp op)
      : op(op), maps(op.getIndexingMapsArray()),
        ranges(op.getStaticLoopRanges()), ivs(op.getNumLoops()) {}

  LogicalResult emit(ImplicitLocOpBuilder &b);

private:
  AffineMap outputMap(OpOperand &init) { return maps[init.getOperandNumber()]; }
  bool everyOutputHas(unsigned dim);
  bool anyOutputMovesWith(unsigned dim);

  Value index(ImplicitLocOpBuilder &b, int64_t value) {
    return arith::ConstantIndexOp::create(b, value);
  }
  SmallVector<Value> indicesOf(ImplicitLocOpBuilder &b, OpOperand &operand);
  Value load(ImplicitLocOpBuilder &b, OpOperand &operand);

  void emitElements(ImplicitLocOpBuilder &b, unsigned depth);
  SmallVector<Value> emitReduction(ImplicitLocOpBuilder &b, unsigned depth,
                                   ValueRange sums);
  SmallVector<Value> emitBody(ImplicitLocOpBuilder &b, ValueRange sums);

  linalg::LinalgOp op;
  SmallVector<AffineMap> maps;
  SmallVector<int64_t> ranges;
  /// Current index per dimension.
  SmallVector<Value> ivs;
  /// Dimensions that threads share; that a thread runs through, an output
  /// moving along; and that it sums over.
  SmallVector<unsigned> shared, elements, reduction;
};

} // namespace

//===----------------------------------------------------------------------===//
// Analysis
//===----------------------------------------------------------------------===//

/// Whether the index `dim` is one of every output's indices: different
/// iterations then write different elements.
bool ThreadLoops::everyOutputHas(unsigned dim) {
  return llvm::all_of(op.getDpsInitsMutable(), [&](OpOperand &init) {
    return llvm::is_contained(outputMap(init).getResults(),
                              getAffineDimExpr(dim, op.getContext()));
  });
}

bool ThreadLoops::anyOutputMovesWith(unsigned dim) {
  return llvm::any_of(op.getDpsInitsMutable(), [&](OpOperand &init) {
    return outputMap(init).isFunctionOfDim(dim);
  });
}

//===----------------------------------------------------------------------===//
// Memory and body
//===----------------------------------------------------------------------===//

SmallVector<Value> ThreadLoops::indicesOf(ImplicitLocOpBuilder &b,
                                          OpOperand &operand) {
  SmallVector<Value> indices;
  for (AffineExpr expr : maps[operand.getOperandNumber()].getResults()) {
    if (auto dim = dyn_cast<AffineDimExpr>(expr))
      indices.push_back(ivs[dim.getPosition()]);
    else
      indices.push_back(
          affine::expandAffineExpr(b, b.getLoc(), expr, ivs, ValueRange()));
  }
  return indices;
}

Value ThreadLoops::load(ImplicitLocOpBuilder &b, OpOperand &operand) {
  if (!isa<MemRefType>(operand.get().getType()))
    return operand.get();
  return memref::LoadOp::create(b, operand.get(), indicesOf(b, operand));
}

SmallVector<Value> ThreadLoops::emitBody(ImplicitLocOpBuilder &b,
                                         ValueRange sums) {
  Block *body = op.getBlock();
  unsigned firstInit = op.getNumDpsInputs();
  IRMapping mapping;
  for (auto [i, argument] : llvm::enumerate(body->getArguments())) {
    if (argument.use_empty())
      continue;
    mapping.map(argument, i >= firstInit ? sums[i - firstInit]
                                         : load(b, op->getOpOperand(i)));
  }
  for (Operation &inner : body->without_terminator()) {
    if (auto index = dyn_cast<linalg::IndexOp>(inner))
      mapping.map(index.getResult(), ivs[index.getDim()]);
    else
      b.clone(inner, mapping);
  }
  SmallVector<Value> results;
  for (Value yielded : body->getTerminator()->getOperands())
    results.push_back(mapping.lookupOrDefault(yielded));
  return results;
}

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

SmallVector<Value> ThreadLoops::emitReduction(ImplicitLocOpBuilder &b,
                                              unsigned depth, ValueRange sums) {
  if (depth == reduction.size())
    return emitBody(b, sums);
  unsigned dim = reduction[depth];
  auto loop = scf::ForOp::create(
      b, index(b, 0), index(b, ranges[dim]), index(b, 1), sums,
      [&](OpBuilder &nested, Location loc, Value i, ValueRange carried) {
        ImplicitLocOpBuilder inner(loc, nested);
        ivs[dim] = i;
        scf::YieldOp::create(inner, emitReduction(inner, depth + 1, carried));
      });
  return loop.getResults();
}

void ThreadLoops::emitElements(ImplicitLocOpBuilder &b, unsigned depth) {
  if (depth < elements.size()) {
    unsigned dim = elements[depth];
    scf::ForOp::create(
        b, index(b, 0), index(b, ranges[dim]), index(b, 1), ValueRange(),
        [&](OpBuilder &nested, Location loc, Value i, ValueRange) {
          ImplicitLocOpBuilder inner(loc, nested);
          ivs[dim] = i;
          emitElements(inner, depth + 1);
          scf::YieldOp::create(inner);
        });
    return;
  }
  SmallVector<Value> sums;
  for (OpOperand &init : op.getDpsInitsMutable()) {
    // An output that is only written is not read.
    BlockArgument argument =
        op.getBlock()->getArgument(init.getOperandNumber());
    if (!argument.use_empty())
      sums.push_back(load(b, init));
    else
      sums.push_back(arith::ConstantOp::create(
          b, cast<TypedAttr>(b.getZeroAttr(argument.getType()))));
  }
  sums = emitReduction(b, 0, sums);
  for (auto [init, sum] : llvm::zip_equal(op.getDpsInitsMutable(), sums))
    memref::StoreOp::create(b, sum, init.get(), indicesOf(b, init));
}

LogicalResult ThreadLoops::emit(ImplicitLocOpBuilder &b) {
  if (llvm::any_of(ranges, ShapedType::isDynamic))
    return op->emitOpError("has a loop of dynamic length in tensor code that "
                           "runs row by row");
  for (Type type : op.getBlock()->getArgumentTypes())
    if (!type.isIntOrIndexOrFloat())
      return op->emitOpError("computes on elements of type ") << type;
  for (auto [dim, kind] : llvm::enumerate(op.getIteratorTypesArray())) {
    bool isParallel = kind == utils::IteratorType::parallel;
    if (isParallel && everyOutputHas(dim))
      shared.push_back(dim);
    else
      (isParallel || anyOutputMovesWith(dim) ? elements : reduction)
          .push_back(dim);
  }
  SmallVector<Value> begin, end, step;
  for (unsigned dim : shared)
    end.push_back(index(b, ranges[dim]));
  if (shared.empty())
    end.push_back(index(b, 1));
  begin.assign(end.size(), index(b, 0));
  step.assign(end.size(), index(b, 1));
  scf::ParallelOp::create(b, begin, end, step,
                          [&](OpBuilder &nested, Location loc, ValueRange is) {
                            ImplicitLocOpBuilder inner(loc, nested);
                            for (auto [dim, i] : llvm::zip(shared, is))
                              ivs[dim] = i;
                            emitElements(inner, 0);
                          });
  return success();
}

/// Whether an op copies a buffer to itself.
static bool isSelfCopy(linalg::LinalgOp op) {
  Block *body = op.getBlock();
  return op->getNumOperands() == 2 && body->getOperations().size() == 1 &&
         op->getOperand(0) == op->getOperand(1) &&
         body->getTerminator()->getOperand(0) == body->getArgument(0) &&
         op.getIndexingMapsArray()[0] == op.getIndexingMapsArray()[1];
}

LogicalResult mlir::moe::gpu::lowerLinalgToThreads(RewriterBase &rewriter,
                                                   linalg::LinalgOp op) {
  rewriter.setInsertionPoint(op);
  ImplicitLocOpBuilder b(op.getLoc(), rewriter);
  if (!isSelfCopy(op) && failed(ThreadLoops(op).emit(b)))
    return failure();
  rewriter.eraseOp(op);
  return success();
}
