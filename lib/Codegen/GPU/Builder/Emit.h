//===- Emit.h - Short names for scalar code of GPU kernels ----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Emit is a builder with a location and the operations that every kernel
// writes: integer arithmetic on i32 and i64 (both sides of one type), typed
// access to memory, structured control flow, warp operations.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CODEGEN_GPU_BUILDER_EMIT_H
#define MOE_LIB_CODEGEN_GPU_BUILDER_EMIT_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::moe::gpu {

class Emit : public ImplicitLocOpBuilder {
public:
  Emit(Location loc, OpBuilder &b)
      : ImplicitLocOpBuilder(loc, b.getContext(), b.getListener()) {
    // Not from the block: a region under construction has no context yet.
    restoreInsertionPoint(b.saveInsertionPoint());
  }

  Value i32(int64_t value);
  Value i64(int64_t value);
  Value f32(float value);
  /// A constant of the integer type of `like`.
  Value constantLike(Value like, int64_t value);

  Value add(Value x, Value y);
  Value sub(Value x, Value y);
  Value mul(Value x, Value y);
  /// Unsigned.
  Value div(Value x, Value y);
  Value rem(Value x, Value y);
  Value minU(Value x, Value y);
  Value add(Value x, int64_t y) { return add(x, constantLike(x, y)); }
  Value mul(Value x, int64_t y) { return mul(x, constantLike(x, y)); }
  Value div(Value x, int64_t y) { return div(x, constantLike(x, y)); }
  Value rem(Value x, int64_t y) { return rem(x, constantLike(x, y)); }
  Value bitAnd(Value x, Value y);
  Value bitOr(Value x, Value y);
  Value bitXor(Value x, Value y);
  Value shl(Value x, Value y);
  Value shr(Value x, Value y); // unsigned
  Value cmp(arith::CmpIPredicate predicate, Value x, Value y);
  Value lessU(Value x, Value y);
  Value equal(Value x, Value y);
  Value equal(Value x, int64_t y) { return equal(x, constantLike(x, y)); }
  Value select(Value condition, Value x, Value y);
  /// Unsigned conversions between i32 and i64.
  Value toI64(Value x);
  Value toI32(Value x);

  /// base + index * sizeof(type); index is i32 (unsigned) or i64.
  Value address(Type type, Value base, Value index);
  /// base + bytes.
  Value offset(Value base, Value bytes);
  Value offset(Value base, int64_t bytes);
  Value load(Type type, Value base, Value index, int64_t alignment = 0);
  Value loadAt(Type type, Value address, int64_t alignment = 0);
  void store(Value value, Value base, Value index, int64_t alignment = 0);
  void storeAt(Value value, Value address, int64_t alignment = 0);
  /// The f32 of a float of any type, exact; and back, rounded to nearest even.
  Value toF32(Value x);
  Value fromF32(Value x, Type type);

  using Body = function_ref<void(Emit &)>;
  using LoopBody = function_ref<void(Emit &, Value)>;
  using CarriedBody =
      function_ref<SmallVector<Value>(Emit &, Value, ValueRange)>;
  void ifThen(Value condition, Body then);
  void ifThenElse(Value condition, Body then, Body otherwise);
  /// for (i = begin; i < end; i += step), unsigned.
  void forRange(Value begin, Value end, Value step, LoopBody body);
  SmallVector<Value> forRange(Value begin, Value end, Value step,
                              ValueRange init, CarriedBody body);

  /// All 32 lanes take part. Kinds of shfl.sync on an i32 or f32.
  Value shuffleXor(Value value, int64_t laneMask);
  Value shuffleIndex(Value value, Value lane);
  Value shuffleUp(Value value, int64_t distance);
  Value ballot(Value condition);
  /// bar.warp.sync of all lanes: orders memory between them.
  void syncWarp();
  /// bar.sync 0.
  void syncBlock();
};

} // namespace mlir::moe::gpu

#endif // MOE_LIB_CODEGEN_GPU_BUILDER_EMIT_H
