//===- Entry.h - Entry points of the fuzzers ------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One function per reader. Each gives the reader arbitrary bytes and then uses
// what it accepted the way the runtime does, so that an accepted file that is
// not safe to use is found too. The libFuzzer targets and the replay test call
// the same functions.
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_FUZZ_ENTRY_H
#define MOERT_FUZZ_ENTRY_H

#include <cstddef>
#include <cstdint>

namespace moert::fuzz {

void plan(const uint8_t *data, size_t size);
void metadata(const uint8_t *data, size_t size);
void elf(const uint8_t *data, size_t size);
void offload(const uint8_t *data, size_t size);
void safetensors(const uint8_t *data, size_t size);

} // namespace moert::fuzz

#endif // MOERT_FUZZ_ENTRY_H
