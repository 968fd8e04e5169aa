//===- CountRows.cpp - Expansion of moe.kernel.count_rows -----------------===//
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

LogicalResult mlir::moe::cpu::expandCountRows(KernelCountRowsOp op,
                                              KernelContext &ctx) {
  ImplicitLocOpBuilder b(ctx.loc, ctx.b);
  Value one = indexConstant(b, 1);
  auto [begin, end] = ctx.splitRange(indexConstant(b, op.getExperts()));
  forRange(b, begin, end, 1, [&](ImplicitLocOpBuilder &b, Value e) {
    Value next = arith::AddIOp::create(b, e, one);
    Value lower = memref::LoadOp::create(b, op.getExpertOffsets(), e);
    Value upper = memref::LoadOp::create(b, op.getExpertOffsets(), next);
    Value count = arith::ExtSIOp::create(
        b, b.getI64Type(), arith::SubIOp::create(b, upper, lower));
    memref::StoreOp::create(b, count, op.getCounts(), e);
  });
  return success();
}
