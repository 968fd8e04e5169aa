//===- CpuDriver.cpp - The CPU as a device --------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CpuDriver.h"

#include "CpuExecutable.h"
#include "CpuFeatures.h"
#include "CpuMemory.h"
#include "ThreadPool.h"
#include "moert/Base/Trace.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <mutex>

using namespace moert;
using namespace moert::hal;

namespace {

class CpuEvent : public Event {
public:
  bool query() const override {
    std::lock_guard<std::mutex> lock(mutex);
    return reached;
  }
  Status wait(Deadline deadline) const override {
    std::unique_lock<std::mutex> lock(mutex);
    if (changed.wait_until(lock, deadline, [this] { return reached; }))
      return {};
    return Status::error(15, "an event was not reached in time")
        .fix("record it in a stream first, or wait longer");
  }
  void reach() {
    {
      std::lock_guard<std::mutex> lock(mutex);
      reached = true;
    }
    changed.notify_all();
  }

private:
  mutable std::mutex mutex;
  mutable std::condition_variable changed;
  bool reached = false;
};

class CpuDevice : public Device {
public:
  CpuDevice(const DeviceOptions &options, int32_t level, int32_t workers)
      : options(options), level(level), workers(workers) {}

  Status start() {
    if (options.parallel)
      return {};
    MOE_ASSIGN_OR_RETURN(pool, ThreadPool::create(workers));
    return {};
  }

  ~CpuDevice() override {
    // A worker that missed its deadline may still use its scratch.
    if (pool && pool->broken())
      for (std::unique_ptr<Buffer> &scratch : scratches)
        keepForever(std::move(scratch));
  }

  DeviceInfo info() const override { return {"cpu", workers, isaName(level)}; }
  StatusOr<std::unique_ptr<Buffer>> allocate(uint64_t bytes,
                                             BufferUse use) override {
    return allocateHost(bytes, use);
  }
  StatusOr<std::unique_ptr<Buffer>> wrapHost(void *data,
                                             uint64_t bytes) override {
    return wrapHostMemory(data, bytes);
  }
  StatusOr<std::unique_ptr<Stream>> createStream() override;
  StatusOr<std::unique_ptr<Event>> createEvent() override {
    return std::unique_ptr<Event>(std::make_unique<CpuEvent>());
  }
  StatusOr<std::unique_ptr<Executable>> load(const Artifact &a) override {
    return CpuExecutable::load(a, level);
  }
  Status check(const Artifact &artifact) const override {
    return CpuExecutable::check(artifact, level);
  }
  Status parallelFor(int64_t count,
                     const std::function<void(int64_t)> &body) override;

  /// Calls body(context, w) for all workers, or for worker 0 only.
  Status run(fb::Grid grid, void (*body)(void *, int32_t), void *context);

  /// Makes every worker's scratch at least this large.
  Status reserveScratch(uint64_t bytes);

  const DeviceOptions options;
  const int32_t level;
  const int32_t workers;
  std::unique_ptr<ThreadPool> pool;
  /// One at a time uses the workers and their scratch.
  std::mutex busy;
  std::vector<std::unique_ptr<Buffer>> scratches;
};

/// What the workers of one dispatch share. Lives on the heap, since a worker
/// that missed its deadline may still read it.
struct Dispatching {
  moert_kernel_fn kernel;
  std::vector<moert_arg> args;
  int32_t workers;
  std::vector<void *> scratch;
  std::atomic<int32_t> result{0};
  Trace *trace;
  std::string label;

  void work(int32_t worker) {
    const int64_t begin = trace ? Trace::now() : 0;
    int32_t status = kernel(args.data(), worker, workers, scratch[worker]);
    int32_t largest = result.load(std::memory_order_relaxed);
    while (status > largest && !result.compare_exchange_weak(largest, status))
      ;
    if (trace)
      trace->span(1 + worker, label, begin, Trace::now());
  }
};

class CpuStream : public Stream {
public:
  explicit CpuStream(CpuDevice &device) : device(device) {}

  Status copy(void *target, const void *source, uint64_t bytes) override {
    if (bytes)
      std::memcpy(target, source, bytes);
    return {};
  }
  Status fill(void *target, uint8_t value, uint64_t bytes) override {
    if (bytes)
      std::memset(target, value, bytes);
    return {};
  }
  Status dispatch(const Executable &executable,
                  const DispatchInfo &info) override;
  Status record(Event &event) override {
    static_cast<CpuEvent &>(event).reach();
    return {};
  }
  Status wait(const Event &event) override {
    return event.wait(deadlineIn(device.options.dispatchTimeout));
  }
  Status synchronize(Deadline) override { return {}; }
  void setTrace(Trace *newTrace) override { trace = newTrace; }

private:
  CpuDevice &device;
  Trace *trace = nullptr;
};

StatusOr<std::unique_ptr<Stream>> CpuDevice::createStream() {
  return std::unique_ptr<Stream>(std::make_unique<CpuStream>(*this));
}

Status CpuDevice::reserveScratch(uint64_t bytes) {
  scratches.resize(workers);
  for (std::unique_ptr<Buffer> &scratch : scratches)
    if (!scratch || scratch->size() < bytes) {
      scratch.reset();
      MOE_ASSIGN_OR_RETURN(scratch, allocateHost(bytes, BufferUse::Workspace));
    }
  return {};
}

Status CpuDevice::run(fb::Grid grid, void (*body)(void *, int32_t),
                      void *context) {
  if (grid == fb::Grid::One) {
    body(context, 0);
    return {};
  }
  if (!options.parallel)
    return pool->run(body, context, deadlineIn(options.dispatchTimeout));
  struct Counting {
    void (*body)(void *, int32_t);
    void *context;
    std::atomic<int32_t> calls{0};
  } counting{body, context};
  options.parallel(
      options.parallelUser, workers,
      [](void *opaque, int32_t index) {
        auto *c = static_cast<Counting *>(opaque);
        c->body(c->context, index);
        c->calls.fetch_add(1);
      },
      &counting);
  if (counting.calls.load() == workers)
    return {};
  return Status::error(2, concat("the parallel function of the embedder ran ",
                                 counting.calls.load(), " of ", workers,
                                 " workers"))
      .fix("call body(context, i) once for every i in [0, count)");
}

Status CpuDevice::parallelFor(int64_t count,
                              const std::function<void(int64_t)> &body) {
  struct Loop {
    int64_t count;
    const std::function<void(int64_t)> &body;
    std::atomic<int64_t> next{0};
  };
  // Kept when a deadline is missed; see Dispatching.
  std::unique_ptr<Loop> loop(new Loop{count, body});
  std::lock_guard<std::mutex> lock(busy);
  Status status = run(
      fb::Grid::All,
      [](void *opaque, int32_t) {
        auto *l = static_cast<Loop *>(opaque);
        for (int64_t i; (i = l->next.fetch_add(1)) < l->count;)
          l->body(i);
      },
      loop.get());
  if (status.number() == 15)
    keepForever(std::shared_ptr<Loop>(std::move(loop)));
  return status;
}

Status CpuStream::dispatch(const Executable &executable,
                           const DispatchInfo &info) {
  const auto &code = static_cast<const CpuExecutable &>(executable);
  if (info.kernel >= code.kernels().size() || !code.function(info.kernel) ||
      info.numArgs != code.kernels()[info.kernel].numArgs)
    return Status::error(9000, concat("dispatch '", info.label,
                                      "' has a bad kernel or a bad number of "
                                      "arguments"));
  std::lock_guard<std::mutex> lock(device.busy);
  MOE_RETURN_IF_ERROR(device.reserveScratch(code.scratchBytes()));
  auto dispatching = std::make_unique<Dispatching>();
  dispatching->kernel = code.function(info.kernel);
  dispatching->args.assign(info.args, info.args + info.numArgs);
  dispatching->workers = info.grid == fb::Grid::One ? 1 : device.workers;
  for (const std::unique_ptr<Buffer> &scratch : device.scratches)
    dispatching->scratch.push_back(scratch->address());
  dispatching->trace = trace;
  if (trace)
    dispatching->label = info.label;
  Status status = device.run(
      info.grid,
      [](void *opaque, int32_t worker) {
        static_cast<Dispatching *>(opaque)->work(worker);
      },
      dispatching.get());
  if (!status.ok()) {
    if (status.number() == 15)
      keepForever(std::shared_ptr<Dispatching>(std::move(dispatching)));
    return std::move(status).context(
        concat("while running '", info.label, "'"));
  }
  const int32_t result = dispatching->result.load();
  if (result == MOERT_KERNEL_OK)
    return {};
  if (result == MOERT_KERNEL_BAD_EXPERT_INDEX)
    return Status::error(14, concat("'", info.label,
                                    "' was given an invalid "
                                    "expert index"))
        .because("an index lies outside [0, experts), or a token names one "
                 "expert twice")
        .fix("check the indices that the call gets");
  return Status::error(9000, concat("'", info.label,
                                    "' failed with the "
                                    "unknown result ",
                                    result));
}

class CpuDriver : public Driver {
public:
  std::string name() const override { return "cpu"; }
  std::vector<std::string> devices() const override { return {"cpu"}; }
  StatusOr<std::unique_ptr<Device>>
  open(const DeviceOptions &options) override {
    if (options.threads < 0 || options.threads > 4096)
      return Status::error(1,
                           concat("cannot use ", options.threads, " threads"))
          .fix("give a number from 1 to 4096, or 0 for one per CPU");
    // Before the threads start: they inherit the permission for tiles.
    MOE_ASSIGN_OR_RETURN(int32_t level,
                         chooseIsaLevel(options.isa, options.amxEmulated));
    auto device = std::make_unique<CpuDevice>(
        options, level, options.threads ? options.threads : availableCpus());
    MOE_RETURN_IF_ERROR(device->start());
    return std::unique_ptr<Device>(std::move(device));
  }
};

} // namespace

Driver *hal::cpuDriver() {
  static CpuDriver driver;
  return &driver;
}
