//===- MapRowsEmit.cpp - A row's code for the threads of a block ----------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MapRowsEmit.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/UB/IR/UBOps.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::moe::gpu;

/// The type that computes what `type` computes in a kernel.
static Type kernelType(Type type) {
  return type.isIndex() ? IntegerType::get(type.getContext(), 64) : type;
}

static LLVM::LLVMPointerType genericPointer(MLIRContext *context) {
  return LLVM::LLVMPointerType::get(context);
}
//===----------------------------------------------------------------------===//
// Scalars
//===----------------------------------------------------------------------===//

LogicalResult RowEmitter::emitScalar(Emit &e, Operation &op) {
  if (auto constant = dyn_cast<arith::ConstantOp>(op))
    if (auto value = dyn_cast<IntegerAttr>(constant.getValue());
        value && value.getType().isIndex()) {
      values.map(constant.getResult(), e.i64(value.getInt()));
      return success();
    }
  if (isa<arith::IndexCastOp, arith::IndexCastUIOp>(op)) {
    Value from = lookup(op.getOperand(0));
    Type to = kernelType(op.getResult(0).getType());
    unsigned width = from.getType().getIntOrFloatBitWidth();
    Value result = from;
    if (to.getIntOrFloatBitWidth() < width)
      result = arith::TruncIOp::create(e, to, from);
    else if (to.getIntOrFloatBitWidth() > width)
      result = isa<arith::IndexCastOp>(op)
                   ? arith::ExtSIOp::create(e, to, from).getResult()
                   : arith::ExtUIOp::create(e, to, from).getResult();
    values.map(op.getResult(0), result);
    return success();
  }
  Operation *clone = e.clone(op, values);
  for (OpResult result : clone->getResults())
    result.setType(kernelType(result.getType()));
  return success();
}

//===----------------------------------------------------------------------===//
// Control flow
//===----------------------------------------------------------------------===//

/// Emits the only block of `from` at the end of `to`, and what it yields.
LogicalResult RowEmitter::emitRegion(Emit &e, Region &from, Block &to) {
  OpBuilder::InsertionGuard guard(e);
  e.setInsertionPointToEnd(&to);
  if (failed(emitBlock(e, from.front())))
    return failure();
  Operation *terminator = from.front().getTerminator();
  SmallVector<Value> operands;
  for (Value operand : terminator->getOperands()) {
    if (!isa<MemRefType>(operand.getType())) {
      operands.push_back(lookup(operand));
      continue;
    }
    FailureOr<Address> address = addressOf(terminator, operand);
    if (failed(address))
      return failure();
    operands.push_back(LLVM::AddrSpaceCastOp::create(
        e, genericPointer(e.getContext()), address->pointer));
    operands.push_back(address->offset ? address->offset : e.i64(0));
  }
  if (isa<scf::ConditionOp>(terminator))
    scf::ConditionOp::create(e, operands.front(),
                             ArrayRef(operands).drop_front());
  else
    scf::YieldOp::create(e, operands);
  return success();
}

/// The iterations of all dimensions, shared among the threads.
LogicalResult RowEmitter::emitParallel(Emit &e, scf::ParallelOp op) {
  int64_t total = 1;
  SmallVector<int64_t> sizes;
  for (auto [lower, upper, step] :
       llvm::zip_equal(op.getLowerBound(), op.getUpperBound(), op.getStep())) {
    std::optional<int64_t> size = getConstantIntValue(upper);
    if (!size || !isZeroInteger(OpFoldResult(lower)) ||
        !isOneInteger(OpFoldResult(step)) || op.getNumResults() || alone)
      return op.emitOpError("has no GPU code in tensor code that runs row by "
                            "row");
    sizes.push_back(*size);
    total *= *size;
  }
  FailureOr<RowAccesses> accesses = accessesOf(op.getRegion());
  if (failed(accesses) || failed(waitFor(e, *accesses)))
    return failure();

  LogicalResult result = success();
  auto emitBody = [&](Emit &e, Value linear) {
    for (unsigned i = sizes.size(); i-- > 0;) {
      int64_t size = sizes[i];
      bool isLast = llvm::all_of(ArrayRef(sizes).take_front(i),
                                 [](int64_t size) { return size == 1; });
      Value iv = size == 1 ? e.i64(0)
                 : isLast  ? e.toI64(linear)
                           : e.toI64(e.rem(linear, size));
      values.map(op.getInductionVars()[i], iv);
      if (size != 1 && !isLast)
        linear = e.div(linear, size);
    }
    alone = true;
    result = emitBlock(e, *op.getBody());
    alone = false;
  };
  if (total == threads) {
    emitBody(e, thread);
  } else if (total < threads) {
    e.ifThen(e.lessU(thread, e.i32(total)),
             [&](Emit &e) { emitBody(e, thread); });
  } else {
    bool isWide = total > std::numeric_limits<int32_t>::max() - threads;
    Value first = isWide ? e.toI64(thread) : thread;
    e.forRange(first, e.constantLike(first, total),
               e.constantLike(first, threads), emitBody);
  }
  return result;
}

LogicalResult RowEmitter::emitFor(Emit &e, scf::ForOp op) {
  RowAccesses before = state;
  LogicalResult result = success();
  auto loop = scf::ForOp::create(
      e, lookup(op.getLowerBound()), lookup(op.getUpperBound()),
      lookup(op.getStep()), lookup(op.getInitArgs()),
      [&](OpBuilder &nested, Location loc, Value iv, ValueRange carried) {
        Emit inner(loc, nested);
        values.map(op.getInductionVar(), iv);
        values.map(op.getRegionIterArgs(), carried);
        result = emitBlock(inner, *op.getBody());
        if (succeeded(result) && !alone)
          result = endOfLoop(inner, op);
        inner.setLoc(loc);
        if (succeeded(result))
          scf::YieldOp::create(
              inner, lookup(op.getBody()->getTerminator()->getOperands()));
      },
      op.getUnsignedCmp());
  values.map(op.getResults(), loop.getResults());
  state.add(before);
  return result;
}

LogicalResult RowEmitter::emitIf(Emit &e, scf::IfOp op) {
  SmallVector<Type> types;
  for (Type type : op.getResultTypes()) {
    if (isa<MemRefType>(type))
      types.append({genericPointer(e.getContext()), e.getI64Type()});
    else
      types.push_back(kernelType(type));
  }
  bool hasElse = !op.getElseRegion().empty();
  auto branch =
      scf::IfOp::create(e, types, lookup(op.getCondition()),
                        /*addThenBlock=*/true, /*addElseBlock=*/hasElse);
  RowAccesses before = state;
  if (failed(emitRegion(e, op.getThenRegion(), *branch.thenBlock())))
    return failure();
  std::swap(before, state);
  if (hasElse && failed(emitRegion(e, op.getElseRegion(), *branch.elseBlock())))
    return failure();
  state.add(before);
  unsigned next = 0;
  for (OpResult result : op.getResults()) {
    if (isa<MemRefType>(result.getType())) {
      buffers[result] = {branch.getResult(next), branch.getResult(next + 1)};
      next += 2;
    } else {
      values.map(result, branch.getResult(next++));
    }
  }
  return success();
}

LogicalResult RowEmitter::emitWhile(Emit &e, scf::WhileOp op) {
  auto types = [&](TypeRange range) {
    return llvm::map_to_vector(range, kernelType);
  };
  auto loop = scf::WhileOp::create(e, types(op.getResultTypes()),
                                   lookup(op.getInits()));
  auto emitPart = [&](Region &from, Region &to) {
    SmallVector<Location> locs(from.getNumArguments(), op.getLoc());
    Block &block = to.emplaceBlock();
    block.addArguments(types(from.getArgumentTypes()), locs);
    values.map(from.getArguments(), block.getArguments());
    return emitRegion(e, from, block);
  };
  if (failed(emitPart(op.getBefore(), loop.getBefore())))
    return failure();
  RowAccesses condition = state;
  if (failed(emitPart(op.getAfter(), loop.getAfter())))
    return failure();
  if (!alone) {
    OpBuilder::InsertionGuard guard(e);
    e.setInsertionPoint(loop.getAfterBody()->getTerminator());
    if (failed(endOfLoop(e, op)))
      return failure();
  }
  values.map(op.getResults(), loop.getResults());
  state.add(condition);
  return success();
}

//===----------------------------------------------------------------------===//
// Blocks
//===----------------------------------------------------------------------===//

LogicalResult RowEmitter::emitOp(Emit &e, Operation &op) {
  e.setLoc(op.getLoc());
  if (auto select = dyn_cast<arith::SelectOp>(op);
      select && isa<MemRefType>(select.getType())) {
    FailureOr<Address> yes = addressOf(&op, select.getTrueValue());
    FailureOr<Address> no = addressOf(&op, select.getFalseValue());
    if (failed(yes) || failed(no))
      return failure();
    auto choose = [&](Value x, Value y) {
      return e.select(lookup(select.getCondition()), x, y);
    };
    auto generic = [&](Value pointer) -> Value {
      return LLVM::AddrSpaceCastOp::create(e, genericPointer(e.getContext()),
                                           pointer);
    };
    auto offset = [&](Value value) { return value ? value : e.i64(0); };
    buffers[select] = {choose(generic(yes->pointer), generic(no->pointer)),
                       choose(offset(yes->offset), offset(no->offset))};
    return success();
  }
  return llvm::TypeSwitch<Operation *, LogicalResult>(&op)
      .Case([&](memref::LoadOp op) { return emitLoad(e, op); })
      .Case([&](scf::ParallelOp op) { return emitParallel(e, op); })
      .Case([&](scf::ForOp op) { return emitFor(e, op); })
      .Case([&](scf::IfOp op) { return emitIf(e, op); })
      .Case([&](scf::WhileOp op) { return emitWhile(e, op); })
      // Buffers live as long as the kernel op.
      .Case<memref::AllocOp, memref::DeallocOp>(
          [](Operation *) { return success(); })
      .Default([&](Operation *op) {
        bool isScalar = op->getNumRegions() == 0 &&
                        isa_and_nonnull<arith::ArithDialect, math::MathDialect,
                                        ub::UBDialect>(op->getDialect());
        return isScalar ? emitScalar(e, *op) : emitView(e, *op);
      });
}

LogicalResult RowEmitter::emitBlock(Emit &e, Block &block) {
  SmallVector<memref::StoreOp> stores;
  auto flush = [&] {
    if (stores.empty())
      return success();
    LogicalResult result = emitStores(e, stores);
    stores.clear();
    return result;
  };
  for (Operation &op : block.without_terminator()) {
    if (auto store = dyn_cast<memref::StoreOp>(op)) {
      stores.push_back(store);
      continue;
    }
    // A constant between stores does not separate them.
    if (!isa<arith::ConstantOp>(op) && failed(flush()))
      return failure();
    if (failed(emitOp(e, op)))
      return failure();
  }
  return flush();
}
