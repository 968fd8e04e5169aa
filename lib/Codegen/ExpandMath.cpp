//===- ExpandMath.cpp - Expand what would call a math library -------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Codegen/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

#include <limits>

namespace mlir::moe {
#define GEN_PASS_DEF_EXPANDMATHPASS
#include "moe/Codegen/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// `like` with another element type.
static Type withElement(Type like, Type element) {
  if (auto shaped = dyn_cast<ShapedType>(like))
    return shaped.clone(element);
  return element;
}

static bool isNarrow(Type type) {
  Type element = getElementTypeOrSelf(type);
  return element.isBF16() || element.isF16();
}

namespace {
/// Arithmetic on f32 scalars or vectors of one shape.
struct FloatBuilder {
  OpBuilder &b;
  Location loc;
  Type type, intType;

  FloatBuilder(OpBuilder &b, Location loc, Type like)
      : b(b), loc(loc), type(withElement(like, b.getF32Type())),
        intType(withElement(like, b.getI32Type())) {}

  Value constant(float value) { return splat(b.getF32FloatAttr(value), type); }
  Value constant(int32_t value) {
    return splat(b.getI32IntegerAttr(value), intType);
  }
  Value splat(TypedAttr attr, Type type) {
    if (auto shaped = dyn_cast<ShapedType>(type))
      return arith::ConstantOp::create(b, loc,
                                       DenseElementsAttr::get(shaped, attr));
    return arith::ConstantOp::create(b, loc, attr);
  }
  Value mul(Value lhs, Value rhs) {
    return arith::MulFOp::create(b, loc, lhs, rhs);
  }
  Value fma(Value x, Value y, Value z) {
    return math::FmaOp::create(b, loc, x, y, z);
  }
  Value select(arith::CmpFPredicate predicate, Value lhs, Value rhs, Value yes,
               Value no) {
    Value is = arith::CmpFOp::create(b, loc, predicate, lhs, rhs);
    return arith::SelectOp::create(b, loc, is, yes, no);
  }
  /// 2^exponent from its bits.
  Value power(Value exponent) {
    Value bits = arith::ShLIOp::create(
        b, loc, arith::AddIOp::create(b, loc, exponent, constant(127)),
        constant(23));
    return arith::BitcastOp::create(b, loc, type, bits);
  }
};

/// docs/Numerics.md, "exp".
struct ExpandExp : OpRewritePattern<math::ExpOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(math::ExpOp op,
                                PatternRewriter &rewriter) const override {
    if (!getElementTypeOrSelf(op.getType()).isF32())
      return rewriter.notifyMatchFailure(op, "not f32");
    FloatBuilder f(rewriter, op.getLoc(), op.getType());
    Location loc = op.getLoc();
    Value x = op.getOperand();
    Value hi = f.constant(88.72283f), lo = f.constant(-87.33654f);
    using P = arith::CmpFPredicate;
    // Out of range the polynomial's result is not used, but has to be defined.
    Value inside = f.select(P::OGT, x, hi, hi, x);
    inside = f.select(P::OLT, x, lo, lo, inside);
    inside = f.select(P::UNO, x, x, lo, inside);

    Value n = math::RoundEvenOp::create(rewriter, loc,
                                        f.mul(inside, f.constant(1.44269502f)));
    Value r = f.fma(n, f.constant(-0.693145752f), inside);
    r = f.fma(n, f.constant(-1.42860677e-6f), r);
    Value p = f.constant(1.98756914e-4f);
    for (float c :
         {1.39819994e-3f, 8.33345205e-3f, 4.16657962e-2f, 0.166666657f, 0.5f})
      p = f.fma(p, r, f.constant(c));
    p = f.fma(p, f.mul(r, r), r);
    p = arith::AddFOp::create(rewriter, loc, p, f.constant(1.0f));

    Value exponent = arith::FPToSIOp::create(rewriter, loc, f.intType, n);
    Value first =
        arith::ShRSIOp::create(rewriter, loc, exponent, f.constant(int32_t(1)));
    Value second = arith::SubIOp::create(rewriter, loc, exponent, first);
    Value result = f.mul(f.mul(p, f.power(first)), f.power(second));

    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    result = f.select(P::OGT, x, hi, f.constant(kInfinity), result);
    result = f.select(P::OLT, x, lo, f.constant(0.0f), result);
    rewriter.replaceOp(op, f.select(P::UNO, x, x, x, result));
    return success();
  }
};

/// docs/Numerics.md, "log".
struct ExpandLog : OpRewritePattern<math::LogOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(math::LogOp op,
                                PatternRewriter &rewriter) const override {
    if (!getElementTypeOrSelf(op.getType()).isF32())
      return rewriter.notifyMatchFailure(op, "not f32");
    FloatBuilder f(rewriter, op.getLoc(), op.getType());
    Location loc = op.getLoc();
    using P = arith::CmpFPredicate;
    auto add = [&](Value lhs, Value rhs) -> Value {
      return arith::AddFOp::create(rewriter, loc, lhs, rhs);
    };
    Value x = op.getOperand();
    Value zero = f.constant(0.0f), one = f.constant(1.0f);
    Value isTiny =
        arith::CmpFOp::create(rewriter, loc, P::OLT, x,
                              f.constant(std::numeric_limits<float>::min()));
    Value scaled = arith::SelectOp::create(rewriter, loc, isTiny,
                                           f.mul(x, f.constant(0x1p23f)), x);
    Value bias = arith::SelectOp::create(rewriter, loc, isTiny,
                                         f.constant(int32_t(126 + 23)),
                                         f.constant(int32_t(126)));

    // Numbers that are not positive and finite get their results at the end.
    Value bits = arith::BitcastOp::create(rewriter, loc, f.intType, scaled);
    Value exponent = arith::SubIOp::create(
        rewriter, loc,
        arith::ShRUIOp::create(rewriter, loc, bits, f.constant(int32_t(23))),
        bias);
    Value fraction = arith::AndIOp::create(rewriter, loc, bits,
                                           f.constant(int32_t(0x7fffff)));
    Value m = arith::BitcastOp::create(
        rewriter, loc, f.type,
        arith::OrIOp::create(rewriter, loc, fraction,
                             f.constant(int32_t(0x3f000000))));
    Value isLow = arith::CmpFOp::create(rewriter, loc, P::OLT, m,
                                        f.constant(0.707106769f));
    Value less =
        arith::SubIOp::create(rewriter, loc, exponent, f.constant(int32_t(1)));
    exponent = arith::SelectOp::create(rewriter, loc, isLow, less, exponent);
    m = arith::SelectOp::create(rewriter, loc, isLow, add(m, m), m);
    m = arith::SubFOp::create(rewriter, loc, m, one);

    Value z = f.mul(m, m);
    Value p = f.constant(7.0376836292e-2f);
    for (float c : {-1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f,
                    1.4249322787e-1f, -1.6668057665e-1f, 2.0000714765e-1f,
                    -2.4999993993e-1f, 3.3333331174e-1f})
      p = f.fma(p, m, f.constant(c));
    Value y = f.mul(f.mul(m, z), p);
    Value e = arith::SIToFPOp::create(rewriter, loc, f.type, exponent);
    y = f.fma(e, f.constant(-2.12194440e-4f), y);
    y = f.fma(f.constant(-0.5f), z, y);
    Value result = f.fma(e, f.constant(0.693359375f), add(m, y));

    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    Value infinity = f.constant(kInfinity);
    result = f.select(P::OEQ, x, infinity, infinity, result);
    result = f.select(P::OEQ, x, zero, f.constant(-kInfinity), result);
    Value nan = f.constant(std::numeric_limits<float>::quiet_NaN());
    rewriter.replaceOp(op, f.select(P::ULT, x, zero, nan, result));
    return success();
  }
};

/// bf16 to f32: the bits are the upper half.
struct ExpandExtF : OpRewritePattern<arith::ExtFOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(arith::ExtFOp op,
                                PatternRewriter &rewriter) const override {
    Type from = op.getIn().getType(), to = op.getType();
    if (!getElementTypeOrSelf(from).isBF16() ||
        !getElementTypeOrSelf(to).isF32())
      return rewriter.notifyMatchFailure(op, "not bf16 to f32");
    Location loc = op.getLoc();
    FloatBuilder f(rewriter, loc, to);
    Value bits = arith::BitcastOp::create(
        rewriter, loc, withElement(from, rewriter.getI16Type()), op.getIn());
    bits = arith::ExtUIOp::create(rewriter, loc, f.intType, bits);
    bits = arith::ShLIOp::create(rewriter, loc, bits, f.constant(int32_t(16)));
    rewriter.replaceOpWithNewOp<arith::BitcastOp>(op, to, bits);
    return success();
  }
};

/// docs/Numerics.md, "Rounding between formats".
struct ExpandTruncF : OpRewritePattern<arith::TruncFOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(arith::TruncFOp op,
                                PatternRewriter &rewriter) const override {
    Type from = op.getIn().getType(), to = op.getType();
    if (!getElementTypeOrSelf(from).isF32() ||
        !getElementTypeOrSelf(to).isBF16())
      return rewriter.notifyMatchFailure(op, "not f32 to bf16");
    Location loc = op.getLoc();
    FloatBuilder f(rewriter, loc, from);
    Value half = f.constant(int32_t(16));
    Value u = arith::BitcastOp::create(rewriter, loc, f.intType, op.getIn());
    Value upper = arith::ShRUIOp::create(rewriter, loc, u, half);
    Value odd =
        arith::AndIOp::create(rewriter, loc, upper, f.constant(int32_t(1)));
    Value sum = arith::AddIOp::create(
        rewriter, loc,
        arith::AddIOp::create(rewriter, loc, u, f.constant(int32_t(0x7fff))),
        odd);
    Value rounded = arith::ShRUIOp::create(rewriter, loc, sum, half);
    Value quiet =
        arith::OrIOp::create(rewriter, loc, upper, f.constant(int32_t(0x40)));
    Value bits = f.select(arith::CmpFPredicate::UNO, op.getIn(), op.getIn(),
                          quiet, rounded);
    bits = arith::TruncIOp::create(
        rewriter, loc, withElement(from, rewriter.getI16Type()), bits);
    rewriter.replaceOpWithNewOp<arith::BitcastOp>(op, to, bits);
    return success();
  }
};

/// Computes on f32 what is written on bf16 or f16.
struct WidenNarrow : RewritePattern {
  explicit WidenNarrow(MLIRContext *context)
      : RewritePattern(MatchAnyOpTypeTag(), /*benefit=*/2, context) {}

  LogicalResult matchAndRewrite(Operation *op,
                                PatternRewriter &rewriter) const override {
    bool isMath = isa_and_nonnull<math::MathDialect>(op->getDialect());
    bool isArith =
        isa<arith::AddFOp, arith::SubFOp, arith::MulFOp, arith::DivFOp,
            arith::NegFOp, arith::RemFOp, arith::MaximumFOp, arith::MinimumFOp,
            arith::MaxNumFOp, arith::MinNumFOp, arith::CmpFOp, arith::SIToFPOp,
            arith::UIToFPOp, arith::FPToSIOp, arith::FPToUIOp>(op);
    if (!isMath && !isArith)
      return rewriter.notifyMatchFailure(op, "moves values only");
    if (llvm::none_of(op->getOperandTypes(), isNarrow) &&
        llvm::none_of(op->getResultTypes(), isNarrow))
      return rewriter.notifyMatchFailure(op, "no bf16 or f16");
    Location loc = op->getLoc();
    auto wide = [&](Type type) {
      return isNarrow(type) ? withElement(type, rewriter.getF32Type()) : type;
    };
    SmallVector<Value> operands;
    for (Value operand : op->getOperands())
      operands.push_back(isNarrow(operand.getType())
                             ? arith::ExtFOp::create(rewriter, loc,
                                                     wide(operand.getType()),
                                                     operand)
                                   .getResult()
                             : operand);
    SmallVector<Type> types;
    for (Type type : op->getResultTypes())
      types.push_back(wide(type));
    OperationState state(loc, op->getName(), operands, types, op->getAttrs());
    Operation *widened = rewriter.create(state);
    SmallVector<Value> results;
    for (auto [result, type] :
         llvm::zip_equal(widened->getResults(), op->getResultTypes()))
      results.push_back(
          isNarrow(type)
              ? arith::TruncFOp::create(rewriter, loc, type, result).getResult()
              : result);
    rewriter.replaceOp(op, results);
    return success();
  }
};

/// log10(x) = log(x) * log10(e): upstream approximates log only.
struct ExpandLog10 : OpRewritePattern<math::Log10Op> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(math::Log10Op op,
                                PatternRewriter &rewriter) const override {
    if (!getElementTypeOrSelf(op.getType()).isF32())
      return rewriter.notifyMatchFailure(op, "not f32");
    FloatBuilder f(rewriter, op.getLoc(), op.getType());
    Value log = math::LogOp::create(rewriter, op.getLoc(), op.getOperand());
    rewriter.replaceOp(op, f.mul(log, f.constant(0.434294482f)));
    return success();
  }
};

/// Half away from zero: upstream's expansion rounds the number below one half
/// up, and the instruction rounds halves to even.
struct ExpandRound : OpRewritePattern<math::RoundOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(math::RoundOp op,
                                PatternRewriter &rewriter) const override {
    if (!getElementTypeOrSelf(op.getType()).isF32())
      return rewriter.notifyMatchFailure(op, "not f32");
    Location loc = op.getLoc();
    FloatBuilder f(rewriter, loc, op.getType());
    Value x = op.getOperand();
    Value whole = math::TruncOp::create(rewriter, loc, x);
    Value rest = math::AbsFOp::create(
        rewriter, loc, arith::SubFOp::create(rewriter, loc, x, whole));
    Value one = math::CopySignOp::create(rewriter, loc, f.constant(1.0f), x);
    Value away = arith::AddFOp::create(rewriter, loc, whole, one);
    Value result = f.select(arith::CmpFPredicate::OGE, rest, f.constant(0.5f),
                            away, whole);
    rewriter.replaceOp(op, result);
    return success();
  }
};

/// The kinds of numbers are comparisons; a narrow number is compared with the
/// limits of its own type.
struct ExpandClass : RewritePattern {
  explicit ExpandClass(MLIRContext *context)
      : RewritePattern(MatchAnyOpTypeTag(), /*benefit=*/3, context) {}

  LogicalResult matchAndRewrite(Operation *op,
                                PatternRewriter &rewriter) const override {
    if (!isa<math::IsFiniteOp, math::IsInfOp, math::IsNaNOp, math::IsNormalOp>(
            op))
      return rewriter.notifyMatchFailure(op, "asks for no kind of number");
    Value x = op->getOperand(0);
    auto type = dyn_cast<FloatType>(getElementTypeOrSelf(x.getType()));
    if (!type || (!type.isF32() && !isNarrow(type)))
      return rewriter.notifyMatchFailure(op, "not f32, bf16 or f16");
    Location loc = op->getLoc();
    FloatBuilder f(rewriter, loc, x.getType());
    if (isNarrow(type))
      x = arith::ExtFOp::create(rewriter, loc, f.type, x);
    using P = arith::CmpFPredicate;
    auto is = [&](P predicate, Value lhs, Value rhs) -> Value {
      return arith::CmpFOp::create(rewriter, loc, predicate, lhs, rhs);
    };
    Value size = math::AbsFOp::create(rewriter, loc, x);
    Value infinity = f.constant(std::numeric_limits<float>::infinity());
    Value result;
    if (isa<math::IsNaNOp>(op)) {
      result = is(P::UNO, x, x);
    } else if (isa<math::IsInfOp>(op)) {
      result = is(P::OEQ, size, infinity);
    } else {
      result = is(P::OLT, size, infinity);
      if (isa<math::IsNormalOp>(op)) {
        APFloat least =
            APFloat::getSmallestNormalized(type.getFloatSemantics());
        Value limit = f.constant(float(least.convertToDouble()));
        result = arith::AndIOp::create(rewriter, loc, result,
                                       is(P::OGE, size, limit));
      }
    }
    rewriter.replaceOp(op, result);
    return success();
  }
};

/// vector.fma lowers to an LLVM intrinsic that may or may not fuse.
struct FuseVectorFma : OpRewritePattern<vector::FMAOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(vector::FMAOp op,
                                PatternRewriter &rewriter) const override {
    rewriter.replaceOpWithNewOp<math::FmaOp>(op, op.getLhs(), op.getRhs(),
                                             op.getAcc());
    return success();
  }
};

struct ExpandMath : public moe::impl::ExpandMathPassBase<ExpandMath> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<ExpandExp, ExpandExtF, ExpandLog, ExpandLog10, ExpandRound,
                 ExpandTruncF, FuseVectorFma>(&getContext());
    patterns.add<ExpandClass, WidenNarrow>(&getContext());
    arith::populateCeilFloorDivExpandOpsPatterns(patterns);
    math::populateExpansionPatterns(
        patterns, {"acosh", "asinh", "atanh", "clampf", "cosh", "exp2", "fpowi",
                   "powf", "rsqrt", "sinh", "tan"});
    populateMathPolynomialApproximationPatterns(patterns, [](StringRef name) {
      return name != math::ExpOp::getOperationName() &&
             name != math::LogOp::getOperationName();
    });
    FrozenRewritePatternSet frozen(std::move(patterns));
    SmallVector<func::FuncOp> funcs;
    getOperation().walk([&](func::FuncOp func) { funcs.push_back(func); });
    for (func::FuncOp func : funcs) {
      (void)applyPatternsGreedily(func, frozen);
      auto result = func.walk([&](Operation *op) { return check(op); });
      if (result.wasInterrupted())
        return signalPassFailure();
    }
  }

  static WalkResult check(Operation *op) {
    if (isa_and_nonnull<math::MathDialect>(op->getDialect()) &&
        !isa<math::AbsFOp, math::AbsIOp, math::CeilOp, math::CopySignOp,
             math::CountLeadingZerosOp, math::CountTrailingZerosOp,
             math::CtPopOp, math::FloorOp, math::FmaOp, math::RoundEvenOp,
             math::SqrtOp, math::TruncOp>(op)) {
      op->emitError("no expansion of '")
          << op->getName() << "' on " << op->getResult(0).getType()
          << ": it would call a math library";
      return WalkResult::interrupt();
    }
    if (isa<arith::RemFOp>(op)) {
      op->emitError("no expansion of 'arith.remf': it would call a math "
                    "library");
      return WalkResult::interrupt();
    }
    auto isWide = [](Value value) {
      return getElementTypeOrSelf(value.getType()).isF32();
    };
    bool converts = isa<arith::ExtFOp, arith::TruncFOp>(op) &&
                    (isNarrow(op->getOperand(0).getType()) ||
                     isNarrow(op->getResult(0).getType()));
    if (converts && !isWide(op->getOperand(0)) && !isWide(op->getResult(0))) {
      op->emitError("no expansion of '")
          << op->getName() << "' from " << op->getOperand(0).getType() << " to "
          << op->getResult(0).getType() << ": it would call a math library";
      return WalkResult::interrupt();
    }
    return WalkResult::advance();
  }
};
} // namespace
