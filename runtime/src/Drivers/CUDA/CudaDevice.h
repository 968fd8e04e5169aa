//===- CudaDevice.h - An NVIDIA GPU as a device -------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_DRIVERS_CUDA_CUDADEVICE_H
#define MOERT_DRIVERS_CUDA_CUDADEVICE_H

#include "CudaApi.h"
#include "CudaImages.h"

#include "../CPU/HostThreads.h"

#include "moert/HAL/Driver.h"

#include <atomic>

namespace moert::hal {

/// One GPU through its primary context, which this process may share with
/// other users of CUDA: the context of the calling thread is restored after
/// every call.
class CudaDevice : public Device {
public:
  static StatusOr<std::unique_ptr<Device>>
  open(std::shared_ptr<const CudaApi> api, const DeviceOptions &options);
  ~CudaDevice() override;

  DeviceInfo info() const override;
  MemoryInfo memory() const override;
  StatusOr<std::unique_ptr<Buffer>> allocate(uint64_t bytes,
                                             BufferUse use) override;
  StatusOr<std::unique_ptr<Buffer>> wrapHost(void *data,
                                             uint64_t bytes) override;
  StatusOr<std::unique_ptr<Stream>> createStream() override;
  StatusOr<std::unique_ptr<Event>> createEvent() override;
  StatusOr<std::unique_ptr<Executable>> load(const Artifact &artifact) override;
  Status check(const Artifact &artifact) const override;
  Status parallelFor(int64_t count,
                     const std::function<void(int64_t)> &body) override {
    return threads->parallelFor(count, body);
  }

  //===--------------------------------------------------------------------===//
  // For the other classes of this driver
  //===--------------------------------------------------------------------===//

  const CudaApi &driver() const { return *api; }
  const GpuIdentity &identity() const { return gpu; }
  int32_t multiprocessors() const { return smCount; }
  double timeout() const { return options.dispatchTimeout; }
  void log(const std::string &line) const {
    if (options.log)
      options.log(line);
  }

  /// CudaApi::check; remembers that the GPU stopped.
  Status check(CUresult result, const char *function) const;
  /// Why nothing more can be done; OK while something can.
  Status usable() const;
  /// After a missed deadline: what the GPU may still use is never freed, as
  /// the driver would wait for it.
  void abandon() { hung = true; }
  bool abandoned() const { return hung; }

  /// Makes the context of this device that of the thread. For cleaning up also
  /// after the GPU stopped: what can be freed then is.
  class Scope {
  public:
    explicit Scope(const CudaDevice &device, bool cleanUp = false);
    ~Scope();
    Status status;

  private:
    const CudaDevice &device;
    bool pushed = false;
  };

  /// Calls `ready` until it returns something else than "not ready"; MOE0015
  /// at the deadline. Spins for a moment, as kernels are short, then sleeps.
  Status poll(const char *function, Deadline deadline,
              const std::function<CUresult()> &ready) const;

  /// Frees what `allocate` gave.
  void freeMemory(CUdeviceptr address) const;

private:
  CudaDevice(std::shared_ptr<const CudaApi> api, const DeviceOptions &options)
      : api(std::move(api)), options(options) {}
  Status setUp();
  Status allocateDevice(uint64_t bytes, BufferUse use, CUdeviceptr &address);
  Status outOfMemory(uint64_t bytes, BufferUse use) const;

  std::shared_ptr<const CudaApi> api;
  const DeviceOptions options;
  GpuIdentity gpu;
  CUdevice device = 0;
  CUcontext context = nullptr;
  /// Orders allocations and frees; null without memory pools.
  CUstream memoryStream = nullptr;
  int32_t smCount = 1;
  std::unique_ptr<HostThreads> threads;
  mutable std::atomic<bool> stopped{false};
  std::atomic<bool> hung{false};
};

/// Calls a function of the driver for a device.
#define MOE_CUDA_ON(device, name, ...)                                         \
  (device).check((device).driver().name(__VA_ARGS__),                          \
                 ::moert::hal::cuda_names::name)

} // namespace moert::hal

#endif // MOERT_DRIVERS_CUDA_CUDADEVICE_H
