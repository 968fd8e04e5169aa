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
#include "HostThreads.h"
#include "moert/Base/Trace.h"

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
  CpuDevice(std::unique_ptr<HostThreads> threads, int32_t level, double timeout)
      : threads(std::move(threads)), level(level),
        workers(this->threads->workers()), timeout(timeout) {}

  ~CpuDevice() override {
    // A worker that missed its deadline may still use its scratch.
    if (threads->broken())
      for (std::unique_ptr<Buffer> &scratch : scratches)
        keepForever(std::move(scratch));
  }

  DeviceInfo info() const override {
    DeviceInfo info;
    info.name = "cpu";
    info.workers = info.traceTracks = workers;
    info.level = isaName(level);
    return info;
  }
  MemoryInfo memory() const override { return {}; }
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
                     const std::function<void(int64_t)> &body) override {
    return threads->parallelFor(count, body);
  }

  /// Makes every worker's scratch at least this large.
  Status reserveScratch(uint64_t bytes);

  /// One at a time uses the workers and their scratch.
  std::unique_ptr<HostThreads> threads;
  const int32_t level;
  const int32_t workers;
  const double timeout;
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
    return event.wait(deadlineIn(device.timeout));
  }
  Status synchronize(Deadline) override { return {}; }
  Status prepare(const Executable &) override { return {}; }
  Status beginCapture() override { return noGraphs(); }
  StatusOr<std::unique_ptr<Graph>> endCapture() override { return noGraphs(); }
  Status launch(Graph &) override { return noGraphs(); }
  void setTrace(Trace *newTrace) override { trace = newTrace; }

private:
  static Status noGraphs() { return Status::error(321, "a CPU has no graphs"); }

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

Status CpuStream::dispatch(const Executable &executable,
                           const DispatchInfo &info) {
  const auto &code = static_cast<const CpuExecutable &>(executable);
  if (info.kernel >= code.kernels().size() || !code.function(info.kernel) ||
      info.numArgs != code.kernels()[info.kernel].numArgs)
    return badDispatch(info);
  std::lock_guard<std::mutex> lock(device.threads->busy);
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
  Status status = device.threads->run(
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
  return kernelResult(dispatching->result.load(), info.label);
}

class CpuDriver : public Driver {
public:
  std::string name() const override { return "cpu"; }
  std::vector<std::string> devices() const override { return {"cpu"}; }
  Status available() const override { return {}; }
  StatusOr<std::unique_ptr<Device>>
  open(const DeviceOptions &options) override {
    // Before the threads start: they inherit the permission for tiles.
    MOE_ASSIGN_OR_RETURN(int32_t level,
                         chooseIsaLevel(options.isa, options.amxEmulated));
    MOE_ASSIGN_OR_RETURN(std::unique_ptr<HostThreads> threads,
                         HostThreads::create(options));
    auto device = std::make_unique<CpuDevice>(std::move(threads), level,
                                              options.dispatchTimeout);
    return std::unique_ptr<Device>(std::move(device));
  }
};

} // namespace

Driver *hal::cpuDriver() {
  static CpuDriver driver;
  return &driver;
}
