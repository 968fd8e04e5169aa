//===- SharedTile.h - Staged, swizzled tiles in shared memory -------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A tile of rows in shared memory, several stages of it, as a value: where
// which bytes lie is known at compile time, so the accesses of a warp can be
// enumerated and checked before code is emitted.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CODEGEN_GPU_BUILDER_SHAREDTILE_H
#define MOE_LIB_CODEGEN_GPU_BUILDER_SHAREDTILE_H

#include "Emit.h"

#include "mlir/IR/Diagnostics.h"

namespace mlir::moe::gpu {

using EmitError = function_ref<InFlightDiagnostic()>;

/// The unit that ldmatrix reads and that a swizzle moves.
constexpr int64_t kChunkBytes = 16;

/// Number of passes over the 32 banks that lanes need for one access of
/// `bytes` (4, 8 or 16) each at `addresses` (bytes, aligned to `bytes`), beyond
/// the passes that their amount of data needs anyway: 1 is free of conflicts.
/// Up to 32 addresses; lanes that read the same word share it.
int64_t bankConflicts(ArrayRef<int64_t> addresses, int64_t bytes);

/// Chunk c of row r lies at position c ^ ((r >> shift) & mask) of its row.
struct Swizzle {
  int64_t shift = 0, mask = 0;

  /// Rows after which the pattern repeats.
  int64_t period() const { return (mask + 1) << shift; }
  int64_t apply(int64_t row, int64_t chunk) const {
    return chunk ^ ((row >> shift) & mask);
  }
  /// The swizzle without conflicts for rows of `rowBytes`, a power of two.
  static Swizzle forRows(int64_t rowBytes);
};

struct SharedTile {
  Type element;
  /// `columns` elements of a row are contiguous up to the swizzle.
  int64_t rows = 0, columns = 0, stages = 1;
  Swizzle swizzle;
  /// !llvm.ptr<3>, a multiple of 128 bytes; null until memory is assigned.
  Value base;

  int64_t elementBytes() const { return element.getIntOrFloatBitWidth() / 8; }
  int64_t rowBytes() const { return columns * elementBytes(); }
  int64_t chunksPerRow() const { return rowBytes() / kChunkBytes; }
  int64_t stageBytes() const { return rows * rowBytes(); }
  int64_t bytes() const { return stages * stageBytes(); }
  /// Bytes from the begin of a stage to a chunk.
  int64_t offsetOf(int64_t row, int64_t chunk) const {
    return row * rowBytes() + swizzle.apply(row, chunk) * kChunkBytes;
  }

  /// The same, emitted; row and chunk are i32.
  Value byteOffset(Emit &e, Value row, Value chunk) const;
  /// Address of the begin of a stage (i32).
  Value stageAddress(Emit &e, Value stage) const;

  /// Rows are whole groups of eight and a power of two of chunks long; the
  /// swizzle stays within a row; ldmatrix, at every place, is free of
  /// conflicts.
  LogicalResult verify(EmitError emitError) const;
};

/// How the threads of a block copy one stage of a tile: piece `thread +
/// round * threads`, counted along the rows, is copied in round `round`.
struct TileCopy {
  SharedTile tile;
  int64_t threads = 0;
  /// Bytes of one copy: 4, 8 or 16.
  int64_t pieceBytes = kChunkBytes;

  int64_t piecesPerRow() const { return tile.rowBytes() / pieceBytes; }
  int64_t pieces() const { return tile.rows * piecesPerRow(); }
  int64_t rounds() const { return (pieces() + threads - 1) / threads; }
  /// Rows from a thread's piece to its piece of the next round.
  int64_t rowStep() const { return threads / piecesPerRow(); }
  /// Whether in the last round some threads have nothing to copy.
  bool isLastPartial() const { return pieces() % threads != 0; }
  int64_t offsetOf(int64_t piece) const;

  /// The tile's rules; the threads are whole rows; the writes of a warp are
  /// free of conflicts in every round.
  LogicalResult verify(EmitError emitError) const;

  /// What one thread copies, computed once per block.
  struct Mine {
    /// i32: row in round 0, and bytes from the begin of a row.
    Value row, column;
    /// i32, one per round: bytes from the begin of a stage.
    SmallVector<Value> offsets;
  };
  Mine place(Emit &e, Value thread) const;
};

} // namespace mlir::moe::gpu

#endif // MOE_LIB_CODEGEN_GPU_BUILDER_SHAREDTILE_H
