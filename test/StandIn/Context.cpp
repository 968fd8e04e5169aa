//===- Context.cpp - Primary contexts, and which is current ---------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Call.h"

using namespace moe::standin;

/// The stack of contexts of this thread; null entries stand for none.
static thread_local std::vector<std::shared_ptr<Context>> stack;

std::shared_ptr<Context> moe::standin::currentContext() {
  return stack.empty() ? nullptr : stack.back();
}

//===----------------------------------------------------------------------===//
// Primary contexts
//===----------------------------------------------------------------------===//

static void activate(Driver &driver, Device &device, int ordinal) {
  auto context = std::make_shared<Context>();
  context->device = ordinal;
  context->handle = driver.contexts.add<CUcontext>(context);
  context->legacy = makeStream(context, 0, 0, /*legacy=*/true);
  device.primary = context;
}

void moe::standin::destroyContext(Lock &lock, Device &device, const char *why) {
  Driver &driver = Driver::get();
  std::shared_ptr<Context> context = device.primary;
  if (!context)
    return;
  drain(lock, *context);
  reportLeaks(why, context.get());
  context->destroyed = true;
  device.primary = nullptr;
  auto inContext = [&](const auto &object) {
    return object.context == context;
  };
  for (const auto &[handle, stream] : driver.streams.all())
    if (stream->context == context)
      closeStream(*stream);
  closeStream(*context->legacy);
  for (auto &[thread, stream] : context->perThread)
    closeStream(*stream);
  context->perThread.clear();
  driver.streams.eraseIf(inContext);
  driver.events.eraseIf(inContext);
  driver.execs.eraseIf(inContext);
  driver.graphs.eraseIf(inContext);
  driver.functions.eraseIf([&](const Function &function) {
    return function.module->context == context;
  });
  for (const auto &[handle, module] : driver.modules.all())
    if (module->context == context)
      module->unloaded = true;
  driver.modules.eraseIf(inContext);
  std::vector<std::shared_ptr<Allocation>> pieces;
  for (const auto &[begin, piece] : driver.memory.all())
    if (piece->context == context.get())
      pieces.push_back(piece);
  for (const auto &piece : pieces)
    releaseAllocation(piece);
  driver.contexts.erase(context->handle);
  device.usedHigh = 0;
}

static Device *findDevice(Call &call, CUdevice device) {
  if (device < 0 || size_t(device) >= call.driver.devices.size())
    return nullptr;
  return &call.driver.devices[size_t(device)];
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
  return enterCall(FunctionId::cuDevicePrimaryCtxRetain, Init, [&](Call &call) {
    Device *found = findDevice(call, device);
    if (!context)
      return CUDA_ERROR_INVALID_VALUE;
    if (!found)
      return CUDA_ERROR_INVALID_DEVICE;
    if (!found->primary)
      activate(call.driver, *found, device);
    else if (found->primary->sticky)
      return found->primary->sticky;
    ++found->retained;
    *context = found->primary->handle;
    return CUDA_SUCCESS;
  });
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  return enterCall(FunctionId::cuDevicePrimaryCtxRelease_v2, Init | Release,
                   [&](Call &call) {
                     Device *found = findDevice(call, device);
                     if (!found)
                       return CUDA_ERROR_INVALID_DEVICE;
                     if (found->retained == 0)
                       return call.misuse(CUDA_ERROR_INVALID_CONTEXT,
                                          "released more often than retained");
                     CUresult result = found->primary->sticky;
                     if (--found->retained == 0)
                       destroyContext(call.lock, *found,
                                      "when the context was released");
                     return result;
                   });
}

CUresult cuDevicePrimaryCtxReset_v2(CUdevice device) {
  return enterCall(
      FunctionId::cuDevicePrimaryCtxReset_v2, Init | Release, [&](Call &call) {
        Device *found = findDevice(call, device);
        if (!found)
          return CUDA_ERROR_INVALID_DEVICE;
        destroyContext(call.lock, *found, "when the context was reset");
        if (found->retained)
          activate(call.driver, *found, device);
        return CUDA_SUCCESS;
      });
}

CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice device, unsigned flags) {
  return enterCall(FunctionId::cuDevicePrimaryCtxSetFlags_v2, Init,
                   [&](Call &call) {
                     Device *found = findDevice(call, device);
                     if (!found)
                       return CUDA_ERROR_INVALID_DEVICE;
                     if (flags > 0xff)
                       return CUDA_ERROR_INVALID_VALUE;
                     found->flags = flags;
                     return CUDA_SUCCESS;
                   });
}

CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags,
                                    int *active) {
  return enterCall(FunctionId::cuDevicePrimaryCtxGetState, Init,
                   [&](Call &call) {
                     Device *found = findDevice(call, device);
                     if (!found)
                       return CUDA_ERROR_INVALID_DEVICE;
                     if (!flags || !active)
                       return CUDA_ERROR_INVALID_VALUE;
                     *flags = found->flags;
                     *active = found->primary != nullptr;
                     return CUDA_SUCCESS;
                   });
}

//===----------------------------------------------------------------------===//
// The current context
//===----------------------------------------------------------------------===//

CUresult cuCtxSetCurrent(CUcontext context) {
  return enterCall(FunctionId::cuCtxSetCurrent, Init, [&](Call &call) {
    std::shared_ptr<Context> found = call.driver.contexts.find(context);
    if (context && !found)
      return call.misuse(CUDA_ERROR_INVALID_CONTEXT, "no such context");
    if (!stack.empty())
      stack.pop_back();
    if (found)
      stack.push_back(found);
    return CUDA_SUCCESS;
  });
}

CUresult cuCtxPushCurrent_v2(CUcontext context) {
  return enterCall(FunctionId::cuCtxPushCurrent_v2, Init, [&](Call &call) {
    std::shared_ptr<Context> found = call.driver.contexts.find(context);
    if (!found)
      return call.misuse(CUDA_ERROR_INVALID_CONTEXT, "no such context");
    stack.push_back(found);
    return CUDA_SUCCESS;
  });
}

CUresult cuCtxPopCurrent_v2(CUcontext *context) {
  return enterCall(FunctionId::cuCtxPopCurrent_v2, Init, [&](Call &call) {
    if (stack.empty())
      return call.misuse(CUDA_ERROR_INVALID_CONTEXT, "no current context");
    if (context)
      *context = stack.back()->handle;
    stack.pop_back();
    return CUDA_SUCCESS;
  });
}

CUresult cuCtxGetCurrent(CUcontext *context) {
  return enterCall(FunctionId::cuCtxGetCurrent, Init, [&](Call &call) {
    if (!context)
      return CUDA_ERROR_INVALID_VALUE;
    *context = stack.empty() ? nullptr : stack.back()->handle;
    return CUDA_SUCCESS;
  });
}

CUresult cuCtxGetDevice(CUdevice *device) {
  return enterCall(FunctionId::cuCtxGetDevice, Current, [&](Call &call) {
    if (!device)
      return CUDA_ERROR_INVALID_VALUE;
    *device = call.context->device;
    return CUDA_SUCCESS;
  });
}

CUresult cuCtxSynchronize() {
  return enterCall(FunctionId::cuCtxSynchronize, Current, [&](Call &call) {
    if (CUresult result = refuseCapture(*call.context, nullptr))
      return result;
    drain(call.lock, *call.context);
    return call.context->sticky;
  });
}

CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest) {
  return enterCall(FunctionId::cuCtxGetStreamPriorityRange, Current,
                   [&](Call &call) {
                     if (least)
                       *least = 0;
                     if (greatest)
                       *greatest = -5;
                     return CUDA_SUCCESS;
                   });
}
