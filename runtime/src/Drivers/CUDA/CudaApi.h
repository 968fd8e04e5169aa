//===- CudaApi.h - The CUDA driver as a table of functions --------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Types and constants of the driver's interface, declared from its public
// documentation, so that no CUDA toolkit is needed to build. The library is
// loaded when a GPU is asked for, never linked.
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_DRIVERS_CUDA_CUDAAPI_H
#define MOERT_DRIVERS_CUDA_CUDAAPI_H

#include "moert/Format/Status.h"

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

namespace moert::hal {

using CUdevice = int;
using CUdeviceptr = unsigned long long;
using CUcontext = struct CUctx_st *;
using CUmodule = struct CUmod_st *;
using CUfunction = struct CUfunc_st *;
using CUstream = struct CUstream_st *;
using CUevent = struct CUevent_st *;
using CUgraph = struct CUgraph_st *;
using CUgraphExec = struct CUgraphExec_st *;

/// Results that are told apart; the others are known by name only.
enum CUresult : int {
  cudaSuccess = 0,
  cudaOutOfMemory = 2,
  cudaNoDevice = 100,
  cudaInvalidImage = 200,
  cudaNoBinaryForGpu = 209,
  cudaInvalidPtx = 218,
  cudaJitCompilerNotFound = 221,
  cudaUnsupportedPtxVersion = 222,
  cudaNotFound = 500,
  cudaNotReady = 600,
};

constexpr unsigned cudaStreamNonBlocking = 1;
constexpr unsigned cudaEventDisableTiming = 2;
constexpr unsigned cudaHostPortable = 1;
constexpr unsigned cudaHostDeviceMap = 2;
constexpr int cudaCaptureThreadLocal = 1;
constexpr int cudaFuncMaxDynamicShared = 8;
constexpr int cudaAttributeMultiprocessors = 16;
constexpr int cudaAttributeMajor = 75;
constexpr int cudaAttributeMinor = 76;
constexpr int cudaAttributeMaxSharedOptin = 97;
constexpr int cudaAttributeMemoryPools = 115;
constexpr int cudaJitErrorLog = 5;
constexpr int cudaJitErrorLogBytes = 6;

/// The functions; those that are not required may be null.
struct CudaApi {
#define CUDA_FUNCTION(name, symbol, required, parameters)                      \
  CUresult(*name) parameters = nullptr;
#include "CudaFunctions.def"

  /// Highest CUDA version of the driver, 13000 for 13.0.
  int version = 0;
  /// What was loaded, for messages.
  std::string library;

  bool hasPools() const { return memAllocAsync && memFreeAsync; }
  bool hasGraphs() const {
    return streamBeginCapture && streamEndCapture && graphInstantiate &&
           graphLaunch && graphExecDestroy && graphDestroy;
  }

  /// "13.0" for 13000.
  static std::string versionName(int version);

  /// Loads the library that the environment variable MOE_CUDA_LIBRARY names,
  /// else libcuda.so.1, and starts the driver. Once per process and name.
  /// MOE0312 or MOE0313.
  static StatusOr<std::shared_ptr<const CudaApi>> load();

  /// "CUDA_ERROR_NOT_FOUND (named symbol not found)".
  std::string describe(CUresult result) const;

  /// The error of a failed call of `function`: MOE0320 when the context is of
  /// no use afterwards, else MOE0321. OK for success.
  Status check(CUresult result, const char *function) const;
};

/// Whether nothing more can be done in a context after this result.
bool isSticky(CUresult result);

/// The CUDA version that brought version `major`.`minor` of PTX.
int cudaVersionOfPtx(int major, int minor);
/// The newest PTX that a driver of this version translates.
std::pair<int, int> newestPtx(int cudaVersion);

/// Names of the functions as NVIDIA documents them.
namespace cuda_names {
#define CUDA_FUNCTION(name, symbol, required, parameters)                      \
  constexpr const char *name = #symbol;
#include "CudaFunctions.def"
} // namespace cuda_names

/// Calls function `name` of the table `api` and turns its result into a Status.
#define MOE_CUDA(api, name, ...)                                               \
  (api).check((api).name(__VA_ARGS__), ::moert::hal::cuda_names::name)

} // namespace moert::hal

#endif // MOERT_DRIVERS_CUDA_CUDAAPI_H
