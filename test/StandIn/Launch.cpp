//===- Launch.cpp - Kernels, host functions, tensor maps ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Call.h"

#include <algorithm>
#include <cstring>

using namespace moe::standin;

namespace {

/// What a launch was asked for.
struct Request {
  std::shared_ptr<Function> function;
  uint64_t grid[3];
  uint64_t block[3];
  uint32_t shared;
  uint64_t cluster = 0; // 0: not said
  /// Value of each parameter, aligned as no parameter needs more.
  struct alignas(64) Line {
    uint8_t bytes[64];
  };
  std::vector<std::vector<Line>> params;
};

} // namespace

//===----------------------------------------------------------------------===//
// Checks of the call
//===----------------------------------------------------------------------===//

/// Copies the parameters, which may change as soon as the call returns.
static std::string readParams(Request &request, void **params, void **extra) {
  const moe_emu_kernel &kernel = *request.function->kernel;
  const uint8_t *packed = nullptr;
  size_t packedSize = 0;
  for (void **entry = extra; entry && *entry; entry += 2) {
    if (*entry == reinterpret_cast<void *>(1))
      packed = static_cast<const uint8_t *>(entry[1]);
    else if (*entry == reinterpret_cast<void *>(2))
      packedSize = *static_cast<const size_t *>(entry[1]);
    else
      return "an unknown entry in 'extra'";
  }
  if (params && extra)
    return "both 'kernelParams' and 'extra' are given";
  if (kernel.num_params && !params && !packed)
    return "no parameters are given";
  size_t at = 0;
  for (uint32_t i = 0; i < kernel.num_params; ++i) {
    uint32_t size = kernel.param_sizes[i];
    request.params.emplace_back((size + 63) / 64);
    void *to = request.params.back().data();
    const void *from = nullptr;
    if (packed) {
      // Scalars are aligned to their size; structures are not seen here.
      size_t alignment = size >= 8 ? 8 : size ? size : 1;
      at = (at + alignment - 1) / alignment * alignment;
      if (at + size > packedSize)
        return "'extra' has " + std::to_string(packedSize) +
               " bytes, too few for parameter " + std::to_string(i);
      from = packed + at;
      at += size;
    } else if (!readMemory(params + i, &from, sizeof(from)) || !from) {
      return "parameter " + std::to_string(i) + " of " +
             std::to_string(kernel.num_params) + " is missing";
    }
    if (!readMemory(from, to, size))
      return "parameter " + std::to_string(i) + " cannot be read";
  }
  if (packed && packedSize != at)
    return "'extra' has " + std::to_string(packedSize) +
           " bytes, the kernel takes " + std::to_string(at);
  return std::string();
}

/// What is wrong with grid and block.
static std::string checkSizes(const Request &request) {
  const uint64_t gridLimit[3] = {2147483647, 65535, 65535};
  const uint64_t blockLimit[3] = {1024, 1024, 64};
  uint64_t threads = 1;
  for (int i = 0; i < 3; ++i) {
    if (request.grid[i] == 0 || request.grid[i] > gridLimit[i])
      return "grid size " + std::to_string(request.grid[i]) + " in dimension " +
             std::to_string(i);
    if (request.block[i] == 0 || request.block[i] > blockLimit[i])
      return "block size " + std::to_string(request.block[i]) +
             " in dimension " + std::to_string(i);
    threads *= request.block[i];
  }
  uint32_t most = request.function->kernel->max_threads;
  if (threads > 1024 || (most && threads > most))
    return std::to_string(threads) + " threads per block, at most " +
           std::to_string(most ? most : 1024) + " are allowed";
  return std::string();
}

/// What is wrong with the amount of shared memory.
static std::string checkShared(const Request &request,
                               const DeviceLimits &limits) {
  const Function &function = *request.function;
  uint64_t total = uint64_t(function.kernel->static_shared) + request.shared;
  if (request.shared > function.maxDynamicShared)
    return std::to_string(request.shared) +
           " bytes of dynamic shared memory, but the function's attribute "
           "allows " +
           std::to_string(function.maxDynamicShared);
  if (function.maxDynamicShared <= 48 * 1024 && total > 48 * 1024)
    return std::to_string(total) +
           " bytes of shared memory, but more than 48 KiB need the function's "
           "attribute";
  if (total > limits.sharedPerBlockOptin * UINT64_C(1024))
    return std::to_string(total) + " bytes of shared memory, the device has " +
           std::to_string(limits.sharedPerBlockOptin * 1024);
  return std::string();
}

/// What is wrong with the cluster; fills it in.
static std::string checkCluster(Request &request, const DeviceLimits &limits) {
  uint64_t required = std::max(1u, request.function->kernel->cluster);
  if (request.cluster == 0)
    request.cluster = required;
  if (required > 1 && request.cluster != required)
    return "cluster of " + std::to_string(request.cluster) +
           " blocks, the kernel requires " + std::to_string(required);
  if (request.cluster == 1)
    return std::string();
  uint64_t most = request.function->nonPortableCluster
                      ? 2 * limits.maxClusterPortable
                      : limits.maxClusterPortable;
  if (limits.major < 9 || request.cluster > most)
    return "cluster of " + std::to_string(request.cluster) +
           " blocks, the device has at most " +
           std::to_string(limits.major < 9 ? 1 : most);
  if (request.grid[0] * request.grid[1] * request.grid[2] % request.cluster)
    return "the grid is no multiple of the cluster";
  return std::string();
}

//===----------------------------------------------------------------------===//
// Execution
//===----------------------------------------------------------------------===//

static CUresult resultOf(moe::emu::FindingKind kind) {
  switch (kind) {
  case moe::emu::FindingKind::OutOfBoundsGlobal:
  case moe::emu::FindingKind::OutOfBoundsShared:
  case moe::emu::FindingKind::WriteToReadOnly:
    return CUDA_ERROR_ILLEGAL_ADDRESS;
  case moe::emu::FindingKind::Misaligned:
    return CUDA_ERROR_MISALIGNED_ADDRESS;
  default:
    return CUDA_ERROR_LAUNCH_FAILED;
  }
}

/// What is wrong with a parameter if it is a pointer. Mutex held.
static std::string checkPointer(const Driver &driver, uint64_t value) {
  constexpr uint64_t smallestPointer = UINT64_C(1) << 32;
  constexpr uint64_t largestPointer = UINT64_C(1) << 47;
  if (value < smallestPointer || value >= largestPointer)
    return std::string();
  std::shared_ptr<Allocation> piece = driver.memory.find(value);
  if (piece)
    return piece->state == Allocation::State::Pending
               ? piece->describe() + " is not allocated yet in stream order"
               : std::string();
  if (isDeviceAddress(value)) {
    // One past the end belongs to the piece before.
    piece = driver.memory.find(value - 1);
    return piece ? std::string() : driver.memory.describe(value);
  }
  char byte;
  return readMemory(reinterpret_cast<const void *>(value), &byte, 1)
             ? "a pointer to ordinary host memory"
             : std::string();
}

/// All memory that kernels of the context may use. Mutex held.
static void listMemory(const Driver &driver, const Context &context,
                       std::vector<moe::emu::MemoryRange> &ranges,
                       std::vector<std::shared_ptr<Allocation>> &held) {
  for (const auto &[begin, piece] : driver.memory.all()) {
    if (piece->state != Allocation::State::Live ||
        (piece->context != &context && !piece->isHost()))
      continue;
    moe::emu::MemoryRange range;
    range.begin = reinterpret_cast<const void *>(begin);
    range.size = piece->size;
    range.name = piece->name;
    ranges.push_back(std::move(range));
    held.push_back(piece);
  }
}

static CUresult runKernel(const Request &request, const Context &context) {
  Driver &driver = Driver::get();
  moe_emu_kernel kernel = *request.function->kernel;
  kernel.cluster = uint32_t(request.cluster);
  moe::emu::LaunchConfig config;
  config.kernel = &kernel;
  std::vector<void *> params;
  std::vector<std::shared_ptr<Allocation>> held;
  // A kernel that writes to its parameters must not change the next launch.
  std::vector<std::vector<Request::Line>> values = request.params;
  {
    Lock lock(driver.mutex);
    std::string where = std::string("launch: kernel ") + kernel.name + ": ";
    if (request.function->module->unloaded) {
      driver.report(where + "its module was unloaded");
      return CUDA_ERROR_LAUNCH_FAILED;
    }
    for (uint32_t i = 0; i < kernel.num_params; ++i) {
      params.push_back(values[i].data());
      uint64_t value = 0;
      if (kernel.param_sizes[i] != sizeof(value))
        continue;
      std::memcpy(&value, params.back(), sizeof(value));
      std::string wrong = checkPointer(driver, value);
      if (!wrong.empty()) {
        driver.report(where + "parameter " + std::to_string(i) + ": " + wrong);
        return CUDA_ERROR_ILLEGAL_ADDRESS;
      }
    }
    config.check = driver.environment.check;
    config.schedule = driver.environment.schedule;
    config.seed = driver.environment.schedule == moe::emu::Schedule::Random
                      ? driver.random()
                      : driver.environment.seed;
    config.osThreads = driver.environment.threads;
    if (config.check) {
      listMemory(driver, context, config.memory, held);
      config.unwritten = fillPattern;
    }
  }
  for (int i = 0; i < 3; ++i) {
    config.grid[i] = uint32_t(request.grid[i]);
    config.block[i] = uint32_t(request.block[i]);
  }
  config.dynamicShared = request.shared;
  config.params = params.data();
  moe::emu::LaunchReport report = moe::emu::launch(config);
  for (const moe::emu::Finding &finding : report.findings)
    driver.report(finding.toString());
  return report.findings.empty() ? CUDA_SUCCESS
                                 : resultOf(report.findings.front().kind);
}

static CUresult launch(Call &call, CUfunction handle, Request request,
                       CUstream streamHandle, void **params, void **extra) {
  std::shared_ptr<Stream> stream = findStream(call.context, streamHandle);
  request.function = call.driver.functions.find(handle);
  if (!stream || !request.function ||
      request.function->module->context != call.context)
    return call.misuse(CUDA_ERROR_INVALID_HANDLE,
                       stream ? "no such function in this context"
                              : "no such stream");
  call.detail = request.function->kernel->name;
  call.detail += " grid " + std::to_string(request.grid[0]) + "," +
                 std::to_string(request.grid[1]) + "," +
                 std::to_string(request.grid[2]) + " block " +
                 std::to_string(request.block[0]) + "," +
                 std::to_string(request.block[1]) + "," +
                 std::to_string(request.block[2]) + " shared " +
                 std::to_string(request.shared);
  const DeviceLimits &limits = *call.device().limits;
  CUresult how = CUDA_ERROR_INVALID_VALUE;
  std::string wrong = checkSizes(request);
  if (wrong.empty())
    wrong = checkShared(request, limits);
  if (wrong.empty()) {
    wrong = checkCluster(request, limits);
    if (!wrong.empty())
      how = CUDA_ERROR_INVALID_CLUSTER_SIZE;
  }
  if (wrong.empty())
    wrong = readParams(request, params, extra);
  if (!wrong.empty())
    return call.misuse(how, std::string("kernel ") +
                                request.function->kernel->name + ": " + wrong);
  Operation operation{Operation::Kind::Kernel, request.function->kernel->name,
                      nullptr};
  operation.run = [request = std::move(request), context = call.context] {
    return runKernel(request, *context);
  };
  return submit(stream, std::move(operation), call.takeInjected());
}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

CUresult cuLaunchKernel(CUfunction function, unsigned gridDimX,
                        unsigned gridDimY, unsigned gridDimZ,
                        unsigned blockDimX, unsigned blockDimY,
                        unsigned blockDimZ, unsigned sharedBytes,
                        CUstream stream, void **params, void **extra) {
  return enterCall(FunctionId::cuLaunchKernel, Current, [&](Call &call) {
    Request request{nullptr,
                    {gridDimX, gridDimY, gridDimZ},
                    {blockDimX, blockDimY, blockDimZ},
                    sharedBytes,
                    0,
                    {}};
    return launch(call, function, std::move(request), stream, params, extra);
  });
}

CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function,
                          void **params, void **extra) {
  return enterCall(FunctionId::cuLaunchKernelEx, Current, [&](Call &call) {
    if (!config || (config->numAttrs && !config->attrs))
      return CUDA_ERROR_INVALID_VALUE;
    Request request{nullptr,
                    {config->gridDimX, config->gridDimY, config->gridDimZ},
                    {config->blockDimX, config->blockDimY, config->blockDimZ},
                    config->sharedMemBytes,
                    0,
                    {}};
    for (unsigned i = 0; i < config->numAttrs; ++i) {
      const CUlaunchAttribute &attribute = config->attrs[i];
      switch (attribute.id) {
      case CU_LAUNCH_ATTRIBUTE_IGNORE:
      case CU_LAUNCH_ATTRIBUTE_COOPERATIVE:
      case CU_LAUNCH_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
      case CU_LAUNCH_ATTRIBUTE_PRIORITY:
        break;
      case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION:
        if (attribute.value.programmaticStreamSerializationAllowed &&
            call.device().limits->major < 9)
          return call.misuse(CUDA_ERROR_NOT_SUPPORTED,
                             "programmatic dependent launch needs sm_90");
        break;
      case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION: {
        const auto &size = attribute.value.clusterDim;
        if (!size.x || !size.y || !size.z || config->gridDimX % size.x ||
            config->gridDimY % size.y || config->gridDimZ % size.z)
          return call.misuse(CUDA_ERROR_INVALID_CLUSTER_SIZE,
                             "the grid is no multiple of the cluster");
        request.cluster = uint64_t(size.x) * size.y * size.z;
        break;
      }
      default:
        return call.misuse(CUDA_ERROR_INVALID_VALUE,
                           "launch attribute " + std::to_string(attribute.id) +
                               " is not known to the stand-in");
      }
    }
    return launch(call, function, std::move(request), config->hStream, params,
                  extra);
  });
}

CUresult cuLaunchHostFunc(CUstream handle, CUhostFn function, void *data) {
  return enterCall(FunctionId::cuLaunchHostFunc, Current, [&](Call &call) {
    std::shared_ptr<Stream> stream = findStream(call.context, handle);
    if (!stream)
      return call.misuse(CUDA_ERROR_INVALID_HANDLE, "no such stream");
    if (!function)
      return CUDA_ERROR_INVALID_VALUE;
    auto run = [function, data] {
      DeviceAccess access(false);
      inHostFunction = true;
      function(data);
      inHostFunction = false;
      return CUDA_SUCCESS;
    };
    return submit(stream, {Operation::Kind::Host, "host function", run},
                  call.takeInjected());
  });
}
