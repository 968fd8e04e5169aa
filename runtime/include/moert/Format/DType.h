//===- DType.h - Element types of tensors in files ------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_FORMAT_DTYPE_H
#define MOERT_FORMAT_DTYPE_H

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace moert {

/// Element types that a safetensors or .npy file may hold.
enum class DType : uint8_t {
  Bool,
  U8,
  I8,
  F8E4M3,
  F8E5M2,
  F8E8M0,
  I16,
  U16,
  F16,
  BF16,
  I32,
  U32,
  F32,
  I64,
  U64,
  F64,
};

/// Bytes per element.
uint64_t byteSize(DType type);

/// The name in a safetensors header, e.g. "BF16".
std::string_view name(DType type);

/// The inverse of `name`; nothing when unknown.
std::optional<DType> parseDType(std::string_view name);

/// a * b and a + b; nothing on overflow.
std::optional<uint64_t> checkedMul(uint64_t a, uint64_t b);
std::optional<uint64_t> checkedAdd(uint64_t a, uint64_t b);

/// Product of the dimensions times `elementBytes`; nothing when a dimension is
/// negative or the product does not fit 63 bits.
std::optional<uint64_t> shapeBytes(const std::vector<int64_t> &shape,
                                   uint64_t elementBytes);

} // namespace moert

#endif // MOERT_FORMAT_DTYPE_H
