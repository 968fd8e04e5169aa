//===- RaggedGemmShape.cpp - Sizes of the ragged GEMM ---------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RaggedGemm.h"

#include "../Builder/Fragments.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::gpu;

/// Columns that a warp loads at once, two tiles of the tensor cores: a gate and
/// an up of the same channels.
static constexpr int64_t kColumnUnit = 16;

RaggedGemmShape RaggedGemmShape::get(KernelRaggedGemmOp op,
                                     GpuConfigAttr config) {
  RaggedGemmShape shape;
  shape.element = op.getWeightType();
  shape.channels = op.getN();
  shape.k = op.getK();
  shape.parts = op.getParts();
  shape.tileRows = op.getTileRows();
  shape.gathers = bool(op.getRowToken());
  if (!config)
    return shape;
  shape.threads = config.getThreads();
  shape.blocks = config.getBlocks();
  shape.tileColumns = config.getN();
  shape.tileK = config.getK();
  shape.stages = config.getStages();
  return shape;
}

int64_t RaggedGemmShape::alignmentOfX() const {
  int64_t bytes = kChunkBytes;
  while (rowBytes() % bytes != 0)
    bytes /= 2;
  return bytes;
}

/// The warps in the grid that reads the least of shared memory; none when they
/// cannot share the tile at all.
static RowClass makeRowClass(int64_t rows, int64_t columns, int64_t warps) {
  RowClass best;
  best.rows = rows;
  for (int64_t warpsM = 1; warpsM <= warps; ++warpsM) {
    int64_t warpsN = warps / warpsM;
    if (warps % warpsM != 0 || rows % (warpsM * kMmaM) != 0 ||
        columns % (warpsN * kColumnUnit) != 0)
      continue;
    int64_t warpRows = rows / warpsM, warpColumns = columns / warpsN;
    if (best.warpRows == 0 ||
        warpRows + warpColumns < best.warpRows + best.warpColumns)
      best = {rows, warpsM, warpsN, warpRows, warpColumns};
  }
  return best;
}

SmallVector<RowClass> RaggedGemmShape::rowClasses() const {
  SmallVector<RowClass> classes;
  int64_t full = llvm::alignTo(tileRows, kMmaM);
  for (int64_t rows = kMmaM; rows < full; rows *= 2)
    classes.push_back(makeRowClass(rows, tileColumns, warps()));
  classes.push_back(makeRowClass(full, tileColumns, warps()));
  return classes;
}

SharedTile RaggedGemmShape::aTile(int64_t rows) const {
  return {element, rows, tileK, stages, Swizzle::forRows(tileBytes()), {}};
}

SharedTile RaggedGemmShape::bTile() const { return aTile(tileColumns); }

SumsTile RaggedGemmShape::sumsTile() const {
  return {rowClasses().back().rows, tileColumns};
}

int64_t RaggedGemmShape::sharedBytes() const {
  // The sums take the place of the stages.
  SharedTile a = aTile(rowClasses().back().rows);
  return std::max(a.bytes() + bTile().bytes(), sumsTile().bytes());
}

int64_t RaggedGemmShape::registers() const {
  RowClass full = rowClasses().back();
  // Addresses, counters, and the pointers of the rows that a thread copies.
  int64_t rest = 40 + 2 * (full.rows * tileBytes() / kChunkBytes / threads);
  int64_t fragments = full.warpRows / kMmaM * 4 + full.warpColumns / kMmaN * 2;
  return full.accumulators() + fragments + rest;
}

LogicalResult RaggedGemmShape::verify(const ArchInfo &arch,
                                      EmitError emitError) const {
  if (tileBytes() % (2 * kChunkBytes) != 0 || !llvm::isPowerOf2_64(tileBytes()))
    return emitError() << "a tile of k = " << tileK << " channels of "
                       << element << " is not a power of two of 32 bytes";
  for (const RowClass &rowClass : rowClasses())
    if (rowClass.warpRows == 0)
      return emitError() << warps() << " warps cannot share a tile of "
                         << rowClass.rows << " x " << tileColumns;
  Budget budget{threads, blocks, sharedBytes(), registers()};
  if (failed(PipelineSpec::of(stages).verify(emitError)) ||
      failed(budget.verify(arch, emitError)))
    return failure();
  for (const RowClass &rowClass : rowClasses()) {
    TileCopy copy{aTile(rowClass.rows), threads,
                  alignmentOfX() < 4 ? kChunkBytes : alignmentOfX()};
    if (failed(copy.verify(emitError)))
      return failure();
  }
  TileCopy copy{bTile(), threads, kChunkBytes};
  return copy.verify(emitError);
}
