//===- CudaExecutable.cpp - Kernels of an artifact on a GPU -------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CudaExecutable.h"

#include <algorithm>

using namespace moert;
using namespace moert::hal;

/// Whether another image may do where this one failed.
static bool isImageProblem(CUresult result) {
  switch (result) {
  case cudaInvalidImage:
  case cudaNoBinaryForGpu:
  case cudaInvalidPtx:
  case cudaUnsupportedPtxVersion:
  case cudaJitCompilerNotFound:
    return true;
  default:
    return false;
  }
}

CUresult CudaExecutable::loadImage(const GpuImage &image,
                                   std::string &errorLog) {
  // PTX ends with a NUL, which the section does not promise; a cubin wants to
  // be aligned, which the mapping of a file gives it.
  std::string text;
  const void *data = image.data;
  if (image.kind == GpuImageKind::Ptx) {
    text.assign(reinterpret_cast<const char *>(image.data), image.size);
    data = text.c_str();
  }
  char log[2048] = {};
  int options[2] = {cudaJitErrorLog, cudaJitErrorLogBytes};
  void *values[2] = {log, reinterpret_cast<void *>(sizeof(log) - 1)};
  CUmodule loaded = nullptr;
  CUresult result =
      device.driver().moduleLoadDataEx(&loaded, data, 2, options, values);
  if (result == cudaSuccess) {
    module = loaded;
    return result;
  }
  // One line: what is behind the first says where in the PTX.
  errorLog = log;
  errorLog.resize(std::min(errorLog.size(), errorLog.find('\n')));
  return result;
}

Status CudaExecutable::bind(const Artifact &artifact, const GpuImage &image) {
  for (const fb::Kernel *planned : *artifact.plan().kernels()) {
    Kernel kernel;
    const bool own = planned->device() == fb::DeviceKind::Cuda;
    infos.push_back(
        {planned->name()->str(), planned->num_args(), own ? 0 : -1});
    if (!own) {
      all.push_back(kernel);
      continue;
    }
    const fb::GpuKernel &gpu = *findGpuKernel(*planned, image.arch);
    CUresult result = device.driver().moduleGetFunction(
        &kernel.function, module, planned->name()->c_str());
    if (result == cudaNotFound)
      return Status::error(305, "artifact does not load")
          .at(artifact.path())
          .because(concat("its ", imageKindName(image.kind), " of ",
                          image.arch.name(), " has no kernel '",
                          planned->name()->string_view(),
                          "', which its plan names"))
          .fix("compile the model again");
    MOE_RETURN_IF_ERROR(device.check(result, cuda_names::moduleGetFunction));
    kernel.threads = gpu.threads();
    kernel.blocks = gpu.blocks_per_sm() * uint32_t(device.multiprocessors());
    kernel.sharedBytes = gpu.shared_bytes();
    kernel.scratchBytes = gpu.scratch_bytes();
    // Above 48 KiB a kernel has to ask; below it does no harm.
    if (kernel.sharedBytes) {
      result = device.driver().funcSetAttribute(
          kernel.function, cudaFuncMaxDynamicShared, int(kernel.sharedBytes));
      if (result != cudaSuccess)
        return device.check(result, cuda_names::funcSetAttribute)
            .context(concat("while giving kernel '",
                            planned->name()->string_view(), "' ",
                            kernel.sharedBytes, " bytes of shared memory"));
    }
    std::optional<uint64_t> bytes =
        checkedMul(kernel.blocks, kernel.scratchBytes);
    if (!bytes)
      return Status::error(601, concat("scratch of kernel '",
                                       planned->name()->string_view(),
                                       "' overflows"));
    scratch = std::max(scratch, *bytes);
    all.push_back(kernel);
  }
  return {};
}

StatusOr<std::unique_ptr<Executable>>
CudaExecutable::load(CudaDevice &device, const Artifact &artifact) {
  const GpuIdentity &gpu = device.identity();
  const std::vector<const GpuImage *> images = usableImages(artifact, gpu);
  if (images.empty())
    return noUsableImage(artifact, gpu);
  CudaDevice::Scope scope(device);
  MOE_RETURN_IF_ERROR(scope.status);
  std::string file = artifact.path();
  file = file.substr(file.rfind('/') + 1);
  std::string cubinProblem = concat("no cubin for ", gpu.arch(), " in ", file);
  Status last;
  for (const GpuImage *image : images) {
    std::unique_ptr<CudaExecutable> result(new CudaExecutable(device));
    const std::string name =
        concat(imageKindName(image->kind), " of ", image->arch.name());
    std::string errorLog;
    CUresult code = result->loadImage(*image, errorLog);
    if (code == cudaSuccess) {
      if (image->kind == GpuImageKind::Ptx)
        device.log(concat(cubinProblem, ", using the ", name));
      result->source = name;
      MOE_RETURN_IF_ERROR(result->bind(artifact, *image));
      return std::unique_ptr<Executable>(std::move(result));
    }
    if (!isImageProblem(code))
      return device.check(code, cuda_names::moduleLoadDataEx);
    const std::string reason = device.driver().describe(code);
    if (image->kind == GpuImageKind::Cubin)
      cubinProblem =
          concat("the ", name, " in ", file, " does not load: ", reason);
    if (code == cudaUnsupportedPtxVersion)
      last = ptxTooNew(artifact, *image, gpu, device.driver().version);
    else
      last = Status::error(305, "artifact does not load")
                 .at(artifact.path())
                 .because(concat("the driver refuses the ", name, ": ", reason,
                                 errorLog.empty() ? "" : "; ", errorLog))
                 .fix(concat("moe-compile ", targetOption(artifact, gpu)));
  }
  return last;
}

CudaExecutable::~CudaExecutable() {
  if (!module || device.abandoned())
    return;
  CudaDevice::Scope scope(device, /*cleanUp=*/true);
  device.driver().moduleUnload(module);
}
