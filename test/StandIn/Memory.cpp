//===- Memory.cpp - Device memory -----------------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Call.h"

using namespace moe::standin;

//===----------------------------------------------------------------------===//
// Accounting
//===----------------------------------------------------------------------===//

/// Smallest unit that an allocation is charged with.
static constexpr uint64_t granularity = 512;

std::shared_ptr<Allocation>
moe::standin::allocateDevice(Lock &lock, Context &context, uint64_t size) {
  Driver &driver = Driver::get();
  Device &device = driver.devices[size_t(context.device)];
  if (size > driver.environment.memory)
    return nullptr;
  uint64_t charged = (size + granularity - 1) / granularity * granularity;
  auto fits = [&] {
    return charged <= driver.environment.memory - device.used;
  };
  // Memory that is freed in stream order may become free by waiting.
  if (!fits())
    drain(lock, context);
  if (!fits())
    return nullptr;
  std::shared_ptr<Allocation> made =
      driver.memory.map(Allocation::Kind::Device, size);
  if (!made)
    return nullptr;
  made->context = &context;
  made->device = context.device;
  made->charged = charged;
  device.used += charged;
  device.usedHigh = std::max(device.usedHigh, device.used);
  return made;
}

void moe::standin::releaseAllocation(
    const std::shared_ptr<Allocation> &allocation) {
  Driver &driver = Driver::get();
  driver.devices[size_t(allocation->device)].used -= allocation->charged;
  allocation->charged = 0;
  allocation->state = Allocation::State::Freed;
  driver.memory.erase(*allocation);
}

//===----------------------------------------------------------------------===//
// Allocation at once
//===----------------------------------------------------------------------===//

CUresult cuMemAlloc_v2(CUdeviceptr *pointer, size_t size) {
  return enterCall(FunctionId::cuMemAlloc_v2, Current | Unsafe,
                   [&](Call &call) {
                     call.detail = std::to_string(size);
                     if (!pointer || size == 0)
                       return CUDA_ERROR_INVALID_VALUE;
                     std::shared_ptr<Allocation> made =
                         allocateDevice(call.lock, *call.context, size);
                     if (!made)
                       return CUDA_ERROR_OUT_OF_MEMORY;
                     *pointer = made->begin;
                     return CUDA_SUCCESS;
                   });
}

/// The allocation that begins at the pointer, or null after a report.
static std::shared_ptr<Allocation> findBegin(Call &call, CUdeviceptr pointer,
                                             Allocation::Kind kind) {
  std::shared_ptr<Allocation> found = call.driver.memory.find(pointer);
  if (!found)
    call.misuse(CUDA_ERROR_INVALID_VALUE, call.driver.memory.describe(pointer));
  else if (found->begin != pointer || found->kind != kind ||
           found->context != call.context.get())
    call.misuse(CUDA_ERROR_INVALID_VALUE,
                "the pointer is not the begin of an allocation of this kind "
                "and context, but in " +
                    found->describe());
  else if (found->freeing)
    call.misuse(CUDA_ERROR_INVALID_VALUE,
                found->describe() + " was freed before");
  else
    return found;
  return nullptr;
}

CUresult cuMemFree_v2(CUdeviceptr pointer) {
  return enterCall(FunctionId::cuMemFree_v2, Current | Release | Unsafe,
                   [&](Call &call) {
                     if (!pointer)
                       return CUDA_SUCCESS;
                     std::shared_ptr<Allocation> found =
                         findBegin(call, pointer, Allocation::Kind::Device);
                     if (!found)
                       return CUDA_ERROR_INVALID_VALUE;
                     found->freeing = true;
                     // The driver waits for the device here, too.
                     drain(call.lock, *call.context);
                     releaseAllocation(found);
                     return CUDA_SUCCESS;
                   });
}

CUresult cuMemGetInfo_v2(size_t *free, size_t *total) {
  return enterCall(FunctionId::cuMemGetInfo_v2, Current, [&](Call &call) {
    if (!free || !total)
      return CUDA_ERROR_INVALID_VALUE;
    *total = call.driver.environment.memory;
    *free = *total - call.device().used;
    return CUDA_SUCCESS;
  });
}

CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *size,
                                 CUdeviceptr pointer) {
  return enterCall(
      FunctionId::cuMemGetAddressRange_v2, Current, [&](Call &call) {
        std::shared_ptr<Allocation> found = call.driver.memory.find(pointer);
        if (!found)
          return CUDA_ERROR_NOT_FOUND;
        if (base)
          *base = found->begin;
        if (size)
          *size = found->size;
        return CUDA_SUCCESS;
      });
}

//===----------------------------------------------------------------------===//
// Allocation in stream order
//===----------------------------------------------------------------------===//

static CUresult allocateAsync(Call &call, CUdeviceptr *pointer, size_t size,
                              CUstream handle) {
  call.detail = std::to_string(size);
  std::shared_ptr<Stream> stream = findStream(call.context, handle);
  if (!stream)
    return call.misuse(CUDA_ERROR_INVALID_HANDLE, "no such stream");
  if (!pointer || size == 0)
    return CUDA_ERROR_INVALID_VALUE;
  // Nodes that allocate are not served.
  if (CUresult result = refuseCapture(*call.context, stream.get()))
    return result;
  std::shared_ptr<Allocation> made =
      allocateDevice(call.lock, *call.context, size);
  if (!made)
    return CUDA_ERROR_OUT_OF_MEMORY;
  made->pooled = true;
  made->state = Allocation::State::Pending;
  auto run = [made] {
    Lock lock(Driver::get().mutex);
    if (made->state == Allocation::State::Pending)
      made->state = Allocation::State::Live;
    return CUDA_SUCCESS;
  };
  CUresult result = submit(stream, {Operation::Kind::Memory, "allocate", run},
                           call.takeInjected());
  if (result) {
    releaseAllocation(made);
    return result;
  }
  *pointer = made->begin;
  return CUDA_SUCCESS;
}

CUresult cuMemAllocAsync(CUdeviceptr *pointer, size_t size, CUstream stream) {
  return enterCall(FunctionId::cuMemAllocAsync, Current, [&](Call &call) {
    return allocateAsync(call, pointer, size, stream);
  });
}

/// What the stream does when it reaches the point of freeing.
static CUresult freeInOrder(const std::shared_ptr<Allocation> &allocation) {
  Driver &driver = Driver::get();
  Lock lock(driver.mutex);
  switch (allocation->state) {
  case Allocation::State::Live:
    releaseAllocation(allocation);
    return CUDA_SUCCESS;
  case Allocation::State::Pending:
    driver.report("order: " + allocation->describe() +
                  " is freed on a stream that does not wait for its "
                  "allocation on another");
    releaseAllocation(allocation);
    return CUDA_ERROR_ILLEGAL_ADDRESS;
  case Allocation::State::Freed:
    return CUDA_SUCCESS;
  }
  return CUDA_SUCCESS;
}

CUresult cuMemFreeAsync(CUdeviceptr pointer, CUstream handle) {
  return enterCall(
      FunctionId::cuMemFreeAsync, Current | Release, [&](Call &call) {
        std::shared_ptr<Stream> stream = findStream(call.context, handle);
        if (!stream)
          return call.misuse(CUDA_ERROR_INVALID_HANDLE, "no such stream");
        if (!pointer)
          return CUDA_SUCCESS;
        std::shared_ptr<Allocation> found =
            findBegin(call, pointer, Allocation::Kind::Device);
        if (!found)
          return CUDA_ERROR_INVALID_VALUE;
        if (!found->pooled)
          return call.misuse(CUDA_ERROR_INVALID_VALUE,
                             found->describe() +
                                 " was not allocated in stream order");
        if (CUresult result = refuseCapture(*call.context, stream.get()))
          return result;
        found->freeing = true;
        // Nothing runs any more after a sticky error.
        if (call.context->sticky) {
          releaseAllocation(found);
          return CUDA_SUCCESS;
        }
        auto run = [found] { return freeInOrder(found); };
        return submit(stream, {Operation::Kind::Memory, "free", run},
                      call.takeInjected());
      });
}

//===----------------------------------------------------------------------===//
// Memory pools: one per device
//===----------------------------------------------------------------------===//

static constexpr uint64_t poolHandle = UINT64_C(0x0de0090000000000);

static CUresult getPool(FunctionId id, CUmemoryPool *pool, CUdevice device) {
  return enterCall(id, Init, [&](Call &call) {
    if (!pool)
      return CUDA_ERROR_INVALID_VALUE;
    if (device < 0 || size_t(device) >= call.driver.devices.size())
      return CUDA_ERROR_INVALID_DEVICE;
    *pool = reinterpret_cast<CUmemoryPool>(poolHandle + 16 * uint64_t(device));
    return CUDA_SUCCESS;
  });
}

CUresult cuDeviceGetDefaultMemPool(CUmemoryPool *pool, CUdevice device) {
  return getPool(FunctionId::cuDeviceGetDefaultMemPool, pool, device);
}

CUresult cuDeviceGetMemPool(CUmemoryPool *pool, CUdevice device) {
  return getPool(FunctionId::cuDeviceGetMemPool, pool, device);
}

static Device *findPool(Call &call, CUmemoryPool pool) {
  uint64_t index = (reinterpret_cast<uint64_t>(pool) - poolHandle) / 16;
  if (index < call.driver.devices.size())
    return &call.driver.devices[index];
  call.misuse(CUDA_ERROR_INVALID_VALUE, "no such memory pool");
  return nullptr;
}

CUresult cuMemAllocFromPoolAsync(CUdeviceptr *pointer, size_t size,
                                 CUmemoryPool pool, CUstream stream) {
  return enterCall(FunctionId::cuMemAllocFromPoolAsync, Current,
                   [&](Call &call) {
                     return findPool(call, pool) == &call.device()
                                ? allocateAsync(call, pointer, size, stream)
                                : CUDA_ERROR_INVALID_VALUE;
                   });
}

CUresult cuMemPoolSetAttribute(CUmemoryPool pool, int attribute, void *value) {
  return enterCall(FunctionId::cuMemPoolSetAttribute, Init, [&](Call &call) {
    Device *device = findPool(call, pool);
    if (!device || !value)
      return CUDA_ERROR_INVALID_VALUE;
    if (attribute >= CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES &&
        attribute <= CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES)
      device->poolReuse[attribute] = *static_cast<int *>(value);
    else if (attribute == CU_MEMPOOL_ATTR_RELEASE_THRESHOLD)
      device->releaseThreshold = *static_cast<uint64_t *>(value);
    else if (attribute == CU_MEMPOOL_ATTR_USED_MEM_HIGH ||
             attribute == CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH)
      device->usedHigh = device->used;
    else
      return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
  });
}

CUresult cuMemPoolGetAttribute(CUmemoryPool pool, int attribute, void *value) {
  return enterCall(FunctionId::cuMemPoolGetAttribute, Init, [&](Call &call) {
    Device *device = findPool(call, pool);
    if (!device || !value)
      return CUDA_ERROR_INVALID_VALUE;
    auto *number = static_cast<uint64_t *>(value);
    if (attribute >= CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES &&
        attribute <= CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES)
      *static_cast<int *>(value) = device->poolReuse[attribute];
    else if (attribute == CU_MEMPOOL_ATTR_RELEASE_THRESHOLD)
      *number = device->releaseThreshold;
    else if (attribute == CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT ||
             attribute == CU_MEMPOOL_ATTR_USED_MEM_CURRENT)
      *number = device->used;
    else if (attribute == CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH ||
             attribute == CU_MEMPOOL_ATTR_USED_MEM_HIGH)
      *number = device->usedHigh;
    else
      return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
  });
}

CUresult cuMemPoolTrimTo(CUmemoryPool pool, size_t keep) {
  return enterCall(FunctionId::cuMemPoolTrimTo, Init, [&](Call &call) {
    call.detail = std::to_string(keep);
    return findPool(call, pool) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  });
}
