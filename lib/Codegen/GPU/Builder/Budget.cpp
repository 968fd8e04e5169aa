//===- Budget.cpp - What a multiprocessor has for a kernel ----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Budget.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::gpu;

LogicalResult Budget::verify(const ArchInfo &arch, EmitError emitError) const {
  if (sharedBytes > arch.maxSharedBytes)
    return emitError() << "a block needs " << sharedBytes
                       << " bytes of shared memory, " << arch.name << " has "
                       << arch.maxSharedBytes;
  int64_t together = blocks * (sharedBytes + arch.reservedSharedBytes);
  if (together > arch.sharedBytesPerSm)
    return emitError() << blocks << " blocks need " << together
                       << " bytes of shared memory, a multiprocessor of "
                       << arch.name << " has " << arch.sharedBytesPerSm;
  if (blocks * threads > arch.threadsPerSm)
    return emitError() << blocks << " blocks of " << threads
                       << " threads, a multiprocessor of " << arch.name
                       << " has room for " << arch.threadsPerSm;
  if (registers > kMaxRegisters)
    return emitError() << "a thread needs about " << registers
                       << " registers, the limit is " << kMaxRegisters;
  // Registers are handed out to warps in units of 8 per thread.
  int64_t needed = blocks * threads * llvm::alignTo(registers, 8);
  if (needed > arch.registersPerSm)
    return emitError() << blocks << " blocks of " << threads
                       << " threads need about " << needed
                       << " registers, a multiprocessor of " << arch.name
                       << " has " << arch.registersPerSm;
  return success();
}
