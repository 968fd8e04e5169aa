//===- Contraction.h - Sums of products, natively ---------------*- C++ -*-===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_REFERENCE_CONTRACTION_H
#define MOE_LIB_REFERENCE_CONTRACTION_H

#include "moe/Reference/Tensor.h"

#include <functional>

namespace mlir::moe::reference {

/// Where the elements of a contraction lie: positions by batch, row, column
/// and reduction index; the position of an element is the sum of its three.
struct ContractionLayout {
  std::vector<int64_t> aBatch, aRow, aDepth;
  std::vector<int64_t> bBatch, bColumn, bDepth;
  std::vector<int64_t> cBatch, cRow, cColumn;
};

/// c[b, m, n] += sum over k of a[b, m, k] * b[b, k, n] in f64, ascending in k
/// from what c holds. The same bits on every machine, for any thread count.
void contract(const Tensor &a, const Tensor &b, const ContractionLayout &layout,
              std::vector<double> &c);

/// rows . weight^T for a weight [n, k] and `count` rows of k elements.
std::vector<double> multiplyTransposed(const Tensor &rows,
                                       const Tensor &weight);

/// Calls body(i) for every i below `count`, on all cores when `threaded`.
void parallelFor(int64_t count, bool threaded,
                 const std::function<void(int64_t)> &body);

} // namespace mlir::moe::reference

#endif // MOE_LIB_REFERENCE_CONTRACTION_H
