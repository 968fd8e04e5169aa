//===- Weights.cpp - Where the interpreter gets weights -------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Reference/Weights.h"
#include "Frame.h"

#include "llvm/ADT/STLExtras.h"

#include <cstring>

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::reference;

WeightProvider::~WeightProvider() = default;

FailureOr<Tensor> NoWeights::load(WeightOp weight) {
  return emitNumbered(weight, 401)
         << "weight @" << weight.getSymName()
         << " is needed, but no weights were given; fix: --weights=DIR";
}

namespace {

/// How elements of a type lie in a checkpoint.
struct Format {
  Storage storage;
  moert::DType dtype;
  int64_t bytes;
};

} // namespace

static Format formatOf(Type type) {
  if (type.isBF16())
    return {Storage::BF16, moert::DType::BF16, 2};
  if (type.isF16())
    return {Storage::F16, moert::DType::F16, 2};
  return {Storage::F32, moert::DType::F32, 4};
}

static std::string describe(moert::DType dtype,
                            const std::vector<int64_t> &shape) {
  return moert::concat(moert::name(dtype), ' ', moert::formatShape(shape));
}

/// Finds one source and checks it.
static FailureOr<const moert::TensorEntry *>
findSource(WeightOp weight, const std::string &name,
           const moert::Checkpoint &checkpoint) {
  const moert::TensorEntry *entry = checkpoint.find(name);
  if (!entry)
    return emitNumbered(weight, 402)
           << "weight @" << weight.getSymName() << ": no tensor '" << name
           << "' in " << checkpoint.path();
  RankedTensorType type = weight.getSourceType();
  moert::DType dtype = formatOf(type.getElementType()).dtype;
  std::vector<int64_t> expected(type.getShape());
  if (entry->dtype != dtype || entry->shape != expected)
    return emitNumbered(weight, 402)
           << "weight @" << weight.getSymName() << ": tensor '" << name
           << "' in " << checkpoint.path() << " is "
           << describe(entry->dtype, entry->shape) << ", expected "
           << describe(dtype, expected);
  return entry;
}

/// Copies the range of `split` out of a source: `outer` blocks of
/// `extent` x `inner` bytes.
static Tensor splitSource(const Tensor &source, ArrayRef<int64_t> split,
                          const Format &format) {
  const char *data = source.getData();
  int64_t dim = split[0], begin = split[1], end = split[2], step = split[3];
  SmallVector<int64_t> shape(source.getShape());
  int64_t outer = 1, inner = format.bytes, extent = shape[dim];
  for (int64_t extentBefore : source.getShape().take_front(dim))
    outer *= extentBefore;
  for (int64_t extentAfter : source.getShape().drop_front(dim + 1))
    inner *= extentAfter;
  shape[dim] = (end - begin) / step;
  auto buffer = std::make_shared<std::vector<char>>(outer * shape[dim] * inner);
  char *target = buffer->data();
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = begin; i < end; i += step, target += inner)
      std::memcpy(target, data + (o * extent + i) * inner, inner);
  return Tensor::borrowed(source.getElementType(), shape, format.storage,
                          buffer->data(), buffer);
}

/// Swaps the last two dimensions of an array.
static Tensor transposeSource(const Tensor &source, const Format &format) {
  const char *data = source.getData();
  SmallVector<int64_t> shape(source.getShape());
  int64_t rows = shape[shape.size() - 2], columns = shape.back();
  std::swap(shape[shape.size() - 2], shape.back());
  int64_t matrix = rows * columns, count = source.getNumElements();
  auto buffer = std::make_shared<std::vector<char>>(count * format.bytes);
  for (int64_t m = 0; m < count; m += matrix)
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j)
        std::memcpy(buffer->data() + (m + j * rows + i) * format.bytes,
                    data + (m + i * columns + j) * format.bytes, format.bytes);
  return Tensor::borrowed(source.getElementType(), shape, format.storage,
                          buffer->data(), buffer);
}

FailureOr<Tensor> CheckpointWeights::load(WeightOp weight) {
  std::lock_guard<std::mutex> lock(mutex);
  auto known = loaded.find(weight.getSymName().str());
  if (known != loaded.end())
    return known->second;

  auto type = cast<RankedTensorType>(weight.getType());
  Format format = formatOf(type.getElementType());
  std::vector<Tensor> slices;
  for (const std::string &name : weight.getSourceNames()) {
    FailureOr<const moert::TensorEntry *> entry =
        findSource(weight, name, *checkpoint);
    if (failed(entry))
      return failure();
    Tensor tensor =
        Tensor::borrowed(type.getElementType(), (*entry)->shape, format.storage,
                         (*entry)->data, checkpoint);
    if (std::optional<ArrayRef<int64_t>> split = weight.getSplit())
      tensor = splitSource(tensor, *split, format);
    if (weight.getTranspose())
      tensor = transposeSource(tensor, format);
    slices.push_back(std::move(tensor));
  }
  Tensor value =
      weight.getStack() ? Tensor::stacked(std::move(slices)) : slices.front();
  if (value.getShape() != type.getShape())
    return emitNumbered(weight, 402)
           << "weight @" << weight.getSymName() << ": its sources give "
           << value.getTypeString() << ", expected " << type;
  return loaded[weight.getSymName().str()] = value;
}
