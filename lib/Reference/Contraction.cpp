//===- Contraction.cpp - Sums of products, natively -----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Contraction.h"

#include <algorithm>
#include <atomic>
#include <thread>

using namespace mlir;
using namespace mlir::moe::reference;

/// Columns of a packed panel of b.
static constexpr int64_t panelWidth = 32;
/// Reduction steps per panel.
static constexpr int64_t panelDepth = 512;

typedef double Vec8 __attribute__((vector_size(64)));

#if defined(__x86_64__) && defined(__GNUC__)
#define MOE_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define MOE_CLONES
#endif

/// sums[j] += a[k] * panel[k][j], ascending in k. Compiled without contraction
/// to fma, so that all clones give the same bits.
MOE_CLONES static void accumulate(const double *a, const double *panel,
                                  int64_t depth, double *sums) {
  Vec8 acc[4];
  for (int j = 0; j < 4; ++j)
    __builtin_memcpy(&acc[j], sums + 8 * j, sizeof(Vec8));
  for (int64_t k = 0; k < depth; ++k, panel += panelWidth)
    for (int j = 0; j < 4; ++j) {
      Vec8 b;
      __builtin_memcpy(&b, panel + 8 * j, sizeof(Vec8));
      acc[j] += a[k] * b;
    }
  for (int j = 0; j < 4; ++j)
    __builtin_memcpy(sums + 8 * j, &acc[j], sizeof(Vec8));
}

void mlir::moe::reference::parallelFor(
    int64_t count, bool threaded, const std::function<void(int64_t)> &body) {
  int64_t workers = std::max(1u, std::thread::hardware_concurrency());
  workers = threaded ? std::min(workers, count) : 1;
  std::atomic<int64_t> next{0};
  auto work = [&] {
    for (int64_t i; (i = next++) < count;)
      body(i);
  };
  std::vector<std::thread> threads;
  for (int64_t i = 1; i < workers; ++i)
    threads.emplace_back(work);
  work();
  for (std::thread &thread : threads)
    thread.join();
}

/// Stride of an arithmetic sequence, 0 when it is none.
static int64_t findStride(const std::vector<int64_t> &positions) {
  if (positions.size() < 2)
    return 1;
  int64_t stride = positions[1] - positions[0];
  for (size_t i = 2; i < positions.size(); ++i)
    if (positions[i] - positions[i - 1] != stride)
      return 0;
  return stride;
}

/// out[k] = t[base + depth[k]] for k in [begin, end).
static void readRun(const Tensor &t, int64_t base,
                    const std::vector<int64_t> &depth, int64_t stride,
                    int64_t begin, int64_t end, double *out) {
  if (stride) {
    t.getFloats(base + depth[begin], stride, end - begin, out);
    return;
  }
  for (int64_t k = begin; k < end; ++k)
    out[k - begin] = t.getFloat(base + depth[k]);
}

void mlir::moe::reference::contract(const Tensor &a, const Tensor &b,
                                    const ContractionLayout &layout,
                                    std::vector<double> &c) {
  int64_t batches = layout.cBatch.size(), rows = layout.cRow.size(),
          columns = layout.cColumn.size(), depth = layout.aDepth.size();
  if (!batches || !rows || !columns || !depth)
    return;
  int64_t aStride = findStride(layout.aDepth),
          bStride = findStride(layout.bDepth);
  int64_t panels = (columns + panelWidth - 1) / panelWidth;
  bool threaded = rows * columns * depth > (1 << 18);

  for (int64_t batch = 0; batch < batches; ++batch) {
    std::vector<double> left(rows * depth);
    for (int64_t m = 0; m < rows; ++m)
      readRun(a, layout.aBatch[batch] + layout.aRow[m], layout.aDepth, aStride,
              0, depth, left.data() + m * depth);

    parallelFor(panels, threaded, [&](int64_t job) {
      int64_t first = job * panelWidth,
              width = std::min(panelWidth, columns - first);
      std::vector<double> panel(panelWidth * std::min(depth, panelDepth));
      std::vector<double> column(std::min(depth, panelDepth));
      std::vector<double> sums(rows * panelWidth);
      for (int64_t m = 0; m < rows; ++m)
        for (int64_t j = 0; j < width; ++j)
          sums[m * panelWidth + j] = c[layout.cBatch[batch] + layout.cRow[m] +
                                       layout.cColumn[first + j]];
      for (int64_t begin = 0; begin < depth; begin += panelDepth) {
        int64_t end = std::min(depth, begin + panelDepth);
        for (int64_t j = 0; j < width; ++j) {
          readRun(b, layout.bBatch[batch] + layout.bColumn[first + j],
                  layout.bDepth, bStride, begin, end, column.data());
          for (int64_t k = 0; k < end - begin; ++k)
            panel[k * panelWidth + j] = column[k];
        }
        for (int64_t m = 0; m < rows; ++m)
          accumulate(left.data() + m * depth + begin, panel.data(), end - begin,
                     sums.data() + m * panelWidth);
      }
      for (int64_t m = 0; m < rows; ++m)
        for (int64_t j = 0; j < width; ++j)
          c[layout.cBatch[batch] + layout.cRow[m] + layout.cColumn[first + j]] =
              sums[m * panelWidth + j];
    });
  }
}

static std::vector<int64_t> sequence(int64_t count, int64_t stride) {
  std::vector<int64_t> positions(count);
  for (int64_t i = 0; i < count; ++i)
    positions[i] = i * stride;
  return positions;
}

std::vector<double>
mlir::moe::reference::multiplyTransposed(const Tensor &rows,
                                         const Tensor &weight) {
  int64_t count = rows.getDim(0), depth = rows.getDim(1),
          columns = weight.getDim(0);
  ContractionLayout layout;
  layout.aBatch = layout.bBatch = layout.cBatch = {0};
  layout.aRow = sequence(count, depth);
  layout.aDepth = layout.bDepth = sequence(depth, 1);
  layout.bColumn = sequence(columns, depth);
  layout.cRow = sequence(count, columns);
  layout.cColumn = sequence(columns, 1);
  std::vector<double> result(count * columns);
  contract(rows, weight, layout, result);
  return result;
}
