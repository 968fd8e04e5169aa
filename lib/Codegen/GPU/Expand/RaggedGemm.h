//===- RaggedGemm.h - Sizes and parts of the ragged GEMM ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A block takes (row tile, column tile) pairs in turn. A column tile counts
// rows of the weights as layout Rows orders them: with two parts, eight of gate
// alternate with eight of up. For each pair the code of one row class runs, the
// smallest that holds the tile's rows; all classes add in the same order.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CODEGEN_GPU_EXPAND_RAGGEDGEMM_H
#define MOE_LIB_CODEGEN_GPU_EXPAND_RAGGEDGEMM_H

#include "../Builder/Budget.h"
#include "../Builder/Pipeline.h"

#include "moe/Codegen/GPU/KernelExpansion.h"

namespace mlir::moe::gpu {

/// How the warps of a block share a tile: warpsM x warpsN of them, each with
/// `warpRows` x `warpColumns`.
struct RowClass {
  int64_t rows = 0;
  int64_t warpsM = 1, warpsN = 1;
  int64_t warpRows = 0, warpColumns = 0;

  /// f32 accumulators of a thread.
  int64_t accumulators() const { return warpRows * warpColumns / 32; }
};

/// The sums of a tile in shared memory, f32. Rows are spread, and chunks of
/// four columns swizzled, so that neither the warps that store accumulators nor
/// the threads that load groups of channels meet in a bank.
struct SumsTile {
  int64_t rows = 0, columns = 0;

  int64_t pitch() const { return llvm::alignTo(columns, 32) + 8; }
  int64_t bytes() const { return rows * pitch() * int64_t(sizeof(float)); }
  /// Where a sum lies, in f32.
  int64_t indexOf(int64_t row, int64_t column) const {
    return row * pitch() + (column ^ (column / 32 % 4 * 4));
  }
  /// The same, emitted (i32).
  Value index(Emit &e, Value row, Value column) const;
};

/// Everything about a ragged GEMM that is known at compile time. Channels are
/// columns of out; columns are rows of the weights, `parts` for a channel.
struct RaggedGemmShape {
  Type element;
  int64_t channels = 0, k = 0, parts = 1, tileRows = 0;
  bool gathers = false;
  int64_t threads = 0, blocks = 1, tileColumns = 0, tileK = 0, stages = 0;

  /// Without a config, what it says is 0.
  static RaggedGemmShape get(KernelRaggedGemmOp op, GpuConfigAttr config);

  int64_t elementBytes() const { return element.getIntOrFloatBitWidth() / 8; }
  /// Bytes of a row of x, and of a row of the weights in layout Rows.
  int64_t rowBytes() const { return k * elementBytes(); }
  int64_t weightRowBytes() const {
    return llvm::alignTo(rowBytes(), kChunkBytes);
  }
  int64_t tileBytes() const { return tileK * elementBytes(); }
  int64_t columns() const { return llvm::alignTo(channels, 8) * parts; }
  int64_t columnTiles() const {
    return llvm::divideCeil(columns(), tileColumns);
  }
  int64_t kTiles() const { return llvm::divideCeil(k, tileK); }
  int64_t warps() const { return threads / 32; }

  /// Bytes of one copy of x: what its rows are aligned to, at most 16; 2 when
  /// rows are odd, which no asynchronous copy can move.
  int64_t alignmentOfX() const;

  /// Ascending; the last holds a full tile.
  SmallVector<RowClass> rowClasses() const;

  SharedTile aTile(int64_t rows) const;
  SharedTile bTile() const;
  SumsTile sumsTile() const;
  int64_t sharedBytes() const;
  /// Estimate for the largest class.
  int64_t registers() const;

  /// Everything that the emitted code relies on, tiles, pipeline and budget.
  LogicalResult verify(const ArchInfo &arch, EmitError emitError) const;
};

/// Shared memory that the threads of a warp read and the accumulators that they
/// hold, for tensor cores or for f32. Accumulator (slot, tile, i) of a thread
/// is at row `row(slot)` of the warp's rows and column 8 * tile + `column` + i
/// of the warp's columns.
struct AccumulatorLayout {
  int64_t slots = 0, tiles = 0, width = 0;
  bool isMma = false;

  static AccumulatorLayout get(const RaggedGemmShape &shape,
                               const RowClass &rowClass);
  int64_t size() const { return slots * tiles * width; }
  /// Rows from one slot to the next.
  int64_t slotRows() const { return isMma ? 8 : 4; }
  int64_t index(int64_t slot, int64_t tile, int64_t i) const;
  /// i32.
  Value row(Emit &e, Value lane, int64_t slot) const;
  Value column(Emit &e, Value lane) const;
};

/// The pair that a block works on; all i32 and the same for its threads.
struct RaggedTile {
  Value expert, firstRow, rows, columnTile;
};

class RaggedGemm {
public:
  RaggedGemm(KernelRaggedGemmOp op, KernelContext &ctx);

  LogicalResult expand();

private:
  /// The pairs of this block, one after another.
  void emitPairs(Emit &e);
  void emitTile(Emit &e, const RowClass &rowClass, const RaggedTile &tile);

  /// How x reaches shared memory: row pointers of a thread and what they may
  /// read, one per round.
  struct RowSource {
    TileCopy copy;
    TileCopy::Mine mine;
    SmallVector<Value> rows;
    SmallVector<Value> inside;
  };
  RowSource emitRowSource(Emit &e, const RowClass &rowClass,
                          const RaggedTile &tile);
  void issueRows(Emit &e, const RowSource &source, Value kTile, Value stage);
  /// Copies one piece without an asynchronous copy, for odd rows.
  void copyOddPiece(Emit &e, Value shared, Value row, Value firstByte,
                    Value inside);

  struct WeightSource {
    TileCopy copy;
    TileCopy::Mine mine;
    /// The thread's first row, of `columns` in all (i32), and its address.
    Value column, address;
  };
  WeightSource emitWeightSource(Emit &e, const RaggedTile &tile);
  void issueWeights(Emit &e, const WeightSource &source, Value kTile,
                    Value stage);

  SmallVector<Value> useMma(Emit &e, const RowClass &rowClass,
                            const SharedTile &a, const SharedTile &b,
                            ArrayRef<Value> aOffsets, ArrayRef<Value> bOffsets,
                            Value stage, ValueRange carried);
  SmallVector<Value> useFma(Emit &e, const RowClass &rowClass,
                            const SharedTile &a, const SharedTile &b,
                            Value warpRow, Value warpColumn, Value stage,
                            ValueRange carried);

  /// Puts the sums of a class into shared memory, where the stages were.
  void stageSums(Emit &e, const RowClass &rowClass, Value warpRow,
                 Value warpColumn, ValueRange sums);
  /// From there through the activation to out; the same for all classes.
  void storeResults(Emit &e, const RaggedTile &tile);
  /// Where the biases of a channel of the tile's expert lie, one for each part.
  SmallVector<Value> emitBiasAddresses(Emit &e, const RaggedTile &tile,
                                       Value channel);
  /// `sum` plus the bias of a part, `channel` channels behind its address.
  Value addBias(Emit &e, Value sum, int64_t part, ArrayRef<Value> addresses,
                int64_t channel);
  /// The activation of one channel from its parts.
  Value activate(Emit &e, ArrayRef<Value> parts);

  /// Runs `body` in the threads that have a piece in this round.
  void inRound(Emit &e, const TileCopy &copy, int64_t round,
               function_ref<void(Emit &)> body);

  KernelRaggedGemmOp op;
  KernelContext &ctx;
  RaggedGemmShape shape;
  Value x, rowToken, weights, worklist, out;
  /// None, or one for each part.
  SmallVector<Value> biases;
  /// Stages of x and of the weights; the sums of a tile, when they are done.
  Value aShared, bShared, sumsShared;
};

} // namespace mlir::moe::gpu

#endif // MOE_LIB_CODEGEN_GPU_EXPAND_RAGGEDGEMM_H
