//===- CudaDriver.h - The driver of NVIDIA GPUs -------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_DRIVERS_CUDA_CUDADRIVER_H
#define MOERT_DRIVERS_CUDA_CUDADRIVER_H

#include "moert/HAL/Driver.h"

namespace moert::hal {

/// The driver "cuda" with devices "cuda:0", "cuda:1", ... It loads
/// libcuda.so.1 when it is first asked for a device, and needs nothing else.
Driver *cudaDriver();

} // namespace moert::hal

#endif // MOERT_DRIVERS_CUDA_CUDADRIVER_H
