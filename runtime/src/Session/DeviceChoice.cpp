//===- DeviceChoice.cpp - Which device runs an artifact -----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moert/Session/DeviceChoice.h"

#include <cstdlib>

using namespace moert;

namespace {

/// N of "cuda:N", 0 for "cuda"; -1 for anything else.
int32_t ordinalOf(const std::string &name) {
  if (name == "cuda")
    return 0;
  const std::string prefix = "cuda:";
  if (name.compare(0, prefix.size(), prefix) != 0 ||
      name.size() == prefix.size() || name.size() > prefix.size() + 3)
    return -1;
  int32_t number = 0;
  for (char c : name.substr(prefix.size())) {
    if (c < '0' || c > '9')
      return -1;
    number = number * 10 + (c - '0');
  }
  return number;
}

Status checkFunctions(const Artifact &artifact,
                      const std::vector<uint32_t> &functions,
                      fb::DeviceKind kind) {
  for (uint32_t index : functions) {
    const fb::Function &function = *artifact.plan().functions()->Get(index);
    if (!hasCode(function, kind))
      return noCodeFor(artifact, function, kind);
  }
  return {};
}

/// Whether all of these functions have code, or any of the artifact when none
/// is named.
bool canServe(const Artifact &artifact, const std::vector<uint32_t> &functions,
              fb::DeviceKind kind) {
  if (!functions.empty())
    return checkFunctions(artifact, functions, kind).ok();
  for (const fb::Function *function : *artifact.plan().functions())
    if (hasCode(*function, kind))
      return true;
  return false;
}

StatusOr<OpenedDevice> openOne(const char *driver, const Artifact &artifact,
                               const std::vector<uint32_t> &functions,
                               fb::DeviceKind kind,
                               const hal::DeviceOptions &options) {
  OpenedDevice opened;
  MOE_ASSIGN_OR_RETURN(opened.device, hal::findDriver(driver)->open(options));
  // The device knows best why it cannot run an artifact at all.
  StatusOr<std::unique_ptr<hal::Executable>> code =
      opened.device->load(artifact);
  if (!code.ok())
    return std::move(code).status();
  MOE_RETURN_IF_ERROR(checkFunctions(artifact, functions, kind));
  opened.code = code.take();
  return StatusOr<OpenedDevice>(std::move(opened));
}

} // namespace

StatusOr<int32_t> moert::cudaOrdinal(const std::string &name) {
  const int32_t ordinal = ordinalOf(name);
  if (ordinal < 0)
    return Status::error(2, concat("there is no device '", name, "'"))
        .fix("use cpu, cuda, cuda:N or auto");
  return ordinal;
}

Status moert::noCodeFor(const Artifact &artifact, const fb::Function &function,
                        fb::DeviceKind kind) {
  std::string list;
  for (const std::string &item : artifact.codeFor())
    list += concat(list.empty() ? "" : ", ", item);
  const bool cpu = kind == fb::DeviceKind::Cpu;
  std::string targets;
  for (const GpuArch &arch : artifact.gpuArchs())
    targets += concat(",", arch.name());
  return Status::error(311,
                       concat("function '", function.name()->string_view(),
                              "' has no code for ", cpu ? "the CPU" : "GPUs"))
      .at(artifact.path())
      .because(concat("the artifact has code for ",
                      list.empty() ? "no device" : list))
      .fix(cpu ? concat("moe-compile --target=x86-64", targets,
                        ", or use --device=cuda")
               : "moe-compile --target=x86-64,sm_80, or use --device=cpu");
}

StatusOr<OpenedDevice> moert::openDevice(const std::string &name,
                                         const Artifact &artifact,
                                         const std::vector<uint32_t> &functions,
                                         hal::DeviceOptions options) {
  const fb::DeviceKind cpu = fb::DeviceKind::Cpu, cuda = fb::DeviceKind::Cuda;
  auto openCpu = [&]() -> StatusOr<OpenedDevice> {
    MOE_RETURN_IF_ERROR(checkFunctions(artifact, functions, cpu));
    return openOne("cpu", artifact, functions, cpu, options);
  };
  if (name == "cpu")
    return openCpu();
  if (name != "auto") {
    MOE_ASSIGN_OR_RETURN(options.ordinal, cudaOrdinal(name));
    return openOne("cuda", artifact, functions, cuda, options);
  }
  const bool hasCpu = canServe(artifact, functions, cpu);
  if (!options.isa.empty() || !canServe(artifact, functions, cuda))
    return openCpu();
  StatusOr<OpenedDevice> gpu =
      openOne("cuda", artifact, functions, cuda, options);
  if (gpu.ok() || !hasCpu)
    return gpu;
  switch (gpu.status().number()) {
  case 305:
  case 311:
  case 312:
  case 313:
  case 314:
    break;
  default: // Something is wrong with a GPU that should do.
    return gpu;
  }
  if (options.log) {
    std::string file = artifact.path();
    file = file.substr(file.rfind('/') + 1);
    options.log(concat("running ", file, " on the CPU: ", gpu.status().what(),
                       gpu.status().because().empty() ? "" : ": ",
                       gpu.status().because()));
  }
  return openCpu();
}
