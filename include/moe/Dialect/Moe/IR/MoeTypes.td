//===- MoeTypes.td - Types of the moe dialect -----------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_IR_MOETYPES_TD
#define MOE_DIALECT_MOE_IR_MOETYPES_TD

include "mlir/IR/AttrTypeBase.td"
include "moe/Dialect/Moe/IR/MoeBase.td"

def Moe_RoutingType : Moe_Type<"Routing", "routing"> {
  let summary = "which experts each token visits, and with what weight";
  let description = [{
    A list of (token, expert, weight) triples over a number N of tokens known at
    run time, with at most `per_token` triples for one token. Altogether there
    are at most `rows` * N + `extra` triples; `rows` is `per_token` and `extra`
    0 where they are not given. It lowers to index lists in both directions; see
    `moe.group_rows`.

    Examples:
    ```
    !moe.routing<experts = 8, per_token = 2>
    !moe.routing<experts = 8, per_token = 8, rows = 2, extra = 32>
    ```

    - C1. `experts` >= 1.
    - C2. 1 <= `per_token` <= `experts`.
    - C3. 0 <= `rows` <= `per_token`, `extra` >= 0, and one of them is not 0.
  }];
  let parameters = (ins
    "int64_t":$experts, "int64_t":$perToken, "int64_t":$rows, "int64_t":$extra);
  let builders = [
    TypeBuilder<(ins "int64_t":$experts, "int64_t":$perToken), [{
      return $_get($_ctxt, experts, perToken, perToken, 0);
    }]>
  ];
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

#endif // MOE_DIALECT_MOE_IR_MOETYPES_TD
