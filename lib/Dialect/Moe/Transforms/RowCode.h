//===- RowCode.h - Builds the code of one row -------------------*- C++ -*-===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_DIALECT_MOE_TRANSFORMS_ROWCODE_H
#define MOE_LIB_DIALECT_MOE_TRANSFORMS_ROWCODE_H

#include "moe/Dialect/Moe/IR/Moe.h"

#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::moe {

/// Builds linalg and arith ops on static tensors, for the regions of
/// `moe.fold_rows` and `moe.map_rows`.
class RowCode : public ImplicitLocOpBuilder {
public:
  using ImplicitLocOpBuilder::ImplicitLocOpBuilder;
  using Body = function_ref<Value(RowCode &, ValueRange)>;

  Value f32(float value);
  Value i32(int64_t value);
  Value i64(int64_t value);
  /// An element of a tensor, at the same index in all dimensions but the last.
  Value at(Value tensor, int64_t column = 0);
  /// A tensor of rank 1.
  Value tensorOf(ValueRange elements);

  /// A tensor of `type` with `body` of the elements of `inputs` in it. Inputs
  /// are broadcast: dimensions are aligned from the right, those of extent 1
  /// repeated.
  Value map(RankedTensorType type, ValueRange inputs, Body body);
  /// Of tensors 1 x n: `combine` of `init` and all `body` of their elements.
  Value reduce(ValueRange inputs, Value init, Body body, Body combine);
  Value sum(Value row);

  /// A router's score of logits 1 x E.
  Value scores(Score score, Value logits);
  Value softmax(Value logits);
  /// `row` (1 x E) plus, for each of `ids` (1 x k) that is the number of the
  /// column, what `body` makes of the elements of `inputs` (1 x k).
  Value addAt(Value row, Value ids, ValueRange inputs, Body body);
};

/// A `moe.fold_rows` whose region `body` builds, from the rows, the invariants
/// and what it yielded for the row before; it returns what to yield.
FoldRowsOp createFold(
    OpBuilder &b, Location loc, TypeRange results, ValueRange rows,
    ValueRange invariants, ArrayRef<double> inits,
    function_ref<SmallVector<Value>(RowCode &, ValueRange rows,
                                    ValueRange invariants, ValueRange last)>
        body);

/// The last step of a statistic: a `moe.fold_rows` over the one row of `row`.
Value createOnce(
    OpBuilder &b, Location loc, RankedTensorType result, Value row,
    ValueRange invariants,
    function_ref<Value(RowCode &, Value row, ValueRange invariants)> body);

} // namespace mlir::moe

#endif // MOE_LIB_DIALECT_MOE_TRANSFORMS_ROWCODE_H
