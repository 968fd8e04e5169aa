//===- Phases.h - The phases of compilation -------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A model passes through six phases; docs/Pipelines.md says what each promises.
// The result of any of them can be written out and compiled on from there.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_PIPELINES_PHASES_H
#define MOE_PIPELINES_PHASES_H

#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassOptions.h"

#include <optional>

namespace mlir::moe {

enum class Phase {
  Import, ///< A description has become graph ops on tensors.
  Graph,  ///< The graph is simplified.
  Routed, ///< Routing is explicit, experts are grouped, tensor code is fused.
  Tiled,  ///< A plan with kernels, each with a configuration per target.
  Target, ///< Kernels are object code.
  Module, ///< The artifact is written.
};
constexpr unsigned kNumPhases = 6;

/// "import", "graph", ...
StringRef stringifyPhase(Phase phase);
std::optional<Phase> symbolizePhase(StringRef name);

// What a compilation depends on besides the IR is an attribute of the module,
// so that a dump of any phase is complete:
//   moe.targets     array of strings, e.g. ["x86-64", "sm_80"]
//   moe.numerics    "default" or "strict"
//   moe.weights     "external", "packed" or "embedded"
//   moe.max_tokens  i64, upper bound of the number of tokens
//   moe.model       dictionary about the model, for the metadata
//   moe.checkpoint  path of the checkpoint relative to the artifact's folder

struct ImportPipelineOptions : PassPipelineOptions<ImportPipelineOptions> {};
struct GraphPipelineOptions : PassPipelineOptions<GraphPipelineOptions> {};
struct RoutedPipelineOptions : PassPipelineOptions<RoutedPipelineOptions> {};
struct TiledPipelineOptions : PassPipelineOptions<TiledPipelineOptions> {};
struct TargetPipelineOptions : PassPipelineOptions<TargetPipelineOptions> {
  Option<std::string> ptxas{*this, "ptxas",
                            llvm::cl::desc("Path of ptxas; empty: where the "
                                           "CUDA toolkit usually is; none: "
                                           "PTX only")};
  Option<std::string> saveTemps{
      *this, "save-temps",
      llvm::cl::desc("Folder for intermediate files of GPU code; empty for "
                     "none")};
};
struct ModulePipelineOptions : PassPipelineOptions<ModulePipelineOptions> {
  Option<std::string> output{*this, "output",
                             llvm::cl::desc("Path of the artifact")};
  Option<std::string> checkpoint{
      *this, "checkpoint",
      llvm::cl::desc("Model directory or safetensors file, needed for packed "
                     "and embedded weights")};
};

void buildImportPipeline(OpPassManager &pm,
                         const ImportPipelineOptions &options);
void buildGraphPipeline(OpPassManager &pm, const GraphPipelineOptions &options);
void buildRoutedPipeline(OpPassManager &pm,
                         const RoutedPipelineOptions &options);
void buildTiledPipeline(OpPassManager &pm, const TiledPipelineOptions &options);
void buildTargetPipeline(OpPassManager &pm,
                         const TargetPipelineOptions &options);
void buildModulePipeline(OpPassManager &pm,
                         const ModulePipelineOptions &options);

/// Registers `moe-import` to `moe-module`.
void registerPhasePipelines();

} // namespace mlir::moe

#endif // MOE_PIPELINES_PHASES_H
