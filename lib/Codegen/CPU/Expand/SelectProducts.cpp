//===- SelectProducts.cpp - Expansion of moe.kernel.select_products -------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The candidates of both halves are brought into ascending order first: then
// the place of a pair of them orders like its id, and the first of equal keys
// is the one that docs/Numerics.md ("Product keys") asks for.
//
//===----------------------------------------------------------------------===//

#include "SelectTopk.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::cpu;

namespace {

/// The candidates of one half, in ascending order of index.
class Candidates {
public:
  Candidates(Value list, int64_t size, int64_t topK, Value keys,
             KernelContext &ctx)
      : list(list), keys(keys), size(size), topK(topK),
        ids(ctx.allocScratch(ctx.b.getI32Type(), topK)),
        values(ctx.allocScratch(ctx.b.getF32Type(), roundUpToLanes(topK))) {}

  void emitToken(ImplicitLocOpBuilder &b, Value token);

private:
  Value list, keys;
  int64_t size, topK;

public:
  /// Scratch: indices (i32) and elements (f32) of the candidates.
  Value ids, values;
};

class SelectProducts {
public:
  SelectProducts(KernelSelectProductsOp op, KernelContext &ctx);

  void emitToken(ImplicitLocOpBuilder &b, Value token);

private:
  KernelSelectProductsOp op;
  const Policy policy;
  int64_t topK;
  /// Scratch: keys of a half, later of the products; the products' logits.
  Value keys, logits;
  Candidates first, second;
  ChosenPairs pairs;
};

} // namespace

void Candidates::emitToken(ImplicitLocOpBuilder &b, Value token) {
  Value zero = indexConstant(b, 0);
  Value row = multiplyAdd(b, token, size, zero);
  auto load = [&](ImplicitLocOpBuilder &b, Value i, int64_t count) {
    return loadLanes(b, list, arith::AddIOp::create(b, row, i), count);
  };
  Value excluded = lanesConstant(b, kExcluded);
  forLanes(b, size, [&](ImplicitLocOpBuilder &b, Value i, int64_t count) {
    Value key = keyOf(b, load(b, i, count));
    storeRaw(b, selectLanes(b, count, key, excluded), keys, i);
  });
  forRange(
      b, zero, indexConstant(b, topK), 1,
      [&](ImplicitLocOpBuilder &b, Value) { emitTakeBest(b, keys, size); });
  // What was taken is excluded now, in ascending order.
  forRange(
      b, zero, indexConstant(b, size), 1, zero,
      [&](ImplicitLocOpBuilder &b, Value i, ValueRange carried) {
        Value key = memref::LoadOp::create(b, keys, i);
        Value isTaken = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, key,
                                              i32Constant(b, kExcluded));
        ifThen(b, isTaken, [&](ImplicitLocOpBuilder &b) {
          storeIndex(b, i, ids, carried[0]);
          Value at = arith::AddIOp::create(b, row, i);
          memref::StoreOp::create(b, memref::LoadOp::create(b, list, at),
                                  values, carried[0]);
        });
        Value one = arith::IndexCastUIOp::create(b, b.getIndexType(), isTaken);
        return SmallVector<Value>{arith::AddIOp::create(b, carried[0], one)};
      });
}

static int64_t largestList(KernelSelectProductsOp op) {
  int64_t topK = op.getPolicy().getTopK();
  return roundUpToLanes(std::max<int64_t>(
      {static_cast<int64_t>(op.getFirstSize()),
       static_cast<int64_t>(op.getSecondSize()), topK * topK}));
}

SelectProducts::SelectProducts(KernelSelectProductsOp op, KernelContext &ctx)
    : op(op), policy(op.getPolicy().getPolicy()), topK(policy.topK),
      keys(ctx.allocScratch(ctx.b.getI32Type(), largestList(op))),
      logits(ctx.allocScratch(ctx.b.getF32Type(), topK * topK)),
      first(op.getFirst(), op.getFirstSize(), topK, keys, ctx),
      second(op.getSecond(), op.getSecondSize(), topK, keys, ctx),
      pairs(op.getPolicy(), ctx) {}

void SelectProducts::emitToken(ImplicitLocOpBuilder &b, Value token) {
  Value zero = indexConstant(b, 0), k = indexConstant(b, topK);
  int64_t products = topK * topK;
  first.emitToken(b, token);
  second.emitToken(b, token);
  // Sums of a row end where the next row's begin; the last ones are excluded.
  if (products % kLanes != 0)
    storeRaw(b, lanesConstant(b, kExcluded), keys,
             indexConstant(b, products / kLanes * kLanes));
  forRange(b, zero, k, 1, [&](ImplicitLocOpBuilder &b, Value i) {
    Value x = broadcastLanes(b, memref::LoadOp::create(b, first.values, i));
    forLanes(b, topK, [&](ImplicitLocOpBuilder &b, Value j, int64_t count) {
      Value logit = arith::AddFOp::create(b, x, loadRaw(b, second.values, j));
      Value at = multiplyAdd(b, i, topK, j);
      storeRaw(b, logit, logits, at, count);
      storeRaw(b, keyOf(b, logit), keys, at, count);
    });
  });

  pairs.emitClearTail(b);
  bool isScore = policy.weightSource == WeightSource::Scores;
  forRange(b, zero, k, 1, [&](ImplicitLocOpBuilder &b, Value j) {
    Value best = emitTakeBest(b, keys, products).index;
    Value i = arith::DivUIOp::create(b, best, k);
    Value rest = arith::RemUIOp::create(b, best, k);
    Value id = multiplyAdd(b, memref::LoadOp::create(b, first.ids, i),
                           op.getSecondSize(),
                           memref::LoadOp::create(b, second.ids, rest));
    Value weight = memref::LoadOp::create(b, logits, best);
    if (policy.weightSource == WeightSource::Constant)
      weight = f32Constant(b, 1.0f);
    if (isScore && policy.score == Score::Sigmoid)
      weight = emitSigmoid(b, weight);
    if (isScore && policy.roundScores)
      weight = roundTo(b, weight, policy.roundScores);
    pairs.emitStore(b, j, id, weight);
  });
  Value row = multiplyAdd(b, token, topK, zero);
  int64_t experts = op.getFirstSize() * op.getSecondSize();
  pairs.emitWeightsOfLogits(b);
  pairs.emitDrops(b, experts, /*random=*/Value(), row);
  pairs.emitFinish(b, op.getIds(), op.getWeights(), row);
}

LogicalResult mlir::moe::cpu::expandSelectProducts(KernelSelectProductsOp op,
                                                   KernelContext &ctx) {
  ImplicitLocOpBuilder b(ctx.loc, ctx.b);
  SelectProducts emitter(op, ctx);
  auto [begin, end] = ctx.splitRange(op.getTokens());
  forRange(b, begin, end, 1, [&](ImplicitLocOpBuilder &b, Value token) {
    emitter.emitToken(b, token);
  });
  return success();
}
