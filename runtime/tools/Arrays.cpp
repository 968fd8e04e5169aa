//===- Arrays.cpp - Arrays from and to files ------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Arrays.h"

#include "moert/Format/PlanReader.h"

#include <cmath>
#include <cstring>
#include <fmt/format.h>
#include <functional>

using namespace moert;
using namespace moert::tools;

StatusOr<FileArgument> tools::parseFileArgument(const std::string &option,
                                                const std::string &text) {
  FileArgument result;
  size_t at = text.find('@');
  if (at == std::string::npos || at + 1 == text.size() ||
      (at > 0 && text[at - 1] != '='))
    return Status::error(1,
                         fmt::format("{} has the bad value '{}'", option, text))
        .fix(fmt::format("write {}=[name=]@file", option));
  if (at > 0)
    result.name = text.substr(0, at - 1);
  result.path = text.substr(at + 1);
  const std::string suffix = ".safetensors:";
  size_t split = result.path.rfind(suffix);
  if (split != std::string::npos) {
    result.tensor = result.path.substr(split + suffix.size());
    result.path.resize(split + suffix.size() - 1);
  }
  return result;
}

static bool isSafetensors(const std::string &path) {
  const std::string suffix = ".safetensors";
  return path.size() > suffix.size() &&
         path.compare(path.size() - suffix.size(), suffix.size(), suffix) == 0;
}

/// Copies data that does not lie at a multiple of its element size.
static void align(Array &array) {
  if (reinterpret_cast<uintptr_t>(array.data) % byteSize(array.dtype) == 0)
    return;
  array.owned.assign(array.data, array.data + array.bytes);
  array.data = array.owned.data();
}

StatusOr<Array> tools::readArray(const FileArgument &argument) {
  Array array;
  if (!isSafetensors(argument.path)) {
    MOE_ASSIGN_OR_RETURN(NpyArray npy, readNpy(argument.path));
    array.dtype = npy.dtype;
    array.shape = std::move(npy.shape);
    array.data = npy.data;
    array.bytes = npy.bytes;
    array.file = std::move(npy.file);
    align(array);
    return StatusOr<Array>(std::move(array));
  }
  MOE_ASSIGN_OR_RETURN(std::shared_ptr<const SafetensorsFile> file,
                       SafetensorsFile::open(argument.path));
  const TensorEntry *entry = nullptr;
  if (!argument.tensor.empty())
    entry = file->find(argument.tensor);
  else if (file->tensors().size() == 1)
    entry = &file->tensors()[0];
  if (!entry) {
    std::string known;
    for (const TensorEntry &tensor : file->tensors())
      known += (known.empty() ? "" : ", ") + tensor.name;
    return Status::error(
               2, argument.tensor.empty()
                      ? "the file holds several tensors"
                      : fmt::format("there is no tensor '{}'", argument.tensor))
        .at(argument.path)
        .because(fmt::format("it holds: {}", known))
        .fix("name one: @file.safetensors:tensor");
  }
  array.dtype = entry->dtype;
  array.shape = entry->shape;
  array.data = entry->data;
  array.bytes = entry->bytes;
  array.file = file;
  align(array);
  return StatusOr<Array>(std::move(array));
}

//===----------------------------------------------------------------------===//
// Conversion
//===----------------------------------------------------------------------===//

static float fromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

static double halfToDouble(uint16_t h) {
  int exponent = h >> 10 & 31, mantissa = h & 1023;
  double value;
  if (exponent == 31)
    value = mantissa ? std::nan("") : HUGE_VAL;
  else if (exponent == 0)
    value = std::ldexp(mantissa, -24);
  else
    value = std::ldexp(mantissa + 1024, exponent - 25);
  return h & 0x8000 ? -value : value;
}

template <typename T> static double get(const uint8_t *data, int64_t i) {
  T value;
  std::memcpy(&value, data + i * sizeof(T), sizeof(T));
  return static_cast<double>(value);
}

double tools::element(DType dtype, const uint8_t *data, int64_t i) {
  uint16_t half;
  switch (dtype) {
  case DType::F32:
    return get<float>(data, i);
  case DType::F64:
    return get<double>(data, i);
  case DType::BF16:
    std::memcpy(&half, data + 2 * i, 2);
    return fromBits(uint32_t(half) << 16);
  case DType::F16:
    std::memcpy(&half, data + 2 * i, 2);
    return halfToDouble(half);
  case DType::I16:
    return get<int16_t>(data, i);
  case DType::U16:
    return get<uint16_t>(data, i);
  case DType::I32:
    return get<int32_t>(data, i);
  case DType::U32:
    return get<uint32_t>(data, i);
  case DType::I64:
    return get<int64_t>(data, i);
  case DType::U64:
    return get<uint64_t>(data, i);
  case DType::I8:
    return get<int8_t>(data, i);
  default:
    return get<uint8_t>(data, i);
  }
}

/// See "Rounding between formats" in docs/Numerics.md.
static uint16_t roundToBf16(float value) {
  uint32_t u;
  std::memcpy(&u, &value, sizeof(u));
  if (std::isnan(value))
    return static_cast<uint16_t>(u >> 16 | 0x40);
  return static_cast<uint16_t>((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

Status tools::convertArray(Array &array, fb::DType needed, bool allow,
                           const std::string &what) {
  const DType target = checkpointType(needed);
  if (array.dtype == DType::U16 && target == DType::BF16)
    array.dtype = DType::BF16;
  if (array.dtype == target)
    return {};
  auto isFloat = [](DType t) {
    return t == DType::F32 || t == DType::BF16 || t == DType::F16 ||
           t == DType::F64;
  };
  auto isInteger = [](DType t) { return t == DType::I32 || t == DType::I64; };
  const bool possible = ((target == DType::F32 || target == DType::BF16) &&
                         isFloat(array.dtype)) ||
                        (isInteger(target) && isInteger(array.dtype));
  if (!allow || !possible)
    return Status::error(13, fmt::format("{} is {}, needed is {}", what,
                                         name(array.dtype), name(target)))
        .fix(possible ? "convert it with --convert-inputs, or store it as the "
                        "type needed"
                      : "store it as the type needed");
  const int64_t count = array.bytes / byteSize(array.dtype);
  std::vector<uint8_t> converted(count * byteSize(target));
  for (int64_t i = 0; i < count; ++i) {
    uint8_t *out = converted.data() + i * byteSize(target);
    if (isInteger(target)) {
      int64_t value;
      if (array.dtype == DType::I64) {
        std::memcpy(&value, array.data + 8 * i, 8);
      } else {
        int32_t narrow;
        std::memcpy(&narrow, array.data + 4 * i, 4);
        value = narrow;
      }
      if (target == DType::I32 && (value < INT32_MIN || value > INT32_MAX))
        return Status::error(13, fmt::format("{} has the value {}, which does "
                                             "not fit I32",
                                             what, value));
      std::memcpy(out, &value, byteSize(target)); // Little-endian.
      continue;
    }
    float value = static_cast<float>(element(array.dtype, array.data, i));
    if (target == DType::BF16) {
      uint16_t half = roundToBf16(value);
      std::memcpy(out, &half, 2);
    } else {
      std::memcpy(out, &value, 4);
    }
  }
  array.owned = std::move(converted);
  array.data = array.owned.data();
  array.bytes = array.owned.size();
  array.dtype = target;
  return {};
}

//===----------------------------------------------------------------------===//
// Comparison
//===----------------------------------------------------------------------===//

StatusOr<Comparison> tools::compareArrays(const Array &got,
                                          const Array &expected,
                                          const Tolerance &tolerance,
                                          const std::string &what) {
  if (got.shape != expected.shape)
    return Status::error(501, fmt::format("{} has shape {}, expected is {}",
                                          what, formatShape(got.shape),
                                          formatShape(expected.shape)));
  DType other = expected.dtype;
  if (other == DType::U16 && got.dtype == DType::BF16)
    other = DType::BF16;
  Comparison result;
  double difference2 = 0, expected2 = 0;
  int64_t worst = -1;
  const int64_t count = got.bytes / byteSize(got.dtype);
  for (int64_t i = 0; i < count; ++i) {
    const double a = element(got.dtype, got.data, i);
    const double b = element(other, expected.data, i);
    if (a == b || (std::isnan(a) && std::isnan(b))) {
      if (std::isfinite(b))
        expected2 += b * b;
      continue;
    }
    double difference = std::fabs(a - b);
    if (!std::isfinite(difference))
      difference = HUGE_VAL;
    difference2 += difference * difference;
    if (std::isfinite(b))
      expected2 += b * b;
    if (!(difference <= tolerance.atol + tolerance.rtol * std::fabs(b)))
      ++result.outside;
    if (worst < 0 || difference > result.largestDifference) {
      result.largestDifference = difference;
      result.got = a;
      result.expected = b;
      worst = i;
    }
  }
  if (difference2 > 0)
    result.relativeFrobenius =
        expected2 > 0 ? std::sqrt(difference2 / expected2) : HUGE_VAL;
  if (worst >= 0) {
    result.position.resize(got.shape.size());
    for (size_t d = got.shape.size(); d-- > 0;) {
      result.position[d] = worst % got.shape[d];
      worst /= got.shape[d];
    }
  }
  result.good = (!tolerance.elementwise || result.outside == 0) &&
                (!tolerance.frobenius ||
                 result.relativeFrobenius <= *tolerance.frobenius);
  return result;
}
