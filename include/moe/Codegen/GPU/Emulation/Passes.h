//===- Passes.h - Passes of the emulator of GPU code ----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CODEGEN_GPU_EMULATION_PASSES_H
#define MOE_CODEGEN_GPU_EMULATION_PASSES_H

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

#include <memory>

namespace mlir::moe {

#define GEN_PASS_DECL
#include "moe/Codegen/GPU/Emulation/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "moe/Codegen/GPU/Emulation/Passes.h.inc"

} // namespace mlir::moe

#endif // MOE_CODEGEN_GPU_EMULATION_PASSES_H
