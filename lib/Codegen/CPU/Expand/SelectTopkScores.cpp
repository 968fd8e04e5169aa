//===- SelectTopkScores.cpp - From router logits to scores ----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SelectTopk.h"

#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::cpu;

Value cpu::emitSigmoid(ImplicitLocOpBuilder &b, Value x) {
  Value one = constantLike(b, x, 1.0f);
  Value e = math::ExpOp::create(b, arith::NegFOp::create(b, x));
  return arith::DivFOp::create(b, one, arith::AddFOp::create(b, one, e));
}

Value cpu::emitSqrtSoftplus(ImplicitLocOpBuilder &b, Value x) {
  Value zero = constantLike(b, x, 0.0f), one = constantLike(b, x, 1.0f);
  Value size = math::AbsFOp::create(b, x);
  Value e = math::ExpOp::create(b, arith::NegFOp::create(b, size));
  Value log = math::LogOp::create(b, arith::AddFOp::create(b, one, e));
  Value isPositive =
      arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, x, zero);
  Value positive = arith::SelectOp::create(b, isPositive, x, zero);
  return math::SqrtOp::create(b, arith::AddFOp::create(b, positive, log));
}

Value cpu::reduceMaximum(ImplicitLocOpBuilder &b, Value lanes) {
  for (int64_t half = kLanes / 2; half >= 1; half /= 2) {
    Value low = vector::ExtractStridedSliceOp::create(b, lanes, 0, half, 1);
    Value high = vector::ExtractStridedSliceOp::create(b, lanes, half, half, 1);
    lanes = arith::MaximumFOp::create(b, low, high);
  }
  return vector::ExtractOp::create(b, lanes, ArrayRef<int64_t>{0});
}

void cpu::emitScores(
    ImplicitLocOpBuilder &b, Score score, Type round, Value logits, Value row,
    int64_t size, Value scores,
    function_ref<void(ImplicitLocOpBuilder &, Value, Value, int64_t)> use) {
  auto logitsAt = [&](ImplicitLocOpBuilder &b, Value e, int64_t count) {
    return loadLanes(b, logits, arith::AddIOp::create(b, row, e), count);
  };
  Value sum;
  if (score == Score::Softmax) {
    Value lowest = lanesConstant(b, -std::numeric_limits<float>::infinity());
    Value largest = forLanes(b, size, lowest,
                             [&](ImplicitLocOpBuilder &b, Value e,
                                 int64_t count, ValueRange carried) {
                               Value l = selectLanes(
                                   b, count, logitsAt(b, e, count), lowest);
                               return SmallVector<Value>{
                                   arith::MaximumFOp::create(b, carried[0], l)};
                             })[0];
    Value maximum = broadcastLanes(b, reduceMaximum(b, largest));
    Value lanes = forLanes(
        b, size, lanesConstant(b, 0.0f),
        [&](ImplicitLocOpBuilder &b, Value e, int64_t count,
            ValueRange carried) {
          Value l = logitsAt(b, e, count);
          Value t =
              math::ExpOp::create(b, arith::SubFOp::create(b, l, maximum));
          storeRaw(b, t, scores, e);
          Value lane = arith::AddFOp::create(b, carried[0], t);
          return SmallVector<Value>{selectLanes(b, count, lane, carried[0])};
        })[0];
    sum = broadcastLanes(b, addHalves(b, lanes));
  }
  forLanes(b, size, [&](ImplicitLocOpBuilder &b, Value e, int64_t count) {
    Value lanes;
    switch (score) {
    case Score::Softmax:
      lanes = arith::DivFOp::create(b, loadRaw(b, scores, e), sum);
      break;
    case Score::Sigmoid:
      lanes = emitSigmoid(b, logitsAt(b, e, count));
      break;
    case Score::SqrtSoftplus:
      lanes = emitSqrtSoftplus(b, logitsAt(b, e, count));
      break;
    case Score::None:
      lanes = logitsAt(b, e, count);
      break;
    }
    use(b, round ? roundTo(b, lanes, round) : lanes, e, count);
  });
}
