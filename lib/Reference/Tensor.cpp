//===- Tensor.cpp - Values of the interpreter -----------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Reference/Tensor.h"

#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/raw_ostream.h"

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace mlir;
using namespace mlir::moe::reference;

//===----------------------------------------------------------------------===//
// Rounding
//===----------------------------------------------------------------------===//

/// Rounds to `bits` explicit mantissa bits with least normal exponent
/// `minExponent` and greatest `maxExponent`. Scaling by powers of two is exact
/// in f64, so only `nearbyint` rounds.
static double roundToFormat(double value, int bits, int minExponent,
                            int maxExponent) {
  if (value == 0 || !std::isfinite(value))
    return value;
  int exponent = std::max(std::ilogb(value), minExponent);
  double rounded = std::ldexp(
      std::nearbyint(std::ldexp(value, bits - exponent)), exponent - bits);
  if (std::fabs(rounded) >= std::ldexp(1.0, maxExponent + 1))
    return std::copysign(HUGE_VAL, value);
  return rounded;
}

double mlir::moe::reference::roundToType(double value, Type type) {
  if (type.isF32())
    return static_cast<float>(value);
  if (type.isBF16())
    return roundToFormat(value, 7, -126, 127);
  if (type.isF16())
    return roundToFormat(value, 10, -14, 15);
  if (type.isF64())
    return value;
  APFloat number(value);
  bool losesInfo;
  number.convert(cast<FloatType>(type).getFloatSemantics(),
                 APFloat::rmNearestTiesToEven, &losesInfo);
  number.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven,
                 &losesInfo);
  return number.convertToDouble();
}

int64_t mlir::moe::reference::wrapToType(int64_t value, Type type) {
  unsigned width = type.isIndex() ? 64 : type.getIntOrFloatBitWidth();
  if (width >= 64)
    return value;
  uint64_t bits = static_cast<uint64_t>(value) << (64 - width);
  return static_cast<int64_t>(bits) >> (64 - width);
}

//===----------------------------------------------------------------------===//
// Tensor
//===----------------------------------------------------------------------===//

static int64_t bytesOf(Storage storage) {
  switch (storage) {
  case Storage::I64:
  case Storage::F64:
    return 8;
  case Storage::F32:
    return 4;
  case Storage::BF16:
  case Storage::F16:
    return 2;
  }
  llvm_unreachable("unknown storage");
}

template <typename T> static T loadAs(const char *address) {
  T value;
  std::memcpy(&value, address, sizeof(T));
  return value;
}

static double decodeBF16(uint16_t bits) {
  uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, sizeof(value));
  return value;
}

static double decodeF16(uint16_t bits) {
  int exponent = (bits >> 10) & 31, mantissa = bits & 1023;
  double value = exponent == 31  ? (mantissa ? NAN : HUGE_VAL)
                 : exponent == 0 ? std::ldexp(mantissa, -24)
                                 : std::ldexp(mantissa + 1024, exponent - 25);
  return bits & 0x8000 ? -value : value;
}

static double decode(Storage storage, const char *address) {
  switch (storage) {
  case Storage::I64:
    return loadAs<int64_t>(address);
  case Storage::F64:
    return loadAs<double>(address);
  case Storage::F32:
    return loadAs<float>(address);
  case Storage::BF16:
    return decodeBF16(loadAs<uint16_t>(address));
  case Storage::F16:
    return decodeF16(loadAs<uint16_t>(address));
  }
  llvm_unreachable("unknown storage");
}

Tensor Tensor::borrowed(Type elementType, ArrayRef<int64_t> shape,
                        Storage storage, const void *data,
                        std::shared_ptr<const void> owner) {
  Tensor tensor;
  tensor.elementType = elementType;
  tensor.shape.assign(shape.begin(), shape.end());
  tensor.storage = storage;
  tensor.data = static_cast<const char *>(data);
  tensor.owner = std::move(owner);
  return tensor;
}

Tensor Tensor::ofFloats(Type elementType, ArrayRef<int64_t> shape,
                        std::vector<double> values) {
  auto owner = std::make_shared<std::vector<double>>(std::move(values));
  return borrowed(elementType, shape, Storage::F64, owner->data(), owner);
}

Tensor Tensor::ofInts(Type elementType, ArrayRef<int64_t> shape,
                      std::vector<int64_t> values) {
  auto owner = std::make_shared<std::vector<int64_t>>(std::move(values));
  return borrowed(elementType, shape, Storage::I64, owner->data(), owner);
}

Tensor Tensor::ofScalars(Type elementType, ArrayRef<int64_t> shape,
                         ArrayRef<Scalar> values) {
  if (isa<FloatType>(elementType)) {
    std::vector<double> floats(values.size());
    llvm::transform(values, floats.begin(), [](Scalar s) { return s.f; });
    return ofFloats(elementType, shape, std::move(floats));
  }
  std::vector<int64_t> ints(values.size());
  llvm::transform(values, ints.begin(), [](Scalar s) { return s.i; });
  return ofInts(elementType, shape, std::move(ints));
}

Tensor Tensor::stacked(std::vector<Tensor> slices) {
  Tensor tensor;
  tensor.elementType = slices.front().elementType;
  tensor.shape = slices.front().shape;
  tensor.shape.insert(tensor.shape.begin(), slices.size());
  tensor.storage = slices.front().storage;
  tensor.slices =
      std::make_shared<const std::vector<Tensor>>(std::move(slices));
  return tensor;
}

Tensor Tensor::undefined(Type elementType, ArrayRef<int64_t> shape) {
  int64_t count = ShapedType::getNumElements(shape);
  Tensor tensor = isa<FloatType>(elementType)
                      ? ofFloats(elementType, shape, std::vector<double>(count))
                      : ofInts(elementType, shape, std::vector<int64_t>(count));
  return tensor.withDefined(std::vector<bool>(count, false));
}

Tensor Tensor::withDefined(std::vector<bool> mask) const {
  Tensor tensor = *this;
  tensor.defined.reset();
  if (llvm::is_contained(mask, false))
    tensor.defined = std::make_shared<const std::vector<bool>>(std::move(mask));
  return tensor;
}

bool Tensor::isFullyDefined() const { return !defined; }

int64_t Tensor::getNumElements() const {
  return ShapedType::getNumElements(shape);
}

double Tensor::getFloat(int64_t position) const {
  return decode(storage, data + position * bytesOf(storage));
}

int64_t Tensor::getInt(int64_t position) const {
  return loadAs<int64_t>(data + position * 8);
}

Scalar Tensor::getScalar(int64_t position) const {
  Scalar scalar;
  if (storage == Storage::I64)
    scalar.i = getInt(position);
  else
    scalar.f = getFloat(position);
  return scalar;
}

void Tensor::getFloats(int64_t start, int64_t stride, int64_t count,
                       double *out) const {
  auto run = [&](auto load) {
    int64_t bytes = bytesOf(storage);
    const char *address = data + start * bytes;
    for (int64_t i = 0; i < count; ++i, address += stride * bytes)
      out[i] = load(address);
  };
  switch (storage) {
  case Storage::I64:
    return run(loadAs<int64_t>);
  case Storage::F64:
    return run(loadAs<double>);
  case Storage::F32:
    return run(loadAs<float>);
  case Storage::BF16:
    return run([](const char *p) { return decodeBF16(loadAs<uint16_t>(p)); });
  case Storage::F16:
    return run([](const char *p) { return decodeF16(loadAs<uint16_t>(p)); });
  }
}

std::vector<double> Tensor::getFloats() const {
  std::vector<double> values(getNumElements());
  getFloats(0, 1, values.size(), values.data());
  return values;
}

std::vector<int64_t> Tensor::getInts() const {
  std::vector<int64_t> values(getNumElements());
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = getInt(i);
  return values;
}

Tensor Tensor::slice(int64_t index) const {
  if (slices)
    return (*slices)[index];
  Tensor tensor = *this;
  tensor.shape.erase(tensor.shape.begin());
  int64_t count = tensor.getNumElements();
  tensor.data += index * count * bytesOf(storage);
  if (defined)
    return tensor.withDefined(
        std::vector<bool>(defined->begin() + index * count,
                          defined->begin() + (index + 1) * count));
  return tensor;
}

Tensor Tensor::contiguous() const {
  if (!slices)
    return *this;
  int64_t bytes = slices->front().getNumElements() * bytesOf(storage);
  auto buffer = std::make_shared<std::vector<char>>(bytes * slices->size());
  for (auto [i, part] : llvm::enumerate(*slices))
    std::memcpy(buffer->data() + i * bytes, part.data, bytes);
  return borrowed(elementType, shape, storage, buffer->data(), buffer);
}

Tensor Tensor::reshaped(ArrayRef<int64_t> newShape) const {
  Tensor tensor = contiguous();
  tensor.shape.assign(newShape.begin(), newShape.end());
  return tensor;
}

Tensor Tensor::rounded() const {
  if (storage != Storage::F64 || elementType.isF64())
    return *this;
  std::vector<double> values = getFloats();
  for (double &value : values)
    value = roundToType(value, elementType);
  Tensor tensor = ofFloats(elementType, shape, std::move(values));
  tensor.defined = defined;
  return tensor;
}

std::string Tensor::getTypeString() const {
  std::string text;
  llvm::raw_string_ostream os(text);
  for (int64_t dim : shape)
    os << dim << 'x';
  os << elementType;
  return text;
}

//===----------------------------------------------------------------------===//
// Routing
//===----------------------------------------------------------------------===//

Routing Routing::build(int64_t experts, int64_t perToken, int64_t tokens,
                       ArrayRef<int64_t> ids, ArrayRef<float> weights) {
  Routing routing;
  routing.experts = experts;
  routing.perToken = perToken;
  routing.expertOffsets.assign(experts + 1, 0);
  for (int64_t id : ids)
    if (id >= 0)
      ++routing.expertOffsets[id + 1];
  for (int64_t e = 0; e < experts; ++e)
    routing.expertOffsets[e + 1] += routing.expertOffsets[e];

  int64_t rows = routing.expertOffsets.back();
  routing.rowToken.resize(rows);
  routing.rowWeight.resize(rows);
  routing.tokenRows.reserve(rows);
  routing.tokenOffsets.push_back(0);
  std::vector<int64_t> next(routing.expertOffsets);
  std::vector<int64_t> order;
  for (int64_t t = 0; t < tokens; ++t) {
    order.clear();
    for (int64_t pair = t * perToken; pair < (t + 1) * perToken; ++pair)
      if (ids[pair] >= 0)
        order.push_back(pair);
    llvm::sort(order, [&](int64_t a, int64_t b) { return ids[a] < ids[b]; });
    for (int64_t pair : order) {
      int64_t row = next[ids[pair]]++;
      routing.rowToken[row] = t;
      routing.rowWeight[row] = weights[pair];
      routing.tokenRows.push_back(row);
    }
    routing.tokenOffsets.push_back(routing.tokenRows.size());
  }
  return routing;
}

std::vector<int64_t> Routing::getRowExperts() const {
  std::vector<int64_t> rowExperts;
  for (int64_t e = 0; e < experts; ++e)
    rowExperts.resize(expertOffsets[e + 1], e);
  return rowExperts;
}

Routing Routing::restricted(int64_t begin, int64_t end) const {
  Routing part;
  part.experts = end - begin;
  part.perToken = std::min(perToken, part.experts);
  int64_t first = expertOffsets[begin], last = expertOffsets[end];
  for (int64_t e = begin; e <= end; ++e)
    part.expertOffsets.push_back(expertOffsets[e] - first);
  part.rowToken.assign(rowToken.begin() + first, rowToken.begin() + last);
  part.rowWeight.assign(rowWeight.begin() + first, rowWeight.begin() + last);
  part.tokenOffsets.push_back(0);
  for (int64_t t = 0; t < getNumTokens(); ++t) {
    for (int64_t i = tokenOffsets[t]; i < tokenOffsets[t + 1]; ++i)
      if (tokenRows[i] >= first && tokenRows[i] < last)
        part.tokenRows.push_back(tokenRows[i] - first);
    part.tokenOffsets.push_back(part.tokenRows.size());
  }
  return part;
}
