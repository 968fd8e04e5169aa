//===- Plan.h - The plan dialect ------------------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_PLAN_IR_PLAN_H
#define MOE_DIALECT_PLAN_IR_PLAN_H

#include "moe/Dialect/Moe/IR/Moe.h"

#include "moe/Dialect/Plan/IR/PlanDialect.h.inc"

#define GET_TYPEDEF_CLASSES
#include "moe/Dialect/Plan/IR/PlanTypes.h.inc"

#define GET_OP_CLASSES
#include "moe/Dialect/Plan/IR/PlanOps.h.inc"

#endif // MOE_DIALECT_PLAN_IR_PLAN_H
