//===- Fingerprint.cpp - Identity of a set of weights ---------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moert/Format/Packing.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

using namespace moert;

uint64_t moert::xxh3(const void *data, uint64_t size) {
  return XXH3_64bits(data, size);
}

static std::string hex16(uint64_t value) {
  static const char digits[] = "0123456789abcdef";
  std::string out(16, '0');
  for (int i = 15; i >= 0; --i, value >>= 4)
    out[i] = digits[value & 15];
  return out;
}

std::string moert::xxh3Hex(const void *data, uint64_t size) {
  return hex16(xxh3(data, size));
}

void FingerprintBuilder::add(std::string_view tensor, DType dtype,
                             const std::vector<int64_t> &shape,
                             uint64_t bytes) {
  text += concat(tensor, '\0', name(dtype), '\0');
  for (int64_t dim : shape)
    text += concat(dim, ',');
  text += concat('\0', bytes, '\n');
}

std::string FingerprintBuilder::finish() const {
  return xxh3Hex(text.data(), text.size());
}

std::string moert::computeFingerprint(const fb::Plan &plan) {
  FingerprintBuilder builder;
  for (const fb::Weight *weight : *plan.weights()) {
    std::vector<int64_t> shape(weight->source_shape()->begin(),
                               weight->source_shape()->end());
    DType type = checkpointType(weight->dtype());
    uint64_t bytes = shapeBytes(shape, byteSize(type)).value_or(0);
    for (const flatbuffers::String *source : *weight->sources())
      builder.add(source->string_view(), type, shape, bytes);
  }
  return builder.finish();
}
