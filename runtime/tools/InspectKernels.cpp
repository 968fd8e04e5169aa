//===- InspectKernels.cpp - A listing of kernels and GPU images -----------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Inspect.h"

#include <fmt/format.h>

using namespace moert;
using namespace moert::tools;
using nlohmann::ordered_json;

std::vector<std::string> tools::gpuCode(const Artifact &artifact) {
  std::vector<std::string> list;
  for (const std::string &item : artifact.codeFor())
    if (item.compare(0, 3, "sm_") == 0)
      list.push_back(item);
  return list;
}

/// One line per architecture of a GPU kernel.
static ordered_json describeGpu(const fb::Kernel &kernel, std::string &text) {
  ordered_json list = ordered_json::array();
  for (const fb::GpuKernel *gpu : *kernel.gpu()) {
    text += fmt::format(
        "  {:<8} {} threads, {} blocks per SM, {} registers, {} + {} bytes of "
        "shared memory, {} of scratch per block, {}\n",
        gpu->arch()->string_view(), gpu->threads(), gpu->blocks_per_sm(),
        gpu->registers() ? fmt::format("{}", gpu->registers()) : "unknown",
        gpu->static_shared_bytes(), gpu->shared_bytes(),
        formatBytes(gpu->scratch_bytes()), gpu->accumulation()->string_view());
    list.push_back({{"arch", gpu->arch()->str()},
                    {"threads", gpu->threads()},
                    {"blocks_per_sm", gpu->blocks_per_sm()},
                    {"registers", gpu->registers()},
                    {"static_shared_bytes", gpu->static_shared_bytes()},
                    {"shared_bytes", gpu->shared_bytes()},
                    {"scratch_bytes", gpu->scratch_bytes()},
                    {"accumulation", gpu->accumulation()->str()}});
  }
  return list;
}

static std::string join(const std::vector<std::string> &list) {
  std::string out;
  for (const std::string &item : list)
    out += (out.empty() ? "" : ", ") + item;
  return out;
}

Report tools::describeKernels(const Artifact &artifact) {
  const fb::Plan &plan = artifact.plan();
  std::vector<uint64_t> uses(plan.kernels()->size());
  for (const fb::Function *function : *plan.functions())
    for (const fb::Variant *variant : *function->variants())
      for (const fb::CommandEntry *entry : *variant->commands())
        if (const fb::Dispatch *dispatch = entry->command_as_Dispatch())
          ++uses[dispatch->kernel()];
  Report report;
  report.json = {{"schema", "moe.kernels/1"},
                 {"kernels", ordered_json::array()}};
  for (uint32_t i = 0; i < plan.kernels()->size(); ++i) {
    const fb::Kernel &kernel = *plan.kernels()->Get(i);
    const std::string name = kernel.name()->str();
    ordered_json json = {{"name", name},
                         {"device", deviceName(kernel.device())}};
    if (kernel.device() == fb::DeviceKind::Cuda) {
      report.text += fmt::format("{}  [cuda]  {} arguments, {} dispatches\n",
                                 name, kernel.num_args(), uses[i]);
      json["gpu"] = describeGpu(kernel, report.text);
    } else {
      std::vector<std::string> levels = levelNames(kernel.levels());
      ordered_json classes = ordered_json::array();
      if (kernel.accumulation())
        for (const flatbuffers::String *one : *kernel.accumulation())
          classes.push_back(one->str());
      report.text +=
          fmt::format("{}  [{}]  {} arguments, {} of scratch, {} dispatches\n",
                      name, join(levels), kernel.num_args(),
                      formatBytes(kernel.scratch_bytes()), uses[i]);
      json["levels"] = levels;
      json["accumulation"] = std::move(classes);
      json["scratch_bytes"] = kernel.scratch_bytes();
    }
    json["args"] = kernel.num_args();
    json["dispatches"] = uses[i];
    report.json["kernels"].push_back(std::move(json));
  }
  report.json["images"] = ordered_json::array();
  for (const GpuImage &image : artifact.images()) {
    const std::string arch = image.arch.name();
    report.text +=
        fmt::format("image  {} {}  {}\n", arch, imageKindName(image.kind),
                    formatBytes(image.size));
    report.json["images"].push_back({{"arch", arch},
                                     {"kind", imageKindName(image.kind)},
                                     {"bytes", image.size}});
  }
  return report;
}
