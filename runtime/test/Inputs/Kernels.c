//===- Kernels.c - Kernels of the test artifacts --------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Written by hand against KernelABI.h, as the compiler would emit them. Linked
// with -nostdlib, so nothing here may call a library.
//
//===----------------------------------------------------------------------===//

#include "moert/Format/KernelABI.h"

/// First and last row of a worker.
static void split(int64_t n, int32_t worker, int32_t workers, int64_t *begin,
                  int64_t *end) {
  *begin = n * worker / workers;
  *end = n * (worker + 1) / workers;
}

/// out[i] = 2 * in[i], args: in f32, out f32, rows N, columns fixed at 5.
static int32_t twice(const moert_arg *args, int32_t worker, int32_t workers,
                     void *scratch) {
  (void)scratch;
  const float *in = (const float *)args[0].ptr;
  float *out = (float *)args[1].ptr;
  int64_t begin, end;
  split(args[2].i64, worker, workers, &begin, &end);
  for (int64_t i = begin * 5; i < end * 5; ++i)
    out[i] = 2 * in[i];
  return MOERT_KERNEL_OK;
}

/// y[N][40] = x[N][5] * w^T + bias; w in f32 panels (one part, k_tile 1).
/// args: x, panels, bias, y, N.
static int32_t linear(const moert_arg *args, int32_t worker, int32_t workers,
                      void *scratch) {
  (void)scratch;
  const float *x = (const float *)args[0].ptr;
  const float *panels = (const float *)args[1].ptr;
  const float *bias = (const float *)args[2].ptr;
  float *y = (float *)args[3].ptr;
  int64_t begin, end;
  split(args[4].i64, worker, workers, &begin, &end);
  for (int64_t row = begin; row < end; ++row)
    for (int64_t c = 0; c < 40; ++c) {
      const float *column =
          panels + c / 32 * 5 * 32 + c % 32 / 16 * 16 + c % 16;
      float sum = bias[c];
      for (int64_t k = 0; k < 5; ++k)
        sum += x[row * 5 + k] * column[k * 32];
      y[row * 40 + c] = sum;
    }
  return MOERT_KERNEL_OK;
}

/// offsets[e] = number of pairs of experts below e when token t goes to
/// experts t % 4 and (t + 1) % 4. args: offsets i32[5], N.
static int32_t offsets(const moert_arg *args, int32_t worker, int32_t workers,
                       void *scratch) {
  (void)worker;
  (void)workers;
  (void)scratch;
  int32_t *out = (int32_t *)args[0].ptr;
  for (int e = 0; e < 5; ++e)
    out[e] = 0;
  for (int64_t t = 0; t < args[1].i64; ++t) {
    ++out[t % 4 + 1];
    ++out[(t + 1) % 4 + 1];
  }
  for (int e = 0; e < 4; ++e)
    out[e + 1] += out[e];
  return MOERT_KERNEL_OK;
}

/// args: out i32[1].
#define LEVEL(number)                                                          \
  static int32_t level##number(const moert_arg *args, int32_t worker,          \
                               int32_t workers, void *scratch) {               \
    (void)worker;                                                              \
    (void)workers;                                                             \
    (void)scratch;                                                             \
    *(int32_t *)args[0].ptr = number;                                          \
    return MOERT_KERNEL_OK;                                                    \
  }
LEVEL(0)
LEVEL(1)
LEVEL(2)

/// The last worker reports a bad expert index.
static int32_t fails(const moert_arg *args, int32_t worker, int32_t workers,
                     void *scratch) {
  (void)args;
  (void)scratch;
  return worker == workers - 1 ? MOERT_KERNEL_BAD_EXPERT_INDEX
                               : MOERT_KERNEL_OK;
}

/// Fills the private scratch and finds it unchanged; args: sum i64[1], N. The
/// sum counts the work of all workers with an atomic addition.
static int32_t scratches(const moert_arg *args, int32_t worker, int32_t workers,
                         void *scratch) {
  volatile int64_t *mine = (volatile int64_t *)scratch;
  if ((uintptr_t)scratch % 64)
    return 3;
  int64_t begin, end;
  split(args[1].i64, worker, workers, &begin, &end);
  for (int i = 0; i < 512; ++i)
    mine[i] = worker * 1000 + i;
  for (volatile int spin = 0; spin < 20000; ++spin)
    ;
  for (int i = 0; i < 512; ++i)
    if (mine[i] != worker * 1000 + i)
      return 2;
  __atomic_fetch_add((int64_t *)args[0].ptr, end - begin, __ATOMIC_RELAXED);
  return MOERT_KERNEL_OK;
}

/// Worker 1 needs about a second; no argument.
static int32_t slow(const moert_arg *args, int32_t worker, int32_t workers,
                    void *scratch) {
  (void)args;
  (void)workers;
  (void)scratch;
  if (worker == 1)
    for (volatile int64_t spin = 0; spin < 1500000000; ++spin)
      ;
  return MOERT_KERNEL_OK;
}

#define ALL(f) {f, f, f}
#define NO_SCRATCH {0, 0, 0}
static const moert_kernel_entry kernels[] = {
    {"twice", 3, 0, NO_SCRATCH, ALL(twice)},
    {"linear", 5, 0, NO_SCRATCH, ALL(linear)},
    {"offsets", 2, 0, NO_SCRATCH, ALL(offsets)},
    {"level", 1, 0, NO_SCRATCH, {level0, level1, level2}},
    {"fails", 0, 0, NO_SCRATCH, ALL(fails)},
    {"scratches", 2, 0, {4096, 4096, 4096}, ALL(scratches)},
    {"slow", 0, 0, NO_SCRATCH, ALL(slow)},
    {"only_amx", 1, 0, NO_SCRATCH, {0, 0, level2}},
};
static const moert_module_table table = {
    sizeof(moert_module_table), MOERT_KERNEL_ABI_VERSION,
    sizeof(kernels) / sizeof(kernels[0]), 0, kernels};

__attribute__((visibility("default"))) const moert_module_table *
moe_module_query(uint32_t abi_version);

const moert_module_table *moe_module_query(uint32_t abi_version) {
  return abi_version == MOERT_KERNEL_ABI_VERSION ? &table : 0;
}
