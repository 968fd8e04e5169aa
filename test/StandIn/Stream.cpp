//===- Stream.cpp - Streams and events ------------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Call.h"

using namespace moe::standin;

//===----------------------------------------------------------------------===//
// Streams
//===----------------------------------------------------------------------===//

static CUresult createStream(Call &call, CUstream *stream, unsigned flags,
                             int priority) {
  if (!stream || (flags & ~CU_STREAM_NON_BLOCKING))
    return CUDA_ERROR_INVALID_VALUE;
  // Priorities outside the range are clamped.
  priority = priority > 0 ? 0 : priority < -5 ? -5 : priority;
  std::shared_ptr<Stream> made =
      makeStream(call.context, flags, priority, /*legacy=*/false);
  made->handle = call.driver.streams.add<CUstream>(made);
  *stream = made->handle;
  return CUDA_SUCCESS;
}

CUresult cuStreamCreate(CUstream *stream, unsigned flags) {
  return enterCall(FunctionId::cuStreamCreate, Current, [&](Call &call) {
    return createStream(call, stream, flags, 0);
  });
}

CUresult cuStreamCreateWithPriority(CUstream *stream, unsigned flags,
                                    int priority) {
  return enterCall(
      FunctionId::cuStreamCreateWithPriority, Current,
      [&](Call &call) { return createStream(call, stream, flags, priority); });
}

/// The stream, or null after having reported the handle.
static std::shared_ptr<Stream> getStream(Call &call, CUstream handle) {
  std::shared_ptr<Stream> stream = findStream(call.context, handle);
  if (!stream)
    call.misuse(CUDA_ERROR_INVALID_HANDLE,
                "no such stream in the current context");
  return stream;
}

CUresult cuStreamDestroy_v2(CUstream handle) {
  return enterCall(FunctionId::cuStreamDestroy_v2, Current | Release,
                   [&](Call &call) {
                     std::shared_ptr<Stream> stream = getStream(call, handle);
                     if (!stream || !stream->handle)
                       return CUDA_ERROR_INVALID_HANDLE;
                     if (stream->capture)
                       dropCapture(*stream->capture);
                     // What is queued still runs.
                     call.context->closed.push_back(stream);
                     closeStream(*stream);
                     call.driver.streams.erase(handle);
                     return CUDA_SUCCESS;
                   });
}

CUresult cuStreamQuery(CUstream handle) {
  return enterCall(FunctionId::cuStreamQuery, Current, [&](Call &call) {
    std::shared_ptr<Stream> stream = getStream(call, handle);
    if (!stream)
      return CUDA_ERROR_INVALID_HANDLE;
    if (CUresult result = refuseCapture(*call.context, stream.get()))
      return result;
    if (!stream->last || stream->last->done)
      return CUDA_SUCCESS;
    // Who asks repeatedly waits.
    demand(stream->last);
    return CUDA_ERROR_NOT_READY;
  });
}

CUresult cuStreamSynchronize(CUstream handle) {
  return enterCall(FunctionId::cuStreamSynchronize, Current, [&](Call &call) {
    std::shared_ptr<Stream> stream = getStream(call, handle);
    if (!stream)
      return CUDA_ERROR_INVALID_HANDLE;
    if (CUresult result = refuseCapture(*call.context, stream.get()))
      return result;
    // The legacy stream comes behind all blocking ones.
    if (stream->legacy)
      enqueue(stream, Operation(), CUDA_SUCCESS);
    waitFor(call.lock, stream->last);
    return call.context->sticky;
  });
}

CUresult cuStreamGetPriority(CUstream handle, int *priority) {
  return enterCall(FunctionId::cuStreamGetPriority, Current, [&](Call &call) {
    std::shared_ptr<Stream> stream = getStream(call, handle);
    if (!stream)
      return CUDA_ERROR_INVALID_HANDLE;
    if (!priority)
      return CUDA_ERROR_INVALID_VALUE;
    *priority = stream->priority;
    return CUDA_SUCCESS;
  });
}

CUresult cuStreamGetFlags(CUstream handle, unsigned *flags) {
  return enterCall(FunctionId::cuStreamGetFlags, Current, [&](Call &call) {
    std::shared_ptr<Stream> stream = getStream(call, handle);
    if (!stream)
      return CUDA_ERROR_INVALID_HANDLE;
    if (!flags)
      return CUDA_ERROR_INVALID_VALUE;
    *flags = stream->flags;
    return CUDA_SUCCESS;
  });
}

//===----------------------------------------------------------------------===//
// Events
//===----------------------------------------------------------------------===//

static std::shared_ptr<Event> getEvent(Call &call, CUevent handle) {
  std::shared_ptr<Event> event = call.driver.events.find(handle);
  if (event && event->context == call.context)
    return event;
  call.misuse(CUDA_ERROR_INVALID_HANDLE,
              "no such event in the current context");
  return nullptr;
}

CUresult cuEventCreate(CUevent *event, unsigned flags) {
  return enterCall(FunctionId::cuEventCreate, Current, [&](Call &call) {
    constexpr unsigned known = CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING;
    if (!event || (flags & ~known))
      return CUDA_ERROR_INVALID_VALUE;
    auto made = std::make_shared<Event>();
    made->context = call.context;
    made->flags = flags;
    *event = call.driver.events.add<CUevent>(made);
    return CUDA_SUCCESS;
  });
}

CUresult cuEventDestroy_v2(CUevent handle) {
  return enterCall(FunctionId::cuEventDestroy_v2, Current | Release,
                   [&](Call &call) {
                     if (!getEvent(call, handle))
                       return CUDA_ERROR_INVALID_HANDLE;
                     call.driver.events.erase(handle);
                     return CUDA_SUCCESS;
                   });
}

static CUresult recordEvent(Call &call, CUevent eventHandle,
                            CUstream streamHandle) {
  std::shared_ptr<Event> event = getEvent(call, eventHandle);
  std::shared_ptr<Stream> stream = getStream(call, streamHandle);
  if (!event || !stream)
    return CUDA_ERROR_INVALID_HANDLE;
  if (stream->capture) {
    if (stream->capture->invalid)
      return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    event->capture = stream->capture;
    event->nodes = stream->tail;
    return CUDA_SUCCESS;
  }
  // An operation of its own, as an error may be injected into it.
  CUresult result = submit(
      stream,
      {Operation::Kind::Marker, "event record", [] { return CUDA_SUCCESS; }},
      call.takeInjected());
  if (result)
    return result;
  event->capture = nullptr;
  event->nodes.clear();
  event->work = stream->last;
  return CUDA_SUCCESS;
}

CUresult cuEventRecord(CUevent event, CUstream stream) {
  return enterCall(FunctionId::cuEventRecord, Current, [&](Call &call) {
    return recordEvent(call, event, stream);
  });
}

CUresult cuEventRecordWithFlags(CUevent event, CUstream stream,
                                unsigned flags) {
  return enterCall(FunctionId::cuEventRecordWithFlags, Current,
                   [&](Call &call) {
                     return flags > 1 ? CUDA_ERROR_INVALID_VALUE
                                      : recordEvent(call, event, stream);
                   });
}

CUresult cuStreamWaitEvent(CUstream streamHandle, CUevent eventHandle,
                           unsigned flags) {
  return enterCall(FunctionId::cuStreamWaitEvent, Current, [&](Call &call) {
    std::shared_ptr<Stream> stream = getStream(call, streamHandle);
    // Events of other contexts are allowed here.
    std::shared_ptr<Event> event = call.driver.events.find(eventHandle);
    if (!stream || !event)
      return CUDA_ERROR_INVALID_HANDLE;
    if (flags > 1)
      return CUDA_ERROR_INVALID_VALUE;
    if (stream->capture || event->capture)
      return joinCapture(stream, *event);
    if (event->work && !event->work->done)
      enqueue(stream, {Operation::Kind::Marker, "event wait", nullptr},
              CUDA_SUCCESS, {event->work});
    return CUDA_SUCCESS;
  });
}

CUresult cuEventQuery(CUevent handle) {
  return enterCall(FunctionId::cuEventQuery, Current | Unsafe, [&](Call &call) {
    std::shared_ptr<Event> event = getEvent(call, handle);
    if (!event)
      return CUDA_ERROR_INVALID_HANDLE;
    if (event->capture)
      return CUDA_ERROR_CAPTURED_EVENT;
    if (!event->work || event->work->done)
      return CUDA_SUCCESS;
    demand(event->work);
    return CUDA_ERROR_NOT_READY;
  });
}

CUresult cuEventSynchronize(CUevent handle) {
  return enterCall(FunctionId::cuEventSynchronize, Current, [&](Call &call) {
    std::shared_ptr<Event> event = getEvent(call, handle);
    if (!event)
      return CUDA_ERROR_INVALID_HANDLE;
    if (event->capture)
      return CUDA_ERROR_CAPTURED_EVENT;
    waitFor(call.lock, event->work);
    return call.context->sticky;
  });
}

CUresult cuEventElapsedTime(float *milliseconds, CUevent start, CUevent end) {
  return enterCall(FunctionId::cuEventElapsedTime, Current, [&](Call &call) {
    std::shared_ptr<Event> first = getEvent(call, start);
    std::shared_ptr<Event> second = getEvent(call, end);
    if (!first || !second)
      return CUDA_ERROR_INVALID_HANDLE;
    if (!milliseconds)
      return CUDA_ERROR_INVALID_VALUE;
    if (first->capture || second->capture)
      return CUDA_ERROR_CAPTURED_EVENT;
    if (((first->flags | second->flags) & CU_EVENT_DISABLE_TIMING) ||
        !first->work || !second->work)
      return CUDA_ERROR_INVALID_HANDLE;
    if (!first->work->done || !second->work->done)
      return CUDA_ERROR_NOT_READY;
    std::chrono::duration<float, std::milli> time =
        second->work->finished - first->work->finished;
    *milliseconds = time.count();
    return CUDA_SUCCESS;
  });
}
