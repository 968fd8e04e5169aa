//===- Rewrite.cpp - What the rules build code with -----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Retarget.h"

using namespace mlir;
using namespace mlir::moe::emulation;

Rewrite::Rewrite(Retargeter &retargeter, Operation *op, Value thread,
                 Slots &slots, const DenseSet<Value> &byvalArgs)
    : b(op), loc(op->getLoc()), i1(b.getI1Type()), i32(b.getI32Type()),
      i64(b.getI64Type()), f32(b.getF32Type()), ptr(retargeter.getPtr()),
      retargeter(retargeter), op(op), threadArg(thread), slots(slots),
      byvalArgs(byvalArgs) {}

Value Rewrite::constant(int64_t value) {
  return LLVM::ConstantOp::create(b, loc, i32,
                                  b.getI32IntegerAttr(int32_t(value)));
}

Value Rewrite::constant64(int64_t value) {
  return LLVM::ConstantOp::create(b, loc, i64, b.getI64IntegerAttr(value));
}

Value Rewrite::null() { return LLVM::ZeroOp::create(b, loc, ptr); }

Value Rewrite::orConstant(Value value, int64_t otherwise) {
  return value ? value : constant(otherwise);
}

Value Rewrite::toInt(Value value, Type type) {
  unsigned from = value.getType().getIntOrFloatBitWidth();
  unsigned to = type.getIntOrFloatBitWidth();
  if (from < to)
    return LLVM::ZExtOp::create(b, loc, type, value);
  return from > to ? LLVM::TruncOp::create(b, loc, type, value) : value;
}

Value Rewrite::field(unsigned at, Type type) {
  auto load = LLVM::LoadOp::create(b, loc, type, offset(threadArg, at));
  load.setInvariant(true);
  return load;
}

Value Rewrite::offset(Value address, uint64_t bytes) {
  if (bytes == 0)
    return address;
  return LLVM::GEPOp::create(b, loc, address.getType(), b.getI8Type(), address,
                             ArrayRef<LLVM::GEPArg>{int32_t(bytes)});
}

Value Rewrite::slot(SlotUse use, unsigned bytes) {
  Value &slot = slots[{use, bytes}];
  if (!slot) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(
        &op->getParentOfType<LLVM::LLVMFuncOp>().getBody().front());
    slot = LLVM::AllocaOp::create(
        b, loc, ptr, LLVM::LLVMArrayType::get(b.getI8Type(), bytes),
        constant(1), /*alignment=*/16);
  }
  return slot;
}

Value Rewrite::call(StringRef function, Type result, ValueRange args) {
  SmallVector<Value> values{threadArg};
  for (Value arg : args) {
    if (isa<LLVM::LLVMPointerType>(arg.getType()) && arg.getType() != ptr)
      arg = LLVM::AddrSpaceCastOp::create(b, loc, ptr, arg);
    values.push_back(arg);
  }
  if (site.empty())
    site = retargeter.addSite(loc);
  values.push_back(LLVM::AddressOfOp::create(b, loc, ptr, site));
  auto callee = retargeter.getRuntimeFunction(
      function, result, llvm::to_vector(ValueRange(values).getTypes()));
  auto call = LLVM::CallOp::create(b, loc, callee, values);
  return result ? call.getResult() : Value();
}

void Rewrite::guarded(Value predicate, function_ref<void()> body) {
  if (!predicate)
    return body();
  Block *before = op->getBlock();
  Block *after = before->splitBlock(op);
  auto *then = new Block;
  before->getParent()->getBlocks().insert(after->getIterator(), then);
  b.setInsertionPointToEnd(before);
  LLVM::CondBrOp::create(b, loc, predicate, then, after);
  b.setInsertionPointToEnd(then);
  body();
  b.setInsertionPointToEnd(then);
  LLVM::BrOp::create(b, loc, after);
  b.setInsertionPoint(op);
}

void Rewrite::replace(ValueRange values) {
  if (!values.empty())
    op->replaceAllUsesWith(values);
  op->erase();
}

unsigned Rewrite::sizeOf(Type type) const {
  return retargeter.getDataLayout().getTypeSize(type);
}

bool Rewrite::isPrivate(Value address) const {
  while (true) {
    auto type = dyn_cast<LLVM::LLVMPointerType>(address.getType());
    if (type && type.getAddressSpace() == kLocal)
      return true;
    if (byvalArgs.contains(address))
      return true;
    Operation *from = address.getDefiningOp();
    if (!from)
      return false;
    if (isa<LLVM::AllocaOp>(from))
      return true;
    if (!isa<LLVM::GEPOp, LLVM::AddrSpaceCastOp, LLVM::BitcastOp>(from))
      return false;
    address = from->getOperand(0);
  }
}
