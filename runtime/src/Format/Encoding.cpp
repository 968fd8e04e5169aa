//===- Encoding.cpp - What a checkpoint must have for a weight ------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moert/Format/Decode.h"

#include <algorithm>

using namespace moert;

static Status bad(const fb::Weight &weight, std::string what) {
  return Status::error(303, concat("weight '", weight.name()->string_view(),
                                   "' of the plan ", what));
}

static std::vector<int64_t> toVector(const flatbuffers::Vector<int64_t> *v) {
  return v ? std::vector<int64_t>(v->begin(), v->end())
           : std::vector<int64_t>();
}

StoredSource moert::storedSource(const fb::Weight &weight) {
  StoredSource stored;
  stored.shape = toVector(weight.stored_shape());
  if (stored.shape.empty())
    stored.shape = toVector(weight.source_shape());
  stored.scaleShape = toVector(weight.scale_shape());
  switch (weight.encoding()) {
  case fb::WeightEncoding::Plain:
    stored.type = checkpointType(weight.dtype());
    break;
  case fb::WeightEncoding::Mxfp4:
    stored.type = DType::U8;
    stored.scaleTypes = {DType::U8};
    break;
  case fb::WeightEncoding::Fp8Block:
    stored.type = DType::F8E4M3;
    stored.scaleTypes = {DType::F32};
    break;
  case fb::WeightEncoding::Int8Scaled:
    stored.type = DType::I8;
    stored.scaleTypes = {DType::F32, DType::BF16};
    break;
  }
  return stored;
}

/// Whether each extent of `scales` divides that of `codes`.
static bool divides(const std::vector<int64_t> &scales,
                    const std::vector<int64_t> &codes) {
  return std::equal(codes.begin(), codes.end(), scales.begin(), scales.end(),
                    [](int64_t code, int64_t scale) {
                      return scale > 0 && code % scale == 0;
                    });
}

/// Checks the shapes of codes and scales, which have no empty dimension, and
/// sets the number of elements they decode to.
static Status verifyShapes(const fb::Weight &weight,
                           const std::vector<int64_t> &codes,
                           const std::vector<int64_t> &scales,
                           uint64_t &elements) {
  const size_t rank = codes.size();
  auto mismatch = [&](std::string what) {
    return bad(weight, concat("has ", what, " of shape ", formatShape(codes),
                              " with scales ", formatShape(scales)));
  };
  elements = *shapeBytes(codes, 1);
  switch (weight.encoding()) {
  case fb::WeightEncoding::Mxfp4: {
    std::vector<int64_t> blocks = codes;
    if (!blocks.empty())
      blocks.pop_back();
    if (rank < 2 || codes.back() != 16 || scales != blocks)
      return mismatch("MXFP4 codes");
    elements *= 2;
    return {};
  }
  case fb::WeightEncoding::Fp8Block: {
    std::vector<int64_t> block = toVector(weight.block());
    if (block.size() != 2 || block[0] < 1 || block[1] < 1)
      return bad(weight, concat("has FP8 blocks of ", formatShape(block)));
    std::vector<int64_t> expected = codes;
    for (size_t i = 0; i < 2 && rank >= 2; ++i) {
      int64_t &extent = expected[rank - 2 + i];
      extent = (extent - 1) / block[i] + 1;
    }
    if (rank < 2 || scales != expected)
      return mismatch(concat("FP8 codes in blocks ", formatShape(block)));
    return {};
  }
  case fb::WeightEncoding::Int8Scaled: {
    if (rank < 1 || (!scales.empty() && !divides(scales, codes)))
      return mismatch("INT8 codes");
    return {};
  }
  case fb::WeightEncoding::Plain:
    break;
  }
  return {};
}

Status moert::verifyEncoding(const fb::Weight &weight) {
  if (weight.encoding() > fb::WeightEncoding::MAX)
    return bad(weight, "has an unknown encoding");
  const StoredSource stored = storedSource(weight);
  const std::vector<int64_t> decoded = toVector(weight.source_shape());
  const uint64_t scaleSources =
      weight.scale_sources() ? weight.scale_sources()->size() : 0;
  if (!isEncoded(weight)) {
    if (scaleSources || !stored.scaleShape.empty())
      return bad(weight, "has scales without an encoding");
  } else {
    if (weight.dtype() > fb::DType::F16)
      return bad(weight, "is encoded, but of an integer type");
    if (scaleSources != weight.sources()->size())
      return bad(weight, concat("has ", scaleSources, " scales for ",
                                weight.sources()->size(), " sources"));
    auto isEmpty = [](const std::vector<int64_t> &shape) {
      return std::any_of(shape.begin(), shape.end(),
                         [](int64_t extent) { return extent < 1; });
    };
    if (!weight.stored_shape() || isEmpty(stored.shape) ||
        isEmpty(stored.scaleShape))
      return bad(weight, "is encoded, but empty");
  }
  // Twice as many elements as codes still fit 63 bits.
  std::optional<uint64_t> elements = shapeBytes(stored.shape, 1);
  if (!shapeBytes(stored.shape, 8) || !shapeBytes(stored.scaleShape, 8))
    return bad(weight, concat("has stored shape ", formatShape(stored.shape),
                              ", which is negative or overflows"));
  if (isEncoded(weight))
    MOE_RETURN_IF_ERROR(
        verifyShapes(weight, stored.shape, stored.scaleShape, *elements));
  std::optional<uint64_t> needed = shapeBytes(decoded, 1);
  if (needed != elements)
    return bad(weight,
               concat("has stored shape ", formatShape(stored.shape), ", ",
                      *elements, " elements, for ", formatShape(decoded)));
  return {};
}

//===----------------------------------------------------------------------===//
// Checkpoint
//===----------------------------------------------------------------------===//

/// "F32 or BF16".
static std::string join(const std::vector<DType> &types) {
  std::string text;
  for (DType type : types)
    text += concat(text.empty() ? "" : " or ", name(type));
  return text;
}

/// Why the tensor `source` does not fit; empty when it does.
static std::string problemOf(std::string_view source, const TensorEntry *entry,
                             const std::vector<DType> &types,
                             const std::vector<int64_t> &shape) {
  if (!entry)
    return concat("tensor '", source, "' is missing");
  const bool typeFits =
      std::find(types.begin(), types.end(), entry->dtype) != types.end();
  if (typeFits && entry->shape == shape)
    return {};
  return concat("tensor '", source, "' is ", name(entry->dtype), " ",
                formatShape(entry->shape), ", needed is ", join(types), " ",
                formatShape(shape));
}

/// Finds the tensors of one source; the first problem otherwise.
static std::string find(const fb::Weight &weight, const StoredSource &stored,
                        uint32_t i, const Checkpoint &checkpoint,
                        SourceTensors &found) {
  std::string_view source = weight.sources()->Get(i)->string_view();
  found.codes = checkpoint.find(source);
  std::string problem =
      problemOf(source, found.codes, {stored.type}, stored.shape);
  if (!problem.empty() || !isEncoded(weight))
    return problem;
  source = weight.scale_sources()->Get(i)->string_view();
  found.scales = checkpoint.find(source);
  if (!found.scales || !stored.scaleShape.empty())
    return problemOf(source, found.scales, stored.scaleTypes,
                     stored.scaleShape);
  // Only INT8 leaves the shape open.
  if (!divides(found.scales->shape, stored.shape))
    return concat(
        "tensor '", source, "' has shape ", formatShape(found.scales->shape),
        ", needed is one of extents that divide ", formatShape(stored.shape));
  return problemOf(source, found.scales, stored.scaleTypes,
                   found.scales->shape);
}

StatusOr<SourceTensors> moert::findSource(const fb::Weight &weight, uint32_t i,
                                          const Checkpoint &checkpoint) {
  SourceTensors found;
  std::string problem =
      find(weight, storedSource(weight), i, checkpoint, found);
  if (problem.empty())
    return found;
  return Status::error(402, std::move(problem))
      .at(checkpoint.path())
      .fix("give the checkpoint it was compiled from with --weights=DIR");
}

void moert::matchWeight(const fb::Weight &weight, const Checkpoint &checkpoint,
                        std::vector<std::string> &problems) {
  const StoredSource stored = storedSource(weight);
  for (uint32_t i = 0; i < weight.sources()->size(); ++i) {
    SourceTensors found;
    std::string problem = find(weight, stored, i, checkpoint, found);
    if (!problem.empty())
      problems.push_back(std::move(problem));
  }
}
