//===- CudaDevice.cpp - An NVIDIA GPU as a device -----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CudaDevice.h"

#include "CudaExecutable.h"
#include "CudaStream.h"

#include <algorithm>
#include <thread>

using namespace moert;
using namespace moert::hal;

CudaDevice::Scope::Scope(const CudaDevice &device, bool cleanUp)
    : device(device) {
  if (!cleanUp)
    status = device.usable();
  if (!status.ok())
    return;
  status = MOE_CUDA_ON(device, ctxPushCurrent, device.context);
  // What is not given back now never is.
  if (cleanUp && !status.ok())
    status = MOE_CUDA_ON(device, ctxPushCurrent, device.context);
  pushed = status.ok();
}

CudaDevice::Scope::~Scope() {
  CUcontext ignored;
  if (pushed)
    device.driver().ctxPopCurrent(&ignored);
}

StatusOr<std::unique_ptr<Device>>
CudaDevice::open(std::shared_ptr<const CudaApi> api,
                 const DeviceOptions &options) {
  std::unique_ptr<CudaDevice> device(new CudaDevice(std::move(api), options));
  MOE_RETURN_IF_ERROR(device->setUp());
  return std::unique_ptr<Device>(std::move(device));
}

Status CudaDevice::setUp() {
  MOE_ASSIGN_OR_RETURN(threads, HostThreads::create(options));
  int count = 0;
  MOE_RETURN_IF_ERROR(MOE_CUDA(*api, deviceGetCount, &count));
  gpu.name = concat("cuda:", options.ordinal);
  if (options.ordinal < 0 || options.ordinal >= count)
    return Status::error(313, concat("there is no device ", gpu.name))
        .because(
            concat("the driver offers ", count, count == 1 ? " GPU" : " GPUs"))
        .fix(count ? "use --device=cuda:0"
                   : "see nvidia-smi and CUDA_VISIBLE_DEVICES, or use "
                     "--device=cpu");
  MOE_RETURN_IF_ERROR(MOE_CUDA(*api, deviceGet, &device, options.ordinal));
  char name[256] = {};
  MOE_RETURN_IF_ERROR(
      MOE_CUDA(*api, deviceGetName, name, sizeof(name) - 1, device));
  gpu.product = name;
  auto attribute = [&](int which, int &value) {
    return MOE_CUDA(*api, deviceGetAttribute, &value, which, device);
  };
  MOE_RETURN_IF_ERROR(attribute(cudaAttributeMajor, gpu.major));
  MOE_RETURN_IF_ERROR(attribute(cudaAttributeMinor, gpu.minor));
  MOE_RETURN_IF_ERROR(attribute(cudaAttributeMaxSharedOptin, gpu.sharedBytes));
  MOE_RETURN_IF_ERROR(attribute(cudaAttributeMultiprocessors, smCount));
  int pools = 0;
  if (api->hasPools())
    MOE_RETURN_IF_ERROR(attribute(cudaAttributeMemoryPools, pools));
  // The destructor releases the context only when it was retained.
  CUcontext retained = nullptr;
  MOE_RETURN_IF_ERROR(MOE_CUDA(*api, primaryCtxRetain, &retained, device));
  context = retained;
  if (!pools)
    return {};
  Scope scope(*this);
  MOE_RETURN_IF_ERROR(scope.status);
  CUstream stream = nullptr;
  MOE_RETURN_IF_ERROR(
      MOE_CUDA_ON(*this, streamCreate, &stream, cudaStreamNonBlocking));
  memoryStream = stream;
  return {};
}

CudaDevice::~CudaDevice() {
  if (!context || hung)
    return;
  if (memoryStream) {
    // Frees are ordered behind each other; they end before the context does.
    Scope scope(*this, /*cleanUp=*/true);
    (void)poll(cuda_names::streamQuery, deadlineIn(10),
               [&] { return api->streamQuery(memoryStream); });
    api->streamDestroy(memoryStream);
  }
  api->primaryCtxRelease(device);
}

DeviceInfo CudaDevice::info() const {
  DeviceInfo info;
  info.name = gpu.name;
  info.workers = smCount;
  info.level = gpu.arch();
  info.kind = fb::DeviceKind::Cuda;
  info.product = gpu.product;
  info.sharesHostMemory = false;
  info.graphs = api->hasGraphs();
  info.traceTracks = 1;
  return info;
}

Status CudaDevice::check(CUresult result, const char *function) const {
  Status status = api->check(result, function);
  if (status.number() == 320)
    stopped = true;
  return std::move(status).at(gpu.describe());
}

Status CudaDevice::usable() const {
  if (hung)
    return Status::error(15, "the GPU is still busy with an earlier call")
        .at(gpu.describe())
        .fix("create a new session in a new process");
  if (stopped)
    return Status::error(320, "the GPU stopped in an earlier call")
        .at(gpu.describe())
        .fix("start again; report it when it happens again");
  return {};
}

Status CudaDevice::poll(const char *function, Deadline deadline,
                        const std::function<CUresult()> &ready) const {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point begin = Clock::now();
  std::chrono::microseconds nap{10};
  for (;;) {
    CUresult result = ready();
    if (result != cudaNotReady)
      return check(result, function);
    const Clock::time_point now = Clock::now();
    if (now >= deadline)
      return Status::error(15, "the GPU did not finish in time")
          .at(gpu.describe())
          .fix("create a new session with a longer timeout");
    if (now - begin < std::chrono::microseconds(100))
      continue;
    std::this_thread::sleep_for(nap);
    nap = std::min(nap * 2, std::chrono::microseconds(500));
  }
}

StatusOr<std::unique_ptr<Stream>> CudaDevice::createStream() {
  return CudaStream::create(*this);
}

StatusOr<std::unique_ptr<Event>> CudaDevice::createEvent() {
  return CudaEvent::create(*this);
}

StatusOr<std::unique_ptr<Executable>>
CudaDevice::load(const Artifact &artifact) {
  return CudaExecutable::load(*this, artifact);
}

Status CudaDevice::check(const Artifact &artifact) const {
  return usableImages(artifact, gpu).empty() ? noUsableImage(artifact, gpu)
                                             : Status();
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

namespace {

class DeviceBuffer : public Buffer {
public:
  DeviceBuffer(const CudaDevice &device, CUdeviceptr data, uint64_t bytes)
      : device(device), data(data), bytes(bytes) {}
  ~DeviceBuffer() override { device.freeMemory(data); }
  void *address() const override {
    return reinterpret_cast<void *>(static_cast<uintptr_t>(data));
  }
  void *hostAddress() const override { return nullptr; }
  uint64_t size() const override { return bytes; }

private:
  const CudaDevice &device;
  const CUdeviceptr data;
  const uint64_t bytes;
};

/// Page-locked host memory: allocated, or the caller's.
class PinnedBuffer : public Buffer {
public:
  PinnedBuffer(const CudaDevice &device, void *host, void *data, uint64_t bytes,
               bool owned)
      : device(device), host(host), data(data), bytes(bytes), owned(owned) {}
  ~PinnedBuffer() override {
    if (device.abandoned() || !host)
      return;
    CudaDevice::Scope scope(device, /*cleanUp=*/true);
    if (owned)
      device.driver().memFreeHost(host);
    else
      device.driver().memHostUnregister(host);
  }
  void *address() const override { return data; }
  void *hostAddress() const override { return owned ? host : data; }
  uint64_t size() const override { return bytes; }

private:
  const CudaDevice &device;
  void *const host, *const data;
  const uint64_t bytes;
  const bool owned;
};

/// What wrapped buffers of no bytes point to: the address must not be null.
alignas(64) char nothing[64];

} // namespace

MemoryInfo CudaDevice::memory() const {
  MemoryInfo info;
  size_t free = 0, total = 0;
  Scope scope(*this);
  if (scope.status.ok() && MOE_CUDA_ON(*this, memGetInfo, &free, &total).ok()) {
    info.free = free;
    info.total = total;
  }
  return info;
}

Status CudaDevice::outOfMemory(uint64_t bytes, BufferUse use) const {
  const char *what = use == BufferUse::Workspace  ? " of workspace"
                     : use == BufferUse::Constant ? " for weights"
                                                  : " of page-locked memory";
  Status status =
      Status::error(601, concat("cannot allocate ", formatBytes(bytes), what));
  const MemoryInfo now = memory();
  if (use != BufferUse::Staging && now.total != UINT64_MAX)
    status = std::move(status).because(concat(formatBytes(now.free), " of ",
                                              formatBytes(now.total),
                                              " are free on ", gpu.describe()));
  return std::move(status)
      .at(gpu.describe())
      .fix(use == BufferUse::Workspace
               ? "call with fewer tokens, or use a GPU with more memory"
               : "use a machine with more memory, or --device=cpu");
}

Status CudaDevice::allocateDevice(uint64_t bytes, BufferUse use,
                                  CUdeviceptr &address) {
  if (bytes > uint64_t(INT64_MAX) - readSlack)
    return outOfMemory(bytes, use);
  CUresult result =
      memoryStream
          ? api->memAllocAsync(&address, bytes + readSlack, memoryStream)
          : api->memAlloc(&address, bytes + readSlack);
  if (result == cudaOutOfMemory)
    return outOfMemory(bytes, use);
  return check(result,
               memoryStream ? cuda_names::memAllocAsync : cuda_names::memAlloc);
}

StatusOr<std::unique_ptr<Buffer>> CudaDevice::allocate(uint64_t bytes,
                                                       BufferUse use) {
  Scope scope(*this);
  MOE_RETURN_IF_ERROR(scope.status);
  if (use == BufferUse::Staging) {
    void *host = nullptr;
    if (bytes > uint64_t(INT64_MAX) - readSlack)
      return outOfMemory(bytes, use);
    CUresult result =
        api->memHostAlloc(&host, bytes + readSlack, cudaHostPortable);
    if (result == cudaOutOfMemory)
      return outOfMemory(bytes, use);
    MOE_RETURN_IF_ERROR(check(result, cuda_names::memHostAlloc));
    return std::unique_ptr<Buffer>(
        std::make_unique<PinnedBuffer>(*this, host, host, bytes, true));
  }
  CUdeviceptr address = 0;
  MOE_RETURN_IF_ERROR(allocateDevice(bytes, use, address));
  auto buffer = std::make_unique<DeviceBuffer>(*this, address, bytes);
  // Kernels may read behind a constant, so that must have some value.
  if (use == BufferUse::Constant)
    MOE_RETURN_IF_ERROR(MOE_CUDA_ON(*this, memsetD8Async, address + bytes, 0,
                                    readSlack, memoryStream));
  // Other streams do not know this one.
  if (memoryStream || use == BufferUse::Constant)
    MOE_RETURN_IF_ERROR(poll(cuda_names::streamQuery, deadlineIn(timeout()),
                             [&] { return api->streamQuery(memoryStream); }));
  return std::unique_ptr<Buffer>(std::move(buffer));
}

StatusOr<std::unique_ptr<Buffer>> CudaDevice::wrapHost(void *data,
                                                       uint64_t bytes) {
  if (bytes == 0)
    return std::unique_ptr<Buffer>(
        std::make_unique<PinnedBuffer>(*this, nullptr, nothing, 0, false));
  Scope scope(*this);
  MOE_RETURN_IF_ERROR(scope.status);
  MOE_RETURN_IF_ERROR(MOE_CUDA_ON(*this, memHostRegister, data, bytes,
                                  cudaHostPortable | cudaHostDeviceMap));
  CUdeviceptr address = 0;
  Status status =
      MOE_CUDA_ON(*this, memHostGetDevicePointer, &address, data, 0u);
  if (!status.ok()) {
    api->memHostUnregister(data);
    return status;
  }
  return std::unique_ptr<Buffer>(std::make_unique<PinnedBuffer>(
      *this, data, reinterpret_cast<void *>(static_cast<uintptr_t>(address)),
      bytes, false));
}

void CudaDevice::freeMemory(CUdeviceptr address) const {
  // After a missed deadline the driver would wait for the GPU.
  if (hung)
    return;
  Scope scope(*this, /*cleanUp=*/true);
  if (memoryStream)
    api->memFreeAsync(address, memoryStream);
  else
    api->memFree(address);
}
