//===- Inspect.h - Reports about an artifact ------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_TOOLS_INSPECT_H
#define MOERT_TOOLS_INSPECT_H

#include "moert/Format/Artifact.h"

#include <nlohmann/json.hpp>
#include <string>

namespace moert::tools {

/// A report as text and as JSON.
struct Report {
  std::string text;
  nlohmann::ordered_json json;
};

/// Every command of every variant of every function (or of one).
Report describePlan(const fb::Plan &plan, const fb::Function *only);

/// Every kernel with its code for CPUs and GPUs, and the GPU images.
Report describeKernels(const Artifact &artifact);

/// "sm_80 (cubin, PTX)", one per architecture.
std::vector<std::string> gpuCode(const Artifact &artifact);

/// "[avx2, avx512]" for a kernel's levels.
std::vector<std::string> levelNames(uint32_t levels);

/// What moe-run will need at its peak, in bytes of resident memory; for a GPU
/// in bytes of its memory.
struct MemoryQuestion {
  const fb::Function *function = nullptr;
  int64_t tokens = 1;
  int32_t threads = 1;
  std::string weights;
  fb::DeviceKind device = fb::DeviceKind::Cpu;
};

/// MOE0013 when the function does not take that many tokens, MOE0311 when it
/// has no code for the device. `tokens` is the
/// value of every symbol of the function.
StatusOr<Report> predictMemory(const Artifact &artifact,
                               const MemoryQuestion &question);

} // namespace moert::tools

#endif // MOERT_TOOLS_INSPECT_H
