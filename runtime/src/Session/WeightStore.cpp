//===- WeightStore.cpp - The constants of a plan on a device --------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moert/Session/WeightStore.h"

#include "WeightUpload.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>

using namespace moert;

/// Reads the number behind `key` in a small text file; `missing` when absent.
static uint64_t readNumber(const char *path, const char *key,
                           uint64_t missing) {
  std::FILE *file = std::fopen(path, "re");
  if (!file)
    return missing;
  char line[256];
  unsigned long long value = 0;
  const std::string format = concat(key, "%llu");
  uint64_t result = missing;
  while (result == missing && std::fgets(line, sizeof(line), file))
    if (std::sscanf(line, format.c_str(), &value) == 1)
      result = value;
  std::fclose(file);
  return result;
}

uint64_t moert::availableMemory() {
  uint64_t kib = readNumber("/proc/meminfo", "MemAvailable: ", UINT64_MAX);
  uint64_t bytes = kib > UINT64_MAX / 1024 ? UINT64_MAX : kib * 1024;
  // The limit of a container, when there is one.
  uint64_t limit = readNumber("/sys/fs/cgroup/memory.max", "", UINT64_MAX);
  uint64_t used = readNumber("/sys/fs/cgroup/memory.current", "", 0);
  if (limit != UINT64_MAX)
    bytes = std::min(bytes, limit > used ? limit - used : 0);
  return bytes;
}

Status WeightStore::load(hal::Device &device,
                         std::shared_ptr<const Artifact> newArtifact,
                         const std::vector<uint32_t> &constants,
                         const Options &options) {
  artifact = std::move(newArtifact);
  const fb::Plan &plan = artifact->plan();
  addresses.assign(plan.constants()->size(), nullptr);
  for (uint32_t index : constants)
    total += plan.constants()->Get(index)->bytes();
  if (!device.info().sharesHostMemory)
    return loadRemote(device, constants, options);
  switch (plan.weights_mode()) {
  case fb::WeightsMode::External:
    return loadExternal(device, constants, options);
  case fb::WeightsMode::Packed:
    return loadPacked(device, constants, options);
  case fb::WeightsMode::Embedded:
    break;
  }
  origin = artifact->path();
  if (options.verifyContents)
    MOE_RETURN_IF_ERROR(moert::verifyContents(*artifact, nullptr, nullptr,
                                              constants, compared));
  for (uint32_t index : constants) {
    auto *data = const_cast<uint8_t *>(artifact->embedded(index));
    MOE_ASSIGN_OR_RETURN(
        std::unique_ptr<hal::Buffer> buffer,
        device.wrapHost(data, plan.constants()->Get(index)->bytes()));
    addresses[index] = buffer->address();
    buffers.push_back(std::move(buffer));
  }
  return {};
}

Status WeightStore::loadExternal(hal::Device &device,
                                 const std::vector<uint32_t> &constants,
                                 const Options &options) {
  if (constants.empty())
    return {};
  MOE_ASSIGN_OR_RETURN(std::shared_ptr<const Checkpoint> checkpoint,
                       findCheckpoint(*artifact, options.path, &constants));
  origin = checkpoint->path();
  if (options.verifyContents)
    MOE_RETURN_IF_ERROR(moert::verifyContents(*artifact, checkpoint.get(),
                                              nullptr, constants, compared));
  const uint64_t available = availableMemory();
  if (total > available)
    return Status::error(601,
                         concat("the weights need ", formatBytes(total), "; ",
                                formatBytes(available), " are available"))
        .at(artifact->path())
        .fix("use packed weights (moe-compile --weights=packed), or a machine "
             "with more memory");
  Status failure;
  ParallelFor parallel = [&](int64_t count,
                             const std::function<void(int64_t)> &body) {
    Status status = device.parallelFor(count, body);
    if (!status.ok())
      failure = std::move(status);
  };
  const fb::Plan &plan = artifact->plan();
  for (uint32_t index : constants) {
    const fb::Constant &constant = *plan.constants()->Get(index);
    MOE_ASSIGN_OR_RETURN(
        std::unique_ptr<hal::Buffer> buffer,
        device.allocate(constant.bytes(), hal::BufferUse::Constant));
    auto *target = static_cast<uint8_t *>(buffer->hostAddress());
    MOE_RETURN_IF_ERROR(
        packConstant(plan, constant, *checkpoint, target, parallel));
    if (!failure.ok())
      return failure;
    addresses[index] = buffer->address();
    buffers.push_back(std::move(buffer));
    advance(constant.bytes(), options);
  }
  return {};
}

void WeightStore::advance(uint64_t bytes, const Options &options) {
  done += bytes;
  if (options.progress)
    options.progress(done, total);
}

/// Pieces that travel at once: large enough to use the bus well.
static constexpr uint64_t uploadBytes = uint64_t(64) << 20;

Status WeightStore::loadRemote(hal::Device &device,
                               const std::vector<uint32_t> &constants,
                               const Options &options) {
  const fb::Plan &plan = artifact->plan();
  const bool external = plan.weights_mode() == fb::WeightsMode::External;
  std::shared_ptr<const Checkpoint> checkpoint;
  if (constants.empty())
    return {};
  origin = artifact->path();
  if (external) {
    MOE_ASSIGN_OR_RETURN(checkpoint,
                         findCheckpoint(*artifact, options.path, &constants));
    origin = checkpoint->path();
  } else if (plan.weights_mode() == fb::WeightsMode::Packed) {
    MOE_ASSIGN_OR_RETURN(packed, openPackedWeights(*artifact, options.path));
    origin = packed->path();
  }
  if (options.verifyContents)
    MOE_RETURN_IF_ERROR(moert::verifyContents(
        *artifact, checkpoint.get(), packed.get(), constants, compared));

  // A constant travels in groups of pieces, bytes of a file as they come.
  auto step = [&](const fb::Constant &constant, uint64_t &unit) {
    unit = external ? constant.bytes() / packingPieces(plan, constant) : 1;
    return std::min(constant.bytes(),
                    std::max(uploadBytes / unit, uint64_t(1)) * unit);
  };
  uint64_t largest = 0, unit = 1;
  for (uint32_t index : constants)
    if (const fb::Constant &constant = *plan.constants()->Get(index);
        constant.bytes())
      largest = std::max(largest, step(constant, unit));
  Status failure;
  ParallelFor parallel = [&](int64_t count,
                             const std::function<void(int64_t)> &body) {
    Status status = device.parallelFor(count, body);
    if (!status.ok())
      failure = std::move(status);
  };
  MOE_ASSIGN_OR_RETURN(std::unique_ptr<WeightUpload> upload,
                       WeightUpload::create(device, largest, options.timeout));
  for (uint32_t index : constants) {
    const fb::Constant &constant = *plan.constants()->Get(index);
    MOE_ASSIGN_OR_RETURN(
        std::unique_ptr<hal::Buffer> buffer,
        device.allocate(constant.bytes(), hal::BufferUse::Constant));
    addresses[index] = buffer->address();
    buffers.push_back(std::move(buffer));
    if (constant.bytes() == 0)
      continue;
    const TensorEntry *entry =
        packed ? packed->find(constant.name()->string_view()) : nullptr;
    const uint64_t stride = step(constant, unit);
    for (uint64_t at = 0; at < constant.bytes(); at += stride) {
      const uint64_t bytes = std::min(stride, constant.bytes() - at);
      MOE_ASSIGN_OR_RETURN(uint8_t *staging, upload->next());
      if (external) {
        MOE_RETURN_IF_ERROR(packPieces(plan, constant, *checkpoint, at / unit,
                                       (at + bytes) / unit, staging, parallel));
        if (!failure.ok())
          return failure;
      } else {
        const uint8_t *source = entry ? entry->data : artifact->embedded(index);
        std::memcpy(staging, source + at, bytes);
        if (entry)
          entry->dropPages(at, bytes);
      }
      MOE_RETURN_IF_ERROR(
          upload->send(static_cast<uint8_t *>(addresses[index]) + at, bytes));
      advance(bytes, options);
    }
  }
  return upload->finish();
}

Status WeightStore::loadPacked(hal::Device &device,
                               const std::vector<uint32_t> &constants,
                               const Options &options) {
  if (constants.empty())
    return {};
  MOE_ASSIGN_OR_RETURN(packed, openPackedWeights(*artifact, options.path));
  origin = packed->path();
  if (options.verifyContents)
    MOE_RETURN_IF_ERROR(moert::verifyContents(*artifact, nullptr, packed.get(),
                                              constants, compared));
  for (uint32_t index : constants) {
    const fb::Constant &constant = *artifact->plan().constants()->Get(index);
    const TensorEntry &entry = *packed->find(constant.name()->string_view());
    // Now rather than page by page in the first call.
    packed->mapping().prefault(entry.offset, entry.bytes);
    MOE_ASSIGN_OR_RETURN(
        std::unique_ptr<hal::Buffer> buffer,
        device.wrapHost(const_cast<uint8_t *>(entry.data), entry.bytes));
    addresses[index] = buffer->address();
    buffers.push_back(std::move(buffer));
  }
  return {};
}
