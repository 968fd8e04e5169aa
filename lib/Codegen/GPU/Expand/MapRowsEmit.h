//===- MapRowsEmit.h - A row's code for the threads of a block ------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// All threads of a block run the code of a row together: the iterations of an
// scf.parallel are shared among them, everything else every thread computes
// for itself, except that thread 0 alone stores. What one op writes and another
// touches is separated by a barrier of the block.
//
// Conditions and bounds outside of an scf.parallel are the same in all threads,
// since memory is read only behind such a barrier: every barrier is reached by
// all.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CODEGEN_GPU_EXPAND_MAPROWSEMIT_H
#define MOE_LIB_CODEGEN_GPU_EXPAND_MAPROWSEMIT_H

#include "../Builder/Emit.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SmallPtrSet.h"

namespace mlir::moe::gpu {

/// The type in which an element of a buffer lies in memory, or null: i1 takes
/// a byte, index is i64.
Type storageType(Type element);

/// Accesses since the last barrier, or of a piece of code: the buffers (an
/// argument or an allocation) that are read; that thread 0 writes; and that
/// many threads write.
struct RowAccesses {
  using Roots = llvm::SmallPtrSet<Value, 4>;
  Roots reads, writes, sharedWrites;

  void add(const RowAccesses &other);
  /// Whether `later` has to wait for these.
  bool conflictsWith(const RowAccesses &later) const;
  /// Forgets everything but the buffers in `kept`.
  void keepOnly(const Roots &kept);
};

class RowEmitter {
public:
  /// `thread` is the number of this thread of `threads`, i32.
  RowEmitter(Value thread, int64_t threads)
      : thread(thread), threads(threads) {}

  /// Where a memref that is an argument or an allocation of the function lies.
  void setBuffer(Value memref, Value pointer);

  /// Emits the ops of a block without its terminator. Fails with a diagnostic
  /// at the op that has no GPU code.
  LogicalResult emitBlock(Emit &e, Block &block);

  /// What the function's code touches, views traced to their buffers.
  FailureOr<RowAccesses> accessesOf(Region &region);

  RowAccesses &pending() { return state; }
  void barrier(Emit &e);

private:
  /// A buffer's address: a pointer and a number of elements (i64).
  struct Address {
    Value pointer, offset;
  };

  LogicalResult emitOp(Emit &e, Operation &op);
  LogicalResult emitScalar(Emit &e, Operation &op);
  LogicalResult emitLoad(Emit &e, memref::LoadOp op);
  LogicalResult emitStores(Emit &e, ArrayRef<memref::StoreOp> ops);
  LogicalResult emitParallel(Emit &e, scf::ParallelOp op);
  LogicalResult emitFor(Emit &e, scf::ForOp op);
  LogicalResult emitIf(Emit &e, scf::IfOp op);
  LogicalResult emitWhile(Emit &e, scf::WhileOp op);
  LogicalResult emitView(Emit &e, Operation &op);
  LogicalResult emitRegion(Emit &e, Region &from, Block &to);

  LogicalResult waitFor(Emit &e, const RowAccesses &accesses);
  LogicalResult endOfLoop(Emit &e, Operation *loop);
  LogicalResult addAccess(Value memref, RowAccesses::Roots &to);

  FailureOr<Address> addressOf(Operation *op, Value memref);
  /// The element's address; null when its layout is not known.
  FailureOr<Value> elementAddress(Emit &e, Operation *op, Value memref,
                                  ValueRange indices);
  Value lookup(Value value) { return values.lookup(value); }
  SmallVector<Value> lookup(ValueRange range);
  Value toIndex(Emit &e, OpFoldResult value);

  Value thread;
  int64_t threads;
  IRMapping values;
  llvm::DenseMap<Value, Address> buffers;
  RowAccesses state;
  /// Inside of an scf.parallel: this thread is on its own.
  bool alone = false;
};

} // namespace mlir::moe::gpu

#endif // MOE_LIB_CODEGEN_GPU_EXPAND_MAPROWSEMIT_H
