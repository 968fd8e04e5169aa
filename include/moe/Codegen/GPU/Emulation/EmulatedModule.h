//===- EmulatedModule.h - Kernels of a cut module, compiled for the host --===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A stand-alone C header: what a retargeted cut module exports, whether it was
// compiled by a JIT or lies in a shared object that `moe-compile --save-temps`
// wrote. The functions `moe_emu_*` that its code calls are declared in
// Operations.h and defined by the emulator's runtime.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CODEGEN_GPU_EMULATION_EMULATEDMODULE_H
#define MOE_CODEGEN_GPU_EMULATION_EMULATEDMODULE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MOE_EMU_ABI_VERSION 1

/// Name of the one symbol that an emulated module exports: a constant
/// `moe_emu_module`.
#define MOE_EMU_MODULE_SYMBOL "moe_emulated_module"

/// What a GPU thread knows about itself. The retarget pass reads the fields by
/// offset.
typedef struct moe_emu_thread {
  uint32_t tid[3];
  uint32_t ntid[3];
  uint32_t ctaid[3];
  uint32_t nctaid[3];
  uint32_t laneid;
  uint32_t warpid;
  /// Shared memory of the block: static variables, then the dynamic part.
  /// Lies below 4 GiB, aligned to 256 KiB, as addresses of shared memory are
  /// 32-bit integers in the code.
  uint8_t *shared;
  uint32_t cluster_ctarank;
  uint32_t cluster_nctarank;
} moe_emu_thread;

/// `params` as for cuLaunchKernel: one pointer to each parameter's value.
typedef void (*moe_emu_entry)(moe_emu_thread *thread, void **params);

typedef struct moe_emu_kernel {
  const char *name;
  moe_emu_entry entry;
  uint32_t num_params;
  /// Bytes of shared memory before the dynamic part.
  uint32_t static_shared;
  /// Size of each parameter in bytes.
  const uint32_t *param_sizes;
  /// Largest number of threads per block (maxntid), 0 for any.
  uint32_t max_threads;
  /// Required cluster size in blocks, 1 for none.
  uint32_t cluster;
} moe_emu_kernel;

/// A variable in global memory, zero or with its initial value at load.
typedef struct moe_emu_global {
  const char *name;
  void *address;
  uint64_t size;
} moe_emu_global;

typedef struct moe_emu_module {
  uint32_t abi_version;
  uint32_t kernel_count;
  const moe_emu_kernel *kernels;
  uint32_t global_count;
  uint32_t reserved;
  const moe_emu_global *globals;
} moe_emu_module;

#ifdef __cplusplus
}
#endif

#endif // MOE_CODEGEN_GPU_EMULATION_EMULATEDMODULE_H
