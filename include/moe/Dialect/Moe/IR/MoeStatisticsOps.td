//===- MoeStatisticsOps.td - Load statistics and losses -------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_IR_MOESTATISTICSOPS_TD
#define MOE_DIALECT_MOE_IR_MOESTATISTICSOPS_TD

include "mlir/Interfaces/SideEffectInterfaces.td"
include "moe/Dialect/Moe/IR/MoeAttrs.td"
include "moe/Dialect/Moe/IR/MoeTypes.td"

def Moe_StatisticsOpDoc : OpDocGroup {
  let summary = "Statistics ops";
  let description = [{
    What training and monitoring ask of a router, as tensors that a function may
    return beside its result. Formulas are those of the papers named; sums run
    over tokens in ascending order in f32. With no tokens every mean is 0.
  }];
}

/// A loss: one number.
def Moe_Scalar : 1DTensorOf<[F32]>;

let opDocGroup = Moe_StatisticsOpDoc in {

def Moe_ExpertFractionsOp : Moe_Op<"expert_fractions", [Pure]> {
  let summary = "share of the pairs that each expert has";
  let description = [{
    `f[e] = counts[e] / sum of counts`; all 0 when there are no pairs.

    Example: `%f = moe.expert_fractions %n : tensor<8xi64> -> tensor<8xf32>`

    - C1. counts and the result have the same static number of elements.
  }];
  let arguments = (ins 1DTensorOf<[I64]>:$counts);
  let results = (outs 1DTensorOf<[F32]>:$fractions);
  let assemblyFormat = "$counts attr-dict `:` type($counts) `->` type($fractions)";
  let hasVerifier = 1;
}

def Moe_MeanScoresOp : Moe_Op<"mean_scores", [Pure]> {
  let summary = "mean over the tokens of each expert's score";
  let description = [{
    `P[e] = mean over t of score(logits[t])[e]`; with `normalized` a token's
    scores are divided by their sum first (DeepSeek-V3).

    Example:
    ```mlir
    %p = moe.mean_scores softmax %l : tensor<?x8xf32> -> tensor<8xf32>
    ```

    - C1. The result has one element per column of logits.
  }];
  let arguments = (ins Moe_ScoreAttr:$score, 2DTensorOf<[F32]>:$logits,
                   UnitAttr:$normalized);
  let results = (outs 1DTensorOf<[F32]>:$means);
  let assemblyFormat = [{
    $score $logits (`normalized` $normalized^)? attr-dict
    `:` type($logits) `->` type($means)
  }];
  let hasVerifier = 1;
}

def Moe_LoadBalanceLossOp : Moe_Op<"load_balance_loss", [Pure]> {
  let summary = "auxiliary loss that is least when all experts have equal load";
  let description = [{
    `E * sum over e of f[e] * P[e]`, P the mean scores (see `moe.mean_scores`)
    and f[e] the number of tokens that chose e, before capacity dropped any,
    divided by the number of tokens. With `first_choice` only first choices
    count (GShard, Switch); with `per_choice` f is divided by k as well
    (DeepSeek). With `every S` the loss is that of each sequence of S
    consecutive tokens (the last may be shorter), averaged over the sequences:
    DeepSeek's sequence-wise loss. Without options it is the loss of the Hugging
    Face implementations of Mixtral and its relatives.

    Example:
    ```mlir
    %a = moe.load_balance_loss softmax %l by %r
        : tensor<?x8xf32>, !moe.routing<experts = 8, per_token = 2>
        -> tensor<1xf32>
    ```

    - C1. logits have one column per expert of the routing, null ones included.
    - C2. The routing is the result of `moe.route`.
    - C3. `every` is at least 1; the result has one element.
  }];
  let arguments = (ins Moe_ScoreAttr:$score, 2DTensorOf<[F32]>:$logits,
                   Moe_RoutingType:$routing, UnitAttr:$normalized,
                   UnitAttr:$first_choice, UnitAttr:$per_choice,
                   OptionalAttr<I64Attr>:$every);
  let results = (outs Moe_Scalar:$loss);
  let assemblyFormat = [{
    $score $logits `by` $routing (`normalized` $normalized^)?
    (`first_choice` $first_choice^)? (`per_choice` $per_choice^)?
    (`every` $every^)? attr-dict
    `:` type($logits) `,` qualified(type($routing)) `->` type($loss)
  }];
  let hasVerifier = 1;
}

def Moe_RouterZLossOp : Moe_Op<"router_z_loss", [Pure]> {
  let summary = "mean square of the log-sum-exp of the logits (ST-MoE)";
  let description = [{
    `mean over t of (log of the sum over e of exp(logits[t, e])) ^ 2`.

    Example: `%z = moe.router_z_loss %l : tensor<?x8xf32> -> tensor<1xf32>`

    - C1. The result has one element.
  }];
  let arguments = (ins 2DTensorOf<[F32]>:$logits);
  let results = (outs Moe_Scalar:$loss);
  let assemblyFormat = "$logits attr-dict `:` type($logits) `->` type($loss)";
  let hasVerifier = 1;
}

def Moe_ImportanceLossOp : Moe_Op<"importance_loss", [Pure]> {
  let summary = "squared coefficient of variation of the experts' weights";
  let description = [{
    `variance / (mean ^ 2 + 1e-10)` over the experts of the sum of the weights
    of their pairs (Shazeer 2017); the variance divides by E.

    Example:
    ```mlir
    %i = moe.importance_loss %r
        : !moe.routing<experts = 8, per_token = 2> -> tensor<1xf32>
    ```

    - C1. The result has one element.
    - C2. The routing is the result of `moe.route` or `moe.assign`.
  }];
  let arguments = (ins Moe_RoutingType:$routing);
  let results = (outs Moe_Scalar:$loss);
  let assemblyFormat = [{
    $routing attr-dict `:` qualified(type($routing)) `->` type($loss)
  }];
  let hasVerifier = 1;
}

def Moe_UpdateBiasOp : Moe_Op<"update_bias", [Pure]> {
  let summary = "one step of balancing without an auxiliary loss";
  let description = [{
    `bias[e] + rate * sign(mean of counts - counts[e])`, the sign of 0 being 0
    (DeepSeek-V3). The mean is not rounded: E * counts[e] is compared with the
    sum.

    Example:
    ```mlir
    %b2 = moe.update_bias %b by %n rate 1.0e-03
        : tensor<8xf32>, tensor<8xi64> -> tensor<8xf32>
    ```

    - C1. bias, counts and the result have the same static number of elements.
    - C2. `rate` is finite and greater than 0.
  }];
  let arguments = (ins 1DTensorOf<[F32]>:$bias, 1DTensorOf<[I64]>:$counts,
                   F32Attr:$rate);
  let results = (outs 1DTensorOf<[F32]>:$result);
  let assemblyFormat = [{
    $bias `by` $counts `rate` $rate attr-dict
    `:` type($bias) `,` type($counts) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Moe_RoutingRegretOp : Moe_Op<"routing_regret", [Pure]> {
  let summary = "what preferring resident experts cost, in scores";
  let description = [{
    Of each token: the sum of the scores of the experts it would have chosen
    without `prefer`, less that of those it chose. The result holds the largest
    and the mean; both are 0 without tokens.

    Example:
    ```mlir
    %g = moe.routing_regret %r
        : !moe.routing<experts = 8, per_token = 2> -> tensor<2xf32>
    ```

    - C1. The routing is the result of `moe.route` with `prefer`.
    - C2. The result has two elements.
  }];
  let arguments = (ins Moe_RoutingType:$routing);
  let results = (outs 1DTensorOf<[F32]>:$regret);
  let assemblyFormat = [{
    $routing attr-dict `:` qualified(type($routing)) `->` type($regret)
  }];
  let hasVerifier = 1;
}

} // opDocGroup

#endif // MOE_DIALECT_MOE_IR_MOESTATISTICSOPS_TD
