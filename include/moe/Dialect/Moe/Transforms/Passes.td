//===- Passes.td - Passes on the moe dialect ------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_TRANSFORMS_PASSES_TD
#define MOE_DIALECT_MOE_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def FuseTokenRowsPass : Pass<"moe-fuse-token-rows", "::mlir::func::FuncOp"> {
  let summary = "Fuses token-wise tensor code into moe.map_rows";
  let description = [{
    Requires routed ops (`moe-lower-routing`). Whatever tensor code is left
    between them (gates, residuals, norms) is gathered into as few
    `moe.map_rows` as the dependences allow; each becomes one kernel. What does
    not depend on rows is repeated in every kernel that reads it, with a
    missed-optimisation remark when it is a computation on tensors.

    Guarantees that no tensor computation is left outside a kernel region.

    Fails when an op is not token-wise, i.e. when a row of its result depends on
    other rows than the same row of its operands; the error names the op.
  }];
  let dependentDialects = ["::mlir::moe::MoeDialect",
                           "::mlir::tensor::TensorDialect",
                           "::mlir::linalg::LinalgDialect"];
}

def LowerRoutingPass : Pass<"moe-lower-routing", "::mlir::func::FuncOp"> {
  let summary = "Makes routing decisions explicit as index lists";
  let description = [{
    Requires verified graph ops (`moe-verify-graph`). Every `!moe.routing` value
    becomes five lists (see `moe.group_rows`); dispatch, experts and combine
    become ops on rows. An expert body that is a feed-forward network — one or
    two matrix products, an activation element by element, a last product —
    becomes `moe.grouped_ffn` with its dispatch fused; any other becomes
    `moe.map_rows` with a missed-optimisation remark that says why.

    Guarantees that no `!moe.routing` value is left.

    Fails when an expert body matches no pattern and is not row-wise either, or
    when a routing is made or used by other ops than those above.
  }];
  let dependentDialects = ["::mlir::moe::MoeDialect",
                           "::mlir::tensor::TensorDialect",
                           "::mlir::linalg::LinalgDialect"];
}

def MergeSegmentsPass : Pass<"moe-merge-segments", "::mlir::func::FuncOp"> {
  let summary = "Computes shared experts in the same grouped GEMM";
  let description = [{
    Requires routed ops. Two `moe.grouped_ffn` on the same tokens with the same
    activation become one with several segments. A sum of two
    `moe.combine_rows` becomes one that adds the rows of both before it rounds;
    experts that every token visits come last.

    Never fails; what does not fit stays as it is.
  }];
  let dependentDialects = ["::mlir::moe::MoeDialect"];
}

def VerifyGraphPass : Pass<"moe-verify-graph", "::mlir::func::FuncOp"> {
  let summary = "Border check of the phases import and graph";
  let description = [{
    A function that can be compiled has one block; its inputs are tensors whose
    first dimension is the number of tokens, dynamic, and whose others are
    static; its results are such tensors, or static ones; elements are f32,
    bf16, f16, i64, i32 or i8. It holds graph ops of the moe dialect and ops of
    arith, linalg, math and tensor only (inside regions of scf, too). No op
    mixes rows of tokens with rows of (token, expert) pairs or rows of two
    routings, and results have rows of tokens.

    Changes nothing. Fails at the first op that breaks this.
  }];
}

def VerifyRoutedPass : Pass<"moe-verify-routed", "::mlir::func::FuncOp"> {
  let summary = "Border check of the phase routed";
  let description = [{
    Every op of a function is a routed op, `moe.get_weight`,
    `moe.router_logits` or the return: no tensor op stands outside a kernel
    region, and no graph op is left. Index lists come from `moe.group_rows` or
    `moe.all_rows`; ops that go together read lists of the same one, and rows
    of it or of tokens as they must. Values have elements of whole bytes.

    Changes nothing. Fails at the first op that breaks this.
  }];
}

#endif // MOE_DIALECT_MOE_TRANSFORMS_PASSES_TD
