//===- Passes.h - Code generation passes ----------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CODEGEN_PASSES_H
#define MOE_CODEGEN_PASSES_H

#include "moe/Dialect/Plan/IR/Plan.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

#include <memory>

namespace mlir {
class DialectRegistry;
namespace moe {

#define GEN_PASS_DECL
#include "moe/Codegen/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "moe/Codegen/Passes.h.inc"

/// Adds the interfaces by which the dialects that kernels are made of lower to
/// the LLVM dialect. Needed in every context that runs the CPU passes.
void registerCPUCodegenInterfaces(DialectRegistry &registry);

} // namespace moe
} // namespace mlir

#endif // MOE_CODEGEN_PASSES_H
