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
#include "moert/Session/ExpertStats.h"
#include "moert/Session/WeightStore.h"

#include <mutex>

namespace moert {

struct SessionOptions {
  hal::DeviceOptions device;
  /// "cpu".
  std::string driver = "cpu";
  WeightStore::Options weights;
  /// Names of the functions that will be called; empty means all. Only their
  /// constants are loaded.
  std::vector<std::string> functions;
  bool trace = false;
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
  hal::DeviceInfo deviceInfo() const { return device->info(); }
  const hal::Executable &executable() const { return *code; }
  const WeightStore &weights() const { return store; }

  /// Runs function `index` of the plan. Inputs are read in place; outputs have
  /// the shapes that `outputShapes` gives and are written in place. Inputs and
  /// outputs are aligned to their element type and do not overlap. MOE0013
  /// for inputs or outputs that do not fit, MOE0014, MOE0015, MOE0601.
  Status call(uint32_t index, const std::vector<TensorView> &inputs,
              const std::vector<TensorView> &outputs);

  /// Shapes of the outputs for given input shapes.
  StatusOr<std::vector<std::vector<int64_t>>>
  outputShapes(uint32_t index,
               const std::vector<std::vector<int64_t>> &inputShapes) const;

  /// Size of the workspace that the calls so far needed.
  uint64_t workspaceBytes() const;

  std::string expertStatsJson() const;
  void resetExpertStats();
  /// Null unless SessionOptions::trace.
  const Trace *trace() const { return timeline.get(); }
  std::string traceJson() const;

private:
  struct Call;
  Session() = default;
  Status setUp(const SessionOptions &options);
  Status reserve(uint64_t bytes);
  Status run(const fb::CommandEntry &entry, const Call &call);
  Status runDispatch(const fb::Dispatch &dispatch, const Call &call);
  Status runCopy(const fb::Copy &copy, const Call &call);
  Status runRecord(const fb::RecordExperts &record, const Call &call);

  std::shared_ptr<const Artifact> source;
  double timeout = 0;
  // Destroyed last to first: nothing outlives the device.
  std::unique_ptr<hal::Device> device;
  std::unique_ptr<hal::Executable> code;
  WeightStore store;
  std::unique_ptr<hal::Stream> stream;
  std::unique_ptr<hal::Buffer> workspace;
  std::unique_ptr<Trace> timeline;
  ExpertStats stats;
  bool broken = false;
  mutable std::mutex mutex;
};

} // namespace moert

#endif // MOERT_SESSION_SESSION_H
