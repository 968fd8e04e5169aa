//===- TestGpu.h - GPUs for tests -----------------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Built with the whole project, tests of GPUs run on the stand-in of the driver
// (test/StandIn), which runs the host build of Inputs/GpuKernels.c. Built
// alone, they use the GPU of the machine, if it has one and clang was there to
// build the kernels; else they are skipped.
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_TEST_SUPPORT_TESTGPU_H
#define MOERT_TEST_SUPPORT_TESTGPU_H

#include "TestArtifact.h"

namespace moert::test {

/// True when tests of GPUs run on the stand-in.
bool hasStandIn();

/// Points this process at the stand-in, where there is one, with an object for
/// each image of `gpuImages`. Call it before anything asks for a GPU.
void useStandIn();

/// The variables that do the same for a command: "A=b C=d ".
std::string standInVariables();

/// Section `.llvm.offloading` of GpuKernels.c for sm_80: a cubin that only the
/// stand-in can run, when wanted, and PTX. "" without a compiler for it.
std::string gpuImages(bool cubin = true, bool ptx = true);

/// Links an artifact of addGpuVariants(makePlan()).
void buildGpuArtifact(const std::string &path, const std::string &images,
                      bool only = false);

} // namespace moert::test

#endif // MOERT_TEST_SUPPORT_TESTGPU_H
