//===- VerifyHelpers.h - What the verifiers of the dialect share ----------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_DIALECT_MOE_IR_VERIFYHELPERS_H
#define MOE_LIB_DIALECT_MOE_IR_VERIFYHELPERS_H

#include "moe/Dialect/Moe/IR/Moe.h"

namespace mlir::moe::detail {

/// Whether two extents can be the same at run time.
inline bool agree(int64_t a, int64_t b) {
  return ShapedType::isDynamic(a) || ShapedType::isDynamic(b) || a == b;
}

/// Extent of a dimension of a shaped value.
inline int64_t extent(Value value, unsigned dim) {
  return cast<ShapedType>(value.getType()).getDimSize(dim);
}

inline Type elementType(Value value) {
  return cast<ShapedType>(value.getType()).getElementType();
}

/// The type without its leading dimension.
inline RankedTensorType dropLeading(RankedTensorType type) {
  return RankedTensorType::get(type.getShape().drop_front(),
                               type.getElementType(), type.getEncoding());
}

/// The type of one row: leading dimension 1.
inline RankedTensorType singleRow(RankedTensorType type) {
  SmallVector<int64_t> shape(type.getShape());
  shape[0] = 1;
  return RankedTensorType::get(shape, type.getElementType(),
                               type.getEncoding());
}

inline bool isNarrowFloat(Type type) { return type.isBF16() || type.isF16(); }
inline bool isWeightFloat(Type type) { return type.isF32() || type.isBF16(); }

/// Fails unless the values named by `what` have one row length and element
/// type, and the row length is static.
LogicalResult verifySameRows(Operation *op, StringRef label, Value a,
                             StringRef aName, Value b, StringRef bName);

/// Fails unless `policy` can choose among `experts` experts.
/// \param topKLabel    constraint of `top_k` against the number of experts
/// \param groupsLabel  constraint of the groups
LogicalResult verifyPolicyFits(Operation *op, StringRef topKLabel,
                               StringRef groupsLabel, PolicyAttr policy,
                               int64_t experts);

/// Fails unless `region` is one block that takes `count` values of f32 and
/// yields one.
LogicalResult verifyActivation(Operation *op, StringRef label, Region &region,
                               int64_t count);

/// "bf16 or f16" for the attribute `round` of the router.
LogicalResult verifyRound(Operation *op, StringRef label,
                          std::optional<Type> round);

} // namespace mlir::moe::detail

#endif // MOE_LIB_DIALECT_MOE_IR_VERIFYHELPERS_H
