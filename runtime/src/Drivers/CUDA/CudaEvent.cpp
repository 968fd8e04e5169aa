//===- CudaEvent.cpp - Events, graphs and status words of a GPU ---------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CudaStream.h"

#include <cstring>
#include <thread>

using namespace moert;
using namespace moert::hal;

//===----------------------------------------------------------------------===//
// Events
//===----------------------------------------------------------------------===//

StatusOr<std::unique_ptr<Event>> CudaEvent::create(CudaDevice &device) {
  CudaDevice::Scope scope(device);
  MOE_RETURN_IF_ERROR(scope.status);
  std::unique_ptr<CudaEvent> result(new CudaEvent(device));
  CUevent event = nullptr;
  MOE_RETURN_IF_ERROR(
      MOE_CUDA_ON(device, eventCreate, &event, cudaEventDisableTiming));
  result->event = event;
  return std::unique_ptr<Event>(std::move(result));
}

CudaEvent::~CudaEvent() {
  if (!event || device.abandoned())
    return;
  CudaDevice::Scope scope(device, /*cleanUp=*/true);
  device.driver().eventDestroy(event);
}

bool CudaEvent::query() const {
  if (!recorded)
    return false;
  CudaDevice::Scope scope(device);
  return scope.status.ok() && device.driver().eventQuery(event) == cudaSuccess;
}

Status CudaEvent::wait(Deadline deadline) const {
  auto late = [] {
    return Status::error(15, "an event was not reached in time")
        .fix("record it in a stream first, or wait longer");
  };
  while (!recorded) {
    if (std::chrono::steady_clock::now() >= deadline)
      return late();
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  CudaDevice::Scope scope(device);
  MOE_RETURN_IF_ERROR(scope.status);
  Status status = device.poll(cuda_names::eventQuery, deadline, [&] {
    return device.driver().eventQuery(event);
  });
  return status.number() == 15 ? late() : std::move(status);
}

//===----------------------------------------------------------------------===//
// Graphs and status words
//===----------------------------------------------------------------------===//

CudaGraph::~CudaGraph() {
  if (!exec || device.abandoned())
    return;
  CudaDevice::Scope scope(device, /*cleanUp=*/true);
  device.driver().graphExecDestroy(exec);
}

Status StatusWords::create(CudaDevice &device) {
  const uint64_t bytes = capacity * sizeof(int32_t);
  MOE_ASSIGN_OR_RETURN(onDevice, device.allocate(bytes, BufferUse::Workspace));
  MOE_ASSIGN_OR_RETURN(onHost, device.allocate(bytes, BufferUse::Staging));
  return {};
}

CUdeviceptr StatusWords::next(const char *label) {
  if (labels.size() == capacity)
    labels.pop_back();
  labels.push_back(label);
  return reinterpret_cast<uintptr_t>(onDevice->address()) +
         (labels.size() - 1) * sizeof(int32_t);
}

Status StatusWords::clear(CudaDevice &device, CUstream stream) {
  return MOE_CUDA_ON(device, memsetD8Async,
                     reinterpret_cast<uintptr_t>(onDevice->address()), 0,
                     capacity * sizeof(int32_t), stream);
}

Status StatusWords::fetch(CudaDevice &device, CUstream stream) {
  return MOE_CUDA_ON(device, memcpyAsync,
                     reinterpret_cast<uintptr_t>(onHost->address()),
                     reinterpret_cast<uintptr_t>(onDevice->address()),
                     labels.size() * sizeof(int32_t), stream);
}

Status StatusWords::read() const {
  const auto *values = static_cast<const int32_t *>(onHost->hostAddress());
  for (size_t i = 0; i < labels.size(); ++i)
    if (values[i] != MOERT_KERNEL_OK)
      return kernelResult(values[i], labels[i]);
  return {};
}
