//===- TensorMap.h - The emulator's tensor maps ---------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CODEGEN_GPU_EMULATION_RUNTIME_TENSORMAP_H
#define MOE_CODEGEN_GPU_EMULATION_RUNTIME_TENSORMAP_H

#include <cstdint>

namespace moe::emu {

/// In place of the 128 opaque bytes of a CUtensorMap.
struct TensorMap {
  static constexpr uint64_t kMagic = 0x70614D726F736E54ull;

  uint64_t magic;
  uint8_t *base;
  uint32_t elementBytes, rank, swizzle;
  uint32_t box[5]; // elements
  uint64_t sizes[5];
  uint64_t strides[4]; // bytes, of dimensions 1 and up

  uint32_t innerBytes() const { return box[0] * elementBytes; }
  uint32_t rows() const {
    uint32_t count = 1;
    for (uint32_t i = 1; i < rank; ++i)
      count *= box[i];
    return count;
  }
  uint32_t boxBytes() const { return innerBytes() * rows(); }
};
static_assert(sizeof(TensorMap) <= 128, "must fit into a CUtensorMap");

/// Swizzles of 32, 64 and 128 bytes (modes 1 to 3) move 16-byte chunks by the
/// address bits of the row.
inline uint32_t swizzled(uint32_t address, uint32_t mode) {
  uint32_t mask = (1u << mode) - 1;
  return address ^ ((address >> 7 & mask) << 4);
}

} // namespace moe::emu

#endif // MOE_CODEGEN_GPU_EMULATION_RUNTIME_TENSORMAP_H
