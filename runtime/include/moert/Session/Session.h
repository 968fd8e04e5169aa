//===- Session.h - Running the functions of an artifact -------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_SESSION_SESSION_H
#define MOERT_SESSION_SESSION_H

#include "moert/Base/Trace.h"
#include "moert/Session/DeviceChoice.h"
#include "moert/Session/ExpertStats.h"
#include "moert/Session/Routes.h"
#include "moert/Session/WeightStore.h"

#include <list>
#include <mutex>
#include <optional>
#include <tuple>

namespace moert {

struct SessionOptions {
  hal::DeviceOptions device;
  /// "cpu", "cuda", "cuda:N" or "auto", see openDevice.
  std::string deviceName = "cpu";
  WeightStore::Options weights;
  /// Names of the functions that will be called; empty means all. Only their
  /// constants are loaded.
  std::vector<std::string> functions;
  bool trace = false;
  /// Record each function once for given sizes, and run the recording after
  /// that. Without effect, but for one line to device.log, on devices that
  /// record nothing.
  bool graphs = false;
};

/// An array in host memory, C order. Borrowed.
struct TensorView {
  fb::DType dtype = fb::DType::F32;
  std::vector<int64_t> shape;
  void *data = nullptr;
};

/// A loaded artifact with its weights, threads and workspace. Calls from
/// several threads are run one after the other.
class Session {
public:
  /// Checks the artifact against this machine, loads its code, then its
  /// weights.
  static StatusOr<std::unique_ptr<Session>>
  create(std::shared_ptr<const Artifact> artifact,
         const SessionOptions &options);
  ~Session();

  const Artifact &artifact() const { return *source; }
  hal::DeviceInfo deviceInfo() const { return opened.device->info(); }
  hal::MemoryInfo deviceMemory() const { return opened.device->memory(); }
  const hal::Executable &executable() const { return *opened.code; }
  const WeightStore &weights() const { return store; }

  /// Runs function `index` of the plan. Outputs have the shapes that
  /// `outputShapes` gives. A device that shares the host's memory reads inputs
  /// and writes outputs in place; for others they are copied. Inputs and
  /// outputs are aligned to their element type and do not overlap. MOE0013
  /// for inputs or outputs that do not fit, MOE0014, MOE0015, MOE0017, MOE0311,
  /// MOE0320, MOE0321, MOE0601, MOE0602.
  Status call(uint32_t index, const std::vector<TensorView> &inputs,
              const std::vector<TensorView> &outputs);

  /// Shapes of the outputs for given input shapes.
  StatusOr<std::vector<std::vector<int64_t>>>
  outputShapes(uint32_t index,
               const std::vector<std::vector<int64_t>> &inputShapes) const;

  /// Size of the workspace that the calls so far needed.
  uint64_t workspaceBytes() const;
  /// Size of the copies of inputs and outputs on the device.
  uint64_t arrayBytes() const;
  /// Recordings that are kept at present.
  size_t graphCount() const;

  std::string expertStatsJson() const;
  void resetExpertStats();

  /// From now on, or no more, calls leave what their routers chose for
  /// writeRoutes. Never changes a result.
  void recordRoutes(bool enabled);
  /// Writes the routes of the last call since recordRoutes(true). MOE0002
  /// when there was none, MOE0016 when its function has no routers, MOE0011.
  Status writeRoutes(const std::string &path) const;
  /// From now on calls take the routes of a file instead of those that their
  /// routers choose. MOE0016 when the file is of another model or function,
  /// and what Routes::read reports. Calls fail with MOE0016 when they are of
  /// another function or number of tokens, or when the routes come too late
  /// for a kernel of the GPU.
  Status replayRoutes(const std::string &path);
  void stopReplay();

  /// Null unless SessionOptions::trace.
  const Trace *trace() const { return timeline.get(); }
  std::string traceJson() const;

private:
  struct Call;
  /// A function with the values of its symbols, and what taps do: bit 0
  /// records, bit 1 replays.
  using GraphKey = std::tuple<uint32_t, std::vector<int64_t>, uint32_t>;

  Session() = default;
  Status setUp(const SessionOptions &options);
  StatusOr<std::vector<uint32_t>>
  chooseFunctions(const SessionOptions &options);
  Status checkMemory(const std::vector<uint32_t> &functions) const;
  Status checkArguments(uint32_t index, const std::vector<TensorView> &inputs,
                        const std::vector<TensorView> &outputs);
  Status runCall(Call &call);
  Status reserve(Call &call);
  Status grow(std::unique_ptr<hal::Buffer> &buffer, uint64_t bytes,
              hal::BufferUse use);
  Status doesNotFit(const Call &call, Status reason) const;
  Status execute(const Call &call);
  Status enqueue(const Call &call);
  StatusOr<hal::Graph *> recorded(const Call &call);
  Status run(const fb::CommandEntry &entry, const Call &call, size_t &record,
             size_t &tap);
  Status runDispatch(const fb::Dispatch &dispatch, const Call &call);
  Status runCopy(const fb::Copy &copy, const Call &call);
  Status matchReplay(Call &call) const;
  void stageReplay(const Call &call) const;
  Status runTap(const Call &call, size_t tap);
  void finishRecords(const Call &call);
  void finishTaps(const Call &call);
  void log(const std::string &line) const;

  std::shared_ptr<const Artifact> source;
  std::function<void(const std::string &)> logLine;
  double timeout = 0;
  hal::DeviceInfo deviceFacts;
  bool useGraphs = false;
  // Destroyed last to first: nothing outlives the device.
  OpenedDevice opened;
  WeightStore store;
  std::unique_ptr<hal::Stream> stream;
  std::unique_ptr<hal::Buffer> workspace;
  /// Inputs and outputs on a device with memory of its own.
  std::unique_ptr<hal::Buffer> arrays;
  /// Their copies on the host, then what RecordExperts reads.
  std::unique_ptr<hal::Buffer> staging;
  /// Most recently used first. They name the buffers above by address.
  std::list<std::pair<GraphKey, std::unique_ptr<hal::Graph>>> graphs;
  std::unique_ptr<Trace> timeline;
  ExpertStats stats;
  bool recordsRoutes = false;
  std::optional<Routes> recordedRoutes, replayedRoutes;
  /// Why the session is of no use any more, "" while it is.
  std::string broken;
  mutable std::mutex mutex;
};

} // namespace moert

#endif // MOERT_SESSION_SESSION_H
