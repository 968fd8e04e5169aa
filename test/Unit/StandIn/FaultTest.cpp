//===- FaultTest.cpp - Failures of the k-th call --------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"

using namespace standin_test;

/// A small program that checks every call and gives everything back, whatever
/// fails. Returns the first failure.
static CUresult program(Api &api) {
  CUresult first = CUDA_SUCCESS;
  auto note = [&](CUresult result) {
    if (first == CUDA_SUCCESS)
      first = result;
    return result == CUDA_SUCCESS;
  };
  CUcontext context = nullptr;
  CUstream stream = nullptr;
  CUmodule module = nullptr;
  CUevent event = nullptr;
  CUdeviceptr x = 0, y = 0;
  std::vector<float> values{1, 2, 3};
  int count = 0;
  auto work = [&] {
    std::string ptx = makePtx("sm_80", "7.0");
    CUfunction function = nullptr;
    if (!note(api.cuCtxSetCurrent(context)) ||
        !note(api.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING)) ||
        !note(api.cuEventCreate(&event, 0)) ||
        !note(api.cuModuleLoadDataEx(&module, ptx.c_str(), 0, nullptr,
                                     nullptr)) ||
        !note(api.cuModuleGetFunction(&function, module, "scale")) ||
        !note(api.cuMemAlloc_v2(&x, 12)) ||
        !note(api.cuMemAllocAsync(&y, 12, stream)) ||
        !note(api.cuMemcpyHtoDAsync_v2(x, values.data(), 12, stream)))
      return;
    float factor = 2;
    unsigned size = 3;
    for (int i = 0; i < 3; ++i) {
      void *params[] = {&x, &factor, &size};
      if (!note(api.cuLaunchKernel(function, 1, 1, 1, 3, 1, 1, 0, stream,
                                   params, nullptr)))
        return;
    }
    if (!note(api.cuMemcpyDtoDAsync_v2(y, x, 12, stream)) ||
        !note(api.cuMemcpyDtoHAsync_v2(values.data(), y, 12, stream)) ||
        !note(api.cuEventRecord(event, stream)) ||
        !note(api.cuEventSynchronize(event)))
      return;
    EXPECT_EQ((std::vector<float>{15, 23, 31}), values);
  };
  if (!note(api.cuInit(0)) || !note(api.cuDeviceGetCount(&count)) ||
      !note(api.cuDevicePrimaryCtxRetain(&context, 0)))
    return first;
  work();
  if (y)
    note(api.cuMemFreeAsync(y, stream));
  if (x)
    note(api.cuMemFree_v2(x));
  if (event)
    note(api.cuEventDestroy_v2(event));
  if (module)
    note(api.cuModuleUnload(module));
  if (stream)
    note(api.cuStreamDestroy_v2(stream));
  note(api.cuDevicePrimaryCtxRelease_v2(0));
  return first;
}

/// Runs the program with one failure and expects it to be its result, with
/// nothing left.
static void expectFailure(const std::string &failure, int expected) {
  SCOPED_TRACE(failure);
  Outcome outcome = run({{"FAIL", failure}}, [&](Api &api) {
    EXPECT_EQ(expected, int(program(api)));
    return 0;
  });
  EXPECT_TRUE(outcome.report.empty())
      << (outcome.report.empty() ? "" : outcome.report.front());
}

TEST(StandInFaults, EveryCallOfEveryFunctionFails) {
  Outcome good = run({}, [](Api &api) { return int(program(api)); });
  EXPECT_TRUE(good.report.empty());
  EXPECT_EQ(3, good.counts["cuLaunchKernel"]);
  EXPECT_GE(good.counts.size(), 19u);
  for (const auto &[function, calls] : good.counts)
    for (int call = 1; call <= calls; ++call)
      expectFailure(function + ":" + std::to_string(call) + ":304", 304);
}

TEST(StandInFaults, ErrorsHaveLikelyDefaults) {
  expectFailure("cuMemAlloc:1", CUDA_ERROR_OUT_OF_MEMORY);
  expectFailure("cuModuleLoadDataEx:1", CUDA_ERROR_OUT_OF_MEMORY);
  expectFailure("cuEventSynchronize:1", CUDA_ERROR_UNKNOWN);
  expectFailure("cuInit:1:CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
                CUDA_ERROR_SYSTEM_DRIVER_MISMATCH);
}

TEST(StandInFaults, AsynchronousOnesComeLater) {
  // The launches succeed; who waits for them gets the error.
  for (int call = 1; call <= 3; ++call)
    expectFailure("cuLaunchKernel:" + std::to_string(call) + ":async",
                  CUDA_ERROR_LAUNCH_FAILED);
  expectFailure("cuMemcpyDtoHAsync:1:async:CUDA_ERROR_ECC_UNCORRECTABLE",
                CUDA_ERROR_ECC_UNCORRECTABLE);
  Outcome outcome = run({{"FAIL", "cuLaunchKernel:2:async"}}, [](Api &api) {
    program(api);
    return 0;
  });
  for (const std::string &line : outcome.log) {
    if (line.rfind("cuLaunchKernel ", 0) == 0) {
      EXPECT_NE(std::string::npos, line.find("CUDA_SUCCESS")) << line;
    }
    if (line.rfind("cuEventSynchronize", 0) == 0) {
      EXPECT_EQ("cuEventSynchronize = CUDA_ERROR_LAUNCH_FAILED", line);
    }
  }
}

TEST(StandInFaults, FatalOnesStay) {
  Outcome outcome = run({{"FAIL", "cuEventRecord:1:719"}}, [](Api &api) {
    Session session(api);
    CUevent event = nullptr;
    EXPECT_EQ(CUDA_SUCCESS, api.cuEventCreate(&event, 0));
    EXPECT_EQ(CUDA_ERROR_LAUNCH_FAILED,
              api.cuEventRecord(event, session.stream));
    EXPECT_EQ(CUDA_ERROR_LAUNCH_FAILED,
              api.cuEventRecord(event, session.stream));
    EXPECT_EQ(CUDA_ERROR_LAUNCH_FAILED, api.cuEventDestroy_v2(event));
    return 0;
  });
  EXPECT_TRUE(outcome.report.empty());
}

TEST(StandInFaults, OfACaptureComeWithTheReplay) {
  Outcome outcome = run({{"FAIL", "cuLaunchKernel:1:async"}}, [](Api &api) {
    Session session(api);
    CUgraph graph = nullptr;
    CUgraphExec exec = nullptr;
    CUdeviceptr x = session.upload({1});
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamBeginCapture_v2(session.stream, 2));
    EXPECT_EQ(CUDA_SUCCESS, session.launchScale(x, 2, 1));
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamEndCapture(session.stream, &graph));
    EXPECT_EQ(CUDA_SUCCESS, api.cuGraphInstantiateWithFlags(&exec, graph, 0));
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamSynchronize(session.stream));
    EXPECT_EQ(CUDA_SUCCESS, api.cuGraphLaunch(exec, session.stream));
    EXPECT_EQ(CUDA_ERROR_LAUNCH_FAILED,
              api.cuStreamSynchronize(session.stream));
    api.cuGraphExecDestroy(exec);
    api.cuGraphDestroy(graph);
    api.cuMemFree_v2(x);
    return 0;
  });
  EXPECT_TRUE(outcome.report.empty());
}

TEST(StandInFaults, UseOfADestroyedObjectIsSeen) {
  Outcome outcome = run({}, [](Api &api) {
    Session session(api);
    CUevent event = nullptr;
    EXPECT_EQ(CUDA_SUCCESS, api.cuEventCreate(&event, 0));
    EXPECT_EQ(CUDA_SUCCESS, api.cuEventDestroy_v2(event));
    EXPECT_EQ(CUDA_ERROR_INVALID_HANDLE,
              api.cuEventRecord(event, session.stream));
    EXPECT_EQ(CUDA_ERROR_INVALID_HANDLE, api.cuEventDestroy_v2(event));
    // A handle of another kind is none either.
    EXPECT_EQ(
        CUDA_ERROR_INVALID_HANDLE,
        api.cuStreamSynchronize(reinterpret_cast<CUstream>(session.module)));
    return 0;
  });
  EXPECT_EQ(3u, outcome.report.size());
}
