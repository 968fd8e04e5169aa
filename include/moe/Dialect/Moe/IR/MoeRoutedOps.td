//===- MoeRoutedOps.td - Routed-level ops ---------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_IR_MOEROUTEDOPS_TD
#define MOE_DIALECT_MOE_IR_MOEROUTEDOPS_TD

include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "moe/Dialect/Moe/IR/MoeAttrs.td"
include "moe/Dialect/Moe/IR/MoeTypes.td"

def Moe_RoutedOpDoc : OpDocGroup {
  let summary = "Routed ops";
  let description = [{
    The routing decision as index lists, in compressed rows both ways. With N
    tokens, E experts and P pairs ("rows"):

    | list | type | meaning |
    |---|---|---|
    | `expert_offsets` | E+1 x i32 | rows of expert e start at element e |
    | `row_token` | P x i32 | the token of a row; ascending within an expert |
    | `row_weight` | P x f32 | the weight of a row |
    | `token_offsets` | N+1 x i32 | where a token's rows start in `token_rows` |
    | `token_rows` | P x i32 | rows of a token, in ascending order of expert |
  }];
}

let opDocGroup = Moe_RoutedOpDoc in {

def Moe_SelectTopkOp
    : Moe_Op<"select_topk", [Pure, AttrSizedOperandSegments, Moe_ReifyShapes]> {
  let summary = "applies a policy: expert ids and weights per token";
  let description = [{
    The chosen experts of each token in ascending id, with their weights; see
    `moe.route`. A choice that does not stay (`keep`, null experts) has id -1 and
    weight 0; these come last. When the policy has a capacity, choices are in
    order of selection instead and their weights are those before `after_drop`,
    `scale` and `round_weights`: `moe.apply_capacity` finishes the job.

    Example:
    ```mlir
    %i, %w = moe.select_topk %l policy<score = softmax, top_k = 2>
        : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
    ```

    - C1. ids and weights are N x `top_k`.
    - C2. bias has E elements or is N x E.
    - C3. `top_k` is at most E less the null experts. With groups: G divides E,
        and K groups hold at least `top_k` experts; `top2_sum` needs at least
        two experts per group.
    - C4. resident has E elements and is given exactly with `prefer`; random is
        N x `top_k` and given exactly with `keep = random`.
  }];
  let arguments = (ins
    2DTensorOf<[F32]>:$logits,
    Optional<AnyTypeOf<[1DTensorOf<[F32]>, 2DTensorOf<[F32]>]>>:$bias,
    Optional<1DTensorOf<[I32]>>:$resident,
    Optional<2DTensorOf<[F32]>>:$random,
    Moe_PolicyAttr:$policy);
  let results = (outs 2DTensorOf<[I32]>:$ids, 2DTensorOf<[F32]>:$weights);
  let assemblyFormat = [{
    $logits (`bias` `(` $bias^ `)`)?
    (`resident` `(` $resident^ `:` type($resident) `)`)?
    (`random` `(` $random^ `:` type($random) `)`)?
    `policy` `` $policy attr-dict
    `:` type($logits) (`,` type($bias)^)? `->` type($ids) `,` type($weights)
  }];
  let hasVerifier = 1;
}

def Moe_ApplyCapacityOp
    : Moe_Op<"apply_capacity", [Pure, Moe_ReifyShapes]> {
  let summary = "drops the pairs for which an expert has no slot";
  let description = [{
    From choices in order of selection (see `moe.select_topk`) to those that are
    left, in ascending id and then -1, with final weights. `dropped[e]` counts
    the pairs that expert e had no slot for.

    Example:
    ```mlir
    %j, %v, %d = moe.apply_capacity %i, %w
        policy<top_k = 2, capacity = factor 1.25 by choice>
        : tensor<?x2xi32>, tensor<?x2xf32>
        -> tensor<?x2xi32>, tensor<?x2xf32>, tensor<8xi32>
    ```

    - C1. All ids and weights are N x `top_k`.
    - C2. dropped is static: one element per expert that is not null.
    - C3. The policy has a capacity.
  }];
  let arguments = (ins
    2DTensorOf<[I32]>:$chosen_ids, 2DTensorOf<[F32]>:$chosen_weights,
    Moe_PolicyAttr:$policy);
  let results = (outs 2DTensorOf<[I32]>:$ids, 2DTensorOf<[F32]>:$weights,
                 Moe_IndexList:$dropped);
  let assemblyFormat = [{
    $chosen_ids `,` $chosen_weights `policy` `` $policy attr-dict
    `:` type($chosen_ids) `,` type($chosen_weights) `->` type(results)
  }];
  let hasVerifier = 1;
}

def Moe_SelectProductsOp
    : Moe_Op<"select_products", [Pure, Moe_ReifyShapes]> {
  let summary = "applies a policy to pairs of two lists: ids and weights";
  let description = [{
    See `moe.route_products`; ids are in ascending order, -1 does not occur.

    Example:
    ```mlir
    %i, %w = moe.select_products %a, %b policy<score = none, top_k = 4>
        : tensor<?x32xf32>, tensor<?x32xf32>
        -> tensor<?x4xi32>, tensor<?x4xf32>
    ```

    - C1. ids and weights are N x `top_k`; first and second are N x A and N x B.
    - C2. `top_k` is at most A and at most B.
    - C3. The policy is one for `moe.route_products`.
  }];
  let arguments = (ins
    2DTensorOf<[F32]>:$first, 2DTensorOf<[F32]>:$second,
    Moe_PolicyAttr:$policy);
  let results = (outs 2DTensorOf<[I32]>:$ids, 2DTensorOf<[F32]>:$weights);
  let assemblyFormat = [{
    $first `,` $second `policy` `` $policy attr-dict
    `:` type($first) `,` type($second) `->` type($ids) `,` type($weights)
  }];
  let hasVerifier = 1;
}

def Moe_ChooseRowsOp : Moe_Op<"choose_rows", [Pure]> {
  let summary = "every expert chooses tokens: the five lists";
  let description = [{
    See `moe.choose_tokens`. There are at most `rows` * N + `extra` rows.

    Example:
    ```mlir
    %eo, %rt, %rw, %to, %tr = moe.choose_rows %l score softmax
        capacity <factor 2.0> rows 2 extra 24 : tensor<?x8xf32>
        -> tensor<9xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
           tensor<?xi32>
    ```

    - C1. `expert_offsets` has E+1 elements for the E columns of logits.
    - C2. `rows` and `extra` are not negative, and not both 0.
  }];
  let arguments = (ins
    2DTensorOf<[F32]>:$logits,
    Moe_TokenScoreAttr:$score,
    Moe_CapacityAttr:$capacity,
    UnitAttr:$average,
    OptionalAttr<F32Attr>:$scale,
    OptionalAttr<TypeAttrOf<AnyFloat>>:$round_weights,
    I64Attr:$rows, I64Attr:$extra);
  let results = (outs
    Moe_IndexList:$expert_offsets, Moe_IndexList:$row_token,
    Moe_WeightList:$row_weight, Moe_IndexList:$token_offsets,
    Moe_IndexList:$token_rows);
  let assemblyFormat = [{
    $logits `score` $score `capacity` `` $capacity (`average` $average^)?
    (`scale` $scale^)? (`round` $round_weights^)?
    `rows` $rows `extra` $extra attr-dict
    `:` type($logits) `->` type(results)
  }];
  let hasVerifier = 1;
}

def Moe_SliceRowsOp : Moe_Op<"slice_rows", [Pure]> {
  let summary = "the lists of a range of experts";
  let description = [{
    See `moe.restrict`: experts `begin` to `end` - 1 of the five lists, as
    experts from 0 on and rows from 0 on.

    Example:
    ```mlir
    %eo, %rt, %rw, %to, %tr = moe.slice_rows %0, %1, %2, %3, %4 [2, 6]
        : tensor<9xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
          tensor<?xi32>
        -> tensor<5xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
           tensor<?xi32>
    ```

    - C1. 0 <= begin < end < number of source offsets.
    - C2. The resulting `expert_offsets` has end - begin + 1 elements.
  }];
  let arguments = (ins
    Moe_IndexList:$source_offsets, Moe_IndexList:$source_row_token,
    Moe_WeightList:$source_row_weight, Moe_IndexList:$source_token_offsets,
    Moe_IndexList:$source_token_rows, I64Attr:$begin, I64Attr:$end);
  let results = (outs
    Moe_IndexList:$expert_offsets, Moe_IndexList:$row_token,
    Moe_WeightList:$row_weight, Moe_IndexList:$token_offsets,
    Moe_IndexList:$token_rows);
  let assemblyFormat = [{
    operands `[` $begin `,` $end `]` attr-dict
    `:` type(operands) `->` type(results)
  }];
  let hasVerifier = 1;
}

def Moe_RowLogitsOp
    : Moe_Op<"row_logits", [Pure, Moe_ReifyShapes]> {
  let summary = "router logits of rows, with a router of each expert's own";
  let description = [{
    See `moe.grouped_logits`.

    Example:
    ```mlir
    %l = moe.row_logits ins(%xs, %w) offsets(%eo)
        : tensor<?x64xf32>, tensor<4x8x64xf32>, tensor<5xi32>
        -> tensor<?x8xf32>
    ```

    - C1. rows is P x H, weight E x J x H, offsets E+1, the result P x J of f32.
  }];
  let arguments = (ins
    Moe_Matrix:$rows, 3DTensorOf<[F32, BF16, F16]>:$weight,
    Moe_IndexList:$expert_offsets);
  let results = (outs 2DTensorOf<[F32]>:$logits);
  let assemblyFormat = [{
    `ins` `(` $rows `,` $weight `)` `offsets` `(` $expert_offsets `)` attr-dict
    `:` type($rows) `,` type($weight) `,` type($expert_offsets)
    `->` type($logits)
  }];
  let hasVerifier = 1;
}

def Moe_NestIdsOp : Moe_Op<"nest_ids", [Pure, Moe_ReifyShapes]> {
  let summary = "numbers of experts within experts";
  let description = [{
    `result[r, j] = ids[r, j] + inner_experts * e` for a row r of expert e;
    -1 stays -1, and all of a row behind the last one is -1. What else is not
    below `inner_experts` becomes a number out of range. See `moe.nest`.

    Example:
    ```mlir
    %n = moe.nest_ids %i offsets(%eo) inner 8
        : tensor<?x2xi32>, tensor<5xi32> -> tensor<?x2xi32>
    ```

    - C1. ids and the result have one shape; `inner_experts` is at least 1.
  }];
  let arguments = (ins
    2DTensorOf<[I32]>:$ids, Moe_IndexList:$expert_offsets,
    I64Attr:$inner_experts);
  let results = (outs 2DTensorOf<[I32]>:$result);
  let assemblyFormat = [{
    $ids `offsets` `(` $expert_offsets `)` `inner` $inner_experts attr-dict
    `:` type($ids) `,` type($expert_offsets) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Moe_CountIdsOp : Moe_Op<"count_ids", [Pure]> {
  let summary = "number of choices of each expert";
  let description = [{
    `counts[e]` is how often e stands in ids; -1 is not counted.

    Example:
    ```mlir
    %n = moe.count_ids %i : tensor<?x2xi32> -> tensor<8xi64>
    ```

    - C1. The result is static.
  }];
  let arguments = (ins 2DTensorOf<[I32]>:$ids);
  let results = (outs 1DTensorOf<[I64]>:$counts);
  let assemblyFormat = "$ids attr-dict `:` type($ids) `->` type($counts)";
  let hasVerifier = 1;
}

def Moe_FoldRowsOp
    : Moe_Op<"fold_rows", [Pure, IsolatedFromAbove, AttrSizedOperandSegments,
                           SingleBlockImplicitTerminator<"YieldOp">]> {
  let summary = "a reduction over rows, in ascending order";
  let description = [{
    Runs the region once per row, one row after the other. Its arguments are the
    number of the row (index), each of `rows` as a single row (leading dimension
    1), the `invariants` whole, and what the region yielded for the row before;
    for the first row that is filled with `inits`. The last values are the
    results; without rows the inits are.

    Example:
    ```mlir
    %s = moe.fold_rows rows(%a : tensor<?x8xf32>) inits [0.0]
        -> tensor<1x8xf32> {
    ^bb0(%i: index, %r: tensor<1x8xf32>, %acc: tensor<1x8xf32>):
      %n = arith.addf %acc, %r : tensor<1x8xf32>
      moe.yield %n : tensor<1x8xf32>
    }
    ```

    - C1. At least one of `rows`; all have the same number of rows, and static
        extents but for it.
    - C2. Results are static tensors of f32, i32 or i64, one number of `inits`
        for each.
    - C3. Block arguments and yielded values are as described.
  }];
  let arguments = (ins
    Variadic<AnyRankedTensor>:$rows,
    Variadic<AnyRankedTensor>:$invariants,
    F64ArrayAttr:$inits);
  let results = (outs Variadic<AnyStaticShapeTensor>:$results);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    `rows` `(` $rows `:` type($rows) `)`
    (`invariants` `(` $invariants^ `:` type($invariants) `)`)?
    `inits` $inits attr-dict `->` type($results) $body
  }];
  let hasVerifier = 1;
}

def Moe_GroupRowsOp : Moe_Op<"group_rows", [Pure]> {
  let summary = "groups (token, expert) pairs by expert";
  let description = [{
    From ids and weights per token to the five lists; an id of -1 is no pair.
    With `given` the ids come from outside: they may stand in any order and are
    checked at run time. Without, they ascend, -1 last.

    Example:
    ```mlir
    %eo, %rt, %rw, %to, %tr = moe.group_rows %i, %w
        : tensor<?x2xi32>, tensor<?x2xf32>
        -> tensor<9xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
           tensor<?xi32>
    ```

    - C1. ids and weights have the same shape N x k.
    - C2. `expert_offsets` has E+1 elements for some E >= k.
    - C3. `row_token`, `row_weight` and `token_rows` have one length P, which is
        N * k when both are static; `token_offsets` has N+1 elements.
  }];
  let arguments = (ins
    2DTensorOf<[I32]>:$ids, 2DTensorOf<[F32]>:$weights, UnitAttr:$given);
  let results = (outs
    Moe_IndexList:$expert_offsets, Moe_IndexList:$row_token,
    Moe_WeightList:$row_weight, Moe_IndexList:$token_offsets,
    Moe_IndexList:$token_rows);
  let assemblyFormat = [{
    $ids `,` $weights (`given` $given^)? attr-dict
    `:` type($ids) `,` type($weights) `->` type(results)
  }];
  let hasVerifier = 1;
}

def Moe_AllRowsOp : Moe_Op<"all_rows", [Pure]> {
  let summary = "the lists of the routing in which every token visits all";
  let description = [{
    See `moe.assign_all`. Row `e * N + t` is token t at expert e.

    Example:
    ```mlir
    %eo, %rt, %rw, %to, %tr = moe.all_rows %x : tensor<?x64xf32>
        -> tensor<2xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
           tensor<?xi32>
    ```

    - C1. `expert_offsets` has E+1 elements; weights, when given, is N x E.
    - C2. `row_token`, `row_weight` and `token_rows` have one length P, which is
        N * E when both are static; `token_offsets` has N+1 elements.
  }];
  let arguments = (ins Moe_Matrix:$x, Optional<2DTensorOf<[F32]>>:$weights);
  let results = (outs
    Moe_IndexList:$expert_offsets, Moe_IndexList:$row_token,
    Moe_WeightList:$row_weight, Moe_IndexList:$token_offsets,
    Moe_IndexList:$token_rows);
  let assemblyFormat = [{
    $x (`weights` `(` $weights^ `)`)? attr-dict
    `:` type($x) (`,` type($weights)^)? `->` type(results)
  }];
  let hasVerifier = 1;
}

def Moe_GatherRowsOp
    : Moe_Op<"gather_rows", [Pure, Moe_ReifyShapes]> {
  let summary = "copies the token of every row";
  let description = [{
    `rows[r] = x[row_token[r]]`; with `row_weight` times `row_weight[r]`, in
    f32, rounded.

    Example:
    ```mlir
    %rows = moe.gather_rows %x[%rt]
        : tensor<?x64xbf16>, tensor<?xi32> -> tensor<?x64xbf16>
    ```

    - C1. The result has the row length and element type of x, and as many rows
        as `row_token` (and `row_weight`) has elements.
  }];
  let arguments = (ins Moe_Matrix:$x, Moe_IndexList:$row_token,
                   Optional<Moe_WeightList>:$row_weight);
  let results = (outs Moe_Matrix:$rows);
  let assemblyFormat = [{
    $x `[` $row_token `]`
    (`weights` `(` $row_weight^ `:` type($row_weight) `)`)? attr-dict
    `:` type($x) `,` type($row_token) `->` type($rows)
  }];
  let hasVerifier = 1;
}

def Moe_GroupedFfnOp
    : Moe_Op<"grouped_ffn", [Pure, IsolatedFromAbove, AttrSizedOperandSegments,
                             SingleBlockImplicitTerminator<"YieldOp">,
                             Moe_ReifyShapes]> {
  let summary = "feed-forward experts over grouped rows, gather included";
  let description = [{
    For each *segment* s (a set of experts of one shape), expert e and row r of
    e in `expert_offsets[s]`:

    ```
    v = x[row_token[s][r]]               with `row_weight` times
                                         row_weight[s][r], rounded
    c_i = v . W_i[e]^T (+ B_i[e])        for the first `parts` weights, in f32
    h = round(body(c_0, c_1, ...))       element by element, to the type of x
    result[s][r] = round(h . W_last[e]^T (+ B_last[e]))
    ```

    The region is the activation on scalars of f32. The weights of all segments
    stand one segment after the other, `parts` + 1 for each. Shared experts are
    a segment whose lists come from `moe.all_rows`.

    Example:
    ```mlir
    %ys = moe.grouped_ffn ins(%x : tensor<?x64xf32>)
        offsets(%eo : tensor<9xi32>) tokens(%rt : tensor<?xi32>)
        weights(%g, %u, %d : tensor<8x96x64xf32>, tensor<8x96x64xf32>,
                             tensor<8x64x96xf32>) parts 2
        -> tensor<?x64xf32> {
    ^bb0(%a: f32, %b: f32):
      ...
      moe.yield %h : f32
    }
    ```

    - C1. There are as many `expert_offsets`, `row_token` and results as
        segments, and segments x (`parts` + 1) weights; `parts` is 1 or 2.
    - C2. In a segment with E experts: `expert_offsets` is E+1; the first
        `parts` weights are E x F x H, the last is E x Ho x F; the result is
        ? x Ho with as many rows as `row_token` has elements.
    - C3. All weights have one element type, f32 or bf16; x and the results have
        one element type.
    - C4. The region takes `parts` values of f32 and yields one.
    - C5. There is one `row_weight` for each segment, as long as `row_token`, or
        none.
    - C6. There are as many biases as weights, or none: E x F for the first
        ones, E x Ho for the last, of f32, bf16 or f16.
  }];
  let arguments = (ins
    Moe_Matrix:$x,
    Variadic<Moe_IndexList>:$expert_offsets,
    Variadic<Moe_IndexList>:$row_token,
    Variadic<Moe_WeightList>:$row_weight,
    Variadic<3DTensorOf<[F32, BF16]>>:$weights,
    Variadic<Moe_Matrix>:$biases,
    I64Attr:$parts);
  let results = (outs Variadic<Moe_Matrix>:$results);
  let regions = (region SizedRegion<1>:$activation);
  let assemblyFormat = [{
    `ins` `(` $x `:` type($x) `)` `offsets` `(` $expert_offsets `:`
    type($expert_offsets) `)` `tokens` `(` $row_token `:` type($row_token) `)`
    (`scales` `(` $row_weight^ `:` type($row_weight) `)`)?
    `weights` `(` $weights `:` type($weights) `)`
    (`biases` `(` $biases^ `:` type($biases) `)`)? `parts` $parts attr-dict
    `->` type($results) $activation
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Number of segments.
    unsigned getNumSegments() { return getResults().size(); }
    /// The `parts` + 1 weights of a segment.
    ::mlir::ValueRange getSegmentWeights(unsigned segment) {
      unsigned n = getParts() + 1;
      return getWeights().slice(segment * n, n);
    }
    /// Their biases; empty when there are none.
    ::mlir::ValueRange getSegmentBiases(unsigned segment) {
      unsigned n = getParts() + 1;
      ::mlir::ValueRange all = getBiases();
      return all.empty() ? all : all.slice(segment * n, n);
    }
  }];
}

def Moe_MapRowsOp
    : Moe_Op<"map_rows", [Pure, IsolatedFromAbove, AttrSizedOperandSegments,
                          SingleBlockImplicitTerminator<"YieldOp">,
                          Moe_ReifyShapes]> {
  let summary = "one kernel of tensor code, row by row";
  let description = [{
    Runs the region once per row. Its arguments are: each of `rows` as a single
    row (leading dimension 1); with `expert_offsets`, the slice of each of
    `expert_weights` that belongs to the row's expert; then the `invariants`
    whole. With `expert_offsets` rows are those of a routing, and their number
    is the last of the offsets; without, rows are tokens. It yields single rows
    of the results. This is what token-wise tensor code is fused into, and how
    an expert body runs that no GEMM pattern matches.

    Operands and results that nothing uses, and operands given twice, are
    dropped by canonicalisation.

    Example:
    ```mlir
    %z = moe.map_rows rows(%a, %b : tensor<?x64xf32>, tensor<?x64xf32>)
        -> tensor<?x64xf32> {
    ^bb0(%p: tensor<1x64xf32>, %q: tensor<1x64xf32>):
      %s = arith.addf %p, %q : tensor<1x64xf32>
      moe.yield %s : tensor<1x64xf32>
    }
    ```

    - C1. At least one of `rows`; all have the same number of rows, and static
        extents but for it.
    - C2. Block arguments are as described: 1 x ... for rows, the weight's type
        without its leading dimension, and the invariants' types.
    - C3. `expert_weights` need `expert_offsets`, which has E+1 elements; their
        leading dimension is E.
    - C4. Yielded values are 1 x ..., of the results' row types; a result has as
        many rows as `rows`.
  }];
  let arguments = (ins
    Variadic<AnyRankedTensor>:$rows,
    Optional<Moe_IndexList>:$expert_offsets,
    Variadic<AnyStaticShapeTensor>:$expert_weights,
    Variadic<AnyRankedTensor>:$invariants);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    `rows` `(` $rows `:` type($rows) `)`
    (`offsets` `(` $expert_offsets^ `:` type($expert_offsets) `)`)?
    (`weights` `(` $expert_weights^ `:` type($expert_weights) `)`)?
    (`invariants` `(` $invariants^ `:` type($invariants) `)`)? attr-dict
    `->` type($results) $body
  }];
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def Moe_CombineRowsOp
    : Moe_Op<"combine_rows", [Pure, AttrSizedOperandSegments]> {
  let summary = "weighted sum of each token's rows, over all segments";
  let description = [{
    `y[t] = sum over segments, in order, over the token's rows r, in order, of
    row_weight[s][r] * rows[s][r]`, in f32 with one fma each, rounded once. The
    weights of a segment that `unweighted` names count as 1.

    Example:
    ```mlir
    %y = moe.combine_rows rows(%ys : tensor<?x64xbf16>)
        offsets(%to : tensor<?xi32>) indices(%tr : tensor<?xi32>)
        weights(%rw : tensor<?xf32>) -> tensor<?x64xbf16>
    ```

    - C1. As many of each list as of rows, at least one.
    - C2. All rows have the row length and element type of the result.
    - C3. Within a segment, rows, `token_rows` and `row_weight` have one length;
        `token_offsets` has one element more than the result has rows.
    - C4. `unweighted` has one element for each of rows.
  }];
  let arguments = (ins
    Variadic<Moe_Matrix>:$rows,
    Variadic<Moe_IndexList>:$token_offsets,
    Variadic<Moe_IndexList>:$token_rows,
    Variadic<Moe_WeightList>:$row_weight,
    OptionalAttr<DenseBoolArrayAttr>:$unweighted);
  let results = (outs Moe_Matrix:$result);
  let assemblyFormat = [{
    `rows` `(` $rows `:` type($rows) `)` `offsets` `(` $token_offsets `:`
    type($token_offsets) `)` `indices` `(` $token_rows `:` type($token_rows)
    `)` `weights` `(` $row_weight `:` type($row_weight) `)`
    (`unweighted` $unweighted^)? attr-dict `->` type($result)
  }];
  let hasVerifier = 1;
}

def Moe_CountRowsOp : Moe_Op<"count_rows", [Pure]> {
  let summary = "number of rows of each expert";
  let description = [{
    `counts[e] = expert_offsets[e + 1] - expert_offsets[e]`.

    Example:
    ```mlir
    %n = moe.count_rows %eo : tensor<9xi32> -> tensor<8xi64>
    ```

    - C1. The result has one element less than `expert_offsets`.
  }];
  let arguments = (ins Moe_IndexList:$expert_offsets);
  let results = (outs 1DTensorOf<[I64]>:$counts);
  let assemblyFormat = [{
    $expert_offsets attr-dict `:` type($expert_offsets) `->` type($counts)
  }];
  let hasVerifier = 1;
}

} // opDocGroup

#endif // MOE_DIALECT_MOE_IR_MOEROUTEDOPS_TD
