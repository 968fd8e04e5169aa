//===- Fragments.h - Operands of tensor core instructions -----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// mma.sync m16n8k16 of bf16 or f16 with f32 accumulators, D = A . B^T + C, on
// tiles whose rows are contiguous along k. With lane = 4 * g + t a lane holds
//   of A   rows g and g + 8, columns 2t, 2t + 1, 2t + 8, 2t + 9;
//   of B   row g (output column), columns 2t, 2t + 1, 2t + 8, 2t + 9;
//   of C   rows g (values 0, 1) and g + 8 (values 2, 3), columns 2t, 2t + 1.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CODEGEN_GPU_BUILDER_FRAGMENTS_H
#define MOE_LIB_CODEGEN_GPU_BUILDER_FRAGMENTS_H

#include "SharedTile.h"

namespace mlir::moe::gpu {

constexpr int64_t kMmaM = 16, kMmaN = 8, kMmaK = 16;

/// Whether mma.sync m16n8k16 takes elements of this type.
bool hasMma(Type element);

/// Addresses, relative to a stage, that a lane gives to ldmatrix.x4 to load 16
/// rows and 16 channels, for each of the tile's groups of 16 channels (i32).
/// `firstRow` is i32, a multiple of 16. For A the four results are the
/// fragment; for B results 0, 1 and 2, 3 are the fragments of the first and the
/// last eight rows.
enum class Operand { A, B };
SmallVector<Value> matrixOffsets(Emit &e, const SharedTile &tile,
                                 Operand operand, Value lane, Value firstRow);

/// ldmatrix.x4: four registers (i32) of two elements.
SmallVector<Value, 4> loadMatrices(Emit &e, Value address);

/// D = A . B^T + C: a has four registers, b two, c and the result four f32.
SmallVector<Value, 4> multiplyAdd(Emit &e, Type element, ValueRange a,
                                  ValueRange b, ValueRange c);

} // namespace mlir::moe::gpu

#endif // MOE_LIB_CODEGEN_GPU_BUILDER_FRAGMENTS_H
