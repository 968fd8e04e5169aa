//===- VerifyHelpers.cpp - What the verifiers of the dialect share --------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "VerifyHelpers.h"

using namespace mlir;
using namespace mlir::moe;

LogicalResult moe::detail::verifySameRows(Operation *op, StringRef label,
                                          Value a, StringRef aName, Value b,
                                          StringRef bName) {
  if (ShapedType::isDynamic(extent(a, 1)))
    return op->emitOpError() << label << ": the row length of " << aName
                             << " must be static, got " << a.getType();
  if (extent(a, 1) != extent(b, 1) || elementType(a) != elementType(b))
    return op->emitOpError()
           << label << ": " << bName << " is " << b.getType()
           << ", but rows of " << aName << " have " << extent(a, 1)
           << " elements of " << elementType(a);
  return success();
}

LogicalResult moe::detail::verifyPolicyFits(Operation *op, StringRef topKLabel,
                                            StringRef groupsLabel,
                                            PolicyAttr policy,
                                            int64_t experts) {
  int64_t topK = policy.getTopK();
  if (topK > experts)
    return op->emitOpError() << topKLabel << ": top_k = " << topK
                             << " exceeds the number of experts " << experts;
  if (policy.getGroupFilter() == GroupFilter::None)
    return success();
  int64_t groups = policy.getGroups(), keep = policy.getKeepGroups();
  if (experts % groups)
    return op->emitOpError()
           << groupsLabel << ": " << experts << " experts do not divide into "
           << groups << " groups";
  int64_t size = experts / groups;
  if (keep * size < topK)
    return op->emitOpError()
           << groupsLabel << ": " << keep << " groups of " << size
           << " experts hold fewer than top_k = " << topK;
  if (policy.getGroupFilter() == GroupFilter::Top2Sum && size < 2)
    return op->emitOpError() << groupsLabel
                             << ": 'by top2_sum' needs at least two experts "
                                "per group, got "
                             << size;
  return success();
}

LogicalResult moe::detail::verifyActivation(Operation *op, StringRef label,
                                            Region &region, int64_t count) {
  Block &block = region.front();
  if (block.getNumArguments() != count ||
      !llvm::all_of(block.getArgumentTypes(),
                    [](Type type) { return type.isF32(); }))
    return op->emitOpError()
           << label << ": the region must take " << count
           << " values of f32, got (" << block.getArgumentTypes() << ")";
  auto yielded = block.getTerminator()->getOperandTypes();
  if (yielded.size() != 1 || !yielded[0].isF32())
    return op->emitOpError()
           << label << ": the region must yield one f32, got (" << yielded
           << ")";
  return success();
}

LogicalResult moe::detail::verifyRound(Operation *op, StringRef label,
                                       std::optional<Type> round) {
  if (round && !isNarrowFloat(*round))
    return op->emitOpError()
           << label << ": round must be bf16 or f16, got " << *round;
  return success();
}
