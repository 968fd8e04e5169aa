//===- CudaImages.cpp - Which GPU image of an artifact to run -----------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CudaImages.h"

#include "CudaApi.h"

#include <algorithm>

using namespace moert;
using namespace moert::hal;

std::string GpuIdentity::describe() const {
  return concat(name, " (", product, ", ", arch(), ")");
}

const fb::GpuKernel *hal::findGpuKernel(const fb::Kernel &kernel,
                                        const GpuArch &arch) {
  if (kernel.gpu())
    for (const fb::GpuKernel *gpu : *kernel.gpu())
      if (gpu->arch()->string_view() == arch.name())
        return gpu;
  return nullptr;
}

std::vector<const GpuImage *> hal::usableImages(const Artifact &artifact,
                                                const GpuIdentity &gpu) {
  std::vector<const GpuImage *> list;
  for (const GpuImage &image : artifact.images()) {
    bool runs = image.kind == GpuImageKind::Cubin
                    ? image.arch.cubinRunsOn(gpu.major, gpu.minor)
                    : image.arch.ptxRunsOn(gpu.major, gpu.minor);
    for (const fb::Kernel *kernel : *artifact.plan().kernels()) {
      if (kernel->device() != fb::DeviceKind::Cuda)
        continue;
      const fb::GpuKernel *code = findGpuKernel(*kernel, image.arch);
      runs &= code != nullptr;
      if (code && gpu.sharedBytes)
        runs &= uint64_t(code->shared_bytes()) + code->static_shared_bytes() <=
                uint64_t(gpu.sharedBytes);
    }
    if (runs)
      list.push_back(&image);
  }
  std::sort(list.begin(), list.end(), [](const GpuImage *a, const GpuImage *b) {
    if (a->kind != b->kind)
      return a->kind == GpuImageKind::Cubin;
    return b->arch < a->arch;
  });
  return list;
}

std::string hal::targetOption(const Artifact &artifact,
                              const GpuIdentity &gpu) {
  bool cpu = false;
  for (const fb::Kernel *kernel : *artifact.plan().kernels())
    cpu |= kernel->device() == fb::DeviceKind::Cpu;
  std::vector<std::string> targets;
  for (const GpuArch &arch : artifact.gpuArchs())
    targets.push_back(arch.name());
  // Targets of the compiler; instructions of the tensor cores of newer GPUs
  // exist in architecture-specific code only.
  std::string own = gpu.arch();
  if (gpu.major >= 9)
    own += 'a';
  if (std::find(targets.begin(), targets.end(), own) == targets.end())
    targets.push_back(own);
  std::string text = cpu ? "--target=x86-64" : "--target=";
  for (const std::string &target : targets)
    text += concat(text.back() == '=' ? "" : ",", target);
  return text;
}

Status hal::noUsableImage(const Artifact &artifact, const GpuIdentity &gpu) {
  std::string list;
  for (const std::string &item : artifact.codeFor())
    list += concat(list.empty() ? "" : ", ", item);
  return Status::error(311, "artifact has no code for this device")
      .at(artifact.path())
      .because(
          concat(gpu.describe(), " was asked for; the artifact has ",
                 list.empty() ? "no code at all" : concat("code for ", list)))
      .fix(concat("moe-compile ", targetOption(artifact, gpu)));
}

Status hal::ptxTooNew(const Artifact &artifact, const GpuImage &image,
                      const GpuIdentity &gpu, int cudaVersion) {
  auto [major, minor] = image.ptxVersion();
  auto [ownMajor, ownMinor] = newestPtx(cudaVersion);
  return Status::error(314, "driver is too old for the artifact")
      .at(artifact.path())
      .because(concat("the PTX of ", image.arch.name(), " is of version ",
                      major, ".", minor, "; the driver of ", gpu.describe(),
                      " is of CUDA ", CudaApi::versionName(cudaVersion),
                      " and knows PTX up to ", ownMajor, ".", ownMinor))
      .fix(concat("install a driver of CUDA ",
                  CudaApi::versionName(cudaVersionOfPtx(major, minor)),
                  " or newer, or moe-compile ", targetOption(artifact, gpu),
                  " where ptxas is installed"));
}
