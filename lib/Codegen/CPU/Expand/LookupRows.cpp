//===- LookupRows.cpp - Expansion of moe.kernel.lookup_rows ---------------===//
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

LogicalResult mlir::moe::cpu::expandLookupRows(KernelLookupRowsOp op,
                                               KernelContext &ctx) {
  ImplicitLocOpBuilder b(ctx.loc, ctx.b);
  int64_t columns = op.getColumns();
  Value zero = indexConstant(b, 0);
  Type element = cast<MemRefType>(op.getTable().getType()).getElementType();
  Value nothing =
      arith::ConstantOp::create(b, b.getZeroAttr(lanesType(element)));
  Value good = arith::ConstantOp::create(b, b.getBoolAttr(false));
  auto [begin, end] = ctx.splitRange(op.getTokens());
  Value bad = forRange(
      b, begin, end, 1, good,
      [&](ImplicitLocOpBuilder &b, Value token, ValueRange carried) {
        Value id = memref::LoadOp::create(b, op.getIndices(), token);
        Value outside = arith::CmpIOp::create(b, arith::CmpIPredicate::uge, id,
                                              i32Constant(b, op.getSize()));
        Value row = arith::IndexCastOp::create(b, b.getIndexType(), id);
        Value to = multiplyAdd(b, token, columns, zero);
        ifThen(
            b, outside,
            [&](ImplicitLocOpBuilder &b) {
              forLanes(b, columns,
                       [&](ImplicitLocOpBuilder &b, Value h, int64_t count) {
                         storeRaw(b, nothing, op.getOut(),
                                  arith::AddIOp::create(b, to, h), count);
                       });
            },
            [&](ImplicitLocOpBuilder &b) {
              Value from = multiplyAdd(b, row, columns, zero);
              forLanes(b, columns,
                       [&](ImplicitLocOpBuilder &b, Value h, int64_t count) {
                         Value lanes =
                             loadRaw(b, op.getTable(),
                                     arith::AddIOp::create(b, from, h), count);
                         storeRaw(b, lanes, op.getOut(),
                                  arith::AddIOp::create(b, to, h), count);
                       });
            });
        return SmallVector<Value>{arith::OrIOp::create(b, carried[0], outside)};
      })[0];
  // MOERT_KERNEL_BAD_INDEX is 2.
  ctx.raiseStatus(
      arith::SelectOp::create(b, bad, i32Constant(b, 2), i32Constant(b, 0)));
  return success();
}
