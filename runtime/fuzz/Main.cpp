//===- Main.cpp - A libFuzzer target --------------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Built once per reader with MOERT_FUZZ_ENTRY set to its entry point.
//
//===----------------------------------------------------------------------===//

#include "Entry.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  moert::fuzz::MOERT_FUZZ_ENTRY(data, size);
  return 0;
}
