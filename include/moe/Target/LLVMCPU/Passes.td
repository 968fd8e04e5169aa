//===- Passes.td - Host object code passes --------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TARGET_LLVMCPU_PASSES
#define MOE_TARGET_LLVMCPU_PASSES

include "mlir/Pass/PassBase.td"

def SerializeKernelsPass
    : Pass<"moe-serialize-kernels", "::mlir::ModuleOp"> {
  let summary = "Compile the kernels into an object file inside the module";
  let description = [{
    Requires: kernels in the LLVM dialect (`moe-lower-kernel-abi`).

    Guarantees: one `plan.binary @host "elf-x86_64-object"` holds the
    position-independent code of every kernel and ISA level, the kernel table
    and `moe_module_query` (moert/Format/KernelABI.h). Its dictionary has for
    each kernel `args`, `levels` (bit per level), `scratch` and `accumulation`
    (by level), and `emulated` when the code for level AMX needs no AMX. The
    functions and `plan.kernel` ops are gone. The same module gives the same
    bytes, which hold no path and no time. A module without kernels gets a
    binary with an empty table.

    Fails when LLVM rejects the code, or when it would call another function
    than memcpy, memset or memmove.
  }];
  let dependentDialects = [
    "::mlir::LLVM::LLVMDialect", "::mlir::plan::PlanDialect"];
}

#endif // MOE_TARGET_LLVMCPU_PASSES
