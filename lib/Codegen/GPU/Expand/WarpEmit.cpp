//===- WarpEmit.cpp - What the kernels of routing say about warps ---------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "WarpEmit.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::gpu;

static Value reduce(Emit &e, Value value, NVVM::ReduxKind kind) {
  return NVVM::ReduxOp::create(e, value.getType(), value, kind, e.i32(-1));
}

Value mlir::moe::gpu::warpMaxS(Emit &e, Value value) {
  return reduce(e, value, NVVM::ReduxKind::MAX);
}

Value mlir::moe::gpu::warpMinS(Emit &e, Value value) {
  return reduce(e, value, NVVM::ReduxKind::MIN);
}

Value mlir::moe::gpu::warpMaximum(Emit &e, Value value) {
  for (int64_t distance : {16, 8, 4, 2, 1})
    value = arith::MaximumFOp::create(e, value, e.shuffleXor(value, distance));
  return value;
}

Value mlir::moe::gpu::warpMatch(Emit &e, Value value) {
  return NVVM::MatchSyncOp::create(e, e.getI32Type(), e.i32(-1), value,
                                   NVVM::MatchSyncKind::any);
}

Value mlir::moe::gpu::warpScan(Emit &e, Value value, Value lane) {
  for (int64_t distance : {1, 2, 4, 8, 16}) {
    Value below = e.shuffleUp(value, distance);
    Value exists = e.lessU(e.i32(distance - 1), lane);
    value = e.select(exists, e.add(value, below), value);
  }
  return value;
}

Value mlir::moe::gpu::countBits(Emit &e, Value bits) {
  return math::CtPopOp::create(e, bits);
}

Value mlir::moe::gpu::lowestBit(Emit &e, Value bits) {
  return math::CountTrailingZerosOp::create(e, bits);
}

void mlir::moe::gpu::deviceFence(Emit &e) {
  LLVM::FenceOp::create(e, LLVM::AtomicOrdering::acq_rel, "device");
}

Value mlir::moe::gpu::loadIf(Emit &e, Value condition, Type type, Value base,
                             Value index, Value otherwise) {
  auto branch = scf::IfOp::create(
      e, condition,
      [&](OpBuilder &nested, Location loc) {
        Emit e(loc, nested);
        Value loaded = e.load(type, base, index);
        scf::YieldOp::create(e, loaded);
      },
      [&](OpBuilder &nested, Location loc) {
        scf::YieldOp::create(nested, loc, otherwise);
      });
  return branch.getResult(0);
}

Value mlir::moe::gpu::ceilDiv(Emit &e, Value x, int64_t divisor) {
  return e.div(e.add(x, divisor - 1), divisor);
}

void mlir::moe::gpu::forThreads(Emit &e, KernelContext &ctx, Value end,
                                Emit::LoopBody body) {
  e.forRange(ctx.thread, end, e.i32(ctx.threads()), body);
}

static void forAll(Emit &e, Value begin, Value end, Value step,
                   Emit::LoopBody body) {
  if (end.getType().isInteger(64)) {
    begin = e.toI64(begin);
    step = e.toI64(step);
  }
  e.forRange(begin, end, step, body);
}

void mlir::moe::gpu::forAllThreads(Emit &e, KernelContext &ctx, Value end,
                                   Emit::LoopBody body) {
  Value first = e.add(e.mul(ctx.block, ctx.threads()), ctx.thread);
  forAll(e, first, end, e.mul(ctx.blocks, ctx.threads()), body);
}

void mlir::moe::gpu::forAllWarps(Emit &e, KernelContext &ctx, Value end,
                                 Emit::LoopBody body) {
  // Neighbours go to different blocks, so that little work has many SMs.
  Value first = e.add(e.mul(ctx.warp, ctx.blocks), ctx.block);
  forAll(e, first, end, e.mul(ctx.blocks, ctx.warps()), body);
}

Value mlir::moe::gpu::areAligned(Emit &e, ArrayRef<Value> addresses,
                                 int64_t alignment) {
  Value bits = e.i64(0);
  for (Value address : addresses)
    bits = e.bitOr(bits, LLVM::PtrToIntOp::create(e, e.getI64Type(), address));
  return e.equal(e.bitAnd(bits, e.i64(alignment - 1)), 0);
}
