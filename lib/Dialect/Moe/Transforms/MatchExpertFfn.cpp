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

/// `lhs . rhs^T`, summed in f32 from what `init` holds.
static bool isTransposedProduct(Value value, Value &lhs, Value &rhs,
                                Value &init) {
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
  lhs = op.getDpsInputs()[0];
  rhs = op.getDpsInputs()[1];
  init = op.getDpsInits()[0];
  return true;
}

static bool isZero(Value tensor) {
  auto fill = tensor.getDefiningOp<linalg::FillOp>();
  return fill && matchPattern(fill.getInputs()[0], m_AnyZeroFloat());
}

/// Whether an operand of an op on rows and columns is read where the result is
/// written, or is a vector of one value for each column, or a scalar.
static bool isElementwiseMap(AffineMap map, Type type) {
  if (map.isIdentity() || map.getNumResults() == 0)
    return true;
  if (map.getNumDims() != 2)
    return false;
  AffineExpr column = getAffineDimExpr(1, map.getContext());
  if (map.getNumResults() == 1)
    return map.getResult(0) == column;
  auto row = dyn_cast<AffineConstantExpr>(map.getResult(0));
  return row && map.getNumResults() == 2 && map.getResult(1) == column &&
         cast<ShapedType>(type).getDimSize(0) == 1;
}

/// An elementwise linalg op on tensors of one shape; scalars and one value for
/// each column are allowed.
static bool isElementwiseLinalg(linalg::LinalgOp op) {
  if (op.getNumDpsInits() != 1 ||
      op.getNumParallelLoops() != op.getNumLoops() ||
      !op.getMatchingIndexingMap(op.getDpsInitOperand(0)).isIdentity())
    return false;
  for (OpOperand *operand : op.getDpsInputOperands())
    if (!isElementwiseMap(op.getMatchingIndexingMap(operand),
                          operand->get().getType()))
      return false;
  // The initial value must not be read.
  Block &body = op->getRegion(0).front();
  return body.getArgument(op.getNumDpsInputs()).use_empty();
}

namespace {

/// Tensor code between products, rebuilt on scalars. Its inputs are products
/// (one element) and biases (the element of the same column).
class ScalarCode {
public:
  explicit ScalarCode(ExpertsOp op)
      : expert(&op.getBody().front()), region(std::make_unique<Region>()),
        builder(op.getContext()) {
    block = builder.createBlock(region.get());
  }

  /// Walks from `tensor` to the products, then gives biases to these.
  LogicalResult build(Value tensor, std::string &why);

  ArrayRef<Value> getProducts() const { return products; }
  /// The bias that is added to a product, a block argument of the expert; null
  /// without one.
  Value getBias(unsigned product) const { return biases[product]; }
  /// The scalar of an element of the tensor.
  Value getResult() const { return result; }
  /// Whether `value` is the scalar of a product, with its bias.
  bool isProduct(Value value) const { return value == block->getArgument(0); }

  /// Ends the code with `value` and hands it out.
  std::unique_ptr<Region> take(Value value);

private:
  /// The scalar that stands for an element of `tensor`; null on failure.
  Value visit(Value tensor, std::string &why) {
    if (Value known = scalars.lookupOrNull(tensor))
      return known;
    Value scalar = visitNew(tensor, why);
    if (scalar)
      scalars.map(tensor, scalar);
    return scalar;
  }
  Value visitNew(Value tensor, std::string &why);
  Value visitArgument(BlockArgument arg, std::string &why);
  Value visitLinalg(linalg::LinalgOp op, std::string &why);
  /// A scalar from outside the regions: constants only.
  Value visitScalar(Value value, std::string &why);

  Value constantScalar(Location loc, TypedAttr attr) {
    return arith::ConstantOp::create(builder, loc, attr);
  }
  /// Clones an op on scalars; its operands are mapped.
  Value rebuild(Operation *op) {
    Operation *copy = builder.clone(*op, scalars);
    for (Value result : copy->getResults())
      result.setType(getElementTypeOrSelf(result.getType()));
    return copy->getResult(0);
  }

  /// Makes `product + bias` the product.
  void foldBiases();

  Block *expert;
  std::unique_ptr<Region> region;
  OpBuilder builder;
  Block *block;
  IRMapping scalars;
  Value result;
  /// Of each product its tensor, and the block argument of its bias.
  SmallVector<Value> products, biases;
  /// Block arguments of the expert, and the arguments of `block` for them,
  /// which stand behind those of the products.
  SmallVector<std::pair<BlockArgument, Value>> vectors;
};

} // namespace

static Value failBecause(std::string &why, const Twine &reason) {
  why = reason.str();
  return {};
}

Value ScalarCode::visitNew(Value tensor, std::string &why) {
  Value lhs, rhs, init;
  if (isTransposedProduct(tensor, lhs, rhs, init)) {
    Value sum = block->insertArgument(products.size(), builder.getF32Type(),
                                      tensor.getLoc());
    products.push_back(tensor);
    if (isZero(init))
      return sum;
    Value start = visit(init, why);
    return start ? arith::AddFOp::create(builder, tensor.getLoc(), sum, start)
                       .getResult()
                 : start;
  }
  if (auto arg = dyn_cast<BlockArgument>(tensor))
    return visitArgument(arg, why);
  Operation *op = tensor.getDefiningOp();
  if (auto fill = dyn_cast<linalg::FillOp>(op))
    return visitScalar(fill.getInputs()[0], why);
  if (auto linalgOp = dyn_cast<linalg::LinalgOp>(op))
    return visitLinalg(linalgOp, why);
  // A vector with a leading dimension of 1.
  if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op);
      expand && expand.getSrcType().getRank() == 1 &&
      expand.getResultType().getRank() == 2 &&
      expand.getResultType().getDimSize(0) == 1)
    return visit(expand.getSrc(), why);
  if (op->hasTrait<OpTrait::Elementwise>() && op->getNumResults() == 1) {
    for (Value operand : op->getOperands())
      if (!visit(operand, why))
        return {};
    return rebuild(op);
  }
  DenseElementsAttr constant;
  if (matchPattern(op, m_Constant(&constant)) && constant.isSplat())
    return constantScalar(op->getLoc(), constant.getSplatValue<TypedAttr>());
  return failBecause(why, "'" + op->getName().getStringRef() +
                              "' is not element by element");
}

Value ScalarCode::visitArgument(BlockArgument arg, std::string &why) {
  auto type = dyn_cast<RankedTensorType>(arg.getType());
  if (arg.getOwner() != expert || arg.getArgNumber() == 0 || !type ||
      type.getRank() != 1)
    return failBecause(why, "the activation reads a block argument directly");
  Value scalar = block->addArgument(type.getElementType(), arg.getLoc());
  vectors.push_back({arg, scalar});
  return scalar;
}

Value ScalarCode::visitLinalg(linalg::LinalgOp op, std::string &why) {
  if (!isElementwiseLinalg(op))
    return failBecause(why, "'" + op->getName().getStringRef() +
                                "' is not element by element");
  Block &body = op->getRegion(0).front();
  for (unsigned i = 0, e = op.getNumDpsInputs(); i < e; ++i) {
    Value input = op.getDpsInputs()[i];
    Value scalar = isa<ShapedType>(input.getType()) ? visit(input, why)
                                                    : visitScalar(input, why);
    if (!scalar)
      return {};
    scalars.map(body.getArgument(i), scalar);
  }
  for (Operation &inner : body.without_terminator()) {
    if (!isPure(&inner) || inner.getNumRegions() != 0 ||
        isa<linalg::IndexOp>(inner))
      return failBecause(why, "'" + inner.getName().getStringRef() +
                                  "' cannot stand in an activation");
    for (Value operand : inner.getOperands())
      if (!scalars.contains(operand) && !visitScalar(operand, why))
        return {};
    rebuild(&inner);
  }
  Value yielded = body.getTerminator()->getOperand(0);
  if (scalars.contains(yielded))
    return scalars.lookup(yielded);
  return visitScalar(yielded, why);
}

Value ScalarCode::visitScalar(Value value, std::string &why) {
  if (Value known = scalars.lookupOrNull(value))
    return known;
  TypedAttr constant;
  if (!matchPattern(value, m_Constant(&constant)))
    return failBecause(why,
                       "the activation reads a scalar that is not constant");
  Value scalar = constantScalar(value.getLoc(), constant);
  scalars.map(value, scalar);
  return scalar;
}

LogicalResult ScalarCode::build(Value tensor, std::string &why) {
  result = visit(tensor, why);
  if (!result)
    return failure();
  foldBiases();
  for (auto [arg, scalar] : vectors)
    if (!scalar.use_empty()) {
      why = "weight " + std::to_string(arg.getArgNumber() - 1) +
            " has one value for each column, but is not a bias that is added "
            "to a product in f32";
      return failure();
    }
  block->eraseArguments(products.size(), vectors.size());
  return success();
}

void ScalarCode::foldBiases() {
  /// The expert's argument that `scalar` is, or is extended from.
  auto getVector = [&](Value scalar) -> Value {
    if (auto extend = scalar.getDefiningOp<arith::ExtFOp>())
      scalar = extend.getIn();
    for (auto [arg, known] : vectors)
      if (known == scalar)
        return arg;
    return {};
  };
  for (unsigned i = 0; i < products.size(); ++i) {
    Value product = block->getArgument(i);
    // All of its users add the same bias, or none does.
    Value bias;
    bool allAdd = !product.use_empty();
    for (Operation *user : product.getUsers()) {
      auto add = dyn_cast<arith::AddFOp>(user);
      Value added = add && add.getLhs() == product ? add.getRhs()
                    : add                          ? add.getLhs()
                                                   : Value();
      Value vector = added ? getVector(added) : Value();
      allAdd &= vector && (!bias || bias == vector);
      bias = vector;
    }
    if (!allAdd || product == result) {
      biases.push_back({});
      continue;
    }
    biases.push_back(bias);
    for (Operation *user : llvm::make_early_inc_range(product.getUsers())) {
      if (user->getResult(0) == result)
        result = product;
      user->getResult(0).replaceAllUsesWith(product);
      user->erase();
    }
  }
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(*block)))
    if (op.getResult(0) != result && isOpTriviallyDead(&op))
      op.erase();
}

std::unique_ptr<Region> ScalarCode::take(Value value) {
  YieldOp::create(builder, value.getLoc(), value);
  return std::move(region);
}

static Type elementType(Value v) {
  return cast<ShapedType>(v.getType()).getElementType();
}

/// The number of the weight that `value` is in the body of `op`.
static std::optional<unsigned> weightNumber(ExpertsOp op, Value value) {
  auto arg = dyn_cast_or_null<BlockArgument>(value);
  if (!arg || arg.getOwner() != &op.getBody().front() ||
      arg.getArgNumber() == 0)
    return std::nullopt;
  return arg.getArgNumber() - 1;
}

/// Rows, weights and results go through kernels of one element type.
static LogicalResult checkTypes(ExpertsOp op, const ExpertFfn &ffn,
                                Type hiddenType, std::string &why) {
  Type rowType = elementType(op.getRows());
  auto weights = op.getWeights();
  for (unsigned i : ffn.parts)
    if (elementType(weights[i]) != rowType ||
        weights[i].getType() != weights[ffn.parts[0]].getType()) {
      why = "rows and weights differ in type or shape";
      return failure();
    }
  if (elementType(weights[ffn.last]) != rowType || hiddenType != rowType ||
      elementType(op.getResult()) != rowType ||
      !(rowType.isF32() || rowType.isBF16())) {
    why = "rows, weights and results are not all f32 or all bf16";
    return failure();
  }
  return success();
}

/// Takes over the activation, without the rounding that the grouped op does by
/// itself.
static void takeActivation(ScalarCode &code, ExpertFfn &ffn) {
  Value result = code.getResult();
  Operation *rounding = nullptr;
  if (auto truncate = result.getDefiningOp<arith::TruncFOp>();
      truncate && truncate.getIn().getType().isF32()) {
    rounding = truncate;
    result = truncate.getIn();
  }
  OpBuilder builder(result.getContext());
  builder.setInsertionPointAfterValue(result);
  if (!result.getType().isF32())
    result = arith::ExtFOp::create(builder, result.getLoc(),
                                   builder.getF32Type(), result);
  ffn.activation = code.take(result);
  if (rounding && rounding->use_empty())
    rounding->erase();
}

FailureOr<ExpertFfn> moe::matchExpertFfn(ExpertsOp op, std::string &why) {
  Block &body = op.getBody().front();
  auto fail = [&](const Twine &reason) {
    why = reason.str();
    return failure();
  };

  // The end: a product with its bias, then perhaps rounded to the row type.
  ScalarCode end(op);
  std::string unused;
  Value out = body.getTerminator()->getOperand(0);
  if (failed(end.build(out, unused)) || end.getProducts().size() != 1)
    return fail("the body does not end in a product with transposed weights, "
                "summed in f32 from zero");
  Value rounded = end.getResult();
  if (auto truncate = rounded.getDefiningOp<arith::TruncFOp>())
    rounded = truncate.getIn();
  if (!end.isProduct(rounded))
    return fail("the body does not end in a product with transposed weights, "
                "summed in f32 from zero");

  ExpertFfn ffn;
  Value lhs, rhs, init;
  isTransposedProduct(end.getProducts()[0], lhs, rhs, init);
  std::optional<unsigned> last = weightNumber(op, rhs);
  if (!last)
    return fail("the last product's right side is not a weight");
  ffn.last = *last;
  Type hiddenType = elementType(lhs);

  ScalarCode code(op);
  if (failed(code.build(lhs, why)))
    return failure();
  size_t numParts = code.getProducts().size();
  if (numParts == 0 || numParts > 2)
    return fail("the activation has " + Twine(numParts) +
                " products as inputs, not one or two");
  SmallVector<Value> biases;
  for (auto [i, product] : llvm::enumerate(code.getProducts())) {
    Value x, weight;
    isTransposedProduct(product, x, weight, init);
    std::optional<unsigned> number = weightNumber(op, weight);
    if (x != body.getArgument(0) || !number)
      return fail("a first product is not rows times weight");
    ffn.parts.push_back(*number);
    biases.push_back(code.getBias(i));
  }
  biases.push_back(end.getBias(0));
  if (failed(checkTypes(op, ffn, hiddenType, why)))
    return failure();
  if (llvm::any_of(biases, [](Value bias) { return bool(bias); }))
    for (Value bias : biases) {
      std::optional<unsigned> number = weightNumber(op, bias);
      if (!number)
        return fail("some of its products have a bias and others have none");
      ffn.biases.push_back(*number);
    }
  takeActivation(code, ffn);
  return ffn;
}
