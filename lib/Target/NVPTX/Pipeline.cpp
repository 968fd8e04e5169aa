//===- Pipeline.cpp - From GPU kernels to plan.binary ---------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Codegen/GPU/Pipeline.h"
#include "moe/Target/NVPTX/Passes.h"

#include "mlir/Pass/PassManager.h"

using namespace mlir;

void moe::addNVPTXTargetPasses(OpPassManager &pm,
                               const SerializeGpuPassOptions &options) {
  addGPUCodegenPasses(pm);
  pm.addPass(createVerifyCutPass());
  pm.addPass(createSerializeGpuPass(options));
}
