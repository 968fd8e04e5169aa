//===- MoeOps.h - What graph and routed ops share ---------------*- C++ -*-===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_REFERENCE_MOEOPS_H
#define MOE_LIB_REFERENCE_MOEOPS_H

#include "Frame.h"

namespace mlir::moe::reference {

/// Ids and weights per token, N x k, ascending ids; recorded as a route.
FailureOr<RouteRecord> selectTopK(Operation *op, Value logits, Value bias,
                                  PolicyAttr policy, Frame &frame);

/// A routing from ids and weights; MOE0014 for an id that is out of range or
/// repeated within a token.
FailureOr<Routing> buildRouting(Operation *op, Value ids, Value weights,
                                int64_t experts, Frame &frame);

/// The routing in which all tokens of `x` visit all experts.
FailureOr<Routing> buildFullRouting(Operation *op, Value x, Value weights,
                                    int64_t experts, Frame &frame);

/// rows[r] = x[rowToken[r]].
Tensor gatherRows(const Tensor &x, ArrayRef<int64_t> rowToken);

/// Rows [begin, end) of a tensor.
Tensor takeRows(const Tensor &rows, int64_t begin, int64_t end);

/// A tensor as f32 values.
std::vector<float> toF32(const Tensor &tensor);

/// target[j] = fma(weight, row[j], target[j]) in f32.
void addWeighted(float weight, const Tensor &rows, int64_t row,
                 MutableArrayRef<float> target);

/// f32 values as a tensor of `type`, rounded to it.
Tensor ofF32(Type type, ArrayRef<int64_t> shape, ArrayRef<float> values);

/// Runs an op of the routed level.
LogicalResult runRoutedOp(Operation *op, Frame &frame);

} // namespace mlir::moe::reference

#endif // MOE_LIB_REFERENCE_MOEOPS_H
