//===- RouterLogits.cpp - Expansion of moe.kernel.router_logits -----------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Blocks of tokens and experts share the loads. The bits of a logit depend
// neither on the blocking nor on the number of workers.
//
//===----------------------------------------------------------------------===//

#include "Dots.h"
#include "moe/Codegen/CPU/KernelExpansion.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::cpu;

namespace {

class RouterLogits {
public:
  explicit RouterLogits(KernelRouterLogitsOp op)
      : op(op), experts(op.getExperts()), hidden(op.getHidden()) {}

  /// The logits of tokens [token, token + numTokens) and experts
  /// [expert, expert + numExperts); experts past the last are skipped by
  /// computing the last one again.
  void emitBlock(ImplicitLocOpBuilder &b, Value token, int64_t numTokens,
                 Value expert, int64_t numExperts);

private:
  KernelRouterLogitsOp op;
  int64_t experts, hidden;
};

} // namespace

void RouterLogits::emitBlock(ImplicitLocOpBuilder &b, Value token,
                             int64_t numTokens, Value expert,
                             int64_t numExperts) {
  SmallVector<Value> tokenIds, expertIds, xRows, wRows;
  Value last = indexConstant(b, experts - 1);
  Value zero = indexConstant(b, 0);
  for (int64_t i = 0; i < numTokens; ++i) {
    tokenIds.push_back(arith::AddIOp::create(b, token, indexConstant(b, i)));
    xRows.push_back(multiplyAdd(b, tokenIds.back(), hidden, zero));
  }
  for (int64_t j = 0; j < numExperts; ++j) {
    Value id = arith::AddIOp::create(b, expert, indexConstant(b, j));
    if (experts % numExperts != 0)
      id = arith::MinUIOp::create(b, id, last);
    expertIds.push_back(id);
    wRows.push_back(multiplyAdd(b, id, hidden, zero));
  }

  std::optional<APFloat> cosine = op.getCosine();
  Dots dots = emitDots(b, op.getX(), xRows, op.getWeight(), wRows, hidden,
                       cosine.has_value());
  // The norm of a row from its square, at least epsilon.
  auto norm = [&](Value square) -> Value {
    Value epsilon = f32Constant(b, cosine->convertToFloat());
    Value root = math::SqrtOp::create(b, square);
    Value larger =
        arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, root, epsilon);
    return arith::SelectOp::create(b, larger, root, epsilon);
  };
  if (cosine)
    for (SmallVector<Value> *squares : {&dots.xSquares, &dots.wSquares})
      for (Value &square : *squares)
        square = norm(square);

  for (int64_t i = 0; i < numTokens; ++i)
    for (int64_t j = 0; j < numExperts; ++j) {
      Value logit = dots.products[i * numExperts + j];
      if (cosine) {
        Value norms =
            arith::MulFOp::create(b, dots.xSquares[i], dots.wSquares[j]);
        logit = arith::DivFOp::create(b, logit, norms);
      }
      if (Value bias = op.getBias())
        logit =
            arith::AddFOp::create(b, logit, loadScalar(b, bias, expertIds[j]));
      if (std::optional<Type> round = op.getRound())
        logit = roundTo(b, logit, *round);
      memref::StoreOp::create(
          b, logit, op.getOut(),
          multiplyAdd(b, tokenIds[i], experts, expertIds[j]));
    }
}

LogicalResult mlir::moe::cpu::expandRouterLogits(KernelRouterLogitsOp op,
                                                 KernelContext &ctx) {
  ImplicitLocOpBuilder b(ctx.loc, ctx.b);
  // As many sums as the vector registers hold.
  bool narrow = ctx.config.getIsa() == Isa::AVX2;
  int64_t blockTokens = narrow ? 2 : 4;
  int64_t blockExperts = std::min<int64_t>(narrow ? 2 : 4, op.getExperts());
  int64_t expertBlocks = llvm::divideCeil(op.getExperts(), blockExperts);

  Value tokens = op.getTokens();
  Value tokenBlocks =
      arith::CeilDivUIOp::create(b, tokens, indexConstant(b, blockTokens));
  Value zero = indexConstant(b, 0);
  Value total = multiplyAdd(b, tokenBlocks, expertBlocks, zero);
  auto [begin, end] = ctx.splitRange(total);
  RouterLogits emitter(op);
  forRange(b, begin, end, 1, [&](ImplicitLocOpBuilder &b, Value item) {
    Value blocks = indexConstant(b, expertBlocks);
    Value token = multiplyAdd(b, arith::DivUIOp::create(b, item, blocks),
                              blockTokens, zero);
    Value expert = multiplyAdd(b, arith::RemUIOp::create(b, item, blocks),
                               blockExperts, zero);
    Value tokenEnd =
        arith::AddIOp::create(b, token, indexConstant(b, blockTokens));
    Value whole =
        arith::CmpIOp::create(b, arith::CmpIPredicate::ule, tokenEnd, tokens);
    ifThen(
        b, whole,
        [&](ImplicitLocOpBuilder &b) {
          emitter.emitBlock(b, token, blockTokens, expert, blockExperts);
        },
        [&](ImplicitLocOpBuilder &b) {
          forRange(b, token, tokens, 1,
                   [&](ImplicitLocOpBuilder &b, Value single) {
                     emitter.emitBlock(b, single, 1, expert, blockExperts);
                   });
        });
  });
  return success();
}
