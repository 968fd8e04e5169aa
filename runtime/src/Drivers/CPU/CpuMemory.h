//===- CpuMemory.h - Buffers in host memory -------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_DRIVERS_CPU_CPUMEMORY_H
#define MOERT_DRIVERS_CPU_CPUMEMORY_H

#include "moert/HAL/Driver.h"

namespace moert::hal {

/// Allocates zero-filled pages; constants of 2 MiB and more are aligned for
/// huge pages, which the system is asked for.
StatusOr<std::unique_ptr<Buffer>> allocateHost(uint64_t bytes, BufferUse use);

/// Borrows memory.
std::unique_ptr<Buffer> wrapHostMemory(void *data, uint64_t bytes);

} // namespace moert::hal

#endif // MOERT_DRIVERS_CPU_CPUMEMORY_H
