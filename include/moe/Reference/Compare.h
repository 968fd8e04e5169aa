//===- Compare.h - Distance of two tensors ----------------------*- C++ -*-===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_REFERENCE_COMPARE_H
#define MOE_REFERENCE_COMPARE_H

#include "moe/Reference/Tensor.h"

#include <optional>
#include <string>

namespace mlir::moe::reference {

/// What counts as equal. With neither given, only the same numbers do.
struct Tolerance {
  /// Bound on |found - expected| / |expected| in the Frobenius norm.
  std::optional<double> relFrobenius;
  /// |found - expected| <= atol + rtol * |expected| for each element.
  std::optional<double> rtol, atol;
};

struct Comparison {
  bool equal = false;
  /// One sentence with the figures, for people.
  std::string text;
};

/// Equal infinities and two NaNs at one place count as equal; a NaN or an
/// infinity against anything else never does. Shapes must agree.
Comparison compare(const Tensor &found, const Tensor &expected,
                   const Tolerance &tolerance);

} // namespace mlir::moe::reference

#endif // MOE_REFERENCE_COMPARE_H
