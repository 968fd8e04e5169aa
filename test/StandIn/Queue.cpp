//===- Queue.cpp - Work of streams ----------------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Driver.h"

using namespace moe::standin;

//===----------------------------------------------------------------------===//
// When work may run
//===----------------------------------------------------------------------===//

/// Work that nobody waits for runs late: a program that forgot to wait, or to
/// order two streams, then sees what it may see on a busy device.
static Clock::duration chooseDelay(Driver &driver) {
  using std::chrono::microseconds;
  switch (driver.environment.schedule) {
  case moe::emu::Schedule::Eager:
    return microseconds(0);
  case moe::emu::Schedule::Late:
    return microseconds(500000);
  case moe::emu::Schedule::Random:
    return microseconds(driver.random() % 3000);
  }
  return microseconds(0);
}

/// A host function may wake somebody who waits without asking the driver.
static constexpr std::chrono::milliseconds hostFunctionDelay(10);

static void hasten(Work *work, Clock::time_point due) {
  for (; work && !work->done && work->due > due; work = work->previous.get()) {
    work->due = due;
    for (const std::shared_ptr<Work> &other : work->after)
      hasten(other.get(), due);
  }
}

/// However long others are waited for, no work is put off by more than this.
static constexpr std::chrono::milliseconds longestDelay(200);

static bool isPreceded(const Work &work) {
  for (const std::shared_ptr<Work> &other : work.after)
    if (!other->done)
      return true;
  return false;
}

/// Waits until the work may run.
static void waitForTurn(Lock &lock, Driver &driver, Work &work) {
  while (!driver.finished) {
    if (isPreceded(work)) {
      driver.changed.wait(lock);
      continue;
    }
    Clock::time_point now = Clock::now();
    if (work.demanded || now >= work.due + longestDelay)
      return;
    if (now >= work.due && work.context->demanded == 0)
      return;
    driver.changed.wait_until(lock, now < work.due ? work.due
                                                   : work.due + longestDelay);
  }
}

void moe::standin::demand(const std::shared_ptr<Work> &first) {
  std::vector<std::shared_ptr<Work>> pending{first};
  while (!pending.empty()) {
    std::shared_ptr<Work> work = std::move(pending.back());
    pending.pop_back();
    if (!work || work->done || work->demanded)
      continue;
    work->demanded = true;
    ++work->context->demanded;
    pending.push_back(work->previous);
    pending.insert(pending.end(), work->after.begin(), work->after.end());
  }
  Driver::get().changed.notify_all();
}

void moe::standin::waitFor(Lock &lock, std::shared_ptr<Work> work) {
  if (!work || work->done)
    return;
  demand(work);
  Driver &driver = Driver::get();
  driver.changed.wait(lock, [&] { return work->done || driver.finished; });
}

static std::vector<std::shared_ptr<Stream>> streamsOf(const Context &context) {
  std::vector<std::shared_ptr<Stream>> result{context.legacy};
  for (const std::weak_ptr<Stream> &closed : context.closed)
    if (std::shared_ptr<Stream> stream = closed.lock())
      result.push_back(stream);
  for (const auto &[thread, stream] : context.perThread)
    result.push_back(stream);
  for (const auto &[handle, stream] : Driver::get().streams.all())
    if (stream->context.get() == &context)
      result.push_back(stream);
  return result;
}

void moe::standin::drain(Lock &lock, Context &context) {
  for (const std::shared_ptr<Stream> &stream : streamsOf(context))
    waitFor(lock, stream->last);
}

//===----------------------------------------------------------------------===//
// The thread of a stream
//===----------------------------------------------------------------------===//

static void runWork(Lock &lock, Driver &driver, Work &work) {
  Context &context = *work.context;
  if (context.sticky || !work.operation.run || driver.finished)
    return;
  if (work.injected) {
    context.sticky = work.injected;
    return;
  }
  ++driver.running;
  lock.unlock();
  CUresult result = work.operation.run();
  lock.lock();
  --driver.running;
  if (result && !context.sticky)
    context.sticky = result;
}

static void serve(std::shared_ptr<Stream> stream) {
  DeviceAccess access(true);
  Driver &driver = Driver::get();
  Lock lock(driver.mutex);
  while (true) {
    driver.changed.wait(lock, [&] {
      return !stream->queue.empty() || stream->closing || driver.finished;
    });
    if (stream->queue.empty() || driver.finished)
      break;
    std::shared_ptr<Work> work = stream->queue.front();
    waitForTurn(lock, driver, *work);
    runWork(lock, driver, *work);
    work->done = true;
    work->finished = Clock::now();
    work->previous = nullptr;
    work->after.clear();
    work->operation.run = nullptr;
    if (work->demanded)
      --work->context->demanded;
    stream->queue.pop_front();
    driver.changed.notify_all();
  }
  // The context keeps its own streams; this breaks the circle.
  stream->context = nullptr;
}

//===----------------------------------------------------------------------===//
// Streams
//===----------------------------------------------------------------------===//

std::shared_ptr<Stream>
moe::standin::makeStream(const std::shared_ptr<Context> &context,
                         unsigned flags, int priority, bool legacy) {
  auto stream = std::make_shared<Stream>();
  stream->context = context;
  stream->flags = flags;
  stream->priority = priority;
  stream->legacy = legacy;
  stream->blocking = !(flags & CU_STREAM_NON_BLOCKING);
  return stream;
}

void moe::standin::closeStream(Stream &stream) {
  stream.closing = true;
  if (!stream.started)
    stream.context = nullptr;
  Driver::get().changed.notify_all();
}

std::shared_ptr<Stream>
moe::standin::findStream(const std::shared_ptr<Context> &context,
                         CUstream handle) {
  if (!handle || handle == streamLegacy())
    return context->legacy;
  if (handle == streamPerThread()) {
    auto &stream = context->perThread[std::this_thread::get_id()];
    if (!stream)
      stream = makeStream(context, 0, 0, /*legacy=*/false);
    return stream;
  }
  std::shared_ptr<Stream> stream = Driver::get().streams.find(handle);
  return stream && stream->context == context ? stream : nullptr;
}

//===----------------------------------------------------------------------===//
// Submission
//===----------------------------------------------------------------------===//

std::shared_ptr<Work>
moe::standin::enqueue(const std::shared_ptr<Stream> &stream,
                      Operation operation, CUresult injected,
                      std::vector<std::shared_ptr<Work>> after) {
  Driver &driver = Driver::get();
  auto work = std::make_shared<Work>();
  work->operation = std::move(operation);
  work->injected = injected;
  work->context = stream->context.get();
  work->due = Clock::now() + chooseDelay(driver);
  // The legacy stream and the blocking streams wait for one another.
  if (stream->legacy) {
    for (const std::shared_ptr<Stream> &other : streamsOf(*stream->context))
      if (other != stream && other->blocking)
        after.push_back(other->last);
  } else if (stream->blocking) {
    after.push_back(stream->context->legacy->last);
  }
  for (std::shared_ptr<Work> &other : after)
    if (other && !other->done)
      work->after.push_back(std::move(other));
  if (stream->last && !stream->last->done)
    work->previous = stream->last;
  if (work->operation.kind == Operation::Kind::Host)
    hasten(work.get(), Clock::now() + hostFunctionDelay);
  stream->last = work;
  stream->queue.push_back(work);
  if (!stream->started) {
    stream->started = true;
    std::thread(serve, stream).detach();
  }
  driver.changed.notify_all();
  return work;
}

CUresult moe::standin::submit(const std::shared_ptr<Stream> &stream,
                              Operation operation, CUresult injected) {
  if (stream->capture) {
    // Comes when the graph runs.
    if (injected)
      operation.run = [injected] { return injected; };
    return captureOperation(*stream, std::move(operation));
  }
  if (stream->legacy) {
    // The legacy stream would have to wait for what is only being recorded.
    bool blocked = false;
    for (const auto &capture : Driver::get().captures)
      for (Stream *other : capture->streams)
        if (other->blocking && other->context == stream->context)
          blocked = capture->invalid = true;
    if (blocked)
      return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
  }
  if (CUresult sticky = stream->context->sticky)
    return sticky;
  enqueue(stream, std::move(operation), injected);
  return CUDA_SUCCESS;
}
