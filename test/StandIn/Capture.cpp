//===- Capture.cpp - Recording streams into graphs ------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Call.h"

#include <algorithm>

using namespace moe::standin;

/// How this thread lets itself be disturbed: cuThreadExchangeStreamCaptureMode.
static thread_local int threadMode = CU_STREAM_CAPTURE_MODE_GLOBAL;

//===----------------------------------------------------------------------===//
// Calls beside a capture
//===----------------------------------------------------------------------===//

CUresult moe::standin::checkUnsafeCall() {
  if (threadMode == CU_STREAM_CAPTURE_MODE_RELAXED)
    return CUDA_SUCCESS;
  CUresult result = CUDA_SUCCESS;
  for (const auto &capture : Driver::get().captures) {
    bool own = capture->thread == std::this_thread::get_id() &&
               capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED;
    bool other = threadMode == CU_STREAM_CAPTURE_MODE_GLOBAL &&
                 capture->mode == CU_STREAM_CAPTURE_MODE_GLOBAL;
    if (!own && !other)
      continue;
    capture->invalid = true;
    result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  return result;
}

CUresult moe::standin::refuseCapture(Context &context, Stream *stream) {
  CUresult result = CUDA_SUCCESS;
  for (const auto &capture : Driver::get().captures) {
    bool hit = stream ? stream->capture == capture
                      : capture->graph->context.get() == &context;
    // Waiting for the legacy stream is waiting for all blocking ones.
    CUresult how = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    if (stream && stream->legacy)
      for (Stream *other : capture->streams)
        if (other->blocking && other->context == stream->context) {
          hit = true;
          how = CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
        }
    if (!hit)
      continue;
    capture->invalid = true;
    result = how;
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Recording
//===----------------------------------------------------------------------===//

CUresult moe::standin::captureOperation(Stream &stream, Operation operation) {
  Capture &capture = *stream.capture;
  if (capture.invalid)
    return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  auto node = std::make_shared<GraphNode>();
  node->operation = std::move(operation);
  node->after = stream.tail;
  node->handle = Driver::get().nodes.add<CUgraphNode>(node);
  capture.graph->nodes.push_back(node);
  stream.tail = {node};
  return CUDA_SUCCESS;
}

CUresult moe::standin::joinCapture(const std::shared_ptr<Stream> &stream,
                                   Event &event) {
  Capture *from = event.capture.get();
  if (!stream->capture) {
    if (from->ended)
      return CUDA_ERROR_CAPTURED_EVENT;
    if (from->invalid)
      return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    if (stream->legacy) {
      from->invalid = true;
      return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    stream->capture = event.capture;
    stream->tail = event.nodes;
    from->streams.insert(stream.get());
    return CUDA_SUCCESS;
  }
  Capture &to = *stream->capture;
  if (to.invalid)
    return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  if (!from || from->ended) {
    // An event that was never recorded orders nothing.
    if (!from && !event.work)
      return CUDA_SUCCESS;
    to.invalid = true;
    return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
  }
  if (from != &to) {
    to.invalid = from->invalid = true;
    return CUDA_ERROR_STREAM_CAPTURE_MERGE;
  }
  for (const std::shared_ptr<GraphNode> &node : event.nodes)
    if (std::find(stream->tail.begin(), stream->tail.end(), node) ==
        stream->tail.end())
      stream->tail.push_back(node);
  return CUDA_SUCCESS;
}

/// Ends the capture for all its streams.
static void endCapture(Capture &capture) {
  Driver &driver = Driver::get();
  std::set<Stream *> streams = std::move(capture.streams);
  capture.ended = true;
  for (auto it = driver.captures.begin(); it != driver.captures.end(); ++it)
    if (it->get() == &capture) {
      // The streams hold it, too; this one is last.
      std::shared_ptr<Capture> keep = *it;
      driver.captures.erase(it);
      for (Stream *stream : streams) {
        stream->capture = nullptr;
        stream->tail.clear();
      }
      return;
    }
}

void moe::standin::dropCapture(Capture &capture) {
  Driver &driver = Driver::get();
  for (const std::shared_ptr<GraphNode> &node : capture.graph->nodes)
    driver.nodes.erase(node->handle);
  driver.graphs.erase(capture.graph->handle);
  endCapture(capture);
}

/// Whether every stream's last work comes before the origin's.
static bool isJoined(const Capture &capture) {
  std::set<const GraphNode *> seen;
  std::vector<const GraphNode *> pending;
  for (const auto &node : capture.origin->tail)
    pending.push_back(node.get());
  while (!pending.empty()) {
    const GraphNode *node = pending.back();
    pending.pop_back();
    if (!seen.insert(node).second)
      continue;
    for (const auto &before : node->after)
      pending.push_back(before.get());
  }
  return seen.size() == capture.graph->nodes.size();
}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

CUresult cuStreamBeginCapture_v2(CUstream handle, int mode) {
  return enterCall(
      FunctionId::cuStreamBeginCapture_v2, Current, [&](Call &call) {
        std::shared_ptr<Stream> stream = findStream(call.context, handle);
        if (!stream)
          return call.misuse(CUDA_ERROR_INVALID_HANDLE, "no such stream");
        if (mode < CU_STREAM_CAPTURE_MODE_GLOBAL ||
            mode > CU_STREAM_CAPTURE_MODE_RELAXED)
          return CUDA_ERROR_INVALID_VALUE;
        if (stream->legacy)
          return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
        if (stream->capture)
          return CUDA_ERROR_ILLEGAL_STATE;
        auto capture = std::make_shared<Capture>();
        capture->id = ++call.driver.captureCount;
        capture->mode = mode;
        capture->thread = std::this_thread::get_id();
        capture->origin = stream.get();
        capture->graph = std::make_shared<Graph>();
        capture->graph->context = call.context;
        capture->graph->handle =
            call.driver.graphs.add<CUgraph>(capture->graph);
        capture->streams.insert(stream.get());
        stream->capture = capture;
        stream->tail.clear();
        call.driver.captures.insert(capture);
        return CUDA_SUCCESS;
      });
}

CUresult cuStreamEndCapture(CUstream handle, CUgraph *graph) {
  return enterCall(
      FunctionId::cuStreamEndCapture, Current | Release, [&](Call &call) {
        std::shared_ptr<Stream> stream = findStream(call.context, handle);
        if (!stream)
          return call.misuse(CUDA_ERROR_INVALID_HANDLE, "no such stream");
        if (!graph)
          return CUDA_ERROR_INVALID_VALUE;
        *graph = nullptr;
        std::shared_ptr<Capture> capture = stream->capture;
        if (!capture)
          return CUDA_ERROR_ILLEGAL_STATE;
        if (capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED &&
            capture->thread != std::this_thread::get_id())
          return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
        if (capture->origin != stream.get()) {
          capture->invalid = true;
          return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
        }
        CUresult result = CUDA_SUCCESS;
        if (call.failing)
          result = CUDA_ERROR_UNKNOWN;
        else if (capture->invalid)
          result = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
        else if (!isJoined(*capture))
          result = CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
        if (result) {
          dropCapture(*capture);
          return result;
        }
        *graph = capture->graph->handle;
        endCapture(*capture);
        return CUDA_SUCCESS;
      });
}

static int statusOf(const Stream &stream) {
  if (!stream.capture)
    return CU_STREAM_CAPTURE_STATUS_NONE;
  return stream.capture->invalid ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                 : CU_STREAM_CAPTURE_STATUS_ACTIVE;
}

CUresult cuStreamIsCapturing(CUstream handle, int *status) {
  return enterCall(FunctionId::cuStreamIsCapturing, Current, [&](Call &call) {
    std::shared_ptr<Stream> stream = findStream(call.context, handle);
    if (!stream)
      return call.misuse(CUDA_ERROR_INVALID_HANDLE, "no such stream");
    if (!status)
      return CUDA_ERROR_INVALID_VALUE;
    *status = statusOf(*stream);
    return CUDA_SUCCESS;
  });
}

static CUresult getCaptureInfo(Call &call, CUstream handle, int *status,
                               uint64_t *id, CUgraph *graph,
                               const CUgraphNode **dependencies,
                               size_t *numDependencies) {
  std::shared_ptr<Stream> stream = findStream(call.context, handle);
  if (!stream)
    return call.misuse(CUDA_ERROR_INVALID_HANDLE, "no such stream");
  if (!status)
    return CUDA_ERROR_INVALID_VALUE;
  *status = statusOf(*stream);
  if (*status != CU_STREAM_CAPTURE_STATUS_ACTIVE)
    return CUDA_SUCCESS;
  stream->tailHandles.clear();
  for (const std::shared_ptr<GraphNode> &node : stream->tail)
    stream->tailHandles.push_back(node->handle);
  if (id)
    *id = stream->capture->id;
  if (graph)
    *graph = stream->capture->graph->handle;
  if (dependencies)
    *dependencies = stream->tailHandles.data();
  if (numDependencies)
    *numDependencies = stream->tailHandles.size();
  return CUDA_SUCCESS;
}

CUresult cuStreamGetCaptureInfo_v2(CUstream stream, int *status, uint64_t *id,
                                   CUgraph *graph,
                                   const CUgraphNode **dependencies,
                                   size_t *numDependencies) {
  return enterCall(FunctionId::cuStreamGetCaptureInfo_v2, Current,
                   [&](Call &call) {
                     return getCaptureInfo(call, stream, status, id, graph,
                                           dependencies, numDependencies);
                   });
}

CUresult cuStreamGetCaptureInfo_v3(CUstream stream, int *status, uint64_t *id,
                                   CUgraph *graph,
                                   const CUgraphNode **dependencies,
                                   const void **edgeData,
                                   size_t *numDependencies) {
  return enterCall(FunctionId::cuStreamGetCaptureInfo_v3, Current,
                   [&](Call &call) {
                     if (edgeData)
                       *edgeData = nullptr;
                     return getCaptureInfo(call, stream, status, id, graph,
                                           dependencies, numDependencies);
                   });
}

CUresult cuThreadExchangeStreamCaptureMode(int *mode) {
  return enterCall(FunctionId::cuThreadExchangeStreamCaptureMode, Init,
                   [&](Call &call) {
                     if (!mode || *mode < CU_STREAM_CAPTURE_MODE_GLOBAL ||
                         *mode > CU_STREAM_CAPTURE_MODE_RELAXED)
                       return CUDA_ERROR_INVALID_VALUE;
                     std::swap(*mode, threadMode);
                     return CUDA_SUCCESS;
                   });
}
