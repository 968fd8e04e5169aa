//===- MoeAttrs.td - Attributes of the moe dialect ------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_IR_MOEATTRS_TD
#define MOE_DIALECT_MOE_IR_MOEATTRS_TD

include "mlir/IR/AttrTypeBase.td"
include "moe/Dialect/Moe/IR/MoeBase.td"
include "moe/Dialect/Moe/IR/MoeEnums.td"

def Moe_CapacityAttr : Moe_Attr<"Capacity", "capacity"> {
  let summary = "how many rows an expert takes";
  let description = [{
    The number C of slots of an expert, from the number S of tokens, the number
    k of pairs per token and the number E of experts (null experts not counted);
    docs/Numerics.md ("Capacity") says how it is computed:

    - `factor f`: C = S * k * f / E;
    - `tokens f`: C = S * f;
    - `slots n`: C = n.

    Then rounded up (with `floor`: down) to a whole number, raised to `min`
    (default 1), and rounded up to a multiple of `multiple` (default 1). With
    `every n` tokens compete within groups of n consecutive tokens, S is n (for
    the last group: what is left); without, S is N.

    Example: `#moe.capacity<factor 1.25 floor min 4 multiple 4 every 1024>`

    - C1. `factor` and `tokens` are finite and greater than 0.
    - C2. `slots` is at least 1 and excludes `floor`, `min` and `multiple`.
    - C3. `min` and `multiple` are at least 1; `every` is at least 1.
  }];
  let parameters = (ins
    EnumParameter<Moe_CapacityKind>:$kind,
    /// In f32.
    "::llvm::APFloat":$factor,
    "int64_t":$slots,
    "bool":$roundDown,
    "int64_t":$minimum,
    "int64_t":$multiple,
    /// 0: all tokens are one group.
    "int64_t":$every);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// The words between the angle brackets.
    static CapacityAttr parseWords(::mlir::AsmParser &parser);
    void printWords(::mlir::AsmPrinter &printer) const;
    /// Smallest a and b found such that the slots of `experts` experts are
    /// never more than a * N + b together.
    std::pair<int64_t, int64_t> getRowBound(int64_t perToken,
                                            int64_t experts) const;
  }];
}

def Moe_PolicyAttr : Moe_Attr<"Policy", "policy"> {
  let summary = "how a token chooses experts from its router logits";
  let description = [{
    The cross product of the choices that routers make; docs/Numerics.md
    ("Router") specifies each step bit for bit, docs/Routing.md is the guide.
    Written as a list of clauses, of which only `top_k` is required:

    ```
    #moe.policy<score = sigmoid, groups = 8 keep 4 by top2_sum, top_k = 8,
                normalize epsilon 1.0e-20, scale = 2.5, round_weights = bf16>
    ```

    Scores and selection:
    - `score = none | softmax | sigmoid | sqrt_softplus` (default softmax):
      logits to scores.
    - `round_scores = bf16 | f16`: scores are rounded to that type.
    - `bias_after_first`: the selection bias counts from the second choice on.
    - `prefer = x [beyond J]`: experts that are marked resident get x added to
      what they are selected by, and so do the J best of all. The sum of the
      selection keys of a token's choice then is at most k * x below the best.
    - `groups = G keep K by max | top2_sum`: only experts of the K best of G
      equal groups can be chosen.
    - `top_k = k`: experts per token.
    - `null_experts = n`: the last n experts do nothing: who chooses one has one
      pair less, and its weight counts as 0.

    Weights:
    - `weights = scores | softmax | sigmoid | sparsemixer jitter x | constant`
      (default scores): the weight of a chosen expert is its score, the softmax
      over the chosen logits, the sigmoid of its logit, what sparsemixer says,
      or 1.
    - `normalize [by p] [epsilon x | at_least x] [after_drop]`: weights are
      divided by their sum (`by p`: by their p-norm), plus x or at least x;
      with `after_drop` by that of the pairs that are left.
    - `scale = x`: then multiplied by x.
    - `round_weights = bf16 | f16`: then rounded to that type.

    Which pairs stay:
    - `keep = threshold x`: choices after the first stay when their weight is
      greater than x; `keep = top_p x`: when the weights before them sum to
      less than x; `keep = random x`: when u * x is less than their weight, u
      the operand `random`.
    - `capacity = ... by choice | position | weight | priority`: an expert takes
      only so many rows (see #moe.capacity, whose words stand here): first those
      that chose it first, by position (`choice`); by position alone; by
      descending weight; or by choice, then by descending weight of the token's
      first choice (`priority`).

    A selection bias is an operand of `moe.route`, not part of the policy.
    Numbers are `f32`. Each clause may be given once, in any order.

    - C1. `top_k` >= 1.
    - C2. With groups: 1 <= K < G.
    - C3. `weights = softmax` excludes `score = sigmoid | sqrt_softplus` and
        `normalize` without `after_drop`, which would contradict it or change
        nothing; `weights = constant` excludes `normalize` without
        `after_drop` and `keep`; `weights = sparsemixer` needs `score = none`
        and excludes groups and `prefer`.
    - C4. `scale` is finite and not zero; the x of `normalize` is finite, >= 0
        (`at_least`: > 0), and p is 1 to 8.
    - C5. `round_weights` and `round_scores` are bf16 or f16.
    - C6. `after_drop` needs `keep` or `capacity`.
    - C7. `bias_after_first` needs top_k >= 2 and excludes groups and `prefer`.
    - C8. The x of `keep`, `prefer` and `jitter` is finite and greater than 0
        (`prefer`, `jitter`: >= 0); `keep` needs top_k >= 2; 0 <= J <= top_k.
    - C9. `null_experts` is not negative.

    What depends on the number of experts is checked where the policy is used;
    see `moe.route`.
  }];
  // The fields are documented at ::mlir::moe::Policy.
  let parameters = (ins "::mlir::moe::Policy":$policy);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    int64_t getTopK() const { return getPolicy().topK; }
    Score getScore() const { return getPolicy().score; }
    Type getRoundScores() const { return getPolicy().roundScores; }
    GroupFilter getGroupFilter() const { return getPolicy().groupFilter; }
    int64_t getGroups() const { return getPolicy().groups; }
    int64_t getKeepGroups() const { return getPolicy().keepGroups; }
    WeightSource getWeightSource() const { return getPolicy().weightSource; }
    bool getNormalize() const { return getPolicy().normalize; }
    float getEpsilon() const { return getPolicy().epsilon; }
    float getScale() const { return getPolicy().scale; }
    Type getRoundWeights() const { return getPolicy().roundWeights; }
    CapacityAttr getCapacity() const { return getPolicy().getCapacity(); }
    Keep getKeep() const { return getPolicy().keep; }
    int64_t getNullExperts() const { return getPolicy().nullExperts; }
    /// Whether a token may have fewer than `top_k` pairs.
    bool dropsPairs() const {
      return getCapacity() || getKeep() != Keep::All || getNullExperts() > 0;
    }
  }];
}

def Moe_CpuConfigAttr : Moe_Attr<"CpuConfig", "cpu"> {
  let summary = "how a CPU kernel is generated for one ISA level";
  let description = [{
    Chosen by `moe-select-kernel-config`, obeyed by everything after it.

    - `isa`: instruction set level.
    - `mr`, `nr`: rows and 16-column tiles of the register block of a GEMM.
    - `kc`: input channels per pass over a weight panel.
    - `prefetch`: distance of the software prefetch of weights in bytes, 0 for
      none.
    - `accumulation`: name of the accumulation class: kernels of one class give
      the same bits for a token whatever else is in the batch.

    Example:
    ```
    #moe.cpu<isa = avx512, mr = 8, nr = 2, kc = 4096, prefetch = 512,
             accumulation = "avx512-f32">
    ```

    - C1. `mr`, `nr` and `kc` are at least 1.
    - C2. `prefetch` is not negative.
    - C3. `accumulation` is not empty.
  }];
  let parameters = (ins
    EnumParameter<Moe_Isa>:$isa,
    "int64_t":$mr, "int64_t":$nr, "int64_t":$kc, "int64_t":$prefetch,
    StringRefParameter<"accumulation class">:$accumulation);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def Moe_GpuConfigAttr : Moe_Attr<"GpuConfig", "gpu"> {
  let summary = "how a GPU kernel is generated for one architecture";
  let description = [{
    Chosen by `moe-select-kernel-config`, obeyed by everything after it.

    - `arch`: architecture as ptxas names it, such as "sm_80" or "sm_90a".
    - `threads`: threads of a block, a multiple of 32.
    - `blocks`: blocks that are meant to share an SM.
    - `n`, `k`: output columns and input channels of a tile of a GEMM; its rows
      are the `tile_rows` of the op.
    - `stages`: depth of the pipeline of asynchronous copies.
    - `accumulation`: name of the accumulation class, see `#moe.cpu`.

    Example:
    ```
    #moe.gpu<arch = "sm_80", threads = 128, blocks = 1, n = 128, k = 64,
             stages = 3, accumulation = "mma-k16">
    ```

    - C1. `arch` is one of sm_80, sm_86, sm_89, sm_90a, sm_100a and sm_120a.
    - C2. `threads` is a multiple of 32 between 32 and 1024.
    - C3. `blocks`, `n`, `k` and `stages` are at least 1.
    - C4. `accumulation` is not empty.
  }];
  let parameters = (ins
    StringRefParameter<"architecture">:$arch,
    "int64_t":$threads, "int64_t":$blocks, "int64_t":$n, "int64_t":$k,
    "int64_t":$stages,
    StringRefParameter<"accumulation class">:$accumulation);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def Moe_WeightEncodingAttr
    : EnumAttr<Moe_Dialect, Moe_WeightEncoding, "encoding"> {
  let description = [{
    The encodings of moert/Format/Plan.fbs; see `moe.weight`.

    Example: `#moe<encoding mxfp4>`
  }];
  let assemblyFormat = "$value";
}

def Moe_ScoreAttr : EnumAttr<Moe_Dialect, Moe_Score, "score"> {
  let description = [{
    What `score` of `#moe.policy` can be.

    Example: `#moe<score sigmoid>`
  }];
  let assemblyFormat = "$value";
}

def Moe_TokenScoreAttr
    : EnumAttr<Moe_Dialect, Moe_TokenScore, "token_score"> {
  let description = [{
    What `moe.choose_tokens` ranks tokens by.

    Example: `#moe<token_score softmax_over_tokens>`
  }];
  let assemblyFormat = "$value";
}

def Moe_DistributionAttr
    : EnumAttr<Moe_Dialect, Moe_Distribution, "distribution"> {
  let description = [{
    What `moe.random` draws from.

    Example: `#moe<distribution gumbel>`
  }];
  let assemblyFormat = "$value";
}

def Moe_IsaAttr : EnumAttr<Moe_Dialect, Moe_Isa, "isa"> {
  let description = [{
    The levels of moert/Format/KernelABI.h, lowest first.

    Example: `#moe.isa<avx512>`
  }];
  let assemblyFormat = "`<` $value `>`";
}

def Moe_DeviceKindAttr : EnumAttr<Moe_Dialect, Moe_DeviceKind, "device"> {
  let description = [{
    The kinds of moert/Format/Plan.fbs.

    Example: `#moe<device cuda>`
  }];
  let assemblyFormat = "$value";
}

def Moe_LayoutAttr : Moe_Attr<"Layout", "layout"> {
  let summary = "physical layout of a constant";
  let description = [{
    `row_major`: the weight as it is. `panels`: the layout that
    moert/Format/Plan.fbs documents for `Layout.Panels`, with `kTile` input
    channels to a tile and `kInner` of them innermost. `rows`: the layout
    `Layout.Rows`, rows padded to a multiple of `kTile` channels.

    Examples:
    ```
    #moe.layout<kind = row_major>
    #moe.layout<kind = panels, kTile = 32, kInner = 2>
    #moe.layout<kind = rows, kTile = 8>
    ```

    - C1. `kTile` and `kInner` are at least 1, and `kInner` divides `kTile`.
    - C2. Both are 1 for `row_major`; `kInner` is 1 for `rows`.
  }];
  let parameters = (ins
    EnumParameter<Moe_LayoutKind>:$kind,
    DefaultValuedParameter<"int64_t", "1">:$kTile,
    DefaultValuedParameter<"int64_t", "1">:$kInner);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

#endif // MOE_DIALECT_MOE_IR_MOEATTRS_TD
