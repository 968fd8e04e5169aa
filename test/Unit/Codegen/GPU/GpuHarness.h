//===- GpuHarness.h - Compile GPU kernels, emulate them -------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TEST_UNIT_CODEGEN_GPU_GPUHARNESS_H
#define MOE_TEST_UNIT_CODEGEN_GPU_GPUHARNESS_H

#include "moe/Codegen/GPU/Emulation/Launch.h"

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace moe_test {

/// Device memory of `count` elements, `offset` elements behind an address that
/// is aligned to 256 bytes.
class DeviceBytes {
public:
  DeviceBytes(size_t count, size_t elementSize, size_t offset, bool writable);

  uint8_t *data() const { return begin; }
  size_t size() const { return bytes; }
  bool isWritable() const { return writable; }

private:
  std::unique_ptr<uint8_t[]> memory;
  uint8_t *begin;
  size_t bytes;
  bool writable;
};

/// An array that a kernel only reads.
template <typename T>
std::shared_ptr<DeviceBytes> input(const std::vector<T> &values,
                                   size_t offset = 0) {
  auto bytes =
      std::make_shared<DeviceBytes>(values.size(), sizeof(T), offset, false);
  if (!values.empty())
    std::memcpy(bytes->data(), values.data(), bytes->size());
  return bytes;
}

/// An array that a kernel writes; filled with a pattern.
template <typename T>
std::shared_ptr<DeviceBytes> output(size_t size, size_t offset = 0) {
  return std::make_shared<DeviceBytes>(size, sizeof(T), offset, true);
}

template <typename T>
std::vector<T> valuesOf(const std::shared_ptr<DeviceBytes> &bytes) {
  std::vector<T> values(bytes->size() / sizeof(T));
  if (!values.empty())
    std::memcpy(values.data(), bytes->data(), bytes->size());
  return values;
}

/// An argument of a kernel.
struct GpuArg {
  GpuArg(std::shared_ptr<DeviceBytes> bytes) : bytes(std::move(bytes)) {}
  GpuArg(int64_t size) : size(size) {}
  std::shared_ptr<DeviceBytes> bytes;
  int64_t size = 0;
};

/// How a grid is run.
struct Way {
  moe::emu::Schedule schedule;
  uint64_t seed;
  uint32_t blocks;
  std::string name() const;
};

/// All schedules, over different numbers of blocks.
const std::vector<Way> &allWays();

/// Kernels compiled to cut modules and from there to code for the emulator.
class GpuKernels {
public:
  /// Compiles the `plan.kernel` ops of `source` for `arch`, or, when they have
  /// variants, for those. Returns null and the diagnostics when that fails.
  static std::unique_ptr<GpuKernels> compile(const std::string &source,
                                             std::string &diagnostics,
                                             const std::string &arch = "sm_80");
  ~GpuKernels();

  /// Runs a kernel with all checks on and returns its status. Findings, and
  /// variables that do not keep their value, are failures of the test.
  int run(const std::string &name, const Way &way,
          const std::vector<GpuArg> &args) const;

private:
  struct State;
  GpuKernels();
  std::unique_ptr<State> state;
};

using Random = std::mt19937;

/// `size` normally distributed values.
std::vector<float> randomValues(Random &random, size_t size,
                                float scale = 1.0f);
/// `perToken` different ids of each token: ascending, or in any order.
std::vector<int32_t> randomIds(Random &random, int64_t tokens, int64_t perToken,
                               int64_t experts, bool ascending);

/// Rows of logits that are random, rounded so that they tie, or not finite.
std::vector<float> hardLogits(Random &random, int64_t tokens, int64_t experts);

} // namespace moe_test

#endif // MOE_TEST_UNIT_CODEGEN_GPU_GPUHARNESS_H
