//===- MemoryTest.cpp - Memory, its checks, leaks -------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"

#include <csignal>
#include <fstream>

using namespace standin_test;

TEST(StandInMemory, IsLimited) {
  Outcome outcome = run({{"MEMORY", "1048576"}}, [](Api &api) {
    Session session(api);
    size_t free = 0, total = 0;
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemGetInfo_v2(&free, &total));
    EXPECT_EQ(1048576u, total);
    EXPECT_EQ(total, free);
    CUdeviceptr x = session.allocate(1000000), y = 0;
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemGetInfo_v2(&free, &total));
    EXPECT_LE(free, 48576u);
    EXPECT_EQ(CUDA_ERROR_OUT_OF_MEMORY, api.cuMemAlloc_v2(&y, 100000));
    EXPECT_EQ(CUDA_ERROR_INVALID_VALUE, api.cuMemAlloc_v2(&y, 0));
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemFree_v2(x));
    // What is being freed in stream order is waited for.
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemAllocAsync(&x, 900000, session.stream));
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemFreeAsync(x, session.stream));
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemAllocAsync(&y, 900000, session.stream));
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemFreeAsync(y, session.stream));
    return 0;
  });
  EXPECT_TRUE(outcome.report.empty());
}

TEST(StandInMemory, CopiesAreChecked) {
  Outcome outcome = run({}, [](Api &api) {
    Session session(api);
    std::vector<float> host(8, 1);
    CUdeviceptr x = session.upload(host);
    auto upload = [&](CUdeviceptr to, size_t size) {
      return api.cuMemcpyHtoDAsync_v2(to, host.data(), size, session.stream);
    };
    EXPECT_EQ(CUDA_SUCCESS, upload(x + 4, 28));
    EXPECT_EQ(CUDA_ERROR_INVALID_VALUE, upload(x + 8, 28));
    EXPECT_EQ(CUDA_ERROR_INVALID_VALUE,
              upload(reinterpret_cast<CUdeviceptr>(host.data()), 4));
    EXPECT_EQ(CUDA_ERROR_INVALID_VALUE,
              api.cuMemcpyDtoH_v2(reinterpret_cast<void *>(x), x, 4));
    EXPECT_EQ(CUDA_ERROR_INVALID_VALUE, api.cuMemcpyDtoD_v2(x, x + 4, 8));
    EXPECT_EQ(CUDA_ERROR_INVALID_VALUE, api.cuMemsetD32_v2(x + 2, 0, 1));
    EXPECT_EQ(CUDA_ERROR_INVALID_VALUE, api.cuMemsetD8_v2(x, 0, 33));
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemsetD32_v2(x, 0x40000000, 8));
    EXPECT_EQ(std::vector<float>(8, 2.0f), session.download(x, 8));
    EXPECT_EQ(CUDA_ERROR_INVALID_VALUE, api.cuMemFree_v2(x + 4));
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemFree_v2(x));
    EXPECT_EQ(CUDA_ERROR_INVALID_VALUE, api.cuMemFree_v2(x));
    EXPECT_EQ(CUDA_ERROR_INVALID_VALUE, upload(x, 4));
    return 0;
  });
  EXPECT_TRUE(outcome.reports("end 4 bytes behind allocation #"));
  EXPECT_TRUE(outcome.reports("is not device memory"));
  EXPECT_TRUE(outcome.reports("must be host memory and is in the device's"));
  EXPECT_TRUE(outcome.reports("is in freed memory (allocation #"));
  EXPECT_EQ(9u, outcome.report.size());
}

TEST(StandInMemory, HoldsNaNUntilWritten) {
  Outcome outcome = run({}, [](Api &api) {
    Session session(api);
    CUdeviceptr x = session.allocate(64);
    for (float value : session.download(x, 16))
      EXPECT_NE(value, value);
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemsetD8_v2(x, 0, 40));
    EXPECT_EQ(0, session.download(x, 10)[9]);
    session.download(x, 16);
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemFree_v2(x));
    return 0;
  });
  ASSERT_EQ(2u, outcome.report.size());
  EXPECT_TRUE(outcome.reports("unwritten-copy: cuMemcpyDtoH_v2: byte 0 of 64"));
  EXPECT_TRUE(outcome.reports("cuMemcpyDtoH_v2: byte 40 of 64 was never "));
}

TEST(StandInMemory, StreamOrderIsFollowed) {
  Outcome outcome = run({}, [](Api &api) {
    Session session(api);
    CUdeviceptr x = 0;
    std::vector<float> values{1, 2};
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemAllocAsync(&x, 8, session.stream));
    EXPECT_EQ(CUDA_SUCCESS,
              api.cuMemcpyHtoDAsync_v2(x, values.data(), 8, session.stream));
    EXPECT_EQ(CUDA_SUCCESS, session.launchScale(x, 2, 2));
    EXPECT_EQ(CUDA_SUCCESS,
              api.cuMemcpyDtoHAsync_v2(values.data(), x, 8, session.stream));
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemFreeAsync(x, session.stream));
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamSynchronize(session.stream));
    EXPECT_EQ((std::vector<float>{3, 5}), values);
    return 0;
  });
  EXPECT_TRUE(outcome.report.empty());
  // Used on another stream, which does not wait for the allocation.
  outcome = run({}, [](Api &api) {
    Session session(api);
    CUstream other = nullptr;
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
    CUdeviceptr x = 0;
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemAllocAsync(&x, 8, other));
    EXPECT_EQ(CUDA_SUCCESS, session.launchScale(x, 2, 2));
    EXPECT_EQ(CUDA_ERROR_ILLEGAL_ADDRESS,
              api.cuStreamSynchronize(session.stream));
    api.cuStreamDestroy_v2(other);
    return 0;
  });
  EXPECT_TRUE(outcome.reports("is not allocated yet in stream order"));
}

TEST(StandInMemory, UseAfterFreeInStreamOrder) {
  Outcome outcome = run({}, [](Api &api) {
    Session session(api);
    CUdeviceptr x = 0;
    float value = 1;
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemAllocAsync(&x, 4, session.stream));
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemFreeAsync(x, session.stream));
    EXPECT_EQ(CUDA_ERROR_INVALID_VALUE, api.cuMemFreeAsync(x, session.stream));
    EXPECT_EQ(CUDA_SUCCESS,
              api.cuMemcpyHtoDAsync_v2(x, &value, 4, session.stream));
    EXPECT_EQ(CUDA_ERROR_ILLEGAL_ADDRESS,
              api.cuStreamSynchronize(session.stream));
    return 0;
  });
  EXPECT_TRUE(outcome.reports("was freed before"));
  EXPECT_TRUE(outcome.reports("order: cuMemcpyHtoDAsync_v2: destination: "));
}

TEST(StandInMemory, HostCannotTouchDeviceMemory) {
  std::ifstream cpu("/proc/cpuinfo");
  std::string text((std::istreambuf_iterator<char>(cpu)), {});
  if (text.find(" ospke") == std::string::npos)
    GTEST_SKIP() << "this processor has no protection keys";
  run(
      {},
      [](Api &api) {
        Session session(api);
        CUdeviceptr x = session.upload({1});
        std::signal(SIGSEGV, SIG_DFL);
        return int(*reinterpret_cast<volatile float *>(x));
      },
      128 + SIGSEGV);
}

TEST(StandInMemory, PointersAreKnown) {
  run({}, [](Api &api) {
    Session session(api);
    CUdeviceptr x = session.allocate(100), begin = 0;
    void *host = nullptr;
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemHostAlloc(&host, 100, 0));
    unsigned type = 0;
    EXPECT_EQ(CUDA_SUCCESS,
              api.cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                        x + 99));
    EXPECT_EQ(unsigned(CU_MEMORYTYPE_DEVICE), type);
    EXPECT_EQ(CUDA_SUCCESS,
              api.cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                        reinterpret_cast<CUdeviceptr>(host)));
    EXPECT_EQ(unsigned(CU_MEMORYTYPE_HOST), type);
    EXPECT_EQ(CUDA_ERROR_INVALID_VALUE,
              api.cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                        reinterpret_cast<CUdeviceptr>(&type)));
    size_t size = 0;
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemGetAddressRange_v2(&begin, &size, x + 50));
    EXPECT_EQ(x, begin);
    EXPECT_EQ(100u, size);
    EXPECT_EQ(0u, x % 256);
    char own[64];
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemHostRegister_v2(own, 64, 0));
    EXPECT_EQ(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED,
              api.cuMemHostRegister_v2(own + 8, 8, 0));
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemHostUnregister(own));
    EXPECT_EQ(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED,
              api.cuMemHostUnregister(own));
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemFreeHost(host));
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemFree_v2(x));
    return 0;
  });
}

TEST(StandInMemory, PoolsKeepTheirAttributes) {
  run({}, [](Api &api) {
    Session session(api);
    CUmemoryPool pool = nullptr;
    EXPECT_EQ(CUDA_ERROR_INVALID_DEVICE,
              api.cuDeviceGetDefaultMemPool(&pool, 1));
    EXPECT_EQ(CUDA_SUCCESS, api.cuDeviceGetDefaultMemPool(&pool, 0));
    uint64_t threshold = 12345, value = 0;
    EXPECT_EQ(CUDA_SUCCESS,
              api.cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD,
                                        &threshold));
    EXPECT_EQ(CUDA_SUCCESS,
              api.cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD,
                                        &value));
    EXPECT_EQ(threshold, value);
    CUdeviceptr x = 0;
    EXPECT_EQ(CUDA_SUCCESS,
              api.cuMemAllocFromPoolAsync(&x, 512, pool, session.stream));
    EXPECT_EQ(CUDA_SUCCESS,
              api.cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT,
                                        &value));
    EXPECT_EQ(512u, value);
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemFreeAsync(x, session.stream));
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemPoolTrimTo(pool, 0));
    EXPECT_EQ(CUDA_ERROR_INVALID_VALUE, api.cuMemPoolTrimTo(nullptr, 0));
    return 0;
  });
}

TEST(StandInLeaks, AreReported) {
  Outcome outcome = run({}, [](Api &api) {
    CUevent event = nullptr;
    {
      Session session(api);
      session.allocate(1000);
      session.allocate(24);
      EXPECT_EQ(CUDA_SUCCESS, api.cuEventCreate(&event, 0));
      EXPECT_EQ(CUDA_SUCCESS, api.cuStreamBeginCapture_v2(session.stream, 0));
      CUgraph graph = nullptr;
      EXPECT_EQ(CUDA_SUCCESS, api.cuStreamEndCapture(session.stream, &graph));
    }
    CUcontext context = nullptr;
    EXPECT_EQ(CUDA_SUCCESS, api.cuDevicePrimaryCtxRetain(&context, 0));
    return 0;
  });
  ASSERT_EQ(4u, outcome.report.size());
  EXPECT_TRUE(outcome.reports("leak: 2 device allocations (1024 bytes; first: "
                              "allocation #"));
  EXPECT_TRUE(outcome.reports("of 1000 bytes) left when the context was "
                              "released"));
  EXPECT_TRUE(outcome.reports("leak: 1 event left when the context was "));
  EXPECT_TRUE(outcome.reports("leak: 1 graph left when the context was "));
  EXPECT_TRUE(outcome.reports(
      "leak: 1 primary context left at the end of the process"));
}
