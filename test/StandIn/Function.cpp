//===- Function.cpp - Attributes and occupancy of functions ---------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Call.h"
#include "Image.h"

#include <algorithm>

using namespace moe::standin;

/// Registers are not modelled; this many let every block start.
static constexpr int registersPerThread = 64;

static std::shared_ptr<Function> getFunction(Call &call, CUfunction handle) {
  std::shared_ptr<Function> function = call.driver.functions.find(handle);
  if (function && function->module->context == call.context)
    return function;
  call.misuse(CUDA_ERROR_INVALID_HANDLE, "no such function in this context");
  return nullptr;
}

CUresult cuFuncSetAttribute(CUfunction handle, int attribute, int value) {
  return enterCall(FunctionId::cuFuncSetAttribute, Current, [&](Call &call) {
    std::shared_ptr<Function> function = getFunction(call, handle);
    if (!function)
      return CUDA_ERROR_INVALID_HANDLE;
    call.detail = std::string(function->kernel->name) + " " +
                  std::to_string(attribute) + " " + std::to_string(value);
    switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: {
      uint64_t most =
          call.device().limits->sharedPerBlockOptin * UINT64_C(1024);
      if (value < 0 || uint64_t(value) + function->kernel->static_shared > most)
        return CUDA_ERROR_INVALID_VALUE;
      function->maxDynamicShared = uint32_t(value);
      return CUDA_SUCCESS;
    }
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
      if (value < -1 || value > 100)
        return CUDA_ERROR_INVALID_VALUE;
      function->carveout = value;
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED:
      function->nonPortableCluster = value != 0;
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_INVALID_VALUE;
    }
  });
}

CUresult cuFuncGetAttribute(int *value, int attribute, CUfunction handle) {
  return enterCall(FunctionId::cuFuncGetAttribute, Current, [&](Call &call) {
    std::shared_ptr<Function> function = getFunction(call, handle);
    if (!function)
      return CUDA_ERROR_INVALID_HANDLE;
    if (!value)
      return CUDA_ERROR_INVALID_VALUE;
    const moe_emu_kernel &kernel = *function->kernel;
    const DeviceLimits &limits = *call.device().limits;
    switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
      *value = kernel.max_threads ? int(kernel.max_threads) : 1024;
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
      *value = int(kernel.static_shared);
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES:
    case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:
    case CU_FUNC_ATTRIBUTE_CACHE_MODE_CA:
    case CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET:
      *value = 0;
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_NUM_REGS:
      *value = registersPerThread;
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_PTX_VERSION:
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
      *value = 10 * limits.major + limits.minor;
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
      *value = int(function->maxDynamicShared);
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
      *value = function->carveout;
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH:
      *value = kernel.cluster > 1 ? int(kernel.cluster) : 0;
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT:
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH:
      *value = kernel.cluster > 1;
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED:
      *value = function->nonPortableCluster;
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_INVALID_VALUE;
    }
  });
}

/// Blocks that one multiprocessor can hold at a time.
static uint32_t countBlocks(const DeviceLimits &limits,
                            const Function &function, uint32_t threads,
                            uint64_t dynamicShared) {
  if (dynamicShared > function.maxDynamicShared || threads == 0 ||
      threads > 1024 ||
      (function.kernel->max_threads && threads > function.kernel->max_threads))
    return 0;
  // The system keeps 1 KiB per block for itself.
  uint64_t shared = function.kernel->static_shared + dynamicShared + 1024;
  uint32_t warps = (threads + 31) / 32;
  uint64_t blocks = limits.blocksPerMultiprocessor;
  blocks = std::min<uint64_t>(blocks,
                              limits.threadsPerMultiprocessor / (warps * 32));
  blocks = std::min<uint64_t>(blocks, limits.sharedPerMultiprocessor *
                                          UINT64_C(1024) / shared);
  return uint32_t(blocks);
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *numBlocks,
                                                     CUfunction handle,
                                                     int blockSize,
                                                     size_t dynamicSMemSize) {
  return enterCall(FunctionId::cuOccupancyMaxActiveBlocksPerMultiprocessor,
                   Current, [&](Call &call) {
                     std::shared_ptr<Function> function =
                         getFunction(call, handle);
                     if (!function)
                       return CUDA_ERROR_INVALID_HANDLE;
                     if (!numBlocks || blockSize <= 0)
                       return CUDA_ERROR_INVALID_VALUE;
                     *numBlocks =
                         int(countBlocks(*call.device().limits, *function,
                                         uint32_t(blockSize), dynamicSMemSize));
                     return CUDA_SUCCESS;
                   });
}

CUresult cuOccupancyMaxActiveClusters(int *numClusters, CUfunction handle,
                                      const CUlaunchConfig *config) {
  return enterCall(
      FunctionId::cuOccupancyMaxActiveClusters, Current, [&](Call &call) {
        std::shared_ptr<Function> function = getFunction(call, handle);
        if (!function)
          return CUDA_ERROR_INVALID_HANDLE;
        if (!numClusters || !config || (config->numAttrs && !config->attrs))
          return CUDA_ERROR_INVALID_VALUE;
        const DeviceLimits &limits = *call.device().limits;
        uint64_t cluster = std::max(1u, function->kernel->cluster);
        for (unsigned i = 0; i < config->numAttrs; ++i)
          if (config->attrs[i].id == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION) {
            const auto &size = config->attrs[i].value.clusterDim;
            cluster = uint64_t(size.x) * size.y * size.z;
          }
        if (cluster == 0 || (cluster > 1 && limits.major < 9))
          return CUDA_ERROR_INVALID_CLUSTER_SIZE;
        uint64_t threads =
            uint64_t(config->blockDimX) * config->blockDimY * config->blockDimZ;
        uint32_t blocks =
            threads > 1024 ? 0
                           : countBlocks(limits, *function, uint32_t(threads),
                                         config->sharedMemBytes);
        uint64_t all = uint64_t(blocks) *
                       uint64_t(call.driver.environment.multiprocessors);
        *numClusters = int(all / cluster);
        return CUDA_SUCCESS;
      });
}
