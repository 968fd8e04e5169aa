//===- Weights.cpp - Where the interpreter gets weights -------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Reference/Weights.h"
#include "Frame.h"

#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/STLExtras.h"

#include <cmath>
#include <cstring>
#include <limits>

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

/// Finds one tensor and checks it. Without `expected` it may have any shape.
static FailureOr<const moert::TensorEntry *>
findTensor(WeightOp weight, const std::string &name,
           const moert::Checkpoint &checkpoint, ArrayRef<moert::DType> types,
           std::optional<std::vector<int64_t>> expected) {
  const moert::TensorEntry *entry = checkpoint.find(name);
  if (!entry)
    return emitNumbered(weight, 402)
           << "weight @" << weight.getSymName() << ": no tensor '" << name
           << "' in " << checkpoint.path();
  if (!expected)
    expected = entry->shape;
  if (!llvm::is_contained(types, entry->dtype) || entry->shape != *expected)
    return emitNumbered(weight, 402)
           << "weight @" << weight.getSymName() << ": tensor '" << name
           << "' in " << checkpoint.path() << " is "
           << describe(entry->dtype, entry->shape) << ", expected "
           << describe(types.front(), *expected);
  return entry;
}

//===----------------------------------------------------------------------===//
// Encodings
//===----------------------------------------------------------------------===//

/// A number of 1 sign bit and the given exponent and mantissa bits, without
/// infinities, by its definition.
static float readSmallFloat(unsigned code, int exponentBits, int mantissaBits) {
  int bias = (1 << (exponentBits - 1)) - 1;
  int mantissa = code % (1 << mantissaBits);
  int exponent = (code >> mantissaBits) % (1 << exponentBits);
  bool negative = code >> (mantissaBits + exponentBits);
  float value = exponent
                    ? std::ldexp(1.0f + std::ldexp(mantissa, -mantissaBits),
                                 exponent - bias)
                    : std::ldexp(mantissa, 1 - bias - mantissaBits);
  return negative ? -value : value;
}

/// Value number `i` of a tensor of scales.
static float readScale(const moert::TensorEntry &scales, int64_t i) {
  if (scales.dtype == moert::DType::U8)
    return scales.data[i] == 255
               ? std::numeric_limits<float>::quiet_NaN()
               : std::ldexp(1.0f, static_cast<int>(scales.data[i]) - 127);
  if (scales.dtype == moert::DType::F32) {
    float value;
    std::memcpy(&value, scales.data + 4 * i, 4);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, scales.data + 2 * i, 2);
  return llvm::APFloat(llvm::APFloat::BFloat(), llvm::APInt(16, bits))
      .convertToFloat();
}

/// Element `i` of an encoded source: code times scale in f32.
static float readEncoded(WeightEncoding encoding, ArrayRef<int64_t> block,
                         const moert::TensorEntry &codes,
                         const moert::TensorEntry &scales, int64_t i) {
  if (encoding == WeightEncoding::Mxfp4) {
    unsigned nibble = i % 2 ? codes.data[i / 2] >> 4 : codes.data[i / 2] & 15;
    return readSmallFloat(nibble, 2, 1) * readScale(scales, i / 32);
  }
  // The position of the element, and from it that of its scale.
  int64_t scale = 0, elements = 1, rest = i;
  int64_t rank = codes.shape.size();
  for (int64_t d = rank - 1; d >= 0; --d) {
    int64_t at = rest % codes.shape[d];
    rest /= codes.shape[d];
    int64_t extent = codes.shape[d] / scales.shape[d];
    if (encoding == WeightEncoding::Fp8Block)
      extent = d + 2 < rank ? 1 : block[d + 2 - rank];
    scale += at / extent * elements;
    elements *= scales.shape[d];
  }
  uint8_t code = codes.data[i];
  float value = static_cast<int8_t>(code);
  if (encoding == WeightEncoding::Fp8Block)
    value = (code & 127) == 127 ? std::numeric_limits<float>::quiet_NaN()
                                : readSmallFloat(code, 4, 3);
  return value * readScale(scales, scale);
}

/// The shape that the scales of one source must have; nothing when the
/// encoding leaves it open.
static std::optional<std::vector<int64_t>>
scaleShapeOf(WeightOp weight, const std::vector<int64_t> &stored) {
  std::vector<int64_t> shape = stored;
  if (weight.getEncoding() == WeightEncoding::Int8Scaled)
    return std::nullopt;
  if (weight.getEncoding() == WeightEncoding::Mxfp4) {
    shape.pop_back();
    return shape;
  }
  ArrayRef<int64_t> block = *weight.getBlock();
  for (size_t i = 0; i < 2; ++i) {
    int64_t &extent = shape[shape.size() - 2 + i];
    extent = (extent - 1) / block[i] + 1;
  }
  return shape;
}

/// Reads an encoded source, in the weight's type and the shape of one source.
static FailureOr<Tensor> decodeSource(WeightOp weight,
                                      const moert::TensorEntry &codes,
                                      const std::string &scaleName,
                                      const moert::Checkpoint &checkpoint,
                                      const Format &format) {
  WeightEncoding encoding = *weight.getEncoding();
  bool isInt8 = encoding == WeightEncoding::Int8Scaled;
  SmallVector<moert::DType> types = {moert::DType::F32};
  if (isInt8)
    types.push_back(moert::DType::BF16);
  else if (encoding == WeightEncoding::Mxfp4)
    types = {moert::DType::U8};
  FailureOr<const moert::TensorEntry *> scales = findTensor(
      weight, scaleName, checkpoint, types, scaleShapeOf(weight, codes.shape));
  if (failed(scales))
    return failure();
  const std::vector<int64_t> &scaleShape = (*scales)->shape;
  if (isInt8 &&
      !std::equal(codes.shape.begin(), codes.shape.end(), scaleShape.begin(),
                  scaleShape.end(), [](int64_t code, int64_t scale) {
                    return scale > 0 && code % scale == 0;
                  }))
    return emitNumbered(weight, 402)
           << "weight @" << weight.getSymName() << ": tensor '" << scaleName
           << "' in " << checkpoint.path() << " has shape "
           << moert::formatShape(scaleShape)
           << ", whose extents must divide those of "
           << moert::formatShape(codes.shape);

  RankedTensorType type = weight.getSourceType();
  auto element = cast<FloatType>(type.getElementType());
  ArrayRef<int64_t> block;
  if (std::optional<ArrayRef<int64_t>> given = weight.getBlock())
    block = *given;
  auto buffer =
      std::make_shared<std::vector<char>>(type.getNumElements() * format.bytes);
  for (int64_t i = 0; i < type.getNumElements(); ++i) {
    llvm::APFloat value(readEncoded(encoding, block, codes, **scales, i));
    bool inexact;
    value.convert(element.getFloatSemantics(),
                  llvm::APFloat::rmNearestTiesToEven, &inexact);
    uint64_t bits = value.bitcastToAPInt().getZExtValue();
    std::memcpy(buffer->data() + i * format.bytes, &bits, format.bytes);
  }
  return Tensor::borrowed(element, type.getShape(), format.storage,
                          buffer->data(), buffer);
}

//===----------------------------------------------------------------------===//
// Checkpoint
//===----------------------------------------------------------------------===//

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
  shape[dim] = (end - begin - 1) / step + 1;
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
  std::vector<int64_t> stored(weight.getSourceType().getShape());
  if (std::optional<ArrayRef<int64_t>> given = weight.getStored())
    stored.assign(given->begin(), given->end());
  moert::DType dtype = format.dtype;
  if (std::optional<WeightEncoding> encoding = weight.getEncoding())
    dtype = *encoding == WeightEncoding::Mxfp4      ? moert::DType::U8
            : *encoding == WeightEncoding::Fp8Block ? moert::DType::F8E4M3
                                                    : moert::DType::I8;
  SmallVector<std::string> scaleNames = weight.getScaleNames();
  for (auto [i, name] : llvm::enumerate(weight.getSourceNames())) {
    FailureOr<const moert::TensorEntry *> entry =
        findTensor(weight, name, *checkpoint, dtype, stored);
    if (failed(entry))
      return failure();
    Tensor tensor = Tensor::borrowed(
        type.getElementType(), weight.getSourceType().getShape(),
        format.storage, (*entry)->data, checkpoint);
    if (weight.getEncoding()) {
      FailureOr<Tensor> decoded =
          decodeSource(weight, **entry, scaleNames[i], *checkpoint, format);
      if (failed(decoded))
        return failure();
      tensor = *decoded;
    }
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
