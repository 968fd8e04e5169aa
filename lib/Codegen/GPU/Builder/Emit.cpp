//===- Emit.cpp - Short names for scalar code of GPU kernels ------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Emit.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::moe::gpu;

Value Emit::i32(int64_t value) {
  return arith::ConstantOp::create(*this, getI32IntegerAttr(value));
}
Value Emit::i64(int64_t value) {
  return arith::ConstantOp::create(*this, getI64IntegerAttr(value));
}
Value Emit::f32(float value) {
  return arith::ConstantOp::create(*this, getF32FloatAttr(value));
}
Value Emit::constantLike(Value like, int64_t value) {
  return arith::ConstantOp::create(*this,
                                   getIntegerAttr(like.getType(), value));
}

Value Emit::add(Value x, Value y) { return arith::AddIOp::create(*this, x, y); }
Value Emit::sub(Value x, Value y) { return arith::SubIOp::create(*this, x, y); }
Value Emit::mul(Value x, Value y) { return arith::MulIOp::create(*this, x, y); }
Value Emit::div(Value x, Value y) {
  return arith::DivUIOp::create(*this, x, y);
}
Value Emit::rem(Value x, Value y) {
  return arith::RemUIOp::create(*this, x, y);
}
Value Emit::minU(Value x, Value y) {
  return arith::MinUIOp::create(*this, x, y);
}
Value Emit::bitAnd(Value x, Value y) {
  return arith::AndIOp::create(*this, x, y);
}
Value Emit::bitOr(Value x, Value y) {
  return arith::OrIOp::create(*this, x, y);
}
Value Emit::bitXor(Value x, Value y) {
  return arith::XOrIOp::create(*this, x, y);
}
Value Emit::shl(Value x, Value y) { return arith::ShLIOp::create(*this, x, y); }
Value Emit::shr(Value x, Value y) {
  return arith::ShRUIOp::create(*this, x, y);
}
Value Emit::cmp(arith::CmpIPredicate predicate, Value x, Value y) {
  return arith::CmpIOp::create(*this, predicate, x, y);
}
Value Emit::lessU(Value x, Value y) {
  return cmp(arith::CmpIPredicate::ult, x, y);
}
Value Emit::equal(Value x, Value y) {
  return cmp(arith::CmpIPredicate::eq, x, y);
}
Value Emit::select(Value condition, Value x, Value y) {
  return arith::SelectOp::create(*this, condition, x, y);
}
Value Emit::toI64(Value x) {
  if (x.getType().isInteger(64))
    return x;
  return arith::ExtUIOp::create(*this, getI64Type(), x);
}
Value Emit::toI32(Value x) {
  if (x.getType().isInteger(32))
    return x;
  if (x.getType().getIntOrFloatBitWidth() < 32)
    return arith::ExtUIOp::create(*this, getI32Type(), x);
  return arith::TruncIOp::create(*this, getI32Type(), x);
}

Value Emit::address(Type type, Value base, Value index) {
  // GEP sign-extends its index; ours are unsigned.
  return LLVM::GEPOp::create(*this, base.getType(), type, base,
                             ArrayRef<LLVM::GEPArg>{toI64(index)});
}
Value Emit::offset(Value base, Value bytes) {
  return address(getI8Type(), base, bytes);
}
Value Emit::offset(Value base, int64_t bytes) {
  if (bytes == 0)
    return base;
  return LLVM::GEPOp::create(
      *this, base.getType(), getI8Type(), base,
      ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(bytes)});
}
Value Emit::load(Type type, Value base, Value index, int64_t alignment) {
  return loadAt(type, address(type, base, index), alignment);
}
Value Emit::loadAt(Type type, Value address, int64_t alignment) {
  return LLVM::LoadOp::create(*this, type, address,
                              static_cast<unsigned>(alignment));
}
void Emit::store(Value value, Value base, Value index, int64_t alignment) {
  storeAt(value, address(value.getType(), base, index), alignment);
}
void Emit::storeAt(Value value, Value address, int64_t alignment) {
  LLVM::StoreOp::create(*this, value, address,
                        static_cast<unsigned>(alignment));
}
Value Emit::toF32(Value x) {
  if (x.getType().isF32())
    return x;
  return arith::ExtFOp::create(*this, getF32Type(), x);
}
Value Emit::fromF32(Value x, Type type) {
  if (type.isF32())
    return x;
  return arith::TruncFOp::create(*this, type, x);
}

void Emit::ifThen(Value condition, Body then) {
  scf::IfOp::create(*this, condition, [&](OpBuilder &nested, Location loc) {
    Emit e(loc, nested);
    then(e);
    scf::YieldOp::create(e);
  });
}
void Emit::ifThenElse(Value condition, Body then, Body otherwise) {
  auto branch = [](Body body) {
    return [=](OpBuilder &nested, Location loc) {
      Emit e(loc, nested);
      body(e);
      scf::YieldOp::create(e);
    };
  };
  scf::IfOp::create(*this, condition, branch(then), branch(otherwise));
}
void Emit::forRange(Value begin, Value end, Value step, LoopBody body) {
  forRange(begin, end, step, {}, [&](Emit &e, Value i, ValueRange) {
    body(e, i);
    return SmallVector<Value>{};
  });
}
SmallVector<Value> Emit::forRange(Value begin, Value end, Value step,
                                  ValueRange init, CarriedBody body) {
  auto loop = scf::ForOp::create(
      *this, begin, end, step, init,
      [&](OpBuilder &nested, Location loc, Value i, ValueRange carried) {
        Emit e(loc, nested);
        SmallVector<Value> next = body(e, i, carried);
        scf::YieldOp::create(e, next);
      },
      /*unsignedCmp=*/true);
  return SmallVector<Value>(loop.getResults());
}

static Value shuffle(Emit &e, Value value, Value offset, int64_t clamp,
                     NVVM::ShflKind kind) {
  return NVVM::ShflOp::create(e, value.getType(), e.i32(-1), value, offset,
                              e.i32(clamp), kind, UnitAttr());
}
Value Emit::shuffleXor(Value value, int64_t laneMask) {
  return shuffle(*this, value, i32(laneMask), 31, NVVM::ShflKind::bfly);
}
Value Emit::shuffleIndex(Value value, Value lane) {
  return shuffle(*this, value, lane, 31, NVVM::ShflKind::idx);
}
Value Emit::shuffleUp(Value value, int64_t distance) {
  return shuffle(*this, value, i32(distance), 0, NVVM::ShflKind::up);
}
Value Emit::ballot(Value condition) {
  return NVVM::VoteSyncOp::create(*this, getI32Type(), i32(-1), condition,
                                  NVVM::VoteSyncKind::ballot);
}
void Emit::syncWarp() { NVVM::SyncWarpOp::create(*this, i32(-1)); }
void Emit::syncBlock() { NVVM::Barrier0Op::create(*this); }
