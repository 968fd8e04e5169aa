//===- TensorMap.cpp - The emulator's tensor maps -------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TensorMap.h"

#include "moe/Codegen/GPU/Emulation/Launch.h"

#include <cstring>

namespace moe::emu {

std::optional<std::string>
encodeTensorMap(void *map, uint32_t elementBytes, uint32_t rank, void *base,
                const uint64_t *sizes, const uint64_t *strides,
                const uint32_t *box, uint32_t swizzle) {
  auto text = [](uint64_t value) { return std::to_string(value); };
  if (uintptr_t(map) % 64)
    return "a tensor map must be aligned to 64 bytes";
  if (elementBytes != 1 && elementBytes != 2 && elementBytes != 4 &&
      elementBytes != 8)
    return "elements of " + text(elementBytes) + " bytes are not possible";
  if (rank < 1 || rank > 5)
    return "rank " + text(rank) + " is not between 1 and 5";
  if (swizzle > 3)
    return "swizzle mode " + text(swizzle) + " is not between 0 and 3";
  if (!base || uintptr_t(base) % 16)
    return "the base address must be aligned to 16 bytes";
  for (uint32_t i = 0; i < rank; ++i) {
    std::string where = " of dimension " + text(i);
    if (sizes[i] == 0 || sizes[i] > uint64_t(1) << 32)
      return "size " + text(sizes[i]) + where + " is not between 1 and 2^32";
    if (box[i] == 0 || box[i] > 256)
      return "box " + text(box[i]) + where + " is not between 1 and 256";
    if (i == 0)
      continue;
    uint64_t stride = strides[i - 1];
    if (stride % 16 || stride >= uint64_t(1) << 40)
      return "stride " + text(stride) + where +
             " is not a multiple of 16 below 2^40";
    if (stride < (i == 1 ? sizes[0] * elementBytes : strides[i - 2]))
      return "stride " + text(stride) + where +
             " is smaller than the dimension below it";
  }
  uint32_t inner = box[0] * elementBytes;
  if (inner % 16)
    return "the box's inner dimension of " + text(inner) +
           " bytes is not a multiple of 16";
  if (swizzle && inner > 16u << swizzle)
    return "the box's inner dimension of " + text(inner) +
           " bytes is larger than the swizzle of " + text(16u << swizzle);

  TensorMap encoded{};
  encoded.magic = TensorMap::kMagic;
  encoded.base = static_cast<uint8_t *>(base);
  encoded.elementBytes = elementBytes;
  encoded.rank = rank;
  encoded.swizzle = swizzle;
  for (uint32_t i = 0; i < rank; ++i) {
    encoded.sizes[i] = sizes[i];
    encoded.box[i] = box[i];
    if (i)
      encoded.strides[i - 1] = strides[i - 1];
  }
  std::memset(map, 0, 128);
  std::memcpy(map, &encoded, sizeof encoded);
  return std::nullopt;
}

} // namespace moe::emu
