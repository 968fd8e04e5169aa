//===- Lanes.h - Loops over vectors of sixteen lanes ----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// VectorUtils.h for builders that carry their location, and what kernels that
// are not a GEMM need beyond it: sixteen-lane sums, loops that carry values.
// All functions insert at the builder's position.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CODEGEN_CPU_EXPAND_LANES_H
#define MOE_LIB_CODEGEN_CPU_EXPAND_LANES_H

#include "VectorUtils.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::moe::cpu {

inline int64_t roundUpToLanes(int64_t n) {
  return (n + kLanes - 1) / kLanes * kLanes;
}

inline Value indexConstant(ImplicitLocOpBuilder &b, int64_t value) {
  return indexConstant(b, b.getLoc(), value);
}
inline Value i32Constant(ImplicitLocOpBuilder &b, int32_t value) {
  return i32Constant(b, b.getLoc(), value);
}
inline Value f32Constant(ImplicitLocOpBuilder &b, float value) {
  return f32Constant(b, b.getLoc(), value);
}
/// A vector with `value` in every lane.
Value lanesConstant(ImplicitLocOpBuilder &b, float value);
Value lanesConstant(ImplicitLocOpBuilder &b, int32_t value);
Value broadcastLanes(ImplicitLocOpBuilder &b, Value scalar);

/// Mask of the first `count` lanes.
Value lanesMask(ImplicitLocOpBuilder &b, int64_t count);
/// The first `count` lanes of `value`, the others of `otherwise`.
Value selectLanes(ImplicitLocOpBuilder &b, int64_t count, Value value,
                  Value otherwise);

/// Loads `count` elements of a flat buffer from `index` on, in their own type;
/// the other lanes are zero.
Value loadRaw(ImplicitLocOpBuilder &b, Value buffer, Value index,
              int64_t count = kLanes);
/// Stores the first `count` lanes of a vector of the buffer's element type.
void storeRaw(ImplicitLocOpBuilder &b, Value vector, Value buffer, Value index,
              int64_t count = kLanes);

/// Loads `count` elements of f32, bf16 or f16 as f32; the others are +0.
inline Value loadLanes(ImplicitLocOpBuilder &b, Value buffer, Value index,
                       int64_t count = kLanes) {
  return loadLanes(b, b.getLoc(), buffer, index, count);
}
/// Rounds f32 lanes to the buffer's element type and stores the first `count`.
inline void storeLanes(ImplicitLocOpBuilder &b, Value vector, Value buffer,
                       Value index, int64_t count = kLanes) {
  storeLanes(b, b.getLoc(), vector, buffer, index, count);
}

/// Loads one element of f32, bf16 or f16 as f32.
Value loadScalar(ImplicitLocOpBuilder &b, Value buffer, Value index);
/// Loads an i32 as index.
inline Value loadIndex(ImplicitLocOpBuilder &b, Value buffer, Value index) {
  return loadIndex(b, b.getLoc(), buffer, index);
}
/// Stores an index as i32.
void storeIndex(ImplicitLocOpBuilder &b, Value value, Value buffer,
                Value index);

/// Rounds f32 (scalar or vector) to `type` and converts it back.
inline Value roundTo(ImplicitLocOpBuilder &b, Value value, Type type) {
  return roundTo(b, b.getLoc(), value, type);
}

/// Step 2 of the sixteen-lane sum: adds the lanes in halves.
Value addHalves(ImplicitLocOpBuilder &b, Value vector);

/// `x * factor + y` on integers or indices.
Value multiplyAdd(ImplicitLocOpBuilder &b, Value x, int64_t factor, Value y);

/// Calls `body(b, i)` for i in [lower, upper) in steps of `step`. The loop is
/// left out when the bounds are known to hold no step.
void forRange(ImplicitLocOpBuilder &b, Value lower, Value upper, int64_t step,
              function_ref<void(ImplicitLocOpBuilder &, Value)> body);
/// The same with values carried from step to step; returns the last ones.
SmallVector<Value> forRange(
    ImplicitLocOpBuilder &b, Value lower, Value upper, int64_t step,
    ValueRange inits,
    function_ref<SmallVector<Value>(ImplicitLocOpBuilder &, Value, ValueRange)>
        body);

/// Calls `body(b, i, count)` for the vectors that cover [0, size): in a loop
/// with count 16, then once with what is left.
void forLanes(ImplicitLocOpBuilder &b, int64_t size,
              function_ref<void(ImplicitLocOpBuilder &, Value, int64_t)> body);
SmallVector<Value>
forLanes(ImplicitLocOpBuilder &b, int64_t size, ValueRange inits,
         function_ref<SmallVector<Value>(ImplicitLocOpBuilder &, Value, int64_t,
                                         ValueRange)>
             body);

/// Emits `then` under `condition`.
void ifThen(ImplicitLocOpBuilder &b, Value condition,
            function_ref<void(ImplicitLocOpBuilder &)> then,
            function_ref<void(ImplicitLocOpBuilder &)> otherwise = nullptr);

} // namespace mlir::moe::cpu

#endif // MOE_LIB_CODEGEN_CPU_EXPAND_LANES_H
