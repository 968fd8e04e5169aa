//===- FMA.cpp - Register blocks for AVX-512 and AVX2 ---------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// mr rows x 32 columns of C in vectors of 16 (AVX-512) or 8 (AVX2). A channel
// of A, f32, is broadcast; B is widened in registers: of a pair of bf16
// channels the even one is the lower half of 32 bits, the odd one the upper.
//
//===----------------------------------------------------------------------===//

#include "Emitters.h"

#include "../Expand/VectorUtils.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::cpu;

namespace {
constexpr int64_t kColumns = 32;

struct FmaEmitter {
  UkernelOp op;
  OpBuilder &b;
  Location loc;
  int64_t mr, width, vectors;
  VectorType floats, ints;
  Value a, w;

  FmaEmitter(UkernelOp op, OpBuilder &b)
      : op(op), b(b), loc(op.getLoc()), mr(op.getMr()),
        width(op.getIsa() == Isa::AVX2 ? 8 : 16), vectors(kColumns / width),
        floats(VectorType::get({width}, b.getF32Type())),
        ints(VectorType::get({width}, b.getI32Type())) {}

  LogicalResult emit();
  SmallVector<Value> emitF32(ArrayRef<Value> init);
  SmallVector<Value> emitBf16(ArrayRef<Value> init);

  Value constant(int64_t value) { return indexConstant(b, loc, value); }

  Value cIndex(int64_t row, int64_t vector) {
    return addIndex(b, loc, op.getCOffset(), row * kColumns + vector * width);
  }

  /// A loop of `steps` steps carrying the accumulators.
  SmallVector<Value> loopOver(
      Value steps, ArrayRef<Value> init,
      llvm::function_ref<SmallVector<Value>(Value, ArrayRef<Value>)> body) {
    auto loop =
        scf::ForOp::create(b, loc, constant(0), steps, constant(1), init);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    SmallVector<Value> args(loop.getRegionIterArgs());
    scf::YieldOp::create(b, loc, body(loop.getInductionVar(), args));
    return loop.getResults();
  }

  /// Rows of channel `channel` of A, each in all lanes.
  SmallVector<Value> broadcastChannel(Value channel) {
    SmallVector<Value> rows;
    Value base = addIndex(b, loc, mulIndex(b, loc, channel, 16), op.getRow());
    for (int64_t i = 0; i < mr; ++i) {
      Value value =
          memref::LoadOp::create(b, loc, a, addIndex(b, loc, base, i));
      rows.push_back(vector::BroadcastOp::create(b, loc, floats, value));
    }
    return rows;
  }

  /// The line of B that is `prefetch` bytes ahead; `at` counts 4-byte elements.
  void prefetch(Value at) {
    if (op.getPrefetch())
      memref::PrefetchOp::create(
          b, loc, w, addIndex(b, loc, at, op.getPrefetch() / 4),
          /*isWrite=*/false, /*localityHint=*/3, /*isDataCache=*/true);
  }

  void multiply(ArrayRef<Value> rows, Value weights, int64_t vector,
                SmallVectorImpl<Value> &acc) {
    for (int64_t i = 0; i < mr; ++i) {
      Value &sum = acc[i * vectors + vector];
      sum = math::FmaOp::create(b, loc, rows[i], weights, sum);
    }
  }
};
} // namespace

/// B is [k][32 columns].
SmallVector<Value> FmaEmitter::emitF32(ArrayRef<Value> init) {
  w = viewBytes(b, loc, op.getB(), op.getBOffset(), b.getF32Type());
  return loopOver(op.getK(), init, [&](Value k, ArrayRef<Value> args) {
    SmallVector<Value> acc(args);
    Value at = mulIndex(b, loc, k, kColumns);
    prefetch(at);
    prefetch(addIndex(b, loc, at, 16));
    SmallVector<Value> rows = broadcastChannel(k);
    for (int64_t v = 0; v < vectors; ++v) {
      Value weights = vector::LoadOp::create(b, loc, floats, w,
                                             addIndex(b, loc, at, v * width));
      multiply(rows, weights, v, acc);
    }
    return acc;
  });
}

/// B is [k / 32][2 tiles][16 pairs][16 columns], a pair being one i32.
SmallVector<Value> FmaEmitter::emitBf16(ArrayRef<Value> init) {
  w = viewBytes(b, loc, op.getB(), op.getBOffset(), b.getI32Type());
  auto splat = [&](int32_t value) -> Value {
    return arith::ConstantOp::create(
        b, loc, DenseElementsAttr::get(ints, b.getI32IntegerAttr(value)));
  };
  Value half = splat(16), upper = splat(int32_t(0xffff0000));
  Value steps = arith::ShRUIOp::create(b, loc, op.getK(), constant(5));
  auto pair = [&](Value step, Value p, ArrayRef<Value> args) {
    SmallVector<Value> acc(args);
    Value at =
        addIndex(b, loc, mulIndex(b, loc, step, 512), mulIndex(b, loc, p, 16));
    SmallVector<Value> packed;
    for (int64_t v = 0; v < vectors; ++v) {
      int64_t column = v * width;
      Value from = addIndex(b, loc, at, column / 16 * 256 + column % 16);
      if (column % 16 == 0)
        prefetch(from);
      packed.push_back(vector::LoadOp::create(b, loc, ints, w, from));
    }
    Value even =
        addIndex(b, loc, mulIndex(b, loc, step, 32), mulIndex(b, loc, p, 2));
    for (int64_t odd = 0; odd < 2; ++odd) {
      SmallVector<Value> rows = broadcastChannel(addIndex(b, loc, even, odd));
      for (int64_t v = 0; v < vectors; ++v) {
        Value bits =
            odd ? arith::AndIOp::create(b, loc, packed[v], upper).getResult()
                : arith::ShLIOp::create(b, loc, packed[v], half).getResult();
        multiply(rows, vector::BitCastOp::create(b, loc, floats, bits), v, acc);
      }
    }
    return acc;
  };
  return loopOver(steps, init, [&](Value step, ArrayRef<Value> args) {
    return loopOver(constant(16), args, [&](Value p, ArrayRef<Value> inner) {
      return pair(step, p, inner);
    });
  });
}

LogicalResult FmaEmitter::emit() {
  bool bf16 = op.getWeightType().isBF16();
  if (mr > 16)
    return op.emitOpError("level ")
           << stringifyIsa(op.getIsa()) << " has 1 to 16 rows, not " << mr;
  a = viewBytes(b, loc, op.getA(), op.getAOffset(), b.getF32Type());
  SmallVector<Value> init;
  for (int64_t i = 0; i < mr; ++i)
    for (int64_t v = 0; v < vectors; ++v)
      init.push_back(
          op.getAccumulate()
              ? vector::LoadOp::create(b, loc, floats, op.getC(), cIndex(i, v))
                    .getResult()
              : arith::ConstantOp::create(b, loc, b.getZeroAttr(floats))
                    .getResult());
  SmallVector<Value> sums = bf16 ? emitBf16(init) : emitF32(init);
  for (int64_t i = 0; i < mr; ++i)
    for (int64_t v = 0; v < vectors; ++v)
      vector::StoreOp::create(b, loc, sums[i * vectors + v], op.getC(),
                              cIndex(i, v));
  return success();
}

LogicalResult cpu::emitFmaUkernel(UkernelOp op, OpBuilder &b) {
  return FmaEmitter(op, b).emit();
}
