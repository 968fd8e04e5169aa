//===- Decode.cpp - Encoded weights of a checkpoint -----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moert/Format/Decode.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

using namespace moert;

namespace {

uint32_t bitsOf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

/// Element types of results, and rounding to them: to nearest, ties to even.
struct ToF32 {
  using Type = float;
  static float round(float value) { return value; }
};

struct ToBF16 {
  using Type = uint16_t;
  static uint16_t round(float value) {
    const uint32_t bits = bitsOf(value);
    if (value != value)
      return static_cast<uint16_t>(bits >> 16 | 0x40);
    return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  }
};

struct ToF16 {
  using Type = uint16_t;
  static uint16_t round(float value) {
    const uint32_t bits = bitsOf(value);
    const uint16_t sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
    if (value != value)
      return sign | 0x7e00;
    const uint32_t magnitude = bits & 0x7fffffff;
    // From 65520 on the nearest number is infinity.
    if (magnitude >= 0x477ff000)
      return sign | 0x7c00;
    // Below 2^-14 the result has a fixed unit of 2^-24.
    if (magnitude < 0x38800000) {
      float scaled = std::fabs(value) * 0x1p24f;
      return sign | static_cast<uint16_t>(std::nearbyint(scaled));
    }
    const uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
    return sign | static_cast<uint16_t>((rounded - 0x38000000) >> 13);
  }
};

//===----------------------------------------------------------------------===//
// Codes
//===----------------------------------------------------------------------===//

/// Every value of a code of 1 sign, `exponentBits` and the rest mantissa bits,
/// without infinities; `Bits` in all. The largest code of 8 bits is NaN.
template <unsigned Bits>
std::array<float, 1 << Bits> floatValues(unsigned exponentBits, int bias) {
  std::array<float, 1 << Bits> values;
  const unsigned mantissaBits = Bits - 1 - exponentBits;
  for (unsigned code = 0; code < values.size(); ++code) {
    const unsigned magnitude = code & (values.size() / 2 - 1);
    const unsigned exponent = magnitude >> mantissaBits;
    unsigned mantissa = magnitude & ((1u << mantissaBits) - 1);
    if (exponent)
      mantissa |= 1u << mantissaBits;
    float value = std::ldexp(float(mantissa), int(std::max(exponent, 1u)) -
                                                  bias - int(mantissaBits));
    if (Bits == 8 && magnitude == values.size() / 2 - 1)
      value = std::numeric_limits<float>::quiet_NaN();
    values[code] = code == magnitude ? value : -value;
  }
  return values;
}

const std::array<float, 256> &e4m3Values() {
  static const std::array<float, 256> values = floatValues<8>(4, 7);
  return values;
}

/// 2^(code - 127).
float e8m0Value(uint8_t code) {
  return code == 255 ? std::numeric_limits<float>::quiet_NaN()
                     : std::ldexp(1.0f, int(code) - 127);
}

/// The 16 results for each scale of MXFP4.
template <typename To>
const std::array<std::array<typename To::Type, 16>, 256> &mxfp4Values() {
  static const auto values = [] {
    std::array<std::array<typename To::Type, 16>, 256> all;
    const std::array<float, 16> e2m1 = floatValues<4>(2, 1);
    for (unsigned scale = 0; scale < 256; ++scale)
      for (unsigned code = 0; code < 16; ++code)
        all[scale][code] = To::round(e2m1[code] * e8m0Value(uint8_t(scale)));
    return all;
  }();
  return values;
}

template <typename To>
void decodeMxfp4(const uint8_t *codes, const uint8_t *scales, int64_t begin,
                 int64_t end, typename To::Type *out) {
  const auto &values = mxfp4Values<To>();
  for (int64_t i = begin; i < end;) {
    const auto &of = values[scales[i / 32]];
    const int64_t blockEnd = std::min(end, i / 32 * 32 + 32);
    if (i % 2 && i < blockEnd)
      *out++ = of[codes[i++ / 2] >> 4];
    for (; i + 1 < blockEnd; i += 2, out += 2) {
      const uint8_t pair = codes[i / 2];
      out[0] = of[pair & 15];
      out[1] = of[pair >> 4];
    }
    if (i < blockEnd)
      *out++ = of[codes[i++ / 2] & 15];
  }
}

/// Codes of a byte with scales that `scaleOf(row)` gives for a row: one for
/// every `group` columns.
struct Rows {
  int64_t columns;
  int64_t group;
};

template <typename To, typename Value, typename ScaleOf>
void decodeRows(const Rows &rows, const uint8_t *codes, int64_t begin,
                int64_t end, const Value &valueOf, const ScaleOf &scaleOf,
                typename To::Type *out) {
  for (int64_t i = begin; i < end;) {
    const int64_t row = i / rows.columns, column = i % rows.columns;
    const int64_t groupEnd =
        std::min((column / rows.group + 1) * rows.group, rows.columns);
    const int64_t last = std::min(end, i + groupEnd - column);
    const float scale = scaleOf(row, column / rows.group);
    for (; i < last; ++i)
      *out++ = To::round(valueOf(codes[i]) * scale);
  }
}

float loadF32(const uint8_t *data, int64_t i) {
  float value;
  std::memcpy(&value, data + 4 * i, sizeof(value));
  return value;
}

float loadBF16(const uint8_t *data, int64_t i) {
  uint16_t half;
  std::memcpy(&half, data + 2 * i, sizeof(half));
  const uint32_t bits = uint32_t(half) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

template <typename To>
void decodeFp8(const fb::Weight &weight, const SourceTensors &source,
               int64_t begin, int64_t end, typename To::Type *out) {
  const std::vector<int64_t> &shape = source.codes->shape;
  const std::vector<int64_t> &scaleShape = source.scales->shape;
  const size_t rank = shape.size();
  const int64_t n = shape[rank - 2], blockRows = weight.block()->Get(0);
  const int64_t scaleRows = scaleShape[rank - 2];
  const int64_t scaleColumns = scaleShape[rank - 1];
  const std::array<float, 256> &values = e4m3Values();
  decodeRows<To>(
      {shape[rank - 1], weight.block()->Get(1)}, source.codes->data, begin, end,
      [&](uint8_t code) { return values[code]; },
      [&](int64_t row, int64_t column) {
        const int64_t scaleRow = row / n * scaleRows + row % n / blockRows;
        return loadF32(source.scales->data, scaleRow * scaleColumns + column);
      },
      out);
}

template <typename To>
void decodeInt8(const SourceTensors &source, int64_t begin, int64_t end,
                typename To::Type *out) {
  const std::vector<int64_t> &shape = source.codes->shape;
  const std::vector<int64_t> &scaleShape = source.scales->shape;
  const size_t rank = shape.size();
  const bool isF32 = source.scales->dtype == DType::F32;
  const Rows rows{shape[rank - 1], shape[rank - 1] / scaleShape[rank - 1]};
  decodeRows<To>(
      rows, source.codes->data, begin, end,
      [](uint8_t code) { return float(static_cast<int8_t>(code)); },
      [&](int64_t row, int64_t column) {
        int64_t at = column, stride = scaleShape[rank - 1];
        for (size_t d = rank - 1; d-- > 0;) {
          at += row % shape[d] / (shape[d] / scaleShape[d]) * stride;
          stride *= scaleShape[d];
          row /= shape[d];
        }
        return isF32 ? loadF32(source.scales->data, at)
                     : loadBF16(source.scales->data, at);
      },
      out);
}

template <typename To>
void decodeTo(const fb::Weight &weight, const SourceTensors &source,
              int64_t begin, int64_t end, uint8_t *target) {
  auto *out = reinterpret_cast<typename To::Type *>(target);
  switch (weight.encoding()) {
  case fb::WeightEncoding::Mxfp4:
    return decodeMxfp4<To>(source.codes->data, source.scales->data, begin, end,
                           out);
  case fb::WeightEncoding::Fp8Block:
    return decodeFp8<To>(weight, source, begin, end, out);
  case fb::WeightEncoding::Int8Scaled:
    return decodeInt8<To>(source, begin, end, out);
  case fb::WeightEncoding::Plain:
    break;
  }
}

} // namespace

void moert::decode(const fb::Weight &weight, const SourceTensors &source,
                   int64_t begin, int64_t end, uint8_t *target,
                   const ParallelFor &parallel) {
  const int64_t elementBytes = byteSize(checkpointType(weight.dtype()));
  // Enough elements in a piece to make handing it out worthwhile.
  constexpr int64_t piece = 1 << 18;
  const int64_t pieces = (end - begin + piece - 1) / piece;
  auto body = [&](int64_t i) {
    const int64_t first = begin + i * piece;
    const int64_t last = std::min(end, first + piece);
    uint8_t *out = target + (first - begin) * elementBytes;
    if (weight.dtype() == fb::DType::F32)
      decodeTo<ToF32>(weight, source, first, last, out);
    else if (weight.dtype() == fb::DType::BF16)
      decodeTo<ToBF16>(weight, source, first, last, out);
    else
      decodeTo<ToF16>(weight, source, first, last, out);
  };
  if (parallel && pieces > 1)
    return parallel(pieces, body);
  for (int64_t i = 0; i < pieces; ++i)
    body(i);
}

void moert::dropSource(const fb::Weight &weight, const SourceTensors &source,
                       int64_t begin, int64_t end) {
  if (weight.encoding() == fb::WeightEncoding::Mxfp4) {
    source.codes->dropPages(begin / 2, (end + 1) / 2 - begin / 2);
    source.scales->dropPages(begin / 32, (end + 31) / 32 - begin / 32);
    return;
  }
  const int64_t bytes = byteSize(source.codes->dtype);
  source.codes->dropPages(begin * bytes, (end - begin) * bytes);
  // Few bytes; which of them a range used is not worth knowing.
  if (source.scales)
    source.scales->dropPages(0, source.scales->bytes);
}
