//===- AddressSpace.cpp - Addresses that kernels may use ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AddressSpace.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

using namespace moe::standin;

static constexpr uintptr_t pageSize = 4096;
/// Where device memory begins: below what the kernel hands out by itself and
/// above what sanitizers keep for themselves.
static constexpr uintptr_t deviceBase = UINT64_C(0x200000000000);
static constexpr uintptr_t deviceLimit = UINT64_C(0x400000000000);
/// The driver promises 256; more would hide wrong assumptions.
static constexpr uintptr_t deviceAlignment = 256;

bool moe::standin::isDeviceAddress(uint64_t address) {
  return address >= deviceBase && address < deviceLimit;
}

static uintptr_t alignTo(uintptr_t value, uintptr_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

static std::string hex(uint64_t value) {
  char text[32];
  std::snprintf(text, sizeof(text), "0x%llx",
                static_cast<unsigned long long>(value));
  return text;
}

//===----------------------------------------------------------------------===//
// Protection of device memory from host threads
//===----------------------------------------------------------------------===//

/// The protection key of device memory; negative where there are none.
static int deviceKey() {
#if defined(__x86_64__)
  static const int key = pkey_alloc(0, PKEY_DISABLE_ACCESS);
  return key;
#else
  return -1;
#endif
}

bool moe::standin::deviceMemoryIsProtected() { return deviceKey() >= 0; }

DeviceAccess::DeviceAccess(bool allowed) {
#if defined(__x86_64__)
  if (deviceKey() < 0)
    return;
  before = pkey_get(deviceKey());
  pkey_set(deviceKey(), allowed ? 0 : PKEY_DISABLE_ACCESS);
#endif
}

DeviceAccess::~DeviceAccess() {
#if defined(__x86_64__)
  if (deviceKey() >= 0)
    pkey_set(deviceKey(), unsigned(before));
#endif
}

//===----------------------------------------------------------------------===//
// Allocation
//===----------------------------------------------------------------------===//

Allocation::~Allocation() {
  if (mapping)
    munmap(mapping, mappingSize);
}

std::string Allocation::describe() const {
  return name + " of " + std::to_string(size) + " bytes";
}

/// Maps whole pages for device memory, away from all others.
static void *mapDevice(uint64_t size) {
  static uintptr_t next = deviceBase;
  if (size > deviceLimit - next)
    return nullptr;
  void *where = reinterpret_cast<void *>(next);
  // An unmapped page between any two.
  next += size + pageSize;
  void *mapping =
      mmap(where, size, PROT_READ | PROT_WRITE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (mapping == MAP_FAILED)
    return nullptr;
#if defined(__x86_64__)
  if (deviceKey() >= 0)
    pkey_mprotect(mapping, size, PROT_READ | PROT_WRITE, deviceKey());
#endif
  return mapping;
}

static void *mapHost(uint64_t size) {
  void *mapping = mmap(nullptr, size + 2 * pageSize, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED)
    return nullptr;
  if (mprotect(static_cast<char *>(mapping) + pageSize, size,
               PROT_READ | PROT_WRITE) != 0) {
    munmap(mapping, size + 2 * pageSize);
    return nullptr;
  }
  return mapping;
}

std::shared_ptr<Allocation> AddressSpace::map(Allocation::Kind kind,
                                              uint64_t size) {
  if (size == 0 || size > (UINT64_C(1) << 44))
    return nullptr;
  auto result = std::make_shared<Allocation>();
  bool device = kind == Allocation::Kind::Device;
  uint64_t pages = alignTo(size, pageSize);
  result->mapping = device ? mapDevice(pages) : mapHost(pages);
  if (!result->mapping)
    return nullptr;
  uintptr_t begin = reinterpret_cast<uintptr_t>(result->mapping);
  if (device) {
    result->mappingSize = pages;
    result->begin = begin + pages - alignTo(size, deviceAlignment);
  } else {
    result->mappingSize = pages + 2 * pageSize;
    begin += pageSize;
    result->begin = begin;
  }
  {
    DeviceAccess access(true);
    auto *words = reinterpret_cast<uint16_t *>(begin);
    for (uint64_t i = 0; i < pages / 2; ++i)
      words[i] = fillPattern;
  }
  result->kind = kind;
  result->size = size;
  result->id = ++count;
  result->name =
      (device ? "allocation #" : "page-locked #") + std::to_string(result->id);
  pieces[result->begin] = result;
  return result;
}

std::shared_ptr<Allocation> AddressSpace::add(Allocation::Kind kind,
                                              void *begin, uint64_t size) {
  auto result = std::make_shared<Allocation>();
  result->kind = kind;
  result->begin = reinterpret_cast<uintptr_t>(begin);
  result->size = size;
  result->id = ++count;
  result->name =
      (kind == Allocation::Kind::Global ? "global #" : "registered #") +
      std::to_string(result->id);
  pieces[result->begin] = result;
  return result;
}

void AddressSpace::erase(const Allocation &allocation) {
  // Host addresses do come again.
  if (allocation.kind == Allocation::Kind::Device)
    freed[allocation.begin] = {allocation.size, allocation.name};
  auto it = pieces.find(allocation.begin);
  if (it != pieces.end() && it->second.get() == &allocation)
    pieces.erase(it);
}

std::shared_ptr<Allocation> AddressSpace::find(uint64_t address) const {
  auto it = pieces.upper_bound(address);
  if (it == pieces.begin())
    return nullptr;
  --it;
  return address < it->second->end() ? it->second : nullptr;
}

std::string AddressSpace::describe(uint64_t address) const {
  std::string text = hex(address);
  if (!isDeviceAddress(address))
    return text + " is not device memory";
  auto it = freed.upper_bound(address);
  if (it != freed.begin()) {
    --it;
    if (address < it->first + it->second.first)
      return text + " is in freed memory (" + it->second.second + " of " +
             std::to_string(it->second.first) + " bytes)";
  }
  auto piece = pieces.upper_bound(address);
  if (piece != pieces.begin()) {
    --piece;
    return text + " is " + std::to_string(address - piece->second->end()) +
           " bytes behind " + piece->second->describe();
  }
  return text + " was never allocated";
}

std::string AddressSpace::check(uint64_t address, uint64_t size,
                                std::shared_ptr<Allocation> &found) const {
  found = find(address);
  if (!found)
    return describe(address);
  if (size > found->end() - address)
    return std::to_string(size) + " bytes at " + hex(address) + " end " +
           std::to_string(size - (found->end() - address)) + " bytes behind " +
           found->describe();
  return std::string();
}

int64_t moe::standin::findUnwritten(const void *begin, uint64_t size) {
  constexpr uint64_t pattern = fillPattern * UINT64_C(0x0001000100010001);
  uintptr_t address = reinterpret_cast<uintptr_t>(begin);
  uint64_t first = alignTo(address, sizeof(pattern)) - address;
  for (uint64_t at = first; at + sizeof(pattern) <= size;
       at += sizeof(pattern)) {
    uint64_t word;
    std::memcpy(&word, static_cast<const char *>(begin) + at, sizeof(word));
    if (word == pattern)
      return int64_t(at);
  }
  return -1;
}

bool moe::standin::readMemory(const void *from, void *to, uint64_t size) {
  iovec local{to, size};
  iovec remote{const_cast<void *>(from), size};
  ssize_t got = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
  if (got < 0 && errno != EFAULT) {
    // Forbidden here: nothing is known, so the caller is believed.
    std::memcpy(to, from, size);
    return true;
  }
  return got == ssize_t(size);
}
