//===- CudaImages.h - Which GPU image of an artifact to run -------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_DRIVERS_CUDA_CUDAIMAGES_H
#define MOERT_DRIVERS_CUDA_CUDAIMAGES_H

#include "moert/Format/Artifact.h"

namespace moert::hal {

/// A GPU as messages name it.
struct GpuIdentity {
  std::string name;    // "cuda:0"
  std::string product; // "NVIDIA H200"
  int32_t major = 0;   // compute capability
  int32_t minor = 0;
  /// Shared memory that a block can have, in bytes; 0 when it is not known.
  int32_t sharedBytes = 0;

  /// "sm_90".
  std::string arch() const { return GpuArch{major, minor, 0}.name(); }
  /// "cuda:0 (NVIDIA H200, sm_90)".
  std::string describe() const;
};

/// Images that run on this GPU, that the plan describes and whose blocks do not
/// ask for more shared memory than it has, best first: cubins, then PTX, each
/// the newest first.
std::vector<const GpuImage *> usableImages(const Artifact &artifact,
                                           const GpuIdentity &gpu);

/// The plan's entry of `kernel` for an architecture, null when there is none.
const fb::GpuKernel *findGpuKernel(const fb::Kernel &kernel,
                                   const GpuArch &arch);

/// MOE0311: what the artifact has, and the command that adds this GPU.
Status noUsableImage(const Artifact &artifact, const GpuIdentity &gpu);

/// MOE0314 for PTX that a driver of this CUDA version does not translate.
Status ptxTooNew(const Artifact &artifact, const GpuImage &image,
                 const GpuIdentity &gpu, int cudaVersion);

/// "--target=x86-64,sm_80,sm_90a": the targets of the artifact and this GPU.
std::string targetOption(const Artifact &artifact, const GpuIdentity &gpu);

} // namespace moert::hal

#endif // MOERT_DRIVERS_CUDA_CUDAIMAGES_H
