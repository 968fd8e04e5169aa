//===- EmulationTest.h - C++ functions as emulated kernels ----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A kernel of these tests is a C++ lambda that calls the operations as
// retargeted code does. When the emulator ends a grid, its threads are left
// where they are: kernels must not own memory.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TEST_UNIT_EMULATION_EMULATIONTEST_H
#define MOE_TEST_UNIT_EMULATION_EMULATIONTEST_H

#include "moe/Codegen/GPU/Emulation/Launch.h"
#include "moe/Codegen/GPU/Emulation/Operations.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <random>

namespace moe::emu::test {

using Thread = moe_emu_thread;
using Body = std::function<void(Thread *)>;

struct Shape {
  uint32_t threads = 32;
  uint32_t shared = 0;
  uint32_t blocks = 1;
  uint32_t cluster = 1;
};

/// One of the orders in which a kernel is run.
struct Order {
  Schedule schedule;
  uint64_t seed;
};

inline const std::vector<Order> &allOrders() {
  static const std::vector<Order> orders = {{Schedule::Late, 1},
                                            {Schedule::Eager, 1},
                                            {Schedule::Random, 1},
                                            {Schedule::Random, 2},
                                            {Schedule::Random, 3}};
  return orders;
}

inline void callBody(Thread *thread, void **params) {
  (**static_cast<const Body **>(params[0]))(thread);
}

inline LaunchReport run(const Shape &shape, const Body &body,
                        Order order = {Schedule::Late, 1},
                        std::vector<MemoryRange> memory = {}, bool check = true,
                        uint32_t osThreads = 1) {
  const Body *pointer = &body;
  void *params[] = {&pointer};
  uint32_t sizes[] = {sizeof pointer};
  moe_emu_kernel kernel{"kernel", callBody, 1, 0, sizes, 0, shape.cluster};
  LaunchConfig config;
  config.kernel = &kernel;
  config.grid[0] = shape.blocks;
  config.block[0] = shape.threads;
  config.dynamicShared = shape.shared;
  config.params = params;
  config.check = check;
  config.schedule = order.schedule;
  config.seed = order.seed;
  config.osThreads = osThreads;
  config.memory = std::move(memory);
  return launch(config);
}

inline std::string listed(const LaunchReport &report) {
  std::string text;
  for (const Finding &finding : report.findings)
    text += finding.toString() + "\n";
  return text;
}

/// Under every order, with and without checks, nothing is found.
inline void expectClean(const Shape &shape, const Body &body,
                        const std::vector<MemoryRange> &memory = {}) {
  for (Order order : allOrders())
    for (bool check : {true, false}) {
      LaunchReport report = run(shape, body, order, memory, check);
      EXPECT_EQ(listed(report), "") << "seed " << order.seed;
    }
}

/// Under every order, the first finding is of this kind, at this site, and
/// says `text`.
inline void expectFinding(const Shape &shape, const Body &body,
                          FindingKind kind, const char *site, const char *text,
                          const std::vector<MemoryRange> &memory = {},
                          bool check = true) {
  for (Order order : allOrders()) {
    LaunchReport report = run(shape, body, order, memory, check);
    ASSERT_FALSE(report.findings.empty())
        << findingName(kind) << ", schedule " << int(order.schedule);
    const Finding &finding = report.findings.front();
    EXPECT_STREQ(findingName(finding.kind), findingName(kind))
        << listed(report) << "schedule " << int(order.schedule);
    EXPECT_EQ(finding.location, site);
    EXPECT_EQ(finding.kernel, "kernel");
    EXPECT_NE(finding.message.find(text), std::string::npos) << finding.message;
  }
}

//===----------------------------------------------------------------------===//
// Memory, as retargeted code accesses it
//===----------------------------------------------------------------------===//

template <typename T> T load(Thread *thread, const T *from, const char *site) {
  moe_emu_check(thread, from, sizeof(T), alignof(T), MOE_EMU_READ, site);
  return *from;
}

template <typename T>
void store(Thread *thread, T *to, T value, const char *site) {
  moe_emu_check(thread, to, sizeof(T), alignof(T), MOE_EMU_WRITE, site);
  *to = value;
}

template <typename T> T *shared(Thread *thread, uint32_t offset = 0) {
  return reinterpret_cast<T *>(thread->shared + offset);
}

//===----------------------------------------------------------------------===//
// Data
//===----------------------------------------------------------------------===//

template <typename T> std::vector<T> randomBits(size_t count, uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::vector<T> values(count);
  for (T &value : values)
    value = T(engine());
  return values;
}

/// Bits of bf16 or f16 numbers k / 8, |k| < 64: their products and sums of
/// these are exact in f32.
inline uint16_t smallNumber(std::mt19937_64 &engine, bool half,
                            float *value = nullptr) {
  int k = int(engine() % 127) - 63;
  float number = float(k) / 8;
  if (value)
    *value = number;
  uint32_t bits;
  std::memcpy(&bits, &number, 4);
  if (!half)
    return uint16_t(bits >> 16);
  if (k == 0)
    return 0;
  return uint16_t((bits >> 16 & 0x8000) |
                  (((bits >> 23 & 0xFF) - 112) << 10 | (bits >> 13 & 0x3FF)));
}

} // namespace moe::emu::test

#endif // MOE_TEST_UNIT_EMULATION_EMULATIONTEST_H
