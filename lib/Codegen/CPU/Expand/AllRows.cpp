//===- AllRows.cpp - Expansion of moe.kernel.all_rows ---------------------===//
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

LogicalResult mlir::moe::cpu::expandAllRows(KernelAllRowsOp op,
                                            KernelContext &ctx) {
  int64_t experts = op.getExperts();
  ImplicitLocOpBuilder b(ctx.loc, ctx.b);
  Value zero = indexConstant(b, 0), numExperts = indexConstant(b, experts);
  Value tokens = op.getTokens();
  Value noWeight = f32Constant(b, 1.0f);

  Value isFirst =
      arith::CmpIOp::create(b, arith::CmpIPredicate::eq, ctx.worker, zero);
  ifThen(b, isFirst, [&](ImplicitLocOpBuilder &b) {
    forRange(b, zero, indexConstant(b, experts + 1), 1,
             [&](ImplicitLocOpBuilder &b, Value e) {
               storeIndex(b, arith::MulIOp::create(b, e, tokens),
                          op.getExpertOffsets(), e);
             });
    storeIndex(b, multiplyAdd(b, tokens, experts, zero), op.getTokenOffsets(),
               tokens);
  });

  auto [begin, end] = ctx.splitRange(tokens);
  forRange(b, begin, end, 1, [&](ImplicitLocOpBuilder &b, Value token) {
    Value first = multiplyAdd(b, token, experts, zero);
    storeIndex(b, first, op.getTokenOffsets(), token);
    forRange(b, zero, numExperts, 1, [&](ImplicitLocOpBuilder &b, Value e) {
      Value pair = arith::AddIOp::create(b, first, e);
      Value row =
          arith::AddIOp::create(b, arith::MulIOp::create(b, e, tokens), token);
      storeIndex(b, row, op.getTokenRows(), pair);
      storeIndex(b, token, op.getRowToken(), row);
      Value weight = noWeight;
      if (Value weights = op.getWeights())
        weight = memref::LoadOp::create(b, weights, pair);
      memref::StoreOp::create(b, weight, op.getRowWeight(), row);
    });
  });
  return success();
}
