//===- AddressSpace.h - Addresses that kernels and copies may use ---------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Device memory is mapped far from all other memory, each allocation alone with
// unmapped pages around it, its end at the end of a page. An address is never
// used twice, so that the use of freed memory is known as such. Where the
// processor has protection keys, only threads of the stand-in can touch it:
// host code that takes a device pointer for one of its own gets SIGSEGV.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_STANDIN_ADDRESSSPACE_H
#define MOE_STANDIN_ADDRESSSPACE_H

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace moe::standin {

struct Context;

/// A piece of memory that is known to the driver.
struct Allocation {
  enum class Kind {
    Device,     // cuMemAlloc, cuMemAllocAsync
    Global,     // a variable of a module
    Host,       // cuMemHostAlloc
    Registered, // cuMemHostRegister
  };
  enum class State {
    Pending, // allocated in stream order, and that point is not reached
    Live,
    Freed,
  };

  Kind kind = Kind::Device;
  State state = State::Live;
  uint64_t id = 0;
  uintptr_t begin = 0;
  uint64_t size = 0;
  /// From a memory pool: by cuMemAllocAsync.
  bool pooled = false;
  /// cuMemFreeAsync was called.
  bool freeing = false;
  Context *context = nullptr;
  int device = 0;
  uint64_t charged = 0;
  std::string name;

  void *mapping = nullptr;
  uint64_t mappingSize = 0;

  uintptr_t end() const { return begin + size; }
  bool isHost() const { return kind == Kind::Host || kind == Kind::Registered; }
  std::string describe() const;
  ~Allocation();
};

/// Every known piece of memory by its address.
class AddressSpace {
public:
  /// Maps memory of the device or, page-locked, of the host, and fills it with
  /// `fillPattern`. Returns nullptr when the system has no more.
  std::shared_ptr<Allocation> map(Allocation::Kind kind, uint64_t size);

  /// Makes memory known that somebody else owns.
  std::shared_ptr<Allocation> add(Allocation::Kind kind, void *begin,
                                  uint64_t size);

  void erase(const Allocation &allocation);

  /// The piece that contains the address; nullptr for none.
  std::shared_ptr<Allocation> find(uint64_t address) const;

  /// What is wrong with the `size` bytes at `address`: "is freed memory ...";
  /// empty when they lie in one known piece, which is then in `found`.
  std::string check(uint64_t address, uint64_t size,
                    std::shared_ptr<Allocation> &found) const;

  /// Text about an address that is not in any piece.
  std::string describe(uint64_t address) const;

  const std::map<uintptr_t, std::shared_ptr<Allocation>> &all() const {
    return pieces;
  }

private:
  uint64_t count = 0;
  std::map<uintptr_t, std::shared_ptr<Allocation>> pieces;
  /// Begin of what was freed, with its size and name.
  std::map<uintptr_t, std::pair<uint64_t, std::string>> freed;
};

/// What new memory holds: NaN as bf16, f16, f32 and f64, and an implausible
/// integer.
constexpr uint16_t fillPattern = 0xfffb;

/// Offset of the first aligned 8 bytes that still hold the pattern, or -1.
int64_t findUnwritten(const void *begin, uint64_t size);

/// Whether the address can only be one of device memory, live or not.
bool isDeviceAddress(uint64_t address);

/// Copies from memory that may not be there; false when it is not.
bool readMemory(const void *from, void *to, uint64_t size);

/// Whether host threads are kept from device memory.
bool deviceMemoryIsProtected();

/// While one lives, this thread may (or may not) touch device memory.
class DeviceAccess {
public:
  explicit DeviceAccess(bool allowed);
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess &) = delete;
  DeviceAccess &operator=(const DeviceAccess &) = delete;

private:
  int before = 0;
};

} // namespace moe::standin

#endif // MOE_STANDIN_ADDRESSSPACE_H
