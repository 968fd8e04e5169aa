//===- CudaStream.h - Streams, events and graphs of a GPU ---------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_DRIVERS_CUDA_CUDASTREAM_H
#define MOERT_DRIVERS_CUDA_CUDASTREAM_H

#include "CudaExecutable.h"

#include <atomic>

namespace moert::hal {

class CudaEvent : public Event {
public:
  static StatusOr<std::unique_ptr<Event>> create(CudaDevice &device);
  ~CudaEvent() override;

  bool query() const override;
  Status wait(Deadline deadline) const override;

  /// The driver calls an event that was never recorded done; we do not.
  void setRecorded() { recorded = true; }
  bool wasRecorded() const { return recorded; }
  CUevent handle() const { return event; }

private:
  explicit CudaEvent(CudaDevice &device) : device(device) {}

  CudaDevice &device;
  CUevent event = nullptr;
  std::atomic<bool> recorded{false};
};

/// The status words of dispatches: one for each since they were last read, in
/// memory of the device, so that an error names its dispatch.
class StatusWords {
public:
  Status create(CudaDevice &device);

  /// Address of the word of a new dispatch. Dispatches beyond `capacity` share
  /// the last one.
  CUdeviceptr next(const char *label);
  bool empty() const { return labels.empty(); }
  void forget() { labels.clear(); }

  Status clear(CudaDevice &device, CUstream stream);
  /// Copies the words in use to the host.
  Status fetch(CudaDevice &device, CUstream stream);
  /// After `fetch` is done: the error of the first dispatch that has one.
  Status read() const;

private:
  static constexpr size_t capacity = 4096;
  std::unique_ptr<Buffer> onDevice, onHost;
  std::vector<std::string> labels;
};

class CudaGraph : public Graph {
public:
  explicit CudaGraph(CudaDevice &device) : device(device) {}
  ~CudaGraph() override;

  CudaDevice &device;
  CUgraphExec exec = nullptr;
  StatusWords words;
};

class CudaStream : public Stream {
public:
  static StatusOr<std::unique_ptr<Stream>> create(CudaDevice &device);
  ~CudaStream() override;

  Status copy(void *target, const void *source, uint64_t bytes) override;
  Status fill(void *target, uint8_t value, uint64_t bytes) override;
  Status dispatch(const Executable &executable,
                  const DispatchInfo &info) override;
  Status record(Event &event) override;
  Status wait(const Event &event) override;
  Status synchronize(Deadline deadline) override;
  Status prepare(const Executable &executable) override;
  Status beginCapture() override;
  StatusOr<std::unique_ptr<Graph>> endCapture() override;
  Status launch(Graph &graph) override;
  void setTrace(Trace *trace) override;

private:
  /// A traced piece of work between two events.
  struct Span {
    std::string label;
    CUevent begin, end;
  };

  explicit CudaStream(CudaDevice &device) : device(device) {}
  Status launchKernel(const CudaExecutable::Kernel &kernel,
                      const DispatchInfo &info);
  Status beginSpan(const char *label);
  Status endSpan();
  Status drain(Deadline deadline);
  void flushSpans();
  void dropSpans();

  CudaDevice &device;
  CUstream stream = nullptr;
  std::unique_ptr<Buffer> scratch;
  StatusWords words;
  /// Whose words are to be read at the next `synchronize`.
  std::vector<CudaGraph *> launched;
  std::unique_ptr<CudaGraph> capturing;
  Trace *trace = nullptr;
  /// A point of the GPU's clock, and the same one of the host's.
  CUevent origin = nullptr;
  int64_t hostOrigin = 0;
  std::vector<Span> spans;
};

} // namespace moert::hal

#endif // MOERT_DRIVERS_CUDA_CUDASTREAM_H
