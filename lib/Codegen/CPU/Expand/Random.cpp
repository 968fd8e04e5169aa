//===- Random.cpp - Expansion of moe.kernel.random ------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// docs/Numerics.md, "Random numbers": a hash of the element's place, and f32
// arithmetic on it without any contraction but the fma that are written.
//
//===----------------------------------------------------------------------===//

#include "Lanes.h"
#include "moe/Codegen/CPU/KernelExpansion.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::cpu;

namespace {

/// Emits the numbers of one distribution.
class RandomNumbers {
public:
  RandomNumbers(KernelRandomOp op, ImplicitLocOpBuilder &b) : op(op), b(b) {}

  /// The number of element `place`, i64, for the seed, i64.
  Value emit(Value seed, Value place);

private:
  Value i64Constant(uint64_t value) {
    return arith::ConstantOp::create(
        b, b.getI64IntegerAttr(static_cast<int64_t>(value)));
  }
  /// h, i64.
  Value emitHash(Value seed, Value place);
  /// (z ^ (z >> shift)).
  Value foldShifted(Value z, int64_t shift) {
    Value upper = arith::ShRUIOp::create(b, z, i64Constant(shift));
    return arith::XOrIOp::create(b, z, upper);
  }
  /// The upper bits of h from `shift` on, as f32; few enough to be exact.
  Value upperBits(Value h, int64_t shift) {
    Value bits = arith::ShRUIOp::create(b, h, i64Constant(shift));
    return arith::SIToFPOp::create(b, b.getF32Type(), bits);
  }
  Value multiply(Value x, float y) {
    return arith::MulFOp::create(b, x, f32Constant(b, y));
  }
  Value log(Value x) { return math::LogOp::create(b, x); }
  Value negative(Value x) { return arith::NegFOp::create(b, x); }
  Value compare(arith::CmpFPredicate predicate, Value x, float y) {
    return arith::CmpFOp::create(b, predicate, x, f32Constant(b, y));
  }
  /// The polynomial with these coefficients, highest power first.
  Value horner(ArrayRef<double> coefficients, Value x);
  Value emitNormal(Value p);

  KernelRandomOp op;
  ImplicitLocOpBuilder &b;
};

} // namespace

Value RandomNumbers::emitHash(Value seed, Value place) {
  constexpr uint64_t kStep = 0x9E3779B97F4A7C15;
  Value counter = arith::AddIOp::create(
      b, place, i64Constant((uint64_t(op.getStream()) << 48) + 1));
  Value z = arith::AddIOp::create(
      b, seed, arith::MulIOp::create(b, counter, i64Constant(kStep)));
  z = arith::MulIOp::create(b, foldShifted(z, 30),
                            i64Constant(0xBF58476D1CE4E5B9));
  z = arith::MulIOp::create(b, foldShifted(z, 27),
                            i64Constant(0x94D049BB133111EB));
  return foldShifted(z, 31);
}

Value RandomNumbers::horner(ArrayRef<double> coefficients, Value x) {
  Value result = f32Constant(b, static_cast<float>(coefficients.front()));
  for (double c : coefficients.drop_front())
    result = math::FmaOp::create(b, result, x,
                                 f32Constant(b, static_cast<float>(c)));
  return result;
}

Value RandomNumbers::emitNormal(Value p) {
  constexpr double kA[] = {-3.969683028665376e+01, 2.209460984245205e+02,
                           -2.759285104469687e+02, 1.383577518672690e+02,
                           -3.066479806614716e+01, 2.506628277459239e+00};
  constexpr double kB[] = {-5.447609879822406e+01, 1.615858368580409e+02,
                           -1.556989798598866e+02, 6.680131188771972e+01,
                           -1.328068155288572e+01, 1};
  constexpr double kC[] = {-7.784894002430293e-03, -3.223964580411365e-01,
                           -2.400758277161838e+00, -2.549732539343734e+00,
                           4.374664141464968e+00,  2.938163982698783e+00};
  constexpr double kD[] = {7.784695709041462e-03, 3.224671290700398e-01,
                           2.445134137142996e+00, 3.754408661907416e+00, 1};
  constexpr float kLow = 0.02425f, kHigh = 1.0f - kLow;
  Value isLow = compare(arith::CmpFPredicate::OLT, p, kLow);
  Value isHigh = compare(arith::CmpFPredicate::OGT, p, kHigh);

  // Both tails at once: they differ in the argument and the sign.
  Value rest = arith::SubFOp::create(b, f32Constant(b, 1.0f), p);
  Value tail = arith::SelectOp::create(b, isLow, p, rest);
  Value q = math::SqrtOp::create(b, multiply(log(tail), -2.0f));
  Value numerator = horner(kC, q);
  numerator =
      arith::SelectOp::create(b, isHigh, negative(numerator), numerator);
  Value outside = arith::DivFOp::create(b, numerator, horner(kD, q));

  Value center = arith::SubFOp::create(b, p, f32Constant(b, 0.5f));
  Value r = arith::MulFOp::create(b, center, center);
  Value inside = arith::DivFOp::create(
      b, arith::MulFOp::create(b, horner(kA, r), center), horner(kB, r));
  Value isTail = arith::OrIOp::create(b, isLow, isHigh);
  return arith::SelectOp::create(b, isTail, outside, inside);
}

Value RandomNumbers::emit(Value seed, Value place) {
  Value h = emitHash(seed, place);
  if (op.getDistribution() == Distribution::Uniform)
    return multiply(upperBits(h, 40), 0x1p-24f);
  Value middle =
      arith::AddFOp::create(b, upperBits(h, 41), f32Constant(b, 0.5f));
  Value p = multiply(middle, 0x1p-23f);
  if (op.getDistribution() == Distribution::Normal)
    return emitNormal(p);
  return negative(log(negative(log(p))));
}

LogicalResult mlir::moe::cpu::expandRandom(KernelRandomOp op,
                                           KernelContext &ctx) {
  ImplicitLocOpBuilder b(ctx.loc, ctx.b);
  Value zero = indexConstant(b, 0);
  Value seed = memref::LoadOp::create(b, op.getSeed(), zero);
  auto [begin, end] = ctx.splitRange(op.getTokens());
  forRange(b, multiplyAdd(b, begin, op.getColumns(), zero),
           multiplyAdd(b, end, op.getColumns(), zero), 1,
           [&](ImplicitLocOpBuilder &b, Value at) {
             Value place = arith::IndexCastOp::create(b, b.getI64Type(), at);
             Value number = RandomNumbers(op, b).emit(seed, place);
             memref::StoreOp::create(b, number, op.getOut(), at);
           });
  return success();
}
