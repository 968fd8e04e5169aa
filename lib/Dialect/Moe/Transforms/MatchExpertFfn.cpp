//===- MatchExpertFfn.cpp - Recognises feed-forward experts ---------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MatchExpertFfn.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/IR/LinalgInterfaces.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StructuredOpsUtils.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace mlir::moe;

/// `lhs . rhs^T`, summed in f32 from zero.
static bool isTransposedProduct(Value value, Value &lhs, Value &rhs) {
  auto op = value.getDefiningOp<linalg::LinalgOp>();
  if (!op || !linalg::isaContractionOpInterface(op) || op.getNumLoops() != 3 ||
      op.getNumDpsInputs() != 2 || op.getNumDpsInits() != 1)
    return false;
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  MLIRContext *ctx = op.getContext();
  AffineExpr m, n, k;
  bindDims(ctx, m, n, k);
  auto map = [&](AffineExpr a, AffineExpr b) {
    return AffineMap::get(3, 0, {a, b}, ctx);
  };
  if (maps[0] != map(m, k) || maps[1] != map(n, k) || maps[2] != map(m, n))
    return false;
  if (!cast<ShapedType>(value.getType()).getElementType().isF32())
    return false;
  auto fill = op.getDpsInits()[0].getDefiningOp<linalg::FillOp>();
  if (!fill || !matchPattern(fill.getInputs()[0], m_AnyZeroFloat()))
    return false;
  lhs = op.getDpsInputs()[0];
  rhs = op.getDpsInputs()[1];
  return true;
}

/// An elementwise linalg op on tensors of one shape, scalars allowed.
static bool isElementwiseLinalg(linalg::LinalgOp op) {
  if (!op || op.getNumDpsInits() != 1 ||
      op.getNumParallelLoops() != op.getNumLoops())
    return false;
  for (OpOperand &operand : op->getOpOperands()) {
    AffineMap map = op.getMatchingIndexingMap(&operand);
    if (!map.isIdentity() && !(map.getNumResults() == 0))
      return false;
  }
  // The initial value must not be read.
  Block &body = op->getRegion(0).front();
  return body.getArgument(op.getNumDpsInputs()).use_empty();
}

namespace {

/// Walks the activation from its result to the products, and rebuilds it on
/// scalars when a builder is given.
class ActivationWalker {
public:
  ActivationWalker(SmallVectorImpl<Value> &products, OpBuilder *builder,
                   Block *target)
      : products(products), builder(builder), target(target) {}

  /// The scalar that stands for an element of `tensor`; null on failure. When
  /// only matching, any non-null value.
  Value visit(Value tensor, std::string &why) {
    if (Value known = scalars.lookupOrNull(tensor))
      return known;
    Value result = visitNew(tensor, why);
    if (result)
      scalars.map(tensor, result);
    return result;
  }

private:
  Value visitNew(Value tensor, std::string &why) {
    Value lhs, rhs;
    if (isTransposedProduct(tensor, lhs, rhs)) {
      auto *it = llvm::find(products, tensor);
      unsigned index = it - products.begin();
      if (it == products.end())
        products.push_back(tensor);
      return target ? Value(target->getArgument(index)) : tensor;
    }
    Operation *op = tensor.getDefiningOp();
    if (!op) {
      why = "the activation reads a block argument directly";
      return {};
    }
    if (auto linalgOp = dyn_cast<linalg::LinalgOp>(op)) {
      if (auto fill = dyn_cast<linalg::FillOp>(op))
        return visitScalar(fill.getInputs()[0], why);
      if (!isElementwiseLinalg(linalgOp)) {
        why =
            ("'" + op->getName().getStringRef() + "' is not element by element")
                .str();
        return {};
      }
      Block &region = op->getRegion(0).front();
      for (unsigned i = 0, e = linalgOp.getNumDpsInputs(); i < e; ++i) {
        Value input = linalgOp.getDpsInputs()[i];
        Value scalar = isa<ShapedType>(input.getType())
                           ? visit(input, why)
                           : visitScalar(input, why);
        if (!scalar)
          return {};
        scalars.map(region.getArgument(i), scalar);
      }
      for (Operation &inner : region.without_terminator()) {
        if (!isPure(&inner) || inner.getNumRegions() != 0 ||
            isa<linalg::IndexOp>(inner)) {
          why = ("'" + inner.getName().getStringRef() +
                 "' cannot stand in an activation")
                    .str();
          return {};
        }
        for (Value operand : inner.getOperands())
          if (!scalars.contains(operand) && !visitScalar(operand, why))
            return {};
        rebuild(&inner);
      }
      Value yielded = region.getTerminator()->getOperand(0);
      if (scalars.contains(yielded))
        return scalars.lookup(yielded);
      return visitScalar(yielded, why);
    }
    if (op->hasTrait<OpTrait::Elementwise>() && op->getNumResults() == 1) {
      for (Value operand : op->getOperands())
        if (!visit(operand, why))
          return {};
      return rebuild(op);
    }
    DenseElementsAttr constant;
    if (matchPattern(op, m_Constant(&constant)) && constant.isSplat())
      return constantScalar(op->getLoc(), constant.getSplatValue<TypedAttr>(),
                            tensor);
    why = ("'" + op->getName().getStringRef() + "' is not element by element")
              .str();
    return {};
  }

  /// A scalar from outside the regions: constants only.
  Value visitScalar(Value value, std::string &why) {
    if (Value known = scalars.lookupOrNull(value))
      return known;
    TypedAttr constant;
    if (!matchPattern(value, m_Constant(&constant))) {
      why = "the activation reads a scalar that is not constant";
      return {};
    }
    Value result = constantScalar(value.getLoc(), constant, value);
    scalars.map(value, result);
    return result;
  }

  Value constantScalar(Location loc, TypedAttr attr, Value original) {
    return builder ? arith::ConstantOp::create(*builder, loc, attr).getResult()
                   : original;
  }

  /// Clones an op on scalars; its operands are mapped.
  Value rebuild(Operation *op) {
    if (!builder) {
      for (Value result : op->getResults())
        scalars.map(result, result);
      return op->getResult(0);
    }
    Operation *copy = builder->clone(*op, scalars);
    for (Value result : copy->getResults())
      result.setType(getElementTypeOrSelf(result.getType()));
    return copy->getResult(0);
  }

  SmallVectorImpl<Value> &products;
  OpBuilder *builder;
  Block *target;
  IRMapping scalars;
};

} // namespace

FailureOr<ExpertFfn> moe::matchExpertFfn(ExpertsOp op, std::string &why) {
  Block &body = op.getBody().front();
  Value out = body.getTerminator()->getOperand(0);
  Type rowType = cast<ShapedType>(op.getRows().getType()).getElementType();

  // The last product may be rounded element by element to the row type.
  Value lhs, rhs;
  if (!isTransposedProduct(out, lhs, rhs)) {
    if (auto truncate = out.getDefiningOp<arith::TruncFOp>())
      out = truncate.getIn();
    else if (auto round = out.getDefiningOp<linalg::GenericOp>();
             round && isElementwiseLinalg(round) &&
             round.getNumDpsInputs() == 1) {
      Block &region = round.getRegion().front();
      Operation *yield = region.getTerminator();
      auto truncate = yield->getOperand(0).getDefiningOp<arith::TruncFOp>();
      if (truncate && truncate.getIn() == region.getArgument(0))
        out = round.getDpsInputs()[0];
    }
    if (!isTransposedProduct(out, lhs, rhs)) {
      why = "the body does not end in a product with transposed weights, "
            "summed in f32 from zero";
      return failure();
    }
  }

  ExpertFfn ffn;
  auto weightNumber = [&](Value value) -> std::optional<unsigned> {
    auto arg = dyn_cast<BlockArgument>(value);
    if (!arg || arg.getOwner() != &body || arg.getArgNumber() == 0)
      return std::nullopt;
    return arg.getArgNumber() - 1;
  };
  std::optional<unsigned> last = weightNumber(rhs);
  if (!last) {
    why = "the last product's right side is not a weight";
    return failure();
  }
  ffn.last = *last;
  ffn.hidden = lhs;

  ActivationWalker walker(ffn.products, nullptr, nullptr);
  if (!walker.visit(lhs, why))
    return failure();
  if (ffn.products.empty() || ffn.products.size() > 2) {
    why = "the activation has " + std::to_string(ffn.products.size()) +
          " products as inputs, not one or two";
    return failure();
  }
  for (Value product : ffn.products) {
    Value x, weight;
    isTransposedProduct(product, x, weight);
    std::optional<unsigned> number = weightNumber(weight);
    if (x != body.getArgument(0) || !number) {
      why = "a first product is not rows times weight";
      return failure();
    }
    ffn.parts.push_back(*number);
  }
  auto elementType = [](Value v) {
    return cast<ShapedType>(v.getType()).getElementType();
  };
  auto weights = op.getWeights();
  for (unsigned i : ffn.parts)
    if (elementType(weights[i]) != rowType ||
        weights[i].getType() != weights[ffn.parts[0]].getType()) {
      why = "rows and weights differ in type or shape";
      return failure();
    }
  if (elementType(weights[ffn.last]) != rowType ||
      elementType(ffn.hidden) != rowType ||
      elementType(op.getResult()) != rowType ||
      !(rowType.isF32() || rowType.isBF16())) {
    why = "rows, weights and results are not all f32 or all bf16";
    return failure();
  }
  return ffn;
}

void moe::buildActivation(const ExpertFfn &ffn, Region &region,
                          OpBuilder &builder) {
  OpBuilder::InsertionGuard guard(builder);
  Block *block = builder.createBlock(&region);
  for (Value product : ffn.products)
    block->addArgument(builder.getF32Type(), product.getLoc());
  SmallVector<Value> products(ffn.products);
  std::string why;
  ActivationWalker walker(products, &builder, block);
  Value result = walker.visit(ffn.hidden, why);
  // The grouped op rounds by itself; what lies before may be in f32 only.
  Operation *rounding = nullptr;
  if (auto truncate = result.getDefiningOp<arith::TruncFOp>()) {
    rounding = truncate;
    result = truncate.getIn();
  }
  if (!result.getType().isF32())
    result = arith::ExtFOp::create(builder, result.getLoc(),
                                   builder.getF32Type(), result);
  YieldOp::create(builder, ffn.hidden.getLoc(), result);
  if (rounding && rounding->use_empty())
    rounding->erase();
}
