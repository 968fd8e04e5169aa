//===- MapRows.cpp - Expansion of moe.kernel.map_rows ---------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The region becomes a function of one row on buffers, lowered to loops. It is
// then inlined into the loop over the rows, its temporaries living in the
// worker's scratch.
//
//===----------------------------------------------------------------------===//

#include "LinalgLoops.h"
#include "RowLoops.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::cpu;

void mlir::moe::cpu::registerMapRowsInterfaces(DialectRegistry &registry) {
  registerRowFunctionInterfaces(registry);
}

LogicalResult mlir::moe::cpu::expandMapRows(KernelMapRowsOp op,
                                            KernelContext &ctx) {
  RowFunction function(op);
  if (failed(function.create(lowerLinalgToLoops)))
    return failure();

  ImplicitLocOpBuilder b(ctx.loc, ctx.b);
  Value zero = indexConstant(b, 0);
  Value offsets = op.getExpertOffsets();
  Value numRows = op.getTokens();
  if (offsets)
    numRows = loadIndex(b, offsets, indexConstant(b, op.getExperts()));
  auto [begin, end] = ctx.splitRange(numRows);
  forRange(b, begin, end, 1, zero,
           [&](ImplicitLocOpBuilder &b, Value row, ValueRange carried) {
             Value expert = carried[0];
             if (offsets)
               expert = emitFindExpert(b, offsets, expert, row);
             SmallVector<Value> views;
             auto view = [&](ValueRange buffers, Value piece) {
               for (Value buffer : buffers) {
                 Type type = function.getArgumentTypes()[views.size()];
                 views.push_back(
                     emitView(b, buffer, piece, cast<MemRefType>(type)));
               }
             };
             view(op.getRows(), row);
             view(op.getExpertWeights(), expert);
             view(op.getInvariants(), zero);
             view(op.getOuts(), row);
             inlineRow(function, b, ctx, views);
             return SmallVector<Value>{expert};
           });
  return success();
}
