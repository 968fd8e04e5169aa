//===- SelectTopkOrder.cpp - The order of routers' keys -------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SelectTopk.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"

#include <numeric>

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::cpu;

/// `element`, or lanes of it when `like` is lanes.
static Type typeLike(Value like, Type element) {
  return isa<VectorType>(like.getType()) ? Type(lanesType(element)) : element;
}

Value cpu::constantLike(ImplicitLocOpBuilder &b, Value like, float value) {
  if (isa<VectorType>(like.getType()))
    return lanesConstant(b, value);
  return f32Constant(b, value);
}

/// Turns the order of negative f32 bits around; its own inverse.
static Value flipNegative(ImplicitLocOpBuilder &b, Value bits) {
  auto constant = [&](int32_t value) -> Value {
    if (isa<VectorType>(bits.getType()))
      return lanesConstant(b, value);
    return i32Constant(b, value);
  };
  Value sign = arith::ShRSIOp::create(b, bits, constant(31));
  Value mask = arith::AndIOp::create(b, sign, constant(0x7fffffff));
  return arith::XOrIOp::create(b, bits, mask);
}

Value cpu::keyOf(ImplicitLocOpBuilder &b, Value value) {
  Value zero = constantLike(b, value, 0.0f);
  Value lowest =
      constantLike(b, value, -std::numeric_limits<float>::infinity());
  Value isZero =
      arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, value, zero);
  Value isNaN =
      arith::CmpFOp::create(b, arith::CmpFPredicate::UNO, value, value);
  Value key = arith::SelectOp::create(b, isZero, zero, value);
  key = arith::SelectOp::create(b, isNaN, lowest, key);
  Type type = typeLike(value, b.getI32Type());
  return flipNegative(b, arith::BitcastOp::create(b, type, key));
}

Value cpu::valueOfKey(ImplicitLocOpBuilder &b, Value key) {
  Type type = typeLike(key, b.getF32Type());
  return arith::BitcastOp::create(b, type, flipNegative(b, key));
}

BestKey cpu::emitTakeBest(ImplicitLocOpBuilder &b, Value keys, int64_t size) {
  SmallVector<int32_t> counting(kLanes);
  std::iota(counting.begin(), counting.end(), 0);
  Value iota = arith::ConstantOp::create(
      b, DenseElementsAttr::get(lanesType(b.getI32Type()),
                                ArrayRef<int32_t>(counting)));
  // Strictly greater: within a lane the first of equal keys stays.
  SmallVector<Value> best = forLanes(
      b, roundUpToLanes(size),
      ValueRange{lanesConstant(b, kExcluded), iota, iota},
      [&](ImplicitLocOpBuilder &b, Value i, int64_t, ValueRange carried) {
        Value key = loadRaw(b, keys, i);
        Value greater = arith::CmpIOp::create(b, arith::CmpIPredicate::sgt, key,
                                              carried[0]);
        Value next = arith::AddIOp::create(
            b, carried[2], lanesConstant(b, static_cast<int32_t>(kLanes)));
        return SmallVector<Value>{
            arith::SelectOp::create(b, greater, key, carried[0]),
            arith::SelectOp::create(b, greater, carried[2], carried[1]), next};
      });
  Value largest =
      vector::ReductionOp::create(b, vector::CombiningKind::MAXSI, best[0]);
  Value isLargest = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, best[0],
                                          broadcastLanes(b, largest));
  Value candidates = arith::SelectOp::create(
      b, isLargest, best[1],
      lanesConstant(b, std::numeric_limits<int32_t>::max()));
  Value first =
      vector::ReductionOp::create(b, vector::CombiningKind::MINSI, candidates);
  Value index = arith::IndexCastOp::create(b, b.getIndexType(), first);
  memref::StoreOp::create(b, i32Constant(b, kExcluded), keys, index);
  return {index, largest};
}
