//===- Driver.h - State of the stand-in driver ----------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One mutex guards everything here; one condition variable tells of every
// change. Work of streams runs without the mutex. Handles are numbers that are
// never used twice and point nowhere, so the use of a destroyed one is seen.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_STANDIN_DRIVER_H
#define MOE_STANDIN_DRIVER_H

#include "AddressSpace.h"
#include "DriverAPI.h"
#include "Environment.h"

#include "moe/Codegen/GPU/Emulation/Launch.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace moe::standin {

struct Capture;
struct Context;
struct Graph;
struct GraphNode;
struct Stream;

using Lock = std::unique_lock<std::mutex>;
using Clock = std::chrono::steady_clock;

enum class FunctionId {
#define STANDIN_FUNCTION(NAME, BASE, VERSION, PARAMETERS) NAME,
#include "Functions.def"
};

/// Objects by handle.
template <typename T> class Registry {
public:
  explicit Registry(uint64_t tag) : tag(tag) {}

  template <typename Handle> Handle add(std::shared_ptr<T> object) {
    uint64_t handle = (UINT64_C(0x0de0) << 48) | (tag << 40) | (++count << 4);
    live[handle] = std::move(object);
    return reinterpret_cast<Handle>(handle);
  }
  template <typename Handle> std::shared_ptr<T> find(Handle handle) const {
    auto it = live.find(reinterpret_cast<uint64_t>(handle));
    return it == live.end() ? nullptr : it->second;
  }
  template <typename Handle> void erase(Handle handle) {
    live.erase(reinterpret_cast<uint64_t>(handle));
  }
  /// Removes the objects for which `condition` holds; returns how many.
  template <typename Condition> size_t eraseIf(Condition condition) {
    size_t before = live.size();
    for (auto it = live.begin(); it != live.end();)
      it = condition(*it->second) ? live.erase(it) : std::next(it);
    return before - live.size();
  }
  const std::map<uint64_t, std::shared_ptr<T>> &all() const { return live; }

private:
  uint64_t tag;
  uint64_t count = 0;
  std::map<uint64_t, std::shared_ptr<T>> live;
};

/// What a stream executes or a graph node repeats. `run` is called without the
/// driver's mutex and returns the (sticky) result.
struct Operation {
  enum class Kind { Kernel, Copy, Fill, Host, Graph, Memory, Marker };
  Kind kind = Kind::Marker;
  std::string name;
  std::function<CUresult()> run;
};

/// One operation in a stream's queue.
struct Work {
  Operation operation;
  /// Work of other streams that comes first; emptied when done.
  std::vector<std::shared_ptr<Work>> after;
  /// The work before in the same stream, while it is not done.
  std::shared_ptr<Work> previous;
  Context *context = nullptr;
  /// Somebody waits for it. Other work may be put off.
  bool demanded = false;
  bool done = false;
  CUresult injected = CUDA_SUCCESS;
  Clock::time_point due;
  Clock::time_point finished;
};

struct Stream {
  std::shared_ptr<Context> context;
  CUstream handle = nullptr;
  bool legacy = false;
  bool blocking = true;
  unsigned flags = 0;
  int priority = 0;
  bool closing = false;
  bool started = false;
  std::deque<std::shared_ptr<Work>> queue;
  /// The latest work, done or not.
  std::shared_ptr<Work> last;

  std::shared_ptr<Capture> capture;
  /// Nodes that the next captured operation depends on.
  std::vector<std::shared_ptr<GraphNode>> tail;
  /// Their handles, as cuStreamGetCaptureInfo last gave them out.
  std::vector<CUgraphNode> tailHandles;
};

struct Event {
  std::shared_ptr<Context> context;
  unsigned flags = 0;
  std::shared_ptr<Work> work;
  /// Set when recorded last in a capturing stream.
  std::shared_ptr<Capture> capture;
  std::vector<std::shared_ptr<GraphNode>> nodes;
};

struct Capture {
  uint64_t id = 0;
  int mode = 0;
  std::thread::id thread;
  Stream *origin = nullptr;
  bool invalid = false;
  bool ended = false;
  std::shared_ptr<Graph> graph;
  std::set<Stream *> streams;
};

struct GraphNode {
  Operation operation;
  std::vector<std::shared_ptr<GraphNode>> after;
  CUgraphNode handle = nullptr;
};

struct Graph {
  std::shared_ptr<Context> context;
  std::vector<std::shared_ptr<GraphNode>> nodes;
  CUgraph handle = nullptr;
};

struct GraphExec {
  std::shared_ptr<Context> context;
  std::vector<std::shared_ptr<GraphNode>> nodes;
  std::shared_ptr<Work> last;
};

/// A loaded image: the shared object with its kernels, for this load alone.
struct Module {
  std::shared_ptr<Context> context;
  CUmodule handle = nullptr;
  std::string hash;
  void *library = nullptr;
  int file = -1;
  const moe_emu_module *emulated = nullptr;
  bool unloaded = false;
  std::map<std::string, CUfunction> functions;
  std::vector<std::shared_ptr<Allocation>> globals;
  ~Module();
};

struct Function {
  std::shared_ptr<Module> module;
  const moe_emu_kernel *kernel = nullptr;
  uint32_t maxDynamicShared = 48 * 1024;
  bool nonPortableCluster = false;
  int carveout = -1;
};

/// Limits of a device by its architecture.
struct DeviceLimits {
  int major = 8;
  int minor = 0;
  const char *name = "";
  uint32_t sharedPerBlockOptin = 0;
  uint32_t sharedPerMultiprocessor = 0;
  uint32_t threadsPerMultiprocessor = 0;
  uint32_t blocksPerMultiprocessor = 0;
  uint32_t maxClusterPortable = 1;
};

/// The limits of `sm_80`, ...; nullptr for an unknown name.
const DeviceLimits *findDeviceLimits(const std::string &name);

struct Context {
  int device = 0;
  CUcontext handle = nullptr;
  bool destroyed = false;
  CUresult sticky = CUDA_SUCCESS;
  std::shared_ptr<Stream> legacy;
  std::map<std::thread::id, std::shared_ptr<Stream>> perThread;
  /// Destroyed streams, which may have work left.
  std::vector<std::weak_ptr<Stream>> closed;
  /// Demanded work that is not done yet.
  size_t demanded = 0;
};

struct Device {
  const DeviceLimits *limits = nullptr;
  std::shared_ptr<Context> primary;
  unsigned retained = 0;
  unsigned flags = 0;
  uint64_t used = 0;
  uint64_t usedHigh = 0;
  uint64_t releaseThreshold = 0;
  int poolReuse[4] = {0, 1, 1, 1};
};

class Driver {
public:
  /// The one driver of the process; never destroyed.
  static Driver &get();

  std::mutex mutex;
  std::condition_variable changed;
  Environment environment;
  bool initialised = false;
  bool finished = false;
  std::vector<Device> devices;
  std::map<FunctionId, uint64_t> calls;
  std::mt19937_64 random;

  Registry<Context> contexts{1};
  Registry<Module> modules{2};
  Registry<Function> functions{3};
  Registry<Stream> streams{4};
  Registry<Event> events{5};
  Registry<Graph> graphs{6};
  Registry<GraphNode> nodes{7};
  Registry<GraphExec> execs{8};
  AddressSpace memory;
  std::set<std::shared_ptr<Capture>> captures;
  uint64_t captureCount = 0;
  /// Operations that run at this moment.
  size_t running = 0;

  /// One line about misuse, a finding or a leak: to stderr, and to the file
  /// of MOE_STANDIN_REPORT. Needs no lock.
  void report(const std::string &line);

private:
  Driver();
};

//===----------------------------------------------------------------------===//
// Queues (Queue.cpp). All with the mutex held.
//===----------------------------------------------------------------------===//

/// Appends to the stream: to its queue, or to the graph that it captures.
/// `injected`, unless CUDA_SUCCESS, is what the operation fails with.
CUresult submit(const std::shared_ptr<Stream> &stream, Operation operation,
                CUresult injected = CUDA_SUCCESS);

/// Puts work into the stream's queue whether it captures or not.
std::shared_ptr<Work> enqueue(const std::shared_ptr<Stream> &stream,
                              Operation operation, CUresult injected,
                              std::vector<std::shared_ptr<Work>> after = {});

/// Makes the work and all before it run without further delay, and waits.
void waitFor(Lock &lock, std::shared_ptr<Work> work);
void demand(const std::shared_ptr<Work> &work);

/// Waits for everything in the context's streams.
void drain(Lock &lock, Context &context);

std::shared_ptr<Stream> makeStream(const std::shared_ptr<Context> &context,
                                   unsigned flags, int priority, bool legacy);
void closeStream(Stream &stream);

/// The stream that a handle means in `context`; nullptr for a wrong one.
std::shared_ptr<Stream> findStream(const std::shared_ptr<Context> &context,
                                   CUstream handle);

//===----------------------------------------------------------------------===//
// Captures (Capture.cpp). All with the mutex held.
//===----------------------------------------------------------------------===//

/// Whether a call that must not happen beside a capture is allowed now;
/// otherwise the captures are invalid from here on.
CUresult checkUnsafeCall();

/// A call that is never allowed on a capturing stream (of the context when
/// `stream` is null), such as waiting for it.
CUresult refuseCapture(Context &context, Stream *stream);

/// Appends to the captured graph.
CUresult captureOperation(Stream &stream, Operation operation);

/// Takes the stream into the capture that the event was recorded in.
CUresult joinCapture(const std::shared_ptr<Stream> &stream, Event &event);

void dropCapture(Capture &capture);

//===----------------------------------------------------------------------===//
// Rooms of their own.
//===----------------------------------------------------------------------===//

/// Set while this thread runs a function for cuLaunchHostFunc, which must not
/// call the driver.
extern thread_local bool inHostFunction;

/// The thread's current context, which may have been destroyed.
std::shared_ptr<Context> currentContext();

/// Destroys the context with all in it; what is still there is reported as
/// leaked where leaks are reported.
void destroyContext(Lock &lock, Device &device, const char *why);

void reportLeaks(const std::string &where, Context *context);

/// Allocates device memory of the context; nullptr when there is not enough.
std::shared_ptr<Allocation> allocateDevice(Lock &lock, Context &context,
                                           uint64_t size);

/// Gives back what an allocation was charged with and forgets its address.
void releaseAllocation(const std::shared_ptr<Allocation> &allocation);

const char *errorName(CUresult result);

} // namespace moe::standin

#endif // MOE_STANDIN_DRIVER_H
