//===- RowLogits.cpp - Expansion of moe.kernel.row_logits -----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Dots.h"
#include "RowLoops.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::cpu;

LogicalResult mlir::moe::cpu::expandRowLogits(KernelRowLogitsOp op,
                                              KernelContext &ctx) {
  ImplicitLocOpBuilder b(ctx.loc, ctx.b);
  int64_t inner = op.getInnerExperts(), hidden = op.getHidden();
  int64_t block = std::min<int64_t>(4, inner);
  Value zero = indexConstant(b, 0), last = indexConstant(b, inner - 1);
  Value rows =
      loadIndex(b, op.getExpertOffsets(), indexConstant(b, op.getExperts()));
  auto emitBlock = [&](ImplicitLocOpBuilder &b, Value row, Value expert,
                       Value first) {
    // Experts past the last are skipped by computing the last one again.
    SmallVector<Value> ids, weights;
    Value base = multiplyAdd(b, expert, inner, zero);
    for (int64_t j = 0; j < block; ++j) {
      Value id = arith::AddIOp::create(b, first, indexConstant(b, j));
      if (inner % block != 0)
        id = arith::MinUIOp::create(b, id, last);
      ids.push_back(id);
      weights.push_back(
          multiplyAdd(b, arith::AddIOp::create(b, base, id), hidden, zero));
    }
    Value x = multiplyAdd(b, row, hidden, zero);
    Dots dots = emitDots(b, op.getRows(), x, op.getWeight(), weights, hidden);
    for (auto [id, logit] : llvm::zip_equal(ids, dots.products))
      memref::StoreOp::create(b, logit, op.getOut(),
                              ValueRange{multiplyAdd(b, row, inner, id)});
  };

  auto [begin, end] = ctx.splitRange(rows);
  forRange(b, begin, end, 1, zero,
           [&](ImplicitLocOpBuilder &b, Value row, ValueRange carried) {
             Value expert =
                 emitFindExpert(b, op.getExpertOffsets(), carried[0], row);
             forRange(b, zero, indexConstant(b, inner), block,
                      [&](ImplicitLocOpBuilder &b, Value first) {
                        emitBlock(b, row, expert, first);
                      });
             return SmallVector<Value>{expert};
           });
  return success();
}
