//===- CutHarness.h - Running cut modules in tests ------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TEST_UNIT_EMULATION_CUTHARNESS_H
#define MOE_TEST_UNIT_EMULATION_CUTHARNESS_H

#include "moe/Codegen/GPU/Emulation/Launch.h"

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace moe_test {

/// A bug of the pass `test-mutate-cut`.
struct Bug {
  std::string name;
  unsigned nth = 0;
};

/// A cut module of this folder, compiled for the host.
class Cut {
public:
  /// Null, and a failure of the test, when it does not compile.
  static std::unique_ptr<Cut> load(const std::string &file,
                                   const Bug &bug = {});
  /// How many places of a file a bug fits.
  static unsigned countPlaces(const std::string &file, const std::string &bug);
  ~Cut();

  const moe_emu_kernel *kernel(const std::string &name) const;
  const moe_emu_module &module() const;

private:
  struct Impl;
  Cut();
  std::unique_ptr<Impl> impl;
};

/// The object file of a cut module given as text; `messages` receives what was
/// reported.
std::vector<char> emitObject(const std::string &text, std::string &messages);

/// A file of this folder.
std::string readCut(const std::string &file);

struct Policy {
  moe::emu::Schedule schedule;
  uint64_t seed;
};
/// Late, eager, and some random seeds.
const std::vector<Policy> &allPolicies();

/// A launch: parameters and the memory they point to.
class Launch {
public:
  Launch(const Cut &cut, const std::string &kernel);

  Launch &grid(uint32_t x, uint32_t y = 1) {
    config.grid[0] = x;
    config.grid[1] = y;
    return *this;
  }
  Launch &block(uint32_t x) {
    config.block[0] = x;
    return *this;
  }
  Launch &shared(uint32_t bytes) {
    config.dynamicShared = bytes;
    return *this;
  }
  template <typename T>
  Launch &buffer(std::vector<T> &values, const char *name,
                 bool writable = true) {
    addMemory(values.data(), values.size() * sizeof(T), name, writable);
    return value(static_cast<void *>(values.data()));
  }
  /// Memory that is no parameter itself.
  template <typename T>
  Launch &memory(std::vector<T> &values, const char *name,
                 bool writable = true) {
    addMemory(values.data(), values.size() * sizeof(T), name, writable);
    return *this;
  }
  template <typename T> Launch &value(T value) {
    auto *bytes = reinterpret_cast<const char *>(&value);
    return addParam(std::string(bytes, sizeof(T)));
  }
  /// A tensor map, passed by value; `sizes` innermost first, rows of memory
  /// without gaps.
  Launch &tensor(void *base, uint32_t elementBytes, std::vector<uint64_t> sizes,
                 std::vector<uint32_t> box, uint32_t swizzle);

  /// Runs with all checks.
  moe::emu::LaunchReport run(const Policy &policy, uint32_t osThreads = 1);

private:
  Launch &addParam(std::string bytes);
  void addMemory(void *begin, uint64_t size, const char *name, bool writable);

  moe::emu::LaunchConfig config;
  struct alignas(64) Param {
    std::array<char, 128> bytes;
  };
  std::vector<std::unique_ptr<Param>> params;
};

/// Texts of the findings, for a test to compare with the empty string.
std::string textOf(const moe::emu::LaunchReport &report);
/// Names of kinds of findings, of one or several reports.
std::set<std::string> namesOf(const moe::emu::LaunchReport &report);

float fromBf16(uint16_t bits);
uint16_t toBf16(float value);
float fromF16(uint16_t bits);
uint16_t toF16(float value);

/// Multiples of 1/8 from -1 to 1: their sums of products are exact in f32.
std::vector<uint16_t> randomBf16(std::mt19937 &rng, size_t count);

/// C[m][n] = sum of a[row(m)][k] b[n][k], computed plainly.
std::vector<float> multiply(const std::vector<uint16_t> &a,
                            const std::vector<uint16_t> &b, int m, int n, int k,
                            const std::vector<int32_t> &rows = {});

} // namespace moe_test

#endif // MOE_TEST_UNIT_EMULATION_CUTHARNESS_H
