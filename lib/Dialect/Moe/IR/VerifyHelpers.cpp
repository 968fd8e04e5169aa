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
  int64_t topK = policy.getTopK(), nulls = policy.getNullExperts();
  if (topK > experts - nulls) {
    InFlightDiagnostic error = op->emitOpError()
                               << topKLabel << ": top_k = " << topK
                               << " exceeds the number of experts " << experts;
    if (nulls)
      error << " less " << nulls << " null ones";
    return error;
  }
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

LogicalResult moe::detail::verifyPolicyOperands(Operation *op,
                                                StringRef residentLabel,
                                                StringRef randomLabel,
                                                PolicyAttr policy,
                                                Value resident, Value random) {
  if (bool(resident) != policy.getPolicy().prefers)
    return op->emitOpError()
           << residentLabel << ": resident and 'prefer' are given together";
  if (bool(random) != (policy.getKeep() == Keep::Random))
    return op->emitOpError() << randomLabel
                             << ": random and 'keep = random' are given "
                                "together";
  return success();
}

LogicalResult moe::detail::verifyBias(Operation *op, StringRef label,
                                      PolicyAttr policy, Value logits,
                                      Value bias) {
  if (!bias) {
    if (policy.getPolicy().biasAfterFirst)
      return op->emitOpError() << label << ": 'bias_after_first' needs a bias";
    return success();
  }
  auto type = cast<RankedTensorType>(bias.getType());
  int64_t experts = extent(logits, 1);
  if (type.getRank() == 2) {
    if (type.getDimSize(1) != experts ||
        !agree(type.getDimSize(0), extent(logits, 0)))
      return op->emitOpError()
             << label << ": bias must be N x " << experts << " for logits "
             << logits.getType() << ", got " << type;
    return success();
  }
  if (type.getDimSize(0) != experts)
    return op->emitOpError() << label << ": bias must have " << experts
                             << " elements, got " << type;
  return success();
}

LogicalResult moe::detail::verifyProductPolicy(Operation *op, StringRef label,
                                               PolicyAttr policy) {
  const Policy &p = policy.getPolicy();
  StringRef clause;
  if (p.score != Score::None && p.score != Score::Sigmoid)
    return op->emitOpError() << label << ": score must be none or sigmoid, got "
                             << stringifyScore(p.score);
  if (p.groupFilter != GroupFilter::None)
    clause = "groups";
  else if (p.prefers)
    clause = "prefer";
  else if (p.biasAfterFirst)
    clause = "bias_after_first";
  else if (p.nullExperts)
    clause = "null_experts";
  else if (p.keep != Keep::All)
    clause = "keep";
  else if (p.capacityAttr)
    clause = "capacity";
  else if (p.weightSource == WeightSource::Sparsemixer)
    clause = "sparsemixer";
  else
    return success();
  return op->emitOpError() << label << ": pairs of two lists have no '"
                           << clause << "'";
}

LogicalResult moe::detail::verifyAllRows(Operation *op, StringRef label,
                                         RoutingType routing) {
  if (routing.getRows() != routing.getPerToken() || routing.getExtra() != 0)
    return op->emitOpError()
           << label << ": a token may have all its rows; expected "
           << RoutingType::get(op->getContext(), routing.getExperts(),
                               routing.getPerToken())
           << ", got " << routing;
  return success();
}

LogicalResult
moe::detail::verifySizes(Operation *op, StringRef label,
                         ArrayRef<std::pair<StringRef, int64_t>> sizes) {
  for (auto [name, size] : sizes)
    if (size < 1)
      return op->emitOpError()
             << label << ": " << name << " must be at least 1, got " << size;
  return success();
}

LogicalResult moe::detail::verifyLength(Operation *op, StringRef label,
                                        StringRef name, Value buffer,
                                        int64_t length) {
  if (buffer && !agree(extent(buffer, 0), length))
    return op->emitOpError() << label << ": " << name << " must hold " << length
                             << " elements, got " << buffer.getType();
  return success();
}

LogicalResult moe::detail::verifyWorklist(Operation *op, StringRef label,
                                          Value worklist,
                                          std::optional<int64_t> tileRows) {
  if (bool(worklist) != tileRows.has_value())
    return op->emitOpError()
           << label << ": worklist and tile_rows are given together";
  if (tileRows && *tileRows < 1)
    return op->emitOpError()
           << label << ": tile_rows must be at least 1, got " << *tileRows;
  return success();
}

LogicalResult moe::detail::verifyMapped(Operation *op, StringRef label,
                                        StringRef what, Type inside,
                                        Type outside, bool row) {
  auto tensor = dyn_cast<RankedTensorType>(inside);
  Type element = cast<MemRefType>(outside).getElementType();
  if (!tensor || !tensor.hasStaticShape() ||
      tensor.getElementType() != element ||
      (row && (tensor.getRank() == 0 || tensor.getDimSize(0) != 1)))
    return op->emitOpError()
           << label << ": " << what << " must be a static tensor "
           << (row ? "1 x ... " : "") << "of " << element << ", got " << inside;
  return success();
}

bool moe::detail::isRowsOf(Type type, int64_t &rows) {
  auto tensor = cast<RankedTensorType>(type);
  if (tensor.getRank() == 0 || !agree(tensor.getDimSize(0), rows) ||
      llvm::any_of(tensor.getShape().drop_front(), ShapedType::isDynamic))
    return false;
  if (!tensor.isDynamicDim(0))
    rows = tensor.getDimSize(0);
  return true;
}

LogicalResult moe::detail::verifyCosine(Operation *op, StringRef label,
                                        std::optional<APFloat> cosine) {
  if (cosine &&
      (!cosine->isFinite() || (cosine->isNegative() && !cosine->isZero())))
    return op->emitOpError() << label
                             << ": cosine must be finite and not "
                                "negative, got "
                             << cosine->convertToFloat();
  return success();
}

LogicalResult moe::detail::verifyScale(Operation *op, StringRef label,
                                       std::optional<APFloat> scale) {
  if (scale && (!scale->isFinite() || scale->isZero()))
    return op->emitOpError() << label
                             << ": scale must be finite and not zero, "
                                "got "
                             << scale->convertToFloat();
  return success();
}
