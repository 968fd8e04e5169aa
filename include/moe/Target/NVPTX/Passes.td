//===- Passes.td - GPU image passes ---------------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TARGET_NVPTX_PASSES
#define MOE_TARGET_NVPTX_PASSES

include "mlir/Pass/PassBase.td"

def VerifyCutPass : Pass<"moe-verify-cut", "::mlir::ModuleOp"> {
  let summary = "Check that cut modules hold what both of their ends handle";
  let description = [{
    Requires: `gpu.module` ops with attribute `moe.arch`, as
    `moe-lower-to-cut` leaves them. Changes nothing.

    Guarantees: every op in them is on the list of the cut: of dialect `llvm`
    or `nvvm`, known to the emulator and to LLVM's NVPTX back end for this
    architecture, which aborts on others. In particular no inline assembly, no
    call of a function that is not defined beside its caller, no intrinsic that
    becomes a call of a library, no flag that lets the two ends round
    differently, and only types that both ends have.

    Fails naming op, kernel and architecture otherwise.
  }];
}

def SerializeGpuPass : Pass<"moe-serialize-gpu", "::mlir::ModuleOp"> {
  let summary = "Compile cut modules to PTX and cubin inside the module";
  let description = [{
    Requires: cut modules that `moe-verify-cut` accepts, beside the plan.

    Guarantees: for each of them a `plan.binary` of format "ptx" and, when
    `ptxas` is found, one of format "cubin"; `kernels` says of each kernel
    `args`, `threads`, `blocks`, `shared`, `scratch`, `accumulation`,
    `static_shared` and `registers`. The cut modules and the `plan.kernel` ops
    for device cuda are gone. Without `ptxas` a warning says so; the driver then
    compiles the PTX when it loads it. The same module and the same `ptxas`
    give the same bytes. The option `ptxas=none` asks for PTX only.

    A kernel that would spill registers for sharing a multiprocessor with as many
    blocks as its configuration says shares it with fewer; `blocks` says so.

    PTX keeps the arithmetic of the cut: no fused multiply-add that the IR does
    not ask for, no flush to zero, IEEE division and square root.

    With `save-temps`, the folder receives for each architecture A `A.cut.mlir`,
    `A.ptx`, `A.cubin` and `A.ptxas.log`, and for each image the emulated module
    `<xxh3-64 of the image>.so`.

    Fails when the PTX would need another library, when `ptxas` fails, spills
    registers or gives up pipelining wgmma, and when a kernel needs more
    registers, shared memory or threads than the architecture can launch.
  }];
  let options = [
    Option<"ptxas", "ptxas", "std::string", "",
           "Path of ptxas; empty: $CUDA_HOME/bin, the search path, "
           "/usr/local/cuda/bin; none: PTX only">,
    Option<"saveTemps", "save-temps", "std::string", "",
           "Folder for intermediate files; empty for none">
  ];
  let dependentDialects = [
    "::mlir::LLVM::LLVMDialect", "::mlir::plan::PlanDialect"];
}

def EmitEmulatedObjectPass
    : Pass<"moe-emit-emulated-object", "::mlir::ModuleOp"> {
  let summary = "Write a cut module as a shared object for the emulator";
  let description = [{
    Requires: one `gpu.module`, a cut module such as `--save-temps` wrote.
    Changes nothing.

    Guarantees: `output` is an ELF shared object that exports
    `moe_emulated_module`; whoever loads it provides the functions `moe_emu_*`.

    Fails when there is not exactly one `gpu.module`, when it holds what the
    emulator lacks, or when the file cannot be written.
  }];
  let options = [
    Option<"output", "output", "std::string", "", "Path of the shared object">
  ];
}

#endif // MOE_TARGET_NVPTX_PASSES
