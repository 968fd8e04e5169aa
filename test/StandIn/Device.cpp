//===- Device.cpp - Devices and their attributes --------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Call.h"

#include <cstdio>
#include <cstring>
#include <utility>

using namespace moe::standin;

//===----------------------------------------------------------------------===//
// Limits by architecture
//===----------------------------------------------------------------------===//

const DeviceLimits *moe::standin::findDeviceLimits(const std::string &name) {
  static const std::pair<const char *, DeviceLimits> table[] = {
      {"sm_80", {8, 0, "Stand-in sm_80", 163, 164, 2048, 32, 1}},
      {"sm_86", {8, 6, "Stand-in sm_86", 99, 100, 1536, 16, 1}},
      {"sm_89", {8, 9, "Stand-in sm_89", 99, 100, 1536, 24, 1}},
      {"sm_90", {9, 0, "Stand-in sm_90", 227, 228, 2048, 32, 8}},
      {"sm_100", {10, 0, "Stand-in sm_100", 227, 228, 2048, 32, 8}},
      {"sm_120", {12, 0, "Stand-in sm_120", 99, 100, 1536, 24, 8}},
  };
  // "sm_90a" names a target for code; the device is the same.
  std::string device = name;
  if (!device.empty() && (device.back() == 'a' || device.back() == 'f'))
    device.pop_back();
  for (const auto &[key, limits] : table)
    if (device == key)
      return &limits;
  return nullptr;
}

static int attributeOf(const Driver &driver, const Device &device, int ordinal,
                       int attribute, bool &known) {
  const DeviceLimits &limits = *device.limits;
  bool hopper = limits.major >= 9;
  switch (attribute) {
  case 1: // MAX_THREADS_PER_BLOCK
  case 2: // MAX_BLOCK_DIM_X
  case 3: // MAX_BLOCK_DIM_Y
    return 1024;
  case 4: // MAX_BLOCK_DIM_Z
    return 64;
  case 5: // MAX_GRID_DIM_X
    return 2147483647;
  case 6: // MAX_GRID_DIM_Y
  case 7: // MAX_GRID_DIM_Z
    return 65535;
  case 8: // MAX_SHARED_MEMORY_PER_BLOCK
    return 48 * 1024;
  case 9: // TOTAL_CONSTANT_MEMORY
    return 65536;
  case 10: // WARP_SIZE
    return 32;
  case 11: // MAX_PITCH
    return 2147483647;
  case 12: // MAX_REGISTERS_PER_BLOCK
  case 82: // MAX_REGISTERS_PER_MULTIPROCESSOR
    return 65536;
  case 13: // CLOCK_RATE, kHz
    return 1410000;
  case 14: // TEXTURE_ALIGNMENT
    return 512;
  case 16: // MULTIPROCESSOR_COUNT
    return driver.environment.multiprocessors;
  case 36: // MEMORY_CLOCK_RATE, kHz
    return 1215000;
  case 37: // GLOBAL_MEMORY_BUS_WIDTH, bits
    return 5120;
  case 38: // L2_CACHE_SIZE
    return 40 << 20;
  case 39: // MAX_THREADS_PER_MULTIPROCESSOR
    return int(limits.threadsPerMultiprocessor);
  case 40: // ASYNC_ENGINE_COUNT
    return 2;
  case 75: // COMPUTE_CAPABILITY_MAJOR
    return limits.major;
  case 76: // COMPUTE_CAPABILITY_MINOR
    return limits.minor;
  case 81: // MAX_SHARED_MEMORY_PER_MULTIPROCESSOR
    return int(limits.sharedPerMultiprocessor) * 1024;
  case 97: // MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
    return int(limits.sharedPerBlockOptin) * 1024;
  case 106: // MAX_BLOCKS_PER_MULTIPROCESSOR
    return int(limits.blocksPerMultiprocessor);
  case 111: // RESERVED_SHARED_MEMORY_PER_BLOCK
    return 1024;
  case 33: // PCI_BUS_ID
    return ordinal + 1;
  case 34:  // PCI_DEVICE_ID
  case 50:  // PCI_DOMAIN_ID
  case 17:  // KERNEL_EXEC_TIMEOUT
  case 18:  // INTEGRATED
  case 20:  // COMPUTE_MODE: default
  case 32:  // ECC_ENABLED
  case 83:  // MANAGED_MEMORY
  case 84:  // MULTI_GPU_BOARD
  case 88:  // PAGEABLE_MEMORY_ACCESS
  case 89:  // CONCURRENT_MANAGED_ACCESS
  case 102: // VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED
  case 116: // GPU_DIRECT_RDMA_SUPPORTED
  case 132: // MULTICAST_SUPPORTED
  case 133: // MPS_ENABLED
    return 0;
  case 15:  // GPU_OVERLAP
  case 19:  // CAN_MAP_HOST_MEMORY
  case 31:  // CONCURRENT_KERNELS
  case 41:  // UNIFIED_ADDRESSING
  case 78:  // STREAM_PRIORITIES_SUPPORTED
  case 79:  // GLOBAL_L1_CACHE_SUPPORTED
  case 80:  // LOCAL_L1_CACHE_SUPPORTED
  case 90:  // COMPUTE_PREEMPTION_SUPPORTED
  case 91:  // CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM
  case 95:  // COOPERATIVE_LAUNCH
  case 99:  // HOST_REGISTER_SUPPORTED
  case 115: // MEMORY_POOLS_SUPPORTED
    return 1;
  case 120: // CLUSTER_LAUNCH
  case 127: // TENSOR_MAP_ACCESS_SUPPORTED
    return hopper;
  default:
    known = false;
    return 0;
  }
}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

static bool isDevice(const Call &call, CUdevice device) {
  return device >= 0 && size_t(device) < call.driver.devices.size();
}

CUresult cuInit(unsigned flags) {
  return enterCall(FunctionId::cuInit, Nothing, [&](Call &call) {
    if (flags != 0)
      return CUDA_ERROR_INVALID_VALUE;
    if (call.driver.devices.empty())
      return CUDA_ERROR_NO_DEVICE;
    call.driver.initialised = true;
    return CUDA_SUCCESS;
  });
}

CUresult cuDriverGetVersion(int *version) {
  return enterCall(FunctionId::cuDriverGetVersion, Nothing, [&](Call &call) {
    if (!version)
      return CUDA_ERROR_INVALID_VALUE;
    *version = call.driver.environment.driverVersion;
    return CUDA_SUCCESS;
  });
}

CUresult cuDeviceGetCount(int *count) {
  return enterCall(FunctionId::cuDeviceGetCount, Init, [&](Call &call) {
    if (!count)
      return CUDA_ERROR_INVALID_VALUE;
    *count = int(call.driver.devices.size());
    return CUDA_SUCCESS;
  });
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
  return enterCall(FunctionId::cuDeviceGet, Init, [&](Call &call) {
    if (!device)
      return CUDA_ERROR_INVALID_VALUE;
    if (!isDevice(call, ordinal))
      return CUDA_ERROR_INVALID_DEVICE;
    *device = ordinal;
    return CUDA_SUCCESS;
  });
}

CUresult cuDeviceGetName(char *name, int len, CUdevice device) {
  return enterCall(FunctionId::cuDeviceGetName, Init, [&](Call &call) {
    if (!name || len <= 0)
      return CUDA_ERROR_INVALID_VALUE;
    if (!isDevice(call, device))
      return CUDA_ERROR_INVALID_DEVICE;
    std::snprintf(name, size_t(len), "%s",
                  call.driver.devices[size_t(device)].limits->name);
    return CUDA_SUCCESS;
  });
}

static CUresult getUuid(FunctionId id, CUuuid *uuid, CUdevice device) {
  return enterCall(id, Init, [&](Call &call) {
    if (!uuid)
      return CUDA_ERROR_INVALID_VALUE;
    if (!isDevice(call, device))
      return CUDA_ERROR_INVALID_DEVICE;
    std::memcpy(uuid->bytes, "moe stand-in dev", sizeof(uuid->bytes));
    uuid->bytes[15] = char(device);
    return CUDA_SUCCESS;
  });
}

CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice device) {
  return getUuid(FunctionId::cuDeviceGetUuid, uuid, device);
}

CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device) {
  return getUuid(FunctionId::cuDeviceGetUuid_v2, uuid, device);
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) {
  return enterCall(FunctionId::cuDeviceTotalMem_v2, Init, [&](Call &call) {
    if (!bytes)
      return CUDA_ERROR_INVALID_VALUE;
    if (!isDevice(call, device))
      return CUDA_ERROR_INVALID_DEVICE;
    *bytes = call.driver.environment.memory;
    return CUDA_SUCCESS;
  });
}

CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice device) {
  return enterCall(FunctionId::cuDeviceGetAttribute, Init, [&](Call &call) {
    if (!value)
      return CUDA_ERROR_INVALID_VALUE;
    if (!isDevice(call, device))
      return CUDA_ERROR_INVALID_DEVICE;
    bool known = true;
    *value = attributeOf(call.driver, call.driver.devices[size_t(device)],
                         device, attribute, known);
    call.detail = std::to_string(attribute);
    if (!known)
      return call.misuse(CUDA_ERROR_INVALID_VALUE,
                         "attribute " + std::to_string(attribute) +
                             " is not known to the stand-in");
    return CUDA_SUCCESS;
  });
}

CUresult cuDeviceGetPCIBusId(char *name, int len, CUdevice device) {
  return enterCall(FunctionId::cuDeviceGetPCIBusId, Init, [&](Call &call) {
    if (!name || len < 13)
      return CUDA_ERROR_INVALID_VALUE;
    if (!isDevice(call, device))
      return CUDA_ERROR_INVALID_DEVICE;
    std::snprintf(name, size_t(len), "0000:%02x:00.0", unsigned(device) + 1);
    return CUDA_SUCCESS;
  });
}
