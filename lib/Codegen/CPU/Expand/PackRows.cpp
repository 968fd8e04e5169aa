//===- PackRows.cpp - Expands moe.kernel.pack_rows ------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Every worker takes a contiguous share of the blocks of 16 rows. A row is
// copied as tiles of 32 bf16 channels (level AMX), or spread over the 16-row
// columns of the block in f32. With weights of rows it is multiplied by its own
// on the way.
//
//===----------------------------------------------------------------------===//

#include "GemmLayout.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::cpu;

namespace {
struct PackRows {
  KernelPackRowsOp op;
  KernelContext &ctx;
  OpBuilder &b;
  Location loc;
  PackedLayout layout;

  PackRows(KernelPackRowsOp op, KernelContext &ctx)
      : op(op), ctx(ctx), b(ctx.b), loc(ctx.loc),
        layout(ctx.config.getIsa(), op.getWeightType(), op.getHidden()) {}

  /// Zeroes the whole block: rows and channels of padding stay so.
  void clear(Value block) {
    VectorType type = layout.amx ? VectorType::get({32}, b.getBF16Type())
                                 : lanesType(b.getF32Type());
    Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(type));
    int64_t elements = layout.paddedChannels * kBlockRows;
    forRange(
        b, loc, indexConstant(b, loc, 0), indexConstant(b, loc, elements),
        [&](Value i) { vector::StoreOp::create(b, loc, zero, block, i); },
        type.getNumElements());
  }

  /// `value`, of the type of x, times the row's weight, if any; zero where
  /// `mask`, if any, is not set.
  Value multiply(Value value, Value weight, Value mask = {}) {
    if (!weight)
      return value;
    auto type = cast<VectorType>(value.getType());
    VectorType wide = type.clone(b.getF32Type());
    if (type != wide)
      value = arith::ExtFOp::create(b, loc, wide, value);
    Value factor = vector::BroadcastOp::create(b, loc, wide, weight);
    value = arith::MulFOp::create(b, loc, value, factor);
    if (mask) {
      Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(wide));
      value = arith::SelectOp::create(b, loc, mask, value, zero);
    }
    return type == wide ? value : arith::TruncFOp::create(b, loc, type, value);
  }

  /// 32 channels at a time, without conversion.
  void copyTiles(Value source, Value block, Value row, Value weight) {
    int64_t whole = op.getHidden() / 32 * 32, rest = op.getHidden() - whole;
    auto type = VectorType::get({32}, b.getBF16Type());
    Value rowOffset = mulIndex(b, loc, row, 32);
    auto copy = [&](Value channel, int64_t count) {
      Value from = addIndex(b, loc, source, channel);
      // Channel c is in tile c / 32, at 512 elements per tile.
      Value to =
          addIndex(b, loc, mulIndex(b, loc, channel, kBlockRows), rowOffset);
      Value value;
      if (count == 32) {
        value = vector::LoadOp::create(b, loc, type, op.getX(), from);
        value = multiply(value, weight);
      } else {
        Value mask = vector::ConstantMaskOp::create(
            b, loc, type.clone(b.getI1Type()), ArrayRef<int64_t>{count});
        Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(type));
        value = vector::MaskedLoadOp::create(b, loc, type, op.getX(), from,
                                             mask, zero);
        // Padding stays zero whatever the weight is.
        value = multiply(value, weight, mask);
      }
      vector::StoreOp::create(b, loc, value, block, to);
    };
    if (whole)
      forRange(
          b, loc, indexConstant(b, loc, 0), indexConstant(b, loc, whole),
          [&](Value channel) { copy(channel, 32); }, 32);
    if (rest)
      copy(indexConstant(b, loc, whole), rest);
  }

  void spreadLanes(Value source, Value block, Value row, Value weight) {
    Type x = cast<MemRefType>(op.getX().getType()).getElementType();
    forEachLanes(b, loc, op.getHidden(), [&](Value channel, int64_t count) {
      Value from = addIndex(b, loc, source, channel);
      Value lanes = loadLanes(b, loc, op.getX(), from, count);
      if (weight)
        lanes = roundTo(b, loc, multiply(lanes, weight), x);
      storeColumn(b, loc, lanes, block, channel, row, count);
    });
  }

  void packBlock(Value number, Value firstRow, Value rows) {
    Value offset = mulIndex(b, loc, number, layout.blockBytes());
    Value block = layout.view(b, loc, op.getPacked(), offset);
    bool paddedChannels = layout.paddedChannels != int64_t(op.getHidden());
    if (paddedChannels) {
      clear(block);
    } else {
      Value partial =
          arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, rows,
                                indexConstant(b, loc, kBlockRows));
      auto ifOp = scf::IfOp::create(b, loc, partial);
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(ifOp.thenBlock());
      clear(block);
    }
    forRange(b, loc, indexConstant(b, loc, 0), rows, [&](Value row) {
      Value number = addIndex(b, loc, firstRow, row);
      Value token = loadIndex(b, loc, op.getRowToken(), number);
      Value source = mulIndex(b, loc, token, op.getHidden());
      Value weight;
      if (op.getRowWeight())
        weight = memref::LoadOp::create(b, loc, op.getRowWeight(), number);
      if (layout.amx)
        copyTiles(source, block, row, weight);
      else
        spreadLanes(source, block, row, weight);
    });
  }

  LogicalResult expand() {
    Type x = cast<MemRefType>(op.getX().getType()).getElementType();
    if (layout.amx && !x.isBF16())
      return op.emitOpError("at level AMX, activations of type ")
             << x << " would be rounded to bf16";
    Value zero = indexConstant(b, loc, 0);
    Value experts = indexConstant(b, loc, op.getExperts());
    Value one = indexConstant(b, loc, 1);

    auto count = scf::ForOp::create(b, loc, zero, experts, one, zero);
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(count.getBody());
      ExpertRows e(b, loc, op.getExpertOffsets(), count.getInductionVar());
      scf::YieldOp::create(
          b, loc, addIndex(b, loc, count.getRegionIterArg(0), e.blocks));
    }
    auto [begin, end] = ctx.splitRange(count.getResult(0));

    auto loop = scf::ForOp::create(b, loc, zero, experts, one, zero);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    ExpertRows e(b, loc, op.getExpertOffsets(), loop.getInductionVar());
    Value first = loop.getRegionIterArg(0);
    Value next = addIndex(b, loc, first, e.blocks);
    Value lo = arith::MaxSIOp::create(b, loc, begin, first);
    Value hi = arith::MinSIOp::create(b, loc, end, next);
    forRange(b, loc, lo, hi, [&](Value number) {
      Value skipped = mulIndex(
          b, loc, arith::SubIOp::create(b, loc, number, first), kBlockRows);
      Value rows = arith::MinSIOp::create(
          b, loc, arith::SubIOp::create(b, loc, e.rows, skipped),
          indexConstant(b, loc, kBlockRows));
      packBlock(number, addIndex(b, loc, e.begin, skipped), rows);
    });
    scf::YieldOp::create(b, loc, next);
    return success();
  }
};
} // namespace

LogicalResult cpu::expandPackRows(KernelPackRowsOp op, KernelContext &ctx) {
  return PackRows(op, ctx).expand();
}
