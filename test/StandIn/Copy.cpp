//===- Copy.cpp - Copies and fills ----------------------------------------===//
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
// Checks of the call
//===----------------------------------------------------------------------===//

/// What the parameter of a copy is said to be.
enum class Side { Device, Host, Any };

/// Whether the `size` bytes at `address` may be meant by the parameter.
static bool checkSide(Call &call, Side side, const char *which,
                      uint64_t address, uint64_t size) {
  std::shared_ptr<Allocation> found;
  std::string wrong = call.driver.memory.check(address, size, found);
  bool inDevice = isDeviceAddress(address) || (found && !found->isHost());
  if (side == Side::Any)
    side = inDevice ? Side::Device : Side::Host;
  if (side == Side::Host && inDevice) {
    call.misuse(CUDA_ERROR_INVALID_VALUE,
                std::string("the ") + which +
                    " must be host memory and is in the device's");
    return false;
  }
  // Ordinary host memory is not known to the driver.
  if (side == Side::Host && !found)
    return address != 0;
  if (wrong.empty())
    return true;
  call.misuse(CUDA_ERROR_INVALID_VALUE, std::string(which) + ": " + wrong);
  return false;
}

//===----------------------------------------------------------------------===//
// Execution
//===----------------------------------------------------------------------===//

/// Holds the memory at `address` while it is used. Returns false, and reports,
/// when it is known that it cannot be used at this point.
static bool hold(const char *name, const char *which, uint64_t address,
                 uint64_t size, std::shared_ptr<Allocation> &piece) {
  Driver &driver = Driver::get();
  Lock lock(driver.mutex);
  std::string wrong = driver.memory.check(address, size, piece);
  if (!piece && !isDeviceAddress(address))
    return true;
  if (wrong.empty() && piece->state == Allocation::State::Pending)
    wrong = piece->describe() + " is not allocated yet in stream order";
  if (wrong.empty())
    return true;
  driver.report(std::string("order: ") + name + ": " + which + ": " + wrong);
  return false;
}

static CUresult runCopy(const char *name, uint64_t dst, uint64_t src,
                        uint64_t size) {
  std::shared_ptr<Allocation> from, to;
  if (!hold(name, "destination", dst, size, to) ||
      !hold(name, "source", src, size, from))
    return CUDA_ERROR_ILLEGAL_ADDRESS;
  auto *source = reinterpret_cast<const char *>(src);
  // What only moves on the device is judged when it leaves it.
  bool leaves = from && (from->isHost() || !to || to->isHost());
  if (leaves && from->kind != Allocation::Kind::Registered &&
      Driver::get().environment.check) {
    int64_t at = findUnwritten(source, size);
    if (at >= 0)
      Driver::get().report(std::string("unwritten-copy: ") + name + ": byte " +
                           std::to_string(at) + " of " + std::to_string(size) +
                           " was never written, in " + from->describe());
  }
  std::memmove(reinterpret_cast<void *>(dst), source, size);
  return CUDA_SUCCESS;
}

static CUresult copy(FunctionId id, uint64_t dst, Side dstSide, uint64_t src,
                     Side srcSide, uint64_t size, CUstream handle, bool wait) {
  return enterCall(id, Current | (wait ? Unsafe : Nothing), [&](Call &call) {
    call.detail = std::to_string(size);
    std::shared_ptr<Stream> stream = findStream(call.context, handle);
    if (!stream)
      return call.misuse(CUDA_ERROR_INVALID_HANDLE, "no such stream");
    if (size == 0)
      return CUDA_SUCCESS;
    if (!checkSide(call, dstSide, "destination", dst, size) ||
        !checkSide(call, srcSide, "source", src, size))
      return CUDA_ERROR_INVALID_VALUE;
    if (dst < src + size && src < dst + size)
      return call.misuse(CUDA_ERROR_INVALID_VALUE,
                         "source and destination overlap");
    const char *name = functionName(id);
    CUresult result = submit(
        stream,
        {Operation::Kind::Copy, name,
         [name, dst, src, size] { return runCopy(name, dst, src, size); }},
        call.takeInjected());
    if (result || !wait)
      return result;
    waitFor(call.lock, stream->last);
    return call.context->sticky;
  });
}

static uint64_t number(const void *pointer) {
  return reinterpret_cast<uint64_t>(pointer);
}

CUresult cuMemcpy(CUdeviceptr dst, CUdeviceptr src, size_t size) {
  return copy(FunctionId::cuMemcpy, dst, Side::Any, src, Side::Any, size,
              nullptr, true);
}

CUresult cuMemcpyAsync(CUdeviceptr dst, CUdeviceptr src, size_t size,
                       CUstream stream) {
  return copy(FunctionId::cuMemcpyAsync, dst, Side::Any, src, Side::Any, size,
              stream, false);
}

CUresult cuMemcpyHtoD_v2(CUdeviceptr dst, const void *src, size_t size) {
  return copy(FunctionId::cuMemcpyHtoD_v2, dst, Side::Device, number(src),
              Side::Host, size, nullptr, true);
}

CUresult cuMemcpyDtoH_v2(void *dst, CUdeviceptr src, size_t size) {
  return copy(FunctionId::cuMemcpyDtoH_v2, number(dst), Side::Host, src,
              Side::Device, size, nullptr, true);
}

CUresult cuMemcpyDtoD_v2(CUdeviceptr dst, CUdeviceptr src, size_t size) {
  return copy(FunctionId::cuMemcpyDtoD_v2, dst, Side::Device, src, Side::Device,
              size, nullptr, true);
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr dst, const void *src, size_t size,
                              CUstream stream) {
  return copy(FunctionId::cuMemcpyHtoDAsync_v2, dst, Side::Device, number(src),
              Side::Host, size, stream, false);
}

CUresult cuMemcpyDtoHAsync_v2(void *dst, CUdeviceptr src, size_t size,
                              CUstream stream) {
  return copy(FunctionId::cuMemcpyDtoHAsync_v2, number(dst), Side::Host, src,
              Side::Device, size, stream, false);
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr dst, CUdeviceptr src, size_t size,
                              CUstream stream) {
  return copy(FunctionId::cuMemcpyDtoDAsync_v2, dst, Side::Device, src,
              Side::Device, size, stream, false);
}

//===----------------------------------------------------------------------===//
// Fills
//===----------------------------------------------------------------------===//

template <typename T>
static CUresult runFill(const char *name, uint64_t dst, T value,
                        uint64_t count) {
  std::shared_ptr<Allocation> piece;
  if (!hold(name, "destination", dst, count * sizeof(T), piece))
    return CUDA_ERROR_ILLEGAL_ADDRESS;
  std::fill_n(reinterpret_cast<T *>(dst), count, value);
  return CUDA_SUCCESS;
}

template <typename T>
static CUresult fill(FunctionId id, uint64_t dst, T value, uint64_t count,
                     CUstream handle, bool wait) {
  return enterCall(id, Current | (wait ? Unsafe : Nothing), [&](Call &call) {
    call.detail = std::to_string(count * sizeof(T));
    std::shared_ptr<Stream> stream = findStream(call.context, handle);
    if (!stream)
      return call.misuse(CUDA_ERROR_INVALID_HANDLE, "no such stream");
    if (count == 0)
      return CUDA_SUCCESS;
    if (dst % sizeof(T) != 0)
      return call.misuse(CUDA_ERROR_INVALID_VALUE,
                         "the address is not aligned to the value's size");
    if (!checkSide(call, Side::Device, "destination", dst, count * sizeof(T)))
      return CUDA_ERROR_INVALID_VALUE;
    const char *name = functionName(id);
    CUresult result = submit(stream,
                             {Operation::Kind::Fill, name,
                              [name, dst, value, count] {
                                return runFill(name, dst, value, count);
                              }},
                             call.takeInjected());
    if (result || !wait)
      return result;
    waitFor(call.lock, stream->last);
    return call.context->sticky;
  });
}

CUresult cuMemsetD8_v2(CUdeviceptr dst, unsigned char value, size_t count) {
  return fill(FunctionId::cuMemsetD8_v2, dst, value, count, nullptr, true);
}

CUresult cuMemsetD16_v2(CUdeviceptr dst, unsigned short value, size_t count) {
  return fill(FunctionId::cuMemsetD16_v2, dst, value, count, nullptr, true);
}

CUresult cuMemsetD32_v2(CUdeviceptr dst, unsigned value, size_t count) {
  return fill(FunctionId::cuMemsetD32_v2, dst, value, count, nullptr, true);
}

CUresult cuMemsetD8Async(CUdeviceptr dst, unsigned char value, size_t count,
                         CUstream stream) {
  return fill(FunctionId::cuMemsetD8Async, dst, value, count, stream, false);
}

CUresult cuMemsetD16Async(CUdeviceptr dst, unsigned short value, size_t count,
                          CUstream stream) {
  return fill(FunctionId::cuMemsetD16Async, dst, value, count, stream, false);
}

CUresult cuMemsetD32Async(CUdeviceptr dst, unsigned value, size_t count,
                          CUstream stream) {
  return fill(FunctionId::cuMemsetD32Async, dst, value, count, stream, false);
}
