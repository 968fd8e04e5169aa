//===- ApplyCapacity.h - How many rows an expert takes ----------*- C++ -*-===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CODEGEN_CPU_EXPAND_APPLYCAPACITY_H
#define MOE_LIB_CODEGEN_CPU_EXPAND_APPLYCAPACITY_H

#include "Lanes.h"
#include "moe/Dialect/Moe/IR/Moe.h"

namespace mlir::moe::cpu {

/// The number of slots (docs/Numerics.md, "Capacity") when `tokens` (index)
/// compete, as an index.
Value emitCapacity(ImplicitLocOpBuilder &b, CapacityAttr capacity, Value tokens,
                   int64_t perToken, int64_t experts);

/// Calls `body` with the bounds [begin, end) of each group of tokens that
/// compete; groups are not empty.
void forTokenGroups(
    ImplicitLocOpBuilder &b, CapacityAttr capacity, Value tokens,
    function_ref<void(ImplicitLocOpBuilder &, Value, Value)> body);

} // namespace mlir::moe::cpu

#endif // MOE_LIB_CODEGEN_CPU_EXPAND_APPLYCAPACITY_H
