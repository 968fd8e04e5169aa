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
    : Moe_Op<"select_topk", [Pure, Moe_ReifyShapes]> {
  let summary = "applies a policy: expert ids and weights per token";
  let description = [{
    The k chosen experts of each token in ascending id, with their weights; see
    `moe.route`.

    Example:
    ```mlir
    %i, %w = moe.select_topk %l policy<score = softmax, top_k = 2>
        : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
    ```

    - C1. ids and weights are N x `top_k`.
    - C2. bias has E elements.
    - C3. `top_k` is at most E. With groups: G divides E, and K groups hold at
        least `top_k` experts; `top2_sum` needs at least two experts per group.
  }];
  let arguments = (ins
    2DTensorOf<[F32]>:$logits,
    Optional<1DTensorOf<[F32]>>:$bias,
    Moe_PolicyAttr:$policy);
  let results = (outs 2DTensorOf<[I32]>:$ids, 2DTensorOf<[F32]>:$weights);
  let assemblyFormat = [{
    $logits (`bias` `(` $bias^ `)`)? `policy` `` $policy attr-dict
    `:` type($logits) (`,` type($bias)^)? `->` type($ids) `,` type($weights)
  }];
  let hasVerifier = 1;
}

def Moe_GroupRowsOp : Moe_Op<"group_rows", [Pure]> {
  let summary = "groups (token, expert) pairs by expert";
  let description = [{
    From ids and weights per token to the five lists. With `given` the ids come
    from outside: they may stand in any order and are checked at run time.

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
    `rows[r] = x[row_token[r]]`.

    Example:
    ```mlir
    %rows = moe.gather_rows %x[%rt]
        : tensor<?x64xbf16>, tensor<?xi32> -> tensor<?x64xbf16>
    ```

    - C1. The result has the row length and element type of x, and as many rows
        as `row_token` has elements.
  }];
  let arguments = (ins Moe_Matrix:$x, Moe_IndexList:$row_token);
  let results = (outs Moe_Matrix:$rows);
  let assemblyFormat = [{
    $x `[` $row_token `]` attr-dict
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
    t = row_token[s][r]
    c_i = x[t] . W_i[e]^T                for the first `parts` weights, in f32
    h = round(body(c_0, c_1, ...))       element by element, to the type of x
    result[s][r] = round(h . W_last[e]^T)
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
  }];
  let arguments = (ins
    Moe_Matrix:$x,
    Variadic<Moe_IndexList>:$expert_offsets,
    Variadic<Moe_IndexList>:$row_token,
    Variadic<3DTensorOf<[F32, BF16]>>:$weights,
    I64Attr:$parts);
  let results = (outs Variadic<Moe_Matrix>:$results);
  let regions = (region SizedRegion<1>:$activation);
  let assemblyFormat = [{
    `ins` `(` $x `:` type($x) `)` `offsets` `(` $expert_offsets `:`
    type($expert_offsets) `)` `tokens` `(` $row_token `:` type($row_token) `)`
    `weights` `(` $weights `:` type($weights) `)` `parts` $parts attr-dict
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
    row_weight[s][r] * rows[s][r]`, in f32 with one fma each, rounded once.

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
  }];
  let arguments = (ins
    Variadic<Moe_Matrix>:$rows,
    Variadic<Moe_IndexList>:$token_offsets,
    Variadic<Moe_IndexList>:$token_rows,
    Variadic<Moe_WeightList>:$row_weight);
  let results = (outs Moe_Matrix:$result);
  let assemblyFormat = [{
    `rows` `(` $rows `:` type($rows) `)` `offsets` `(` $token_offsets `:`
    type($token_offsets) `)` `indices` `(` $token_rows `:` type($token_rows)
    `)` `weights` `(` $row_weight `:` type($row_weight) `)` attr-dict
    `->` type($result)
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
