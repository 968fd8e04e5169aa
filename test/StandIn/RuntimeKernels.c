//===- RuntimeKernels.c - Kernels of the runtime's tests, emulated ------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The object that the stand-in runs in place of the PTX of the runtime's test
// artifacts.
//
//===----------------------------------------------------------------------===//

#include "moe/Codegen/GPU/Emulation/EmulatedModule.h"

#define KERNEL(name, ...)                                                      \
  static void gpu_##name(__VA_ARGS__, int32_t *status, uint8_t *scratch)
#define KERNEL0(name) static void gpu_##name(int32_t *status, uint8_t *scratch)
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

#include "GpuKernels.c"

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
