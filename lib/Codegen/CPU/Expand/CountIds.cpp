//===- CountIds.cpp - Expansion of moe.kernel.count_ids -------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Lanes.h"
#include "moe/Codegen/CPU/KernelExpansion.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::cpu;

LogicalResult mlir::moe::cpu::expandCountIds(KernelCountIdsOp op,
                                             KernelContext &ctx) {
  ImplicitLocOpBuilder b(ctx.loc, ctx.b);
  Value zero = indexConstant(b, 0);
  Value alone =
      arith::CmpIOp::create(b, arith::CmpIPredicate::eq, ctx.worker, zero);
  ifThen(b, alone, [&](ImplicitLocOpBuilder &b) {
    Value none = arith::ConstantOp::create(b, b.getI64IntegerAttr(0));
    Value one = arith::ConstantOp::create(b, b.getI64IntegerAttr(1));
    forRange(b, zero, indexConstant(b, op.getExperts()), 1,
             [&](ImplicitLocOpBuilder &b, Value e) {
               memref::StoreOp::create(b, none, op.getCounts(), e);
             });
    Value pairs = multiplyAdd(b, op.getTokens(), op.getPerToken(), zero);
    forRange(b, zero, pairs, 1, [&](ImplicitLocOpBuilder &b, Value pair) {
      Value id = memref::LoadOp::create(b, op.getIds(), pair);
      // -1, no pair, is the largest number without a sign.
      Value isPair = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, id,
                                           i32Constant(b, op.getExperts()));
      ifThen(b, isPair, [&](ImplicitLocOpBuilder &b) {
        Value e = arith::IndexCastOp::create(b, b.getIndexType(), id);
        Value count = memref::LoadOp::create(b, op.getCounts(), e);
        memref::StoreOp::create(b, arith::AddIOp::create(b, count, one),
                                op.getCounts(), ValueRange{e});
      });
    });
  });
  return success();
}
