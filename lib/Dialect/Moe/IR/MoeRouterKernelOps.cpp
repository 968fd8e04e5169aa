//===- MoeRouterKernelOps.cpp - Verifiers of kernel ops of routers --------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "VerifyHelpers.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::detail;

LogicalResult KernelApplyCapacityOp::verify() {
  if (failed(verifySizes(*this, "C1", {{"experts", getExperts()}})))
    return failure();
  if (!getPolicy().getCapacity())
    return emitOpError() << "C1: the policy has no capacity";
  return verifyLength(*this, "C1", "dropped", getDropped(), getExperts());
}

LogicalResult KernelSelectProductsOp::verify() {
  int64_t topK = getPolicy().getTopK();
  int64_t a = getFirstSize(), b = getSecondSize();
  if (topK > a || topK > b)
    return emitOpError() << "C1: top_k = " << topK << " exceeds " << a << " or "
                         << b << " candidates";
  return success();
}

LogicalResult KernelChooseRowsOp::verify() {
  if (failed(verifySizes(*this, "C1", {{"experts", getExperts()}})))
    return failure();
  return verifyLength(*this, "C1", "expert_offsets", getExpertOffsets(),
                      getExperts() + 1);
}

LogicalResult KernelSliceRowsOp::verify() {
  int64_t begin = getBegin(), end = getEnd();
  if (begin < 0 || begin >= end)
    return emitOpError() << "C1: expected 0 <= begin < end, got " << begin
                         << " and " << end;
  if (failed(verifyLength(*this, "C1", "expert_offsets", getExpertOffsets(),
                          end - begin + 1)))
    return failure();
  return verifyWorklist(*this, "C2", getWorklist(), getTileRows());
}

LogicalResult KernelRowLogitsOp::verify() {
  int64_t experts = getExperts(), inner = getInnerExperts();
  int64_t hidden = getHidden();
  if (failed(verifySizes(*this, "C1",
                         {{"experts", experts},
                          {"inner_experts", inner},
                          {"hidden", hidden}})) ||
      failed(verifyLength(*this, "C1", "weight", getWeight(),
                          experts * inner * hidden)))
    return failure();
  return verifyLength(*this, "C1", "expert_offsets", getExpertOffsets(),
                      experts + 1);
}

LogicalResult KernelNestIdsOp::verify() {
  if (failed(verifySizes(
          *this, "C1",
          {{"experts", getExperts()},
           {"inner_experts", static_cast<int64_t>(getInnerExperts())},
           {"per_token", static_cast<int64_t>(getPerToken())}})))
    return failure();
  return verifyLength(*this, "C1", "expert_offsets", getExpertOffsets(),
                      getExperts() + 1);
}

LogicalResult KernelCountIdsOp::verify() {
  if (failed(verifySizes(*this, "C1",
                         {{"experts", getExperts()},
                          {"per_token", static_cast<int64_t>(getPerToken())}})))
    return failure();
  return verifyLength(*this, "C1", "counts", getCounts(), getExperts());
}

LogicalResult KernelRandomOp::verify() {
  if (failed(verifySizes(*this, "C1",
                         {{"columns", static_cast<int64_t>(getColumns())}})))
    return failure();
  if (getStream() >= 65536)
    return emitOpError() << "C1: expected 0 <= stream < 65536, got "
                         << static_cast<int64_t>(getStream());
  return verifyLength(*this, "C1", "seed", getSeed(), 1);
}

LogicalResult KernelLookupRowsOp::verify() {
  int64_t size = getSize(), columns = getColumns();
  if (failed(
          verifySizes(*this, "C1", {{"size", size}, {"columns", columns}})) ||
      failed(verifyLength(*this, "C1", "table", getTable(), size * columns)))
    return failure();
  if (elementType(getTable()) != elementType(getOut()))
    return emitOpError() << "C2: table and out must have one element type, got "
                         << elementType(getTable()) << " and "
                         << elementType(getOut());
  return success();
}

LogicalResult KernelFoldRowsOp::verify() {
  Block &block = getBody().front();
  SmallVector<Type> buffers(getRows().getTypes());
  llvm::append_range(buffers, getInvariants().getTypes());
  llvm::append_range(buffers, getOuts().getTypes());
  if (getRows().empty() || block.getNumArguments() != buffers.size() + 1)
    return emitOpError() << "C1: expected at least one of rows and a block "
                            "argument for the row's number and each of "
                         << buffers.size() << " buffers, got "
                         << block.getNumArguments();
  SmallVector<Type> typeList(block.getArgumentTypes());
  ArrayRef<Type> types(typeList);
  if (!types.front().isIndex())
    return emitOpError() << "C1: block argument 0 must be an index, got "
                         << types.front();
  for (auto [i, type, buffer] : llvm::enumerate(types.drop_front(), buffers))
    if (failed(verifyMapped(*this, "C1",
                            "block argument " + std::to_string(i + 1), type,
                            buffer, i < getRows().size())))
      return failure();

  auto yielded = block.getTerminator()->getOperandTypes();
  auto carried = types.take_back(getOuts().size());
  if (!llvm::equal(yielded, carried))
    return emitOpError() << "C2: the region must yield (" << carried
                         << "), got (" << yielded << ")";
  if (getInits().size() != getOuts().size())
    return emitOpError() << "C3: expected one init for each of "
                         << getOuts().size() << " outs, got "
                         << getInits().size();
  return success();
}
