//===- GpuKernels.c - Kernels of the test artifacts for GPUs --------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The kernels of Kernels.c with the parameters that KernelABI.h documents for
// GPUs. Built twice: by clang as PTX, which the test artifacts hold, and for
// the host as the object that the stand-in of the driver runs in its place.
// Only thread 0 of a block works.
//
//===----------------------------------------------------------------------===//

#include <stdint.h>

#if defined(__NVPTX__)

#define KERNEL(name, ...)                                                      \
  __attribute__((nvptx_kernel)) void gpu_##name(__VA_ARGS__, int32_t *status,  \
                                                uint8_t *scratch)
#define KERNEL0(name)                                                          \
  __attribute__((nvptx_kernel)) void gpu_##name(int32_t *status,               \
                                                uint8_t *scratch)
static int64_t block(void) { return __nvvm_read_ptx_sreg_ctaid_x(); }
static int64_t blocks(void) { return __nvvm_read_ptx_sreg_nctaid_x(); }
static int working(void) { return __nvvm_read_ptx_sreg_tid_x() == 0; }
static void raise_status(int32_t *status, int32_t value) {
  __nvvm_atom_max_gen_i(status, value);
}
static void add(int64_t *sum, int64_t value) {
  __nvvm_atom_add_gen_ll((long long *)sum, value);
}

#else

#define KERNEL(name, ...)                                                      \
  static void gpu_##name(__VA_ARGS__, int32_t *status, uint8_t *scratch)
#define KERNEL0(name) static void gpu_##name(int32_t *status, uint8_t *scratch)
#include "moe/Codegen/GPU/Emulation/EmulatedModule.h"
static _Thread_local moe_emu_thread *self;
static int64_t block(void) { return self->ctaid[0]; }
static int64_t blocks(void) { return self->nctaid[0]; }
static int working(void) { return self->tid[0] == 0; }
static void raise_status(int32_t *status, int32_t value) {
  int32_t seen = __atomic_load_n(status, __ATOMIC_RELAXED);
  while (value > seen &&
         !__atomic_compare_exchange_n(status, &seen, value, 1, __ATOMIC_RELAXED,
                                      __ATOMIC_RELAXED))
    ;
}
static void add(int64_t *sum, int64_t value) {
  __atomic_fetch_add(sum, value, __ATOMIC_RELAXED);
}

#endif

/// out[i] = 2 * in[i], rows of 5.
KERNEL(twice, const float *in, float *out, int64_t n) {
  if (!working())
    return;
  int64_t begin = n * block() / blocks(), end = n * (block() + 1) / blocks();
  for (int64_t i = begin * 5; i < end * 5; ++i)
    out[i] = 2 * in[i];
}

/// y[N][40] = x[N][5] * w^T + bias, w in Layout.Rows with rows of 8 elements.
KERNEL(linear, const float *x, const float *rows, const float *bias, float *y,
       int64_t n) {
  if (!working())
    return;
  int64_t begin = n * block() / blocks(), end = n * (block() + 1) / blocks();
  for (int64_t row = begin; row < end; ++row)
    for (int64_t c = 0; c < 40; ++c) {
      float sum = bias[c];
      for (int64_t k = 0; k < 5; ++k)
        sum += x[row * 5 + k] * rows[c * 8 + k];
      y[row * 40 + c] = sum;
    }
}

/// Token t goes to experts t % 4 and (t + 1) % 4.
KERNEL(offsets, int32_t *offsets, int64_t n) {
  if (!working() || block() != 0)
    return;
  int32_t counts[4] = {0, 0, 0, 0};
  for (int64_t t = 0; t < n; ++t) {
    ++counts[t % 4];
    ++counts[(t + 1) % 4];
  }
  offsets[0] = 0;
  for (int e = 0; e < 4; ++e)
    offsets[e + 1] = offsets[e] + counts[e];
}

KERNEL(level, int32_t *y) {
  if (working())
    *y = 80;
}

/// The last block reports a bad expert index.
KERNEL0(fails) {
  if (working() && block() == blocks() - 1)
    raise_status(status, 1);
}

/// Fills the private scratch and finds it unchanged; counts rows.
KERNEL(scratches, int64_t *sum, int64_t n) {
  if (!working())
    return;
  volatile int64_t *mine = (volatile int64_t *)(scratch + block() * 4096);
  int64_t begin = n * block() / blocks(), end = n * (block() + 1) / blocks();
  for (int i = 0; i < 512; ++i)
    mine[i] = block() * 1000 + i;
  for (int i = 0; i < 512; ++i)
    if (mine[i] != block() * 1000 + i)
      raise_status(status, 2);
  add(sum, end - begin);
}

/// Takes a second or so.
KERNEL0(slow) {
  if (working() && block() == 0)
    for (volatile int64_t spin = 0; spin < 300000000; ++spin)
      ;
}

#if !defined(__NVPTX__)

#define POINTER(i, type) (*(type **)params[i])
#define SIZE(i) (*(int64_t *)params[i])
#define TAIL(i) POINTER(i, int32_t), POINTER(i + 1, uint8_t)
#define ENTRY(name, call)                                                      \
  static void enter_##name(moe_emu_thread *thread, void **params) {            \
    self = thread;                                                             \
    call;                                                                      \
  }
ENTRY(twice, gpu_twice(POINTER(0, float), POINTER(1, float), SIZE(2), TAIL(3)))
ENTRY(linear,
      gpu_linear(POINTER(0, float), POINTER(1, float), POINTER(2, float),
                 POINTER(3, float), SIZE(4), TAIL(5)))
ENTRY(offsets, gpu_offsets(POINTER(0, int32_t), SIZE(1), TAIL(2)))
ENTRY(level, gpu_level(POINTER(0, int32_t), TAIL(1)))
ENTRY(fails, gpu_fails(TAIL(0)))
ENTRY(scratches, gpu_scratches(POINTER(0, int64_t), SIZE(1), TAIL(2)))
ENTRY(slow, gpu_slow(TAIL(0)))

static const uint32_t sizes[] = {8, 8, 8, 8, 8, 8, 8};
#define ROW(name, args) {"gpu_" #name, enter_##name, args + 2, 0, sizes, 0, 1}
static const moe_emu_kernel kernels[] = {
    ROW(twice, 3), ROW(linear, 5), ROW(offsets, 2),   ROW(level, 1),
    ROW(fails, 0), ROW(slow, 0),   ROW(scratches, 2),
};

extern const moe_emu_module moe_emulated_module;
__attribute__((visibility("default")))
const moe_emu_module moe_emulated_module = {
    MOE_EMU_ABI_VERSION,
    sizeof(kernels) / sizeof(kernels[0]),
    kernels,
    0,
    0,
    0};

#endif
