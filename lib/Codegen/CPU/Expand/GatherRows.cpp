//===- GatherRows.cpp - Expansion of moe.kernel.gather_rows ---------------===//
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

LogicalResult mlir::moe::cpu::expandGatherRows(KernelGatherRowsOp op,
                                               KernelContext &ctx) {
  int64_t hidden = op.getHidden();
  ImplicitLocOpBuilder b(ctx.loc, ctx.b);
  Value zero = indexConstant(b, 0);
  Value rows =
      loadIndex(b, op.getExpertOffsets(), indexConstant(b, op.getExperts()));
  auto [begin, end] = ctx.splitRange(rows);
  forRange(b, begin, end, 1, [&](ImplicitLocOpBuilder &b, Value row) {
    Value token = loadIndex(b, op.getRowToken(), row);
    Value from = multiplyAdd(b, token, hidden, zero);
    Value to = multiplyAdd(b, row, hidden, zero);
    Value weight;
    if (op.getRowWeight())
      weight =
          broadcastLanes(b, memref::LoadOp::create(b, op.getRowWeight(), row));
    forLanes(b, hidden, [&](ImplicitLocOpBuilder &b, Value h, int64_t count) {
      Value source = arith::AddIOp::create(b, from, h);
      Value target = arith::AddIOp::create(b, to, h);
      if (!weight)
        return storeRaw(b, loadRaw(b, op.getX(), source, count), op.getRows(),
                        target, count);
      Value lanes = loadLanes(b, op.getX(), source, count);
      lanes = arith::MulFOp::create(b, lanes, weight);
      storeLanes(b, lanes, op.getRows(), target, count);
    });
  });
  return success();
}
