//===- KernelHarness.h - Compile kernels, load them, run them -------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TEST_UNIT_CODEGEN_KERNELHARNESS_H
#define MOE_TEST_UNIT_CODEGEN_KERNELHARNESS_H

#include "moert/Format/KernelABI.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace moe_test {

/// Memory whose end is the end of a page that cannot be touched after: reading
/// or writing behind it is a crash. Aligned to the element type only.
class GuardedBytes {
public:
  explicit GuardedBytes(size_t bytes);
  ~GuardedBytes();
  GuardedBytes(const GuardedBytes &) = delete;
  GuardedBytes &operator=(const GuardedBytes &) = delete;

  char *data() const { return end - bytes; }
  size_t size() const { return bytes; }

private:
  size_t bytes, mapped;
  char *base, *end;
};

/// An array for a kernel argument.
template <typename T> class Buffer {
public:
  explicit Buffer(size_t size)
      : size(size), memory(std::make_shared<GuardedBytes>(size * sizeof(T))) {
    std::memset(memory->data(), 0xa5, memory->size());
  }
  Buffer(const std::vector<T> &values) : Buffer(values.size()) {
    if (size)
      std::memcpy(memory->data(), values.data(), memory->size());
  }

  T *data() const { return reinterpret_cast<T *>(memory->data()); }
  std::vector<T> values() const {
    return std::vector<T>(data(), data() + size);
  }

private:
  size_t size;
  std::shared_ptr<GuardedBytes> memory;
};

/// An argument of a kernel.
struct Arg {
  template <typename T> Arg(const Buffer<T> &buffer) {
    value.ptr = buffer.data();
  }
  Arg(int64_t size) { value.i64 = size; }
  moert_arg value;
};

/// Kernels compiled through the CPU's whole pipeline into a shared object.
class Kernels {
public:
  /// Compiles the `plan.kernel` ops of `source` for all x86-64 levels. Returns
  /// null and the diagnostics when that fails.
  static std::unique_ptr<Kernels> compile(const std::string &source,
                                          std::string &diagnostics);
  ~Kernels();

  /// The levels of a kernel that this machine can run.
  std::vector<int> levelsOf(const std::string &name) const;

  /// Runs all workers, the last one first when `reversed`; returns the status.
  int run(const std::string &name, int level, int workers,
          std::initializer_list<Arg> args, bool reversed = false) const;

private:
  const moert_kernel_entry &entry(const std::string &name) const;

  void *handle = nullptr;
  const moert_module_table *table = nullptr;
};

/// Calls `body` for every level of the kernel and 1, 2 and 3 workers.
void forEveryWay(
    const Kernels &kernels, const std::string &name,
    const std::function<void(int level, int workers, bool reversed)> &body);

const char *levelName(int level);

using Random = std::mt19937;

/// `size` normally distributed values.
std::vector<float> randomValues(Random &random, size_t size,
                                float scale = 1.0f);

} // namespace moe_test

#endif // MOE_TEST_UNIT_CODEGEN_KERNELHARNESS_H
