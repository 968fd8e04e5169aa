//===- MatchExpertFfn.h - Recognises feed-forward experts -----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_DIALECT_MOE_TRANSFORMS_MATCHEXPERTFFN_H
#define MOE_LIB_DIALECT_MOE_TRANSFORMS_MATCHEXPERTFFN_H

#include "moe/Dialect/Moe/IR/Moe.h"

#include <memory>

namespace mlir::moe {

/// A feed-forward expert: `last(round(activation(parts[i](x) ...)))`, where
/// `parts` and `last` are products with weights, plus a bias when there are
/// `biases`.
struct ExpertFfn {
  /// Numbers of the weights (operands of the experts op) of the first one or
  /// two products, and of the last.
  SmallVector<unsigned> parts;
  unsigned last;
  /// Numbers of the biases of the first products and of the last, or none.
  SmallVector<unsigned> biases;
  /// The activation on scalars: block arguments are the first products in f32;
  /// yields the value before it is rounded to the element type of the rows.
  std::unique_ptr<Region> activation;
};

/// Matches the body of `op`; on failure `why` says what does not fit.
FailureOr<ExpertFfn> matchExpertFfn(ExpertsOp op, std::string &why);

} // namespace mlir::moe

#endif // MOE_LIB_DIALECT_MOE_TRANSFORMS_MATCHEXPERTFFN_H
