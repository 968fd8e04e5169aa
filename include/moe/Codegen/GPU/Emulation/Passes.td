//===- Passes.td - Passes of the emulator of GPU code ---------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CODEGEN_GPU_EMULATION_PASSES
#define MOE_CODEGEN_GPU_EMULATION_PASSES

include "mlir/Pass/PassBase.td"

def RetargetToHostPass
    : Pass<"moe-retarget-to-host", "::mlir::ModuleOp"> {
  let summary = "Turn a cut module into host code that the emulator runs";
  let description = [{
    Requires: one `gpu.module` with `llvm` and `nvvm` ops only (the cut
    module), nothing beside it.

    Guarantees: the module holds host code in the `llvm` dialect. Every
    function takes the emulated thread first. Special registers are loads from
    it; operations of the GPU are calls of `moe_emu_*` functions (Operations.h),
    with the op's location; predicates are branches; before every access of
    shared or global memory the emulator is asked to check it. Shared memory
    is an offset from the thread's `shared`. Address spaces are gone. The
    constant `moe_emulated_module` (EmulatedModule.h) lists kernels, whose
    entries take their parameters as cuLaunchKernel does, and variables in
    global memory.

    Fails, naming the op, when the module holds what the emulator lacks:
    another `nvvm` op, inline assembly, an intrinsic by name, an external
    function, or an intrinsic that needs a library on the host.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
}

def TestMutateCutPass : Pass<"test-mutate-cut", "::mlir::ModuleOp"> {
  let summary = "Plant a bug into a cut module";
  let description = [{
    Only for tests of the emulator's checks. Changes the `nth` place (from 0,
    in program order) of the cut modules that fits the bug, and says in a
    remark what it did. Fails when there is no such place, or no such bug.

    - `missing-barrier` drops a barrier.
    - `missing-wait` drops a `cp.async.wait.group`.
    - `early-stage-release` lets a `cp.async.wait.group` or a
      `wgmma.wait.group` wait for one group less.
    - `out-of-bounds` adds 2^27 bytes to the address of an access to global
      memory.
    - `uninitialised-read` drops a `cp.async` or a store to shared memory.
    - `divergent-collective` lets only the first lane take part in a
      collective.
    - `misaligned-ldmatrix` adds two bytes to an address of `ldmatrix`.
    - `wrong-tx-count` expects 16 bytes more than arrive.
    - `missing-proxy-fence` drops a `fence.proxy`.
    - `missing-mbarrier-wait` drops a `mbarrier.try_wait.parity`.
  }];
  let options = [
    Option<"bug", "bug", "std::string", /*default=*/"",
           "Name of the bug">,
    Option<"nth", "nth", "unsigned", /*default=*/"0",
           "Which of the places that fit, from 0">,
  ];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
}

#endif // MOE_CODEGEN_GPU_EMULATION_PASSES
