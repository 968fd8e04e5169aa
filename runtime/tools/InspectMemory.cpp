//===- InspectMemory.cpp - Predicts the peak memory of moe-run ------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Inspect.h"

#include "moert/Format/Decode.h"
#include "moert/Session/DeviceChoice.h"

#include <algorithm>
#include <cstdio>
#include <fmt/format.h>
#include <unistd.h>

using namespace moert;
using namespace moert::tools;

/// Resident set of this process now. moe-run has the same libraries and reads
/// the same headers, so this is where it starts from.
static uint64_t residentBytes() {
  unsigned long long pages = 0, resident = 0;
  if (std::FILE *file = std::fopen("/proc/self/statm", "re")) {
    if (std::fscanf(file, "%llu %llu", &pages, &resident) != 2)
      resident = 0;
    std::fclose(file);
  }
  return resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

/// Memory of the GPU. Scratch depends on its multiprocessors: per one of them.
static Report predictGpu(const Artifact &artifact,
                         const MemoryQuestion &question,
                         const std::vector<uint32_t> &constants,
                         uint64_t workspace, uint64_t arrays) {
  uint64_t weights = 0, scratch = 0;
  for (uint32_t index : constants)
    weights += artifact.plan().constants()->Get(index)->bytes();
  for (const fb::Kernel *kernel : *artifact.plan().kernels())
    if (kernel->gpu())
      for (const fb::GpuKernel *gpu : *kernel->gpu())
        scratch = std::max<uint64_t>(scratch, gpu->blocks_per_sm() *
                                                  gpu->scratch_bytes());
  const uint64_t total = weights + workspace + arrays;
  const std::string name = question.function->name()->str();
  Report report;
  report.text = fmt::format(
      "{} with {} tokens on a GPU\n"
      "  weights     {:>14} bytes  ({})\n"
      "  workspace   {:>14} bytes\n"
      "  arrays      {:>14} bytes  (inputs and outputs)\n"
      "  scratch     {:>14} bytes  per multiprocessor\n"
      "  total       {:>14} bytes  = {}, without scratch and the driver\n",
      name, question.tokens, weights, artifact.metadata().weightsMode,
      workspace, arrays, scratch, total, formatBytes(total));
  report.json = {{"schema", "moe.memory/1"}, {"function", name},
                 {"device", "cuda"},         {"tokens", question.tokens},
                 {"weight_bytes", weights},  {"workspace_bytes", workspace},
                 {"array_bytes", arrays},    {"scratch_bytes_per_sm", scratch},
                 {"total_bytes", total}};
  return report;
}

StatusOr<Report> tools::predictMemory(const Artifact &artifact,
                                      const MemoryQuestion &question) {
  const fb::Plan &plan = artifact.plan();
  const fb::Function &function = *question.function;
  std::vector<int64_t> symbols;
  if (function.symbols())
    for (const fb::Symbol *symbol : *function.symbols()) {
      if (question.tokens < symbol->min() || question.tokens > symbol->max())
        return Status::error(13, fmt::format("{} = {} is out of range",
                                             symbol->name()->string_view(),
                                             question.tokens))
            .because(fmt::format("function '{}' takes {} to {}",
                                 function.name()->string_view(), symbol->min(),
                                 symbol->max()))
            .fix("give --tokens in this range");
      symbols.push_back(question.tokens);
    }

  // Headers of the weights, when they are here, are part of the baseline.
  const std::vector<uint32_t> constants =
      constantsOf(function, question.device);
  StatusOr<std::shared_ptr<const Checkpoint>> checkpoint =
      plan.weights_mode() == fb::WeightsMode::External
          ? findCheckpoint(artifact, question.weights, &constants)
          : StatusOr<std::shared_ptr<const Checkpoint>>(
                std::shared_ptr<const Checkpoint>());
  const uint64_t baseline = residentBytes();

  uint64_t arrays = 0;
  for (const auto *list : {function.inputs(), function.outputs()})
    for (const fb::Tensor *tensor : *list)
      arrays += shapeBytes(evaluateShape(*tensor, symbols),
                           byteSize(checkpointType(tensor->dtype())))
                    .value_or(0);
  const fb::Variant *variant =
      selectVariant(function, symbols, question.device);
  if (!variant)
    return noCodeFor(artifact, function, question.device);
  MOE_ASSIGN_OR_RETURN(WorkspaceLayout layout,
                       layoutWorkspace(*variant, symbols));
  if (question.device == fb::DeviceKind::Cuda)
    return predictGpu(artifact, question, constants, layout.bytes, arrays);

  // While loading, a constant is packed from one tensor at a time.
  const bool packs = plan.weights_mode() == fb::WeightsMode::External;
  uint64_t weights = 0, loadPeak = 0, largestTensor = 0;
  for (uint32_t index : constants) {
    const fb::Constant &constant = *plan.constants()->Get(index);
    weights += constant.bytes();
    for (uint32_t w : *constant.weights()) {
      const fb::Weight &weight = *plan.weights()->Get(w);
      const auto &shape = *weight.source_shape();
      uint64_t tensor = shapeBytes({shape.begin(), shape.end()},
                                   byteSize(checkpointType(weight.dtype())))
                            .value_or(0);
      // Codes and scales are read while they are decoded to that.
      if (isEncoded(weight)) {
        const StoredSource stored = storedSource(weight);
        for (const auto *part : {&stored.shape, &stored.scaleShape})
          tensor +=
              shapeBytes(*part, part == &stored.shape ? 1 : 4).value_or(0);
      }
      // Of a tensor with all experts, one expert is read at a time.
      if (constant.layout() != fb::Layout::RowMajor && shape.size() == 3 &&
          shape.Get(0) > 0)
        tensor /= shape.Get(0);
      if (packs)
        largestTensor = std::max(largestTensor, tensor);
      if (packs)
        loadPeak = std::max(loadPeak, weights + tensor);
    }
  }
  uint64_t scratchEach = 0;
  for (const fb::Kernel *kernel : *plan.kernels())
    scratchEach = std::max<uint64_t>(scratchEach, kernel->scratch_bytes());
  const uint64_t scratch = scratchEach * question.threads;
  // What a worker's stack and the allocator's arenas touch.
  const uint64_t threads = uint64_t(question.threads) * 64 * 1024;
  const uint64_t running = weights + layout.bytes + scratch + arrays;
  const uint64_t peak =
      baseline + threads + std::max(running, loadPeak + arrays);

  Report report;
  report.text = fmt::format(
      "{} with {} tokens, {} threads\n"
      "  baseline    {:>14} bytes  (program, libraries, headers)\n"
      "  weights     {:>14} bytes  ({})\n"
      "  one tensor  {:>14} bytes  (largest, while packing)\n"
      "  workspace   {:>14} bytes\n"
      "  scratch     {:>14} bytes\n"
      "  arrays      {:>14} bytes  (inputs and outputs)\n"
      "  stacks      {:>14} bytes\n"
      "  peak        {:>14} bytes  = {}\n",
      function.name()->string_view(), question.tokens, question.threads,
      baseline, weights, artifact.metadata().weightsMode, largestTensor,
      layout.bytes, scratch, arrays, threads, peak, formatBytes(peak));
  if (!checkpoint.ok())
    report.text += "  (the weights were not found; their headers add a little "
                   "to the baseline)\n";
  report.json = {{"schema", "moe.memory/1"},
                 {"function", function.name()->str()},
                 {"tokens", question.tokens},
                 {"threads", question.threads},
                 {"baseline_bytes", baseline},
                 {"weight_bytes", weights},
                 {"largest_tensor_bytes", largestTensor},
                 {"workspace_bytes", layout.bytes},
                 {"scratch_bytes", scratch},
                 {"array_bytes", arrays},
                 {"stack_bytes", threads},
                 {"peak_bytes", peak}};
  return StatusOr<Report>(std::move(report));
}
