//===- CudaApi.cpp - The CUDA driver as a table of functions ------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CudaApi.h"

#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <map>
#include <mutex>

using namespace moert;
using namespace moert::hal;

std::string CudaApi::versionName(int version) {
  return concat(version / 1000, ".", version % 1000 / 10);
}

bool hal::isSticky(CUresult result) {
  switch (int(result)) {
  case 214: // ECC_UNCORRECTABLE
  case 220: // NVLINK_UNCORRECTABLE
  case 226: // CONTAINED
  case 700: // ILLEGAL_ADDRESS
  case 702: // LAUNCH_TIMEOUT
  case 709: // CONTEXT_IS_DESTROYED
  case 710: // ASSERT
  case 714: // HARDWARE_STACK_ERROR
  case 715: // ILLEGAL_INSTRUCTION
  case 716: // MISALIGNED_ADDRESS
  case 717: // INVALID_ADDRESS_SPACE
  case 718: // INVALID_PC
  case 719: // LAUNCH_FAILED
    return true;
  default:
    return false;
  }
}

// CUDA 12.6 came without a new PTX; since then PTX 8.x belongs to 12.x+1.
int hal::cudaVersionOfPtx(int major, int minor) {
  const int shift = major == 8 && minor >= 6 ? 1 : 0;
  return (major + 4) * 1000 + (minor + shift) * 10;
}

std::pair<int, int> hal::newestPtx(int cudaVersion) {
  const int major = cudaVersion / 1000, minor = cudaVersion % 1000 / 10;
  return {major - 4, major == 12 && minor >= 6 ? minor - 1 : minor};
}

std::string CudaApi::describe(CUresult result) const {
  const char *name = nullptr, *text = nullptr;
  if (!getErrorName || getErrorName(result, &name) != cudaSuccess || !name)
    return concat("result ", int(result));
  if (getErrorString(result, &text) != cudaSuccess || !text)
    return name;
  return concat(name, " (", text, ")");
}

Status CudaApi::check(CUresult result, const char *function) const {
  if (result == cudaSuccess)
    return {};
  // Documentation speaks of functions without the version of their symbol.
  std::string name = function;
  if (name.size() > 3 && name.compare(name.size() - 3, 2, "_v") == 0)
    name.resize(name.size() - 3);
  if (isSticky(result))
    return Status::error(320, "the GPU stopped")
        .because(concat(name, " reported ", describe(result)))
        .fix("start again; report it when it happens again");
  Status status =
      Status::error(321, concat(name, " failed")).because(describe(result));
  return std::move(status).fix(
      "see nvidia-smi and the system log, or use --device=cpu");
}

namespace {

Status noDriver(std::string what, std::string reason) {
  return Status::error(312, std::move(what))
      .because(std::move(reason))
      .fix("install the NVIDIA driver, or use --device=cpu");
}

Status open(const std::string &library, CudaApi &api) {
  // Never closed: the driver does not bear to be unloaded.
  void *handle = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    const char *reason = ::dlerror();
    return noDriver(concat(library, " cannot be loaded"),
                    reason ? reason : "unknown reason");
  }
  std::string missing;
#define CUDA_FUNCTION(name, symbol, required, parameters)                      \
  api.name = reinterpret_cast<decltype(api.name)>(::dlsym(handle, #symbol));   \
  if (required && !api.name && missing.empty())                                \
    missing = #symbol;
#include "CudaFunctions.def"
  api.library = library;
  if (!missing.empty())
    return noDriver(concat(library, " is too old"),
                    concat("it has no function ", missing));
  // cuInit of a machine without a GPU fails with NO_DEVICE.
  CUresult result = api.init(0);
  if (result == cudaNoDevice)
    return Status::error(313, "there is no NVIDIA GPU")
        .because(concat("cuInit reported ", api.describe(result)))
        .fix("see nvidia-smi and CUDA_VISIBLE_DEVICES, or use --device=cpu");
  if (result != cudaSuccess)
    return noDriver("the NVIDIA driver does not start",
                    concat("cuInit reported ", api.describe(result)));
  MOE_RETURN_IF_ERROR(MOE_CUDA(api, driverGetVersion, &api.version));
  return {};
}

} // namespace

StatusOr<std::shared_ptr<const CudaApi>> CudaApi::load() {
  static std::mutex mutex;
  static std::map<std::string, std::shared_ptr<const CudaApi>> loaded;
  const char *given = std::getenv("MOE_CUDA_LIBRARY");
  const std::string library = given && *given ? given : "libcuda.so.1";
  std::lock_guard<std::mutex> lock(mutex);
  std::shared_ptr<const CudaApi> &entry = loaded[library];
  if (!entry) {
    auto api = std::make_shared<CudaApi>();
    MOE_RETURN_IF_ERROR(open(library, *api));
    entry = std::move(api);
  }
  return entry;
}
