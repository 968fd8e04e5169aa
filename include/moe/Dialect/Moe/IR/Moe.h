//===- Moe.h - The moe dialect --------------------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_IR_MOE_H
#define MOE_DIALECT_MOE_IR_MOE_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "moe/Dialect/Moe/IR/MoeDialect.h.inc"
#include "moe/Dialect/Moe/IR/Policy.h"

#define GET_TYPEDEF_CLASSES
#include "moe/Dialect/Moe/IR/MoeTypes.h.inc"

#define GET_ATTRDEF_CLASSES
#include "moe/Dialect/Moe/IR/MoeAttrs.h.inc"

#define GET_OP_CLASSES
#include "moe/Dialect/Moe/IR/MoeOps.h.inc"

namespace mlir::moe {

/// The number of tokens that `routing` is about, as an extent of an operand of
/// the op that made it: an attribute when static, else a new `tensor.dim`.
/// Null when that op is unknown, as for a function argument.
OpFoldResult getNumTokens(OpBuilder &builder, Location loc,
                          TypedValue<RoutingType> routing);

} // namespace mlir::moe

#endif // MOE_DIALECT_MOE_IR_MOE_H
