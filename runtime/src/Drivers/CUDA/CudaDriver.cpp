//===- CudaDriver.cpp - The driver of NVIDIA GPUs -----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CudaDriver.h"

#include "CudaDevice.h"

using namespace moert;
using namespace moert::hal;

namespace {

class CudaDriver : public Driver {
public:
  std::string name() const override { return "cuda"; }

  std::vector<std::string> devices() const override {
    std::vector<std::string> names;
    int count = 0;
    if (countDevices(count).ok())
      for (int i = 0; i < count; ++i)
        names.push_back(concat("cuda:", i));
    return names;
  }

  Status available() const override {
    int count = 0;
    MOE_RETURN_IF_ERROR(countDevices(count));
    if (count > 0)
      return {};
    return Status::error(313, "there is no NVIDIA GPU")
        .because("the driver offers 0 GPUs")
        .fix("see nvidia-smi and CUDA_VISIBLE_DEVICES, or use --device=cpu");
  }

  StatusOr<std::unique_ptr<Device>>
  open(const DeviceOptions &options) override {
    MOE_ASSIGN_OR_RETURN(std::shared_ptr<const CudaApi> api, CudaApi::load());
    return CudaDevice::open(std::move(api), options);
  }

private:
  static Status countDevices(int &count) {
    MOE_ASSIGN_OR_RETURN(std::shared_ptr<const CudaApi> api, CudaApi::load());
    return MOE_CUDA(*api, deviceGetCount, &count);
  }
};

} // namespace

Driver *hal::cudaDriver() {
  static CudaDriver driver;
  return &driver;
}
