//===- InitAll.cpp - Registration of dialects and passes ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/InitAll.h"

#include "moe/Codegen/GPU/Emulation/Passes.h"
#include "moe/Codegen/GPU/Passes.h"
#include "moe/Codegen/Passes.h"
#include "moe/Conversion/Passes.h"
#include "moe/Dialect/Moe/IR/Moe.h"
#include "moe/Dialect/Moe/Transforms/Passes.h"
#include "moe/Dialect/Plan/IR/Plan.h"
#include "moe/Pipelines/Phases.h"
#include "moe/Target/LLVMCPU/Passes.h"
#include "moe/Target/Module/Passes.h"
#include "moe/Target/NVPTX/Passes.h"

#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

void moe::registerAllDialects(DialectRegistry &registry) {
  registry.insert<moe::MoeDialect, plan::PlanDialect, affine::AffineDialect,
                  amx::AMXDialect, arith::ArithDialect,
                  bufferization::BufferizationDialect, cf::ControlFlowDialect,
                  func::FuncDialect, gpu::GPUDialect, LLVM::LLVMDialect,
                  NVVM::NVVMDialect, linalg::LinalgDialect, math::MathDialect,
                  memref::MemRefDialect, scf::SCFDialect, tensor::TensorDialect,
                  vector::VectorDialect>();
  registerCPUCodegenInterfaces(registry);
}

void moe::registerAllPasses() {
  registerTransformsPasses(); // canonicalize, cse, symbol-dce
  registerMoeTransformsPasses();
  registerMoeConversionPasses();
  registerMoeCodegenPasses();
  registerMoeCodegenGPUPasses();
  registerMoeEmulationPasses();
  registerMoeTargetLLVMCPUPasses();
  registerMoeTargetNVPTXPasses();
  registerMoeModulePasses();
  registerPhasePipelines();
}
