//===- RouteRows.cpp - Expansion of moe.kernel.route_rows ---------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// All blocks choose; the block that ends last builds the lists. Blocks draw
// tickets to find out, so none waits for another. The counter wraps around at
// the number of blocks and is zero again for the next launch.
//
//===----------------------------------------------------------------------===//

#include "Grouping.h"
#include "SelectTopk.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::gpu;

/// Draws a ticket in thread 0, whose block has written all it has to; whether
/// it is the last one goes to `flag`.
static void emitDraw(Emit &e, KernelContext &ctx, Value ticket, Value flag) {
  // What the block wrote becomes visible before the ticket, and what other
  // blocks wrote before theirs is visible after it.
  deviceFence(e);
  Value last = e.add(ctx.blocks, -1);
  Value drawn =
      LLVM::AtomicRMWOp::create(e, LLVM::AtomicBinOp::uinc_wrap, ticket, last,
                                LLVM::AtomicOrdering::monotonic, "device");
  deviceFence(e);
  Value isLast =
      arith::ExtUIOp::create(e, e.getI32Type(), e.equal(drawn, last));
  e.storeAt(isLast, flag);
}

LogicalResult mlir::moe::gpu::expandRouteRows(KernelRouteRowsOp op,
                                              KernelContext &ctx) {
  Emit e(ctx.loc, ctx.b);
  SelectTopkArgs select;
  select.logits = ctx.argument(op.getLogits());
  select.bias = op.getBias() ? ctx.argument(op.getBias()) : Value();
  select.ids = ctx.argument(op.getIds());
  select.weights = ctx.argument(op.getWeights());
  select.tokens = argumentI32(e, ctx, op.getTokens());
  select.experts = op.getExperts();
  select.policy = op.getPolicy();

  GroupingArgs group;
  group.ids = select.ids;
  group.weights = select.weights;
  group.expertOffsets = ctx.argument(op.getExpertOffsets());
  group.rowToken = ctx.argument(op.getRowToken());
  group.rowWeight = ctx.argument(op.getRowWeight());
  group.tokenOffsets = ctx.argument(op.getTokenOffsets());
  group.tokenRows = ctx.argument(op.getTokenRows());
  if (op.getWorklist())
    group.worklist = ctx.argument(op.getWorklist());
  group.tokens = select.tokens;
  group.experts = op.getExperts();
  group.perToken = op.getPolicy().getTopK();
  group.tileRows = op.getTileRows().value_or(0);
  group.given = false;
  group.sparse = op.getPolicy().dropsPairs();

  Grouping grouping(e, ctx, group);
  Value flag = ctx.allocShared(4), ticket = ctx.makeTicket();
  emitSelectTopk(e, ctx, select);
  e.syncBlock();
  e.ifThen(e.equal(ctx.thread, 0),
           [&](Emit &e) { emitDraw(e, ctx, ticket, flag); });
  e.syncBlock();
  Value isLast = e.equal(e.loadAt(e.getI32Type(), flag), 1);
  e.ifThen(isLast, [&](Emit &e) { grouping.emit(e); });
  return success();
}
