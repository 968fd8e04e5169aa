//===- Query.cpp - Texts, entry points, tensor maps -----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Call.h"

#include <cstring>

using namespace moe::standin;

//===----------------------------------------------------------------------===//
// Texts of results
//===----------------------------------------------------------------------===//

CUresult cuGetErrorName(CUresult result, const char **text) {
  return enterCall(FunctionId::cuGetErrorName, Nothing, [&](Call &call) {
    if (!text)
      return CUDA_ERROR_INVALID_VALUE;
    *text = errorName(result);
    return *text ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  });
}

CUresult cuGetErrorString(CUresult result, const char **text) {
  return enterCall(FunctionId::cuGetErrorString, Nothing, [&](Call &call) {
    if (!text)
      return CUDA_ERROR_INVALID_VALUE;
    switch (result) {
#define STANDIN_ERROR(NAME, VALUE, TEXT)                                       \
  case NAME:                                                                   \
    *text = TEXT;                                                              \
    return CUDA_SUCCESS;
#include "Errors.def"
    }
    *text = nullptr;
    return CUDA_ERROR_INVALID_VALUE;
  });
}

//===----------------------------------------------------------------------===//
// Entry points
//===----------------------------------------------------------------------===//

namespace {

struct EntryPoint {
  const char *base;
  int version;
  void *address;
};

} // namespace

static const EntryPoint entryPoints[] = {
#define STANDIN_FUNCTION(NAME, BASE, VERSION, PARAMETERS)                      \
  {#BASE, VERSION, reinterpret_cast<void *>(&NAME)},
#include "Functions.def"
};

/// The newest variant of a function that the caller, and the driver, know.
static CUresult findEntryPoint(Call &call, const char *symbol, void **address,
                               int version, int *status) {
  if (!symbol || !address)
    return CUDA_ERROR_INVALID_VALUE;
  call.detail = std::string(symbol) + " " + std::to_string(version);
  *address = nullptr;
  int newest = 0, found = CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
  for (const EntryPoint &entry : entryPoints) {
    if (std::strcmp(entry.base, symbol) != 0)
      continue;
    if (entry.version > version ||
        entry.version > call.driver.environment.driverVersion) {
      if (!*address)
        found = CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT;
      continue;
    }
    found = CU_GET_PROC_ADDRESS_SUCCESS;
    if (entry.version >= newest) {
      newest = entry.version;
      *address = entry.address;
    }
  }
  if (status)
    *status = found;
  return *address ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

CUresult cuGetProcAddress(const char *symbol, void **address, int version,
                          uint64_t flags) {
  return enterCall(FunctionId::cuGetProcAddress, Nothing, [&](Call &call) {
    return flags > 2 ? CUDA_ERROR_INVALID_VALUE
                     : findEntryPoint(call, symbol, address, version, nullptr);
  });
}

CUresult cuGetProcAddress_v2(const char *symbol, void **address, int version,
                             uint64_t flags, int *status) {
  return enterCall(FunctionId::cuGetProcAddress_v2, Nothing, [&](Call &call) {
    return flags > 2 ? CUDA_ERROR_INVALID_VALUE
                     : findEntryPoint(call, symbol, address, version, status);
  });
}

//===----------------------------------------------------------------------===//
// Tensor maps
//===----------------------------------------------------------------------===//

/// Bytes of an element by CUtensorMapDataType; 0 for packed types.
static uint32_t elementSize(int type) {
  static const uint8_t sizes[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4};
  return type >= 0 && size_t(type) < sizeof(sizes) ? sizes[type] : 0;
}

CUresult cuTensorMapEncodeTiled(CUtensorMap *tensorMap, int tensorDataType,
                                uint32_t tensorRank, void *globalAddress,
                                const uint64_t *globalDim,
                                const uint64_t *globalStrides,
                                const uint32_t *boxDim,
                                const uint32_t *elementStrides, int interleave,
                                int swizzle, int l2Promotion, int oobFill) {
  return enterCall(
      FunctionId::cuTensorMapEncodeTiled, Current, [&](Call &call) {
        if (call.device().limits->major < 9)
          return call.misuse(CUDA_ERROR_NOT_SUPPORTED, "needs sm_90");
        if (!tensorMap || !globalDim || !boxDim || !elementStrides ||
            (tensorRank > 1 && !globalStrides) || tensorRank < 1 ||
            tensorRank > 5 || swizzle < 0 || l2Promotion < 0 ||
            l2Promotion > 3 || oobFill < 0 || oobFill > 1)
          return CUDA_ERROR_INVALID_VALUE;
        uint32_t bytes = elementSize(tensorDataType);
        bool simple = bytes && interleave == 0 && swizzle <= 3 && oobFill == 0;
        for (uint32_t i = 0; i < tensorRank; ++i)
          simple &= elementStrides[i] == 1;
        if (!simple)
          return call.misuse(
              CUDA_ERROR_NOT_SUPPORTED,
              "packed types, interleave, element strides and NaN "
              "fill are not served");
        if (auto wrong = moe::emu::encodeTensorMap(
                tensorMap, bytes, tensorRank, globalAddress, globalDim,
                globalStrides, boxDim, uint32_t(swizzle)))
          return call.misuse(CUDA_ERROR_INVALID_VALUE, *wrong);
        return CUDA_SUCCESS;
      });
}
