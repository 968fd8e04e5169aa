//===- Passes.h - GPU image passes ----------------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TARGET_NVPTX_PASSES_H
#define MOE_TARGET_NVPTX_PASSES_H

#include "moe/Dialect/Plan/IR/Plan.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

#include <memory>

namespace mlir {
class DialectRegistry;
class OpPassManager;
namespace moe {

#define GEN_PASS_DECL
#include "moe/Target/NVPTX/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "moe/Target/NVPTX/Passes.h.inc"

/// All of the GPU's part of phase `target`: from `plan.kernel` for device cuda
/// to `plan.binary`. Does nothing to a module without such kernels.
void addNVPTXTargetPasses(OpPassManager &pm,
                          const SerializeGpuPassOptions &options);

/// Adds what the passes need to translate cut modules to LLVM IR.
void registerNVPTXTranslations(DialectRegistry &registry);

} // namespace moe
} // namespace mlir

#endif // MOE_TARGET_NVPTX_PASSES_H
