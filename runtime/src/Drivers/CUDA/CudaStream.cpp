//===- CudaStream.cpp - Streams of a GPU --------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CudaStream.h"

#include "moert/Base/Trace.h"

#include <algorithm>
#include <thread>

using namespace moert;
using namespace moert::hal;

static CUdeviceptr toDevice(const void *address) {
  return static_cast<CUdeviceptr>(reinterpret_cast<uintptr_t>(address));
}

StatusOr<std::unique_ptr<Stream>> CudaStream::create(CudaDevice &device) {
  CudaDevice::Scope scope(device);
  MOE_RETURN_IF_ERROR(scope.status);
  std::unique_ptr<CudaStream> result(new CudaStream(device));
  CUstream stream = nullptr;
  MOE_RETURN_IF_ERROR(
      MOE_CUDA_ON(device, streamCreate, &stream, cudaStreamNonBlocking));
  result->stream = stream;
  MOE_RETURN_IF_ERROR(result->words.create(device));
  MOE_RETURN_IF_ERROR(result->words.clear(device, stream));
  return std::unique_ptr<Stream>(std::move(result));
}

CudaStream::~CudaStream() {
  if (device.abandoned())
    return;
  CudaDevice::Scope scope(device, /*cleanUp=*/true);
  dropSpans();
  if (origin)
    device.driver().eventDestroy(origin);
  if (stream)
    device.driver().streamDestroy(stream);
}

Status CudaStream::copy(void *target, const void *source, uint64_t bytes) {
  if (bytes == 0)
    return {};
  CudaDevice::Scope scope(device);
  MOE_RETURN_IF_ERROR(scope.status);
  return MOE_CUDA_ON(device, memcpyAsync, toDevice(target), toDevice(source),
                     bytes, stream);
}

Status CudaStream::fill(void *target, uint8_t value, uint64_t bytes) {
  if (bytes == 0)
    return {};
  CudaDevice::Scope scope(device);
  MOE_RETURN_IF_ERROR(scope.status);
  return MOE_CUDA_ON(device, memsetD8Async, toDevice(target), value, bytes,
                     stream);
}

//===----------------------------------------------------------------------===//
// Dispatches
//===----------------------------------------------------------------------===//

Status CudaStream::prepare(const Executable &executable) {
  const uint64_t bytes =
      static_cast<const CudaExecutable &>(executable).scratchBytes();
  if (bytes == 0 || (scratch && scratch->size() >= bytes))
    return {};
  if (capturing)
    return Status::error(9000, "recording began before `prepare`");
  // Kernels on the way still use the old scratch.
  if (scratch)
    MOE_RETURN_IF_ERROR(drain(deadlineIn(device.timeout())));
  scratch.reset();
  MOE_ASSIGN_OR_RETURN(scratch, device.allocate(bytes, BufferUse::Workspace));
  return {};
}

Status CudaStream::dispatch(const Executable &executable,
                            const DispatchInfo &info) {
  const auto &code = static_cast<const CudaExecutable &>(executable);
  if (info.kernel >= code.kernels().size() ||
      !code.kernel(info.kernel).function ||
      info.numArgs != code.kernels()[info.kernel].numArgs)
    return badDispatch(info);
  CudaDevice::Scope scope(device);
  MOE_RETURN_IF_ERROR(scope.status);
  MOE_RETURN_IF_ERROR(prepare(executable));
  MOE_RETURN_IF_ERROR(beginSpan(info.label));
  Status status = launchKernel(code.kernel(info.kernel), info);
  Status traced = endSpan();
  if (!status.ok())
    return std::move(status).context(
        concat("while running '", info.label, "'"));
  return traced;
}

Status CudaStream::launchKernel(const CudaExecutable::Kernel &kernel,
                                const DispatchInfo &info) {
  // Each parameter has 8 bytes: the arguments, the status, the scratch.
  std::vector<uint64_t> values;
  values.reserve(info.numArgs + 2);
  for (uint32_t i = 0; i < info.numArgs; ++i)
    values.push_back(static_cast<uint64_t>(info.args[i].i64));
  StatusWords &own = capturing ? capturing->words : words;
  values.push_back(own.next(info.label));
  values.push_back(kernel.scratchBytes ? toDevice(scratch->address()) : 0);
  std::vector<void *> parameters;
  for (uint64_t &value : values)
    parameters.push_back(&value);
  const uint32_t blocks = info.grid == fb::Grid::One ? 1 : kernel.blocks;
  return MOE_CUDA_ON(device, launchKernel, kernel.function, blocks, 1u, 1u,
                     kernel.threads, 1u, 1u, kernel.sharedBytes, stream,
                     parameters.data(), nullptr);
}

Status CudaStream::record(Event &event) {
  auto &own = static_cast<CudaEvent &>(event);
  CudaDevice::Scope scope(device);
  MOE_RETURN_IF_ERROR(scope.status);
  MOE_RETURN_IF_ERROR(MOE_CUDA_ON(device, eventRecord, own.handle(), stream));
  own.setRecorded();
  return {};
}

Status CudaStream::wait(const Event &event) {
  const auto &own = static_cast<const CudaEvent &>(event);
  // Another thread may be about to record it.
  const Deadline deadline = deadlineIn(device.timeout());
  while (!own.wasRecorded()) {
    if (std::chrono::steady_clock::now() >= deadline)
      return own.wait(deadline);
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  CudaDevice::Scope scope(device);
  MOE_RETURN_IF_ERROR(scope.status);
  return MOE_CUDA_ON(device, streamWaitEvent, stream, own.handle(), 0u);
}

Status CudaStream::drain(Deadline deadline) {
  CudaDevice::Scope scope(device);
  MOE_RETURN_IF_ERROR(scope.status);
  Status status = device.poll(cuda_names::streamQuery, deadline, [&] {
    return device.driver().streamQuery(stream);
  });
  if (status.number() == 15)
    device.abandon();
  return status;
}

Status CudaStream::synchronize(Deadline deadline) {
  Status result;
  if (!words.empty()) {
    CudaDevice::Scope scope(device);
    MOE_RETURN_IF_ERROR(scope.status);
    result = words.fetch(device, stream);
  }
  // Also after a failure: the caller frees what the commands use.
  Status drained = drain(deadline);
  if (!drained.ok()) {
    CudaDevice::Scope scope(device, /*cleanUp=*/true);
    words.forget();
    launched.clear();
    dropSpans();
    return drained;
  }
  if (result.ok()) {
    result = words.read();
    for (CudaGraph *graph : launched)
      if (result.ok())
        result = graph->words.read();
  }
  const bool dirty = !result.ok();
  words.forget();
  launched.clear();
  CudaDevice::Scope scope(device);
  flushSpans();
  if (dirty && scope.status.ok()) {
    Status cleared = words.clear(device, stream);
    if (cleared.ok())
      cleared = drain(deadline);
    if (result.number() == 14 && !cleared.ok())
      return cleared;
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Graphs
//===----------------------------------------------------------------------===//

Status CudaStream::beginCapture() {
  if (!device.driver().hasGraphs() || capturing)
    return Status::error(321, capturing ? "the stream is recording already"
                                        : "the driver has no graphs");
  CudaDevice::Scope scope(device);
  MOE_RETURN_IF_ERROR(scope.status);
  auto graph = std::make_unique<CudaGraph>(device);
  MOE_RETURN_IF_ERROR(graph->words.create(device));
  MOE_RETURN_IF_ERROR(
      MOE_CUDA_ON(device, streamBeginCapture, stream, cudaCaptureThreadLocal));
  capturing = std::move(graph);
  // Each run begins with words that say nothing.
  return capturing->words.clear(device, stream);
}

StatusOr<std::unique_ptr<Graph>> CudaStream::endCapture() {
  if (!capturing)
    return Status::error(9000, "the stream is not recording");
  CudaDevice::Scope scope(device);
  std::unique_ptr<CudaGraph> graph = std::move(capturing);
  MOE_RETURN_IF_ERROR(scope.status);
  Status status =
      graph->words.empty() ? Status() : graph->words.fetch(device, stream);
  CUgraph recorded = nullptr;
  Status ended = MOE_CUDA_ON(device, streamEndCapture, stream, &recorded);
  if (status.ok())
    status = std::move(ended);
  if (status.ok()) {
    CUgraphExec exec = nullptr;
    status = MOE_CUDA_ON(device, graphInstantiate, &exec, recorded, 0ull);
    if (status.ok())
      graph->exec = exec;
  }
  if (recorded)
    device.driver().graphDestroy(recorded);
  MOE_RETURN_IF_ERROR(status);
  return std::unique_ptr<Graph>(std::move(graph));
}

Status CudaStream::launch(Graph &graph) {
  auto &own = static_cast<CudaGraph &>(graph);
  CudaDevice::Scope scope(device);
  MOE_RETURN_IF_ERROR(scope.status);
  MOE_RETURN_IF_ERROR(beginSpan("graph"));
  Status status = MOE_CUDA_ON(device, graphLaunch, own.exec, stream);
  Status traced = endSpan();
  MOE_RETURN_IF_ERROR(status);
  launched.push_back(&own);
  return traced;
}

//===----------------------------------------------------------------------===//
// Traces
//===----------------------------------------------------------------------===//

void CudaStream::setTrace(Trace *newTrace) {
  trace = nullptr;
  CudaDevice::Scope scope(device);
  if (!newTrace || !scope.status.ok())
    return;
  const CudaApi &api = device.driver();
  if (!origin && api.eventCreate(&origin, 0) != cudaSuccess)
    origin = nullptr;
  // Without a common point of time there is no trace of the GPU.
  if (!origin || api.eventRecord(origin, stream) != cudaSuccess ||
      !drain(deadlineIn(device.timeout())).ok())
    return;
  hostOrigin = Trace::now();
  trace = newTrace;
}

Status CudaStream::beginSpan(const char *label) {
  if (!trace || capturing)
    return {};
  Span span{label, nullptr, nullptr};
  Status status = MOE_CUDA_ON(device, eventCreate, &span.begin, 0u);
  if (status.ok())
    status = MOE_CUDA_ON(device, eventCreate, &span.end, 0u);
  if (status.ok())
    status = MOE_CUDA_ON(device, eventRecord, span.begin, stream);
  spans.push_back(std::move(span));
  return status;
}

Status CudaStream::endSpan() {
  if (!trace || capturing)
    return {};
  return MOE_CUDA_ON(device, eventRecord, spans.back().end, stream);
}

void CudaStream::flushSpans() {
  const CudaApi &api = device.driver();
  int64_t last = 0;
  for (const Span &span : spans) {
    float begin = 0, end = 0;
    if (!trace || !span.begin || !span.end ||
        api.eventElapsedTime(&begin, origin, span.begin) != cudaSuccess ||
        api.eventElapsedTime(&end, origin, span.end) != cudaSuccess)
      continue;
    // The clock of events is coarse; spans of one track do not overlap.
    const int64_t from = std::max(hostOrigin + int64_t(begin * 1e6), last);
    last = std::max(hostOrigin + int64_t(end * 1e6), from);
    trace->span(1, span.label, from, last);
  }
  dropSpans();
}

void CudaStream::dropSpans() {
  for (const Span &span : spans)
    for (CUevent event : {span.begin, span.end})
      if (event)
        device.driver().eventDestroy(event);
  spans.clear();
}
