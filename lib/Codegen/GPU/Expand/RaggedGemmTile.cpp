//===- RaggedGemmTile.cpp - One tile of the ragged GEMM -------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The sums of a tile, on tensor cores or with f32 multiply-adds. A sum adds its
// products in ascending k, 16 of them at once on tensor cores, in every row
// class.
//
//===----------------------------------------------------------------------===//

#include "RaggedGemm.h"

#include "../Builder/Fragments.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::gpu;

//===----------------------------------------------------------------------===//
// AccumulatorLayout
//===----------------------------------------------------------------------===//

AccumulatorLayout AccumulatorLayout::get(const RaggedGemmShape &shape,
                                         const RowClass &rowClass) {
  AccumulatorLayout layout;
  layout.isMma = hasMma(shape.element);
  layout.tiles = rowClass.warpColumns / kMmaN;
  layout.slots = rowClass.warpRows / layout.slotRows();
  layout.width = layout.isMma ? 2 : 1;
  return layout;
}

int64_t AccumulatorLayout::index(int64_t slot, int64_t tile, int64_t i) const {
  if (!isMma)
    return slot * tiles + tile;
  // The four values of one instruction are two rows of two columns.
  return (slot / 2 * tiles + tile) * 4 + slot % 2 * 2 + i;
}

Value AccumulatorLayout::row(Emit &e, Value lane, int64_t slot) const {
  return e.add(e.div(lane, isMma ? 4 : 8), slot * slotRows());
}

Value AccumulatorLayout::column(Emit &e, Value lane) const {
  return isMma ? e.mul(e.rem(lane, 4), 2) : e.rem(lane, 8);
}

//===----------------------------------------------------------------------===//
// Sums
//===----------------------------------------------------------------------===//

void RaggedGemm::emitTile(Emit &e, const RowClass &rowClass,
                          const RaggedTile &tile) {
  WeightSource weightSource = emitWeightSource(e, tile);
  RowSource rowSource = emitRowSource(e, rowClass, tile);
  const SharedTile &a = rowSource.copy.tile, &b = weightSource.copy.tile;

  Value warpM = ctx.warp, warpN = ctx.warp;
  if (rowClass.warpsM == 1) {
    warpM = e.i32(0);
  } else {
    warpM = e.div(ctx.warp, rowClass.warpsN);
    warpN = e.rem(ctx.warp, rowClass.warpsN);
  }
  Value warpRow = e.mul(warpM, rowClass.warpRows);
  Value warpColumn = e.mul(warpN, rowClass.warpColumns);

  auto layout = AccumulatorLayout::get(shape, rowClass);
  SmallVector<Value> aOffsets, bOffsets;
  if (layout.isMma) {
    aOffsets = matrixOffsets(e, a, Operand::A, ctx.lane, warpRow);
    bOffsets = matrixOffsets(e, b, Operand::B, ctx.lane, warpColumn);
  }
  SmallVector<Value> zeros(layout.size(), e.f32(0));
  SmallVector<Value> sums = emitPipeline(
      e, PipelineSpec::of(shape.stages), shape.kTiles(), zeros,
      [&](Emit &e, Value kTile, Value stage) {
        // The weights first: they do not wait for row_token.
        issueWeights(e, weightSource, kTile, stage);
        issueRows(e, rowSource, kTile, stage);
      },
      [&](Emit &e, Value, Value stage, ValueRange carried) {
        if (layout.isMma)
          return useMma(e, rowClass, a, b, aOffsets, bOffsets, stage, carried);
        return useFma(e, rowClass, a, b, warpRow, warpColumn, stage, carried);
      });
  // Other warps may still use the last stage.
  e.syncBlock();
  stageSums(e, rowClass, warpRow, warpColumn, sums);
}

SmallVector<Value> RaggedGemm::useMma(Emit &e, const RowClass &rowClass,
                                      const SharedTile &a, const SharedTile &b,
                                      ArrayRef<Value> aOffsets,
                                      ArrayRef<Value> bOffsets, Value stage,
                                      ValueRange carried) {
  auto layout = AccumulatorLayout::get(shape, rowClass);
  SmallVector<Value> sums(carried);
  Value aStage = a.stageAddress(e, stage), bStage = b.stageAddress(e, stage);
  for (auto [aOffset, bOffset] : llvm::zip_equal(aOffsets, bOffsets)) {
    Value aBase = e.offset(aStage, aOffset), bBase = e.offset(bStage, bOffset);
    SmallVector<SmallVector<Value, 4>> aFragments;
    for (int64_t row = 0; row < rowClass.warpRows; row += kMmaM)
      aFragments.push_back(
          loadMatrices(e, e.offset(aBase, row * a.rowBytes())));
    for (int64_t pair = 0; pair < layout.tiles / 2; ++pair) {
      SmallVector<Value, 4> bFragments =
          loadMatrices(e, e.offset(bBase, pair * 2 * kMmaN * b.rowBytes()));
      for (int64_t half = 0; half < 2; ++half)
        for (auto [m, aFragment] : llvm::enumerate(aFragments)) {
          int64_t first = layout.index(2 * m, 2 * pair + half, 0);
          SmallVector<Value, 4> results =
              multiplyAdd(e, shape.element, aFragment,
                          ValueRange(bFragments).slice(2 * half, 2),
                          ValueRange(sums).slice(first, 4));
          llvm::copy(results, sums.begin() + first);
        }
    }
  }
  return sums;
}

SmallVector<Value> RaggedGemm::useFma(Emit &e, const RowClass &rowClass,
                                      const SharedTile &a, const SharedTile &b,
                                      Value warpRow, Value warpColumn,
                                      Value stage, ValueRange carried) {
  auto layout = AccumulatorLayout::get(shape, rowClass);
  Value aStage = a.stageAddress(e, stage), bStage = b.stageAddress(e, stage);
  constexpr int64_t kElements = kChunkBytes / 4;
  auto vector = VectorType::get(kElements, e.getF32Type());
  auto loadChunk = [&](Emit &e, const SharedTile &tile, Value begin, Value row,
                       Value chunk) {
    Value loaded = e.loadAt(
        vector, e.offset(begin, tile.byteOffset(e, row, chunk)), kChunkBytes);
    SmallVector<Value> elements;
    for (int64_t i = 0; i < kElements; ++i)
      elements.push_back(LLVM::ExtractElementOp::create(e, loaded, e.i32(i)));
    return elements;
  };
  return e.forRange(
      e.i32(0), e.i32(a.chunksPerRow()), e.i32(1), carried,
      [&](Emit &e, Value chunk, ValueRange carried) {
        SmallVector<Value> sums(carried);
        SmallVector<SmallVector<Value>> columns;
        for (int64_t tile = 0; tile < layout.tiles; ++tile) {
          Value column = e.add(layout.column(e, ctx.lane), tile * kMmaN);
          columns.push_back(
              loadChunk(e, b, bStage, e.add(warpColumn, column), chunk));
        }
        for (int64_t slot = 0; slot < layout.slots; ++slot) {
          Value row = e.add(warpRow, layout.row(e, ctx.lane, slot));
          SmallVector<Value> values = loadChunk(e, a, aStage, row, chunk);
          for (int64_t tile = 0; tile < layout.tiles; ++tile) {
            Value &sum = sums[layout.index(slot, tile, 0)];
            for (int64_t i = 0; i < kElements; ++i)
              sum = math::FmaOp::create(e, values[i], columns[tile][i], sum);
          }
        }
        return sums;
      });
}
