//===- RouterOrder.h - The order of the router ------------------*- C++ -*-===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_REFERENCE_ROUTERORDER_H
#define MOE_LIB_REFERENCE_ROUTERORDER_H

#include <cmath>
#include <limits>

namespace mlir::moe::reference {

/// What a key counts as where keys are compared: a NaN as -infinity.
inline float orderValue(float key) {
  return std::isnan(key) ? -std::numeric_limits<float>::infinity() : key;
}

} // namespace mlir::moe::reference

#endif // MOE_LIB_REFERENCE_ROUTERORDER_H
