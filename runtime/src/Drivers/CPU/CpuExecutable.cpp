//===- CpuExecutable.cpp - Kernels of an artifact on the CPU --------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CpuExecutable.h"

#include "CpuFeatures.h"

#include <algorithm>
#include <dlfcn.h>
#include <unordered_map>

using namespace moert;
using namespace moert::hal;

namespace {

/// Highest bit of `levels` that is not above `level` and that this machine can
/// run, -1 when there is none. `level` itself was checked when it was chosen:
/// it may be an emulated one.
int32_t pickLevel(uint32_t levels, int32_t level) {
  if (level >= 0 && levels >> level & 1)
    return level;
  for (level = std::min(level, machineIsaLevel()); level >= 0; --level)
    if (levels >> level & 1)
      return level;
  return -1;
}

std::string levelList(uint32_t levels) {
  std::string list;
  for (int32_t level = 0; level < MOERT_ISA_COUNT; ++level)
    if (levels >> level & 1)
      list += concat(list.empty() ? "" : ", ", isaName(level));
  return list.empty() ? "a newer level" : list;
}

Status doesNotLoad(const Artifact &artifact, std::string reason) {
  return Status::error(305, "artifact does not load")
      .at(artifact.path())
      .because(std::move(reason))
      .fix("compile the model again");
}

} // namespace

Status CpuExecutable::check(const Artifact &artifact, int32_t level) {
#if defined(__x86_64__)
  const uint16_t machine = elfMachineX86_64;
  const char *machineName = "x86-64";
#elif defined(__aarch64__)
  const uint16_t machine = elfMachineAArch64;
  const char *machineName = "AArch64";
#else
  const uint16_t machine = 0;
  const char *machineName = "an unknown machine";
#endif
  auto wrongCpu = [&](std::string reason) {
    return Status::error(310, "artifact is for a CPU this machine is not")
        .at(artifact.path())
        .because(std::move(reason))
        .fix("compile the model with a --target that includes this machine");
  };
  if (artifact.elf().machine() != machine)
    return wrongCpu(concat("the file is for ELF machine ",
                           artifact.elf().machine(), ", this is ", machineName,
                           " (", machine, ")"));
  for (const fb::Kernel *kernel : *artifact.plan().kernels())
    if (kernel->device() == fb::DeviceKind::Cpu &&
        pickLevel(kernel->levels(), level) < 0)
      return wrongCpu(concat("kernel '", kernel->name()->string_view(),
                             "' has code for ", levelList(kernel->levels()),
                             "; the level in use is ", isaName(level)));
  return {};
}

Status CpuExecutable::bind(const Artifact &artifact,
                           const moert_module_table *table, int32_t level) {
  if (!table || table->abi_version != MOERT_KERNEL_ABI_VERSION ||
      table->struct_size < sizeof(moert_module_table) ||
      (table->kernel_count && !table->kernels))
    return Status::error(301, concat("kernels of the artifact do not speak "
                                     "ABI ",
                                     MOERT_KERNEL_ABI_VERSION))
        .at(artifact.path())
        .fix("compile the model again with the moe-compile of this release");
  std::unordered_map<std::string_view, const moert_kernel_entry *> byName;
  for (uint32_t i = 0; i < table->kernel_count; ++i)
    if (const char *name = table->kernels[i].name)
      byName.emplace(name, &table->kernels[i]);
  for (const fb::Kernel *kernel : *artifact.plan().kernels()) {
    std::string_view name = kernel->name()->string_view();
    if (kernel->device() != fb::DeviceKind::Cpu) {
      functions.push_back(nullptr);
      infos.push_back({std::string(name), kernel->num_args(), -1});
      continue;
    }
    auto it = byName.find(name);
    if (it == byName.end())
      return doesNotLoad(artifact, concat("its code has no kernel '", name,
                                          "', which its plan names"));
    const moert_kernel_entry &entry = *it->second;
    if (entry.num_args != kernel->num_args())
      return doesNotLoad(
          artifact, concat("its kernel '", name, "' takes ", entry.num_args,
                           " arguments; its plan says ", kernel->num_args()));
    int32_t picked = pickLevel(kernel->levels(), level);
    if (picked < 0 || !entry.fn[picked])
      return doesNotLoad(artifact,
                         concat("its kernel '", name, "' has no code at level ",
                                isaName(picked)));
    if (entry.scratch_bytes[picked] > kernel->scratch_bytes())
      return doesNotLoad(artifact, concat("its kernel '", name, "' wants ",
                                          entry.scratch_bytes[picked],
                                          " bytes of scratch; its plan says ",
                                          kernel->scratch_bytes()));
    scratch = std::max<uint64_t>(scratch, entry.scratch_bytes[picked]);
    functions.push_back(entry.fn[picked]);
    infos.push_back({std::string(name), kernel->num_args(), picked});
  }
  return {};
}

StatusOr<std::unique_ptr<Executable>>
CpuExecutable::load(const Artifact &artifact, int32_t level) {
  MOE_RETURN_IF_ERROR(check(artifact, level));
  auto result = std::make_unique<CpuExecutable>();
  result->level = level;
  // Without a slash the loader would look in its search path.
  std::string path = artifact.path();
  if (path.find('/') == std::string::npos)
    path = concat("./", path);
  result->handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!result->handle) {
    const char *reason = ::dlerror();
    return doesNotLoad(artifact, reason ? reason : "unknown reason");
  }
  auto query = reinterpret_cast<moert_query_fn>(
      ::dlsym(result->handle, MOERT_QUERY_SYMBOL));
  if (!query)
    return doesNotLoad(artifact,
                       concat("it does not export ", MOERT_QUERY_SYMBOL));
  MOE_RETURN_IF_ERROR(
      result->bind(artifact, query(MOERT_KERNEL_ABI_VERSION), level));
  return std::unique_ptr<Executable>(std::move(result));
}

std::string CpuExecutable::code() const { return isaName(level); }

CpuExecutable::~CpuExecutable() {
  if (handle)
    ::dlclose(handle);
}
