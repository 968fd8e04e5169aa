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

#include "../../RowFunction.h"
#include "Lanes.h"
#include "LinalgLoops.h"
#include "moe/Codegen/CPU/KernelExpansion.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::cpu;

void mlir::moe::cpu::registerMapRowsInterfaces(DialectRegistry &registry) {
  registerRowFunctionInterfaces(registry);
}

/// Inlines the body of `function` at `b`, temporaries as `allocate` gives them.
static void inlineRow(RowFunction &function, ImplicitLocOpBuilder &b,
                      ValueRange arguments,
                      function_ref<Value(MemRefType)> allocate) {
  for (memref::AllocOp alloc : function.getTemporaries()) {
    alloc.getResult().replaceAllUsesWith(allocate(alloc.getType()));
    alloc.erase();
  }
  IRMapping mapping;
  mapping.map(function.getBody().getArguments(), arguments);
  for (Operation &inner : function.getBody().without_terminator())
    b.clone(inner, mapping);
}

/// `count`-th piece of the shape of `type` in a flat buffer.
static Value emitView(ImplicitLocOpBuilder &b, Value buffer, Value piece,
                      MemRefType type) {
  Value offset =
      multiplyAdd(b, piece, type.getNumElements(), indexConstant(b, 0));
  auto constants = [&](ArrayRef<int64_t> values) {
    return getAsIndexOpFoldResult(b.getContext(), values);
  };
  return memref::ReinterpretCastOp::create(
      b, type, buffer, OpFoldResult(offset), constants(type.getShape()),
      constants(computeStrides(type.getShape())));
}

/// The expert of `row`, the first from `expert` on that has not ended before.
static Value emitFindExpert(ImplicitLocOpBuilder &b, Value offsets,
                            Value expert, Value row) {
  auto loop = scf::WhileOp::create(
      b, TypeRange{b.getIndexType()}, ValueRange{expert},
      [&](OpBuilder &nested, Location loc, ValueRange carried) {
        ImplicitLocOpBuilder b(loc, nested);
        Value next = arith::AddIOp::create(b, carried[0], indexConstant(b, 1));
        Value end = loadIndex(b, offsets, next);
        Value ended =
            arith::CmpIOp::create(b, arith::CmpIPredicate::ule, end, row);
        scf::ConditionOp::create(b, ended, carried);
      },
      [&](OpBuilder &nested, Location loc, ValueRange carried) {
        ImplicitLocOpBuilder b(loc, nested);
        Value next = arith::AddIOp::create(b, carried[0], indexConstant(b, 1));
        scf::YieldOp::create(b, next);
      });
  return loop.getResult(0);
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
  auto allocate = [&](MemRefType type) -> Value {
    Value flat = ctx.allocScratch(type.getElementType(),
                                  std::max<int64_t>(1, type.getNumElements()));
    auto constants = [&](ArrayRef<int64_t> values) {
      return getAsIndexOpFoldResult(b.getContext(), values);
    };
    return memref::ReinterpretCastOp::create(
        ctx.b, ctx.loc, type, flat, OpFoldResult(b.getIndexAttr(0)),
        constants(type.getShape()), constants(computeStrides(type.getShape())));
  };
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
             inlineRow(function, b, views, allocate);
             return SmallVector<Value>{expert};
           });
  return success();
}
