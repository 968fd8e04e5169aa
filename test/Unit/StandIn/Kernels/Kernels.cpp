//===- Kernels.cpp - Kernels as if retargeted to the host -----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Codegen/GPU/Emulation/Operations.h"

namespace {

uint32_t indexOf(const moe_emu_thread *thread) {
  return thread->ctaid[0] * thread->ntid[0] + thread->tid[0];
}

template <typename T> T param(void **params, int index) {
  return *static_cast<T *>(params[index]);
}

/// out[i] = a[i] + b[i]
void add(moe_emu_thread *thread, void **params) {
  auto *out = param<float *>(params, 0);
  auto *a = param<const float *>(params, 1);
  auto *b = param<const float *>(params, 2);
  uint32_t i = indexOf(thread);
  if (i >= param<uint32_t>(params, 3))
    return;
  moe_emu_check(thread, a + i, 4, 4, MOE_EMU_READ, "load a");
  moe_emu_check(thread, b + i, 4, 4, MOE_EMU_READ, "load b");
  moe_emu_check(thread, out + i, 4, 4, MOE_EMU_WRITE, "store out");
  out[i] = a[i] + b[i];
}

/// x[i] = x[i] * factor + 1: the order of two launches matters.
void scale(moe_emu_thread *thread, void **params) {
  auto *x = param<float *>(params, 0);
  uint32_t i = indexOf(thread);
  if (i >= param<uint32_t>(params, 2))
    return;
  moe_emu_check(thread, x + i, 4, 4, MOE_EMU_READ, "load x");
  moe_emu_check(thread, x + i, 4, 4, MOE_EMU_WRITE, "store x");
  x[i] = x[i] * param<float>(params, 1) + 1;
}

/// Stores 4 bytes at an offset, checked but not done.
void store(moe_emu_thread *thread, void **params) {
  auto *x = param<char *>(params, 0);
  moe_emu_check(thread, x + param<uint32_t>(params, 1), 4, 4, MOE_EMU_WRITE,
                "store x");
}

uint32_t counter = 7;

/// counter += 1, with one thread.
void count(moe_emu_thread *thread, void **) {
  moe_emu_check(thread, &counter, 4, 4, MOE_EMU_READ, "load counter");
  moe_emu_check(thread, &counter, 4, 4, MOE_EMU_WRITE, "store counter");
  ++counter;
}

/// Writes the last byte of shared memory and its block's rank in the cluster.
void shared(moe_emu_thread *thread, void **params) {
  auto *out = param<uint32_t *>(params, 0);
  uint32_t size = param<uint32_t>(params, 1);
  if (size) {
    uint8_t *last = thread->shared + size - 1;
    moe_emu_check(thread, last, 1, 1, MOE_EMU_WRITE, "store shared");
    *last = 1;
  }
  uint32_t i = thread->ctaid[0];
  moe_emu_check(thread, out + i, 4, 4, MOE_EMU_WRITE, "store rank");
  out[i] = thread->cluster_ctarank + 16 * thread->cluster_nctarank;
}

const uint32_t addSizes[] = {8, 8, 8, 4};
const uint32_t scaleSizes[] = {8, 4, 4};
const uint32_t storeSizes[] = {8, 4};

const moe_emu_kernel kernels[] = {
    {"add", add, 4, 0, addSizes, 128, 1},
    {"scale", scale, 3, 0, scaleSizes, 0, 1},
    {"store", store, 2, 0, storeSizes, 0, 1},
    {"count", count, 0, 0, nullptr, 0, 1},
    {"shared", shared, 2, 1024, storeSizes, 0, 1},
    {"pair", shared, 2, 0, storeSizes, 0, 2},
};

const moe_emu_global globals[] = {{"counter", &counter, sizeof(counter)}};

} // namespace

extern "C" __attribute__((visibility("default")))
const moe_emu_module moe_emulated_module = {
    MOE_EMU_ABI_VERSION, 6, kernels, 1, 0, globals};
