//===- TuneGemm.cpp - Choose the tile of a ragged GEMM --------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The rows of a tile are given. Columns are chosen to waste few and to read
// little from shared memory for each product; channels to fill rows of 128
// bytes, half of that where it takes a second block onto a multiprocessor; then
// as many blocks as fit, for one hides the ends of the other.
//
//===----------------------------------------------------------------------===//

#include "TuneGemm.h"
#include "Expand/RaggedGemm.h"

#include "Builder/Fragments.h"

#include <limits>

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::gpu;

/// A tile row that takes all banks once.
static constexpr int64_t kTileRowBytes = 128;
static constexpr int64_t kMaxBlocks = 4;
static constexpr double kOddColumnsCost = 1.15;

/// Columns of a tile and the threads that share it.
struct ColumnChoice {
  int64_t columns, threads;
};
static constexpr ColumnChoice kColumnChoices[] = {
    {128, 128}, {160, 160}, {96, 96}, {64, 128}, {32, 64}, {16, 32}};

static ColumnChoice chooseColumns(int64_t columns, int64_t tileRows) {
  // With many rows twice the warps share a tile.
  if (tileRows > 64)
    return {128, 256};
  ColumnChoice best{};
  double bestCost = std::numeric_limits<double>::max();
  for (ColumnChoice choice : kColumnChoices) {
    // What is computed, times what each product reads.
    double cost = double(llvm::alignTo(columns, choice.columns)) *
                  (1.0 / tileRows + 1.0 / choice.columns);
    // Their copies do not end in step with the swizzle, and fewer blocks fit.
    if (!llvm::isPowerOf2_64(choice.columns))
      cost *= kOddColumnsCost;
    if (cost < bestCost) {
      best = choice;
      bestCost = cost;
    }
  }
  return best;
}

/// Halves the tile's channels while more than an eighth of them were padding.
static int64_t chooseChannels(int64_t k, int64_t elementBytes) {
  int64_t tileK = kTileRowBytes / elementBytes;
  while (tileK * elementBytes > 2 * kChunkBytes &&
         int64_t(llvm::alignTo(k, tileK)) - k > k / 8)
    tileK /= 2;
  return tileK;
}

static bool fits(const RaggedGemmShape &shape, const ArchInfo &arch) {
  bool refused = false;
  // A diagnostic that is not reported anywhere counts as success.
  auto note = [&] {
    refused = true;
    return InFlightDiagnostic();
  };
  return succeeded(shape.verify(arch, note)) && !refused;
}

void moe::gpu::tuneShape(RaggedGemmShape &shape, const ArchInfo &arch) {
  ColumnChoice choice = chooseColumns(shape.columns(), shape.tileRows);
  shape.tileColumns = choice.columns;
  shape.threads = choice.threads;
  int64_t fullK = chooseChannels(shape.k, shape.elementBytes());
  struct Depth {
    int64_t tileK, stages, leastBlocks;
  };
  const Depth depths[] = {
      {fullK, 3, 2}, {fullK / 2, 4, 2}, {fullK, 4, 1},    {fullK, 3, 1},
      {fullK, 2, 1}, {fullK / 2, 3, 1}, {fullK / 2, 2, 1}};
  for (const Depth &depth : depths) {
    if (depth.tileK * shape.elementBytes() < 2 * kChunkBytes)
      continue;
    shape.tileK = depth.tileK;
    // Stages that no tile ever fills only cost memory.
    shape.stages =
        std::min(depth.stages, std::max<int64_t>(2, shape.kTiles() + 1));
    for (shape.blocks = kMaxBlocks; shape.blocks >= depth.leastBlocks;
         --shape.blocks)
      if (fits(shape, arch))
        return;
  }
  // Nothing fits; the expander says why.
  shape.blocks = 1;
}

GpuConfigAttr moe::gpu::tuneRaggedGemm(KernelRaggedGemmOp op,
                                       const ArchInfo &arch) {
  RaggedGemmShape shape = RaggedGemmShape::get(op, GpuConfigAttr());
  tuneShape(shape, arch);
  return GpuConfigAttr::get(op.getContext(), arch.name, shape.threads,
                            shape.blocks, shape.tileColumns, shape.tileK,
                            shape.stages,
                            hasMma(shape.element) ? "mma-k16" : "fma-f32");
}
