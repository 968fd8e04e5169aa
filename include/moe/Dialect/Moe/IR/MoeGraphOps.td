//===- MoeGraphOps.td - Graph-level ops -----------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_IR_MOEGRAPHOPS_TD
#define MOE_DIALECT_MOE_IR_MOEGRAPHOPS_TD

include "mlir/IR/RegionKindInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "moe/Dialect/Moe/IR/MoeAttrs.td"
include "moe/Dialect/Moe/IR/MoeTypes.td"

def Moe_GraphOpDoc : OpDocGroup {
  let summary = "Graph ops";
  let description = [{
    What a model says. Values are tensors; nothing is decided about order,
    memory or threads.
  }];
}

let opDocGroup = Moe_GraphOpDoc in {

def Moe_WeightOp : Moe_Op<"weight", [Symbol]> {
  let summary = "names a weight and where the checkpoint keeps it";
  let description = [{
    A module-level symbol. `sources` are the names of checkpoint tensors; a
    range in braces stands for several names, so `"w.{0..7}.x"` means `w.0.x`
    to `w.7.x`. Each source is read, optionally decoded (`encoding`) and
    reshaped from its `stored` shape, optionally `split` (a strided range of one
    dimension of the source), then optionally has its last two dimensions
    swapped by `transpose`; with `stack` the results of all sources become the
    slices of a new leading dimension.

    An encoded source has a tensor of scales beside it, `scales`, one name for
    each source; an element is code * scale in f32, rounded to the type:
    - `mxfp4`: U8 [..., K / 32, 16] with scales U8 [..., K / 32], two E2M1 values
      to a byte, low nibble first, scale 2^(s - 127); decodes to [..., K];
    - `fp8_block`: F8_E4M3 [n, k] with F32 scales, one for each `block` of it;
    - `int8_scaled`: I8 with F32 or BF16 scales of the same rank, each extent of
      which divides the weight's.

    The type is that of the result. Several uses, also in different layers,
    share one weight.

    Examples:
    ```mlir
    moe.weight @layers.0.gate : tensor<8x96x64xbf16>
        from ["model.layers.0.block_sparse_moe.experts.{0..7}.w1.weight"] stack
    moe.weight @layers.0.up : tensor<8x96x64xbf16>
        from ["model.layers.0.mlp.experts.gate_up_proj"]
        split [1, 96, 192, 1, 192]
    moe.weight @layers.1.gate : tensor<8x96x64xbf16>
        from ["model.layers.1.mlp.experts.gate_up_proj_blocks"]
        encoding mxfp4 scales ["model.layers.1.mlp.experts.gate_up_proj_scales"]
        stored [8, 192, 2, 16] split [1, 0, 192, 2, 192]
    ```

    - C1. The type is a statically shaped, non-empty tensor of f32, bf16 or f16.
    - C2. At least one source; exactly one unless `stack`.
    - C3. With `stack`, the leading dimension is the number of sources.
    - C4. `split` is [dimension, begin, end, step, extent] with 0 <= begin <
        end <= extent, step >= 1, and the dimension within the rank of one
        source, where it has that extent; (end - begin) / step, rounded up, is
        its extent in the result.
    - C5. `transpose` needs a source of rank >= 2.
    - C6. A source name is not empty and occurs once. It has braces at most in
        one range `{a..b}` with a <= b and at most 65536 names.
    - C7. `scales` are given exactly with `encoding`: one name for each source,
        by the rules of C6.
    - C8. `block` is given exactly with `fp8_block`: rows and columns, at least
        1 each.
    - C9. `stored` has as many elements as a source, extents of at least 1; for
        `mxfp4`, which needs it, half as many, and 16 last. Sources have a rank
        of at least 2 with `fp8_block` and 1 with `int8_scaled`.
  }];
  let arguments = (ins
    SymbolNameAttr:$sym_name,
    TypeAttrOf<AnyRankedTensor>:$type,
    StrArrayAttr:$sources,
    UnitAttr:$stack,
    UnitAttr:$transpose,
    OptionalAttr<DenseI64ArrayAttr>:$split,
    OptionalAttr<Moe_WeightEncodingAttr>:$encoding,
    OptionalAttr<StrArrayAttr>:$scales,
    OptionalAttr<DenseI64ArrayAttr>:$block,
    OptionalAttr<DenseI64ArrayAttr>:$stored);
  let builders = [OpBuilder<(ins "::mlir::StringAttr":$name,
                                 "::mlir::TypeAttr":$type,
                                 "::mlir::ArrayAttr":$sources,
                                 "::mlir::UnitAttr":$stack,
                                 "::mlir::UnitAttr":$transpose,
                                 "::mlir::DenseI64ArrayAttr":$split), [{
    build($_builder, $_state, name, type, sources, stack, transpose, split,
          WeightEncodingAttr(), ::mlir::ArrayAttr(), ::mlir::DenseI64ArrayAttr(),
          ::mlir::DenseI64ArrayAttr());
  }]>];
  let assemblyFormat = [{
    $sym_name `:` $type `from` $sources
    (`encoding` $encoding^)? (`scales` $scales^)? (`block` $block^)?
    (`stored` $stored^)? (`stack` $stack^)?
    (`transpose` $transpose^)? (`split` $split^)? attr-dict
  }];
  let extraClassDeclaration = [{
    /// The sources with every range expanded, in order.
    ::llvm::SmallVector<std::string> getSourceNames();
    /// The scales with every range expanded, in order; empty without encoding.
    ::llvm::SmallVector<std::string> getScaleNames();
    /// Type of one source after decoding and reshaping: what `split` sees.
    ::mlir::RankedTensorType getSourceType();
  }];
  let hasVerifier = 1;
}

def Moe_GetWeightOp
    : Moe_Op<"get_weight", [Pure,
                            DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "the value of a weight";
  let description = [{
    Example: `%w = moe.get_weight @layers.0.gate : tensor<8x96x64xbf16>`

    - C1. The symbol names a `moe.weight` of the same type.
  }];
  let arguments = (ins FlatSymbolRefAttr:$weight);
  let results = (outs AnyStaticShapeTensor:$result);
  let assemblyFormat = "$weight attr-dict `:` type($result)";
}

def Moe_RouterLogitsOp
    : Moe_Op<"router_logits", [Pure, Moe_ReifyShapes]> {
  let summary = "router logits, in the one specified summation order";
  let description = [{
    `logits[t, e] = sum over h of x[t, h] * weight[e, h] (+ bias[e])`, computed
    as docs/Numerics.md ("Router") says and rounded to `round` when given.
    A matrix multiplication of its own because expert ids must not depend on
    how a target likes to sum. With `cosine epsilon` the sum is divided by the
    norms of x[t] and weight[e], each at least epsilon, before the bias.

    Example:
    ```mlir
    %l = moe.router_logits ins(%x, %w) round bf16
        : tensor<?x64xbf16>, tensor<8x64xbf16> -> tensor<?x8xf32>
    ```

    - C1. x is N x H, weight is E x H, the result N x E of f32; H and E are
        static.
    - C2. bias has E elements.
    - C3. `round` is bf16 or f16.
    - C4. `cosine` is a finite number, at least 0.
  }];
  let arguments = (ins
    Moe_Matrix:$x,
    Moe_Matrix:$weight,
    Optional<1DTensorOf<[F32, BF16, F16]>>:$bias,
    OptionalAttr<TypeAttrOf<AnyFloat>>:$round,
    OptionalAttr<F32Attr>:$cosine);
  let results = (outs 2DTensorOf<[F32]>:$logits);
  let assemblyFormat = [{
    `ins` `(` $x `,` $weight (`,` $bias^)? `)` (`round` $round^)?
    (`cosine` $cosine^)? attr-dict
    `:` type($x) `,` type($weight) (`,` type($bias)^)? `->` type($logits)
  }];
  let hasVerifier = 1;
}

def Moe_RouteOp : Moe_Op<"route", [Pure, AttrSizedOperandSegments]> {
  let summary = "every token chooses experts by its logits";
  let description = [{
    Applies the policy to each row of logits. `bias` is added to the scores for
    the selection only, one value per expert or per token and expert; it never
    reaches a weight. `resident` marks the experts that `prefer` speaks of (not
    0: resident). `random` are uniform numbers in [0, 1) for `keep = random`,
    one for each choice; see `moe.random`.

    Examples:
    ```mlir
    %r = moe.route %l bias(%b) policy<score = sigmoid, top_k = 8>
        : tensor<?x256xf32>, tensor<256xf32>
        -> !moe.routing<experts = 256, per_token = 8>
    %s = moe.route %l random(%u : tensor<?x2xf32>)
        policy<top_k = 2, normalize, keep = random 0.2>
        : tensor<?x16xf32> -> !moe.routing<experts = 16, per_token = 2>
    ```

    - C1. The routing has as many experts as the logits have columns, but for
        the policy's null experts.
    - C2. `per_token` of the routing is `top_k`, at most the number of experts
        that are not null.
    - C3. bias has E elements or is N x E; `bias_after_first` needs one.
    - C4. With groups: G divides E, and K groups hold at least `top_k` experts;
        `top2_sum` needs at least two experts per group.
    - C5. resident has E elements and is given exactly with `prefer`.
    - C6. random is N x `top_k` and given exactly with `keep = random`.
    - C7. There are fewer null experts than experts.
    - C8. `rows` and `extra` of the routing are those of its default.
  }];
  let arguments = (ins
    2DTensorOf<[F32]>:$logits,
    Optional<AnyTypeOf<[1DTensorOf<[F32]>, 2DTensorOf<[F32]>]>>:$bias,
    Optional<1DTensorOf<[I32]>>:$resident,
    Optional<2DTensorOf<[F32]>>:$random,
    Moe_PolicyAttr:$policy);
  let results = (outs Moe_RoutingType:$routing);
  let assemblyFormat = [{
    $logits (`bias` `(` $bias^ `)`)?
    (`resident` `(` $resident^ `:` type($resident) `)`)?
    (`random` `(` $random^ `:` type($random) `)`)?
    `policy` `` $policy attr-dict
    `:` type($logits) (`,` type($bias)^)? `->` qualified(type($routing))
  }];
  let hasVerifier = 1;
}

def Moe_AssignOp : Moe_Op<"assign", [Pure]> {
  let summary = "a routing from given expert indices and weights";
  let description = [{
    Token t visits expert `indices[t, j]` with weight `weights[t, j]`, for each
    j; an index of -1 is no visit. For hash layers, retrieval and replay. Other
    indices out of range, or repeated within a token, are an error at run time.

    Example:
    ```mlir
    %r = moe.assign %ids, %weights : tensor<?x2xi32>, tensor<?x2xf32>
        -> !moe.routing<experts = 8, per_token = 2>
    ```

    - C1. indices and weights are both N x `per_token`.
  }];
  let arguments = (ins 2DTensorOf<[I32]>:$indices, 2DTensorOf<[F32]>:$weights);
  let results = (outs Moe_RoutingType:$routing);
  let assemblyFormat = [{
    $indices `,` $weights attr-dict
    `:` type($indices) `,` type($weights) `->` qualified(type($routing))
  }];
  let hasVerifier = 1;
}

def Moe_AssignAllOp : Moe_Op<"assign_all", [Pure]> {
  let summary = "every token visits every expert: a constant routing";
  let description = [{
    The routing of shared experts: each row of x visits all E experts, with
    `weights[t, e]`, or 1 without weights. Of x only the number of rows counts.

    Example:
    ```mlir
    %r = moe.assign_all %x weights(%gate)
        : tensor<?x64xbf16>, tensor<?x1xf32>
        -> !moe.routing<experts = 1, per_token = 1>
    ```

    - C1. `per_token` equals `experts`.
    - C2. weights is N x E, N the number of rows of x.
  }];
  let arguments = (ins Moe_Matrix:$x, Optional<2DTensorOf<[F32]>>:$weights);
  let results = (outs Moe_RoutingType:$routing);
  let assemblyFormat = [{
    $x (`weights` `(` $weights^ `)`)? attr-dict
    `:` type($x) (`,` type($weights)^)? `->` qualified(type($routing))
  }];
  let hasVerifier = 1;
}

def Moe_DispatchOp
    : Moe_Op<"dispatch", [Pure, Moe_ReifyShapes]> {
  let summary = "copies tokens to the experts they visit";
  let description = [{
    One row per (token, expert) pair of the routing, grouped by ascending
    expert, within an expert by ascending token. With `weighted` each row is
    multiplied by the weight of its pair, in f32, and rounded: the routing is
    applied to the input of the experts, and `moe.combine unweighted` follows.

    Example:
    ```mlir
    %xs = moe.dispatch %x by %r
        : tensor<?x64xbf16>, !moe.routing<experts = 8, per_token = 2>
        -> tensor<?x64xbf16>
    ```

    - C1. The result has the row length and element type of x.
  }];
  let arguments = (ins Moe_Matrix:$x, Moe_RoutingType:$routing,
                   UnitAttr:$weighted);
  let results = (outs Moe_Matrix:$rows);
  let assemblyFormat = [{
    $x `by` $routing (`weighted` $weighted^)? attr-dict
    `:` type($x) `,` qualified(type($routing)) `->` type($rows)
  }];
  let hasVerifier = 1;
}

def Moe_ExpertsOp
    : Moe_Op<"experts", [Pure, IsolatedFromAbove, Moe_ReifyShapes,
                         SingleBlockImplicitTerminator<"YieldOp">]> {
  let summary = "applies each expert to its rows";
  let description = [{
    The region is the body of ONE expert, in linalg, tensor, arith and math: its
    first argument is that expert's rows, the others are that expert's slices
    of the weights (the leading dimension dropped). It yields one row per row.
    A body must treat rows independently of each other.

    Weights that the body does not use, or that are given twice, are dropped by
    canonicalisation.

    Example:
    ```mlir
    %ys = moe.experts ins(%xs) weights(%w1, %w2) by %r
        : (tensor<?x64xf32>, tensor<8x96x64xf32>, tensor<8x64x96xf32>),
          !moe.routing<experts = 8, per_token = 2> -> tensor<?x64xf32> {
    ^bb0(%t: tensor<?x64xf32>, %a: tensor<96x64xf32>, %b: tensor<64x96xf32>):
      ...
      moe.yield %o : tensor<?x64xf32>
    }
    ```

    - C1. Every weight's leading dimension is the number of experts.
    - C2. The first block argument has the type of the rows, the others that of
        the weights without the leading dimension.
    - C3. The yielded value has the type of the result: rank 2, as many rows.
    - C4. The row length of the result is static.
  }];
  let arguments = (ins
    Moe_Matrix:$rows,
    Variadic<AnyStaticShapeTensor>:$weights,
    Moe_RoutingType:$routing);
  let results = (outs Moe_Matrix:$result);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    `ins` `(` $rows `)` (`weights` `(` $weights^ `)`)? `by` $routing attr-dict
    `:` custom<ExpertsTypes>(type($rows), type($weights), type($routing))
    `->` type($result) $body
  }];
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def Moe_CombineOp
    : Moe_Op<"combine", [Pure, Moe_ReifyShapes]> {
  let summary = "weighted sum of each token's expert rows";
  let description = [{
    `y[t] = sum over the token's pairs of weight * rows[pair]`, in f32, in
    ascending order of expert, rounded once to the element type. A token
    without pairs gets zero. With `unweighted` every weight counts as 1.

    Combining what was just dispatched to one expert that every token visits
    with weight 1 folds to the tokens themselves.

    Example:
    ```mlir
    %y = moe.combine %ys by %r
        : tensor<?x64xbf16>, !moe.routing<experts = 8, per_token = 2>
        -> tensor<?x64xbf16>
    ```

    - C1. The result has the row length and element type of rows.
  }];
  let arguments = (ins Moe_Matrix:$rows, Moe_RoutingType:$routing,
                   UnitAttr:$unweighted);
  let results = (outs Moe_Matrix:$result);
  let assemblyFormat = [{
    $rows `by` $routing (`unweighted` $unweighted^)? attr-dict
    `:` type($rows) `,` qualified(type($routing)) `->` type($result)
  }];
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Moe_ExpertCountsOp : Moe_Op<"expert_counts", [Pure]> {
  let summary = "number of tokens that visit each expert";
  let description = [{
    The load statistics of a routing. With `chosen` the pairs that capacity
    dropped count as well; what was dropped is the difference.

    Example:
    ```mlir
    %n = moe.expert_counts %r
        : !moe.routing<experts = 8, per_token = 2> -> tensor<8xi64>
    ```

    - C1. The result has one i64 per expert.
    - C2. `chosen` needs the result of `moe.route`.
  }];
  let arguments = (ins Moe_RoutingType:$routing, UnitAttr:$chosen);
  let results = (outs 1DTensorOf<[I64]>:$counts);
  let assemblyFormat = [{
    $routing (`chosen` $chosen^)? attr-dict `:` qualified(type($routing)) `->` type($counts)
  }];
  let hasVerifier = 1;
}

def Moe_YieldOp : Moe_Op<"yield", [Pure, Terminator, ReturnLike]> {
  let summary = "ends a region of the moe dialect";
  let description = [{
    Yields the results of the enclosing op's region; that op says how many and
    of which types.

    Example: `moe.yield %o : tensor<?x64xf32>`
  }];
  let arguments = (ins Variadic<AnyType>:$operands);
  let builders = [OpBuilder<(ins), [{
    build($_builder, $_state, ValueRange());
  }]>];
  let assemblyFormat = "attr-dict ($operands^ `:` type($operands))?";
}

} // opDocGroup

#endif // MOE_DIALECT_MOE_IR_MOEGRAPHOPS_TD
