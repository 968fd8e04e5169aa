//===- NestIds.cpp - Expansion of moe.kernel.nest_ids ---------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RowLoops.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::cpu;

LogicalResult mlir::moe::cpu::expandNestIds(KernelNestIdsOp op,
                                            KernelContext &ctx) {
  ImplicitLocOpBuilder b(ctx.loc, ctx.b);
  int64_t perToken = op.getPerToken();
  Value zero = indexConstant(b, 0), k = indexConstant(b, perToken);
  Value none = i32Constant(b, -1);
  Value inner = i32Constant(b, op.getInnerExperts());
  Value outOfRange = i32Constant(b, op.getExperts() * op.getInnerExperts());
  Value rows =
      loadIndex(b, op.getExpertOffsets(), indexConstant(b, op.getExperts()));
  auto [begin, end] = ctx.splitRange(op.getTokens());

  Value used = arith::MinUIOp::create(b, end, rows);
  forRange(b, begin, used, 1, zero,
           [&](ImplicitLocOpBuilder &b, Value row, ValueRange carried) {
             Value expert =
                 emitFindExpert(b, op.getExpertOffsets(), carried[0], row);
             Value base = arith::IndexCastOp::create(
                 b, b.getI32Type(),
                 multiplyAdd(b, expert, op.getInnerExperts(), zero));
             Value first = multiplyAdd(b, row, perToken, zero);
             forRange(b, zero, k, 1, [&](ImplicitLocOpBuilder &b, Value j) {
               Value at = arith::AddIOp::create(b, first, j);
               Value id = memref::LoadOp::create(b, op.getIds(), at);
               Value isNone =
                   arith::CmpIOp::create(b, arith::CmpIPredicate::eq, id, none);
               Value isPair = arith::CmpIOp::create(
                   b, arith::CmpIPredicate::ult, id, inner);
               Value nested = arith::AddIOp::create(b, id, base);
               // What is out of range must not become another's expert.
               Value other =
                   arith::SelectOp::create(b, isNone, none, outOfRange);
               Value result = arith::SelectOp::create(b, isPair, nested, other);
               memref::StoreOp::create(b, result, op.getOut(), at);
             });
             return SmallVector<Value>{expert};
           });

  // Memory that no row uses.
  Value unused = arith::MaxUIOp::create(b, begin, rows);
  forRange(b, multiplyAdd(b, unused, perToken, zero),
           multiplyAdd(b, end, perToken, zero), 1,
           [&](ImplicitLocOpBuilder &b, Value at) {
             memref::StoreOp::create(b, none, op.getOut(), at);
           });
  return success();
}
