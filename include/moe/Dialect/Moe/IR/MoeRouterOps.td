//===- MoeRouterOps.td - Routers beyond token choice ----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_IR_MOEROUTEROPS_TD
#define MOE_DIALECT_MOE_IR_MOEROUTEROPS_TD

include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "moe/Dialect/Moe/IR/MoeAttrs.td"
include "moe/Dialect/Moe/IR/MoeTypes.td"

def Moe_RouterOpDoc : OpDocGroup {
  let summary = "Router ops";
  let description = [{
    Graph ops for routers that are not a choice of each token among all
    experts, and what routers are composed of. docs/Routing.md shows how;
    docs/Numerics.md specifies them bit for bit.
  }];
}

let opDocGroup = Moe_RouterOpDoc in {

def Moe_ChooseTokensOp : Moe_Op<"choose_tokens", [Pure]> {
  let summary = "every expert chooses tokens: expert choice routing";
  let description = [{
    Each expert takes the C tokens with its highest scores, C from `capacity`
    with one pair per token; a token may be taken by no expert or by all. The
    weight of a pair is its score, with `average` divided by the number of
    experts that took the token, times `scale`, rounded to `round_weights`.
    Mixture-of-depths is this with one expert and `score = none`.

    Example:
    ```mlir
    %r = moe.choose_tokens %l score softmax capacity <factor 2.0>
        : tensor<?x8xf32>
        -> !moe.routing<experts = 8, per_token = 8, rows = 2, extra = 24>
    ```

    - C1. The routing has as many experts as the logits have columns, and
        `per_token` is that number.
    - C2. `rows` and `extra` of the routing are the capacity's bound
        (`CapacityAttr::getRowBound`).
    - C3. `scale` is finite and not zero; `round_weights` is bf16 or f16.
  }];
  let arguments = (ins
    2DTensorOf<[F32]>:$logits,
    Moe_TokenScoreAttr:$score,
    Moe_CapacityAttr:$capacity,
    UnitAttr:$average,
    OptionalAttr<F32Attr>:$scale,
    OptionalAttr<TypeAttrOf<AnyFloat>>:$round_weights);
  let results = (outs Moe_RoutingType:$routing);
  let assemblyFormat = [{
    $logits `score` $score `capacity` `` $capacity (`average` $average^)?
    (`scale` $scale^)? (`round` $round_weights^)? attr-dict
    `:` type($logits) `->` qualified(type($routing))
  }];
  let hasVerifier = 1;
}

def Moe_RouteProductsOp : Moe_Op<"route_products", [Pure]> {
  let summary = "product keys: chooses among the pairs of two short lists";
  let description = [{
    Expert (i, j) has the number i * B + j and the logit `first[t, i] +
    second[t, j]`. The k best of each half are taken, then the k best of their
    pairs, by logit; weights follow from the policy. Retrieval of experts from
    A * B ones at the cost of A + B.

    Example:
    ```mlir
    %r = moe.route_products %a, %b policy<score = none, top_k = 16,
                                          weights = softmax>
        : tensor<?x1024xf32>, tensor<?x1024xf32>
        -> !moe.routing<experts = 1048576, per_token = 16>
    ```

    - C1. first is N x A, second N x B; the routing has A * B experts and
        `per_token` equal to `top_k`, which is at most A and at most B.
    - C2. The policy's score is none or sigmoid; it has no groups, `prefer`,
        `bias_after_first`, `null_experts`, `keep`, `capacity` or sparsemixer.
  }];
  let arguments = (ins
    2DTensorOf<[F32]>:$first, 2DTensorOf<[F32]>:$second,
    Moe_PolicyAttr:$policy);
  let results = (outs Moe_RoutingType:$routing);
  let assemblyFormat = [{
    $first `,` $second `policy` `` $policy attr-dict
    `:` type($first) `,` type($second) `->` qualified(type($routing))
  }];
  let hasVerifier = 1;
}

def Moe_RestrictOp : Moe_Op<"restrict", [Pure]> {
  let summary = "the part of a routing that visits a range of experts";
  let description = [{
    The pairs whose expert e lies in [begin, end), as visits to expert
    e - begin. Experts of different sizes, or of different kinds (identity,
    constant), are each given their part of one routing, and what they yield
    is combined and added.

    Example:
    ```mlir
    %s = moe.restrict %r [0, 512]
        : !moe.routing<experts = 768, per_token = 12>
        -> !moe.routing<experts = 512, per_token = 12>
    ```

    - C1. 0 <= begin < end <= the routing's experts.
    - C2. The result has end - begin experts and `per_token` the lesser of this
        and the routing's; `rows` and `extra` are the routing's, or where `rows`
        is not less than `per_token` the default.
  }];
  let arguments = (ins Moe_RoutingType:$routing, I64Attr:$begin, I64Attr:$end);
  let results = (outs Moe_RoutingType:$result);
  let assemblyFormat = [{
    $routing `[` $begin `,` $end `]` attr-dict
    `:` qualified(type($routing)) `->` qualified(type($result))
  }];
  let hasVerifier = 1;
}

def Moe_GroupedLogitsOp
    : Moe_Op<"grouped_logits", [Pure, Moe_ReifyShapes]> {
  let summary = "router logits with a router of each expert's own";
  let description = [{
    `logits[r, j] = sum over h of rows[r, h] * weight[e, j, h]`, e the expert of
    row r, in the order of `moe.router_logits`. The inner router of
    hierarchical experts.

    Example:
    ```mlir
    %l = moe.grouped_logits ins(%xs, %w) by %r
        : tensor<?x64xf32>, tensor<4x8x64xf32>,
          !moe.routing<experts = 4, per_token = 2> -> tensor<?x8xf32>
    ```

    - C1. rows is P x H, weight E x J x H with E the routing's experts, the
        result P x J of f32; H and J are static.
  }];
  let arguments = (ins
    Moe_Matrix:$rows, 3DTensorOf<[F32, BF16, F16]>:$weight,
    Moe_RoutingType:$routing);
  let results = (outs 2DTensorOf<[F32]>:$logits);
  let assemblyFormat = [{
    `ins` `(` $rows `,` $weight `)` `by` $routing attr-dict
    `:` type($rows) `,` type($weight) `,` qualified(type($routing))
    `->` type($logits)
  }];
  let hasVerifier = 1;
}

def Moe_NestOp : Moe_Op<"nest", [Pure]> {
  let summary = "the routing of experts within experts";
  let description = [{
    `inner` routes the rows of `outer` (what `moe.dispatch` by `outer` gives)
    among J experts. The result routes the same rows among E * J experts:
    expert j of a row at outer expert e is number e * J + j.

    Example:
    ```mlir
    %n = moe.nest %inner in %outer
        : !moe.routing<experts = 8, per_token = 1>,
          !moe.routing<experts = 4, per_token = 2>
        -> !moe.routing<experts = 32, per_token = 1>
    ```

    - C1. The result has E * J experts and the `per_token` of inner.
    - C2. inner is the result of `moe.route` or `moe.assign`.
  }];
  let arguments = (ins Moe_RoutingType:$inner, Moe_RoutingType:$outer);
  let results = (outs Moe_RoutingType:$routing);
  let assemblyFormat = [{
    $inner `in` $outer attr-dict
    `:` qualified(type($inner)) `,` qualified(type($outer))
    `->` qualified(type($routing))
  }];
  let hasVerifier = 1;
}

def Moe_RandomOp : Moe_Op<"random", [Pure, Moe_ReifyShapes]> {
  let summary = "random numbers, the same for the same seed everywhere";
  let description = [{
    One number for each element, a function of the seed, of `stream`, and of the
    element's place only: uniform in [0, 1), normal with mean 0 and deviation 1,
    or Gumbel. Of `like` only the number of rows counts. docs/Numerics.md
    ("Random numbers") gives the formula.

    Example:
    ```mlir
    %u = moe.random uniform seed(%s) like %l stream 1
        : tensor<1xi64>, tensor<?x8xf32> -> tensor<?x2xf32>
    ```

    - C1. The result has as many rows as `like` and a static number of columns.
    - C2. 0 <= stream < 65536.
    - C3. seed has one element.
  }];
  let arguments = (ins
    Moe_DistributionAttr:$distribution,
    1DTensorOf<[I64]>:$seed, AnyRankedTensor:$like,
    DefaultValuedAttr<I64Attr, "0">:$stream);
  let results = (outs 2DTensorOf<[F32]>:$result);
  let assemblyFormat = [{
    $distribution `seed` `(` $seed `)` `like` $like (`stream` $stream^)?
    attr-dict `:` type($seed) `,` type($like) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Moe_LookupOp : Moe_Op<"lookup", [Pure, Moe_ReifyShapes]> {
  let summary = "rows of a table by index";
  let description = [{
    `result[t] = table[indices[t]]`: hash layers (a table of expert numbers),
    biases by modality (a table of biases), retrieved vectors. An index out of
    range is an error at run time.

    Example:
    ```mlir
    %ids = moe.lookup %table[%tokens]
        : tensor<50000x2xi32>, tensor<?xi32> -> tensor<?x2xi32>
    ```

    - C1. table is a static V x D; the result has one row of D elements of its
        type for each index.
  }];
  let arguments = (ins
    2DTensorOf<[F32, BF16, F16, I32]>:$table, 1DTensorOf<[I32]>:$indices);
  let results = (outs 2DTensorOf<[F32, BF16, F16, I32]>:$result);
  let assemblyFormat = [{
    $table `[` $indices `]` attr-dict
    `:` type($table) `,` type($indices) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Moe_SoftDispatchOp : Moe_Op<"soft_dispatch", [Pure, Moe_ReifyShapes]> {
  let summary = "slots as mixtures of all tokens (Soft MoE)";
  let description = [{
    `slots[s] = sum over t of p[t, s] * x[t]`, p the softmax of logits over the
    tokens. Slots are no tokens: experts take them in groups of constant size,
    by a `moe.assign` of constant indices.

    Example:
    ```mlir
    %slots = moe.soft_dispatch %x by %l
        : tensor<?x64xf32>, tensor<?x16xf32> -> tensor<16x64xf32>
    ```

    - C1. x is N x H, logits N x S, the result S x H of x's element type.
  }];
  let arguments = (ins Moe_Matrix:$x, 2DTensorOf<[F32]>:$logits);
  let results = (outs Moe_Matrix:$slots);
  let assemblyFormat = [{
    $x `by` $logits attr-dict
    `:` type($x) `,` type($logits) `->` type($slots)
  }];
  let hasVerifier = 1;
}

def Moe_SoftCombineOp : Moe_Op<"soft_combine", [Pure, Moe_ReifyShapes]> {
  let summary = "tokens as mixtures of all slots (Soft MoE)";
  let description = [{
    `y[t] = sum over s of p[t, s] * slots[s]`, p the softmax of logits over the
    slots, in f32, rounded once.

    Example:
    ```mlir
    %y = moe.soft_combine %slots by %l
        : tensor<16x64xf32>, tensor<?x16xf32> -> tensor<?x64xf32>
    ```

    - C1. slots is S x H, logits N x S, the result N x H of the slots' type.
  }];
  let arguments = (ins Moe_Matrix:$slots, 2DTensorOf<[F32]>:$logits);
  let results = (outs Moe_Matrix:$result);
  let assemblyFormat = [{
    $slots `by` $logits attr-dict
    `:` type($slots) `,` type($logits) `->` type($result)
  }];
  let hasVerifier = 1;
}

} // opDocGroup

#endif // MOE_DIALECT_MOE_IR_MOEROUTEROPS_TD
