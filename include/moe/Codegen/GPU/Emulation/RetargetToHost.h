//===- RetargetToHost.h - Cut modules as host code ------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The compiler's side of the emulator. A cut module, which also goes to PTX,
// becomes code for x86-64 that exports one constant, `moe_emulated_module`
// (EmulatedModule.h), and calls the functions of Operations.h.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CODEGEN_GPU_EMULATION_RETARGETTOHOST_H
#define MOE_CODEGEN_GPU_EMULATION_RETARGETTOHOST_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace mlir::gpu {
class GPUModuleOp;
} // namespace mlir::gpu

namespace mlir::moe {

/// A module with the host code of `cut`, which stays as it is. Reports every
/// op that the emulator lacks as an error.
FailureOr<OwningOpRef<ModuleOp>> retargetToHost(mlir::gpu::GPUModuleOp cut);

/// Appends to `object` the host code of `cut` as a relocatable,
/// position-independent ELF file for the CPU level x86-64-v3, whatever the
/// machine at hand is. Undefined in it are only functions `moe_emu_*`, memcpy,
/// memset, memmove and conversions of bf16 and f16, all of which the
/// emulator's runtime has. The same module gives the same bytes. The context
/// needs the translations that `registerEmulationTranslations` adds.
LogicalResult emitEmulatedObject(mlir::gpu::GPUModuleOp cut,
                                 SmallVectorImpl<char> &object);

/// Adds the translations of host code to LLVM IR.
void registerEmulationTranslations(DialectRegistry &registry);

} // namespace mlir::moe

#endif // MOE_CODEGEN_GPU_EMULATION_RETARGETTOHOST_H
