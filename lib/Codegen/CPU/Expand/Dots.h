//===- Dots.h - Sixteen-lane dot products ---------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CODEGEN_CPU_EXPAND_DOTS_H
#define MOE_LIB_CODEGEN_CPU_EXPAND_DOTS_H

#include "Lanes.h"

namespace mlir::moe::cpu {

/// The dot products of rows, f32.
struct Dots {
  /// x[i] . w[j] at element i * (number of w) + j.
  SmallVector<Value> products;
  /// x[i] . x[i] and w[j] . w[j], when asked for.
  SmallVector<Value> xSquares, wSquares;
};

/// The sixteen-lane dot products (docs/Numerics.md) of the rows of `hidden`
/// elements that start at `xRows` of the flat buffer `x` with those that start
/// at `wRows` of `w`. All are computed at once and share their loads; their
/// bits are those of one alone. With `squares` the rows' own as well.
Dots emitDots(ImplicitLocOpBuilder &b, Value x, ValueRange xRows, Value w,
              ValueRange wRows, int64_t hidden, bool squares = false);

} // namespace mlir::moe::cpu

#endif // MOE_LIB_CODEGEN_CPU_EXPAND_DOTS_H
