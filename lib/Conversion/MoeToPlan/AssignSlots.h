//===- AssignSlots.h - Memory of temporaries ------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_MOETOPLAN_ASSIGNSLOTS_H
#define MOE_LIB_CONVERSION_MOETOPLAN_ASSIGNSLOTS_H

#include "moe/Dialect/Plan/IR/Plan.h"

namespace mlir::moe {

/// Gives every `plan.alloc` of a variant a slot such that buffers alive at the
/// same command never share one. A buffer is alive from the first command that
/// uses it to the last.
void assignSlots(plan::VariantOp variant);

} // namespace mlir::moe

#endif // MOE_LIB_CONVERSION_MOETOPLAN_ASSIGNSLOTS_H
