//===- RowLoops.cpp - What loops over rows share --------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RowLoops.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::cpu;

Value mlir::moe::cpu::emitFindExpert(ImplicitLocOpBuilder &b, Value offsets,
                                     Value expert, Value row) {
  auto loop = scf::WhileOp::create(
      b, TypeRange{b.getIndexType()}, ValueRange{expert},
      [&](OpBuilder &nested, Location loc, ValueRange carried) {
        ImplicitLocOpBuilder b(loc, nested);
        Value next = arith::AddIOp::create(b, carried[0], indexConstant(b, 1));
        Value end = loadIndex(b, offsets, next);
        Value ended =
            arith::CmpIOp::create(b, arith::CmpIPredicate::ule, end, row);
        scf::ConditionOp::create(b, ended, carried);
      },
      [&](OpBuilder &nested, Location loc, ValueRange carried) {
        ImplicitLocOpBuilder b(loc, nested);
        Value next = arith::AddIOp::create(b, carried[0], indexConstant(b, 1));
        scf::YieldOp::create(b, next);
      });
  return loop.getResult(0);
}

/// `value` as attributes of index.
static SmallVector<OpFoldResult> constants(OpBuilder &b,
                                           ArrayRef<int64_t> values) {
  return getAsIndexOpFoldResult(b.getContext(), values);
}

Value mlir::moe::cpu::emitView(ImplicitLocOpBuilder &b, Value buffer,
                               Value piece, MemRefType type) {
  Value offset =
      multiplyAdd(b, piece, type.getNumElements(), indexConstant(b, 0));
  return memref::ReinterpretCastOp::create(
      b, type, buffer, OpFoldResult(offset), constants(b, type.getShape()),
      constants(b, computeStrides(type.getShape())));
}

void mlir::moe::cpu::inlineRow(RowFunction &function, ImplicitLocOpBuilder &b,
                               KernelContext &ctx, ValueRange arguments) {
  for (memref::AllocOp alloc : function.getTemporaries()) {
    MemRefType type = alloc.getType();
    Value flat = ctx.allocScratch(type.getElementType(),
                                  std::max<int64_t>(1, type.getNumElements()));
    Value shaped = memref::ReinterpretCastOp::create(
        ctx.b, ctx.loc, type, flat, OpFoldResult(b.getIndexAttr(0)),
        constants(b, type.getShape()),
        constants(b, computeStrides(type.getShape())));
    alloc.getResult().replaceAllUsesWith(shaped);
    alloc.erase();
  }
  IRMapping mapping;
  mapping.map(function.getBody().getArguments(), arguments);
  for (Operation &inner : function.getBody().without_terminator())
    b.clone(inner, mapping);
}
