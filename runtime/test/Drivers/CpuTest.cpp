//===- CpuTest.cpp - Tests of the CPU driver ------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Drivers/CPU/CpuFeatures.h"
#include "Drivers/CPU/ThreadPool.h"
#include "TestArtifact.h"

#include "moert/Format/KernelABI.h"
#include "moert/HAL/Driver.h"

#include <atomic>
#include <cstdlib>
#include <gtest/gtest.h>
#include <thread>

using namespace moert;
using namespace moert::hal;
using namespace moert::test;

//===----------------------------------------------------------------------===//
// Thread pool
//===----------------------------------------------------------------------===//

namespace {
struct Counter {
  std::vector<std::atomic<int>> calls = std::vector<std::atomic<int>>(64);
  static void count(void *context, int32_t worker) {
    ++static_cast<Counter *>(context)->calls[worker];
  }
};
} // namespace

TEST(ThreadPool, EveryWorkerRunsOncePerDispatch) {
  for (int32_t workers : {1, 2, 3, 8}) {
    auto pool = ThreadPool::create(workers);
    ASSERT_TRUE(pool.ok());
    Counter counter;
    for (int i = 0; i < 2000; ++i)
      ASSERT_TRUE((*pool)->run(Counter::count, &counter, deadlineIn(60)).ok());
    for (int32_t w = 0; w < 64; ++w)
      EXPECT_EQ(counter.calls[w].load(), w < workers ? 2000 : 0);
  }
}

TEST(ThreadPool, WakesSleepingWorkers) {
  auto pool = ThreadPool::create(3);
  ASSERT_TRUE(pool.ok());
  Counter counter;
  for (int i = 0; i < 3; ++i) {
    // Longer than workers spin.
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    ASSERT_TRUE((*pool)->run(Counter::count, &counter, deadlineIn(60)).ok());
  }
  for (int32_t w = 0; w < 3; ++w)
    EXPECT_EQ(counter.calls[w].load(), 3);
}

TEST(ThreadPool, WritesOfWorkersAreSeen) {
  auto pool = ThreadPool::create(4);
  ASSERT_TRUE(pool.ok());
  struct Data {
    int64_t values[4][16] = {};
  } data;
  for (int64_t round = 1; round < 500; ++round) {
    ASSERT_TRUE((*pool)
                    ->run(
                        [](void *context, int32_t worker) {
                          // Reads what another worker wrote last time.
                          auto &v = static_cast<Data *>(context)->values;
                          v[worker][0] = v[worker][1] + 1;
                        },
                        &data, deadlineIn(60))
                    .ok());
    for (auto &row : data.values) {
      ASSERT_EQ(row[0], round);
      row[1] = round;
    }
  }
}

TEST(ThreadPool, MissedDeadlineBreaksIt) {
  auto pool = ThreadPool::create(2);
  ASSERT_TRUE(pool.ok());
  // Static: the worker still uses it after the deadline.
  static std::atomic<bool> release{false};
  Status status = (*pool)->run(
      [](void *, int32_t worker) {
        while (worker == 1 && !release)
          std::this_thread::yield();
      },
      nullptr, deadlineIn(0.05));
  EXPECT_EQ(status.toString(),
            "error[MOE0015]: 1 of 2 workers did not finish in time\n"
            "fix: create a new session with a longer timeout\n");
  EXPECT_TRUE((*pool)->broken());
  EXPECT_EQ(
      (*pool)->run([](void *, int32_t) {}, nullptr, deadlineIn(1)).number(),
      15);
  release = true;
}

//===----------------------------------------------------------------------===//
// Levels
//===----------------------------------------------------------------------===//

TEST(CpuFeatures, NamesAndErrors) {
  EXPECT_STREQ(isaName(MOERT_ISA_AMX), "amx");
  EXPECT_STREQ(isaName(-1), "none");
  EXPECT_EQ(chooseIsaLevel("sse9").status().toString(),
            "error[MOE0001]: unknown instruction set level 'sse9' in --isa\n"
            "fix: use avx2, avx512 or amx\n");
  for (int32_t level = 0; level < MOERT_ISA_COUNT; ++level) {
    auto chosen = chooseIsaLevel(isaName(level));
    if (level <= machineIsaLevel())
      EXPECT_EQ(*chosen, level);
    else
      EXPECT_EQ(chosen.status().number(), 310);
  }
}

TEST(CpuFeatures, EmulatedAmxNeedsNoAmx) {
  ASSERT_GE(machineIsaLevel(), 0) << "the test machine has no AVX2";
  EXPECT_EQ(*chooseIsaLevel("amx", /*amxEmulated=*/true), MOERT_ISA_AMX);
  EXPECT_EQ(*chooseIsaLevel("", /*amxEmulated=*/true), machineIsaLevel());
}

TEST(CpuFeatures, EnvironmentAndOption) {
  ASSERT_GE(machineIsaLevel(), 0) << "the test machine has no AVX2";
  ::setenv("MOE_ISA", "avx2", 1);
  EXPECT_EQ(*chooseIsaLevel(""), MOERT_ISA_AVX2);
  ::setenv("MOE_ISA", "bad", 1);
  EXPECT_EQ(chooseIsaLevel("").status().what(),
            "unknown instruction set level 'bad' in MOE_ISA");
  EXPECT_EQ(*chooseIsaLevel("avx2"), MOERT_ISA_AVX2) << "the option wins";
  ::unsetenv("MOE_ISA");
  EXPECT_EQ(*chooseIsaLevel(""), machineIsaLevel());
}

//===----------------------------------------------------------------------===//
// Executables
//===----------------------------------------------------------------------===//

namespace {
class CpuExecutableTest : public testing::Test {
protected:
  Status load(const fb::PlanT &plan, const std::string &isa = "avx2") {
    buildArtifact(path, plan);
    return loadFile(isa);
  }
  Status loadFile(const std::string &isa = "avx2") {
    DeviceOptions options;
    options.threads = 1;
    options.isa = isa;
    auto device = findDriver("cpu")->open(options);
    EXPECT_TRUE(device.ok()) << device.status().toString();
    auto artifact = Artifact::open(path);
    EXPECT_TRUE(artifact.ok()) << artifact.status().toString();
    return (*device)->load(**artifact).status();
  }
  TemporaryFolder folder;
  const std::string path = folder.file("m.moe");
};
} // namespace

TEST_F(CpuExecutableTest, MissingLevelIsACpuThisMachineIsNot) {
  fb::PlanT plan = makePlan();
  auto kernel = std::make_unique<fb::KernelT>();
  kernel->name = "only_amx";
  kernel->num_args = 1;
  kernel->levels = 1 << MOERT_ISA_AMX;
  plan.kernels.push_back(std::move(kernel));
  EXPECT_EQ(load(plan).toString(),
            "error[MOE0310]: artifact is for a CPU this machine is not\n --> " +
                path +
                "\nbecause kernel 'only_amx' has code for amx; the level in "
                "use is avx2\nfix: compile the model with a --target that "
                "includes this machine\n");
}

TEST_F(CpuExecutableTest, OtherMachineIsRefused) {
  buildArtifact(path, makePlan());
  std::string bytes = readFile(path);
  bytes[18] = static_cast<char>(elfMachineAArch64);
  bytes[19] = 0;
  writeBytes(path, bytes);
  EXPECT_EQ(loadFile().because(),
            "the file is for ELF machine 183, this is x86-64 (62)");
}

TEST_F(CpuExecutableTest, PlanMustFitTheCode) {
  auto because = [&](const std::function<void(fb::PlanT &)> &change) {
    fb::PlanT plan = makePlan();
    change(plan);
    Status status = load(plan);
    EXPECT_EQ(status.number(), 305);
    return status.because();
  };
  EXPECT_EQ(because([](auto &p) { p.kernels[4]->name = "absent"; }),
            "its code has no kernel 'absent', which its plan names");
  EXPECT_EQ(because([](auto &p) {
              p.kernels[4]->name = "linear";
              p.kernels[1]->name = "fails";
              p.functions[1]->variants[0]->commands.clear();
              p.functions[4]->variants[0]->commands.clear();
            }),
            "its kernel 'fails' takes 0 arguments; its plan says 5");
  EXPECT_EQ(because([](auto &p) { p.kernels[5]->scratch_bytes = 64; }),
            "its kernel 'scratches' wants 4096 bytes of scratch; its plan "
            "says 64");
  EXPECT_EQ(because([](auto &p) {
              p.kernels[3]->name = "only_amx";
              p.kernels[3]->levels = 7;
            }),
            "its kernel 'only_amx' has no code at level avx2");
}

TEST_F(CpuExecutableTest, LevelIsChosenPerKernel) {
  if (machineIsaLevel() < MOERT_ISA_AVX512)
    GTEST_SKIP() << "this machine has no AVX-512";
  fb::PlanT plan = makePlan();
  plan.kernels[3]->levels = 1 << MOERT_ISA_AVX2;
  buildArtifact(path, plan);
  DeviceOptions options;
  options.isa = "avx512";
  auto device = findDriver("cpu")->open(options);
  auto artifact = Artifact::open(path);
  ASSERT_TRUE(device.ok() && artifact.ok());
  auto code = (*device)->load(**artifact);
  ASSERT_TRUE(code.ok());
  EXPECT_EQ((*code)->kernels()[3].level, MOERT_ISA_AVX2);
  EXPECT_EQ((*code)->kernels()[0].level, MOERT_ISA_AVX512);
}

TEST(CpuDriver, RejectsThreadCounts) {
  DeviceOptions options;
  options.threads = -1;
  EXPECT_EQ(findDriver("cpu")->open(options).status().toString(),
            "error[MOE0001]: cannot use -1 threads\n"
            "fix: give a number from 1 to 4096, or 0 for one per CPU\n");
  EXPECT_EQ(findDriver("rocm"), nullptr);
}
