//===- ApplyCapacity.cpp - Expansion of moe.kernel.apply_capacity ---------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One worker visits the pairs in the order in which they get slots, counting
// the pairs of each expert; a stable merge sort makes that order where weights
// decide. What is left of each token then gets its final weights.
//
//===----------------------------------------------------------------------===//

#include "ApplyCapacity.h"
#include "SelectTopk.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::cpu;

//===----------------------------------------------------------------------===//
// Capacity
//===----------------------------------------------------------------------===//

Value cpu::emitCapacity(ImplicitLocOpBuilder &b, CapacityAttr capacity,
                        Value tokens, int64_t perToken, int64_t experts) {
  if (capacity.getKind() == CapacityKind::Slots)
    return indexConstant(b, capacity.getSlots());
  Type i64 = b.getI64Type();
  auto f64 = [&](double value) -> Value {
    return arith::ConstantOp::create(b, b.getF64FloatAttr(value));
  };
  auto whole = [&](int64_t value) -> Value {
    return arith::ConstantOp::create(b, b.getI64IntegerAttr(value));
  };
  Value factor = f64(capacity.getFactor().convertToDouble());
  Value all = arith::SIToFPOp::create(
      b, b.getF64Type(), arith::IndexCastOp::create(b, i64, tokens));
  Value c = all;
  if (capacity.getKind() == CapacityKind::Factor) {
    c = arith::MulFOp::create(b, c, f64(static_cast<double>(perToken)));
    c = arith::MulFOp::create(b, c, factor);
    c = arith::DivFOp::create(b, c, f64(static_cast<double>(experts)));
  } else {
    c = arith::MulFOp::create(b, c, factor);
  }
  c = capacity.getRoundDown() ? math::FloorOp::create(b, c).getResult()
                              : math::CeilOp::create(b, c).getResult();
  Value isMore = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, c, all);
  c = arith::SelectOp::create(b, isMore, all, c);
  Value slots = arith::FPToSIOp::create(b, i64, c);
  slots = arith::MaxSIOp::create(b, slots, whole(capacity.getMinimum()));
  if (int64_t multiple = capacity.getMultiple(); multiple > 1) {
    Value above = arith::AddIOp::create(b, slots, whole(multiple - 1));
    Value times = arith::DivUIOp::create(b, above, whole(multiple));
    slots = arith::MulIOp::create(b, times, whole(multiple));
  }
  return arith::IndexCastOp::create(b, b.getIndexType(), slots);
}

void cpu::forTokenGroups(
    ImplicitLocOpBuilder &b, CapacityAttr capacity, Value tokens,
    function_ref<void(ImplicitLocOpBuilder &, Value, Value)> body) {
  Value zero = indexConstant(b, 0);
  if (int64_t every = capacity.getEvery())
    return forRange(
        b, zero, tokens, every, [&](ImplicitLocOpBuilder &b, Value begin) {
          Value end = arith::AddIOp::create(b, begin, indexConstant(b, every));
          body(b, begin, arith::MinUIOp::create(b, end, tokens));
        });
  Value isAny =
      arith::CmpIOp::create(b, arith::CmpIPredicate::ne, tokens, zero);
  ifThen(b, isAny, [&](ImplicitLocOpBuilder &b) { body(b, zero, tokens); });
}

//===----------------------------------------------------------------------===//
// Dropping pairs
//===----------------------------------------------------------------------===//

namespace {

class ApplyCapacity {
public:
  ApplyCapacity(KernelApplyCapacityOp op, KernelContext &ctx)
      : op(op), policy(op.getPolicy().getPolicy()), experts(op.getExperts()),
        topK(policy.topK), pairs(op.getPolicy(), ctx),
        counts(ctx.allocScratch(ctx.b.getI32Type(), experts)) {}

  void emit(ImplicitLocOpBuilder &b);

private:
  /// The pair whose weight an element is sorted by.
  using PairOf = function_ref<Value(ImplicitLocOpBuilder &, Value)>;

  void fill(ImplicitLocOpBuilder &b, Value list);
  /// Decides the pairs of the tokens [begin, end).
  void emitGroup(ImplicitLocOpBuilder &b, Value begin, Value end);
  /// Writes the pair's id to the result: -1 when it gets none of `slots`.
  void emitPair(ImplicitLocOpBuilder &b, Value pair, Value slots);
  /// Sorts the numbers 0 to size - 1 by descending weight of `pairOf` them,
  /// stably. Returns the index in `order` from which on they stand.
  Value emitSort(ImplicitLocOpBuilder &b, Value size, PairOf pairOf);
  /// Merges the sorted [begin, middle) and [middle, end) behind `from` into
  /// what stands behind `to`.
  void emitMerge(ImplicitLocOpBuilder &b, Value from, Value to, Value begin,
                 Value middle, Value end, PairOf pairOf);
  void emitFinish(ImplicitLocOpBuilder &b, Value token);

  KernelApplyCapacityOp op;
  const Policy policy;
  int64_t experts, topK;
  ChosenPairs pairs;
  /// Scratch: per expert.
  Value counts;
};

} // namespace

void ApplyCapacity::fill(ImplicitLocOpBuilder &b, Value list) {
  forRange(b, indexConstant(b, 0), indexConstant(b, experts), 1,
           [&](ImplicitLocOpBuilder &b, Value e) {
             memref::StoreOp::create(b, i32Constant(b, 0), list, e);
           });
}

void ApplyCapacity::emitPair(ImplicitLocOpBuilder &b, Value pair, Value slots) {
  Value id = memref::LoadOp::create(b, op.getChosenIds(), pair);
  memref::StoreOp::create(b, id, op.getIds(), pair);
  Value is = arith::CmpIOp::create(b, arith::CmpIPredicate::sge, id,
                                   i32Constant(b, 0));
  auto count = [](ImplicitLocOpBuilder &b, Value list, Value e) {
    Value old = memref::LoadOp::create(b, list, e);
    Value next = arith::AddIOp::create(b, old, i32Constant(b, 1));
    memref::StoreOp::create(b, next, list, e);
  };
  ifThen(b, is, [&](ImplicitLocOpBuilder &b) {
    Value e = arith::IndexCastOp::create(b, b.getIndexType(), id);
    Value before = loadIndex(b, counts, e);
    Value fits =
        arith::CmpIOp::create(b, arith::CmpIPredicate::ult, before, slots);
    ifThen(
        b, fits, [&](ImplicitLocOpBuilder &b) { count(b, counts, e); },
        [&](ImplicitLocOpBuilder &b) {
          memref::StoreOp::create(b, i32Constant(b, -1), op.getIds(), pair);
          count(b, op.getDropped(), e);
        });
  });
}

void ApplyCapacity::emitGroup(ImplicitLocOpBuilder &b, Value begin, Value end) {
  Value zero = indexConstant(b, 0), k = indexConstant(b, topK);
  Value tokens = arith::SubIOp::create(b, end, begin);
  Value slots = emitCapacity(b, policy.getCapacity(), tokens, topK, experts);
  Value firstPair = multiplyAdd(b, begin, topK, zero);
  fill(b, counts);
  switch (policy.dropOrder) {
  case DropOrder::Choice:
    forRange(b, zero, k, 1, [&](ImplicitLocOpBuilder &b, Value j) {
      forRange(b, begin, end, 1, [&](ImplicitLocOpBuilder &b, Value token) {
        emitPair(b, multiplyAdd(b, token, topK, j), slots);
      });
    });
    return;
  case DropOrder::Position:
    forRange(
        b, firstPair, multiplyAdd(b, end, topK, zero), 1,
        [&](ImplicitLocOpBuilder &b, Value pair) { emitPair(b, pair, slots); });
    return;
  case DropOrder::Weight: {
    Value size = multiplyAdd(b, tokens, topK, zero);
    auto pairOf = [&](ImplicitLocOpBuilder &b, Value i) -> Value {
      return arith::AddIOp::create(b, firstPair, i);
    };
    Value order = emitSort(b, size, pairOf);
    forRange(b, zero, size, 1, [&](ImplicitLocOpBuilder &b, Value i) {
      Value at = arith::AddIOp::create(b, order, i);
      emitPair(b, pairOf(b, loadIndex(b, op.getOrder(), at)), slots);
    });
    return;
  }
  case DropOrder::Priority: {
    auto pairOf = [&](ImplicitLocOpBuilder &b, Value i) -> Value {
      return multiplyAdd(b, i, topK, firstPair);
    };
    Value order = emitSort(b, tokens, pairOf);
    forRange(b, zero, k, 1, [&](ImplicitLocOpBuilder &b, Value j) {
      forRange(b, zero, tokens, 1, [&](ImplicitLocOpBuilder &b, Value i) {
        Value at = arith::AddIOp::create(b, order, i);
        Value first = pairOf(b, loadIndex(b, op.getOrder(), at));
        emitPair(b, arith::AddIOp::create(b, first, j), slots);
      });
    });
    return;
  }
  }
}

//===----------------------------------------------------------------------===//
// Sorting
//===----------------------------------------------------------------------===//

void ApplyCapacity::emitMerge(ImplicitLocOpBuilder &b, Value from, Value to,
                              Value begin, Value middle, Value end,
                              PairOf pairOf) {
  Value one = indexConstant(b, 1), last = arith::SubIOp::create(b, end, one);
  // An exhausted half still gives an element, which is then not taken.
  auto load = [&](ImplicitLocOpBuilder &b, Value i) {
    Value inside = arith::MinUIOp::create(b, i, last);
    return memref::LoadOp::create(
        b, op.getOrder(), ValueRange{arith::AddIOp::create(b, from, inside)});
  };
  auto keyOfElement = [&](ImplicitLocOpBuilder &b, Value element) {
    Value i = arith::IndexCastOp::create(b, b.getIndexType(), element);
    Value weight = memref::LoadOp::create(b, op.getChosenWeights(),
                                          ValueRange{pairOf(b, i)});
    return keyOf(b, weight);
  };
  using P = arith::CmpIPredicate;
  forRange(
      b, begin, end, 1, ValueRange{begin, middle},
      [&](ImplicitLocOpBuilder &b, Value i, ValueRange carried) {
        Value left = load(b, carried[0]), right = load(b, carried[1]);
        Value hasLeft = arith::CmpIOp::create(b, P::ult, carried[0], middle);
        Value noRight = arith::CmpIOp::create(b, P::uge, carried[1], end);
        Value isFirst = arith::CmpIOp::create(b, P::sge, keyOfElement(b, left),
                                              keyOfElement(b, right));
        Value takesLeft = arith::AndIOp::create(
            b, hasLeft, arith::OrIOp::create(b, noRight, isFirst));
        Value taken = arith::SelectOp::create(b, takesLeft, left, right);
        memref::StoreOp::create(b, taken, op.getOrder(),
                                ValueRange{arith::AddIOp::create(b, to, i)});
        Value step =
            arith::IndexCastUIOp::create(b, b.getIndexType(), takesLeft);
        Value other = arith::SubIOp::create(b, one, step);
        return SmallVector<Value>{arith::AddIOp::create(b, carried[0], step),
                                  arith::AddIOp::create(b, carried[1], other)};
      });
}

Value ApplyCapacity::emitSort(ImplicitLocOpBuilder &b, Value size,
                              PairOf pairOf) {
  Value zero = indexConstant(b, 0), one = indexConstant(b, 1);
  forRange(b, zero, size, 1, [&](ImplicitLocOpBuilder &b, Value i) {
    storeIndex(b, i, op.getOrder(), i);
  });
  // Bottom up, from one half of the memory into the other.
  Value half = multiplyAdd(b, op.getTokens(), topK, zero);
  Type index = b.getIndexType();
  auto sorted = scf::WhileOp::create(
      b, TypeRange{index, index, index}, ValueRange{one, zero, half},
      [&](OpBuilder &nested, Location loc, ValueRange carried) {
        ImplicitLocOpBuilder b(loc, nested);
        Value isUnsorted = arith::CmpIOp::create(b, arith::CmpIPredicate::ult,
                                                 carried[0], size);
        scf::ConditionOp::create(b, isUnsorted, carried);
      },
      [&](OpBuilder &nested, Location loc, ValueRange carried) {
        ImplicitLocOpBuilder b(loc, nested);
        Value width = carried[0];
        Value step = arith::AddIOp::create(b, width, width);
        scf::ForOp::create(
            b, zero, size, step, ValueRange(),
            [&](OpBuilder &nested, Location loc, Value begin, ValueRange) {
              ImplicitLocOpBuilder b(loc, nested);
              Value middle = arith::AddIOp::create(b, begin, width);
              Value end = arith::AddIOp::create(b, begin, step);
              emitMerge(b, carried[1], carried[2], begin,
                        arith::MinUIOp::create(b, middle, size),
                        arith::MinUIOp::create(b, end, size), pairOf);
              scf::YieldOp::create(b);
            });
        scf::YieldOp::create(b, ValueRange{step, carried[2], carried[1]});
      });
  return sorted.getResult(1);
}

//===----------------------------------------------------------------------===//
// The kernel
//===----------------------------------------------------------------------===//

void ApplyCapacity::emitFinish(ImplicitLocOpBuilder &b, Value token) {
  Value row = multiplyAdd(b, token, topK, indexConstant(b, 0));
  pairs.emitClearTail(b);
  forRange(b, indexConstant(b, 0), indexConstant(b, topK), 1,
           [&](ImplicitLocOpBuilder &b, Value j) {
             Value pair = arith::AddIOp::create(b, row, j);
             Value id = memref::LoadOp::create(b, op.getIds(), pair);
             Value weight =
                 memref::LoadOp::create(b, op.getChosenWeights(), pair);
             pairs.emitStore(b, j, id, weight);
           });
  pairs.emitFinish(b, op.getIds(), op.getWeights(), row);
}

void ApplyCapacity::emit(ImplicitLocOpBuilder &b) {
  fill(b, op.getDropped());
  forTokenGroups(b, policy.getCapacity(), op.getTokens(),
                 [&](ImplicitLocOpBuilder &b, Value begin, Value end) {
                   emitGroup(b, begin, end);
                 });
  forRange(b, indexConstant(b, 0), op.getTokens(), 1,
           [&](ImplicitLocOpBuilder &b, Value token) { emitFinish(b, token); });
}

LogicalResult mlir::moe::cpu::expandApplyCapacity(KernelApplyCapacityOp op,
                                                  KernelContext &ctx) {
  ImplicitLocOpBuilder b(ctx.loc, ctx.b);
  ApplyCapacity emitter(op, ctx);
  Value alone = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, ctx.worker,
                                      indexConstant(b, 0));
  ifThen(b, alone, [&](ImplicitLocOpBuilder &b) { emitter.emit(b); });
  return success();
}
