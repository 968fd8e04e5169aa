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

def FlattenExpertsPass : Pass<"moe-flatten-experts", "::mlir::ModuleOp"> {
  let summary = "Makes experts within experts one routing";
  let description = [{
    Experts whose body routes its rows among experts of its own, i.e. holds
    `moe.router_logits`, `moe.route` (or `moe.assign`), `moe.dispatch`,
    `moe.experts`, `moe.combine` and tensor code, go to the level of the
    function: `moe.grouped_logits`, `moe.route`, `moe.nest`, and experts with
    the outer and the inner number made one. A weight of inner experts must be a
    `moe.weight` of one source, which gets a second symbol with the first two
    dimensions made one, or expanded from such a weight by
    `tensor.expand_shape`.

    Guarantees that no expert body holds ops of the moe dialect.

    Fails at what cannot stand in such a body; the error names the op.
  }];
  let dependentDialects = ["::mlir::moe::MoeDialect",
                           "::mlir::tensor::TensorDialect"];
}

def FuseTokenRowsPass : Pass<"moe-fuse-token-rows", "::mlir::func::FuncOp"> {
  let summary = "Fuses token-wise tensor code into moe.map_rows";
  let description = [{
    Requires routed ops (`moe-lower-routing`). Whatever tensor code is left
    between them (gates, residuals, norms) is gathered into as few
    `moe.map_rows` as the dependences allow; each becomes one kernel. What does
    not depend on rows is repeated in every kernel that reads it, with a
    missed-optimisation remark when it is a computation on tensors; where a
    routed op or the caller reads it, it becomes a `moe.fold_rows` of one row.

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
    become ops on rows. Statistics and Soft MoE become `moe.fold_rows` and
    `moe.map_rows`. An expert body that is a feed-forward network — one or
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
    parts of one routing (`moe.slice_rows`) come in ascending order of expert,
    experts that every token visits last.

    Never fails; what does not fit stays as it is.
  }];
  let dependentDialects = ["::mlir::moe::MoeDialect"];
}

def OrientWeightsPass : Pass<"moe-orient-weights", "::mlir::ModuleOp"> {
  let summary = "Turns weights around for transposed products";
  let description = [{
    Requires verified graph ops. In the body of an expert, a product `x . W` with
    a weight, or one with `linalg.transpose` of it, becomes `x . V^T`, which the
    grouped GEMMs compute: V is a `moe.weight` that reads the same checkpoint
    tensors with `transpose` toggled. Weights with other uses stay as they are.

    Never fails.
  }];
  let dependentDialects = ["::mlir::moe::MoeDialect",
                           "::mlir::linalg::LinalgDialect"];
}

def VerifyGraphPass : Pass<"moe-verify-graph", "::mlir::func::FuncOp"> {
  let summary = "Border check of the phases import and graph";
  let description = [{
    A function that can be compiled has one block; its inputs and results are
    tensors whose first dimension is the number of tokens, dynamic, and whose
    others are static, or static ones; one input has tokens. Elements are f32,
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
    `moe.router_logits`, `moe.random`, `moe.lookup`, a constant tensor or the
    return: no tensor op stands outside a kernel region, and no other graph op
    is left. Index lists come from ops that make all five (`moe.group_rows` and
    its like); ops that go together read lists of the same one, and rows of it
    or of what it distributes as they must. Values have elements of whole bytes.

    Changes nothing. Fails at the first op that breaks this.
  }];
}

#endif // MOE_DIALECT_MOE_TRANSFORMS_PASSES_TD
