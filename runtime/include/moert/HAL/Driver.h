//===- Driver.h - The interfaces of a compute device ----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Driver -> Device -> {Buffer, Stream, Event, Executable}. A driver knows one
// kind of device; everything above these interfaces is the same for all kinds.
// test/Conformance holds what every driver must do.
//
// Ownership: what a function returns belongs to the caller; arguments are
// borrowed for the call. A device outlives everything created from it.
// Devices are thread-safe; buffers, streams, events and executables are used
// by one thread at a time, except Event::query and Event::wait. Dispatches of
// one executable are never on two streams at once: kernels may count the
// workers of a dispatch in memory of the executable.
//
// Memory is of two kinds: that of the device, where kernels work, and that of
// the host. On a CPU they are the same (DeviceInfo::sharesHostMemory).
// Addresses of both kinds differ from each other, so a copy knows its
// direction.
//
// Failures of a device: MOE0320 after which nothing more can be done with it,
// MOE0321 for a call that its system refused.
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_HAL_DRIVER_H
#define MOERT_HAL_DRIVER_H

#include "moert/Format/Artifact.h"
#include "moert/Format/KernelABI.h"
#include "moert/Format/Status.h"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace moert {

class Trace;

namespace hal {

/// The latest moment at which a wait returns.
using Deadline = std::chrono::steady_clock::time_point;

/// `seconds` from now; a day when that is longer.
Deadline deadlineIn(double seconds);

/// Keeps an object until the process ends: what a worker may still use after
/// it missed its deadline.
void keepForever(std::shared_ptr<void> object);

/// Memory of a device, or host memory that it copies from and to quickly.
class Buffer {
public:
  virtual ~Buffer() = default;
  /// Address for kernels (but of BufferUse::Staging) and Stream::copy; never
  /// null, 64-byte aligned unless wrapped. `readSlack` bytes behind the last
  /// are readable unless wrapped.
  virtual void *address() const = 0;
  /// Address for the host, null when the host cannot reach the memory.
  virtual void *hostAddress() const = 0;
  virtual uint64_t size() const = 0;
};

/// What a buffer is for. Workspace and Constant are memory of the device and
/// differ in hints only. Staging is host memory: hostAddress() is not null, and
/// copies from and to it run while the host goes on.
enum class BufferUse { Workspace, Constant, Staging };

/// A point in a stream.
class Event {
public:
  virtual ~Event() = default;
  /// True once the work before the recorded point is done.
  virtual bool query() const = 0;
  /// MOE0015 when the point is not reached before `deadline`.
  virtual Status wait(Deadline deadline) const = 0;
};

/// A kernel as this device will run it.
struct KernelInfo {
  std::string name;
  uint32_t numArgs = 0;
  /// ISA level on a CPU, see KernelABI.h; -1 for a kernel that is for another
  /// kind of device, which cannot be dispatched.
  int32_t level = 0;
};

/// The kernels of an artifact, loaded on a device. Kernel k is kernel k of the
/// plan.
class Executable {
public:
  virtual ~Executable() = default;
  const std::vector<KernelInfo> &kernels() const { return infos; }
  /// What of the artifact is in use: "avx512", "cubin of sm_80", "PTX of
  /// sm_80".
  virtual std::string code() const = 0;

protected:
  std::vector<KernelInfo> infos;
};

struct DispatchInfo {
  uint32_t kernel = 0;
  fb::Grid grid = fb::Grid::All;
  const moert_arg *args = nullptr;
  uint32_t numArgs = 0;
  /// Name in traces and errors.
  const char *label = "";
};

/// The error of a dispatch with a bad kernel or number of arguments.
Status badDispatch(const DispatchInfo &info);
/// What a kernel's result (MOERT_KERNEL_*) means; `label` names the dispatch.
Status kernelResult(int32_t result, const std::string &label);

/// Commands that were recorded once and run as a whole, again and again.
class Graph {
public:
  virtual ~Graph() = default;
};

/// Commands that run in order. A command may still run when its function
/// returns, so what it uses must live until `synchronize`.
class Stream {
public:
  virtual ~Stream() = default;
  /// Copies `bytes` between addresses that do not overlap, each of the device
  /// or of the host. Host memory that is no staging buffer may make the call
  /// wait for the commands before it.
  virtual Status copy(void *target, const void *source, uint64_t bytes) = 0;
  virtual Status fill(void *target, uint8_t value, uint64_t bytes) = 0;
  /// Runs a kernel. An error that the kernel reports comes from this call or
  /// from `synchronize`.
  virtual Status dispatch(const Executable &executable,
                          const DispatchInfo &info) = 0;
  virtual Status record(Event &event) = 0;
  /// Lets later commands wait for `event`.
  virtual Status wait(const Event &event) = 0;
  /// Waits for all commands; MOE0015 when they take longer than `deadline`.
  virtual Status synchronize(Deadline deadline) = 0;
  /// From now on dispatches of `executable` allocate nothing, as recording
  /// needs it.
  virtual Status prepare(const Executable &executable) = 0;
  /// Records commands instead of running them: copies between buffers, fills
  /// and dispatches. Only when DeviceInfo::graphs; MOE0321 otherwise.
  virtual Status beginCapture() = 0;
  /// Ends recording, also after a command failed. What the commands use must
  /// live as long as the graph.
  virtual StatusOr<std::unique_ptr<Graph>> endCapture() = 0;
  /// Runs a recording of a stream of this device.
  virtual Status launch(Graph &graph) = 0;
  /// Records dispatches in `trace` from now on; null switches it off.
  virtual void setTrace(Trace *trace) = 0;
};

struct DeviceInfo {
  /// "cpu", "cuda:0": what Driver::open takes.
  std::string name;
  /// Workers of a dispatch with grid All; of a GPU its multiprocessors.
  int32_t workers = 1;
  /// Name of the ISA level in use, or the architecture of the GPU.
  std::string level;
  fb::DeviceKind kind = fb::DeviceKind::Cpu;
  /// "NVIDIA H200"; empty for a CPU.
  std::string product = {};
  /// Kernels read and write host memory in place.
  bool sharesHostMemory = true;
  /// Streams can record graphs.
  bool graphs = false;
  /// Tracks of a trace besides that of the host.
  int32_t traceTracks = 1;
};

/// Memory of a device in bytes.
struct MemoryInfo {
  uint64_t free = UINT64_MAX;
  uint64_t total = UINT64_MAX;
};

class Device {
public:
  virtual ~Device() = default;
  virtual DeviceInfo info() const = 0;
  /// What other processes take is not free; UINT64_MAX when unknown.
  virtual MemoryInfo memory() const = 0;
  /// MOE0601 when there is not enough memory. 0 bytes are allowed.
  virtual StatusOr<std::unique_ptr<Buffer>> allocate(uint64_t bytes,
                                                     BufferUse use) = 0;
  /// Makes host memory usable in place. It is borrowed.
  virtual StatusOr<std::unique_ptr<Buffer>> wrapHost(void *data,
                                                     uint64_t bytes) = 0;
  virtual StatusOr<std::unique_ptr<Stream>> createStream() = 0;
  virtual StatusOr<std::unique_ptr<Event>> createEvent() = 0;
  /// MOE0310, MOE0311 when this device cannot run it, MOE0305 when its code
  /// does not load or does not fit its plan, MOE0314 when the driver is too
  /// old. Runs no kernel.
  virtual StatusOr<std::unique_ptr<Executable>>
  load(const Artifact &artifact) = 0;
  /// Only what `load` checks before it loads code.
  virtual Status check(const Artifact &artifact) const = 0;
  /// Runs body(i) for i in [0, count) on the device's host threads.
  virtual Status parallelFor(int64_t count,
                             const std::function<void(int64_t)> &body) = 0;
};

/// Runs body(context, i) once for every i in [0, count) and returns after the
/// last; see moert.h.
using ParallelHook = void (*)(void *user, int32_t count,
                              void (*body)(void *context, int32_t index),
                              void *context);

struct DeviceOptions {
  /// Workers; 0 means one per CPU that this process may use.
  int32_t threads = 0;
  /// "avx2", "avx512", "amx"; empty means the environment variable MOE_ISA,
  /// or the best level of this machine.
  std::string isa;
  /// The artifact's code of level amx needs AVX2 only (see
  /// Artifact::emulatesAmx), so "amx" may be asked for on any machine.
  bool amxEmulated = false;
  /// Replaces the thread pool when set.
  ParallelHook parallel = nullptr;
  void *parallelUser = nullptr;
  /// Seconds that one dispatch may take; on a GPU, all commands until
  /// `synchronize`.
  double dispatchTimeout = 3600;
  /// Number of the device of its driver, for "cuda:N".
  int32_t ordinal = 0;
  /// Gets one line about what a user should know but need not act on, without
  /// a newline. Called by the thread that uses the device.
  std::function<void(const std::string &)> log;
};

class Driver {
public:
  virtual ~Driver() = default;
  virtual std::string name() const = 0;
  /// Names of the devices that are present; empty when there is none.
  virtual std::vector<std::string> devices() const = 0;
  /// OK when there is a device; else why not.
  virtual Status available() const = 0;
  virtual StatusOr<std::unique_ptr<Device>>
  open(const DeviceOptions &options) = 0;
};

/// All drivers of this build, in a fixed order.
const std::vector<Driver *> &drivers();

/// Number of CPUs that this process may run on, at least 1.
int32_t availableCpus();

/// The driver of this name, null when there is none.
Driver *findDriver(std::string_view name);

} // namespace hal
} // namespace moert

#endif // MOERT_HAL_DRIVER_H
