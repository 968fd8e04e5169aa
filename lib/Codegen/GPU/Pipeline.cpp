//===- Pipeline.cpp - Passes of GPU code generation ---------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Codegen/GPU/Pipeline.h"

#include "moe/Codegen/GPU/Passes.h"
#include "moe/Codegen/Passes.h"

#include "mlir/Pass/PassManager.h"

using namespace mlir;

void moe::addGPUKernelConfigPasses(OpPassManager &pm) {
  pm.addPass(createSelectGpuConfigPass());
}

void moe::addGPUCodegenPasses(OpPassManager &pm) {
  pm.addPass(createExpandGpuKernelsPass());
  pm.addPass(createExpandMathPass());
  pm.addPass(createLowerToCutPass());
}
