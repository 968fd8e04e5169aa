//===- GpuKernels.c - Kernels of the test artifacts for GPUs --------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The kernels of Kernels.c with the parameters that KernelABI.h documents for
// GPUs. Built by clang as PTX, which the test artifacts hold. What includes
// this file to run the kernels elsewhere defines KERNEL, KERNEL0, block,
// blocks, working, raise_status and add before. Only thread 0 of a block works.
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
