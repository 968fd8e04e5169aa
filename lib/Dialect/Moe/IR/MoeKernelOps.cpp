//===- MoeKernelOps.cpp - Verifiers of kernel-level ops -------------------===//
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

static LogicalResult verifyWeightType(Operation *op, StringRef label,
                                      Type type) {
  if (!isWeightFloat(type))
    return op->emitOpError()
           << label << ": weight_type must be f32 or bf16, got " << type;
  return success();
}

LogicalResult KernelRouterLogitsOp::verify() {
  int64_t experts = getExperts(), hidden = getHidden();
  if (failed(verifySizes(*this, "C1",
                         {{"experts", experts}, {"hidden", hidden}})) ||
      failed(
          verifyLength(*this, "C2", "weight", getWeight(), experts * hidden)) ||
      failed(verifyLength(*this, "C2", "bias", getBias(), experts)))
    return failure();
  if (failed(verifyRound(*this, "C3", getRound())))
    return failure();
  return verifyCosine(*this, "C4", getCosine());
}

LogicalResult KernelSelectTopkOp::verify() {
  int64_t experts = getExperts();
  if (failed(verifySizes(*this, "C1", {{"experts", experts}})) ||
      failed(verifyPolicyFits(*this, "C2", "C2", getPolicy(), experts)))
    return failure();
  if (getPolicy().getPolicy().biasAfterFirst && !getBias())
    return emitOpError() << "C3: 'bias_after_first' needs a bias";
  if (getBiasPerToken() && !getBias())
    return emitOpError() << "C3: bias_per_token needs a bias";
  if (!getBiasPerToken() &&
      failed(verifyLength(*this, "C3", "bias", getBias(), experts)))
    return failure();
  if (failed(verifyPolicyOperands(*this, "C4", "C4", getPolicy(), getResident(),
                                  getRandom())))
    return failure();
  return verifyLength(*this, "C4", "resident", getResident(), experts);
}

LogicalResult KernelGroupRowsOp::verify() {
  int64_t experts = getExperts(), perToken = getPerToken();
  if (perToken < 1 || perToken > experts)
    return emitOpError() << "C1: per_token must lie between 1 and the number "
                            "of experts "
                         << experts << ", got " << perToken;
  if (failed(verifyLength(*this, "C2", "expert_offsets", getExpertOffsets(),
                          experts + 1)))
    return failure();
  return verifyWorklist(*this, "C3", getWorklist(), getTileRows());
}

LogicalResult KernelRouteRowsOp::verify() {
  int64_t experts = getExperts();
  if (failed(verifySizes(*this, "C1", {{"experts", experts}})) ||
      failed(verifyPolicyFits(*this, "C2", "C2", getPolicy(), experts)) ||
      failed(verifyLength(*this, "C3", "bias", getBias(), experts)) ||
      failed(verifyLength(*this, "C4", "expert_offsets", getExpertOffsets(),
                          experts + 1)))
    return failure();
  return verifyWorklist(*this, "C5", getWorklist(), getTileRows());
}

LogicalResult KernelAllRowsOp::verify() {
  if (failed(verifySizes(*this, "C1", {{"experts", getExperts()}})) ||
      failed(verifyLength(*this, "C2", "expert_offsets", getExpertOffsets(),
                          getExperts() + 1)))
    return failure();
  return verifyWorklist(*this, "C3", getWorklist(), getTileRows());
}

LogicalResult KernelGatherRowsOp::verify() {
  if (failed(verifySizes(*this, "C1",
                         {{"experts", getExperts()}, {"hidden", getHidden()}})))
    return failure();
  if (failed(verifyLength(*this, "C2", "expert_offsets", getExpertOffsets(),
                          getExperts() + 1)))
    return failure();
  if (elementType(getX()) != elementType(getRows()))
    return emitOpError() << "C3: x and rows must have one element type, got "
                         << elementType(getX()) << " and "
                         << elementType(getRows());
  return success();
}

LogicalResult KernelPackRowsOp::verify() {
  if (failed(verifySizes(*this, "C1",
                         {{"experts", getExperts()}, {"hidden", getHidden()}})))
    return failure();
  if (failed(verifyLength(*this, "C2", "expert_offsets", getExpertOffsets(),
                          getExperts() + 1)))
    return failure();
  return verifyWeightType(*this, "C3", getWeightType());
}

LogicalResult KernelGroupedGemmOp::verify() {
  int64_t parts = getParts();
  if (failed(verifySizes(
          *this, "C1",
          {{"experts", getExperts()}, {"n", getN()}, {"k", getK()}})))
    return failure();
  if (parts < 1 || parts > 2)
    return emitOpError() << "C1: parts must be 1 or 2, got " << parts;
  if (failed(verifyLength(*this, "C2", "expert_offsets", getExpertOffsets(),
                          getExperts() + 1)) ||
      failed(verifyWeightType(*this, "C3", getWeightType())))
    return failure();
  Type rowType = getRowType();
  if (!rowType.isF32() && !isNarrowFloat(rowType))
    return emitOpError() << "C3: row_type must be f32, bf16 or f16, got "
                         << rowType;
  if (!getBiases().empty() && getBiases().size() != static_cast<size_t>(parts))
    return emitOpError() << "C6: expected " << parts << " biases or none, got "
                         << getBiases().size();
  for (Value bias : getBiases())
    if (failed(
            verifyLength(*this, "C6", "a bias", bias, getExperts() * getN())))
      return failure();
  Type out = elementType(getOut());
  if (hasActivation()) {
    if (!out.isInteger(8))
      return emitOpError() << "C4: with an activation out must be i8, got "
                           << getOut().getType();
    return verifyActivation(*this, "C4", getActivation(), parts);
  }
  if (!getActivation().empty() &&
      !llvm::hasSingleElement(getActivation().front()))
    return emitOpError() << "C4: the region must take " << parts
                         << " values of f32, got ()";
  if (parts != 1)
    return emitOpError() << "C5: without an activation parts must be 1, got "
                         << parts;
  if (out != rowType)
    return emitOpError() << "C5: without an activation out must be of "
                            "row_type "
                         << rowType << ", got " << getOut().getType();
  return success();
}

LogicalResult KernelRaggedGemmOp::verify() {
  int64_t parts = getParts(), tileRows = getTileRows();
  if (failed(verifySizes(*this, "C1",
                         {{"experts", getExperts()},
                          {"n", getN()},
                          {"k", getK()},
                          {"tile_rows", tileRows}})))
    return failure();
  if (parts < 1 || parts > 2)
    return emitOpError() << "C1: parts must be 1 or 2, got " << parts;
  Type type = getWeightType();
  if (elementType(getX()) != type || elementType(getOut()) != type)
    return emitOpError() << "C2: x and out must be of weight_type " << type
                         << ", got " << getX().getType() << " and "
                         << getOut().getType();
  if (hasActivation())
    return verifyActivation(*this, "C3", getActivation(), parts);
  if (!getActivation().empty() &&
      !llvm::hasSingleElement(getActivation().front()))
    return emitOpError() << "C3: the region must take " << parts
                         << " values of f32, got ()";
  if (parts != 1)
    return emitOpError() << "C4: without an activation parts must be 1, got "
                         << parts;
  return success();
}

LogicalResult KernelCombineRowsOp::verify() {
  size_t segments = getRows().size();
  if (segments == 0 || getTokenOffsets().size() != segments ||
      getTokenRows().size() != segments || getRowWeight().size() != segments)
    return emitOpError() << "C1: expected at least one of rows and as many of "
                            "each list, got "
                         << segments << " rows, " << getTokenOffsets().size()
                         << " offsets, " << getTokenRows().size()
                         << " indices and " << getRowWeight().size()
                         << " weights";
  if (getUnweighted() && getUnweighted()->size() != segments)
    return emitOpError() << "C1: unweighted must have " << segments
                         << " elements, got " << getUnweighted()->size();
  if (failed(verifySizes(*this, "C2", {{"hidden", getHidden()}})))
    return failure();
  for (Value rows : getRows())
    if (elementType(rows) != elementType(getOut()))
      return emitOpError() << "C3: rows and out must have one element type, "
                              "got "
                           << elementType(rows) << " and "
                           << elementType(getOut());
  return success();
}

LogicalResult KernelCountRowsOp::verify() {
  if (failed(verifySizes(*this, "C1", {{"experts", getExperts()}})) ||
      failed(verifyLength(*this, "C2", "expert_offsets", getExpertOffsets(),
                          getExperts() + 1)))
    return failure();
  return verifyLength(*this, "C2", "counts", getCounts(), getExperts());
}

LogicalResult KernelMapRowsOp::verify() {
  Block &block = getBody().front();
  SmallVector<Type> buffers(getRows().getTypes());
  llvm::append_range(buffers, getExpertWeights().getTypes());
  llvm::append_range(buffers, getInvariants().getTypes());
  if (getRows().empty() || block.getNumArguments() != buffers.size())
    return emitOpError() << "C1: expected at least one of rows and a block "
                            "argument for each of "
                         << buffers.size() << " buffers, got "
                         << block.getNumArguments();
  for (auto [i, type, buffer] :
       llvm::enumerate(block.getArgumentTypes(), buffers))
    if (failed(verifyMapped(*this, "C1", "block argument " + std::to_string(i),
                            type, buffer, i < getRows().size())))
      return failure();

  auto yielded = block.getTerminator()->getOperandTypes();
  if (yielded.size() != getOuts().size())
    return emitOpError() << "C2: expected a yielded value for each of "
                         << getOuts().size() << " outs, got " << yielded.size();
  for (auto [i, type, buffer] : llvm::enumerate(yielded, getOuts().getTypes()))
    if (failed(verifyMapped(*this, "C2", "yielded value " + std::to_string(i),
                            type, buffer, /*row=*/true)))
      return failure();

  if (!getExpertOffsets()) {
    if (!getExpertWeights().empty())
      return emitOpError() << "C3: expert weights need offsets";
    return success();
  }
  if (failed(verifySizes(*this, "C3", {{"experts", getExperts()}})))
    return failure();
  return verifyLength(*this, "C3", "expert_offsets", getExpertOffsets(),
                      getExperts() + 1);
}

LogicalResult UkernelOp::verify() {
  if (failed(verifySizes(*this, "C1", {{"mr", getMr()}})))
    return failure();
  if (static_cast<int64_t>(getPrefetch()) < 0)
    return emitOpError() << "C1: prefetch must not be negative, got "
                         << static_cast<int64_t>(getPrefetch());
  return verifyWeightType(*this, "C2", getWeightType());
}
