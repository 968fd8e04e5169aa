//===- VectorUtils.h - Sixteen lanes of any float type --------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What expanders of kernel ops share: rows are processed in vectors of 16
// channels, in f32, whatever the element type of the buffers.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CODEGEN_CPU_EXPAND_VECTORUTILS_H
#define MOE_LIB_CODEGEN_CPU_EXPAND_VECTORUTILS_H

#include "mlir/IR/Builders.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace mlir::moe::cpu {

inline constexpr int64_t kLanes = 16;

/// vector<16xelementType>.
VectorType lanesType(Type elementType);

Value indexConstant(OpBuilder &b, Location loc, int64_t value);
Value i32Constant(OpBuilder &b, Location loc, int64_t value);
/// A value of type f32.
Value f32Constant(OpBuilder &b, Location loc, float value);

/// Integer arithmetic on index values.
Value addIndex(OpBuilder &b, Location loc, Value lhs, Value rhs);
Value addIndex(OpBuilder &b, Location loc, Value lhs, int64_t rhs);
Value mulIndex(OpBuilder &b, Location loc, Value lhs, int64_t rhs);

/// memref<?xi32>[index] as an index.
Value loadIndex(OpBuilder &b, Location loc, Value memref, Value index);

/// `value`, an f32 scalar or vector, rounded to `type` and back to f32.
Value roundTo(OpBuilder &b, Location loc, Value value, Type type);

/// memref[index .. index + 15] as vector<16xf32>; lanes from `count` on are 0
/// and not read.
Value loadLanes(OpBuilder &b, Location loc, Value memref, Value index,
                int64_t count = kLanes);

/// Stores the first `count` lanes of a vector<16xf32>, rounded to the element
/// type of the memref.
void storeLanes(OpBuilder &b, Location loc, Value value, Value memref,
                Value index, int64_t count = kLanes);

/// Loops over columns 0 .. n - 1 in steps of 16: calls `body(column, 16)` in a
/// loop, then once with the number of remaining columns, if any.
void forEachLanes(OpBuilder &b, Location loc, int64_t n,
                  llvm::function_ref<void(Value column, int64_t count)> body);

/// scf.for over [begin, end).
void forRange(OpBuilder &b, Location loc, Value begin, Value end,
              llvm::function_ref<void(Value)> body, int64_t step = 1);

} // namespace mlir::moe::cpu

#endif // MOE_LIB_CODEGEN_CPU_EXPAND_VECTORUTILS_H
