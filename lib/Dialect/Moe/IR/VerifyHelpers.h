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

/// Fails unless `policy` can choose among `experts` experts, the null ones
/// among them.
/// \param topKLabel    constraint of `top_k` against the number of experts
/// \param groupsLabel  constraint of the groups
LogicalResult verifyPolicyFits(Operation *op, StringRef topKLabel,
                               StringRef groupsLabel, PolicyAttr policy,
                               int64_t experts);

/// Fails unless a policy has the operands that its clauses need, and only
/// these: `prefer` comes with `resident`, `keep = random` with `random`.
LogicalResult verifyPolicyOperands(Operation *op, StringRef residentLabel,
                                   StringRef randomLabel, PolicyAttr policy,
                                   Value resident, Value random);

/// Fails unless the bias of a policy is one value for each column of `logits`,
/// or for each of its elements. Null is no bias.
LogicalResult verifyBias(Operation *op, StringRef label, PolicyAttr policy,
                         Value logits, Value bias);

/// Fails unless `policy` is one for pairs of two lists (moe.route_products).
LogicalResult verifyProductPolicy(Operation *op, StringRef label,
                                  PolicyAttr policy);

/// Fails when a routing promises fewer rows than any of its tokens may have.
LogicalResult verifyAllRows(Operation *op, StringRef label,
                            RoutingType routing);

/// Fails when one of the named sizes is less than 1.
LogicalResult verifySizes(Operation *op, StringRef label,
                          ArrayRef<std::pair<StringRef, int64_t>> sizes);

/// Fails when the flat buffer has a static length other than `length`. Null
/// passes.
LogicalResult verifyLength(Operation *op, StringRef label, StringRef name,
                           Value buffer, int64_t length);

/// Fails unless a worklist and the rows of its tiles are given together.
LogicalResult verifyWorklist(Operation *op, StringRef label, Value worklist,
                             std::optional<int64_t> tileRows);

/// Fails unless `inside` is a static tensor of the element type of the flat
/// buffer `outside`, and a single row where `row` is set.
LogicalResult verifyMapped(Operation *op, StringRef label, StringRef what,
                           Type inside, Type outside, bool row);

/// Whether `type` is a tensor whose extents after the leading one are static
/// and whose leading one agrees with `rows`, which is set when it is known.
bool isRowsOf(Type type, int64_t &rows);

/// Fails unless the lists of a routing of `tokens` tokens with `perToken`
/// pairs each (kDynamic: unknown) have lengths that fit each other.
template <typename OpT>
LogicalResult verifyLists(OpT op, StringRef label, int64_t tokens,
                          int64_t perToken) {
  int64_t pairs = ShapedType::kDynamic;
  if (!ShapedType::isDynamic(tokens) && !ShapedType::isDynamic(perToken))
    pairs = tokens * perToken;
  for (Value list : {op.getRowToken(), op.getRowWeight(), op.getTokenRows()}) {
    int64_t length = extent(list, 0);
    if (!agree(length, pairs))
      return op.emitOpError()
             << label << ": lists over pairs must have one length, "
             << "got " << op.getRowToken().getType() << ", "
             << op.getRowWeight().getType() << " and "
             << op.getTokenRows().getType();
    if (!ShapedType::isDynamic(length))
      pairs = length;
  }
  int64_t offsets = extent(op.getTokenOffsets(), 0);
  if (!ShapedType::isDynamic(tokens) && !agree(offsets, tokens + 1))
    return op.emitOpError()
           << label << ": token_offsets must have " << tokens + 1
           << " elements, got " << op.getTokenOffsets().getType();
  return success();
}

/// Fails unless `region` is one block that takes `count` values of f32 and
/// yields one.
LogicalResult verifyActivation(Operation *op, StringRef label, Region &region,
                               int64_t count);

/// "bf16 or f16" for the attribute `round` of the router.
LogicalResult verifyRound(Operation *op, StringRef label,
                          std::optional<Type> round);

/// Fails unless the epsilon of cosine logits is finite and not negative.
LogicalResult verifyCosine(Operation *op, StringRef label,
                           std::optional<APFloat> cosine);

/// Fails unless a factor of weights, when given, is finite and not zero.
LogicalResult verifyScale(Operation *op, StringRef label,
                          std::optional<APFloat> scale);

} // namespace mlir::moe::detail

#endif // MOE_LIB_DIALECT_MOE_IR_VERIFYHELPERS_H
