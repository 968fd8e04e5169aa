//===- Fingerprint.cpp - Identity of a set of weights ---------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moert/Format/Decode.h"

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

void FingerprintBuilder::add(const fb::Weight &weight) {
  const StoredSource stored = storedSource(weight);
  auto addAll = [&](const auto *names, DType type,
                    const std::vector<int64_t> &shape) {
    if (names)
      for (const flatbuffers::String *name : *names)
        add(name->string_view(), type, shape,
            shapeBytes(shape, byteSize(type)).value_or(0));
  };
  addAll(weight.sources(), stored.type, stored.shape);
  if (!stored.scaleTypes.empty())
    addAll(weight.scale_sources(), stored.scaleTypes[0], stored.scaleShape);
}

std::string moert::computeFingerprint(const fb::Plan &plan) {
  FingerprintBuilder builder;
  for (const fb::Weight *weight : *plan.weights())
    builder.add(*weight);
  return builder.finish();
}
