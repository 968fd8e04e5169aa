//===- CpuMemory.cpp - Buffers in host memory -----------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CpuMemory.h"

#include <cerrno>
#include <cstring>
#include <sys/mman.h>

using namespace moert;
using namespace moert::hal;

namespace {

constexpr uint64_t hugePage = uint64_t(2) << 20;

class HostBuffer : public Buffer {
public:
  HostBuffer(void *data, uint64_t bytes) : data(data), bytes(bytes) {}
  ~HostBuffer() override {
    if (map)
      ::munmap(map, mapBytes);
  }
  void *address() const override { return data; }
  void *hostAddress() const override { return data; }
  uint64_t size() const override { return bytes; }

  void *data;
  uint64_t bytes;
  void *map = nullptr;
  uint64_t mapBytes = 0;
};

/// What wrapped buffers of no bytes point to: the address must not be null.
alignas(64) char nothing[64];

} // namespace

StatusOr<std::unique_ptr<Buffer>> hal::allocateHost(uint64_t bytes,
                                                    BufferUse use) {
  const bool huge = use == BufferUse::Constant && bytes >= hugePage;
  const uint64_t extra = readSlack + (huge ? hugePage : 0);
  auto noMemory = [&](const char *reason) {
    return Status::error(601,
                         concat("cannot allocate ", formatBytes(bytes),
                                use == BufferUse::Workspace ? " of workspace"
                                                            : " for weights"))
        .because(reason)
        .fix(use == BufferUse::Workspace
                 ? "call with fewer tokens, or use a machine with more memory"
                 : "use packed weights, or a machine with more memory");
  };
  if (bytes > uint64_t(INT64_MAX) - extra)
    return noMemory("the size is beyond 63 bits");
  const uint64_t total = bytes + extra;
  void *map = ::mmap(nullptr, total, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED)
    return noMemory(std::strerror(errno));
  auto start = reinterpret_cast<uintptr_t>(map);
  if (huge) {
    start = (start + hugePage - 1) / hugePage * hugePage;
    ::madvise(reinterpret_cast<void *>(start), bytes, MADV_HUGEPAGE);
  }
  auto buffer =
      std::make_unique<HostBuffer>(reinterpret_cast<void *>(start), bytes);
  buffer->map = map;
  buffer->mapBytes = total;
  return std::unique_ptr<Buffer>(std::move(buffer));
}

std::unique_ptr<Buffer> hal::wrapHostMemory(void *data, uint64_t bytes) {
  return std::make_unique<HostBuffer>(bytes ? data : nothing, bytes);
}
