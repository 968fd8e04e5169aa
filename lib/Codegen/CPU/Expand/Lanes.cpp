//===- Lanes.cpp - Loops over vectors of sixteen lanes --------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Lanes.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace mlir::moe::cpu;

namespace mlir::moe::cpu {

Value lanesConstant(ImplicitLocOpBuilder &b, float value) {
  return arith::ConstantOp::create(
      b, DenseElementsAttr::get(lanesType(b.getF32Type()), value));
}

Value lanesConstant(ImplicitLocOpBuilder &b, int32_t value) {
  return arith::ConstantOp::create(
      b, DenseElementsAttr::get(lanesType(b.getI32Type()), value));
}

Value broadcastLanes(ImplicitLocOpBuilder &b, Value scalar) {
  return vector::BroadcastOp::create(b, lanesType(scalar.getType()), scalar);
}

Value lanesMask(ImplicitLocOpBuilder &b, int64_t count) {
  SmallVector<bool> bits(kLanes, false);
  std::fill(bits.begin(), bits.begin() + count, true);
  return arith::ConstantOp::create(
      b, DenseElementsAttr::get(lanesType(b.getI1Type()), ArrayRef(bits)));
}

Value selectLanes(ImplicitLocOpBuilder &b, int64_t count, Value value,
                  Value otherwise) {
  if (count == kLanes)
    return value;
  return arith::SelectOp::create(b, lanesMask(b, count), value, otherwise);
}

Value loadRaw(ImplicitLocOpBuilder &b, Value buffer, Value index,
              int64_t count) {
  Type elementType = cast<MemRefType>(buffer.getType()).getElementType();
  VectorType type = lanesType(elementType);
  if (count == kLanes)
    return vector::LoadOp::create(b, type, buffer, index);
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(type));
  return vector::MaskedLoadOp::create(b, type, buffer, index,
                                      lanesMask(b, count), zero);
}

void storeRaw(ImplicitLocOpBuilder &b, Value vector, Value buffer, Value index,
              int64_t count) {
  if (count == kLanes)
    vector::StoreOp::create(b, vector, buffer, index);
  else
    vector::MaskedStoreOp::create(b, buffer, index, lanesMask(b, count),
                                  vector);
}

Value loadScalar(ImplicitLocOpBuilder &b, Value buffer, Value index) {
  Value value = memref::LoadOp::create(b, buffer, index);
  if (value.getType().isF32())
    return value;
  return arith::ExtFOp::create(b, b.getF32Type(), value);
}

void storeIndex(ImplicitLocOpBuilder &b, Value value, Value buffer,
                Value index) {
  value = arith::IndexCastOp::create(b, b.getI32Type(), value);
  memref::StoreOp::create(b, value, buffer, index);
}

Value addHalves(ImplicitLocOpBuilder &b, Value vector) {
  for (int64_t half = kLanes / 2; half >= 1; half /= 2) {
    Value low = vector::ExtractStridedSliceOp::create(b, vector, 0, half, 1);
    Value high =
        vector::ExtractStridedSliceOp::create(b, vector, half, half, 1);
    vector = arith::AddFOp::create(b, low, high);
  }
  return vector::ExtractOp::create(b, vector, ArrayRef<int64_t>{0});
}

Value multiplyAdd(ImplicitLocOpBuilder &b, Value x, int64_t factor, Value y) {
  Value f = arith::ConstantOp::create(b, b.getIntegerAttr(x.getType(), factor));
  Value product = arith::MulIOp::create(b, x, f);
  return arith::AddIOp::create(b, product, y);
}

SmallVector<Value> forRange(
    ImplicitLocOpBuilder &b, Value lower, Value upper, int64_t step,
    ValueRange inits,
    function_ref<SmallVector<Value>(ImplicitLocOpBuilder &, Value, ValueRange)>
        body) {
  APInt lo, hi;
  if (matchPattern(lower, m_ConstantInt(&lo)) &&
      matchPattern(upper, m_ConstantInt(&hi)) && lo.sge(hi))
    return inits;
  auto loop = scf::ForOp::create(
      b, lower, upper, indexConstant(b, step), inits,
      [&](OpBuilder &nested, Location loc, Value i, ValueRange carried) {
        ImplicitLocOpBuilder inner(loc, nested);
        scf::YieldOp::create(inner, body(inner, i, carried));
      });
  return loop.getResults();
}

void forRange(ImplicitLocOpBuilder &b, Value lower, Value upper, int64_t step,
              function_ref<void(ImplicitLocOpBuilder &, Value)> body) {
  forRange(b, lower, upper, step, ValueRange(),
           [&](ImplicitLocOpBuilder &inner, Value i, ValueRange) {
             body(inner, i);
             return SmallVector<Value>();
           });
}

SmallVector<Value>
forLanes(ImplicitLocOpBuilder &b, int64_t size, ValueRange inits,
         function_ref<SmallVector<Value>(ImplicitLocOpBuilder &, Value, int64_t,
                                         ValueRange)>
             body) {
  int64_t whole = size / kLanes * kLanes;
  SmallVector<Value> carried = inits;
  if (whole == kLanes)
    carried = body(b, indexConstant(b, 0), kLanes, carried);
  else if (whole > 0)
    carried = forRange(
        b, indexConstant(b, 0), indexConstant(b, whole), kLanes, carried,
        [&](ImplicitLocOpBuilder &inner, Value i, ValueRange values) {
          return body(inner, i, kLanes, values);
        });
  if (size > whole)
    carried = body(b, indexConstant(b, whole), size - whole, carried);
  return carried;
}

void forLanes(ImplicitLocOpBuilder &b, int64_t size,
              function_ref<void(ImplicitLocOpBuilder &, Value, int64_t)> body) {
  forLanes(
      b, size, ValueRange(),
      [&](ImplicitLocOpBuilder &inner, Value i, int64_t count, ValueRange) {
        body(inner, i, count);
        return SmallVector<Value>();
      });
}

void ifThen(ImplicitLocOpBuilder &b, Value condition,
            function_ref<void(ImplicitLocOpBuilder &)> then,
            function_ref<void(ImplicitLocOpBuilder &)> otherwise) {
  auto emit = [](function_ref<void(ImplicitLocOpBuilder &)> part) {
    return [part](OpBuilder &nested, Location loc) {
      ImplicitLocOpBuilder inner(loc, nested);
      part(inner);
      scf::YieldOp::create(inner);
    };
  };
  if (otherwise)
    scf::IfOp::create(b, condition, emit(then), emit(otherwise));
  else
    scf::IfOp::create(b, condition, emit(then));
}

} // namespace mlir::moe::cpu
