//===- Passes.td - Code generation passes ---------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CODEGEN_PASSES
#define MOE_CODEGEN_PASSES

include "mlir/Pass/PassBase.td"

def EmitUkernelsPass : Pass<"moe-emit-ukernels", "::mlir::ModuleOp"> {
  let summary = "Expand the register blocks of GEMMs into ISA-specific code";
  let description = [{
    Requires: functions of `moe-expand-kernels`.

    Guarantees: no `moe.ukernel` is left. At level AMX with bf16 weights a
    block is `amx` tile code; elsewhere it is `math.fma` on rows of 16 (two
    halves of 8 at level AVX2), bf16 weights being widened by shift and mask.
    Every output element is the sum over ascending input channels, whatever
    `mr` is; at level AMX, over ascending groups of 32.

    Fails when a `moe.ukernel` asks for what no emitter has: `mr` out of range
    or another weight type.
  }];
  let dependentDialects = [
    "::mlir::amx::AMXDialect", "::mlir::arith::ArithDialect",
    "::mlir::math::MathDialect", "::mlir::memref::MemRefDialect",
    "::mlir::scf::SCFDialect", "::mlir::vector::VectorDialect"];
}

def ExpandKernelsPass : Pass<"moe-expand-kernels", "::mlir::ModuleOp"> {
  let summary = "Expand kernel ops into loop nests, once per ISA level";
  let description = [{
    Requires: every `plan.kernel` has `variants` (`moe-select-kernel-config`).

    Guarantees: for every kernel and variant a private function
    `@"<kernel>.<isa>"` taking the kernel's arguments, `worker`, `workers` and
    the private scratch, returning the status, with attributes `moe.kernel`
    (name), `moe.config` (variant) and `moe.scratch_bytes`. Its body is scf,
    arith, math, vector, memref and `moe.ukernel`. The `plan.kernel` stays.

    Fails when a kernel has no variants, or an op in it that no expander
    handles.
  }];
  let dependentDialects = [
    "::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
    "::mlir::bufferization::BufferizationDialect", "::mlir::func::FuncDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect",
    "::mlir::memref::MemRefDialect", "::mlir::plan::PlanDialect",
    "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect",
    "::mlir::vector::VectorDialect"];
}

def ExpandMathPass : Pass<"moe-expand-math", "::mlir::ModuleOp"> {
  let summary = "Expand what would become calls of a math library";
  let description = [{
    Requires: functions of `moe-expand-kernels`.

    Guarantees: no op of the `math` dialect is left but those that are one
    instruction at level AVX2 (`fma`, `sqrt`, `absf`, `absi`, `ceil`, `floor`,
    `trunc`, `roundeven`, `copysign`, `ctlz`, `cttz`, `ctpop`), and no
    conversion from or to bf16. `exp` and the bf16 conversions are those of
    docs/Numerics.md; the rest is built from upstream expansions and these.

    Fails when an op of the `math` dialect, or a conversion, has no expansion.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
    "::mlir::vector::VectorDialect"];
}

def LowerKernelAbiPass : Pass<"moe-lower-kernel-abi", "::mlir::ModuleOp"> {
  let summary = "Give kernels the C ABI and lower them to the LLVM dialect";
  let description = [{
    Requires: functions of `moe-expand-kernels` without `moe` and library ops.

    Guarantees: every such function is an internal `llvm.func` of type
    `i32 (ptr args, i32 worker, i32 workers, ptr scratch)` as
    moert/Format/KernelABI.h says, with the CPU features of its ISA level;
    other ops of the module are untouched.

    Fails when an op has no lowering to the LLVM dialect.
  }];
  let dependentDialects = [
    "::mlir::LLVM::LLVMDialect", "::mlir::arith::ArithDialect",
    "::mlir::cf::ControlFlowDialect", "::mlir::func::FuncDialect",
    "::mlir::memref::MemRefDialect", "::mlir::vector::VectorDialect"];
}

def SelectKernelConfigPass
    : Pass<"moe-select-kernel-config", "::mlir::ModuleOp"> {
  let summary = "Choose the ISA levels of every kernel and their configuration";
  let description = [{
    Requires: module attribute `moe.targets`, an array of "x86-64" (all
    levels), "x86-64-v3" (AVX2), "x86-64-v4" (AVX-512), "x86-64-amx".

    Guarantees: every `plan.kernel` has `variants`, ascending by level. Level
    AMX is taken only by kernels of a GEMM with bf16 weights, the others run
    there what they have for the level below; targets that name AMX alone give
    the others level AVX-512.

    Fails on another target name, or without targets.
  }];
  let dependentDialects = [
    "::mlir::moe::MoeDialect", "::mlir::plan::PlanDialect"];
}

def TestLowerAmxToLoopsPass
    : Pass<"test-lower-amx-to-loops", "::mlir::ModuleOp"> {
  let summary = "Run amx ops without AMX";
  let description = [{
    Requires: functions of `moe-emit-ukernels`. Does nothing unless the module
    has the unit attribute `moe.emulate_amx` (or the option `always`).

    Guarantees: no `amx` op is left; tiles are buffers on the stack, and
    `tile_mulf` sums in the order of TDPBF16PS: the even and the odd channels
    of a tile each with f32 fma, then the two sums, then the accumulator. Unlike
    the instruction it keeps subnormals.

    Fails when a tile operation is not one of zero, load, store, mulf of bf16.
  }];
  let options = [
    Option<"always", "always", "bool", "false",
           "Lower without the module attribute">];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
    "::mlir::vector::VectorDialect"];
}

#endif // MOE_CODEGEN_PASSES
