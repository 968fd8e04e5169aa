//===- SliceRows.cpp - Expansion of moe.kernel.slice_rows -----------------===//
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

LogicalResult mlir::moe::cpu::expandSliceRows(KernelSliceRowsOp op,
                                              KernelContext &ctx) {
  ImplicitLocOpBuilder b(ctx.loc, ctx.b);
  Value zero = indexConstant(b, 0), one = indexConstant(b, 1);
  Value alone =
      arith::CmpIOp::create(b, arith::CmpIPredicate::eq, ctx.worker, zero);
  ifThen(b, alone, [&](ImplicitLocOpBuilder &b) {
    Value sources = op.getSourceOffsets();
    Value first = loadIndex(b, sources, indexConstant(b, op.getBegin()));
    Value behind = loadIndex(b, sources, indexConstant(b, op.getEnd()));
    Value count = arith::SubIOp::create(b, behind, first);
    forRange(b, zero, indexConstant(b, op.getEnd() - op.getBegin() + 1), 1,
             [&](ImplicitLocOpBuilder &b, Value e) {
               Value source =
                   arith::AddIOp::create(b, e, indexConstant(b, op.getBegin()));
               Value start = loadIndex(b, sources, source);
               storeIndex(b, arith::SubIOp::create(b, start, first),
                          op.getExpertOffsets(), e);
             });
    forRange(b, zero, count, 1, [&](ImplicitLocOpBuilder &b, Value row) {
      Value source = arith::AddIOp::create(b, first, row);
      Value token = memref::LoadOp::create(b, op.getSourceRowToken(), source);
      memref::StoreOp::create(b, token, op.getRowToken(), row);
      Value weight = memref::LoadOp::create(b, op.getSourceRowWeight(), source);
      memref::StoreOp::create(b, weight, op.getRowWeight(), row);
    });

    // A token keeps its rows of the range, in their order.
    storeIndex(b, zero, op.getTokenOffsets(), zero);
    auto keepRow = [&](ImplicitLocOpBuilder &b, Value at, Value taken) {
      Value row = arith::SubIOp::create(
          b, loadIndex(b, op.getSourceTokenRows(), at), first);
      // A row before the first is a large number without a sign.
      Value inside =
          arith::CmpIOp::create(b, arith::CmpIPredicate::ult, row, count);
      ifThen(b, inside, [&](ImplicitLocOpBuilder &b) {
        storeIndex(b, row, op.getTokenRows(), taken);
      });
      Value more = arith::AddIOp::create(b, taken, one);
      return arith::SelectOp::create(b, inside, more, taken).getResult();
    };
    forRange(b, zero, op.getTokens(), 1, zero,
             [&](ImplicitLocOpBuilder &b, Value token, ValueRange carried) {
               Value next = arith::AddIOp::create(b, token, one);
               Value begin = loadIndex(b, op.getSourceTokenOffsets(), token);
               Value end = loadIndex(b, op.getSourceTokenOffsets(), next);
               Value taken = forRange(
                   b, begin, end, 1, carried,
                   [&](ImplicitLocOpBuilder &b, Value at, ValueRange carried) {
                     return SmallVector<Value>{keepRow(b, at, carried[0])};
                   })[0];
               storeIndex(b, taken, op.getTokenOffsets(), next);
               return SmallVector<Value>{taken};
             });
  });
  return success();
}
