//===- DType.cpp - Element types of tensors in files ----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moert/Format/DType.h"

using namespace moert;

namespace {
struct Row {
  DType type;
  const char *name;
  uint64_t bytes;
};
constexpr Row rows[] = {
    {DType::Bool, "BOOL", 1},      {DType::U8, "U8", 1},
    {DType::I8, "I8", 1},          {DType::F8E4M3, "F8_E4M3", 1},
    {DType::F8E5M2, "F8_E5M2", 1}, {DType::F8E8M0, "F8_E8M0", 1},
    {DType::I16, "I16", 2},        {DType::U16, "U16", 2},
    {DType::F16, "F16", 2},        {DType::BF16, "BF16", 2},
    {DType::I32, "I32", 4},        {DType::U32, "U32", 4},
    {DType::F32, "F32", 4},        {DType::I64, "I64", 8},
    {DType::U64, "U64", 8},        {DType::F64, "F64", 8},
};
} // namespace

uint64_t moert::byteSize(DType type) {
  return rows[static_cast<size_t>(type)].bytes;
}

std::string_view moert::name(DType type) {
  return rows[static_cast<size_t>(type)].name;
}

std::optional<DType> moert::parseDType(std::string_view name) {
  for (const Row &row : rows)
    if (name == row.name)
      return row.type;
  return std::nullopt;
}

std::optional<uint64_t> moert::checkedMul(uint64_t a, uint64_t b) {
  uint64_t result;
  if (__builtin_mul_overflow(a, b, &result))
    return std::nullopt;
  return result;
}

std::optional<uint64_t> moert::checkedAdd(uint64_t a, uint64_t b) {
  uint64_t result;
  if (__builtin_add_overflow(a, b, &result))
    return std::nullopt;
  return result;
}

std::optional<uint64_t> moert::shapeBytes(const std::vector<int64_t> &shape,
                                          uint64_t elementBytes) {
  uint64_t total = elementBytes;
  for (int64_t dim : shape) {
    if (dim < 0)
      return std::nullopt;
    std::optional<uint64_t> next = checkedMul(total, dim);
    if (!next)
      return std::nullopt;
    total = *next;
  }
  if (total > uint64_t(INT64_MAX))
    return std::nullopt;
  return total;
}
