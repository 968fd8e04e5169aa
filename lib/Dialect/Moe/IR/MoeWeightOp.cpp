//===- MoeWeightOp.cpp - Verifier of moe.weight ---------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "VerifyHelpers.h"

#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::detail;

/// Largest number of names that one range may stand for: far above any model,
/// small enough that a typing error does not fill the memory.
static constexpr uint64_t maxRangeNames = 65536;

/// C6 of moe.weight for one source, or C7 for one of its scales. Sets `count`
/// to the number of names.
static LogicalResult verifySource(WeightOp op, StringRef label,
                                  StringRef source, uint64_t &count) {
  count = 1;
  if (source.empty())
    return op.emitOpError() << label << ": a source name is empty";
  if (source.find_first_of("{}") == StringRef::npos)
    return success();
  auto malformed = [&]() {
    return op.emitOpError() << label << ": \"" << source
                            << "\" must have at most one range, written "
                               "{first..last}";
  };
  if (source.count('{') != 1 || source.count('}') != 1)
    return malformed();
  auto [head, tail] = source.split('{');
  StringRef range = tail.split('}').first;
  auto [firstText, lastText] = range.split("..");
  uint64_t first, last;
  // No leading zeros: printing the number would not give them back.
  auto parseNumber = [](StringRef text, uint64_t &number) {
    return (text.size() == 1 || !text.starts_with("0")) &&
           !text.getAsInteger(10, number);
  };
  if (head.contains('}') || !parseNumber(firstText, first) ||
      !parseNumber(lastText, last))
    return malformed();
  if (first > last)
    return op.emitOpError() << label << ": range {" << range << "} of \""
                            << source << "\" is empty";
  if (last - first >= maxRangeNames)
    return op.emitOpError()
           << label << ": range {" << range << "} of \"" << source
           << "\" has more than " << maxRangeNames << " names";
  count = last - first + 1;
  return success();
}

/// C4 of moe.weight.
static LogicalResult verifySplit(WeightOp op, ArrayRef<int64_t> split,
                                 ArrayRef<int64_t> sourceShape) {
  auto error = [&]() {
    return op.emitOpError() << "C4: split [" << split << "] ";
  };
  if (split.size() != 5)
    return error() << "must be [dimension, begin, end, step, extent]";
  int64_t dim = split[0], begin = split[1], end = split[2], step = split[3];
  if (dim < 0 || dim >= static_cast<int64_t>(sourceShape.size()))
    return error() << "names dimension " << dim << " of sources of rank "
                   << sourceShape.size();
  if (begin < 0 || begin >= end || end > split[4])
    return error() << "must have 0 <= begin < end <= extent";
  if (step < 1)
    return error() << "must have a step >= 1";
  int64_t taken = (end - begin - 1) / step + 1;
  if (taken != sourceShape[dim])
    return error() << "takes " << taken << " elements where the type has "
                   << sourceShape[dim];
  return success();
}

/// C7 and C8 of moe.weight: what stands beside encoded sources.
/// \param sources  number of sources
static LogicalResult verifyScales(WeightOp op, uint64_t sources) {
  if (op.getScales().has_value() != op.getEncoding().has_value())
    return op.emitOpError() << "C7: encoding and scales are given together";
  if (op.getScales()) {
    uint64_t names = 0;
    for (StringRef source : op.getScales()->getAsValueRange<StringAttr>()) {
      uint64_t count;
      if (failed(verifySource(op, "C7", source, count)))
        return failure();
      names += count;
    }
    if (names != sources)
      return op.emitOpError()
             << "C7: " << names << " scales for " << sources << " sources";
  }

  bool hasBlocks = op.getEncoding() == WeightEncoding::Fp8Block;
  std::optional<ArrayRef<int64_t>> block = op.getBlock();
  if (block.has_value() != hasBlocks)
    return op.emitOpError() << "C8: block is given exactly with fp8_block";
  if (block && (block->size() != 2 || (*block)[0] < 1 || (*block)[1] < 1))
    return op.emitOpError() << "C8: block must be two numbers of at least 1, "
                               "got ["
                            << *block << "]";
  return success();
}

/// C9 of moe.weight. `source` is the shape of one source, decoded.
static LogicalResult verifyStored(WeightOp op, ArrayRef<int64_t> source) {
  std::optional<ArrayRef<int64_t>> stored = op.getStored();
  bool packed = op.getEncoding() == WeightEncoding::Mxfp4;
  if (packed && !stored)
    return op.emitOpError() << "C9: mxfp4 needs the stored shape";
  ArrayRef<int64_t> shape = stored.value_or(source);
  if (op.getEncoding() == WeightEncoding::Fp8Block && shape.size() < 2)
    return op.emitOpError() << "C9: fp8_block needs sources of rank >= 2, got "
                               "rank "
                            << shape.size();
  if (op.getEncoding() == WeightEncoding::Int8Scaled && shape.empty())
    return op.emitOpError() << "C9: int8_scaled needs sources of rank >= 1";
  if (!stored)
    return success();

  auto error = [&]() {
    return op.emitOpError() << "C9: stored [" << shape << "] ";
  };
  if (llvm::any_of(shape, [](int64_t extent) { return extent < 1; }))
    return error() << "must have extents of at least 1";
  if (packed && (shape.size() < 2 || shape.back() != 16))
    return error() << "must end with K / 32 and 16 for mxfp4";
  auto count = [](ArrayRef<int64_t> extents) {
    uint64_t elements = 1;
    for (int64_t extent : extents)
      elements *= extent;
    return elements;
  };
  uint64_t decoded = count(shape) * (packed ? 2 : 1);
  if (decoded != count(source))
    return error() << "decodes to " << decoded
                   << " elements where a source has " << count(source);
  return success();
}

LogicalResult WeightOp::verify() {
  auto type = cast<RankedTensorType>(getType());
  Type element = type.getElementType();
  if (!type.hasStaticShape() || llvm::is_contained(type.getShape(), 0) ||
      !(element.isF32() || isNarrowFloat(element)))
    return emitOpError() << "C1: expected a static, non-empty tensor of f32, "
                            "bf16 or f16, got "
                         << type;

  uint64_t names = 0;
  for (StringRef source : getSources().getAsValueRange<StringAttr>()) {
    uint64_t count;
    if (failed(verifySource(*this, "C6", source, count)))
      return failure();
    names += count;
  }
  if (names == 0)
    return emitOpError() << "C2: a weight needs at least one source";
  if (!getStack() && names != 1)
    return emitOpError() << "C2: " << names
                         << " sources without 'stack'; expected exactly one";
  if (getStack() && (type.getRank() == 0 ||
                     static_cast<uint64_t>(type.getDimSize(0)) != names))
    return emitOpError() << "C3: " << names << " sources do not stack to "
                         << type;

  // The shape of a source after `split`, before `transpose`.
  SmallVector<int64_t> shape(type.getShape().drop_front(getStack() ? 1 : 0));
  if (getTranspose()) {
    if (shape.size() < 2)
      return emitOpError() << "C5: 'transpose' needs sources of rank >= 2, got "
                              "rank "
                           << shape.size();
    std::swap(shape[shape.size() - 1], shape[shape.size() - 2]);
  }
  if (auto split = getSplit())
    if (failed(verifySplit(*this, *split, shape)))
      return failure();

  llvm::StringSet<> seen;
  for (const std::string &name : getSourceNames())
    if (!seen.insert(name).second)
      return emitOpError() << "C6: source \"" << name << "\" occurs twice";
  if (failed(verifyScales(*this, names)))
    return failure();
  seen.clear();
  for (const std::string &name : getScaleNames())
    if (!seen.insert(name).second)
      return emitOpError() << "C7: scales \"" << name << "\" occur twice";
  return verifyStored(*this, getSourceType().getShape());
}
