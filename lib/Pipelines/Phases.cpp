//===- Phases.cpp - The phases of compilation -----------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Pipelines/Phases.h"

#include "moe/Codegen/CPU/Pipeline.h"
#include "moe/Codegen/GPU/Pipeline.h"
#include "moe/Conversion/Passes.h"
#include "moe/Dialect/Moe/Transforms/Passes.h"
#include "moe/Target/LLVMCPU/Passes.h"
#include "moe/Target/Module/Passes.h"
#include "moe/Target/NVPTX/Passes.h"

#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace mlir::moe;

static constexpr StringRef kPhaseNames[kNumPhases] = {
    "import", "graph", "routed", "tiled", "target", "module"};

StringRef moe::stringifyPhase(Phase phase) {
  return kPhaseNames[static_cast<unsigned>(phase)];
}

std::optional<Phase> moe::symbolizePhase(StringRef name) {
  for (unsigned i = 0; i < kNumPhases; ++i)
    if (kPhaseNames[i] == name)
      return static_cast<Phase>(i);
  return std::nullopt;
}

void moe::buildImportPipeline(OpPassManager &pm,
                              const ImportPipelineOptions &) {
  // The importer is no pass; this is the border that its result, and any .mlir
  // file in its place, must pass.
  pm.addNestedPass<func::FuncOp>(createVerifyGraphPass());
}

void moe::buildGraphPipeline(OpPassManager &pm, const GraphPipelineOptions &) {
  pm.addPass(createFlattenExpertsPass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  pm.addNestedPass<func::FuncOp>(createVerifyGraphPass());
}

void moe::buildRoutedPipeline(OpPassManager &pm,
                              const RoutedPipelineOptions &) {
  pm.addPass(createOrientWeightsPass());
  pm.addNestedPass<func::FuncOp>(createLowerRoutingPass());
  // Before tensor code is fused away: a sum of two combines is such code.
  pm.addNestedPass<func::FuncOp>(createMergeSegmentsPass());
  pm.addNestedPass<func::FuncOp>(createFuseTokenRowsPass());
  // Removes what dispatch fusion left unused.
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  pm.addNestedPass<func::FuncOp>(createVerifyRoutedPass());
}

void moe::buildTiledPipeline(OpPassManager &pm, const TiledPipelineOptions &) {
  pm.addPass(createConvertMoeToPlanPass());
  addKernelConfigPasses(pm);
  addGPUKernelConfigPasses(pm);
  pm.addPass(createVerifyTiledPass());
}

void moe::buildTargetPipeline(OpPassManager &pm,
                              const TargetPipelineOptions &options) {
  // GPU kernels first: what comes after sees code of the host only.
  SerializeGpuPassOptions serialize;
  serialize.ptxas = options.ptxas;
  serialize.saveTemps = options.saveTemps;
  addNVPTXTargetPasses(pm, serialize);
  addLLVMCPUTargetPasses(pm);
}

void moe::buildModulePipeline(OpPassManager &pm,
                              const ModulePipelineOptions &options) {
  WriteModulePassOptions write;
  write.output = options.output;
  write.checkpoint = options.checkpoint;
  pm.addPass(createWriteModulePass(write));
}

void moe::registerPhasePipelines() {
  PassPipelineRegistration<ImportPipelineOptions>(
      "moe-import", "Phase import: check what the importer made",
      buildImportPipeline);
  PassPipelineRegistration<GraphPipelineOptions>(
      "moe-graph", "Phase graph: simplify", buildGraphPipeline);
  PassPipelineRegistration<RoutedPipelineOptions>(
      "moe-routed", "Phase routed: make routing explicit, group and fuse",
      buildRoutedPipeline);
  PassPipelineRegistration<TiledPipelineOptions>(
      "moe-tiled", "Phase tiled: plan and kernels", buildTiledPipeline);
  PassPipelineRegistration<TargetPipelineOptions>(
      "moe-target", "Phase target: object code", buildTargetPipeline);
  PassPipelineRegistration<ModulePipelineOptions>(
      "moe-module", "Phase module: write the artifact", buildModulePipeline);
}
