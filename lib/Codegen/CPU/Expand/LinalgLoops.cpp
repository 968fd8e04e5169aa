//===- LinalgLoops.cpp - Linalg ops on buffers to loops -------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LinalgLoops.h"

#include "Lanes.h"

#include "mlir/Dialect/Affine/Utils.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::moe::cpu;

namespace {

/// How an operand moves along the dimension that runs in lanes.
enum class Access { Invariant, Contiguous, Other };

class LinalgLoops {
public:
  explicit LinalgLoops(linalg::LinalgOp op)
      : op(op), maps(op.getIndexingMapsArray()),
        ranges(op.getStaticLoopRanges()), ivs(op.getNumLoops()),
        firstInit(op.getNumDpsInputs()) {}

  LogicalResult emit(ImplicitLocOpBuilder &b);

private:
  Access accessAlong(OpOperand &operand, unsigned dim);
  /// The operation that combines an output with new values, or null when the
  /// output does not have the form of a reduction by one operation.
  Operation *matchCombiner(unsigned output);
  bool canRunInLanes(unsigned dim);
  void chooseLaneDim();

  void emitParallel(ImplicitLocOpBuilder &b, unsigned depth);
  SmallVector<Value> emitReduction(ImplicitLocOpBuilder &b, unsigned depth,
                                   ValueRange sums);
  /// One execution of the body on `count` lanes (0: scalars). `sums` are the
  /// values of the outputs; returns their new values.
  SmallVector<Value> emitBody(ImplicitLocOpBuilder &b, int64_t count,
                              ValueRange sums);
  Value emitBodyValue(ImplicitLocOpBuilder &b, Operation *inner,
                      IRMapping &mapping, bool inLanes);

  SmallVector<Value> indicesOf(ImplicitLocOpBuilder &b, OpOperand &operand);
  Value load(ImplicitLocOpBuilder &b, OpOperand &operand, int64_t count);
  void store(ImplicitLocOpBuilder &b, OpOperand &operand, Value value,
             int64_t count);
  /// The lanes of a sum before anything was added.
  Value emitNeutral(ImplicitLocOpBuilder &b, unsigned output);
  /// Combines the lanes with each other and with `old`.
  Value emitFold(ImplicitLocOpBuilder &b, unsigned output, Value lanes,
                 Value old);

  linalg::LinalgOp op;
  SmallVector<AffineMap> maps;
  SmallVector<int64_t> ranges;
  /// Current index per dimension.
  SmallVector<Value> ivs;
  unsigned firstInit;
  SmallVector<unsigned> parallel, reduction;
  /// The dimension in lanes, if any, and whether it is a reduction.
  std::optional<unsigned> laneDim;
  bool lanesReduce = false;
  /// Lanes of the current step when the dimension in lanes is parallel.
  int64_t laneCount = 0;
};

} // namespace

//===----------------------------------------------------------------------===//
// Analysis
//===----------------------------------------------------------------------===//

Access LinalgLoops::accessAlong(OpOperand &operand, unsigned dim) {
  AffineMap map = maps[operand.getOperandNumber()];
  if (!map.isFunctionOfDim(dim))
    return Access::Invariant;
  auto type = dyn_cast<MemRefType>(operand.get().getType());
  if (!type || map.getNumResults() == 0)
    return Access::Other;
  for (AffineExpr expr : map.getResults().drop_back())
    if (expr.isFunctionOfDim(dim))
      return Access::Other;
  if (map.getResults().back() != getAffineDimExpr(dim, map.getContext()))
    return Access::Other;
  SmallVector<int64_t> strides;
  int64_t offset;
  if (failed(type.getStridesAndOffset(strides, offset)) || strides.back() != 1)
    return Access::Other;
  return Access::Contiguous;
}

Operation *LinalgLoops::matchCombiner(unsigned output) {
  Block *body = op.getBlock();
  BlockArgument sum = body->getArgument(firstInit + output);
  Operation *combiner =
      body->getTerminator()->getOperand(output).getDefiningOp();
  if (!combiner || !sum.hasOneUse() || !combiner->hasOneUse() ||
      *sum.getUsers().begin() != combiner)
    return nullptr;
  if (isa<arith::AddFOp, arith::AddIOp, arith::MaximumFOp, arith::MinimumFOp,
          arith::MaxNumFOp, arith::MinNumFOp>(combiner))
    return combiner;
  if (auto fma = dyn_cast<math::FmaOp>(combiner))
    return fma.getC() == sum ? combiner : nullptr;
  return nullptr;
}

bool LinalgLoops::canRunInLanes(unsigned dim) {
  bool reduces = llvm::is_contained(reduction, dim);
  for (OpOperand &operand : op->getOpOperands()) {
    Access access = accessAlong(operand, dim);
    bool isOutput = operand.getOperandNumber() >= firstInit;
    if (access == Access::Other ||
        (isOutput &&
         access != (reduces ? Access::Invariant : Access::Contiguous)))
      return false;
  }
  if (reduces)
    for (unsigned i = 0, e = op.getNumDpsInits(); i < e; ++i)
      if (!matchCombiner(i))
        return false;
  return llvm::all_of(op.getBlock()->without_terminator(), [](Operation &op) {
    // Lanes behind the end are zero: dividing by them would trap.
    return isa<arith::ConstantOp>(op) ||
           (OpTrait::hasElementwiseMappableTraits(&op) &&
            !isa<arith::DivSIOp, arith::DivUIOp, arith::CeilDivSIOp,
                 arith::CeilDivUIOp, arith::FloorDivSIOp, arith::RemSIOp,
                 arith::RemUIOp>(op));
  });
}

void LinalgLoops::chooseLaneDim() {
  // In shorter loops lanes are not worth their ends.
  constexpr int64_t kMinRange = 4;
  auto tryDims = [&](ArrayRef<unsigned> dims) {
    for (unsigned dim : llvm::reverse(dims))
      if (!laneDim && ranges[dim] >= kMinRange && canRunInLanes(dim))
        laneDim = dim;
  };
  tryDims(reduction);
  lanesReduce = laneDim.has_value();
  tryDims(parallel);
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

SmallVector<Value> LinalgLoops::indicesOf(ImplicitLocOpBuilder &b,
                                          OpOperand &operand) {
  AffineMap map = maps[operand.getOperandNumber()];
  SmallVector<Value> indices;
  for (AffineExpr expr : map.getResults()) {
    if (auto dim = dyn_cast<AffineDimExpr>(expr))
      indices.push_back(ivs[dim.getPosition()]);
    else
      indices.push_back(
          affine::expandAffineExpr(b, b.getLoc(), expr, ivs, ValueRange()));
  }
  return indices;
}

Value LinalgLoops::load(ImplicitLocOpBuilder &b, OpOperand &operand,
                        int64_t count) {
  Value buffer = operand.get();
  auto type = dyn_cast<MemRefType>(buffer.getType());
  bool contiguous =
      count && accessAlong(operand, *laneDim) == Access::Contiguous;
  if (!contiguous) {
    Value value = buffer;
    if (type)
      value = memref::LoadOp::create(b, buffer, indicesOf(b, operand));
    return count ? broadcastLanes(b, value) : value;
  }
  VectorType lanes = lanesType(type.getElementType());
  SmallVector<Value> indices = indicesOf(b, operand);
  if (count == kLanes)
    return vector::LoadOp::create(b, lanes, buffer, indices);
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(lanes));
  return vector::MaskedLoadOp::create(b, lanes, buffer, indices,
                                      lanesMask(b, count), zero);
}

void LinalgLoops::store(ImplicitLocOpBuilder &b, OpOperand &operand,
                        Value value, int64_t count) {
  SmallVector<Value> indices = indicesOf(b, operand);
  if (!count)
    memref::StoreOp::create(b, value, operand.get(), indices);
  else if (count == kLanes)
    vector::StoreOp::create(b, value, operand.get(), indices);
  else
    vector::MaskedStoreOp::create(b, operand.get(), indices,
                                  lanesMask(b, count), value);
}

//===----------------------------------------------------------------------===//
// Body
//===----------------------------------------------------------------------===//

/// Clones `inner` with the mapped operands, on vectors of lanes if `inLanes`.
Value LinalgLoops::emitBodyValue(ImplicitLocOpBuilder &b, Operation *inner,
                                 IRMapping &mapping, bool inLanes) {
  SmallVector<Value> operands;
  for (Value operand : inner->getOperands()) {
    Value value = mapping.lookupOrDefault(operand);
    if (inLanes && !isa<VectorType>(value.getType()))
      value = broadcastLanes(b, value);
    operands.push_back(value);
  }
  Type type = inner->getResult(0).getType();
  return b
      .create(b.getLoc(), inner->getName().getIdentifier(), operands,
              inLanes ? lanesType(type) : type, inner->getAttrs())
      ->getResult(0);
}

SmallVector<Value> LinalgLoops::emitBody(ImplicitLocOpBuilder &b, int64_t count,
                                         ValueRange sums) {
  Block *body = op.getBlock();
  IRMapping mapping;
  for (auto [i, argument] : llvm::enumerate(body->getArguments())) {
    if (i >= firstInit)
      mapping.map(argument, sums[i - firstInit]);
    else if (!argument.use_empty())
      mapping.map(argument, load(b, op->getOpOperand(i), count));
  }
  for (Operation &inner : body->without_terminator()) {
    if (auto index = dyn_cast<linalg::IndexOp>(inner)) {
      mapping.map(index.getResult(), ivs[index.getDim()]);
      continue;
    }
    bool isPlain = inner.getNumResults() == 1 && inner.getNumRegions() == 0;
    if (isa<arith::ConstantOp>(inner) || !isPlain)
      b.clone(inner, mapping);
    else
      mapping.map(inner.getResult(0),
                  emitBodyValue(b, &inner, mapping, count != 0));
  }
  SmallVector<Value> results;
  for (auto [i, yielded] :
       llvm::enumerate(body->getTerminator()->getOperands())) {
    Value value = mapping.lookupOrDefault(yielded);
    if (count && !isa<VectorType>(value.getType()))
      value = broadcastLanes(b, value);
    results.push_back(value);
  }
  return results;
}

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

Value LinalgLoops::emitNeutral(ImplicitLocOpBuilder &b, unsigned output) {
  Operation *combiner = matchCombiner(output);
  Type element = combiner->getResult(0).getType();
  VectorType type = lanesType(element);
  if (isa<arith::AddFOp, arith::AddIOp, math::FmaOp>(combiner))
    return arith::ConstantOp::create(b, b.getZeroAttr(type));
  bool negative = isa<arith::MaximumFOp, arith::MaxNumFOp>(combiner);
  APFloat infinity =
      APFloat::getInf(cast<FloatType>(element).getFloatSemantics(), negative);
  return arith::ConstantOp::create(b, DenseElementsAttr::get(type, infinity));
}

Value LinalgLoops::emitFold(ImplicitLocOpBuilder &b, unsigned output,
                            Value lanes, Value old) {
  Operation *combiner = matchCombiner(output);
  StringAttr name = combiner->getName().getIdentifier();
  if (isa<math::FmaOp>(combiner))
    name = b.getStringAttr(arith::AddFOp::getOperationName());
  auto combine = [&](Value x, Value y) {
    return b.create(b.getLoc(), name, ValueRange{x, y}, x.getType())
        ->getResult(0);
  };
  for (int64_t half = kLanes / 2; half >= 1; half /= 2) {
    Value low = vector::ExtractStridedSliceOp::create(b, lanes, 0, half, 1);
    Value high = vector::ExtractStridedSliceOp::create(b, lanes, half, half, 1);
    lanes = combine(low, high);
  }
  return combine(old,
                 vector::ExtractOp::create(b, lanes, ArrayRef<int64_t>{0}));
}

SmallVector<Value> LinalgLoops::emitReduction(ImplicitLocOpBuilder &b,
                                              unsigned depth, ValueRange sums) {
  if (depth == reduction.size())
    return emitBody(b, laneCount, sums);
  unsigned dim = reduction[depth];
  if (laneDim != dim)
    return forRange(b, indexConstant(b, 0), indexConstant(b, ranges[dim]), 1,
                    sums,
                    [&](ImplicitLocOpBuilder &b, Value i, ValueRange carried) {
                      ivs[dim] = i;
                      return emitReduction(b, depth + 1, carried);
                    });

  // The dimension in lanes is moved to the end, so the body is next.
  SmallVector<Value> lanes;
  for (unsigned i = 0, e = sums.size(); i < e; ++i)
    lanes.push_back(emitNeutral(b, i));
  lanes = forLanes(
      b, ranges[dim], lanes,
      [&](ImplicitLocOpBuilder &b, Value i, int64_t count, ValueRange carried) {
        ivs[dim] = i;
        SmallVector<Value> next = emitBody(b, count, carried);
        for (auto [now, before] : llvm::zip_equal(next, carried))
          now = selectLanes(b, count, now, before);
        return next;
      });
  SmallVector<Value> result;
  for (auto [i, lane] : llvm::enumerate(lanes))
    result.push_back(emitFold(b, i, lane, sums[i]));
  return result;
}

void LinalgLoops::emitParallel(ImplicitLocOpBuilder &b, unsigned depth) {
  if (depth == parallel.size()) {
    SmallVector<Value> sums;
    for (OpOperand &init : op.getDpsInitsMutable()) {
      // An output that is only written is not read.
      BlockArgument argument =
          op.getBlock()->getArgument(init.getOperandNumber());
      bool isRead = !argument.use_empty() || !reduction.empty();
      if (isRead) {
        sums.push_back(load(b, init, laneCount));
        continue;
      }
      Type type = argument.getType();
      if (laneCount)
        type = lanesType(type);
      sums.push_back(
          arith::ConstantOp::create(b, cast<TypedAttr>(b.getZeroAttr(type))));
    }
    sums = emitReduction(b, 0, sums);
    for (auto [init, sum] : llvm::zip_equal(op.getDpsInitsMutable(), sums))
      store(b, init, sum, laneCount);
    return;
  }
  unsigned dim = parallel[depth];
  if (laneDim == dim)
    return forLanes(b, ranges[dim],
                    [&](ImplicitLocOpBuilder &b, Value i, int64_t count) {
                      ivs[dim] = i;
                      laneCount = count;
                      emitParallel(b, depth + 1);
                      laneCount = 0;
                    });
  forRange(b, indexConstant(b, 0), indexConstant(b, ranges[dim]), 1,
           [&](ImplicitLocOpBuilder &b, Value i) {
             ivs[dim] = i;
             emitParallel(b, depth + 1);
           });
}

LogicalResult LinalgLoops::emit(ImplicitLocOpBuilder &b) {
  if (llvm::any_of(ranges, ShapedType::isDynamic))
    return op->emitOpError("has a loop of dynamic length in tensor code that "
                           "runs row by row");
  for (Type type : op.getBlock()->getArgumentTypes())
    if (!type.isIntOrIndexOrFloat())
      return op->emitOpError("computes on elements of type ") << type;
  for (auto [dim, kind] : llvm::enumerate(op.getIteratorTypesArray()))
    (kind == utils::IteratorType::parallel ? parallel : reduction)
        .push_back(dim);
  chooseLaneDim();
  if (laneDim && lanesReduce) {
    llvm::erase(reduction, *laneDim);
    reduction.push_back(*laneDim);
  }
  emitParallel(b, 0);
  return success();
}

LogicalResult mlir::moe::cpu::lowerLinalgToLoops(RewriterBase &rewriter,
                                                 linalg::LinalgOp op) {
  rewriter.setInsertionPoint(op);
  ImplicitLocOpBuilder b(op.getLoc(), rewriter);
  if (failed(LinalgLoops(op).emit(b)))
    return failure();
  rewriter.eraseOp(op);
  return success();
}
