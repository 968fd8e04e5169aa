//===- LaunchTest.cpp - Launches, their checks, findings ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"

using namespace standin_test;

TEST(StandInLaunch, Computes) {
  Outcome outcome = run({}, [](Api &api) {
    Session session(api);
    unsigned n = 333;
    std::vector<float> a(n), b(n);
    for (unsigned i = 0; i < n; ++i) {
      a[i] = float(i) * 0.5f;
      b[i] = 3.25f - float(i * i % 101);
    }
    CUdeviceptr x = session.upload(a), y = session.upload(b);
    CUdeviceptr out = session.allocate(n * 4);
    EXPECT_EQ(CUDA_SUCCESS, session.launch("add", 3, 128, {&out, &x, &y, &n}));
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamSynchronize(session.stream));
    std::vector<float> result = session.download(out, n);
    for (unsigned i = 0; i < n; ++i)
      EXPECT_EQ(a[i] + b[i], result[i]);
    for (CUdeviceptr pointer : {x, y, out})
      EXPECT_EQ(CUDA_SUCCESS, api.cuMemFree_v2(pointer));
    return 0;
  });
  EXPECT_TRUE(outcome.report.empty());
  EXPECT_EQ(1, outcome.counts["cuLaunchKernel"]);
  bool logged = false;
  for (const std::string &line : outcome.log)
    logged |= line == "cuLaunchKernel add grid 3,1,1 block 128,1,1 shared 0 = "
                      "CUDA_SUCCESS";
  EXPECT_TRUE(logged);
}

TEST(StandInLaunch, TakesPackedParameters) {
  run({}, [](Api &api) {
    Session session(api);
    CUdeviceptr x = session.upload({1, 2, 3});
    struct {
      CUdeviceptr x;
      float factor;
      unsigned count;
    } packed = {x, 3, 3};
    size_t size = sizeof(packed);
    void *extra[] = {reinterpret_cast<void *>(1), &packed,
                     reinterpret_cast<void *>(2), &size, nullptr};
    auto launch = [&] {
      return api.cuLaunchKernel(session.function("scale"), 1, 1, 1, 3, 1, 1, 0,
                                session.stream, nullptr, extra);
    };
    EXPECT_EQ(CUDA_SUCCESS, launch());
    size = 12;
    EXPECT_EQ(CUDA_ERROR_INVALID_VALUE, launch());
    size = 24;
    EXPECT_EQ(CUDA_ERROR_INVALID_VALUE, launch());
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamSynchronize(session.stream));
    EXPECT_EQ((std::vector<float>{4, 7, 10}), session.download(x, 3));
    return 0;
  });
}

TEST(StandInLaunch, ChecksSizesAndParameters) {
  Outcome outcome = run({}, [](Api &api) {
    Session session(api);
    CUdeviceptr x = session.upload({1, 2, 3, 4});
    unsigned n = 4;
    auto add = [&](unsigned grid, unsigned block, std::vector<void *> params) {
      return session.launch("add", grid, block, std::move(params));
    };
    EXPECT_EQ(CUDA_ERROR_INVALID_VALUE, add(0, 32, {&x, &x, &x, &n}));
    EXPECT_EQ(CUDA_ERROR_INVALID_VALUE, add(1, 0, {&x, &x, &x, &n}));
    EXPECT_EQ(CUDA_ERROR_INVALID_VALUE, add(1, 129, {&x, &x, &x, &n}));
    EXPECT_EQ(CUDA_ERROR_INVALID_VALUE, add(1, 32, {&x, &x, &x, nullptr}));
    EXPECT_EQ(CUDA_ERROR_INVALID_VALUE,
              add(1, 32, {&x, &x, &x, reinterpret_cast<void *>(8)}));
    EXPECT_EQ(CUDA_ERROR_INVALID_VALUE,
              api.cuLaunchKernel(session.function("add"), 1, 70000, 1, 1, 1, 1,
                                 0, session.stream, nullptr, nullptr));
    EXPECT_EQ(CUDA_ERROR_INVALID_HANDLE,
              api.cuLaunchKernel(nullptr, 1, 1, 1, 1, 1, 1, 0, session.stream,
                                 nullptr, nullptr));
    // None of these is sticky.
    EXPECT_EQ(CUDA_SUCCESS, add(1, 32, {&x, &x, &x, &n}));
    EXPECT_EQ(CUDA_SUCCESS, api.cuCtxSynchronize());
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemFree_v2(x));
    return 0;
  });
  EXPECT_TRUE(outcome.reports(
      "kernel add: 129 threads per block, at most 128 are allowed"));
  EXPECT_TRUE(outcome.reports("kernel add: parameter 3 of 4 is missing"));
  EXPECT_TRUE(outcome.reports("kernel add: parameter 3 cannot be read"));
}

TEST(StandInLaunch, ChecksSharedMemory) {
  Outcome outcome = run({}, [](Api &api) {
    Session session(api);
    CUdeviceptr out = session.allocate(64);
    CUfunction function = session.function("shared");
    auto launch = [&](unsigned dynamic) {
      unsigned total = dynamic + 1024;
      return session.launch("shared", 1, 1, {&out, &total}, dynamic);
    };
    auto allow = [&](int bytes) {
      return api.cuFuncSetAttribute(
          function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes);
    };
    EXPECT_EQ(CUDA_SUCCESS, launch(47 * 1024));
    // With the 1 KiB of static shared memory, more than 48 KiB.
    EXPECT_EQ(CUDA_ERROR_INVALID_VALUE, launch(48 * 1024));
    EXPECT_EQ(CUDA_ERROR_INVALID_VALUE, launch(100 * 1024));
    EXPECT_EQ(CUDA_ERROR_INVALID_VALUE, allow(163 * 1024));
    EXPECT_EQ(CUDA_SUCCESS, allow(100 * 1024));
    EXPECT_EQ(CUDA_SUCCESS, launch(100 * 1024));
    EXPECT_EQ(CUDA_ERROR_INVALID_VALUE, launch(100 * 1024 + 16));
    EXPECT_EQ(CUDA_SUCCESS, api.cuCtxSynchronize());
    int blocks = 0;
    EXPECT_EQ(CUDA_SUCCESS, api.cuOccupancyMaxActiveBlocksPerMultiprocessor(
                                &blocks, function, 256, 51 * 1024));
    EXPECT_EQ(3, blocks);
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemFree_v2(out));
    return 0;
  });
  EXPECT_TRUE(outcome.reports("but the function's attribute allows 49152"));
  EXPECT_EQ(3u, outcome.report.size());
}

TEST(StandInLaunch, ChecksClusters) {
  run({}, [](Api &api) {
    Session session(api);
    CUdeviceptr out = session.allocate(64);
    unsigned none = 0;
    EXPECT_EQ(CUDA_ERROR_INVALID_CLUSTER_SIZE,
              session.launch("pair", 4, 32, {&out, &none}));
    return 0;
  });
  run({{"DEVICE", "sm_90"}}, [](Api &api) {
    Session session(api, "sm_90a", "8.0");
    CUdeviceptr out = session.allocate(64);
    unsigned none = 0;
    EXPECT_EQ(CUDA_SUCCESS, session.launch("pair", 4, 1, {&out, &none}));
    EXPECT_EQ(CUDA_ERROR_INVALID_CLUSTER_SIZE,
              session.launch("pair", 3, 1, {&out, &none}));
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamSynchronize(session.stream));
    uint32_t ranks[4];
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemcpyDtoH_v2(ranks, out, sizeof(ranks)));
    EXPECT_EQ(32u, ranks[0]);
    EXPECT_EQ(33u, ranks[1]);
    EXPECT_EQ(32u, ranks[2]);
    // A cluster that only the launch asks for.
    CUlaunchAttribute attribute = {};
    attribute.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
    attribute.value.clusterDim = {4, 1, 1};
    CUlaunchConfig config = {4,          1, 1, 1, 1, 1, 0, session.stream,
                             &attribute, 1};
    void *params[] = {&out, &none};
    CUfunction function = session.function("shared");
    EXPECT_EQ(CUDA_SUCCESS,
              api.cuLaunchKernelEx(&config, function, params, nullptr));
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamSynchronize(session.stream));
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemcpyDtoH_v2(ranks, out, sizeof(ranks)));
    EXPECT_EQ(67u, ranks[3]);
    config.gridDimX = 16;
    attribute.value.clusterDim.x = 16;
    EXPECT_EQ(CUDA_ERROR_INVALID_CLUSTER_SIZE,
              api.cuLaunchKernelEx(&config, function, params, nullptr));
    return 0;
  });
}

/// Runs `store` on 64 bytes and returns what the stream says in the end.
static Outcome storeAt(unsigned offset, CUresult expected,
                       const Variables &variables = {}) {
  return run(variables, [&](Api &api) {
    CUdeviceptr x = 0;
    {
      Session session(api);
      x = session.allocate(64);
      CUfunction function = session.function("store");
      void *params[] = {&x, &offset};
      auto launch = [&] {
        return api.cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, session.stream,
                                  params, nullptr);
      };
      EXPECT_EQ(CUDA_SUCCESS, launch());
      EXPECT_EQ(expected, api.cuStreamSynchronize(session.stream));
      // Sticky: whatever comes next fails with it.
      CUdeviceptr other = 0;
      EXPECT_EQ(expected, api.cuMemAlloc_v2(&other, 64));
      EXPECT_EQ(expected, launch());
      // Giving back still gives back.
      EXPECT_EQ(expected, api.cuMemFree_v2(x));
    }
    // The next context is a fresh one.
    Session session(api);
    x = session.upload({1});
    EXPECT_EQ((std::vector<float>{1}), session.download(x, 1));
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemFree_v2(x));
    return 0;
  });
}

TEST(StandInLaunch, FindingsBecomeStickyErrors) {
  Outcome outcome = storeAt(64, CUDA_ERROR_ILLEGAL_ADDRESS);
  EXPECT_EQ(1u, outcome.report.size());
  EXPECT_TRUE(outcome.reports("out-of-bounds-global: kernel store"));
  outcome = storeAt(2, CUDA_ERROR_MISALIGNED_ADDRESS);
  EXPECT_TRUE(outcome.reports("misaligned: kernel store"));
}

TEST(StandInLaunch, ChecksCanBeSwitchedOff) {
  Outcome outcome = run({{"CHECK", "0"}}, [](Api &api) {
    Session session(api);
    CUdeviceptr x = session.upload({1});
    unsigned offset = 1 << 20;
    EXPECT_EQ(CUDA_SUCCESS, session.launch("store", 1, 1, {&x, &offset}));
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamSynchronize(session.stream));
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemFree_v2(x));
    return 0;
  });
  EXPECT_TRUE(outcome.report.empty());
}

TEST(StandInLaunch, RefusesFreedAndHostPointers) {
  Outcome outcome = run({}, [](Api &api) {
    Session session(api);
    CUdeviceptr x = session.upload({1, 2, 3, 4});
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemFree_v2(x));
    EXPECT_EQ(CUDA_SUCCESS, session.launchScale(x, 2, 4));
    EXPECT_EQ(CUDA_ERROR_ILLEGAL_ADDRESS,
              api.cuStreamSynchronize(session.stream));
    return 0;
  });
  EXPECT_TRUE(outcome.reports("launch: kernel scale: parameter 0: "));
  EXPECT_TRUE(outcome.reports("is in freed memory (allocation #"));
  outcome = run({}, [](Api &api) {
    Session session(api);
    std::vector<float> host(4, 1);
    EXPECT_EQ(
        CUDA_SUCCESS,
        session.launchScale(reinterpret_cast<CUdeviceptr>(host.data()), 2, 4));
    EXPECT_EQ(CUDA_ERROR_ILLEGAL_ADDRESS,
              api.cuStreamSynchronize(session.stream));
    return 0;
  });
  EXPECT_TRUE(outcome.reports("parameter 0: a pointer to ordinary host"));
}

TEST(StandInLaunch, UseBeforeUploadIsFound) {
  Outcome outcome = run({}, [](Api &api) {
    Session session(api);
    CUdeviceptr x = session.allocate(12);
    float values[] = {1, 2};
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemcpyHtoD_v2(x, values, 8));
    EXPECT_EQ(CUDA_SUCCESS, session.launchScale(x, 2, 2));
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamSynchronize(session.stream));
    EXPECT_EQ(CUDA_SUCCESS, session.launchScale(x, 2, 3));
    EXPECT_EQ(CUDA_ERROR_LAUNCH_FAILED,
              api.cuStreamSynchronize(session.stream));
    EXPECT_EQ(CUDA_ERROR_LAUNCH_FAILED, api.cuMemFree_v2(x));
    return 0;
  });
  ASSERT_EQ(1u, outcome.report.size());
  EXPECT_TRUE(outcome.reports("uninitialised-read: kernel scale"));
  EXPECT_TRUE(outcome.reports("load of 4 bytes at offset 8 of 'allocation #"));
}

TEST(StandInLaunch, AcceptsPageLockedMemory) {
  Outcome outcome = run({}, [](Api &api) {
    Session session(api);
    void *host = nullptr;
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemHostAlloc(&host, 12, 0));
    auto *values = static_cast<float *>(host);
    for (int i = 0; i < 3; ++i)
      values[i] = float(i);
    EXPECT_EQ(CUDA_SUCCESS,
              session.launchScale(reinterpret_cast<CUdeviceptr>(host), 2, 3));
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamSynchronize(session.stream));
    EXPECT_EQ(5, values[2]);
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemFreeHost(host));
    return 0;
  });
  EXPECT_TRUE(outcome.report.empty());
}
