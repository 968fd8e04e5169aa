//===- Pipeline.cpp - Order of the CPU passes -----------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Codegen/CPU/Pipeline.h"

#include "moe/Codegen/Passes.h"

#include "mlir/Pass/PassManager.h"

using namespace mlir;

void moe::addKernelConfigPasses(OpPassManager &pm) {
  pm.addPass(createSelectKernelConfigPass());
}

void moe::addCPUCodegenPasses(OpPassManager &pm) {
  pm.addPass(createExpandKernelsPass());
  pm.addPass(createEmitUkernelsPass());
  pm.addPass(createTestLowerAmxToLoopsPass());
  pm.addPass(createExpandMathPass());
  pm.addPass(createLowerKernelAbiPass());
}
