//===- MapRows.cpp - Expansion of moe.kernel.map_rows ---------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The region becomes a function of one row on buffers, in a module of its own:
// simplified and fused as tensor code, bufferised by upstream's one-shot
// analysis, lowered to loops. It is then inlined into the loop over the rows,
// its temporaries living in the worker's scratch.
//
//===----------------------------------------------------------------------===//

#include "Lanes.h"
#include "LinalgLoops.h"
#include "moe/Codegen/CPU/KernelExpansion.h"

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
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Tensor/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Tensor/Transforms/SubsetInsertionOpInterfaceImpl.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::cpu;

namespace {

/// The region of a map_rows as a function on buffers.
class RowFunction {
public:
  explicit RowFunction(KernelMapRowsOp op)
      : op(op), rewriter(op.getContext()) {}

  /// Builds and lowers the function.
  LogicalResult create();

  /// The types of its arguments: the region's, then the results'.
  ArrayRef<Type> getArgumentTypes() { return func.getArgumentTypes(); }

  /// Inlines the body at `b`, temporaries as `allocate` gives them.
  void inlineInto(ImplicitLocOpBuilder &b, ValueRange arguments,
                  function_ref<Value(MemRefType)> allocate);

private:
  LogicalResult checkBody();
  LogicalResult build();
  void decompose();
  LogicalResult expandConstants();
  LogicalResult simplifyTensors();
  LogicalResult bufferize();
  LogicalResult lowerToLoops();
  LogicalResult simplifyBuffers();
  LogicalResult collectTemporaries();
  LogicalResult simplify(RewritePatternSet &&patterns);

  KernelMapRowsOp op;
  IRRewriter rewriter;
  OwningOpRef<ModuleOp> module;
  func::FuncOp func;
  SmallVector<memref::AllocOp> temporaries;
};

} // namespace

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
  WalkResult walk = op.getBody().walk([&](Operation *inner) {
    if (isa_and_nonnull<arith::ArithDialect,
                        bufferization::BufferizationDialect,
                        linalg::LinalgDialect, math::MathDialect,
                        scf::SCFDialect, tensor::TensorDialect>(
            inner->getDialect()) ||
        inner == op.getBody().front().getTerminator())
      return WalkResult::advance();
    inner->emitOpError("cannot run row by row; expert bodies and token code "
                       "hold arith, linalg, math, scf and tensor ops");
    return WalkResult::interrupt();
  });
  return failure(walk.wasInterrupted());
}

LogicalResult RowFunction::build() {
  Location loc = op.getLoc();
  module = ModuleOp::create(loc);
  Block &body = op.getBody().front();
  auto yield = cast<YieldOp>(body.getTerminator());
  SmallVector<Type> types;
  for (Type type : body.getArgumentTypes())
    types.push_back(viewType(cast<RankedTensorType>(type)));
  for (Type type : yield.getOperandTypes())
    types.push_back(viewType(cast<RankedTensorType>(type)));

  rewriter.setInsertionPointToEnd(module->getBody());
  func = func::FuncOp::create(rewriter, loc, "row",
                              rewriter.getFunctionType(types, {}));
  Block *entry = func.addEntryBlock();
  rewriter.setInsertionPointToStart(entry);
  IRMapping mapping;
  for (auto [argument, view] :
       llvm::zip_first(body.getArguments(), entry->getArguments()))
    mapping.map(argument, bufferization::ToTensorOp::create(
                              rewriter, loc, argument.getType(), view,
                              /*restrict=*/true, /*writable=*/false));
  for (Operation &inner : body.without_terminator())
    rewriter.clone(inner, mapping);
  auto outs = entry->getArguments().take_back(yield.getNumOperands());
  for (auto [value, out] : llvm::zip_equal(yield.getOperands(), outs))
    bufferization::MaterializeInDestinationOp::create(
        rewriter, loc, Type(), mapping.lookupOrDefault(value), out,
        /*restrict=*/true, /*writable=*/true);
  func::ReturnOp::create(rewriter, loc);
  return success();
}

LogicalResult RowFunction::simplify(RewritePatternSet &&patterns) {
  MLIRContext *context = op.getContext();
  for (RegisteredOperationName name : context->getRegisteredOperations()) {
    StringRef dialect = name.getDialectNamespace();
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
  RewritePatternSet patterns(op.getContext());
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
  // Folding makes constants anew, so they are taken apart last.
  return expandConstants();
}

//===----------------------------------------------------------------------===//
// Buffers
//===----------------------------------------------------------------------===//

LogicalResult RowFunction::bufferize() {
  if (failed(bufferization::eliminateEmptyTensors(rewriter, func)))
    return failure();
  bufferization::OneShotBufferizationOptions options;
  options.memCpyFn = [](OpBuilder &b, Location loc, Value from, Value to) {
    linalg::makeMemRefCopyOp(b, loc, from, to);
    return success();
  };
  bufferization::BufferizationState state;
  return bufferization::runOneShotBufferize(func, options, state);
}

LogicalResult RowFunction::lowerToLoops() {
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
    if (failed(lowerLinalgToLoops(rewriter, inner)))
      return failure();
  return success();
}

LogicalResult RowFunction::simplifyBuffers() {
  RewritePatternSet patterns(op.getContext());
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

LogicalResult RowFunction::create() {
  return success(succeeded(checkBody()) && succeeded(build()) &&
                 succeeded(simplifyTensors()) && succeeded(bufferize()) &&
                 succeeded(lowerToLoops()) && succeeded(simplifyBuffers()) &&
                 succeeded(collectTemporaries()));
}

void RowFunction::inlineInto(ImplicitLocOpBuilder &b, ValueRange arguments,
                             function_ref<Value(MemRefType)> allocate) {
  for (memref::AllocOp alloc : temporaries) {
    rewriter.setInsertionPointToStart(&func.getBody().front());
    Value scratch = allocate(alloc.getType());
    rewriter.replaceAllUsesWith(alloc.getResult(), scratch);
    rewriter.eraseOp(alloc);
  }
  IRMapping mapping;
  mapping.map(func.getArguments(), arguments);
  for (Operation &inner : func.getBody().front().without_terminator())
    b.clone(inner, mapping);
}

//===----------------------------------------------------------------------===//
// The loop over the rows
//===----------------------------------------------------------------------===//

void mlir::moe::cpu::registerMapRowsInterfaces(DialectRegistry &registry) {
  arith::registerBufferizableOpInterfaceExternalModels(registry);
  linalg::registerBufferizableOpInterfaceExternalModels(registry);
  linalg::registerSubsetOpInterfaceExternalModels(registry);
  scf::registerBufferizableOpInterfaceExternalModels(registry);
  tensor::registerBufferizableOpInterfaceExternalModels(registry);
  tensor::registerSubsetOpInterfaceExternalModels(registry);
}

/// `count`-th piece of the shape of `type` in a flat buffer.
static Value emitView(ImplicitLocOpBuilder &b, Value buffer, Value piece,
                      MemRefType type) {
  Value offset =
      multiplyAdd(b, piece, type.getNumElements(), indexConstant(b, 0));
  auto constants = [&](ArrayRef<int64_t> values) {
    return getAsIndexOpFoldResult(b.getContext(), values);
  };
  return memref::ReinterpretCastOp::create(
      b, type, buffer, OpFoldResult(offset), constants(type.getShape()),
      constants(computeStrides(type.getShape())));
}

/// The expert of `row`, the first from `expert` on that has not ended before.
static Value emitFindExpert(ImplicitLocOpBuilder &b, Value offsets,
                            Value expert, Value row) {
  auto loop = scf::WhileOp::create(
      b, TypeRange{b.getIndexType()}, ValueRange{expert},
      [&](OpBuilder &nested, Location loc, ValueRange carried) {
        ImplicitLocOpBuilder b(loc, nested);
        Value next = arith::AddIOp::create(b, carried[0], indexConstant(b, 1));
        Value end = loadIndex(b, offsets, next);
        Value ended =
            arith::CmpIOp::create(b, arith::CmpIPredicate::ule, end, row);
        scf::ConditionOp::create(b, ended, carried);
      },
      [&](OpBuilder &nested, Location loc, ValueRange carried) {
        ImplicitLocOpBuilder b(loc, nested);
        Value next = arith::AddIOp::create(b, carried[0], indexConstant(b, 1));
        scf::YieldOp::create(b, next);
      });
  return loop.getResult(0);
}

LogicalResult mlir::moe::cpu::expandMapRows(KernelMapRowsOp op,
                                            KernelContext &ctx) {
  RowFunction function(op);
  if (failed(function.create()))
    return failure();

  ImplicitLocOpBuilder b(ctx.loc, ctx.b);
  Value zero = indexConstant(b, 0);
  Value offsets = op.getExpertOffsets();
  Value numRows = op.getTokens();
  if (offsets)
    numRows = loadIndex(b, offsets, indexConstant(b, op.getExperts()));
  auto [begin, end] = ctx.splitRange(numRows);
  auto allocate = [&](MemRefType type) -> Value {
    Value flat = ctx.allocScratch(type.getElementType(),
                                  std::max<int64_t>(1, type.getNumElements()));
    auto constants = [&](ArrayRef<int64_t> values) {
      return getAsIndexOpFoldResult(b.getContext(), values);
    };
    return memref::ReinterpretCastOp::create(
        ctx.b, ctx.loc, type, flat, OpFoldResult(b.getIndexAttr(0)),
        constants(type.getShape()), constants(computeStrides(type.getShape())));
  };
  forRange(b, begin, end, 1, zero,
           [&](ImplicitLocOpBuilder &b, Value row, ValueRange carried) {
             Value expert = carried[0];
             if (offsets)
               expert = emitFindExpert(b, offsets, expert, row);
             SmallVector<Value> views;
             auto view = [&](ValueRange buffers, Value piece) {
               for (Value buffer : buffers) {
                 Type type = function.getArgumentTypes()[views.size()];
                 views.push_back(
                     emitView(b, buffer, piece, cast<MemRefType>(type)));
               }
             };
             view(op.getRows(), row);
             view(op.getExpertWeights(), expert);
             view(op.getInvariants(), zero);
             view(op.getOuts(), row);
             function.inlineInto(b, views, allocate);
             return SmallVector<Value>{expert};
           });
  return success();
}
