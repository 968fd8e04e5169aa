//===- Recipe.cpp - Shapes and sizes of packing recipes -------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moert/Format/Decode.h"

using namespace moert;

static Status badWeight(const fb::Weight &weight, std::string what) {
  return Status::error(303, concat("weight '", weight.name()->string_view(),
                                   "' of the plan ", what));
}

static Status badConstant(const fb::Constant &constant, std::string what) {
  return Status::error(303, concat("constant '", constant.name()->string_view(),
                                   "' of the plan ", what));
}

static std::vector<int64_t> toVector(const flatbuffers::Vector<int64_t> &v) {
  return std::vector<int64_t>(v.begin(), v.end());
}

DType moert::checkpointType(fb::DType type) {
  switch (type) {
  case fb::DType::F32:
    return DType::F32;
  case fb::DType::BF16:
    return DType::BF16;
  case fb::DType::F16:
    return DType::F16;
  case fb::DType::I32:
    return DType::I32;
  case fb::DType::I64:
    return DType::I64;
  case fb::DType::U8:
    break;
  }
  return DType::U8;
}

StatusOr<StridedView> moert::sourceView(const fb::Weight &weight) {
  StridedView view;
  view.shape = toVector(*weight.source_shape());
  const int64_t rank = view.shape.size();
  if (!shapeBytes(view.shape, 8))
    return badWeight(weight,
                     concat("has source shape ", formatShape(view.shape),
                            ", which is negative or overflows"));
  view.strides.assign(rank, 1);
  for (int64_t i = rank - 2; i >= 0; --i) {
    // A dimension of 0 makes every address unused; 1 keeps products in range.
    int64_t dim = view.shape[i + 1] > 0 ? view.shape[i + 1] : 1;
    if (__builtin_mul_overflow(view.strides[i + 1], dim, &view.strides[i]))
      return badWeight(weight, "has a source shape that overflows");
  }
  const int64_t dim = weight.slice_dim();
  if (dim != -1) {
    if (dim < 0 || dim >= rank)
      return badWeight(weight,
                       concat("slices dimension ", dim, " of rank ", rank));
    int64_t begin = weight.slice_begin(), end = weight.slice_end();
    int64_t step = weight.slice_step();
    if (begin < 0 || begin > end || end > view.shape[dim] || step < 1)
      return badWeight(weight,
                       concat("takes slice [", begin, ", ", end, ") with step ",
                              step, " of a dimension of ", view.shape[dim]));
    view.shape[dim] = end == begin ? 0 : (end - begin - 1) / step + 1;
    if (__builtin_mul_overflow(begin, view.strides[dim], &view.start) ||
        (view.shape[dim] > 1 &&
         __builtin_mul_overflow(step, view.strides[dim], &view.strides[dim])))
      return badWeight(weight, "has a slice that overflows");
  }
  if (weight.transpose()) {
    if (rank < 2)
      return badWeight(weight, concat("transposes a source of rank ", rank));
    std::swap(view.shape[rank - 1], view.shape[rank - 2]);
    std::swap(view.strides[rank - 1], view.strides[rank - 2]);
  }
  return view;
}

Status moert::verifyWeight(const fb::Weight &weight) {
  if (weight.dtype() > fb::DType::MAX)
    return badWeight(weight, "has an unknown element type");
  const uint64_t count = weight.sources()->size();
  if (count == 0 || (!weight.stack() && count != 1))
    return badWeight(weight, concat("has ", count, " sources",
                                    weight.stack() ? "" : " and no stack"));
  MOE_ASSIGN_OR_RETURN(StridedView view, sourceView(weight));
  MOE_RETURN_IF_ERROR(verifyEncoding(weight));
  std::vector<int64_t> expected = std::move(view.shape);
  if (weight.stack())
    expected.insert(expected.begin(), static_cast<int64_t>(count));
  std::vector<int64_t> shape = toVector(*weight.shape());
  if (shape != expected)
    return badWeight(weight,
                     concat("has shape ", formatShape(shape),
                            ", but its sources give ", formatShape(expected)));
  if (!shapeBytes(shape, byteSize(checkpointType(weight.dtype()))))
    return badWeight(weight, concat("has shape ", formatShape(shape),
                                    ", whose size overflows"));
  return {};
}

StatusOr<uint64_t> moert::packedBytes(const fb::Plan &plan,
                                      const fb::Constant &constant) {
  const flatbuffers::Vector<uint32_t> &indices = *constant.weights();
  if (constant.layout() > fb::Layout::MAX || constant.dtype() > fb::DType::MAX)
    return badConstant(constant, "has an unknown layout or element type");
  const bool panels = constant.layout() == fb::Layout::Panels;
  const bool rows = constant.layout() == fb::Layout::Rows;
  if (indices.size() != 1 && !((panels || rows) && indices.size() == 2))
    return badConstant(constant, concat("has ", indices.size(), " weights"));
  for (uint32_t index : indices)
    if (index >= plan.weights()->size())
      return badConstant(constant, concat("uses weight ", index, " of ",
                                          plan.weights()->size()));
  const fb::Weight &first = *plan.weights()->Get(indices.Get(0));
  std::vector<int64_t> shape = toVector(*first.shape());
  for (uint32_t index : indices) {
    const fb::Weight &weight = *plan.weights()->Get(index);
    if (weight.dtype() != constant.dtype())
      return badConstant(constant, "has another element type than its weight");
    if (toVector(*weight.shape()) != shape)
      return badConstant(constant, "joins weights of different shapes");
  }
  const uint64_t elementBytes = byteSize(checkpointType(constant.dtype()));
  std::optional<uint64_t> bytes;
  if (!panels && !rows) {
    bytes = shapeBytes(shape, elementBytes);
  } else {
    const uint64_t kTile = constant.k_tile(), kInner = constant.k_inner();
    if (kTile == 0 || kInner == 0 || kTile % kInner || kTile > 4096 ||
        (rows && (kInner != 1 || kTile * elementBytes % 16)))
      return badConstant(constant,
                         concat("has k_tile ", kTile, " and k_inner ", kInner));
    if (rows && constant.dtype() > fb::DType::F16)
      return badConstant(constant, "makes rows of an element type without "
                                   "matrix products");
    if (shape.size() != 2 && shape.size() != 3)
      return badConstant(constant, concat("makes ", panels ? "panels" : "rows",
                                          " of shape ", formatShape(shape)));
    // A stack of vectors has two dimensions, but its sources are no matrices.
    for (uint32_t index : indices)
      if (const fb::Weight &weight = *plan.weights()->Get(index);
          weight.source_shape()->size() < 2)
        return badConstant(
            constant, concat("makes ", panels ? "panels" : "rows",
                             " of sources of shape ",
                             formatShape(toVector(*weight.source_shape()))));
    const uint64_t experts = shape.size() == 3 ? shape[0] : 1;
    const uint64_t n = shape[shape.size() - 2], k = shape[shape.size() - 1];
    // Dimensions are below 2^63, so rounding up cannot overflow. A block is a
    // panel of 32 columns, or 8 rows of each part.
    const uint64_t columns = panels ? 32 / indices.size() : 8;
    const uint64_t blocks = (n + columns - 1) / columns;
    const uint64_t kPadded = (k + kTile - 1) / kTile * kTile;
    bytes = checkedMul(experts, blocks);
    if (bytes)
      bytes = checkedMul(*bytes, kPadded);
    if (bytes)
      bytes = checkedMul(*bytes, columns * indices.size() * elementBytes);
  }
  if (!bytes || *bytes > uint64_t(INT64_MAX))
    return badConstant(constant, "has a size that overflows");
  return *bytes;
}

Status moert::matchCheckpoint(const fb::Plan &plan,
                              const Checkpoint &checkpoint,
                              const std::vector<uint32_t> *constants) {
  std::vector<bool> wanted(plan.weights()->size(), constants == nullptr);
  if (constants)
    for (uint32_t constant : *constants)
      for (uint32_t index : *plan.constants()->Get(constant)->weights())
        wanted[index] = true;
  std::vector<std::string> problems;
  for (uint32_t i = 0; i < wanted.size(); ++i)
    if (wanted[i])
      matchWeight(*plan.weights()->Get(i), checkpoint, problems);
  if (problems.empty())
    return {};
  std::string list;
  for (size_t i = 0; i < problems.size() && i < 5; ++i)
    list += concat(i ? "; " : "", problems[i]);
  if (problems.size() > 5)
    list += concat("; and ", problems.size() - 5, " more");
  return Status::error(
             402, concat(problems.size(),
                         problems.size() == 1 ? " tensor does" : " tensors do",
                         " not match this artifact: ", list))
      .at(checkpoint.path())
      .because("the artifact was compiled for other weights")
      .fix("give the checkpoint it was compiled from with --weights=DIR, or "
           "compile again");
}
