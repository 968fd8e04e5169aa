//===- KernelABI.h - Contract between generated kernels and the runtime ---===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A stand-alone C header: the code generator emits what it describes and the
// runtime calls it. Nothing here may include another header than <stdint.h>.
//
// An artifact exports exactly one function, `moe_module_query`. It returns a
// constant table of kernels; each kernel has one function pointer per ISA
// level. The runtime picks the highest level that this CPU supports and for
// which the artifact has code, once, at load.
//
// GPU kernels are functions of the images in `.llvm.offloading` (LLVM
// OffloadBinaries, one image per architecture and kind, cubin or PTX). A worker
// is a block. The parameters are, each of 8 bytes: the arguments in order (a
// pointer to device memory, or a 64-bit size), then a pointer to the status (an
// int32_t in device memory, into which a block maximises one of
// MOERT_KERNEL_*), then a pointer to the scratch of all workers, of which block
// b owns the bytes from b * scratch_bytes on (256-byte aligned; null when
// scratch_bytes is 0).
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_FORMAT_KERNELABI_H
#define MOERT_FORMAT_KERNELABI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Bumped for every binary break of anything in this header.
#define MOERT_KERNEL_ABI_VERSION 1

/// Name of the only symbol that an artifact exports.
#define MOERT_QUERY_SYMBOL "moe_module_query"

/// One kernel argument: a pointer to a buffer, or a size. Pointers to buffers
/// are at least 64-byte aligned unless the buffer is a function input or
/// output, which is aligned to its element type only.
typedef union moert_arg {
  void *ptr;
  int64_t i64;
} moert_arg;

/// Runs worker `worker` of `workers` (0 <= worker < workers). Every worker of
/// a dispatch gets the same `args`; workers share nothing else and never wait
/// for each other, so any of them may run first or alone. The result does not
/// depend on `workers`. `scratch` is private to the worker, 64-byte aligned
/// and at least `scratch_bytes` long; its contents are undefined at entry.
/// Returns 0, or one of MOERT_KERNEL_*; the largest value of all workers
/// becomes the result of the dispatch.
typedef int32_t (*moert_kernel_fn)(const moert_arg *args, int32_t worker,
                                   int32_t workers, void *scratch);

enum {
  MOERT_KERNEL_OK = 0,
  /// A given expert index lies outside [0, experts), or repeats in a token.
  MOERT_KERNEL_BAD_EXPERT_INDEX = 1,
  /// An index of a lookup lies outside its table.
  MOERT_KERNEL_BAD_INDEX = 2,
};

/// ISA levels, lowest first. A level is chosen by CPUID feature bits, never by
/// the name of a CPU.
enum {
  /// x86-64-v3: AVX2, FMA, F16C, BMI2.
  MOERT_ISA_AVX2 = 0,
  /// x86-64-v4: AVX-512 F, BW, CD, DQ, VL.
  MOERT_ISA_AVX512 = 1,
  /// x86-64-v4 and AVX512-BF16, AMX-TILE, AMX-BF16; the operating system must
  /// grant use of the tile registers.
  MOERT_ISA_AMX = 2,
  MOERT_ISA_COUNT = 3,
};

typedef struct moert_kernel_entry {
  /// Unique in the module, NUL-terminated.
  const char *name;
  /// Number of arguments that the kernel reads.
  uint32_t num_args;
  uint32_t reserved;
  /// Bytes of private scratch per worker, by level.
  uint64_t scratch_bytes[MOERT_ISA_COUNT];
  /// Code by level; null where the artifact has none.
  moert_kernel_fn fn[MOERT_ISA_COUNT];
} moert_kernel_entry;

typedef struct moert_module_table {
  /// sizeof(moert_module_table) of the producer: fields are only appended.
  uint32_t struct_size;
  uint32_t abi_version;
  uint32_t kernel_count;
  uint32_t reserved;
  const moert_kernel_entry *kernels;
} moert_module_table;

/// Returns the table, or null when the artifact does not speak `abi_version`.
typedef const moert_module_table *(*moert_query_fn)(uint32_t abi_version);

#ifdef __cplusplus
}
#endif

#endif // MOERT_FORMAT_KERNELABI_H
