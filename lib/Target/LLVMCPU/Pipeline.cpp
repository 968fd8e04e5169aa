//===- Pipeline.cpp - From plan.kernel to plan.binary ---------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Codegen/CPU/Pipeline.h"
#include "moe/Target/LLVMCPU/Passes.h"

#include "mlir/Pass/PassManager.h"

using namespace mlir;

void moe::addLLVMCPUTargetPasses(OpPassManager &pm) {
  addCPUCodegenPasses(pm);
  pm.addPass(createSerializeKernelsPass());
}
