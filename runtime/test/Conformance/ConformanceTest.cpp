//===- ConformanceTest.cpp - What every driver must do --------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Written once and run for every driver of the build. A driver without a
// device is skipped, with the reason; any other failure is a failure.
//
//===----------------------------------------------------------------------===//

#include "TestGpu.h"

#include "moert/HAL/Driver.h"

#include <atomic>
#include <cstring>
#include <gtest/gtest.h>
#include <thread>

using namespace moert;
using namespace moert::hal;
using namespace moert::test;

namespace {

class Conformance : public testing::TestWithParam<std::string> {
protected:
  void SetUp() override {
    useStandIn();
    Driver *driver = findDriver(GetParam());
    ASSERT_TRUE(driver);
    if (Status status = driver->available(); !status.ok())
      GTEST_SKIP() << "no device of driver " << GetParam() << ": "
                   << status.toString();
    DeviceOptions options;
    options.threads = 3;
    auto opened = driver->open(options);
    ASSERT_TRUE(opened.ok()) << opened.status().toString();
    device = opened.take();
    auto created = device->createStream();
    ASSERT_TRUE(created.ok()) << created.status().toString();
    stream = created.take();
  }

  std::unique_ptr<Buffer> allocate(uint64_t bytes) {
    auto buffer = device->allocate(bytes, BufferUse::Workspace);
    EXPECT_TRUE(buffer.ok()) << buffer.status().toString();
    return buffer.ok() ? buffer.take() : nullptr;
  }
  /// Moves host data to a new buffer.
  template <typename T>
  std::unique_ptr<Buffer> upload(const std::vector<T> &data) {
    auto buffer = allocate(data.size() * sizeof(T));
    EXPECT_TRUE(
        stream->copy(buffer->address(), data.data(), buffer->size()).ok());
    EXPECT_TRUE(stream->synchronize(deadlineIn(10)).ok());
    return buffer;
  }
  template <typename T> std::vector<T> download(const Buffer &buffer) {
    std::vector<T> data(buffer.size() / sizeof(T));
    EXPECT_TRUE(
        stream->copy(data.data(), buffer.address(), buffer.size()).ok());
    EXPECT_TRUE(stream->synchronize(deadlineIn(10)).ok());
    return data;
  }
  /// Null, and the test skipped, when there is no code for the device.
  std::unique_ptr<Executable> load() {
    const std::string images = gpuImages();
    if (device->info().kind == fb::DeviceKind::Cuda && images.empty())
      return nullptr;
    buildGpuArtifact(folder.file("m.moe"), images);
    artifact = Artifact::open(folder.file("m.moe")).take();
    auto loaded = device->load(*artifact);
    EXPECT_TRUE(loaded.ok()) << loaded.status().toString();
    return loaded.ok() ? loaded.take() : nullptr;
  }
  /// Index of the kernel with the work of `name` for this device.
  uint32_t kernel(const Executable &code, const char *name) const {
    const bool gpu = device->info().kind == fb::DeviceKind::Cuda;
    const std::string full = gpu ? std::string("gpu_") + name : name;
    for (uint32_t k = 0; k < code.kernels().size(); ++k)
      if (code.kernels()[k].name == full)
        return k;
    ADD_FAILURE() << full;
    return 0;
  }
  Status dispatch(const Executable &code, const char *name,
                  std::vector<moert_arg> args, fb::Grid grid) {
    return stream->dispatch(code, {kernel(code, name), grid, args.data(),
                                   uint32_t(args.size()), "test"});
  }
  static moert_arg pointer(const Buffer &buffer) {
    moert_arg arg;
    arg.ptr = buffer.address();
    return arg;
  }
  static moert_arg integer(int64_t value) {
    moert_arg arg;
    arg.i64 = value;
    return arg;
  }

  TemporaryFolder folder;
  std::shared_ptr<const Artifact> artifact;
  // Destroyed last to first.
  std::unique_ptr<Device> device;
  std::unique_ptr<Stream> stream;
};

} // namespace

#define LOAD_OR_SKIP(code)                                                     \
  std::unique_ptr<Executable> code = load();                                   \
  if (!code)                                                                   \
  GTEST_SKIP() << "no compiler for kernels of driver " << GetParam()

TEST_P(Conformance, BuffersAreAlignedAndHaveTheirSize) {
  for (uint64_t bytes :
       {uint64_t(0), uint64_t(1), uint64_t(4097), uint64_t(5) << 20}) {
    for (BufferUse use : {BufferUse::Workspace, BufferUse::Constant}) {
      auto buffer = device->allocate(bytes, use);
      ASSERT_TRUE(buffer.ok());
      EXPECT_EQ((*buffer)->size(), bytes);
      ASSERT_NE((*buffer)->address(), nullptr);
      EXPECT_EQ(reinterpret_cast<uintptr_t>((*buffer)->address()) % 64, 0u);
    }
  }
}

TEST_P(Conformance, SlackBehindABufferIsReadable) {
  std::unique_ptr<Buffer> buffer = allocate(4096);
  std::vector<char> slack(readSlack);
  EXPECT_TRUE(stream
                  ->copy(slack.data(),
                         static_cast<char *>(buffer->address()) + 4096,
                         readSlack)
                  .ok());
  EXPECT_TRUE(stream->synchronize(deadlineIn(10)).ok());
}

TEST_P(Conformance, TooLargeBuffersAreAnError) {
  for (uint64_t bytes : {uint64_t(1) << 60, UINT64_MAX, UINT64_MAX - 4096}) {
    auto buffer = device->allocate(bytes, BufferUse::Workspace);
    EXPECT_EQ(buffer.status().number(), 601);
  }
}

TEST_P(Conformance, WrappedMemoryIsUsedInPlace) {
  std::vector<float> data = randomFloats(100, 1);
  auto buffer = device->wrapHost(data.data(), 400);
  ASSERT_TRUE(buffer.ok());
  EXPECT_EQ(download<float>(**buffer), data);
  auto empty = device->wrapHost(nullptr, 0);
  ASSERT_TRUE(empty.ok());
  EXPECT_NE((*empty)->address(), nullptr);
}

TEST_P(Conformance, CopiesAndFills) {
  std::vector<float> data = randomFloats(1000, 2);
  std::unique_ptr<Buffer> a = upload(data), b = allocate(4000);
  EXPECT_TRUE(stream->copy(b->address(), a->address(), 4000).ok());
  EXPECT_EQ(download<float>(*b), data);
  EXPECT_TRUE(stream->fill(b->address(), 0xab, 4000).ok());
  EXPECT_EQ(download<uint8_t>(*b), std::vector<uint8_t>(4000, 0xab));
  EXPECT_TRUE(stream->copy(b->address(), nullptr, 0).ok());
}

TEST_P(Conformance, CommandsRunInOrder) {
  LOAD_OR_SKIP(code);
  std::vector<float> data = randomFloats(5 * 37, 3);
  std::unique_ptr<Buffer> a = upload(data), b = allocate(5 * 37 * 4);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(dispatch(*code, "twice",
                         {pointer(*a), pointer(*b), integer(37)}, fb::Grid::All)
                    .ok());
    ASSERT_TRUE(stream->copy(a->address(), b->address(), a->size()).ok());
  }
  std::vector<float> result = download<float>(*a);
  for (size_t i = 0; i < data.size(); ++i)
    ASSERT_EQ(result[i], 8 * data[i]);
}

TEST_P(Conformance, EventsMarkAPoint) {
  auto event = device->createEvent();
  ASSERT_TRUE(event.ok());
  EXPECT_FALSE((*event)->query());
  Status early = (*event)->wait(deadlineIn(0.02));
  EXPECT_EQ(early.number(), 15) << "not recorded yet";
  std::unique_ptr<Buffer> buffer = allocate(64);
  ASSERT_TRUE(stream->fill(buffer->address(), 1, 64).ok());
  ASSERT_TRUE(stream->record(**event).ok());
  EXPECT_TRUE((*event)->wait(deadlineIn(10)).ok());
  EXPECT_TRUE((*event)->query());
}

TEST_P(Conformance, EventsCrossThreadsAndStreams) {
  auto event = device->createEvent();
  auto other = device->createStream();
  ASSERT_TRUE(event.ok() && other.ok());
  Status waited;
  std::thread thread([&] { waited = (*event)->wait(deadlineIn(10)); });
  ASSERT_TRUE(stream->record(**event).ok());
  thread.join();
  EXPECT_TRUE(waited.ok()) << waited.toString();
  EXPECT_TRUE((*other)->wait(**event).ok());
}

TEST_P(Conformance, ExecutableFollowsThePlan) {
  LOAD_OR_SKIP(code);
  ASSERT_EQ(code->kernels().size(), 14u);
  EXPECT_EQ(code->kernels()[1].name, "linear");
  EXPECT_EQ(code->kernels()[1].numArgs, 5u);
  EXPECT_EQ(code->kernels()[12].name, "gpu_linear");
  EXPECT_NE(code->code(), "");
}

TEST_P(Conformance, AnyNumberOfRows) {
  LOAD_OR_SKIP(code);
  for (int64_t n : {0, 1, 2, 17, 1000}) {
    std::vector<float> data = randomFloats(5 * n, 4);
    std::unique_ptr<Buffer> a = upload(data), b = allocate(5 * n * 4);
    ASSERT_TRUE(dispatch(*code, "twice", {pointer(*a), pointer(*b), integer(n)},
                         fb::Grid::All)
                    .ok());
    std::vector<float> result = download<float>(*b);
    for (size_t i = 0; i < data.size(); ++i)
      ASSERT_EQ(result[i], 2 * data[i]);
  }
}

TEST_P(Conformance, ScratchIsPrivate) {
  LOAD_OR_SKIP(code);
  std::unique_ptr<Buffer> sum = upload(std::vector<int64_t>{0});
  for (int i = 0; i < 20; ++i)
    ASSERT_TRUE(dispatch(*code, "scratches", {pointer(*sum), integer(1000)},
                         fb::Grid::All)
                    .ok());
  EXPECT_EQ(download<int64_t>(*sum)[0], 20000);
}

TEST_P(Conformance, ErrorsOfAKernelAreReported) {
  LOAD_OR_SKIP(code);
  Status status = dispatch(*code, "fails", {}, fb::Grid::All);
  if (status.ok())
    status = stream->synchronize(deadlineIn(10));
  EXPECT_EQ(status.number(), 14);
  EXPECT_EQ(status.what(), "'test' was given an invalid expert index");
}

TEST(KernelResult, SaysWhatWentWrong) {
  EXPECT_TRUE(kernelResult(MOERT_KERNEL_OK, "layer").ok());
  Status status = kernelResult(MOERT_KERNEL_BAD_INDEX, "layer");
  EXPECT_EQ(status.number(), 17);
  EXPECT_EQ(status.what(), "'layer' was given an index outside its table");
  status = kernelResult(99, "layer");
  EXPECT_EQ(status.number(), 9000);
  EXPECT_EQ(status.what(), "'layer' failed with the unknown result 99");
}

TEST_P(Conformance, WrongDispatchesAreRefused) {
  LOAD_OR_SKIP(code);
  EXPECT_EQ(
      stream->dispatch(*code, {99, fb::Grid::All, nullptr, 0, "test"}).number(),
      9000);
  EXPECT_EQ(dispatch(*code, "twice", {}, fb::Grid::All).number(), 9000);
  // Kernels of another kind of device are there, but cannot run.
  for (uint32_t k = 0; k < code->kernels().size(); ++k)
    if (code->kernels()[k].level < 0) {
      std::vector<moert_arg> args(code->kernels()[k].numArgs);
      EXPECT_EQ(stream
                    ->dispatch(*code, {k, fb::Grid::All, args.data(),
                                       uint32_t(args.size()), "test"})
                    .number(),
                9000);
    }
}

TEST_P(Conformance, HostLoopsCoverEveryIndex) {
  std::vector<std::atomic<int>> seen(1001);
  ASSERT_TRUE(device->parallelFor(1001, [&](int64_t i) { ++seen[i]; }).ok());
  for (const std::atomic<int> &count : seen)
    ASSERT_EQ(count.load(), 1);
  EXPECT_TRUE(device->parallelFor(0, [](int64_t) { FAIL(); }).ok());
}

TEST_P(Conformance, StagingIsHostMemory) {
  auto staging = device->allocate(4000, BufferUse::Staging);
  ASSERT_TRUE(staging.ok()) << staging.status().toString();
  ASSERT_NE((*staging)->hostAddress(), nullptr);
  EXPECT_EQ((*staging)->size(), 4000u);
  std::vector<float> data = randomFloats(1000, 7);
  std::memcpy((*staging)->hostAddress(), data.data(), 4000);
  std::unique_ptr<Buffer> buffer = allocate(4000);
  ASSERT_TRUE(
      stream->copy(buffer->address(), (*staging)->address(), 4000).ok());
  ASSERT_TRUE(stream->synchronize(deadlineIn(10)).ok());
  std::memset((*staging)->hostAddress(), 0, 4000);
  ASSERT_TRUE(
      stream->copy((*staging)->address(), buffer->address(), 4000).ok());
  ASSERT_TRUE(stream->synchronize(deadlineIn(10)).ok());
  EXPECT_EQ(std::memcmp((*staging)->hostAddress(), data.data(), 4000), 0);
}

TEST_P(Conformance, GraphsRunAgainAndAgain) {
  if (!device->info().graphs) {
    EXPECT_EQ(stream->beginCapture().number(), 321);
    GTEST_SKIP() << "driver " << GetParam() << " has no graphs";
  }
  LOAD_OR_SKIP(code);
  std::vector<float> data = randomFloats(5 * 37, 8);
  std::unique_ptr<Buffer> a = upload(data), b = allocate(5 * 37 * 4);
  ASSERT_TRUE(stream->prepare(*code).ok());
  ASSERT_TRUE(stream->beginCapture().ok());
  EXPECT_EQ(stream->beginCapture().number(), 321) << "is recording";
  EXPECT_TRUE(dispatch(*code, "twice", {pointer(*a), pointer(*b), integer(37)},
                       fb::Grid::All)
                  .ok());
  EXPECT_TRUE(stream->copy(a->address(), b->address(), a->size()).ok());
  auto graph = stream->endCapture();
  ASSERT_TRUE(graph.ok()) << graph.status().toString();
  EXPECT_EQ(download<float>(*a), data) << "recording runs nothing";
  for (int i = 0; i < 3; ++i)
    ASSERT_TRUE(stream->launch(**graph).ok());
  std::vector<float> result = download<float>(*a);
  for (size_t i = 0; i < data.size(); ++i)
    ASSERT_EQ(result[i], 8 * data[i]);
  EXPECT_EQ(stream->endCapture().status().number(), 9000) << "not recording";
}

TEST_P(Conformance, ErrorsOfAKernelInAGraphAreReported) {
  if (!device->info().graphs)
    GTEST_SKIP() << "driver " << GetParam() << " has no graphs";
  LOAD_OR_SKIP(code);
  ASSERT_TRUE(stream->prepare(*code).ok());
  ASSERT_TRUE(stream->beginCapture().ok());
  EXPECT_TRUE(dispatch(*code, "fails", {}, fb::Grid::All).ok());
  auto graph = stream->endCapture();
  ASSERT_TRUE(graph.ok()) << graph.status().toString();
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(stream->launch(**graph).ok());
    EXPECT_EQ(stream->synchronize(deadlineIn(10)).number(), 14);
  }
  EXPECT_TRUE(stream->synchronize(deadlineIn(10)).ok()) << "said once";
}

static std::vector<std::string> driverNames() {
  std::vector<std::string> names;
  for (Driver *driver : drivers())
    names.push_back(driver->name());
  return names;
}

INSTANTIATE_TEST_SUITE_P(Drivers, Conformance, testing::ValuesIn(driverNames()),
                         [](const auto &info) { return info.param; });
