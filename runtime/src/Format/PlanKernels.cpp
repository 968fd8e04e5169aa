//===- PlanKernels.cpp - Verifying the kernels of a plan ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PlanVerifier.h"

#include "moert/Format/Offload.h"

using namespace moert;
using namespace moert::plan_verifier;

namespace {

class KernelVerifier {
public:
  explicit KernelVerifier(const fb::Kernel &kernel) : kernel(kernel) {}

  Status verify() {
    if (kernel.device() > fb::DeviceKind::MAX)
      return fail("is for an unknown kind of device");
    if (kernel.num_args() > 1024 || kernel.scratch_bytes() > (1ull << 32))
      return fail(concat("has ", kernel.num_args(), " arguments and ",
                         kernel.scratch_bytes(), " bytes of scratch"));
    const uint64_t gpus = sizeOf(kernel.gpu());
    if (kernel.device() == fb::DeviceKind::Cpu) {
      if (kernel.levels() == 0)
        return fail("has code for no level");
      return gpus ? fail("is for the CPU, but has code for GPUs") : Status();
    }
    if (kernel.levels() != 0)
      return fail("is for GPUs, but has levels of a CPU");
    // A kernel takes 4 KiB of parameters, the status and the scratch included.
    if (kernel.num_args() > 510)
      return fail(concat("has ", kernel.num_args(), " arguments"));
    if (gpus == 0)
      return fail("has code for no architecture");
    UniqueNames archs("architecture");
    for (const fb::GpuKernel *gpu : *kernel.gpu()) {
      MOE_RETURN_IF_ERROR(archs.add(gpu->arch()->string_view()));
      MOE_RETURN_IF_ERROR(verifyGpu(*gpu));
    }
    return {};
  }

private:
  Status fail(std::string what) {
    return bad(concat("kernel '", kernel.name()->string_view(),
                      "' of the plan ", what));
  }

  Status verifyGpu(const fb::GpuKernel &gpu) {
    if (!GpuArch::parse(gpu.arch()->string_view()))
      return fail(concat("is for an unknown architecture '",
                         gpu.arch()->string_view(), "'"));
    MOE_RETURN_IF_ERROR(
        checkName("accumulation class", gpu.accumulation()->string_view()));
    // What no GPU can launch; the driver knows the exact limits.
    const bool launches = gpu.threads() >= 32 && gpu.threads() <= 1024 &&
                          gpu.threads() % 32 == 0 && gpu.blocks_per_sm() >= 1 &&
                          gpu.blocks_per_sm() <= 64 &&
                          gpu.shared_bytes() <= (1u << 20) &&
                          gpu.static_shared_bytes() <= (1u << 20);
    if (!launches)
      return fail(concat(
          "has ", gpu.threads(), " threads, ", gpu.blocks_per_sm(),
          " blocks and ", gpu.shared_bytes(), " + ", gpu.static_shared_bytes(),
          " bytes of shared memory for ", gpu.arch()->string_view()));
    if (gpu.scratch_bytes() % 256 || gpu.scratch_bytes() > (1ull << 32))
      return fail(concat("has ", gpu.scratch_bytes(), " bytes of scratch for ",
                         gpu.arch()->string_view()));
    return {};
  }

  const fb::Kernel &kernel;
};

} // namespace

Status plan_verifier::verifyKernels(const fb::Plan &plan) {
  UniqueNames names("kernel");
  for (const fb::Kernel *kernel : *plan.kernels()) {
    MOE_RETURN_IF_ERROR(names.add(kernel->name()->string_view()));
    MOE_RETURN_IF_ERROR(KernelVerifier(*kernel).verify());
  }
  return {};
}
