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

namespace mlir::moe {

/// A feed-forward expert: `last(round(activation(parts[i](x) ...)))`.
struct ExpertFfn {
  /// Numbers of the weights (operands of the experts op) of the first one or
  /// two products, and of the last.
  SmallVector<unsigned> parts;
  unsigned last;
  /// The tensor that the activation ends in, i.e. the left side of the last
  /// product.
  Value hidden;
  /// Results of the first products, in the order of `parts`.
  SmallVector<Value> products;
};

/// Matches the body of `op`; on failure `why` says what does not fit.
FailureOr<ExpertFfn> matchExpertFfn(ExpertsOp op, std::string &why);

/// Rebuilds the activation of a matched body on scalars: block arguments are
/// the products in f32; yields the value before it is rounded to the element
/// type of `hidden`. `matchExpertFfn` has checked that this works.
void buildActivation(const ExpertFfn &ffn, Region &region, OpBuilder &builder);

} // namespace mlir::moe

#endif // MOE_LIB_DIALECT_MOE_TRANSFORMS_MATCHEXPERTFFN_H
