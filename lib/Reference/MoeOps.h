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
#include "moe/Reference/Router.h"

namespace mlir::moe::reference {

/// What `moe.route` and `moe.select_topk` take; absent operands are null.
struct RouterOperands {
  Value logits, bias, resident, random;
  PolicyAttr policy;
};

/// Steps 1 to 9 of the router for all tokens, in order of selection.
FailureOr<std::vector<Selection>>
chooseForAll(Operation *op, const RouterOperands &operands, const Frame &frame);

/// Product keys for all tokens.
FailureOr<std::vector<Selection>> chooseProducts(Operation *op, Value first,
                                                 Value second,
                                                 PolicyAttr policy,
                                                 const Frame &frame);

/// Expert choice for all tokens, by `moe.choose_tokens` or `moe.choose_rows`.
template <typename OpT>
FailureOr<std::vector<Selection>> chooseTokensForAll(OpT op,
                                                     const Frame &frame) {
  FailureOr<Tensor> logits = frame.read(op, op.getLogits());
  if (failed(logits))
    return failure();
  TokenChoice choice;
  choice.score = op.getScore();
  choice.capacity = op.getCapacity();
  choice.average = op.getAverage();
  if (std::optional<APFloat> scale = op.getScale())
    choice.scale = scale->convertToFloat();
  if (std::optional<FloatType> type = op.getRoundWeights())
    choice.roundWeights = *type;
  std::vector<float> values(logits->getNumElements());
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(logits->getFloat(i));
  return chooseTokens(values, logits->getDim(0), logits->getDim(1), choice);
}

/// Ids and weights of all tokens as N x `perToken` tensors.
RouteRecord toTensors(MLIRContext *context, ArrayRef<Selection> selections,
                      int64_t perToken);

/// Logits of rows by the router of their expert; rows behind the last of the
/// offsets get 0.
FailureOr<Tensor> groupedLogits(Operation *op, Value rows, Value weight,
                                ArrayRef<int64_t> expertOffsets,
                                const Frame &frame);

/// A routing from ids (-1: no pair) and weights; MOE0014 for an id that is out
/// of range or repeated within a token.
FailureOr<Routing> buildRouting(Operation *op, Value ids, Value weights,
                                int64_t experts, Frame &frame);

/// The routing in which all tokens of `x` visit all experts.
FailureOr<Routing> buildFullRouting(Operation *op, Value x, Value weights,
                                    int64_t experts, Frame &frame);

/// rows[r] = x[rowToken[r]].
Tensor gatherRows(const Tensor &x, ArrayRef<int64_t> rowToken);

/// rows[r] = x[rowToken[r]] * rowWeight[r] in f32, rounded.
Tensor gatherWeighted(const Tensor &x, ArrayRef<int64_t> rowToken,
                      ArrayRef<float> rowWeight);

/// Rows [begin, end) of a tensor.
Tensor takeRows(const Tensor &rows, int64_t begin, int64_t end);

/// A tensor as f32 values.
std::vector<float> toF32(const Tensor &tensor);

/// The same of a value.
FailureOr<std::vector<float>> readF32(Operation *op, Value value,
                                      const Frame &frame);

/// target[j] = fma(weight, row[j], target[j]) in f32.
void addWeighted(float weight, const Tensor &rows, int64_t row,
                 MutableArrayRef<float> target);

/// f32 values as a tensor of `type`, rounded to it.
Tensor ofF32(Type type, ArrayRef<int64_t> shape, ArrayRef<float> values);

/// E of a list of E+1 offsets; fails when its type does not say.
FailureOr<int64_t> expertsOf(Operation *op, Value offsets);

/// A list of offsets: ascending from 0 to at most `last`.
FailureOr<std::vector<int64_t>> readOffsets(Operation *op, Value value,
                                            int64_t last, const Frame &frame);

/// Defines the five lists that are the results of `op`. A list whose type says
/// a greater length than the routing has is filled up with zeros.
LogicalResult setLists(Operation *op, Frame &frame,
                       const FailureOr<Routing> &routing);

/// Each runs an op of its group, or hands it to the next.
LogicalResult runRouterOp(Operation *op, Frame &frame);
LogicalResult runStatisticsOp(Operation *op, Frame &frame);
LogicalResult runRoutedOp(Operation *op, Frame &frame);
LogicalResult runRoutedRouterOp(Operation *op, Frame &frame);
LogicalResult runRowRegionOp(Operation *op, Frame &frame);

} // namespace mlir::moe::reference

#endif // MOE_LIB_REFERENCE_MOEOPS_H
