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
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::moe::gpu;

Type mlir::moe::gpu::storageType(Type element) {
  MLIRContext *context = element.getContext();
  if (element.isIndex())
    return IntegerType::get(context, 64);
  if (element.isInteger(1))
    return IntegerType::get(context, 8);
  if (element.isInteger(8) || element.isInteger(16) || element.isInteger(32) ||
      element.isInteger(64) || element.isBF16() || element.isF16() ||
      element.isF32() || element.isF64())
    return element;
  return Type();
}

/// The type that computes what `type` computes in a kernel.
static Type kernelType(Type type) {
  return type.isIndex() ? IntegerType::get(type.getContext(), 64) : type;
}

static LLVM::LLVMPointerType genericPointer(MLIRContext *context) {
  return LLVM::LLVMPointerType::get(context);
}

//===----------------------------------------------------------------------===//
// Accesses
//===----------------------------------------------------------------------===//

static bool overlap(const RowAccesses::Roots &x, const RowAccesses::Roots &y) {
  return llvm::any_of(x, [&](Value root) { return y.contains(root); });
}

void RowAccesses::add(const RowAccesses &other) {
  reads.insert(other.reads.begin(), other.reads.end());
  writes.insert(other.writes.begin(), other.writes.end());
  sharedWrites.insert(other.sharedWrites.begin(), other.sharedWrites.end());
}

bool RowAccesses::conflictsWith(const RowAccesses &later) const {
  return overlap(later.reads, writes) || overlap(later.reads, sharedWrites) ||
         overlap(later.writes, reads) || overlap(later.writes, sharedWrites) ||
         overlap(later.sharedWrites, reads) ||
         overlap(later.sharedWrites, writes) ||
         overlap(later.sharedWrites, sharedWrites);
}

void RowAccesses::keepOnly(const Roots &kept) {
  for (Roots *roots : {&reads, &writes, &sharedWrites})
    for (Value root : SmallVector<Value>(roots->begin(), roots->end()))
      if (!kept.contains(root))
        roots->erase(root);
}

/// Adds the buffers that `memref` may be a view of.
LogicalResult RowEmitter::addAccess(Value memref, RowAccesses::Roots &to) {
  auto result = dyn_cast<OpResult>(memref);
  Operation *op = memref.getDefiningOp();
  if (!result || isa<memref::AllocOp>(op)) {
    to.insert(memref);
    return success();
  }
  if (auto view = dyn_cast<ViewLikeOpInterface>(op))
    return addAccess(view.getViewSource(), to);
  if (auto metadata = dyn_cast<memref::ExtractStridedMetadataOp>(op))
    return addAccess(metadata.getSource(), to);
  if (auto select = dyn_cast<arith::SelectOp>(op))
    return success(succeeded(addAccess(select.getTrueValue(), to)) &&
                   succeeded(addAccess(select.getFalseValue(), to)));
  if (auto branch = dyn_cast<scf::IfOp>(op)) {
    unsigned number = result.getResultNumber();
    return success(
        succeeded(addAccess(branch.thenYield().getOperand(number), to)) &&
        succeeded(addAccess(branch.elseYield().getOperand(number), to)));
  }
  return op->emitOpError("makes a buffer that no GPU code can follow");
}

FailureOr<RowAccesses> RowEmitter::accessesOf(Region &region) {
  RowAccesses accesses;
  WalkResult walk = region.walk([&](Operation *op) {
    if (auto load = dyn_cast<memref::LoadOp>(op))
      return WalkResult(addAccess(load.getMemRef(), accesses.reads));
    auto store = dyn_cast<memref::StoreOp>(op);
    if (!store)
      return WalkResult::advance();
    bool isShared = op->getParentOfType<scf::ParallelOp>() != nullptr;
    return WalkResult(addAccess(
        store.getMemRef(), isShared ? accesses.sharedWrites : accesses.writes));
  });
  if (walk.wasInterrupted())
    return failure();
  return accesses;
}

void RowEmitter::barrier(Emit &e) {
  e.syncBlock();
  state = RowAccesses();
}

/// Called before code that makes `accesses`.
LogicalResult RowEmitter::waitFor(Emit &e, const RowAccesses &accesses) {
  if (state.conflictsWith(accesses))
    barrier(e);
  state.add(accesses);
  return success();
}

/// Called at the end of a loop's body: what follows is the body again.
LogicalResult RowEmitter::endOfLoop(Emit &e, Operation *loop) {
  for (Region &region : loop->getRegions()) {
    FailureOr<RowAccesses> accesses = accessesOf(region);
    if (failed(accesses))
      return failure();
    if (state.conflictsWith(*accesses))
      barrier(e);
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Addresses
//===----------------------------------------------------------------------===//

void RowEmitter::setBuffer(Value memref, Value pointer) {
  buffers[memref] = {pointer, Value()};
}

FailureOr<RowEmitter::Address> RowEmitter::addressOf(Operation *op,
                                                     Value memref) {
  auto found = buffers.find(memref);
  if (found == buffers.end())
    return op->emitOpError("uses a buffer that no GPU code can follow");
  return found->second;
}

SmallVector<Value> RowEmitter::lookup(ValueRange range) {
  return llvm::map_to_vector(range, [&](Value value) { return lookup(value); });
}

Value RowEmitter::toIndex(Emit &e, OpFoldResult value) {
  if (std::optional<int64_t> constant = getConstantIntValue(value))
    return e.i64(*constant);
  return lookup(cast<Value>(value));
}

/// `sum` + `index` * `stride`; `sum` may be null for zero.
static Value addStep(Emit &e, Value sum, Value index, int64_t stride) {
  Value step = stride == 1 ? index : e.mul(index, stride);
  return sum ? e.add(sum, step) : step;
}

/// The strides of a memref, which have to be known.
static FailureOr<SmallVector<int64_t>> stridesOf(Operation *op, Type type) {
  SmallVector<int64_t> strides;
  int64_t offset;
  if (failed(cast<MemRefType>(type).getStridesAndOffset(strides, offset)) ||
      llvm::any_of(strides, ShapedType::isDynamic))
    return op->emitOpError("uses a buffer of dynamic layout in tensor code "
                           "that runs row by row");
  return strides;
}

FailureOr<Value> RowEmitter::elementAddress(Emit &e, Operation *op,
                                            Value memref, ValueRange indices) {
  auto type = cast<MemRefType>(memref.getType());
  Type storage = storageType(type.getElementType());
  if (!storage)
    return op->emitOpError("uses elements of type ")
           << type.getElementType() << ", which no GPU code has";
  FailureOr<Address> address = addressOf(op, memref);
  FailureOr<SmallVector<int64_t>> strides = stridesOf(op, type);
  if (failed(address) || failed(strides))
    return failure();
  Value sum = address->offset;
  for (auto [index, stride] : llvm::zip_equal(indices, *strides))
    sum = addStep(e, sum, lookup(index), stride);
  return sum ? e.address(storage, address->pointer, sum) : address->pointer;
}

LogicalResult RowEmitter::emitView(Emit &e, Operation &op) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(&op)
      .Case([&](memref::SubViewOp view) -> LogicalResult {
        FailureOr<Address> address = addressOf(&op, view.getSource());
        FailureOr<SmallVector<int64_t>> strides =
            stridesOf(&op, view.getSourceType());
        if (failed(address) || failed(strides))
          return failure();
        for (auto [offset, stride] :
             llvm::zip_equal(view.getMixedOffsets(), *strides))
          if (!isZeroInteger(offset))
            address->offset =
                addStep(e, address->offset, toIndex(e, offset), stride);
        buffers[view] = *address;
        return success();
      })
      .Case([&](memref::ReinterpretCastOp view) -> LogicalResult {
        FailureOr<Address> address = addressOf(&op, view.getSource());
        if (failed(address))
          return failure();
        address->offset = toIndex(e, view.getMixedOffsets().front());
        buffers[view] = *address;
        return success();
      })
      .Case([&](memref::ExtractStridedMetadataOp data) -> LogicalResult {
        FailureOr<Address> address = addressOf(&op, data.getSource());
        FailureOr<SmallVector<int64_t>> strides =
            stridesOf(&op, data.getSource().getType());
        if (failed(address) || failed(strides))
          return failure();
        buffers[data.getBaseBuffer()] = {address->pointer, Value()};
        values.map(data.getOffset(),
                   address->offset ? address->offset : e.i64(0));
        for (auto [result, stride] :
             llvm::zip_equal(data.getStrides(), *strides))
          values.map(result, e.i64(stride));
        auto type = cast<MemRefType>(data.getSource().getType());
        if (!type.hasStaticShape())
          return op.emitOpError("asks for the size of a buffer of dynamic "
                                "shape");
        for (auto [result, size] :
             llvm::zip_equal(data.getSizes(), type.getShape()))
          values.map(result, e.i64(size));
        return success();
      })
      .Case<memref::CastOp, memref::CollapseShapeOp, memref::ExpandShapeOp>(
          [&](auto view) -> LogicalResult {
            FailureOr<Address> address = addressOf(&op, op.getOperand(0));
            if (failed(address))
              return failure();
            buffers[op.getResult(0)] = *address;
            return success();
          })
      .Default([](Operation *op) {
        return op->emitOpError("has no GPU code in tensor code that runs row "
                               "by row");
      });
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

LogicalResult RowEmitter::emitLoad(Emit &e, memref::LoadOp op) {
  RowAccesses accesses;
  if (!alone && (failed(addAccess(op.getMemRef(), accesses.reads)) ||
                 failed(waitFor(e, accesses))))
    return failure();
  FailureOr<Value> address =
      elementAddress(e, op, op.getMemRef(), op.getIndices());
  if (failed(address))
    return failure();
  Type type = op.getType();
  Value value = e.loadAt(storageType(type), *address);
  if (type.isInteger(1))
    value = arith::TruncIOp::create(e, type, value);
  values.map(op.getResult(), value);
  return success();
}

/// Stores that follow each other.
LogicalResult RowEmitter::emitStores(Emit &e, ArrayRef<memref::StoreOp> ops) {
  auto emit = [&](Emit &e) -> LogicalResult {
    for (memref::StoreOp op : ops) {
      e.setLoc(op.getLoc());
      FailureOr<Value> address =
          elementAddress(e, op, op.getMemRef(), op.getIndices());
      if (failed(address))
        return failure();
      Value value = lookup(op.getValueToStore());
      if (value.getType().isInteger(1))
        value = arith::ExtUIOp::create(e, e.getI8Type(), value);
      e.storeAt(value, *address);
    }
    return success();
  };
  if (alone)
    return emit(e);
  RowAccesses accesses;
  for (memref::StoreOp op : ops)
    if (failed(addAccess(op.getMemRef(), accesses.writes)))
      return failure();
  if (failed(waitFor(e, accesses)))
    return failure();
  LogicalResult result = success();
  e.ifThen(e.equal(thread, 0), [&](Emit &e) { result = emit(e); });
  return result;
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
