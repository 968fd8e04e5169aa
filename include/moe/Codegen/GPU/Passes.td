//===- Passes.td - GPU code generation passes -----------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CODEGEN_GPU_PASSES
#define MOE_CODEGEN_GPU_PASSES

include "mlir/Pass/PassBase.td"

def ExpandGpuKernelsPass : Pass<"moe-expand-gpu-kernels", "::mlir::ModuleOp"> {
  let summary = "Expand kernel ops into GPU code, once per architecture";
  let description = [{
    Requires: every `plan.kernel` on cuda has `variants`
    (`moe-select-gpu-config`).

    Guarantees: one `gpu.module @<arch>` per architecture with attribute
    `moe.arch`, holding a function for every kernel that has a variant for it,
    with the parameters of moert/Format/KernelABI.h and the attributes
    `moe.kernel` (name), `moe.config` (variant), `moe.shared_bytes` (dynamic
    shared memory of a block) and `moe.scratch_bytes` (private global memory of
    a block, a multiple of 256). Bodies are scf, arith, math, memref, llvm and
    nvvm. The `plan.kernel` stays.

    Fails when a kernel has no variants, an op in it that no expander handles,
    or needs more shared memory than the architecture has.
  }];
  let dependentDialects = [
    "::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
    "::mlir::bufferization::BufferizationDialect", "::mlir::func::FuncDialect",
    "::mlir::gpu::GPUDialect", "::mlir::LLVM::LLVMDialect",
    "::mlir::NVVM::NVVMDialect", "::mlir::linalg::LinalgDialect",
    "::mlir::math::MathDialect", "::mlir::memref::MemRefDialect",
    "::mlir::plan::PlanDialect", "::mlir::scf::SCFDialect",
    "::mlir::tensor::TensorDialect", "::mlir::vector::VectorDialect"];
}

def LowerToCutPass : Pass<"moe-lower-to-cut", "::mlir::ModuleOp"> {
  let summary = "Lower GPU kernels to the cut: llvm and nvvm only";
  let description = [{
    Requires: the `gpu.module`s of `moe-expand-gpu-kernels`, without what
    `moe-expand-math` removes.

    Guarantees: every `gpu.module` is a cut module, the form that both the NVPTX
    backend and the host emulator take: kernels are `llvm.func`s of ops of the
    `llvm` and `nvvm` dialects, marked by `gpu.kernel`, `nvvm.kernel` and
    `nvvm.maxntid`. Other ops of the module are untouched.

    Fails when an op has no lowering.
  }];
  let dependentDialects = [
    "::mlir::LLVM::LLVMDialect", "::mlir::NVVM::NVVMDialect",
    "::mlir::cf::ControlFlowDialect", "::mlir::gpu::GPUDialect"];
}

def SelectGpuConfigPass : Pass<"moe-select-gpu-config", "::mlir::ModuleOp"> {
  let summary = "Choose the configuration of every GPU kernel";
  let description = [{
    Requires: module attribute `moe.targets`; the names starting with "sm_" are
    its GPU architectures.

    Guarantees: every `plan.kernel` on cuda has one variant per architecture, in
    ascending order.

    Fails on an architecture that is not known, and at a kernel on cuda that has
    a routing rule without GPU code (error MOE0113).
  }];
  let dependentDialects = [
    "::mlir::moe::MoeDialect", "::mlir::plan::PlanDialect"];
}

#endif // MOE_CODEGEN_GPU_PASSES
