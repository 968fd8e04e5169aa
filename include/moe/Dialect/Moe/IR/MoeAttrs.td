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

def Moe_PolicyAttr : Moe_Attr<"Policy", "policy"> {
  let summary = "how a token chooses experts from its router logits";
  let description = [{
    The cross product of the choices that routers make; docs/Numerics.md
    ("Router") specifies each step bit for bit. Written as a list of clauses,
    of which only `top_k` is required:

    ```
    #moe.policy<score = sigmoid, groups = 8 keep 4 by top2_sum, top_k = 8,
                normalize epsilon 1.0e-20, scale = 2.5, round_weights = bf16>
    ```

    - `score = none | softmax | sigmoid` (default softmax): logits to scores.
    - `groups = G keep K by max | top2_sum`: only experts of the K best of G
      equal groups can be chosen.
    - `top_k = k`: experts per token.
    - `weights = scores | softmax` (default scores): the weight of a chosen
      expert is its score, or the softmax over the chosen logits.
    - `normalize [epsilon x]`: weights are divided by their sum (plus x).
    - `scale = x`: then multiplied by x.
    - `round_weights = bf16 | f16`: then rounded to that type.

    A selection bias is an operand of `moe.route`, not part of the policy.
    Numbers are `f32`. Each clause may be given once, in any order.

    - C1. `top_k` >= 1.
    - C2. With groups: 1 <= K < G.
    - C3. `weights = softmax` excludes `score = sigmoid` and `normalize`, which
        would contradict it or change nothing.
    - C4. `scale` is finite and not zero; `epsilon` is finite and >= 0, and
        given only with `normalize`.
    - C5. `round_weights` is bf16 or f16.

    What depends on the number of experts is checked where the policy is used;
    see `moe.route`.
  }];
  let parameters = (ins
    EnumParameter<Moe_Score>:$score,
    "int64_t":$topK,
    "int64_t":$groups,
    "int64_t":$keepGroups,
    EnumParameter<Moe_GroupFilter>:$groupFilter,
    EnumParameter<Moe_WeightSource>:$weightSource,
    "bool":$normalize,
    "::llvm::APFloat":$epsilon,
    "::llvm::APFloat":$scale,
    "::mlir::Type":$roundWeights);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
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

    Example: `#moe.device<cuda>`
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
