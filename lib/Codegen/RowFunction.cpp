//===- RowFunction.cpp - Tensor code of one row on buffers ----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RowFunction.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Affine/Transforms/Transforms.h"
#include "mlir/Dialect/Affine/Utils.h"
#include "mlir/Dialect/Arith/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotAnalysis.h"
#include "mlir/Dialect/Bufferization/Transforms/Transforms.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Linalg/Transforms/SubsetInsertionOpInterfaceImpl.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Linalg/Utils/Utils.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/MemRef/Transforms/Transforms.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SCF/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/SCF/Transforms/Transforms.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Tensor/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Tensor/Transforms/SubsetInsertionOpInterfaceImpl.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;
using namespace mlir::moe;

void moe::registerRowFunctionInterfaces(DialectRegistry &registry) {
  arith::registerBufferizableOpInterfaceExternalModels(registry);
  linalg::registerBufferizableOpInterfaceExternalModels(registry);
  linalg::registerSubsetOpInterfaceExternalModels(registry);
  scf::registerBufferizableOpInterfaceExternalModels(registry);
  tensor::registerBufferizableOpInterfaceExternalModels(registry);
  tensor::registerSubsetOpInterfaceExternalModels(registry);
}

/// The type of a contiguous piece of a flat buffer at any offset.
static MemRefType viewType(RankedTensorType type) {
  SmallVector<int64_t> strides = computeStrides(type.getShape());
  auto layout =
      StridedLayoutAttr::get(type.getContext(), ShapedType::kDynamic, strides);
  return MemRefType::get(type.getShape(), type.getElementType(), layout);
}

//===----------------------------------------------------------------------===//
// Tensor code
//===----------------------------------------------------------------------===//

LogicalResult RowFunction::checkBody() {
  WalkResult walk = region.walk([&](Operation *inner) {
    if (isa_and_nonnull<arith::ArithDialect,
                        bufferization::BufferizationDialect,
                        linalg::LinalgDialect, math::MathDialect,
                        scf::SCFDialect, tensor::TensorDialect>(
            inner->getDialect()) ||
        inner == region.front().getTerminator())
      return WalkResult::advance();
    inner->emitOpError("cannot run row by row; expert bodies and token code "
                       "hold arith, linalg, math, scf and tensor ops");
    return WalkResult::interrupt();
  });
  return failure(walk.wasInterrupted());
}

LogicalResult RowFunction::build() {
  Location loc = op->getLoc();
  module = ModuleOp::create(loc);
  Block &body = region.front();
  auto yield = cast<YieldOp>(body.getTerminator());
  SmallVector<Type> types;
  auto addTypes = [&](TypeRange range) {
    for (Type type : range) {
      auto tensor = dyn_cast<RankedTensorType>(type);
      types.push_back(tensor ? viewType(tensor) : type);
    }
  };
  addTypes(body.getArgumentTypes());
  if (!carried)
    addTypes(yield.getOperandTypes());

  rewriter.setInsertionPointToEnd(module->getBody());
  func = func::FuncOp::create(rewriter, loc, "row",
                              rewriter.getFunctionType(types, {}));
  Block *entry = func.addEntryBlock();
  rewriter.setInsertionPointToStart(entry);
  IRMapping mapping;
  for (auto [argument, view] :
       llvm::zip_first(body.getArguments(), entry->getArguments())) {
    Value value = view;
    // What is carried may be updated in place.
    bool isCarried =
        argument.getArgNumber() + carried >= body.getNumArguments();
    if (isa<MemRefType>(view.getType()))
      value = bufferization::ToTensorOp::create(
          rewriter, loc, argument.getType(), view, /*restrict=*/true,
          /*writable=*/isCarried);
    mapping.map(argument, value);
  }
  for (Operation &inner : body.without_terminator())
    rewriter.clone(inner, mapping);

  auto outs = entry->getArguments().take_back(yield.getNumOperands());
  SmallVector<Value> results;
  for (auto [value, out] : llvm::zip_equal(yield.getOperands(), outs)) {
    Value result = mapping.lookupOrDefault(value);
    if (carried)
      results.push_back(bufferization::ToBufferOp::create(
          rewriter, loc, out.getType(), result, /*read_only=*/true));
    else
      bufferization::MaterializeInDestinationOp::create(
          rewriter, loc, Type(), result, out, /*restrict=*/true,
          /*writable=*/true);
  }
  func.setFunctionType(
      rewriter.getFunctionType(types, ValueRange(results).getTypes()));
  func::ReturnOp::create(rewriter, loc, results);
  return success();
}

LogicalResult RowFunction::simplify(RewritePatternSet &&patterns) {
  MLIRContext *context = op->getContext();
  for (RegisteredOperationName name : context->getRegisteredOperations()) {
    StringRef dialect = name.getDialectNamespace();
    // What a lowering made parallel stays so, however few its iterations.
    if (name.getStringRef() == scf::ParallelOp::getOperationName())
      continue;
    if (dialect == "arith" || dialect == "bufferization" ||
        dialect == "linalg" || dialect == "memref" || dialect == "scf" ||
        dialect == "tensor" || dialect == "affine")
      name.getCanonicalizationPatterns(patterns, context);
  }
  for (StringRef name : {"linalg", "tensor", "memref"})
    if (Dialect *dialect = context->getLoadedDialect(name))
      dialect->getCanonicalizationPatterns(patterns);
  (void)applyPatternsGreedily(func, std::move(patterns));
  return success();
}

/// Ops that are defined by what they decompose into, such as softmax.
void RowFunction::decompose() {
  SmallVector<linalg::AggregatedOpInterface> ops;
  func.walk([&](linalg::AggregatedOpInterface inner) { ops.push_back(inner); });
  for (linalg::AggregatedOpInterface inner : ops) {
    rewriter.setInsertionPoint(inner);
    FailureOr<SmallVector<Value>> values = inner.decomposeOperation(rewriter);
    if (succeeded(values))
      rewriter.replaceOp(inner, *values);
  }
}

/// Constants are computed into scratch: a kernel has no data of its own.
LogicalResult RowFunction::expandConstants() {
  constexpr int64_t kMaxElements = 256;
  SmallVector<arith::ConstantOp> constants;
  func.walk([&](arith::ConstantOp constant) {
    if (isa<RankedTensorType>(constant.getType()))
      constants.push_back(constant);
  });
  for (arith::ConstantOp constant : constants) {
    auto type = cast<RankedTensorType>(constant.getType());
    auto elements = dyn_cast<DenseElementsAttr>(constant.getValue());
    Location loc = constant.getLoc();
    rewriter.setInsertionPoint(constant);
    auto scalar = [&](Attribute value) -> Value {
      return arith::ConstantOp::create(rewriter, loc, cast<TypedAttr>(value));
    };
    if (elements && elements.isSplat()) {
      Value empty = tensor::EmptyOp::create(rewriter, loc, type.getShape(),
                                            type.getElementType());
      Value value = scalar(elements.getSplatValue<Attribute>());
      auto fill = linalg::FillOp::create(rewriter, loc, value, empty);
      rewriter.replaceOp(constant, fill.getResults());
      continue;
    }
    if (!elements || type.getNumElements() > kMaxElements)
      return constant.emitOpError("is a constant of ")
             << type.getNumElements() << " different elements; at most "
             << kMaxElements << " can run row by row";
    SmallVector<Value> values;
    for (Attribute value : elements.getValues<Attribute>())
      values.push_back(scalar(value));
    rewriter.replaceOpWithNewOp<tensor::FromElementsOp>(constant, type, values);
  }
  return success();
}

LogicalResult RowFunction::simplifyTensors() {
  decompose();
  RewritePatternSet patterns(op->getContext());
  linalg::populateElementwiseToLinalgConversionPatterns(patterns);
  linalg::populateLinalgNamedOpsGeneralizationPatterns(patterns);
  linalg::populateElementwiseOpsFusionPatterns(
      patterns, [](OpOperand *operand) {
        auto producer = operand->get().getDefiningOp<linalg::LinalgOp>();
        auto consumer = dyn_cast<linalg::LinalgOp>(operand->getOwner());
        // Nothing may be computed more often than before.
        return producer && consumer && producer->hasOneUse() &&
               producer.getNumLoops() == consumer.getNumLoops() &&
               consumer.getNumReductionLoops() == 0;
      });
  if (failed(simplify(std::move(patterns))))
    return failure();
  reuseCarried();
  // Folding makes constants anew, so they are taken apart last.
  return expandConstants();
}

/// Lets what is computed anew for the next row be written where it is carried,
/// unless bufferisation finds it needed there.
void RowFunction::reuseCarried() {
  if (!carried)
    return;
  Operation *ret = func.getBody().front().getTerminator();
  auto targets = func.getArguments().take_back(carried);
  for (auto [buffer, target] : llvm::zip_equal(ret->getOperands(), targets)) {
    auto to = buffer.getDefiningOp<bufferization::ToBufferOp>();
    auto result = to ? dyn_cast<OpResult>(to.getTensor()) : OpResult();
    auto computed =
        result ? dyn_cast<linalg::GenericOp>(result.getOwner()) : nullptr;
    if (!computed)
      continue;
    OpOperand *init = computed.getDpsInitOperand(result.getResultNumber());
    auto empty = init->get().getDefiningOp<tensor::EmptyOp>();
    for (Operation *user : target.getUsers())
      if (auto tensor = dyn_cast<bufferization::ToTensorOp>(user);
          tensor && empty && tensor.getType() == init->get().getType())
        rewriter.modifyOpInPlace(computed, [&] { init->set(tensor); });
  }
}

//===----------------------------------------------------------------------===//
// Buffers
//===----------------------------------------------------------------------===//

LogicalResult RowFunction::bufferize() {
  if (failed(bufferization::eliminateEmptyTensors(rewriter, func)))
    return failure();
  bufferization::OneShotBufferizationOptions options;
  options.allowReturnAllocsFromLoops = true;
  options.memCpyFn = [](OpBuilder &b, Location loc, Value from, Value to) {
    linalg::makeMemRefCopyOp(b, loc, from, to);
    return success();
  };
  bufferization::BufferizationState state;
  if (failed(bufferization::runOneShotBufferize(func, options, state)))
    return failure();
  // Inner loops first: what they carry may be what outer ones carry.
  SmallVector<scf::ForOp> loops;
  func.walk([&](scf::ForOp loop) { loops.push_back(loop); });
  for (scf::ForOp loop : loops)
    carryInPlace(loop);
  storeCarried();
  return lowerControlFlow();
}

/// A switch as a chain of branches, from case `i` on, in an empty region.
static void emitCases(RewriterBase &rewriter, scf::IndexSwitchOp op, unsigned i,
                      Region &into) {
  if (i == op.getCases().size()) {
    into.takeBody(op.getDefaultRegion());
    return;
  }
  Location loc = op.getLoc();
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.createBlock(&into);
  Value label = arith::ConstantIndexOp::create(rewriter, loc, op.getCases()[i]);
  Value is = arith::CmpIOp::create(rewriter, loc, arith::CmpIPredicate::eq,
                                   op.getArg(), label);
  auto branch = scf::IfOp::create(rewriter, loc, op.getResultTypes(), is,
                                  /*addThenBlock=*/false,
                                  /*addElseBlock=*/false);
  branch.getThenRegion().takeBody(op.getCaseRegions()[i]);
  emitCases(rewriter, op, i + 1, branch.getElseRegion());
  rewriter.setInsertionPointAfter(branch);
  scf::YieldOp::create(rewriter, loc, branch.getResults());
}

/// Leaves loops that run in order, and branches.
LogicalResult RowFunction::lowerControlFlow() {
  SmallVector<Operation *> ops;
  func.walk([&](Operation *inner) {
    if (isa<scf::ForallOp, scf::IndexSwitchOp>(inner))
      ops.push_back(inner);
  });
  for (Operation *inner : ops) {
    rewriter.setInsertionPoint(inner);
    if (auto loop = dyn_cast<scf::ForallOp>(inner)) {
      if (failed(scf::forallToForLoop(rewriter, loop)))
        return loop.emitOpError("cannot run row by row");
      continue;
    }
    auto choice = cast<scf::IndexSwitchOp>(inner);
    auto once = scf::ExecuteRegionOp::create(rewriter, choice.getLoc(),
                                             choice.getResultTypes());
    emitCases(rewriter, choice, 0, once.getRegion());
    rewriter.replaceOp(choice, once.getResults());
  }
  return success();
}

/// Lets a loop keep the buffers that it starts with: what an iteration made
/// elsewhere is copied there at its end. The initial buffers are the loop's
/// own, since the analysis takes carrying a tensor for writing it.
void RowFunction::carryInPlace(scf::ForOp loop) {
  auto yield = cast<scf::YieldOp>(loop.getBody()->getTerminator());
  rewriter.setInsertionPoint(yield);
  Location loc = loop.getLoc();
  SmallVector<std::pair<Value, Value>> copies;
  for (auto [carried, next] :
       llvm::zip_equal(loop.getRegionIterArgs(), yield.getOperands()))
    if (isa<MemRefType>(carried.getType()) && carried != next)
      copies.emplace_back(next, carried);
  // Several may be exchanged: all are read before any is written.
  if (copies.size() > 1)
    for (auto &[from, to] : copies) {
      auto type = cast<MemRefType>(to.getType());
      Value copy = memref::AllocOp::create(
          rewriter, loc,
          MemRefType::get(type.getShape(), type.getElementType()));
      linalg::makeMemRefCopyOp(rewriter, loc, from, copy);
      from = copy;
    }
  for (auto [from, to] : copies)
    linalg::makeMemRefCopyOp(rewriter, loc, from, to);
  for (auto [i, init] : llvm::enumerate(loop.getInitArgs()))
    if (isa<MemRefType>(init.getType())) {
      yield.setOperand(i, init);
      rewriter.replaceAllUsesWith(loop.getRegionIterArg(i), init);
      rewriter.replaceAllUsesWith(loop.getResult(i), init);
    }
}

/// The memref that `value` is all of, or a part.
static Value rootOf(Value value, bool &isWhole) {
  while (Operation *view = value.getDefiningOp()) {
    if (!isa<memref::CastOp>(view)) {
      if (!isa<ViewLikeOpInterface>(view))
        break;
      isWhole = false;
    }
    value = view->getOperand(0);
  }
  return value;
}

/// Copies what the function returns to where it is carried, and returns
/// nothing.
void RowFunction::storeCarried() {
  Operation *ret = func.getBody().front().getTerminator();
  rewriter.setInsertionPoint(ret);
  Location loc = op->getLoc();
  auto targets = func.getArguments().take_back(carried);
  SmallVector<std::pair<Value, Value>> copies;
  for (auto [from, to] : llvm::zip_equal(ret->getOperands(), targets)) {
    bool isWhole = true;
    Value root = rootOf(from, isWhole), source = from;
    if (root == to && isWhole)
      continue;
    // What may lie where another one is stored is read before any is written.
    if (!root.getDefiningOp<memref::AllocOp>()) {
      auto type = cast<MemRefType>(to.getType());
      source = memref::AllocOp::create(
          rewriter, loc,
          MemRefType::get(type.getShape(), type.getElementType()));
      linalg::makeMemRefCopyOp(rewriter, loc, from, source);
    }
    copies.emplace_back(source, to);
  }
  for (auto [from, to] : copies)
    linalg::makeMemRefCopyOp(rewriter, loc, from, to);
  ret->setOperands({});
  func.setFunctionType(
      rewriter.getFunctionType(func.getArgumentTypes(), TypeRange()));
}

LogicalResult RowFunction::lowerToLoops(LowerLinalg lower) {
  SmallVector<memref::CopyOp> copies;
  func.walk([&](memref::CopyOp copy) { copies.push_back(copy); });
  for (memref::CopyOp copy : copies) {
    rewriter.setInsertionPoint(copy);
    linalg::makeMemRefCopyOp(rewriter, copy.getLoc(), copy.getSource(),
                             copy.getTarget());
    rewriter.eraseOp(copy);
  }
  SmallVector<linalg::LinalgOp> ops;
  func.walk([&](linalg::LinalgOp inner) { ops.push_back(inner); });
  for (linalg::LinalgOp inner : ops)
    if (failed(lower(rewriter, inner)))
      return failure();
  return success();
}

LogicalResult RowFunction::simplifyBuffers() {
  RewritePatternSet patterns(op->getContext());
  memref::populateFoldMemRefAliasOpPatterns(patterns);
  memref::populateExpandStridedMetadataPatterns(patterns);
  affine::populateAffineExpandIndexOpsPatterns(patterns);
  if (failed(simplify(std::move(patterns))))
    return failure();
  // What is left of index arithmetic on maps.
  SmallVector<affine::AffineApplyOp> applies;
  func.walk([&](affine::AffineApplyOp apply) { applies.push_back(apply); });
  for (affine::AffineApplyOp apply : applies) {
    rewriter.setInsertionPoint(apply);
    std::optional<SmallVector<Value, 8>> values = affine::expandAffineMap(
        rewriter, apply.getLoc(), apply.getAffineMap(), apply.getOperands());
    if (!values)
      return apply.emitOpError("cannot be expanded");
    rewriter.replaceOp(apply, *values);
  }
  return success();
}

LogicalResult RowFunction::collectTemporaries() {
  WalkResult walk = func.walk([&](Operation *inner) {
    if (auto alloc = dyn_cast<memref::AllocOp>(inner)) {
      if (!alloc.getType().hasStaticShape()) {
        inner->emitOpError("is a temporary of dynamic shape in tensor code "
                           "that runs row by row");
        return WalkResult::interrupt();
      }
      temporaries.push_back(alloc);
      return WalkResult::advance();
    }
    if (auto loop = dyn_cast<LoopLikeOpInterface>(inner))
      for (Value init : loop.getInits())
        if (isa<BaseMemRefType>(init.getType())) {
          inner->emitOpError("carries a tensor that is not updated in place");
          return WalkResult::interrupt();
        }
    if (isa_and_nonnull<arith::ArithDialect, func::FuncDialect,
                        math::MathDialect, memref::MemRefDialect,
                        scf::SCFDialect, vector::VectorDialect>(
            inner->getDialect()))
      return WalkResult::advance();
    inner->emitOpError("has no lowering in tensor code that runs row by row");
    return WalkResult::interrupt();
  });
  return failure(walk.wasInterrupted());
}

LogicalResult RowFunction::create(LowerLinalg lower) {
  return success(succeeded(checkBody()) && succeeded(build()) &&
                 succeeded(simplifyTensors()) && succeeded(bufferize()) &&
                 succeeded(lowerToLoops(lower)) &&
                 succeeded(simplifyBuffers()) &&
                 succeeded(collectTemporaries()));
}
