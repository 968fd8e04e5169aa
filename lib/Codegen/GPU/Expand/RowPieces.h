//===- RowPieces.h - Sharing the elements of rows -----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CODEGEN_GPU_EXPAND_ROWPIECES_H
#define MOE_LIB_CODEGEN_GPU_EXPAND_ROWPIECES_H

#include "WarpEmit.h"

namespace mlir::moe::gpu {

/// Some elements of a row, those of one lane of a warp: 16 bytes or a single
/// element. The lanes of a warp have neighbouring pieces of one row.
struct RowPiece {
  /// i32. `column`: first element. `isInside`: i1, whether the row has it.
  Value row, column, isInside;
  /// Length of rows and of the piece, in elements of `type`.
  int64_t hidden, width;
  Type type;

  /// The type that load gives and store takes: `type`, or a vector of it.
  Type getValueType() const;
  /// The piece of row `row` (i32) of `base`.
  Value load(Emit &e, Value base, Value row) const;
  void store(Emit &e, Value value, Value base, Value row) const;
  /// What `change` makes of each element of a loaded value in f32, rounded.
  Value map(Emit &e, Value value, function_ref<Value(Value)> change) const;

private:
  Value address(Emit &e, Value base, Value row) const;
};

/// Visits all pieces of rows 0 to rows - 1 (i32), the warps of all blocks in
/// turn. `body` is emitted twice when the rows are whole numbers of 16 bytes:
/// whether the `buffers` are aligned to as much is known only to the kernel.
void forRowPieces(Emit &e, KernelContext &ctx, Value rows, int64_t hidden,
                  Type type, ArrayRef<Value> buffers,
                  function_ref<void(Emit &, RowPiece)> body);

} // namespace mlir::moe::gpu

#endif // MOE_LIB_CODEGEN_GPU_EXPAND_ROWPIECES_H
