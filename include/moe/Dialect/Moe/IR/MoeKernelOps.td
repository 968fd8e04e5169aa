//===- MoeKernelOps.td - Kernel-level ops ---------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_IR_MOEKERNELOPS_TD
#define MOE_DIALECT_MOE_IR_MOEKERNELOPS_TD

include "mlir/Interfaces/SideEffectInterfaces.td"
include "moe/Dialect/Moe/IR/MoeAttrs.td"

def Moe_KernelOpDoc : OpDocGroup {
  let summary = "Kernel ops";
  let description = [{
    What the workers of one dispatch do, destination-passing, on flat buffers
    (`memref<?xT>`, row-major unless said otherwise). They stand in the body of
    a `plan.kernel` and divide their work among its workers by themselves, in a
    way that the result does not depend on. Sizes known at compile time are
    attributes; `tokens` is the number of tokens N. With E experts,
    `expert_offsets` has E+1 elements; the lists are those of the routed ops.
  }];
}

/// A flat buffer.
class Moe_Flat<list<Type> types> : MemRefRankOf<types, [1]>;
def Moe_FlatI32 : Moe_Flat<[I32]>;
def Moe_FlatF32 : Moe_Flat<[F32]>;
def Moe_FlatFloat : Moe_Flat<[F32, BF16, F16]>;

class Moe_KernelOp<string mnemonic, list<Trait> traits = []>
    : Moe_Op<"kernel." # mnemonic, traits # [
        MemoryEffects<[MemRead, MemWrite]>]>;

let opDocGroup = Moe_KernelOpDoc in {

def Moe_KernelRouterLogitsOp
    : Moe_KernelOp<"router_logits"> {
  let summary = "router logits of all tokens";
  let description = [{
    x is N x `hidden`, weight `experts` x `hidden`, out N x `experts`; see
    `moe.router_logits`. Workers share the (token, expert) pairs.

    - C1. `experts` and `hidden` are at least 1.
    - C2. weight and bias, when their lengths are static, hold `experts` x
        `hidden` and `experts` elements.
    - C3. `round` is bf16 or f16.
    - C4. `cosine` is finite and not negative.
  }];
  let arguments = (ins
    Moe_FlatFloat:$x, Moe_FlatFloat:$weight, Optional<Moe_FlatFloat>:$bias,
    Moe_FlatF32:$out, Index:$tokens,
    I64Attr:$experts, I64Attr:$hidden,
    OptionalAttr<TypeAttrOf<AnyFloat>>:$round,
    OptionalAttr<F32Attr>:$cosine);
  let assemblyFormat = [{
    `ins` `(` $x `,` $weight (`,` $bias^)? `:` type($x) `,` type($weight)
    (`,` type($bias)^)? `)` `outs` `(` $out `:` type($out) `)`
    `tokens` `(` $tokens `)` attr-dict
  }];
  let hasVerifier = 1;
}

def Moe_KernelSelectTopkOp
    : Moe_KernelOp<"select_topk", [AttrSizedOperandSegments]> {
  let summary = "applies a policy to the logits of all tokens";
  let description = [{
    logits is N x `experts`; ids and weights are N x top_k, in the order that
    `moe.select_topk` says. bias has `experts` elements, or with
    `bias_per_token` N x `experts`. Workers share the tokens.

    - C1. `experts` is at least 1.
    - C2. The policy fits so many experts; see `moe.select_topk`, C3.
    - C3. bias, when its length is static and there is no `bias_per_token`,
        holds `experts` elements; `bias_per_token` and `bias_after_first` need
        one.
    - C4. resident and random are given as `moe.select_topk`, C4, says.
  }];
  let arguments = (ins
    Moe_FlatF32:$logits, Optional<Moe_FlatF32>:$bias,
    Optional<Moe_FlatI32>:$resident, Optional<Moe_FlatF32>:$random,
    Moe_FlatI32:$ids, Moe_FlatF32:$weights, Index:$tokens,
    I64Attr:$experts, Moe_PolicyAttr:$policy, UnitAttr:$bias_per_token);
  let assemblyFormat = [{
    `ins` `(` $logits (`,` $bias^)? `:` type($logits) (`,` type($bias)^)? `)`
    (`resident` `(` $resident^ `:` type($resident) `)`)?
    (`random` `(` $random^ `:` type($random) `)`)?
    `outs` `(` $ids `,` $weights `:` type($ids) `,` type($weights) `)`
    `tokens` `(` $tokens `)` attr-dict
  }];
  let hasVerifier = 1;
}

def Moe_KernelGroupRowsOp : Moe_KernelOp<"group_rows"> {
  let summary = "builds the five lists from ids and weights";
  let description = [{
    See `moe.group_rows`; ids and weights are N x `per_token`, an id of -1 is no
    pair. Runs on a single
    worker (others return at once). With `given`, an id out of range or a
    repeated one makes the kernel return MOERT_KERNEL_BAD_EXPERT_INDEX and
    leaves lists without any row.

    `worklist`, when given, receives the tiles of the ragged GEMMs that follow:
    element 0 is the number of tiles, elements 1 to 3 are zero, and from element
    4 on each tile takes four: its expert, its first row, its number of rows
    (1 to `tile_rows`; only the last tile of an expert is not full), zero. Tiles
    are in ascending order of their rows.

    - C1. 1 <= `per_token` <= `experts`.
    - C2. `expert_offsets`, when its length is static, holds `experts` + 1
        elements.
    - C3. `tile_rows` is given exactly with `worklist`, and is at least 1.
  }];
  let arguments = (ins
    Moe_FlatI32:$ids, Moe_FlatF32:$weights,
    Moe_FlatI32:$expert_offsets, Moe_FlatI32:$row_token,
    Moe_FlatF32:$row_weight, Moe_FlatI32:$token_offsets,
    Moe_FlatI32:$token_rows, Index:$tokens, Optional<Moe_FlatI32>:$worklist,
    I64Attr:$experts, I64Attr:$per_token, UnitAttr:$given,
    OptionalAttr<I64Attr>:$tile_rows);
  let assemblyFormat = [{
    `ins` `(` $ids `,` $weights `:` type($ids) `,` type($weights) `)`
    `outs` `(` $expert_offsets `,` $row_token `,` $row_weight `,`
    $token_offsets `,` $token_rows `:` type($expert_offsets) `,`
    type($row_token) `,` type($row_weight) `,` type($token_offsets) `,`
    type($token_rows) `)` `tokens` `(` $tokens `)`
    (`worklist` `(` $worklist^ `:` type($worklist) `)`)? attr-dict
  }];
  let hasVerifier = 1;
}

def Moe_KernelRouteRowsOp
    : Moe_KernelOp<"route_rows", [AttrSizedOperandSegments]> {
  let summary = "from logits to the five lists and the worklist, fused";
  let description = [{
    `moe.kernel.select_topk` followed by `moe.kernel.group_rows` on what it
    chose, as one kernel: no second launch and no host in between. logits is
    N x `experts`; ids and weights, N x top_k, receive the choice in ascending
    id. GPU only: its workers have to know which of them ends last. Policies
    with a capacity do not get here.

    - C1. `experts` is at least 1.
    - C2. The policy fits so many experts; see `moe.select_topk`, C3.
    - C3. bias, when its length is static, holds `experts` elements.
    - C4. `expert_offsets`, when its length is static, holds `experts` + 1
        elements.
    - C5. `tile_rows` is given exactly with `worklist`, and is at least 1.
  }];
  let arguments = (ins
    Moe_FlatF32:$logits, Optional<Moe_FlatF32>:$bias,
    Moe_FlatI32:$ids, Moe_FlatF32:$weights,
    Moe_FlatI32:$expert_offsets, Moe_FlatI32:$row_token,
    Moe_FlatF32:$row_weight, Moe_FlatI32:$token_offsets,
    Moe_FlatI32:$token_rows, Optional<Moe_FlatI32>:$worklist, Index:$tokens,
    I64Attr:$experts, Moe_PolicyAttr:$policy,
    OptionalAttr<I64Attr>:$tile_rows);
  let assemblyFormat = [{
    `ins` `(` $logits (`,` $bias^)? `:` type($logits) (`,` type($bias)^)? `)`
    `outs` `(` $ids `,` $weights `,` $expert_offsets `,` $row_token `,`
    $row_weight `,` $token_offsets `,` $token_rows `:` type($ids) `,`
    type($weights) `,` type($expert_offsets) `,` type($row_token) `,`
    type($row_weight) `,` type($token_offsets) `,` type($token_rows) `)`
    `tokens` `(` $tokens `)`
    (`worklist` `(` $worklist^ `:` type($worklist) `)`)? attr-dict
  }];
  let hasVerifier = 1;
}

def Moe_KernelAllRowsOp
    : Moe_KernelOp<"all_rows", [AttrSizedOperandSegments]> {
  let summary = "the five lists of the routing in which every token visits all";
  let description = [{
    See `moe.all_rows`. weights, when given, is N x `experts`. Workers share
    the tokens. `worklist` as for `moe.kernel.group_rows`.

    - C1. `experts` is at least 1.
    - C2. `expert_offsets`, when its length is static, holds `experts` + 1
        elements.
    - C3. `tile_rows` is given exactly with `worklist`, and is at least 1.
  }];
  let arguments = (ins
    Optional<Moe_FlatF32>:$weights,
    Moe_FlatI32:$expert_offsets, Moe_FlatI32:$row_token,
    Moe_FlatF32:$row_weight, Moe_FlatI32:$token_offsets,
    Moe_FlatI32:$token_rows, Index:$tokens, Optional<Moe_FlatI32>:$worklist,
    I64Attr:$experts, OptionalAttr<I64Attr>:$tile_rows);
  let assemblyFormat = [{
    (`ins` `(` $weights^ `:` type($weights) `)`)?
    `outs` `(` $expert_offsets `,` $row_token `,` $row_weight `,`
    $token_offsets `,` $token_rows `:` type($expert_offsets) `,`
    type($row_token) `,` type($row_weight) `,` type($token_offsets) `,`
    type($token_rows) `)` `tokens` `(` $tokens `)`
    (`worklist` `(` $worklist^ `:` type($worklist) `)`)? attr-dict
  }];
  let hasVerifier = 1;
}

def Moe_KernelGatherRowsOp : Moe_KernelOp<"gather_rows"> {
  let summary = "rows[r] = x[row_token[r]]";
  let description = [{
    Rows have `hidden` elements; `expert_offsets[experts]` is the number of
    rows. With `row_weight` times `row_weight[r]`, in f32, rounded. Workers share
    the rows.

    - C1. `experts` and `hidden` are at least 1.
    - C2. `expert_offsets`, when its length is static, holds `experts` + 1
        elements.
    - C3. x and rows have one element type.
  }];
  let arguments = (ins
    Moe_FlatFloat:$x, Moe_FlatI32:$row_token, Moe_FlatI32:$expert_offsets,
    Optional<Moe_FlatF32>:$row_weight,
    Moe_FlatFloat:$rows, I64Attr:$experts, I64Attr:$hidden);
  let assemblyFormat = [{
    `ins` `(` $x `,` $row_token `,` $expert_offsets `:` type($x) `,`
    type($row_token) `,` type($expert_offsets) `)`
    (`weights` `(` $row_weight^ `:` type($row_weight) `)`)?
    `outs` `(` $rows `:` type($rows) `)` attr-dict
  }];
  let hasVerifier = 1;
}

def Moe_KernelPackRowsOp : Moe_KernelOp<"pack_rows"> {
  let summary = "gathers tokens into packed activations of a grouped GEMM";
  let description = [{
    The gather of `moe.dispatch`, writing what the GEMM reads. Rows of an expert
    are padded to a multiple of 16; block b counts from the first expert on
    (expert e has ceil(rows / 16) blocks), and
    `Kp` is `hidden` rounded up to 32. For a GEMM whose weights are bf16 the
    order is
      bf16 [block][Kp / 32][16 rows][32 channels]   at level AMX,
      f32  [block][Kp][16 rows]                     at the other levels;
    for f32 weights f32 [block][Kp][16 rows] at every level. Padding is zero.
    The buffer `packed` is typed i8 since its contents depend on the level.
    With `row_weight` a row is x times `row_weight[r]`, in f32, rounded to the
    type of x. Workers share the blocks.

    - C1. `experts` and `hidden` are at least 1.
    - C2. `expert_offsets`, when its length is static, holds `experts` + 1
        elements.
    - C3. `weight_type` is f32 or bf16.
  }];
  let arguments = (ins
    Moe_FlatFloat:$x, Moe_FlatI32:$row_token, Moe_FlatI32:$expert_offsets,
    Optional<Moe_FlatF32>:$row_weight, Moe_Flat<[I8]>:$packed,
    I64Attr:$experts, I64Attr:$hidden, TypeAttrOf<AnyFloat>:$weight_type);
  let assemblyFormat = [{
    `ins` `(` $x `,` $row_token `,` $expert_offsets `:` type($x) `,`
    type($row_token) `,` type($expert_offsets) `)`
    (`weights` `(` $row_weight^ `:` type($row_weight) `)`)?
    `outs` `(` $packed `:` type($packed) `)` attr-dict
  }];
  let hasVerifier = 1;
}

def Moe_KernelGroupedGemmOp
    : Moe_KernelOp<"grouped_gemm", [SingleBlockImplicitTerminator<"YieldOp">]> {
  let summary = "one GEMM per expert over packed activations";
  let description = [{
    C = A . B^T in f32 for the rows of every expert, then an epilogue.
    `packed` are the activations as `moe.kernel.pack_rows` lays them out, with
    `k` channels. `weights` is a constant in the `panels` layout (see
    moert/Format/Plan.fbs) with `parts` interleaved weights of `n` output
    channels and `k` input channels each, of element type `weight_type`; typed
    i8.

    With a region (the activation, on `parts` scalars of f32): out receives
    `region(c_0, c_1, ...)`, rounded to `row_type`, packed as the activations
    of a next GEMM with `n` channels (out is typed i8).
    Without: `parts` is 1 and out receives the rows, rounded to `row_type`,
    unpadded: `out[r * n + column]`.

    `biases`, one for each part when given, are row-major [experts][n] and are
    added to c before the region or the rounding. Every worker owns a range of
    panels of every expert.

    - C1. `experts`, `n` and `k` are at least 1; `parts` is 1 or 2.
    - C2. `expert_offsets`, when its length is static, holds `experts` + 1
        elements.
    - C3. `weight_type` is f32 or bf16; `row_type` is f32, bf16 or f16.
    - C4. The region takes `parts` values of f32 and yields one; out is i8.
    - C5. Without a region `parts` is 1 and out has the element type `row_type`.
    - C6. There are `parts` biases or none.
  }];
  let arguments = (ins
    Moe_Flat<[I8]>:$packed, Moe_Flat<[I8]>:$weights,
    Moe_FlatI32:$expert_offsets, Variadic<Moe_FlatFloat>:$biases,
    Moe_Flat<[I8, F32, BF16, F16]>:$out,
    I64Attr:$experts, I64Attr:$n, I64Attr:$k, I64Attr:$parts,
    TypeAttrOf<AnyFloat>:$weight_type, TypeAttrOf<AnyFloat>:$row_type);
  let regions = (region MaxSizedRegion<1>:$activation);
  let assemblyFormat = [{
    `ins` `(` $packed `,` $weights `,` $expert_offsets `:` type($packed) `,`
    type($weights) `,` type($expert_offsets) `)`
    (`biases` `(` $biases^ `:` type($biases) `)`)?
    `outs` `(` $out `:` type($out) `)` attr-dict-with-keyword ($activation^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Whether there is an activation; an empty body stands for none.
    bool hasActivation() {
      return !getActivation().empty() &&
             getActivation().front().getNumArguments() != 0;
    }
  }];
}

def Moe_KernelRaggedGemmOp
    : Moe_KernelOp<"ragged_gemm", [AttrSizedOperandSegments,
                                   SingleBlockImplicitTerminator<"YieldOp">]> {
  let summary = "one GEMM per expert over rows that it gathers itself";
  let description = [{
    C = A . B^T in f32 for the rows of every expert, then an epilogue. GPU only;
    the form of `moe.kernel.grouped_gemm` for machines that gather while they
    copy. Row r of A is `x[row_token[r]]` when `row_token` is given, else `x[r]`;
    rows of x have `k` elements and follow each other without padding.
    `weights` is a constant in the layout `Layout.Rows` (see
    moert/Format/Plan.fbs) with `parts` interleaved weights of `n` output
    channels and `k` input channels each; typed i8. `worklist` holds the tiles
    of `tile_rows` rows, see `moe.kernel.group_rows`.

    out[r * n + column] receives the result rounded to its element type: with a
    region (the activation, on `parts` scalars of f32) `region(c_0, c_1, ...)`,
    without one c_0.

    Workers take (tile, column block) pairs in turn.

    - C1. `experts`, `n`, `k` and `tile_rows` are at least 1; `parts` is 1 or 2.
    - C2. `weight_type` is the element type of x and out.
    - C3. The region takes `parts` values of f32 and yields one.
    - C4. Without a region `parts` is 1.
    - C5. There are `parts` biases or none; see `moe.kernel.grouped_gemm`.
  }];
  let arguments = (ins
    Moe_FlatFloat:$x, Optional<Moe_FlatI32>:$row_token,
    Moe_Flat<[I8]>:$weights, Variadic<Moe_FlatFloat>:$biases,
    Moe_FlatI32:$worklist, Moe_FlatFloat:$out,
    I64Attr:$experts, I64Attr:$n, I64Attr:$k, I64Attr:$parts,
    I64Attr:$tile_rows, TypeAttrOf<AnyFloat>:$weight_type);
  let regions = (region MaxSizedRegion<1>:$activation);
  let assemblyFormat = [{
    `ins` `(` $x `,` $weights `:` type($x) `,` type($weights) `)`
    (`gather` `(` $row_token^ `:` type($row_token) `)`)?
    (`biases` `(` $biases^ `:` type($biases) `)`)?
    `worklist` `(` $worklist `:` type($worklist) `)`
    `outs` `(` $out `:` type($out) `)` attr-dict-with-keyword ($activation^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Whether there is an activation; an empty body stands for none.
    bool hasActivation() {
      return !getActivation().empty() &&
             getActivation().front().getNumArguments() != 0;
    }
  }];
}

def Moe_KernelCombineRowsOp
    : Moe_KernelOp<"combine_rows", [AttrSizedOperandSegments]> {
  let summary = "weighted sum of each token's rows";
  let description = [{
    See `moe.combine_rows`; rows have `hidden` elements. Workers share pieces
    of (token, columns). `unweighted` as there.

    - C1. As many of each list as of rows, at least one; as many elements of
        `unweighted`.
    - C2. `hidden` is at least 1.
    - C3. All rows and out have one element type.
  }];
  let arguments = (ins
    Variadic<Moe_FlatFloat>:$rows, Variadic<Moe_FlatI32>:$token_offsets,
    Variadic<Moe_FlatI32>:$token_rows, Variadic<Moe_FlatF32>:$row_weight,
    Moe_FlatFloat:$out, Index:$tokens, I64Attr:$hidden,
    OptionalAttr<DenseBoolArrayAttr>:$unweighted);
  let assemblyFormat = [{
    `rows` `(` $rows `:` type($rows) `)` `offsets` `(` $token_offsets `:`
    type($token_offsets) `)` `indices` `(` $token_rows `:` type($token_rows)
    `)` `weights` `(` $row_weight `:` type($row_weight) `)`
    `outs` `(` $out `:` type($out) `)` `tokens` `(` $tokens `)` attr-dict
  }];
  let hasVerifier = 1;
}

def Moe_KernelCountRowsOp : Moe_KernelOp<"count_rows"> {
  let summary = "number of rows of each expert";
  let description = [{
    See `moe.count_rows`. Runs on a single worker (others return at once).

    - C1. `experts` is at least 1.
    - C2. `expert_offsets` and counts, when their lengths are static, hold
        `experts` + 1 and `experts` elements.
  }];
  let arguments = (ins Moe_FlatI32:$expert_offsets, Moe_Flat<[I64]>:$counts,
                   I64Attr:$experts);
  let assemblyFormat = [{
    `ins` `(` $expert_offsets `:` type($expert_offsets) `)`
    `outs` `(` $counts `:` type($counts) `)` attr-dict
  }];
  let hasVerifier = 1;
}

def Moe_KernelMapRowsOp
    : Moe_KernelOp<"map_rows", [AttrSizedOperandSegments, IsolatedFromAbove,
                                SingleBlockImplicitTerminator<"YieldOp">]> {
  let summary = "tensor code, row by row";
  let description = [{
    See `moe.map_rows`. The region is the same, on tensors; the types of its
    arguments give the shapes of the flat buffers' rows, slices and invariants.
    The number of rows is `tokens`, or `expert_offsets[experts]` when there are
    offsets. Workers share the rows.

    - C1. At least one of `rows`, and one block argument for each of `rows`,
        `expert_weights` and `invariants`, in this order: a statically shaped
        tensor of the buffer's element type, 1 x ... for rows.
    - C2. One yielded value for each of `outs`: a statically shaped tensor
        1 x ... of the buffer's element type.
    - C3. `expert_weights` need `expert_offsets`; with them `experts` is at
        least 1, and `expert_offsets`, when its length is static, holds
        `experts` + 1 elements.
  }];
  let arguments = (ins
    Variadic<Moe_Flat<[AnyType]>>:$rows,
    Optional<Moe_FlatI32>:$expert_offsets,
    Variadic<Moe_Flat<[AnyType]>>:$expert_weights,
    Variadic<Moe_Flat<[AnyType]>>:$invariants,
    Variadic<Moe_Flat<[AnyType]>>:$outs,
    Index:$tokens, I64Attr:$experts);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    `rows` `(` $rows `:` type($rows) `)`
    (`offsets` `(` $expert_offsets^ `:` type($expert_offsets) `)`)?
    (`weights` `(` $expert_weights^ `:` type($expert_weights) `)`)?
    (`invariants` `(` $invariants^ `:` type($invariants) `)`)?
    `outs` `(` $outs `:` type($outs) `)` `tokens` `(` $tokens `)`
    attr-dict-with-keyword $body
  }];
  let hasVerifier = 1;
}

def Moe_UkernelOp : Moe_Op<"ukernel", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "a register block of a GEMM over one weight panel";
  let description = [{
    `c[i][j] (+)= sum over kk < k of a[kk][i] * b[kk][j]` for `mr` blocks of 16
    rows at level AMX, or `mr` rows at the others, and one panel of 32 columns.
    a points into packed activations, at row `row` of a block; b at the panel;
    c is f32, rows of 32. `k` counts channels, a multiple of 32 for bf16
    weights. `accumulate` adds to what c holds. `prefetch` is the distance of
    the software prefetch of b in bytes, 0 for none.

    Expanded by the emitter of its `isa` and `weight_type`.

    - C1. `mr` is at least 1, `prefetch` is not negative.
    - C2. `weight_type` is f32 or bf16.
  }];
  let arguments = (ins
    Moe_Flat<[I8]>:$a, Index:$a_offset, Index:$row,
    Moe_Flat<[I8]>:$b, Index:$b_offset,
    Moe_FlatF32:$c, Index:$c_offset, Index:$k, Index:$kp,
    I64Attr:$mr, Moe_IsaAttr:$isa,
    TypeAttrOf<AnyFloat>:$weight_type, I64Attr:$prefetch, UnitAttr:$accumulate);
  let assemblyFormat = [{
    $a `[` $a_offset `,` $row `]` `,` $b `[` $b_offset `]` `,` $c `[` $c_offset
    `]` `k` `(` $k `of` $kp `)` attr-dict
    `:` type($a) `,` type($b) `,` type($c)
  }];
  let hasVerifier = 1;
}

} // opDocGroup

#endif // MOE_DIALECT_MOE_IR_MOEKERNELOPS_TD
