//===- Passes.h - Host object code passes ---------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TARGET_LLVMCPU_PASSES_H
#define MOE_TARGET_LLVMCPU_PASSES_H

#include "moe/Dialect/Plan/IR/Plan.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

#include <memory>

namespace mlir {
class OpPassManager;
namespace moe {

#define GEN_PASS_DECL
#include "moe/Target/LLVMCPU/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "moe/Target/LLVMCPU/Passes.h.inc"

/// All of the CPU's part of phase `target`: from `plan.kernel` with variants
/// to `plan.binary`.
void addLLVMCPUTargetPasses(OpPassManager &pm);

} // namespace moe
} // namespace mlir

#endif // MOE_TARGET_LLVMCPU_PASSES_H
