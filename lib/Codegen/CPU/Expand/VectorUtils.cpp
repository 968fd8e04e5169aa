//===- VectorUtils.cpp - Sixteen lanes of any float type ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "VectorUtils.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::moe;

VectorType cpu::lanesType(Type elementType) {
  return VectorType::get({kLanes}, elementType);
}

Value cpu::indexConstant(OpBuilder &b, Location loc, int64_t value) {
  return arith::ConstantIndexOp::create(b, loc, value);
}

Value cpu::i32Constant(OpBuilder &b, Location loc, int64_t value) {
  return arith::ConstantIntOp::create(b, loc, value, 32);
}

Value cpu::f32Constant(OpBuilder &b, Location loc, float value) {
  return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(value));
}

Value cpu::addIndex(OpBuilder &b, Location loc, Value lhs, Value rhs) {
  return arith::AddIOp::create(b, loc, lhs, rhs);
}

Value cpu::addIndex(OpBuilder &b, Location loc, Value lhs, int64_t rhs) {
  return rhs ? addIndex(b, loc, lhs, indexConstant(b, loc, rhs)) : lhs;
}

Value cpu::mulIndex(OpBuilder &b, Location loc, Value lhs, int64_t rhs) {
  return arith::MulIOp::create(b, loc, lhs, indexConstant(b, loc, rhs));
}

Value cpu::loadIndex(OpBuilder &b, Location loc, Value memref, Value index) {
  Value value = memref::LoadOp::create(b, loc, memref, index);
  return arith::IndexCastOp::create(b, loc, b.getIndexType(), value);
}

Value cpu::roundTo(OpBuilder &b, Location loc, Value value, Type type) {
  if (type.isF32())
    return value;
  Type wide = value.getType(), narrow = type;
  if (auto vector = dyn_cast<VectorType>(wide))
    narrow = vector.clone(type);
  Value rounded = arith::TruncFOp::create(b, loc, narrow, value);
  return arith::ExtFOp::create(b, loc, wide, rounded);
}

/// A mask with the first `count` lanes set.
static Value laneMask(OpBuilder &b, Location loc, int64_t count) {
  return vector::ConstantMaskOp::create(b, loc, cpu::lanesType(b.getI1Type()),
                                        ArrayRef<int64_t>{count});
}

Value cpu::loadLanes(OpBuilder &b, Location loc, Value memref, Value index,
                     int64_t count) {
  Type element = cast<MemRefType>(memref.getType()).getElementType();
  VectorType type = lanesType(element);
  Value value;
  if (count == kLanes) {
    value = vector::LoadOp::create(b, loc, type, memref, index);
  } else {
    Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(type));
    value = vector::MaskedLoadOp::create(b, loc, type, memref, index,
                                         laneMask(b, loc, count), zero);
  }
  if (element.isF32())
    return value;
  return arith::ExtFOp::create(b, loc, lanesType(b.getF32Type()), value);
}

void cpu::storeLanes(OpBuilder &b, Location loc, Value value, Value memref,
                     Value index, int64_t count) {
  Type element = cast<MemRefType>(memref.getType()).getElementType();
  if (!element.isF32())
    value = arith::TruncFOp::create(b, loc, lanesType(element), value);
  if (count == kLanes)
    vector::StoreOp::create(b, loc, value, memref, index);
  else
    vector::MaskedStoreOp::create(b, loc, memref, index,
                                  laneMask(b, loc, count), value);
}

void cpu::forEachLanes(OpBuilder &b, Location loc, int64_t n,
                       llvm::function_ref<void(Value, int64_t)> body) {
  int64_t whole = n / kLanes * kLanes;
  if (whole)
    forRange(
        b, loc, indexConstant(b, loc, 0), indexConstant(b, loc, whole),
        [&](Value column) { body(column, kLanes); }, kLanes);
  if (n != whole)
    body(indexConstant(b, loc, whole), n - whole);
}

void cpu::forRange(OpBuilder &b, Location loc, Value begin, Value end,
                   llvm::function_ref<void(Value)> body, int64_t step) {
  auto loop =
      scf::ForOp::create(b, loc, begin, end, indexConstant(b, loc, step));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  body(loop.getInductionVar());
}
