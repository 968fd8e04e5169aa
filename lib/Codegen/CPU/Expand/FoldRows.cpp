//===- FoldRows.cpp - Expansion of moe.kernel.fold_rows -------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The results are the accumulators: the region, as a function of one row on
// buffers, reads and writes them in place.
//
//===----------------------------------------------------------------------===//

#include "LinalgLoops.h"
#include "RowLoops.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::cpu;

/// `value` as a constant of an element type.
static Value initConstant(ImplicitLocOpBuilder &b, Type type, double value) {
  if (isa<FloatType>(type))
    return arith::ConstantOp::create(b, b.getFloatAttr(type, value));
  return arith::ConstantOp::create(
      b, b.getIntegerAttr(type, static_cast<int64_t>(value)));
}

LogicalResult mlir::moe::cpu::expandFoldRows(KernelFoldRowsOp op,
                                             KernelContext &ctx) {
  RowFunction function(op);
  if (failed(function.create(lowerLinalgToLoops)))
    return failure();

  ImplicitLocOpBuilder b(ctx.loc, ctx.b);
  Value zero = indexConstant(b, 0);
  Value alone =
      arith::CmpIOp::create(b, arith::CmpIPredicate::eq, ctx.worker, zero);
  ArrayRef<Type> types = function.getArgumentTypes();
  ifThen(b, alone, [&](ImplicitLocOpBuilder &b) {
    ArrayRef<Type> views = types.take_back(op.getOuts().size());
    for (size_t k = 0; k < views.size(); ++k) {
      auto type = cast<MemRefType>(views[k]);
      double init = cast<FloatAttr>(op.getInits()[k]).getValueAsDouble();
      Value out = op.getOuts()[k];
      Value value = initConstant(b, type.getElementType(), init);
      forRange(b, zero, indexConstant(b, type.getNumElements()), 1,
               [&](ImplicitLocOpBuilder &b, Value i) {
                 memref::StoreOp::create(b, value, out, ValueRange{i});
               });
    }
    forRange(
        b, zero, op.getTokens(), 1, [&](ImplicitLocOpBuilder &b, Value row) {
          SmallVector<Value> arguments{row};
          auto view = [&](ValueRange buffers, Value piece) {
            for (Value buffer : buffers)
              arguments.push_back(emitView(
                  b, buffer, piece, cast<MemRefType>(types[arguments.size()])));
          };
          view(op.getRows(), row);
          view(op.getInvariants(), zero);
          view(op.getOuts(), zero);
          inlineRow(function, b, ctx, arguments);
        });
  });
  return success();
}
