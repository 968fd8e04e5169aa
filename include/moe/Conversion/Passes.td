//===- Passes.td - Conversions between dialects ---------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CONVERSION_PASSES_TD
#define MOE_CONVERSION_PASSES_TD

include "mlir/Pass/PassBase.td"

def ConvertMoeToPlanPass : Pass<"convert-moe-to-plan", "::mlir::ModuleOp"> {
  let summary = "From routed ops to a plan and kernels";
  let description = [{
    Requires `moe-verify-routed`. Every function becomes a `plan.func` whose
    commands run `plan.kernel`s; equal kernels are shared between functions and
    layers. Temporary buffers get sizes affine in the number of tokens N and
    slots by liveness: buffers that are never alive together share memory. A
    kernel on rows of a routing reads their number from its lists. Each weight
    becomes a `plan.constant` in the layout that its kernels read. Every
    routing decision is recorded for the expert statistics under the name of
    its function, and a session can tap each choice of experts.

    N ranges from 0 to the module attribute `moe.max_tokens` (default 1048576),
    or less when a list of pairs would not fit 32-bit row numbers.

    Guarantees that no func.func is left.

    Fails when a function does not pass `moe-verify-routed` and when the bound
    is no positive i64.
  }];
  let dependentDialects = ["::mlir::moe::MoeDialect",
                           "::mlir::plan::PlanDialect",
                           "::mlir::arith::ArithDialect",
                           "::mlir::memref::MemRefDialect"];
}

def VerifyTiledPass : Pass<"moe-verify-tiled", "::mlir::ModuleOp"> {
  let summary = "Border check of the phase tiled";
  let description = [{
    The module holds weights, constants, plan functions and kernels only;
    kernels hold kernel ops only, and what gives them a number of rows; each
    has a configuration per target variant. With `moe.numerics = "strict"`, all
    kernels of one name stay within one accumulation class per ISA level.

    Changes nothing. Fails at the first op that breaks this.
  }];
}

#endif // MOE_CONVERSION_PASSES_TD
