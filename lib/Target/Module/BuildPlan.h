//===- BuildPlan.h - The plan as bytes ------------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_TARGET_MODULE_BUILDPLAN_H
#define MOE_LIB_TARGET_MODULE_BUILDPLAN_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Support/LLVM.h"

#include <cstdint>
#include <vector>

namespace mlir::moe {

/// Serialises the plan of a module in the phase target as
/// moert/Format/Plan.fbs. `embeddedOffsets` are the offsets of the constants in
/// `.moe.weights` for embedded weights, empty otherwise. Emits a diagnostic on
/// failure.
FailureOr<std::vector<uint8_t>> buildPlan(ModuleOp module,
                                          ArrayRef<uint64_t> embeddedOffsets);

} // namespace mlir::moe

#endif // MOE_LIB_TARGET_MODULE_BUILDPLAN_H
