//===- RowCloner.h - Token-wise code on a single row ----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_DIALECT_MOE_TRANSFORMS_ROWCLONER_H
#define MOE_LIB_DIALECT_MOE_TRANSFORMS_ROWCLONER_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/IRMapping.h"

namespace mlir::moe {

/// A tensor with one row per token or pair: the first dimension is dynamic,
/// the others are static.
bool isRowTensor(Type type);

/// The type of a single row: the first dimension becomes 1. Other types stay.
Type getRowType(Type type);

/// Clones tensor code so that it computes one row instead of all of them. This
/// is possible exactly when the code is row-wise: row i of every result depends
/// on row i of row tensors and on nothing else of them.
class RowCloner {
public:
  explicit RowCloner(OpBuilder &builder) : builder(builder) {}

  /// From values of the original code to those of a single row.
  IRMapping mapping;

  /// Clones one op whose operands are mapped already. On failure nothing is
  /// emitted and `why` explains what is not row-wise.
  LogicalResult clone(Operation *op, std::string &why);

private:
  OpBuilder &builder;
};

/// Whether buffers of the plan can have elements of this type: bytes are whole,
/// kernels exchange no i1 and no index.
inline bool isStorable(Type type) {
  return type.isF32() || type.isBF16() || type.isF16() || type.isInteger(64) ||
         type.isInteger(32) || type.isInteger(8);
}

} // namespace mlir::moe

#endif // MOE_LIB_DIALECT_MOE_TRANSFORMS_ROWCLONER_H
