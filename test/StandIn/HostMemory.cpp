//===- HostMemory.cpp - Page-locked memory and pointers -------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Call.h"

using namespace moe::standin;

//===----------------------------------------------------------------------===//
// Page-locked memory
//===----------------------------------------------------------------------===//

static CUresult allocateHost(Call &call, void **pointer, size_t size) {
  call.detail = std::to_string(size);
  if (!pointer || size == 0)
    return CUDA_ERROR_INVALID_VALUE;
  std::shared_ptr<Allocation> made =
      call.driver.memory.map(Allocation::Kind::Host, size);
  if (!made)
    return CUDA_ERROR_OUT_OF_MEMORY;
  made->context = call.context.get();
  made->device = call.context->device;
  *pointer = reinterpret_cast<void *>(made->begin);
  return CUDA_SUCCESS;
}

CUresult cuMemHostAlloc(void **pointer, size_t size, unsigned flags) {
  return enterCall(
      FunctionId::cuMemHostAlloc, Current | Unsafe, [&](Call &call) {
        constexpr unsigned known = CU_MEMHOSTALLOC_PORTABLE |
                                   CU_MEMHOSTALLOC_DEVICEMAP |
                                   CU_MEMHOSTALLOC_WRITECOMBINED;
        return (flags & ~known) ? CUDA_ERROR_INVALID_VALUE
                                : allocateHost(call, pointer, size);
      });
}

CUresult cuMemAllocHost_v2(void **pointer, size_t size) {
  return enterCall(
      FunctionId::cuMemAllocHost_v2, Current | Unsafe,
      [&](Call &call) { return allocateHost(call, pointer, size); });
}

/// Forgets page-locked memory that begins at the pointer.
static CUresult releaseHost(Call &call, void *pointer, Allocation::Kind kind,
                            CUresult wrong) {
  std::shared_ptr<Allocation> found =
      call.driver.memory.find(reinterpret_cast<uint64_t>(pointer));
  if (!found || found->kind != kind ||
      found->begin != reinterpret_cast<uintptr_t>(pointer))
    return call.misuse(wrong, "the pointer is not the begin of such memory");
  drain(call.lock, *call.context);
  releaseAllocation(found);
  return CUDA_SUCCESS;
}

CUresult cuMemFreeHost(void *pointer) {
  return enterCall(FunctionId::cuMemFreeHost, Current | Release | Unsafe,
                   [&](Call &call) {
                     return releaseHost(call, pointer, Allocation::Kind::Host,
                                        CUDA_ERROR_INVALID_VALUE);
                   });
}

CUresult cuMemHostRegister_v2(void *pointer, size_t size, unsigned flags) {
  return enterCall(
      FunctionId::cuMemHostRegister_v2, Current | Unsafe, [&](Call &call) {
        call.detail = std::to_string(size);
        if (!pointer || size == 0 || flags > 15)
          return CUDA_ERROR_INVALID_VALUE;
        auto begin = reinterpret_cast<uintptr_t>(pointer);
        for (const auto &[address, piece] : call.driver.memory.all())
          if (address < begin + size && begin < piece->end())
            return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
        std::shared_ptr<Allocation> made =
            call.driver.memory.add(Allocation::Kind::Registered, pointer, size);
        made->context = call.context.get();
        made->device = call.context->device;
        return CUDA_SUCCESS;
      });
}

CUresult cuMemHostUnregister(void *pointer) {
  return enterCall(FunctionId::cuMemHostUnregister, Current | Release | Unsafe,
                   [&](Call &call) {
                     return releaseHost(call, pointer,
                                        Allocation::Kind::Registered,
                                        CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
                   });
}

CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr *result, void *pointer,
                                      unsigned flags) {
  return enterCall(
      FunctionId::cuMemHostGetDevicePointer_v2, Current, [&](Call &call) {
        std::shared_ptr<Allocation> found =
            call.driver.memory.find(reinterpret_cast<uint64_t>(pointer));
        if (!result || flags || !found || !found->isHost())
          return CUDA_ERROR_INVALID_VALUE;
        *result = reinterpret_cast<CUdeviceptr>(pointer);
        return CUDA_SUCCESS;
      });
}

//===----------------------------------------------------------------------===//
// What is known about a pointer
//===----------------------------------------------------------------------===//

static CUresult getAttribute(const Driver &driver, const Allocation &piece,
                             int attribute, void *data, CUdeviceptr pointer) {
  switch (attribute) {
  case CU_POINTER_ATTRIBUTE_CONTEXT:
    for (const auto &[handle, context] : driver.contexts.all())
      if (context.get() == piece.context)
        *static_cast<CUcontext *>(data) = context->handle;
    return CUDA_SUCCESS;
  case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
    *static_cast<unsigned *>(data) =
        piece.isHost() ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
    return CUDA_SUCCESS;
  case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
    *static_cast<CUdeviceptr *>(data) = pointer;
    return CUDA_SUCCESS;
  case CU_POINTER_ATTRIBUTE_HOST_POINTER:
    if (!piece.isHost())
      return CUDA_ERROR_INVALID_VALUE;
    *static_cast<void **>(data) = reinterpret_cast<void *>(pointer);
    return CUDA_SUCCESS;
  case CU_POINTER_ATTRIBUTE_BUFFER_ID:
    *static_cast<uint64_t *>(data) = piece.id;
    return CUDA_SUCCESS;
  case CU_POINTER_ATTRIBUTE_IS_MANAGED:
    *static_cast<unsigned *>(data) = 0;
    return CUDA_SUCCESS;
  case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
    *static_cast<int *>(data) = piece.device;
    return CUDA_SUCCESS;
  case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
    *static_cast<uint64_t *>(data) = piece.begin;
    return CUDA_SUCCESS;
  case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
    *static_cast<size_t *>(data) = piece.size;
    return CUDA_SUCCESS;
  case CU_POINTER_ATTRIBUTE_MAPPED:
    *static_cast<unsigned *>(data) = 1;
    return CUDA_SUCCESS;
  default:
    return CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult cuPointerGetAttribute(void *data, int attribute, CUdeviceptr pointer) {
  return enterCall(FunctionId::cuPointerGetAttribute, Init, [&](Call &call) {
    std::shared_ptr<Allocation> found = call.driver.memory.find(pointer);
    // Ordinary memory is no error for anybody who asks.
    if (!data || !found)
      return CUDA_ERROR_INVALID_VALUE;
    return getAttribute(call.driver, *found, attribute, data, pointer);
  });
}

CUresult cuPointerGetAttributes(unsigned numAttributes, int *attributes,
                                void **data, CUdeviceptr pointer) {
  return enterCall(FunctionId::cuPointerGetAttributes, Init, [&](Call &call) {
    if (!attributes || !data)
      return CUDA_ERROR_INVALID_VALUE;
    std::shared_ptr<Allocation> found = call.driver.memory.find(pointer);
    for (unsigned i = 0; i < numAttributes; ++i) {
      if (found)
        getAttribute(call.driver, *found, attributes[i], data[i], pointer);
      else if (attributes[i] == CU_POINTER_ATTRIBUTE_MEMORY_TYPE)
        *static_cast<unsigned *>(data[i]) = 0;
    }
    return CUDA_SUCCESS;
  });
}
