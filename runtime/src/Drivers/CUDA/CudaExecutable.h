//===- CudaExecutable.h - Kernels of an artifact on a GPU ---------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_DRIVERS_CUDA_CUDAEXECUTABLE_H
#define MOERT_DRIVERS_CUDA_CUDAEXECUTABLE_H

#include "CudaDevice.h"

namespace moert::hal {

/// One image of an artifact as a module of the driver.
class CudaExecutable : public Executable {
public:
  struct Kernel {
    /// Null for kernels of other devices.
    CUfunction function = nullptr;
    uint32_t threads = 0;
    /// Blocks of a dispatch with grid All.
    uint32_t blocks = 0;
    uint32_t sharedBytes = 0;
    /// Per block.
    uint64_t scratchBytes = 0;
  };

  /// Tries the usable images, best first; see Device::load.
  static StatusOr<std::unique_ptr<Executable>> load(CudaDevice &device,
                                                    const Artifact &artifact);
  ~CudaExecutable() override;

  std::string code() const override { return source; }
  const Kernel &kernel(uint32_t index) const { return all[index]; }
  /// Scratch of all blocks, for the largest kernel.
  uint64_t scratchBytes() const { return scratch; }

private:
  explicit CudaExecutable(CudaDevice &device) : device(device) {}
  CUresult loadImage(const GpuImage &image, std::string &errorLog);
  Status bind(const Artifact &artifact, const GpuImage &image);

  CudaDevice &device;
  CUmodule module = nullptr;
  std::string source;
  std::vector<Kernel> all;
  uint64_t scratch = 0;
};

} // namespace moert::hal

#endif // MOERT_DRIVERS_CUDA_CUDAEXECUTABLE_H
