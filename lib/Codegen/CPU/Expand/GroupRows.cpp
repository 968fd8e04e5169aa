//===- GroupRows.cpp - Expansion of moe.kernel.group_rows -----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A counting sort by expert that keeps the order of the tokens. One worker
// does it all: the lists are short and everything depends on everything.
//
//===----------------------------------------------------------------------===//

#include "Lanes.h"
#include "moe/Codegen/CPU/KernelExpansion.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::cpu;

namespace {

class GroupRows {
public:
  GroupRows(KernelGroupRowsOp op, KernelContext &ctx)
      : op(op), experts(op.getExperts()), perToken(op.getPerToken()),
        cursors(ctx.allocScratch(ctx.b.getI32Type(), experts)) {}

  /// Whether an id is out of range (-1 is no pair) or repeats in its token, i1.
  Value emitCheck(ImplicitLocOpBuilder &b);
  void emitLists(ImplicitLocOpBuilder &b);
  /// Lists without any row.
  void emitNoRows(ImplicitLocOpBuilder &b);

private:
  void fill(ImplicitLocOpBuilder &b, Value list, Value size, int32_t value) {
    Value constant = i32Constant(b, value);
    forRange(b, indexConstant(b, 0), size, 1,
             [&](ImplicitLocOpBuilder &b, Value i) {
               memref::StoreOp::create(b, constant, list, i);
             });
  }
  /// list[index], which is then counted up.
  Value postIncrement(ImplicitLocOpBuilder &b, Value list, Value index) {
    Value old = memref::LoadOp::create(b, list, index);
    Value next = arith::AddIOp::create(b, old, i32Constant(b, 1));
    memref::StoreOp::create(b, next, list, index);
    return arith::IndexCastOp::create(b, b.getIndexType(), old);
  }

  /// Calls `body` with the id of a pair as index, unless it is no pair.
  void ifPair(ImplicitLocOpBuilder &b, Value pair,
              function_ref<void(ImplicitLocOpBuilder &, Value)> body) {
    Value id = memref::LoadOp::create(b, op.getIds(), pair);
    Value is = arith::CmpIOp::create(b, arith::CmpIPredicate::sge, id,
                                     i32Constant(b, 0));
    ifThen(b, is, [&](ImplicitLocOpBuilder &b) {
      body(b, arith::IndexCastOp::create(b, b.getIndexType(), id));
    });
  }

  KernelGroupRowsOp op;
  int64_t experts, perToken;
  /// Scratch: one i32 per expert.
  Value cursors;
};

} // namespace

Value GroupRows::emitCheck(ImplicitLocOpBuilder &b) {
  Value zero = indexConstant(b, 0), k = indexConstant(b, perToken);
  // The last token that visited each expert, from 1 on.
  fill(b, cursors, indexConstant(b, experts), 0);
  auto checkPair = [&](ImplicitLocOpBuilder &b, Value token, Value at) {
    Value id = memref::LoadOp::create(b, op.getIds(), at);
    Value inRange = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, id,
                                          i32Constant(b, experts));
    Value mark = arith::IndexCastOp::create(
        b, b.getI32Type(),
        arith::AddIOp::create(b, token, indexConstant(b, 1)));
    auto check = scf::IfOp::create(
        b, inRange,
        [&](OpBuilder &nested, Location loc) {
          ImplicitLocOpBuilder b(loc, nested);
          Value expert = arith::IndexCastOp::create(b, b.getIndexType(), id);
          Value seen = memref::LoadOp::create(b, cursors, expert);
          memref::StoreOp::create(b, mark, cursors, expert);
          Value repeated =
              arith::CmpIOp::create(b, arith::CmpIPredicate::eq, seen, mark);
          scf::YieldOp::create(b, repeated);
        },
        [&](OpBuilder &nested, Location loc) {
          ImplicitLocOpBuilder b(loc, nested);
          Value isBad = arith::CmpIOp::create(b, arith::CmpIPredicate::ne, id,
                                              i32Constant(b, -1));
          scf::YieldOp::create(b, isBad);
        });
    return check.getResult(0);
  };
  Value good = arith::ConstantOp::create(b, b.getBoolAttr(false));
  return forRange(
      b, zero, op.getTokens(), 1, good,
      [&](ImplicitLocOpBuilder &b, Value token, ValueRange carried) {
        return forRange(
            b, zero, k, 1, carried,
            [&](ImplicitLocOpBuilder &b, Value j, ValueRange carried) {
              Value bad =
                  checkPair(b, token, multiplyAdd(b, token, perToken, j));
              return SmallVector<Value>{
                  arith::OrIOp::create(b, carried[0], bad)};
            });
      })[0];
}

void GroupRows::emitLists(ImplicitLocOpBuilder &b) {
  Value zero = indexConstant(b, 0), one = indexConstant(b, 1);
  Value numExperts = indexConstant(b, experts);
  Value k = indexConstant(b, perToken);
  Value tokens = op.getTokens();
  Value pairs = multiplyAdd(b, tokens, perToken, zero);

  // Count, then turn the counts into offsets and cursors.
  fill(b, cursors, numExperts, 0);
  forRange(b, zero, pairs, 1, [&](ImplicitLocOpBuilder &b, Value pair) {
    ifPair(b, pair, [&](ImplicitLocOpBuilder &b, Value id) {
      postIncrement(b, cursors, id);
    });
  });
  memref::StoreOp::create(b, i32Constant(b, 0), op.getExpertOffsets(), zero);
  forRange(b, zero, numExperts, 1, i32Constant(b, 0),
           [&](ImplicitLocOpBuilder &b, Value e, ValueRange carried) {
             Value count = memref::LoadOp::create(b, cursors, e);
             memref::StoreOp::create(b, carried[0], cursors, e);
             Value end = arith::AddIOp::create(b, carried[0], count);
             memref::StoreOp::create(
                 b, end, op.getExpertOffsets(),
                 ValueRange{arith::AddIOp::create(b, e, one)});
             return SmallVector<Value>{end};
           });

  // Pairs to rows. The end of each token's rows counts them as it goes. Ids
  // that were selected here ascend within a token, so its rows do as well.
  memref::StoreOp::create(b, i32Constant(b, 0), op.getTokenOffsets(), zero);
  forRange(b, zero, tokens, 1, [&](ImplicitLocOpBuilder &b, Value token) {
    Value first = multiplyAdd(b, token, perToken, zero);
    Value next = arith::AddIOp::create(b, token, one);
    Value begin = memref::LoadOp::create(b, op.getTokenOffsets(), token);
    memref::StoreOp::create(b, begin, op.getTokenOffsets(), next);
    forRange(b, zero, k, 1, [&](ImplicitLocOpBuilder &b, Value j) {
      Value pair = arith::AddIOp::create(b, first, j);
      ifPair(b, pair, [&](ImplicitLocOpBuilder &b, Value id) {
        Value row = postIncrement(b, cursors, id);
        storeIndex(b, token, op.getRowToken(), row);
        Value weight = memref::LoadOp::create(b, op.getWeights(), pair);
        memref::StoreOp::create(b, weight, op.getRowWeight(), row);
        Value at = postIncrement(b, op.getTokenOffsets(), next);
        if (!op.getGiven())
          storeIndex(b, row, op.getTokenRows(), at);
      });
    });
  });
  if (!op.getGiven())
    return;

  // Given ids stand in any order: hand out the rows in ascending order, with
  // the token offsets as cursors, which then move back by one token.
  Value rows = loadIndex(b, op.getTokenOffsets(), tokens);
  forRange(b, zero, rows, 1, [&](ImplicitLocOpBuilder &b, Value row) {
    Value token = loadIndex(b, op.getRowToken(), row);
    storeIndex(b, row, op.getTokenRows(),
               postIncrement(b, op.getTokenOffsets(), token));
  });
  forRange(b, zero, tokens, 1, i32Constant(b, 0),
           [&](ImplicitLocOpBuilder &b, Value token, ValueRange carried) {
             Value end = memref::LoadOp::create(b, op.getTokenOffsets(), token);
             memref::StoreOp::create(b, carried[0], op.getTokenOffsets(),
                                     token);
             return SmallVector<Value>{end};
           });
}

void GroupRows::emitNoRows(ImplicitLocOpBuilder &b) {
  fill(b, op.getExpertOffsets(), indexConstant(b, experts + 1), 0);
  Value ends = arith::AddIOp::create(b, op.getTokens(), indexConstant(b, 1));
  fill(b, op.getTokenOffsets(), ends, 0);
}

LogicalResult mlir::moe::cpu::expandGroupRows(KernelGroupRowsOp op,
                                              KernelContext &ctx) {
  ImplicitLocOpBuilder b(ctx.loc, ctx.b);
  GroupRows emitter(op, ctx);
  Value alone = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, ctx.worker,
                                      indexConstant(b, 0));
  if (!op.getGiven()) {
    ifThen(b, alone, [&](ImplicitLocOpBuilder &b) { emitter.emitLists(b); });
    return success();
  }
  auto status = scf::IfOp::create(
      b, alone,
      [&](OpBuilder &nested, Location loc) {
        ImplicitLocOpBuilder b(loc, nested);
        Value bad = emitter.emitCheck(b);
        ifThen(
            b, bad, [&](ImplicitLocOpBuilder &b) { emitter.emitNoRows(b); },
            [&](ImplicitLocOpBuilder &b) { emitter.emitLists(b); });
        // MOERT_KERNEL_BAD_EXPERT_INDEX is 1.
        Value status = arith::ExtUIOp::create(b, b.getI32Type(), bad);
        scf::YieldOp::create(b, status);
      },
      [&](OpBuilder &nested, Location loc) {
        ImplicitLocOpBuilder b(loc, nested);
        scf::YieldOp::create(b, i32Constant(b, 0));
      });
  ctx.raiseStatus(status.getResult(0));
  return success();
}
