//===- ArchInfo.cpp - Limits of GPU architectures -----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Codegen/GPU/KernelExpansion.h"

using namespace mlir;
using namespace mlir::moe::gpu;

static constexpr int64_t kKiB = 1024;

// CUDA C++ programming guide, "Compute Capabilities"; a block pays 1 KiB of
// shared memory for the system.
static const ArchInfo kArchs[] = {
    {"sm_80", 80, 163 * kKiB, 164 * kKiB, kKiB, 65536, 2048, 70},
    {"sm_86", 86, 99 * kKiB, 100 * kKiB, kKiB, 65536, 1536, 71},
    {"sm_89", 89, 99 * kKiB, 100 * kKiB, kKiB, 65536, 1536, 78},
    {"sm_90a", 90, 227 * kKiB, 228 * kKiB, kKiB, 65536, 2048, 80},
    {"sm_100a", 100, 227 * kKiB, 228 * kKiB, kKiB, 65536, 2048, 86},
    {"sm_120a", 120, 99 * kKiB, 100 * kKiB, kKiB, 65536, 1536, 87},
};

ArrayRef<ArchInfo> mlir::moe::gpu::allArchs() { return kArchs; }

const ArchInfo *mlir::moe::gpu::findArch(StringRef name) {
  for (const ArchInfo &arch : kArchs)
    if (arch.name == name)
      return &arch;
  return nullptr;
}
