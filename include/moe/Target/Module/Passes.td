//===- Passes.td - Writing the artifact -----------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TARGET_MODULE_PASSES_TD
#define MOE_TARGET_MODULE_PASSES_TD

include "mlir/Pass/PassBase.td"

def WriteModulePass : Pass<"moe-write-module", "::mlir::ModuleOp"> {
  let summary = "Writes model.moe";
  let description = [{
    Requires the phase target: plan functions, constants, weights and one
    `plan.binary`. Serialises the plan (moert/Format/Plan.fbs) and the metadata,
    links them with the object code into an ELF shared object and writes it
    to `output`; with `moe.weights = "packed"` also
    `<output>.weights.safetensors`. Files appear under their names only when
    complete.

    The same module gives the same bytes.

    Fails when the output cannot be written, when the linker reports an error,
    when packed or embedded weights are asked for without a `checkpoint` or
    do not fit it, and when embedded weights exceed 1 GiB.
  }];
  let options = [
    Option<"output", "output", "std::string", "", "Path of the artifact">,
    Option<"checkpoint", "checkpoint", "std::string", "",
           "Model directory or safetensors file, needed for packed and embedded "
           "weights">
  ];
}

#endif // MOE_TARGET_MODULE_PASSES_TD
