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
    A list of (token, expert, weight) triples over a number of tokens known at
    run time, with at most `per_token` triples for one token (the static bound
    on its size). It lowers to index lists in both directions; see
    `moe.group_rows`.

    Example: `!moe.routing<experts = 8, per_token = 2>`

    - C1. `experts` >= 1.
    - C2. 1 <= `per_token` <= `experts`.
  }];
  let parameters = (ins "int64_t":$experts, "int64_t":$perToken);
  let assemblyFormat = [{
    `<` `experts` `=` $experts `,` `per_token` `=` $perToken `>`
  }];
  let genVerifyDecl = 1;
}

#endif // MOE_DIALECT_MOE_IR_MOETYPES_TD
