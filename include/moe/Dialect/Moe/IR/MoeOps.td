//===- MoeOps.td - Umbrella of the moe dialect ----------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_IR_MOEOPS_TD
#define MOE_DIALECT_MOE_IR_MOEOPS_TD

include "moe/Dialect/Moe/IR/MoeGraphOps.td"
include "moe/Dialect/Moe/IR/MoeRouterOps.td"
include "moe/Dialect/Moe/IR/MoeStatisticsOps.td"
include "moe/Dialect/Moe/IR/MoeRoutedOps.td"
include "moe/Dialect/Moe/IR/MoeKernelOps.td"
include "moe/Dialect/Moe/IR/MoeRouterKernelOps.td"

#endif // MOE_DIALECT_MOE_IR_MOEOPS_TD
