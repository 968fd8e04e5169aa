//===- StructuredOps.cpp - Ops of linalg ----------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Contraction.h"
#include "Frame.h"
#include "ScalarProgram.h"

#include "mlir/Dialect/Linalg/IR/LinalgInterfaces.h"
#include "mlir/IR/AffineExprVisitor.h"

#include <cmath>

using namespace mlir;
using namespace mlir::moe::reference;

static FailureOr<int64_t> evaluate(AffineExpr expr, ArrayRef<int64_t> dims) {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return constant.getValue();
  if (auto dim = dyn_cast<AffineDimExpr>(expr))
    return dims[dim.getPosition()];
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!binary)
    return failure();
  FailureOr<int64_t> lhs = evaluate(binary.getLHS(), dims),
                     rhs = evaluate(binary.getRHS(), dims);
  if (failed(lhs) || failed(rhs))
    return failure();
  switch (expr.getKind()) {
  case AffineExprKind::Add:
    return *lhs + *rhs;
  case AffineExprKind::Mul:
    return *lhs * *rhs;
  case AffineExprKind::Mod:
    if (*rhs <= 0)
      return failure();
    return (*lhs % *rhs + *rhs) % *rhs;
  case AffineExprKind::FloorDiv:
    if (*rhs <= 0)
      return failure();
    return *lhs / *rhs - (*lhs % *rhs < 0 ? 1 : 0);
  default:
    return failure();
  }
}

namespace {

/// Element positions of one operand.
struct Access {
  AffineMap map;
  SmallVector<int64_t> shape;
  /// Strides per loop when every index is a loop or a constant.
  std::optional<SmallVector<int64_t>> strides;
  int64_t start = 0;

  FailureOr<int64_t> at(ArrayRef<int64_t> loops) const {
    int64_t position = start;
    if (strides) {
      for (auto [stride, loop] : llvm::zip_equal(*strides, loops))
        position += stride * loop;
      return position;
    }
    for (auto [expr, extent] : llvm::zip_equal(map.getResults(), shape)) {
      FailureOr<int64_t> index = evaluate(expr, loops);
      if (failed(index) || *index < 0 || *index >= extent)
        return failure();
      position = position * extent + *index;
    }
    return position;
  }
};

/// A structured op with the shapes of its operands known.
struct Structured {
  linalg::LinalgOp op;
  Frame &frame;
  SmallVector<int64_t> extents;
  SmallVector<Access> accesses;
  /// Tensors of the operands; unused where the operand is a scalar.
  SmallVector<Tensor> tensors;

  Structured(linalg::LinalgOp op, Frame &frame) : op(op), frame(frame) {}
  LogicalResult prepare();
  bool isContraction();
  LogicalResult runContraction();
  LogicalResult runLoops();
  LogicalResult finish(unsigned output, Tensor result) {
    return frame.set(op, op->getResult(output), std::move(result));
  }
};

} // namespace

LogicalResult Structured::prepare() {
  if (!op.hasPureTensorSemantics())
    return op.emitOpError("works on buffers; the interpreter needs tensors");
  SmallVector<int64_t> flat;
  for (OpOperand &operand : op->getOpOperands()) {
    Access access;
    access.map = op.getMatchingIndexingMap(&operand);
    tensors.emplace_back();
    if (isa<ShapedType>(operand.get().getType())) {
      bool read = op.payloadUsesValueFromOperand(&operand);
      if (read && op.isDpsInput(&operand)) {
        FailureOr<Tensor> tensor = frame.read(op, operand.get());
        if (failed(tensor))
          return failure();
        tensors.back() = *tensor;
      } else {
        tensors.back() = frame.getTensor(operand.get()).contiguous();
      }
      ArrayRef<int64_t> shape = tensors.back().getShape();
      access.shape.assign(shape.begin(), shape.end());
      llvm::append_range(flat, shape);
    }
    accesses.push_back(std::move(access));
  }

  for (AffineExpr expr : op.getShapesToLoopsMap().getResults()) {
    FailureOr<int64_t> extent = evaluate(expr, flat);
    if (failed(extent))
      return op.emitOpError("has a loop whose extent the shapes do not tell");
    extents.push_back(*extent);
  }

  for (auto [i, access] : llvm::enumerate(accesses)) {
    if (access.shape.empty()) {
      access.strides.emplace(extents.size(), 0);
      continue;
    }
    SmallVector<int64_t> strides(extents.size(), 0);
    int64_t start = 0, scale = 1;
    bool simple = true;
    for (int64_t d = access.shape.size(); d-- > 0;) {
      AffineExpr expr = access.map.getResult(d);
      int64_t last = 0;
      if (auto dim = dyn_cast<AffineDimExpr>(expr)) {
        strides[dim.getPosition()] += scale;
        last = extents[dim.getPosition()] - 1;
      } else if (auto constant = dyn_cast<AffineConstantExpr>(expr)) {
        start += scale * constant.getValue();
        last = constant.getValue();
      } else {
        simple = false;
        break;
      }
      if (last >= access.shape[d] ||
          (isa<AffineDimExpr>(expr) && last + 1 != access.shape[d]))
        return op.emitOpError() << "operand " << i << " has extent "
                                << access.shape[d] << " in dimension " << d
                                << ", but its loop runs to " << last + 1;
      scale *= access.shape[d];
    }
    if (!simple)
      continue;
    access.strides = std::move(strides);
    access.start = start;
  }
  return success();
}

bool Structured::isContraction() {
  if (op->getNumOperands() != 3 || op->getNumResults() != 1 ||
      !linalg::isaContractionOpInterface(op))
    return false;
  // Products of floats, added up; casts in the body only widen.
  for (Operation &inner : op.getBlock()->without_terminator())
    if (!isa<arith::MulFOp, arith::AddFOp, arith::ExtFOp>(inner))
      return false;
  return llvm::all_of(accesses, [](Access &a) { return a.strides; }) &&
         llvm::all_of(tensors, [](Tensor &t) { return t.isFloat(); });
}

/// Positions over the loops `dims`, the last fastest.
static std::vector<int64_t> positionsOver(ArrayRef<unsigned> dims,
                                          const Structured &s,
                                          const Access &access) {
  std::vector<int64_t> positions = {0};
  for (unsigned dim : dims) {
    std::vector<int64_t> next;
    next.reserve(positions.size() * s.extents[dim]);
    for (int64_t base : positions)
      for (int64_t i = 0; i < s.extents[dim]; ++i)
        next.push_back(base + i * (*access.strides)[dim]);
    positions = std::move(next);
  }
  return positions;
}

LogicalResult Structured::runContraction() {
  FailureOr<linalg::ContractionDimensions> dims =
      linalg::inferContractionDims(op);
  if (failed(dims))
    return runLoops();
  FailureOr<Tensor> init = frame.read(op, op.getDpsInits()[0]);
  if (failed(init))
    return failure();
  ContractionLayout layout;
  layout.aBatch = positionsOver(dims->batch, *this, accesses[0]);
  layout.bBatch = positionsOver(dims->batch, *this, accesses[1]);
  layout.cBatch = positionsOver(dims->batch, *this, accesses[2]);
  layout.aRow = positionsOver(dims->m, *this, accesses[0]);
  layout.cRow = positionsOver(dims->m, *this, accesses[2]);
  layout.bColumn = positionsOver(dims->n, *this, accesses[1]);
  layout.cColumn = positionsOver(dims->n, *this, accesses[2]);
  layout.aDepth = positionsOver(dims->k, *this, accesses[0]);
  layout.bDepth = positionsOver(dims->k, *this, accesses[1]);
  std::vector<double> values = init->getFloats();
  contract(tensors[0], tensors[1], layout, values);
  // The sum is rounded once when its type is narrower than f32.
  Type type = init->getElementType();
  if (!type.isF32() && !type.isF64())
    for (double &value : values)
      value = roundToType(value, type);
  return finish(0, Tensor::ofFloats(type, init->getShape(), std::move(values)));
}

LogicalResult Structured::runLoops() {
  // What works element by element may make logits; sums keep f64.
  bool isElementwise = op.getNumParallelLoops() == op.getNumLoops();
  FailureOr<ScalarProgram> program =
      ScalarProgram::compile(*op.getBlock(), frame, extents.size(),
                             isElementwise ? Precision::F32 : Precision::F64);
  if (failed(program))
    return failure();

  unsigned inputs = op.getNumDpsInputs(), outputs = op.getNumDpsInits();
  std::vector<std::vector<Scalar>> results(outputs);
  std::vector<std::vector<bool>> defined(outputs);
  for (unsigned o = 0; o < outputs; ++o) {
    const Tensor &init = tensors[inputs + o];
    int64_t count = init.getNumElements();
    for (int64_t e = 0; e < count; ++e) {
      results[o].push_back(init.getScalar(e));
      defined[o].push_back(init.isDefined(e));
    }
  }
  SmallVector<bool> used;
  for (OpOperand &operand : op->getOpOperands()) {
    unsigned i = operand.getOperandNumber();
    used.push_back(op.payloadUsesValueFromOperand(&operand));
    if (!isa<ShapedType>(operand.get().getType())) {
      used.back() = false;
      program->setArgument(i, frame.getScalar(operand.get()));
    }
  }

  SmallVector<int64_t> loops(extents.size(), 0);
  bool done = llvm::is_contained(extents, 0);
  SmallVector<int64_t> outPositions(outputs);
  while (!done) {
    for (auto [i, access] : llvm::enumerate(accesses)) {
      bool isOutput = i >= inputs;
      if (!used[i] && !isOutput)
        continue;
      FailureOr<int64_t> position = access.at(loops);
      if (failed(position))
        return op.emitOpError()
               << "accesses operand " << i << " outside its shape";
      if (!isOutput) {
        program->setArgument(i, tensors[i].getScalar(*position));
        continue;
      }
      unsigned o = i - inputs;
      outPositions[o] = *position;
      if (!used[i])
        continue;
      if (!defined[o][*position])
        return op.emitOpError()
               << "reads element " << *position << " of operand " << i
               << ", which was never written";
      program->setArgument(i, results[o][*position]);
    }
    for (auto [d, index] : llvm::enumerate(loops))
      program->setIndex(d, index);
    if (failed(program->run()))
      return failure();
    for (unsigned o = 0; o < outputs; ++o) {
      results[o][outPositions[o]] = program->result(o);
      defined[o][outPositions[o]] = true;
    }
    done = true;
    for (int64_t d = loops.size(); d-- > 0;) {
      if (++loops[d] < extents[d]) {
        done = false;
        break;
      }
      loops[d] = 0;
    }
  }
  for (unsigned o = 0; o < outputs; ++o) {
    const Tensor &init = tensors[inputs + o];
    Tensor result =
        Tensor::ofScalars(init.getElementType(), init.getShape(), results[o]);
    if (failed(finish(o, result.withDefined(std::move(defined[o])))))
      return failure();
  }
  return success();
}

LogicalResult mlir::moe::reference::runStructuredOp(linalg::LinalgOp op,
                                                    Frame &frame) {
  Structured structured(op, frame);
  if (failed(structured.prepare()))
    return failure();
  return structured.isContraction() ? structured.runContraction()
                                    : structured.runLoops();
}

LogicalResult mlir::moe::reference::runSoftmax(linalg::SoftmaxOp op,
                                               Frame &frame) {
  FailureOr<Tensor> input = frame.read(op, op.getInput());
  if (failed(input))
    return failure();
  std::vector<double> values = input->getFloats();
  int64_t dim = op.getDimension(), inner = 1;
  for (int64_t extent : input->getShape().drop_front(dim + 1))
    inner *= extent;
  int64_t extent = input->getDim(dim), count = values.size();
  for (int64_t base = 0; base < count; ++base) {
    if (base / inner % extent != 0)
      continue;
    double largest = -HUGE_VAL, sum = 0;
    for (int64_t i = 0; i < extent; ++i)
      largest = std::fmax(largest, values[base + i * inner]);
    for (int64_t i = 0; i < extent; ++i) {
      double &value = values[base + i * inner];
      value = std::exp(value - largest);
      sum += value;
    }
    for (int64_t i = 0; i < extent; ++i) {
      double &value = values[base + i * inner];
      value = roundToType(value / sum, input->getElementType().isF32()
                                           ? Float64Type::get(op.getContext())
                                           : input->getElementType());
    }
  }
  return frame.set(op, op->getResult(0),
                   Tensor::ofFloats(input->getElementType(), input->getShape(),
                                    std::move(values)));
}
