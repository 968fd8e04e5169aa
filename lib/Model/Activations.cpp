//===- Activations.cpp - The activation functions of experts --------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ImportedModel.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::model;

static Value constant(OpBuilder &builder, Location loc, double value) {
  return arith::ConstantOp::create(builder, loc,
                                   builder.getF32FloatAttr(value));
}

Value model::buildSigmoid(OpBuilder &builder, Location loc, Value x) {
  Value negated = arith::NegFOp::create(builder, loc, x);
  Value exp = math::ExpOp::create(builder, loc, negated);
  Value one = constant(builder, loc, 1.0);
  Value sum = arith::AddFOp::create(builder, loc, exp, one);
  return arith::DivFOp::create(builder, loc, one, sum);
}

static Value buildSilu(OpBuilder &builder, Location loc, Value x) {
  return arith::MulFOp::create(builder, loc, x, buildSigmoid(builder, loc, x));
}

/// x / 2 * (1 + inner), the frame of both forms of gelu.
static Value buildGeluFrame(OpBuilder &builder, Location loc, Value x,
                            Value inner) {
  Value half =
      arith::MulFOp::create(builder, loc, x, constant(builder, loc, 0.5));
  Value sum =
      arith::AddFOp::create(builder, loc, inner, constant(builder, loc, 1.0));
  return arith::MulFOp::create(builder, loc, half, sum);
}

static Value buildGeluErf(OpBuilder &builder, Location loc, Value x) {
  Value scaled = arith::MulFOp::create(
      builder, loc, x, constant(builder, loc, 0.70710678118654752));
  return buildGeluFrame(builder, loc, x,
                        math::ErfOp::create(builder, loc, scaled));
}

/// gelu with tanh(sqrt(2 / pi) * (x + 0.044715 x^3)).
static Value buildGeluTanh(OpBuilder &builder, Location loc, Value x) {
  Value square = arith::MulFOp::create(builder, loc, x, x);
  Value cube = arith::MulFOp::create(builder, loc, square, x);
  Value term = arith::MulFOp::create(builder, loc, cube,
                                     constant(builder, loc, 0.044715));
  Value sum = arith::AddFOp::create(builder, loc, x, term);
  Value scaled = arith::MulFOp::create(
      builder, loc, sum, constant(builder, loc, 0.79788456080286536));
  return buildGeluFrame(builder, loc, x,
                        math::TanhOp::create(builder, loc, scaled));
}

static Value buildRelu(OpBuilder &builder, Location loc, Value x) {
  return arith::MaximumFOp::create(builder, loc, x,
                                   constant(builder, loc, 0.0));
}

Value model::buildClamped(OpBuilder &builder, Location loc, Value gate,
                          Value up, double alpha, double limit) {
  Value high = constant(builder, loc, limit);
  Value low = constant(builder, loc, -limit);
  gate = arith::MinimumFOp::create(builder, loc, gate, high);
  up = arith::MinimumFOp::create(builder, loc, up, high);
  up = arith::MaximumFOp::create(builder, loc, up, low);
  Value steep =
      arith::MulFOp::create(builder, loc, gate, constant(builder, loc, alpha));
  Value active = arith::MulFOp::create(builder, loc, gate,
                                       buildSigmoid(builder, loc, steep));
  Value shifted =
      arith::AddFOp::create(builder, loc, up, constant(builder, loc, 1.0));
  return arith::MulFOp::create(builder, loc, active, shifted);
}

ArrayRef<Activation> model::getActivations() {
  static const Activation table[] = {
      {{"silu", "swish"}, buildSilu},
      {{"gelu"}, buildGeluErf},
      {{"gelu_pytorch_tanh", "gelu_new"}, buildGeluTanh},
      {{"relu"}, buildRelu}};
  return table;
}

const Activation *model::findActivation(StringRef name) {
  for (const Activation &activation : getActivations())
    if (llvm::is_contained(activation.names, name))
      return &activation;
  return nullptr;
}
