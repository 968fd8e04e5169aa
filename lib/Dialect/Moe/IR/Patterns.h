//===- Patterns.h - Patterns of the dialect as a whole ----------*- C++ -*-===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_DIALECT_MOE_IR_PATTERNS_H
#define MOE_LIB_DIALECT_MOE_IR_PATTERNS_H

#include "mlir/IR/PatternMatch.h"

namespace mlir::moe::detail {

/// Routings that are restricted to all of their experts, or twice.
void populateRestrictPatterns(RewritePatternSet &patterns);

} // namespace mlir::moe::detail

#endif // MOE_LIB_DIALECT_MOE_IR_PATTERNS_H
