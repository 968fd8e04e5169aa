//===- MapRows.cpp - GPU code of moe.kernel.map_rows ----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Correct for every body, fast for none: a block takes the rows in turn with
// the other blocks, its threads share the elements of each op of the row, and
// sums run in one thread. Temporaries lie in shared memory while they fit, then
// in the block's scratch.
//
//===----------------------------------------------------------------------===//

#include "../../RowFunction.h"
#include "MapRowsEmit.h"
#include "MapRowsLoops.h"
#include "moe/Codegen/GPU/KernelExpansion.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::gpu;

/// The expert of `row`: offsets[expert] <= row < offsets[expert + 1].
static Value emitFindExpert(Emit &e, Value offsets, int64_t experts,
                            Value row) {
  unsigned steps = llvm::Log2_64_Ceil(experts);
  SmallVector<Value> range =
      e.forRange(e.i32(0), e.i32(steps), e.i32(1), {e.i32(0), e.i32(experts)},
                 [&](Emit &e, Value, ValueRange carried) {
                   // The expert is in [first, end); row is in its range of
                   // rows.
                   Value first = carried[0], end = carried[1];
                   Value middle = e.shr(e.add(first, end), e.i32(1));
                   Value start = e.load(e.getI32Type(), offsets, middle);
                   Value isBefore =
                       e.cmp(arith::CmpIPredicate::ule, e.toI64(start), row);
                   return SmallVector<Value>{e.select(isBefore, middle, first),
                                             e.select(isBefore, end, middle)};
                 });
  return e.toI64(range[0]);
}

/// Places the temporaries of the row's code.
static void allocate(RowFunction &function, KernelContext &ctx,
                     RowEmitter &row) {
  int64_t available =
      std::min(ctx.arch.maxSharedBytes,
               ctx.arch.sharedBytesPerSm / ctx.config.getBlocks() -
                   ctx.arch.reservedSharedBytes);
  for (memref::AllocOp alloc : function.getTemporaries()) {
    constexpr int64_t kAlignment = 16;
    MemRefType type = alloc.getType();
    // Elements of other types are refused where they are used.
    Type storage = storageType(type.getElementType());
    int64_t width = storage ? storage.getIntOrFloatBitWidth() / 8 : 8;
    int64_t bytes = std::max<int64_t>(1, type.getNumElements()) * width;
    int64_t end = llvm::alignTo(ctx.sharedUsed, kAlignment) + bytes;
    row.setBuffer(alloc, end <= available ? ctx.allocShared(bytes, kAlignment)
                                          : ctx.allocScratch(bytes));
  }
}

LogicalResult mlir::moe::gpu::expandMapRows(KernelMapRowsOp op,
                                            KernelContext &ctx) {
  RowFunction function(op);
  if (failed(function.create(lowerLinalgToThreads)))
    return failure();
  Block &body = function.getBody();
  RowEmitter rowEmitter(ctx.thread, ctx.threads());
  allocate(function, ctx, rowEmitter);
  FailureOr<RowAccesses> accesses = rowEmitter.accessesOf(*body.getParent());
  if (failed(accesses))
    return failure();
  RowAccesses::Roots temporaries;
  for (memref::AllocOp alloc : function.getTemporaries())
    temporaries.insert(alloc);

  Emit e(ctx.loc, ctx.b);
  Value offsets;
  Value rows;
  if (op.getExpertOffsets()) {
    offsets = ctx.argument(op.getExpertOffsets());
    rows = e.toI64(e.load(e.getI32Type(), offsets, e.i32(op.getExperts())));
  } else {
    rows = ctx.argument(op.getTokens());
  }
  LogicalResult result = success();
  auto emitRow = [&](Emit &e, Value row) {
    unsigned next = 0;
    auto bind = [&](ValueRange arguments, Value piece) {
      for (Value argument : arguments) {
        auto type = cast<MemRefType>(body.getArgument(next).getType());
        Value pointer = ctx.argument(argument);
        Type storage = storageType(type.getElementType());
        if (piece && storage)
          pointer =
              e.address(storage, pointer, e.mul(piece, type.getNumElements()));
        rowEmitter.setBuffer(body.getArgument(next++), pointer);
      }
    };
    bind(op.getRows(), row);
    bind(op.getExpertWeights(),
         op.getExpertWeights().empty()
             ? Value()
             : emitFindExpert(e, offsets, op.getExperts(), row));
    bind(op.getInvariants(), Value());
    bind(op.getOuts(), row);
    result = rowEmitter.emitBlock(e, body);
    // The next row takes the same temporaries.
    rowEmitter.pending().keepOnly(temporaries);
    if (rowEmitter.pending().conflictsWith(*accesses))
      rowEmitter.barrier(e);
  };
  e.forRange(e.toI64(ctx.block), rows, e.toI64(ctx.blocks), emitRow);
  return result;
}
