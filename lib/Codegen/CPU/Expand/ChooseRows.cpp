//===- ChooseRows.cpp - Expansion of moe.kernel.choose_rows ---------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One worker, a vector of experts at a time. The key of the last token that an
// expert takes is found bit by bit from the top, by counting the keys that are
// not less; tokens above it are taken, and of those with this very key the
// first that still fit. How many rows each expert has is known beforehand, so
// they are written where they belong.
//
//===----------------------------------------------------------------------===//

#include "ApplyCapacity.h"
#include "SelectTopk.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::cpu;

namespace {

class ChooseRows {
public:
  ChooseRows(KernelChooseRowsOp op, KernelContext &ctx);

  void emit(ImplicitLocOpBuilder &b);

private:
  /// Keys of all scores.
  void emitKeys(ImplicitLocOpBuilder &b);
  /// Keys of softmax over the tokens [begin, end), for lanes of experts.
  void emitSoftmaxOverTokens(ImplicitLocOpBuilder &b, Value begin, Value end,
                             Value e, int64_t count);
  /// Loads keys of a token.
  Value loadKeys(ImplicitLocOpBuilder &b, Value token, Value e, int64_t count);
  /// Number of tokens in [begin, end) whose keys compare so with `pivots`.
  Value countTokens(ImplicitLocOpBuilder &b, Value begin, Value end, Value e,
                    int64_t count, arith::CmpIPredicate how, Value pivots);
  /// Fills `pivots` and `ties` for lanes of experts that take `slots` tokens.
  void emitPivots(ImplicitLocOpBuilder &b, Value begin, Value end, Value slots,
                  Value e, int64_t count);
  /// Writes the rows of the tokens [begin, end).
  void emitGroup(ImplicitLocOpBuilder &b, Value begin, Value end,
                 Value firstRow, Value rowsOfExpert);
  /// The score of an expert for a token.
  Value emitScore(ImplicitLocOpBuilder &b, Value token, Value expert);
  void emitFinalWeights(ImplicitLocOpBuilder &b, Value rows);
  void emitTokenLists(ImplicitLocOpBuilder &b, Value rows);

  /// min(slots, tokens) when `tokens` compete.
  Value emitTaken(ImplicitLocOpBuilder &b, Value tokens) {
    Value slots =
        emitCapacity(b, op.getCapacity(), tokens, /*perToken=*/1, experts);
    return arith::MinUIOp::create(b, slots, tokens);
  }
  /// Where the number of experts that took a token is counted.
  Value countAt(ImplicitLocOpBuilder &b, Value token) {
    return multiplyAdd(b, op.getTokens(), experts, token);
  }
  Value addTo(ImplicitLocOpBuilder &b, Value list, Value at) {
    Value old = memref::LoadOp::create(b, list, at);
    Value next = arith::AddIOp::create(b, old, i32Constant(b, 1));
    memref::StoreOp::create(b, next, list, at);
    return arith::IndexCastOp::create(b, b.getIndexType(), old);
  }

  KernelChooseRowsOp op;
  int64_t experts;
  /// Scratch: the scores of a token; of a vector of experts, the key of the
  /// last token taken and how many tokens with this key are.
  Value scores, pivots, ties;
};

} // namespace

ChooseRows::ChooseRows(KernelChooseRowsOp op, KernelContext &ctx)
    : op(op), experts(op.getExperts()),
      scores(ctx.allocScratch(ctx.b.getF32Type(), roundUpToLanes(experts))),
      pivots(ctx.allocScratch(ctx.b.getI32Type(), kLanes)),
      ties(ctx.allocScratch(ctx.b.getI32Type(), kLanes)) {}

//===----------------------------------------------------------------------===//
// Keys
//===----------------------------------------------------------------------===//

void ChooseRows::emitSoftmaxOverTokens(ImplicitLocOpBuilder &b, Value begin,
                                       Value end, Value e, int64_t count) {
  auto load = [&](ImplicitLocOpBuilder &b, Value token) {
    return loadLanes(b, op.getLogits(), multiplyAdd(b, token, experts, e),
                     count);
  };
  Value lowest = lanesConstant(b, -std::numeric_limits<float>::infinity());
  Value largest =
      forRange(b, begin, end, 1, lowest,
               [&](ImplicitLocOpBuilder &b, Value token, ValueRange carried) {
                 return SmallVector<Value>{
                     arith::MaximumFOp::create(b, carried[0], load(b, token))};
               })[0];
  auto term = [&](ImplicitLocOpBuilder &b, Value token) -> Value {
    return math::ExpOp::create(
        b, arith::SubFOp::create(b, load(b, token), largest));
  };
  Value sum =
      forRange(b, begin, end, 1, lanesConstant(b, 0.0f),
               [&](ImplicitLocOpBuilder &b, Value token, ValueRange carried) {
                 return SmallVector<Value>{
                     arith::AddFOp::create(b, carried[0], term(b, token))};
               })[0];
  forRange(b, begin, end, 1, [&](ImplicitLocOpBuilder &b, Value token) {
    Value score = arith::DivFOp::create(b, term(b, token), sum);
    storeRaw(b, keyOf(b, score), op.getKeys(),
             multiplyAdd(b, token, experts, e), count);
  });
}

void ChooseRows::emitKeys(ImplicitLocOpBuilder &b) {
  if (op.getScore() == TokenScore::SoftmaxOverTokens)
    return forTokenGroups(
        b, op.getCapacity(), op.getTokens(),
        [&](ImplicitLocOpBuilder &b, Value begin, Value end) {
          forLanes(b, experts,
                   [&](ImplicitLocOpBuilder &b, Value e, int64_t count) {
                     emitSoftmaxOverTokens(b, begin, end, e, count);
                   });
        });
  Score score = op.getScore() == TokenScore::None      ? Score::None
                : op.getScore() == TokenScore::Sigmoid ? Score::Sigmoid
                                                       : Score::Softmax;
  Value zero = indexConstant(b, 0);
  forRange(
      b, zero, op.getTokens(), 1, [&](ImplicitLocOpBuilder &b, Value token) {
        Value row = multiplyAdd(b, token, experts, zero);
        emitScores(
            b, score, /*round=*/Type(), op.getLogits(), row, experts, scores,
            [&](ImplicitLocOpBuilder &b, Value lanes, Value e, int64_t count) {
              storeRaw(b, keyOf(b, lanes), op.getKeys(),
                       arith::AddIOp::create(b, row, e), count);
            });
      });
}

//===----------------------------------------------------------------------===//
// Choosing
//===----------------------------------------------------------------------===//

Value ChooseRows::loadKeys(ImplicitLocOpBuilder &b, Value token, Value e,
                           int64_t count) {
  return loadRaw(b, op.getKeys(), multiplyAdd(b, token, experts, e), count);
}

Value ChooseRows::countTokens(ImplicitLocOpBuilder &b, Value begin, Value end,
                              Value e, int64_t count, arith::CmpIPredicate how,
                              Value pivots) {
  return forRange(
      b, begin, end, 1, lanesConstant(b, int32_t(0)),
      [&](ImplicitLocOpBuilder &b, Value token, ValueRange carried) {
        Value is =
            arith::CmpIOp::create(b, how, loadKeys(b, token, e, count), pivots);
        Value one = arith::ExtUIOp::create(b, lanesType(b.getI32Type()), is);
        return SmallVector<Value>{arith::AddIOp::create(b, carried[0], one)};
      })[0];
}

void ChooseRows::emitPivots(ImplicitLocOpBuilder &b, Value begin, Value end,
                            Value slots, Value e, int64_t count) {
  Value wanted =
      broadcastLanes(b, arith::IndexCastOp::create(b, b.getI32Type(), slots));
  // The largest pivot with enough keys not below it. Its bits are found on the
  // scale of unsigned numbers, which is that of the keys moved by `least`.
  Value least = lanesConstant(b, std::numeric_limits<int32_t>::min());
  Value top = lanesConstant(b, std::numeric_limits<int32_t>::min());
  SmallVector<Value> found = forRange(
      b, indexConstant(b, 0), indexConstant(b, 32), 1, ValueRange{least, top},
      [&](ImplicitLocOpBuilder &b, Value, ValueRange carried) {
        Value higher = arith::XOrIOp::create(b, carried[0], carried[1]);
        Value number = countTokens(b, begin, end, e, count,
                                   arith::CmpIPredicate::sge, higher);
        Value isEnough =
            arith::CmpIOp::create(b, arith::CmpIPredicate::sge, number, wanted);
        Value one = lanesConstant(b, int32_t(1));
        return SmallVector<Value>{
            arith::SelectOp::create(b, isEnough, higher, carried[0]),
            arith::ShRUIOp::create(b, carried[1], one)};
      });
  Value above =
      countTokens(b, begin, end, e, count, arith::CmpIPredicate::sgt, found[0]);
  Value zero = indexConstant(b, 0);
  storeRaw(b, found[0], pivots, zero);
  storeRaw(b, arith::SubIOp::create(b, wanted, above), ties, zero);
}

Value ChooseRows::emitScore(ImplicitLocOpBuilder &b, Value token,
                            Value expert) {
  Value at = multiplyAdd(b, token, experts, expert);
  if (op.getScore() == TokenScore::None)
    return memref::LoadOp::create(b, op.getLogits(), at);
  // Other scores are never below +0: the key of -infinity is that of a NaN.
  Value score = valueOfKey(b, memref::LoadOp::create(b, op.getKeys(), at));
  Value zero = f32Constant(b, 0.0f);
  Value isNumber =
      arith::CmpFOp::create(b, arith::CmpFPredicate::OGE, score, zero);
  Value nan = f32Constant(b, std::numeric_limits<float>::quiet_NaN());
  return arith::SelectOp::create(b, isNumber, score, nan);
}

void ChooseRows::emitGroup(ImplicitLocOpBuilder &b, Value begin, Value end,
                           Value firstRow, Value rowsOfExpert) {
  Value zero = indexConstant(b, 0);
  Value slots = emitTaken(b, arith::SubIOp::create(b, end, begin));
  auto emitExpert = [&](ImplicitLocOpBuilder &b, Value e, Value lane) {
    Value expert = arith::AddIOp::create(b, e, lane);
    Value pivot = memref::LoadOp::create(b, pivots, lane);
    Value left = memref::LoadOp::create(b, ties, lane);
    Value row = arith::AddIOp::create(
        b, arith::MulIOp::create(b, expert, rowsOfExpert), firstRow);
    using P = arith::CmpIPredicate;
    forRange(
        b, begin, end, 1, ValueRange{row, left},
        [&](ImplicitLocOpBuilder &b, Value token, ValueRange carried) {
          Value key = memref::LoadOp::create(
              b, op.getKeys(),
              ValueRange{multiplyAdd(b, token, experts, expert)});
          Value isAbove = arith::CmpIOp::create(b, P::sgt, key, pivot);
          Value isTie = arith::CmpIOp::create(b, P::eq, key, pivot);
          Value fits =
              arith::CmpIOp::create(b, P::sgt, carried[1], i32Constant(b, 0));
          isTie = arith::AndIOp::create(b, isTie, fits);
          Value isTaken = arith::OrIOp::create(b, isAbove, isTie);
          ifThen(b, isTaken, [&](ImplicitLocOpBuilder &b) {
            storeIndex(b, token, op.getRowToken(), carried[0]);
            memref::StoreOp::create(b, emitScore(b, token, expert),
                                    op.getRowWeight(), carried[0]);
            addTo(b, op.getKeys(), countAt(b, token));
          });
          Value one =
              arith::IndexCastUIOp::create(b, b.getIndexType(), isTaken);
          Value tie = arith::ExtUIOp::create(b, b.getI32Type(), isTie);
          return SmallVector<Value>{arith::AddIOp::create(b, carried[0], one),
                                    arith::SubIOp::create(b, carried[1], tie)};
        });
  };
  forLanes(b, experts, [&](ImplicitLocOpBuilder &b, Value e, int64_t count) {
    emitPivots(b, begin, end, slots, e, count);
    forRange(
        b, zero, indexConstant(b, count), 1,
        [&](ImplicitLocOpBuilder &b, Value lane) { emitExpert(b, e, lane); });
  });
}

//===----------------------------------------------------------------------===//
// Lists
//===----------------------------------------------------------------------===//

void ChooseRows::emitFinalWeights(ImplicitLocOpBuilder &b, Value rows) {
  std::optional<APFloat> scale = op.getScale();
  std::optional<Type> round = op.getRoundWeights();
  if (!op.getAverage() && !scale && !round)
    return;
  forRange(b, indexConstant(b, 0), rows, 1,
           [&](ImplicitLocOpBuilder &b, Value row) {
             Value w = memref::LoadOp::create(b, op.getRowWeight(), row);
             if (op.getAverage()) {
               Value token = loadIndex(b, op.getRowToken(), row);
               Value number =
                   memref::LoadOp::create(b, op.getKeys(), countAt(b, token));
               w = arith::DivFOp::create(
                   b, w, arith::SIToFPOp::create(b, b.getF32Type(), number));
             }
             if (scale)
               w = arith::MulFOp::create(
                   b, w, f32Constant(b, scale->convertToFloat()));
             if (round)
               w = roundTo(b, w, *round);
             memref::StoreOp::create(b, w, op.getRowWeight(), row);
           });
}

void ChooseRows::emitTokenLists(ImplicitLocOpBuilder &b, Value rows) {
  Value zero = indexConstant(b, 0), tokens = op.getTokens();
  // Counts become offsets, and then cursors.
  Value end = forRange(
      b, zero, tokens, 1, i32Constant(b, 0),
      [&](ImplicitLocOpBuilder &b, Value token, ValueRange carried) {
        Value at = countAt(b, token);
        Value number = memref::LoadOp::create(b, op.getKeys(), at);
        memref::StoreOp::create(b, carried[0], op.getKeys(), at);
        memref::StoreOp::create(b, carried[0], op.getTokenOffsets(), token);
        return SmallVector<Value>{arith::AddIOp::create(b, carried[0], number)};
      })[0];
  memref::StoreOp::create(b, end, op.getTokenOffsets(), tokens);
  forRange(b, zero, rows, 1, [&](ImplicitLocOpBuilder &b, Value row) {
    Value token = loadIndex(b, op.getRowToken(), row);
    storeIndex(b, row, op.getTokenRows(),
               addTo(b, op.getKeys(), countAt(b, token)));
  });
}

void ChooseRows::emit(ImplicitLocOpBuilder &b) {
  Value zero = indexConstant(b, 0), tokens = op.getTokens();
  forRange(b, zero, tokens, 1, [&](ImplicitLocOpBuilder &b, Value token) {
    memref::StoreOp::create(b, i32Constant(b, 0), op.getKeys(),
                            ValueRange{countAt(b, token)});
  });
  emitKeys(b);

  // Rows of an expert: full groups, and what the last one takes.
  Value fullTaken, rowsOfExpert;
  if (int64_t every = op.getCapacity().getEvery()) {
    Value size = indexConstant(b, every);
    fullTaken = emitTaken(b, size);
    Value full = arith::DivUIOp::create(b, tokens, size);
    Value rest = emitTaken(b, arith::RemUIOp::create(b, tokens, size));
    rowsOfExpert = arith::AddIOp::create(
        b, arith::MulIOp::create(b, full, fullTaken), rest);
  } else {
    rowsOfExpert = emitTaken(b, tokens);
  }
  forRange(b, zero, indexConstant(b, experts + 1), 1,
           [&](ImplicitLocOpBuilder &b, Value e) {
             storeIndex(b, arith::MulIOp::create(b, e, rowsOfExpert),
                        op.getExpertOffsets(), e);
           });
  forTokenGroups(
      b, op.getCapacity(), tokens,
      [&](ImplicitLocOpBuilder &b, Value begin, Value end) {
        Value firstRow = zero;
        if (int64_t every = op.getCapacity().getEvery())
          firstRow = arith::MulIOp::create(
              b, arith::DivUIOp::create(b, begin, indexConstant(b, every)),
              fullTaken);
        emitGroup(b, begin, end, firstRow, rowsOfExpert);
      });
  Value rows = multiplyAdd(b, rowsOfExpert, experts, zero);
  emitFinalWeights(b, rows);
  emitTokenLists(b, rows);
}

LogicalResult mlir::moe::cpu::expandChooseRows(KernelChooseRowsOp op,
                                               KernelContext &ctx) {
  ImplicitLocOpBuilder b(ctx.loc, ctx.b);
  ChooseRows emitter(op, ctx);
  Value alone = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, ctx.worker,
                                      indexConstant(b, 0));
  ifThen(b, alone, [&](ImplicitLocOpBuilder &b) { emitter.emit(b); });
  return success();
}
