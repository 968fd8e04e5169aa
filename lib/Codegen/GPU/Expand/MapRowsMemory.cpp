//===- MapRowsMemory.cpp - Memory in the code of a row --------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MapRowsEmit.h"

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
