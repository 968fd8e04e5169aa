//===- ScalarOps.cpp - Arithmetic on one element --------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ScalarProgram.h"
#include "moe/Reference/Router.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/ADT/bit.h"

#include <cmath>

using namespace mlir;
using namespace mlir::moe::reference;

static Scalar ofFloat(double value) {
  Scalar scalar;
  scalar.f = value;
  return scalar;
}

static Scalar ofInt(int64_t value) {
  Scalar scalar;
  scalar.i = value;
  return scalar;
}

static Scalar ofBool(bool value) { return ofInt(value ? -1 : 0); }

static Type resultElement(Operation *op) {
  return getElementTypeOrSelf(op->getResult(0).getType());
}

/// Rounds to types narrower than f32; see Tensor.h. Where f32 is single, this
/// is done by getScalarFunction.
template <typename FnT> static ScalarFunction floatOp(Operation *op, FnT fn) {
  Type type = resultElement(op);
  if (type.isF32() || type.isF64())
    return [fn](const Scalar *x, const char *&) { return ofFloat(fn(x)); };
  return [fn, type](const Scalar *x, const char *&) {
    return ofFloat(roundToType(fn(x), type));
  };
}

template <typename FnT> static ScalarFunction intOp(Operation *op, FnT fn) {
  Type type = resultElement(op);
  return [fn, type](const Scalar *x, const char *&) {
    return ofInt(wrapToType(fn(x), type));
  };
}

static ScalarFunction unary(Operation *op, double (*fn)(double)) {
  return floatOp(op, [fn](const Scalar *x) { return fn(x[0].f); });
}

/// The value of an integer of `width` bits read as unsigned.
static uint64_t zeroExtend(int64_t value, unsigned width) {
  return width >= 64 ? value : value & ((uint64_t(1) << width) - 1);
}

static unsigned widthOf(Value value) {
  Type type = getElementTypeOrSelf(value.getType());
  return type.isIndex() ? 64 : type.getIntOrFloatBitWidth();
}

static double minimum(double a, double b) {
  if (std::isnan(a) || std::isnan(b))
    return NAN;
  return a < b || (a == b && std::signbit(a)) ? a : b;
}
static double maximum(double a, double b) {
  if (std::isnan(a) || std::isnan(b))
    return NAN;
  return a > b || (a == b && !std::signbit(a)) ? a : b;
}

/// The other operand when one is NaN.
static double minimumNumber(double a, double b) {
  return std::isnan(a) ? b : std::isnan(b) ? a : minimum(a, b);
}
static double maximumNumber(double a, double b) {
  return std::isnan(a) ? b : std::isnan(b) ? a : maximum(a, b);
}

static bool compareFloats(arith::CmpFPredicate predicate, double a, double b) {
  using P = arith::CmpFPredicate;
  bool unordered = std::isnan(a) || std::isnan(b);
  switch (predicate) {
  case P::AlwaysFalse:
    return false;
  case P::OEQ:
    return a == b;
  case P::OGT:
    return a > b;
  case P::OGE:
    return a >= b;
  case P::OLT:
    return a < b;
  case P::OLE:
    return a <= b;
  case P::ONE:
    return !unordered && a != b;
  case P::ORD:
    return !unordered;
  case P::UEQ:
    return unordered || a == b;
  case P::UGT:
    return unordered || a > b;
  case P::UGE:
    return unordered || a >= b;
  case P::ULT:
    return unordered || a < b;
  case P::ULE:
    return unordered || a <= b;
  case P::UNE:
    return unordered || a != b;
  case P::UNO:
    return unordered;
  case P::AlwaysTrue:
    return true;
  }
  llvm_unreachable("unknown predicate");
}

static bool compareInts(arith::CmpIPredicate predicate, int64_t a, int64_t b,
                        unsigned width) {
  using P = arith::CmpIPredicate;
  uint64_t ua = zeroExtend(a, width), ub = zeroExtend(b, width);
  switch (predicate) {
  case P::eq:
    return a == b;
  case P::ne:
    return a != b;
  case P::slt:
    return a < b;
  case P::sle:
    return a <= b;
  case P::sgt:
    return a > b;
  case P::sge:
    return a >= b;
  case P::ult:
    return ua < ub;
  case P::ule:
    return ua <= ub;
  case P::ugt:
    return ua > ub;
  case P::uge:
    return ua >= ub;
  }
  llvm_unreachable("unknown predicate");
}

/// Division and remainder, which have no result for some operands.
static ScalarFunction divisionOp(Operation *op, bool isSigned,
                                 int64_t (*fn)(int64_t, int64_t)) {
  Type type = resultElement(op);
  unsigned width = widthOf(op->getResult(0));
  int64_t least = wrapToType(int64_t(1) << (width - 1), type);
  return [=](const Scalar *x, const char *&error) {
    if (x[1].i == 0)
      error = "divides by zero";
    else if (isSigned && x[0].i == least && x[1].i == -1)
      error = "overflows";
    if (error)
      return ofInt(0);
    if (isSigned)
      return ofInt(wrapToType(fn(x[0].i, x[1].i), type));
    return ofInt(wrapToType(
        fn(zeroExtend(x[0].i, width), zeroExtend(x[1].i, width)), type));
  };
}

/// Shifts, which have no result when they shift too far.
static ScalarFunction shiftOp(Operation *op, int64_t (*fn)(int64_t, int64_t),
                              bool isUnsigned) {
  Type type = resultElement(op);
  unsigned width = widthOf(op->getResult(0));
  return [=](const Scalar *x, const char *&error) {
    if (x[1].i < 0 || x[1].i >= width) {
      error = "shifts by the width of the type or more";
      return ofInt(0);
    }
    int64_t value = isUnsigned ? zeroExtend(x[0].i, width) : x[0].i;
    return ofInt(wrapToType(fn(value, x[1].i), type));
  };
}

static ScalarFunction floatToInt(Operation *op, bool isUnsigned) {
  Type type = resultElement(op);
  unsigned width = widthOf(op->getResult(0));
  double low = isUnsigned ? -1 : -std::ldexp(1.0, width - 1) - 1;
  double high = std::ldexp(1.0, isUnsigned ? width : width - 1);
  return [=](const Scalar *x, const char *&error) {
    if (!(x[0].f > low && x[0].f < high)) {
      error = "converts a float outside the range of the integer type";
      return ofInt(0);
    }
    return ofInt(
        wrapToType(isUnsigned && x[0].f >= 0x1p63
                       ? static_cast<int64_t>(static_cast<uint64_t>(x[0].f))
                       : static_cast<int64_t>(x[0].f),
                   type));
  };
}

/// The bits of a float in its own type.
static int64_t toBits(double value, Type type) {
  APFloat number(value);
  bool losesInfo;
  number.convert(cast<FloatType>(type).getFloatSemantics(),
                 APFloat::rmNearestTiesToEven, &losesInfo);
  return number.bitcastToAPInt().getSExtValue();
}

static double fromBits(int64_t bits, Type type) {
  const llvm::fltSemantics &semantics =
      cast<FloatType>(type).getFloatSemantics();
  APFloat number(semantics, APInt(APFloat::getSizeInBits(semantics), bits,
                                  /*isSigned=*/true));
  bool losesInfo;
  number.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven,
                 &losesInfo);
  return number.convertToDouble();
}

static ScalarFunction bitcastOp(arith::BitcastOp op) {
  Type from = getElementTypeOrSelf(op.getIn().getType()),
       to = getElementTypeOrSelf(op.getType());
  return [from, to](const Scalar *x, const char *&) {
    int64_t bits = isa<FloatType>(from) ? toBits(x[0].f, from) : x[0].i;
    return isa<FloatType>(to) ? ofFloat(fromBits(bits, to)) : ofInt(bits);
  };
}

static ScalarFunction getArithFloat(Operation *op) {
  using F = ScalarFunction;
  return llvm::TypeSwitch<Operation *, F>(op)
      .Case([](arith::AddFOp op) -> F {
        return floatOp(op, [](const Scalar *x) { return x[0].f + x[1].f; });
      })
      .Case([](arith::SubFOp op) -> F {
        return floatOp(op, [](const Scalar *x) { return x[0].f - x[1].f; });
      })
      .Case([](arith::MulFOp op) -> F {
        return floatOp(op, [](const Scalar *x) { return x[0].f * x[1].f; });
      })
      .Case([](arith::DivFOp op) -> F {
        return floatOp(op, [](const Scalar *x) { return x[0].f / x[1].f; });
      })
      .Case([](arith::RemFOp op) -> F {
        return floatOp(
            op, [](const Scalar *x) { return std::fmod(x[0].f, x[1].f); });
      })
      .Case([](arith::NegFOp op) -> F {
        return floatOp(op, [](const Scalar *x) { return -x[0].f; });
      })
      .Case([](arith::MinimumFOp op) -> F {
        return floatOp(op,
                       [](const Scalar *x) { return minimum(x[0].f, x[1].f); });
      })
      .Case([](arith::MaximumFOp op) -> F {
        return floatOp(op,
                       [](const Scalar *x) { return maximum(x[0].f, x[1].f); });
      })
      .Case([](arith::MinNumFOp op) -> F {
        return floatOp(
            op, [](const Scalar *x) { return minimumNumber(x[0].f, x[1].f); });
      })
      .Case([](arith::MaxNumFOp op) -> F {
        return floatOp(
            op, [](const Scalar *x) { return maximumNumber(x[0].f, x[1].f); });
      })
      .Case([](arith::CmpFOp op) -> F {
        return [p = op.getPredicate()](const Scalar *x, const char *&) {
          return ofBool(compareFloats(p, x[0].f, x[1].f));
        };
      })
      .Case<arith::ExtFOp, arith::TruncFOp>([](auto op) -> F {
        // A value of type f32 has f64 precision; truncation to f32 rounds.
        return [type = resultElement(op),
                narrows = isa<arith::TruncFOp>(op.getOperation())](
                   const Scalar *x, const char *&) {
          return narrows ? ofFloat(roundToType(x[0].f, type)) : x[0];
        };
      })
      .Case([](arith::SIToFPOp op) -> F {
        return floatOp(op, [](const Scalar *x) -> double { return x[0].i; });
      })
      .Case([](arith::UIToFPOp op) -> F {
        return floatOp(
            op, [width = widthOf(op.getIn())](const Scalar *x) -> double {
              return zeroExtend(x[0].i, width);
            });
      })
      .Case([](arith::FPToSIOp op) -> F { return floatToInt(op, false); })
      .Case([](arith::FPToUIOp op) -> F { return floatToInt(op, true); })
      .Case([](arith::BitcastOp op) -> F { return bitcastOp(op); })
      .Default(F());
}

static ScalarFunction getArithInt(Operation *op) {
  using F = ScalarFunction;
  return llvm::TypeSwitch<Operation *, F>(op)
      .Case([](arith::AddIOp op) -> F {
        return intOp(op, [](const Scalar *x) -> int64_t {
          return uint64_t(x[0].i) + uint64_t(x[1].i);
        });
      })
      .Case([](arith::SubIOp op) -> F {
        return intOp(op, [](const Scalar *x) -> int64_t {
          return uint64_t(x[0].i) - uint64_t(x[1].i);
        });
      })
      .Case([](arith::MulIOp op) -> F {
        return intOp(op, [](const Scalar *x) -> int64_t {
          return uint64_t(x[0].i) * uint64_t(x[1].i);
        });
      })
      .Case([](arith::DivSIOp op) -> F {
        return divisionOp(op, true, [](int64_t a, int64_t b) { return a / b; });
      })
      .Case([](arith::RemSIOp op) -> F {
        return divisionOp(op, true, [](int64_t a, int64_t b) { return a % b; });
      })
      .Case([](arith::DivUIOp op) -> F {
        return divisionOp(op, false, [](int64_t a, int64_t b) -> int64_t {
          return uint64_t(a) / uint64_t(b);
        });
      })
      .Case([](arith::RemUIOp op) -> F {
        return divisionOp(op, false, [](int64_t a, int64_t b) -> int64_t {
          return uint64_t(a) % uint64_t(b);
        });
      })
      .Case([](arith::CeilDivSIOp op) -> F {
        return divisionOp(op, true, [](int64_t a, int64_t b) {
          return a / b + (a % b != 0 && (a < 0) == (b < 0));
        });
      })
      .Case([](arith::FloorDivSIOp op) -> F {
        return divisionOp(op, true, [](int64_t a, int64_t b) {
          return a / b - (a % b != 0 && (a < 0) != (b < 0));
        });
      })
      .Case([](arith::CeilDivUIOp op) -> F {
        return divisionOp(op, false, [](int64_t a, int64_t b) -> int64_t {
          return uint64_t(a) / uint64_t(b) + (uint64_t(a) % uint64_t(b) != 0);
        });
      })
      .Case([](arith::AndIOp op) -> F {
        return intOp(op, [](const Scalar *x) { return x[0].i & x[1].i; });
      })
      .Case([](arith::OrIOp op) -> F {
        return intOp(op, [](const Scalar *x) { return x[0].i | x[1].i; });
      })
      .Case([](arith::XOrIOp op) -> F {
        return intOp(op, [](const Scalar *x) { return x[0].i ^ x[1].i; });
      })
      .Case([](arith::MinSIOp op) -> F {
        return intOp(op,
                     [](const Scalar *x) { return std::min(x[0].i, x[1].i); });
      })
      .Case([](arith::MaxSIOp op) -> F {
        return intOp(op,
                     [](const Scalar *x) { return std::max(x[0].i, x[1].i); });
      })
      .Case([](arith::MinUIOp op) -> F {
        return intOp(
            op, [w = widthOf(op.getLhs())](const Scalar *x) -> int64_t {
              return std::min(zeroExtend(x[0].i, w), zeroExtend(x[1].i, w));
            });
      })
      .Case([](arith::MaxUIOp op) -> F {
        return intOp(
            op, [w = widthOf(op.getLhs())](const Scalar *x) -> int64_t {
              return std::max(zeroExtend(x[0].i, w), zeroExtend(x[1].i, w));
            });
      })
      .Case([](arith::ShLIOp op) -> F {
        return shiftOp(
            op,
            [](int64_t a, int64_t n) -> int64_t { return uint64_t(a) << n; },
            false);
      })
      .Case([](arith::ShRSIOp op) -> F {
        return shiftOp(op, [](int64_t a, int64_t n) { return a >> n; }, false);
      })
      .Case([](arith::ShRUIOp op) -> F {
        return shiftOp(
            op,
            [](int64_t a, int64_t n) -> int64_t { return uint64_t(a) >> n; },
            true);
      })
      .Case([](arith::CmpIOp op) -> F {
        return [p = op.getPredicate(),
                w = widthOf(op.getLhs())](const Scalar *x, const char *&) {
          return ofBool(compareInts(p, x[0].i, x[1].i, w));
        };
      })
      .Case<arith::IndexCastOp, arith::TruncIOp, arith::ExtSIOp>(
          [](auto op) -> F {
            return intOp(op, [](const Scalar *x) { return x[0].i; });
          })
      .Case<arith::IndexCastUIOp, arith::ExtUIOp>([](auto op) -> F {
        return intOp(op, [w = widthOf(op.getIn())](const Scalar *x) -> int64_t {
          return zeroExtend(x[0].i, w);
        });
      })
      .Case([](arith::SelectOp) -> F {
        return
            [](const Scalar *x, const char *&) { return x[0].i ? x[1] : x[2]; };
      })
      .Case([](math::AbsIOp op) -> F {
        return intOp(op, [](const Scalar *x) { return std::abs(x[0].i); });
      })
      .Default(F());
}

static double reciprocalRoot(double x) { return 1 / std::sqrt(x); }

static ScalarFunction getMath(Operation *op) {
  using F = ScalarFunction;
  return llvm::TypeSwitch<Operation *, F>(op)
      .Case([](math::ExpOp op) { return unary(op, std::exp); })
      .Case([](math::Exp2Op op) { return unary(op, std::exp2); })
      .Case([](math::ExpM1Op op) { return unary(op, std::expm1); })
      .Case([](math::LogOp op) { return unary(op, std::log); })
      .Case([](math::Log2Op op) { return unary(op, std::log2); })
      .Case([](math::Log10Op op) { return unary(op, std::log10); })
      .Case([](math::Log1pOp op) { return unary(op, std::log1p); })
      .Case([](math::TanhOp op) { return unary(op, std::tanh); })
      .Case([](math::ErfOp op) { return unary(op, std::erf); })
      .Case([](math::SinOp op) { return unary(op, std::sin); })
      .Case([](math::CosOp op) { return unary(op, std::cos); })
      .Case([](math::SqrtOp op) { return unary(op, std::sqrt); })
      .Case([](math::RsqrtOp op) { return unary(op, reciprocalRoot); })
      .Case([](math::CbrtOp op) { return unary(op, std::cbrt); })
      .Case([](math::AbsFOp op) { return unary(op, std::fabs); })
      .Case([](math::CeilOp op) { return unary(op, std::ceil); })
      .Case([](math::FloorOp op) { return unary(op, std::floor); })
      .Case([](math::TruncOp op) { return unary(op, std::trunc); })
      .Case([](math::RoundOp op) { return unary(op, std::round); })
      .Case([](math::RoundEvenOp op) { return unary(op, std::nearbyint); })
      .Case([](math::PowFOp op) -> F {
        return floatOp(
            op, [](const Scalar *x) { return std::pow(x[0].f, x[1].f); });
      })
      .Case([](math::CopySignOp op) -> F {
        return floatOp(
            op, [](const Scalar *x) { return std::copysign(x[0].f, x[1].f); });
      })
      .Case([](math::FmaOp op) -> F {
        return floatOp(op, [](const Scalar *x) {
          return std::fma(x[0].f, x[1].f, x[2].f);
        });
      })
      .Default(F());
}

/// "Router arithmetic" of docs/Numerics.md: functions that f64 arithmetic
/// followed by one rounding does not give.
static ScalarFunction getSingle(Operation *op) {
  using F = ScalarFunction;
  auto unary = [](float (*fn)(float)) -> F {
    return [fn](const Scalar *x, const char *&) {
      return ofFloat(fn(static_cast<float>(x[0].f)));
    };
  };
  return llvm::TypeSwitch<Operation *, F>(op)
      .Case([&](math::ExpOp) { return unary(routerExp); })
      .Case([&](math::LogOp) { return unary(routerLog); })
      .Case([](math::FmaOp) -> F {
        return [](const Scalar *x, const char *&) {
          return ofFloat(std::fma(static_cast<float>(x[0].f),
                                  static_cast<float>(x[1].f),
                                  static_cast<float>(x[2].f)));
        };
      })
      .Default(F());
}

ScalarFunction mlir::moe::reference::getScalarFunction(Operation *op,
                                                       Precision precision) {
  bool isSingle = precision == Precision::F32 && resultElement(op).isF32();
  if (isSingle)
    if (ScalarFunction function = getSingle(op))
      return function;
  ScalarFunction function = getArithFloat(op);
  if (!function)
    function = getArithInt(op);
  if (!function)
    function = getMath(op);
  // f64 has enough bits for +, -, *, / and sqrt of f32 to be rounded once.
  if (!isSingle || !function || isa<arith::SelectOp>(op))
    return function;
  return [function = std::move(function)](const Scalar *x, const char *&error) {
    return ofFloat(static_cast<float>(function(x, error).f));
  };
}

LogicalResult mlir::moe::reference::runElementwiseOp(Operation *op,
                                                     Frame &frame) {
  if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
    Type type = getElementTypeOrSelf(constant.getType());
    auto elements = dyn_cast<DenseElementsAttr>(constant.getValue());
    if (auto number = dyn_cast<FloatAttr>(constant.getValue()))
      return frame.set(op, constant, ofFloat(number.getValueAsDouble()));
    if (auto number = dyn_cast<IntegerAttr>(constant.getValue()))
      return frame.set(op, constant, ofInt(number.getValue().getSExtValue()));
    if (!elements || !(isa<FloatType>(type) || type.isIntOrIndex()))
      return op->emitOpError("has a value that the interpreter cannot read");
    SmallVector<Scalar> values;
    if (isa<FloatType>(type))
      for (const APFloat &value : elements.getValues<APFloat>())
        values.push_back(ofFloat(FloatAttr::getValueAsDouble(value)));
    else
      for (const APInt &value : elements.getValues<APInt>())
        values.push_back(ofInt(value.getSExtValue()));
    return frame.set(
        op, constant,
        Tensor::ofScalars(type, elements.getType().getShape(), values));
  }

  ScalarFunction function = getScalarFunction(op, Precision::F32);
  if (!function)
    return emitUnknown(op);
  Scalar operands[8];
  const char *error = nullptr;
  if (!isa<ShapedType>(op->getResult(0).getType())) {
    for (auto [i, operand] : llvm::enumerate(op->getOperands()))
      operands[i] = frame.getScalar(operand);
    Scalar result = function(operands, error);
    if (error)
      return op->emitOpError(error);
    return frame.set(op, op->getResult(0), result);
  }

  // On tensors: every tensor operand has the shape of the result; a scalar
  // operand (the condition of a select) holds for all elements.
  SmallVector<Tensor, 3> tensors(op->getNumOperands());
  SmallVector<int64_t> shape;
  for (auto [i, operand] : llvm::enumerate(op->getOperands())) {
    if (!isa<ShapedType>(operand.getType())) {
      operands[i] = frame.getScalar(operand);
      continue;
    }
    FailureOr<Tensor> tensor = frame.read(op, operand);
    if (failed(tensor))
      return failure();
    tensors[i] = *tensor;
    if (!shape.empty() && ArrayRef<int64_t>(shape) != tensor->getShape())
      return op->emitOpError("has operands of different shapes");
    shape.assign(tensor->getShape().begin(), tensor->getShape().end());
  }
  SmallVector<Scalar> results(ShapedType::getNumElements(shape));
  for (int64_t e = 0, n = results.size(); e < n; ++e) {
    for (auto [i, operand] : llvm::enumerate(op->getOperands()))
      if (isa<ShapedType>(operand.getType()))
        operands[i] = tensors[i].getScalar(e);
    results[e] = function(operands, error);
    if (error)
      return op->emitOpError(error);
  }
  return frame.set(op, op->getResult(0),
                   Tensor::ofScalars(resultElement(op), shape, results));
}
