//===- MoeRouterKernelOps.td - Kernel ops of routers ----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_IR_MOEROUTERKERNELOPS_TD
#define MOE_DIALECT_MOE_IR_MOEROUTERKERNELOPS_TD

include "moe/Dialect/Moe/IR/MoeKernelOps.td"

let opDocGroup = Moe_KernelOpDoc in {

def Moe_KernelApplyCapacityOp : Moe_KernelOp<"apply_capacity"> {
  let summary = "drops the pairs for which an expert has no slot";
  let description = [{
    See `moe.apply_capacity`; all ids and weights are N x top_k, dropped has
    `experts` elements. `order` is memory of 2 * N * top_k elements for sorting.
    Runs on a single worker (others return at once).

    - C1. `experts` is at least 1, the policy has a capacity.
  }];
  let arguments = (ins
    Moe_FlatI32:$chosen_ids, Moe_FlatF32:$chosen_weights,
    Moe_FlatI32:$ids, Moe_FlatF32:$weights, Moe_FlatI32:$dropped,
    Moe_FlatI32:$order, Index:$tokens,
    I64Attr:$experts, Moe_PolicyAttr:$policy);
  let assemblyFormat = [{
    `ins` `(` $chosen_ids `,` $chosen_weights `:` type($chosen_ids) `,`
    type($chosen_weights) `)` `outs` `(` $ids `,` $weights `,` $dropped `:`
    type($ids) `,` type($weights) `,` type($dropped) `)`
    `scratch` `(` $order `:` type($order) `)` `tokens` `(` $tokens `)` attr-dict
  }];
  let hasVerifier = 1;
}

def Moe_KernelSelectProductsOp : Moe_KernelOp<"select_products"> {
  let summary = "applies a policy to pairs of two lists, all tokens";
  let description = [{
    See `moe.select_products`; first is N x `first_size`, second N x
    `second_size`, ids and weights N x top_k. Workers share the tokens.

    - C1. 1 <= top_k <= `first_size` and `second_size`.
  }];
  let arguments = (ins
    Moe_FlatF32:$first, Moe_FlatF32:$second,
    Moe_FlatI32:$ids, Moe_FlatF32:$weights, Index:$tokens,
    I64Attr:$first_size, I64Attr:$second_size, Moe_PolicyAttr:$policy);
  let assemblyFormat = [{
    `ins` `(` $first `,` $second `:` type($first) `,` type($second) `)`
    `outs` `(` $ids `,` $weights `:` type($ids) `,` type($weights) `)`
    `tokens` `(` $tokens `)` attr-dict
  }];
  let hasVerifier = 1;
}

def Moe_KernelChooseRowsOp : Moe_KernelOp<"choose_rows"> {
  let summary = "every expert chooses tokens: the five lists";
  let description = [{
    See `moe.choose_rows`; logits is N x `experts`. `keys` is memory of
    N * `experts` + N elements. Runs on a single worker (others return at once).

    - C1. `experts` is at least 1.
  }];
  let arguments = (ins
    Moe_FlatF32:$logits,
    Moe_FlatI32:$expert_offsets, Moe_FlatI32:$row_token,
    Moe_FlatF32:$row_weight, Moe_FlatI32:$token_offsets,
    Moe_FlatI32:$token_rows, Moe_FlatI32:$keys, Index:$tokens,
    I64Attr:$experts, Moe_TokenScoreAttr:$score, Moe_CapacityAttr:$capacity,
    UnitAttr:$average, OptionalAttr<F32Attr>:$scale,
    OptionalAttr<TypeAttrOf<AnyFloat>>:$round_weights);
  let assemblyFormat = [{
    `ins` `(` $logits `:` type($logits) `)`
    `outs` `(` $expert_offsets `,` $row_token `,` $row_weight `,`
    $token_offsets `,` $token_rows `:` type($expert_offsets) `,`
    type($row_token) `,` type($row_weight) `,` type($token_offsets) `,`
    type($token_rows) `)` `scratch` `(` $keys `:` type($keys) `)`
    `tokens` `(` $tokens `)` attr-dict
  }];
  let hasVerifier = 1;
}

def Moe_KernelSliceRowsOp : Moe_KernelOp<"slice_rows"> {
  let summary = "the lists of a range of experts";
  let description = [{
    See `moe.slice_rows`. Runs on a single worker (others return at once).
    `worklist` as for `moe.kernel.group_rows`.

    - C1. 0 <= `begin` < `end`.
    - C2. `tile_rows` is given exactly with `worklist`, and is at least 1.
  }];
  let arguments = (ins
    Moe_FlatI32:$source_offsets, Moe_FlatI32:$source_row_token,
    Moe_FlatF32:$source_row_weight, Moe_FlatI32:$source_token_offsets,
    Moe_FlatI32:$source_token_rows,
    Moe_FlatI32:$expert_offsets, Moe_FlatI32:$row_token,
    Moe_FlatF32:$row_weight, Moe_FlatI32:$token_offsets,
    Moe_FlatI32:$token_rows, Index:$tokens, Optional<Moe_FlatI32>:$worklist,
    I64Attr:$begin, I64Attr:$end, OptionalAttr<I64Attr>:$tile_rows);
  let assemblyFormat = [{
    `ins` `(` $source_offsets `,` $source_row_token `,` $source_row_weight `,`
    $source_token_offsets `,` $source_token_rows `:` type($source_offsets) `,`
    type($source_row_token) `,` type($source_row_weight) `,`
    type($source_token_offsets) `,` type($source_token_rows) `)`
    `outs` `(` $expert_offsets `,` $row_token `,` $row_weight `,`
    $token_offsets `,` $token_rows `:` type($expert_offsets) `,`
    type($row_token) `,` type($row_weight) `,` type($token_offsets) `,`
    type($token_rows) `)` `tokens` `(` $tokens `)`
    (`worklist` `(` $worklist^ `:` type($worklist) `)`)? attr-dict
  }];
  let hasVerifier = 1;
}

def Moe_KernelRowLogitsOp : Moe_KernelOp<"row_logits"> {
  let summary = "router logits of rows, with a router of each expert's own";
  let description = [{
    See `moe.row_logits`; rows have `hidden` elements, weight is `experts` x
    `inner_experts` x `hidden`, out has `inner_experts` columns. Workers share
    the rows.

    - C1. `experts`, `inner_experts` and `hidden` are at least 1.
  }];
  let arguments = (ins
    Moe_FlatFloat:$rows, Moe_FlatFloat:$weight, Moe_FlatI32:$expert_offsets,
    Moe_FlatF32:$out,
    I64Attr:$experts, I64Attr:$inner_experts, I64Attr:$hidden);
  let assemblyFormat = [{
    `ins` `(` $rows `,` $weight `,` $expert_offsets `:` type($rows) `,`
    type($weight) `,` type($expert_offsets) `)`
    `outs` `(` $out `:` type($out) `)` attr-dict
  }];
  let hasVerifier = 1;
}

def Moe_KernelNestIdsOp : Moe_KernelOp<"nest_ids"> {
  let summary = "numbers of experts within experts";
  let description = [{
    See `moe.nest_ids`; ids and out are `tokens` x `per_token`, `tokens` the
    number of rows that there is memory for. Workers share the rows.

    - C1. `experts`, `inner_experts` and `per_token` are at least 1.
  }];
  let arguments = (ins
    Moe_FlatI32:$ids, Moe_FlatI32:$expert_offsets, Moe_FlatI32:$out,
    Index:$tokens,
    I64Attr:$experts, I64Attr:$inner_experts, I64Attr:$per_token);
  let assemblyFormat = [{
    `ins` `(` $ids `,` $expert_offsets `:` type($ids) `,` type($expert_offsets)
    `)` `outs` `(` $out `:` type($out) `)` `tokens` `(` $tokens `)` attr-dict
  }];
  let hasVerifier = 1;
}

def Moe_KernelCountIdsOp : Moe_KernelOp<"count_ids"> {
  let summary = "number of choices of each expert";
  let description = [{
    See `moe.count_ids`; ids is N x `per_token`, counts has `experts` elements.
    Runs on a single worker (others return at once).

    - C1. `experts` and `per_token` are at least 1.
  }];
  let arguments = (ins
    Moe_FlatI32:$ids, Moe_Flat<[I64]>:$counts, Index:$tokens,
    I64Attr:$experts, I64Attr:$per_token);
  let assemblyFormat = [{
    `ins` `(` $ids `:` type($ids) `)` `outs` `(` $counts `:` type($counts) `)`
    `tokens` `(` $tokens `)` attr-dict
  }];
  let hasVerifier = 1;
}

def Moe_KernelRandomOp : Moe_KernelOp<"random"> {
  let summary = "random numbers, the same for the same seed everywhere";
  let description = [{
    See `moe.random`; seed has one element, out is N x `columns`. Workers share
    the rows.

    - C1. `columns` is at least 1; 0 <= `stream` < 65536.
  }];
  let arguments = (ins
    Moe_Flat<[I64]>:$seed, Moe_FlatF32:$out, Index:$tokens,
    Moe_DistributionAttr:$distribution, I64Attr:$columns, I64Attr:$stream);
  let assemblyFormat = [{
    `ins` `(` $seed `:` type($seed) `)` `outs` `(` $out `:` type($out) `)`
    `tokens` `(` $tokens `)` attr-dict
  }];
  let hasVerifier = 1;
}

def Moe_KernelLookupRowsOp : Moe_KernelOp<"lookup_rows"> {
  let summary = "rows of a table by index";
  let description = [{
    See `moe.lookup`; table is `size` x `columns`, out N x `columns`. An index
    out of range makes the kernel return MOERT_KERNEL_BAD_INDEX, and its row
    zero. Workers share the rows.

    - C1. `size` and `columns` are at least 1.
    - C2. table and out have one element type.
  }];
  let arguments = (ins
    Moe_Flat<[F32, BF16, F16, I32]>:$table, Moe_FlatI32:$indices,
    Moe_Flat<[F32, BF16, F16, I32]>:$out, Index:$tokens,
    I64Attr:$size, I64Attr:$columns);
  let assemblyFormat = [{
    `ins` `(` $table `,` $indices `:` type($table) `,` type($indices) `)`
    `outs` `(` $out `:` type($out) `)` `tokens` `(` $tokens `)` attr-dict
  }];
  let hasVerifier = 1;
}

def Moe_KernelFoldRowsOp
    : Moe_KernelOp<"fold_rows", [AttrSizedOperandSegments, IsolatedFromAbove,
                                 SingleBlockImplicitTerminator<"YieldOp">]> {
  let summary = "a reduction over rows, in ascending order";
  let description = [{
    See `moe.fold_rows`. The region is the same, on tensors; the types of its
    arguments give the shapes of the flat buffers' rows, invariants and results.
    The number of rows is `tokens`. Runs on a single worker (others return at
    once).

    - C1. At least one of `rows`; the block arguments are an index and one
        statically shaped tensor of the buffer's element type for each of
        `rows` (1 x ...), `invariants` and `outs`.
    - C2. One yielded value for each of `outs`, of its argument's type.
    - C3. One of `inits` for each of `outs`.
  }];
  let arguments = (ins
    Variadic<Moe_Flat<[AnyType]>>:$rows,
    Variadic<Moe_Flat<[AnyType]>>:$invariants,
    Variadic<Moe_Flat<[AnyType]>>:$outs,
    Index:$tokens, F64ArrayAttr:$inits);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    `rows` `(` $rows `:` type($rows) `)`
    (`invariants` `(` $invariants^ `:` type($invariants) `)`)?
    `outs` `(` $outs `:` type($outs) `)` `inits` $inits
    `tokens` `(` $tokens `)` attr-dict-with-keyword $body
  }];
  let hasVerifier = 1;
}

} // opDocGroup

#endif // MOE_DIALECT_MOE_IR_MOEROUTERKERNELOPS_TD
