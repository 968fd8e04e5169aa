//===- StreamTest.cpp - Streams, events, and what forgets them ------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"

#include <atomic>
#include <cmath>
#include <thread>

using namespace standin_test;

TEST(StandInStream, WorkIsAsynchronousAndInOrder) {
  for (const char *schedule : {"late", "eager", "random:3", "random:4"}) {
    Outcome outcome = run({{"SCHEDULE", schedule}}, [](Api &api) {
      Session session(api);
      CUdeviceptr x = session.upload({1, 2, 3});
      for (float factor : {2.0f, 3.0f, 0.5f})
        EXPECT_EQ(CUDA_SUCCESS, session.launchScale(x, factor, 3));
      EXPECT_EQ(CUDA_SUCCESS, api.cuStreamSynchronize(session.stream));
      // ((x * 2 + 1) * 3 + 1) / 2 + 1
      EXPECT_EQ((std::vector<float>{6, 9, 12}), session.download(x, 3));
      EXPECT_EQ(CUDA_SUCCESS, api.cuMemFree_v2(x));
      return 0;
    });
    EXPECT_TRUE(outcome.report.empty());
  }
}

TEST(StandInStream, ForgottenWaitIsSeen) {
  run({}, [](Api &api) {
    Session session(api);
    CUdeviceptr x = session.upload({1, 2, 3});
    EXPECT_EQ(CUDA_SUCCESS, session.launchScale(x, 2, 3));
    std::vector<float> values(3, -1);
    EXPECT_EQ(CUDA_SUCCESS,
              api.cuMemcpyDtoHAsync_v2(values.data(), x, 12, session.stream));
    EXPECT_EQ((std::vector<float>{-1, -1, -1}), values);
    EXPECT_EQ(CUDA_ERROR_NOT_READY, api.cuStreamQuery(session.stream));
    while (api.cuStreamQuery(session.stream) == CUDA_ERROR_NOT_READY)
      std::this_thread::yield();
    EXPECT_EQ((std::vector<float>{3, 5, 7}), values);
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemFree_v2(x));
    return 0;
  });
}

/// Uploads on one stream and computes on another; with or without the event
/// between them. Returns the first value.
static float acrossStreams(Api &api, bool ordered) {
  Session session(api);
  CUstream other = nullptr;
  CUevent event = nullptr;
  EXPECT_EQ(CUDA_SUCCESS, api.cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
  EXPECT_EQ(CUDA_SUCCESS, api.cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
  CUdeviceptr x = session.upload({0, 0});
  std::vector<float> values{4, 5};
  EXPECT_EQ(CUDA_SUCCESS, api.cuMemcpyHtoDAsync_v2(x, values.data(), 8, other));
  EXPECT_EQ(CUDA_SUCCESS, api.cuEventRecord(event, other));
  if (ordered)
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamWaitEvent(session.stream, event, 0));
  EXPECT_EQ(CUDA_SUCCESS, session.launchScale(x, 10, 2));
  EXPECT_EQ(CUDA_SUCCESS, api.cuStreamSynchronize(session.stream));
  float result = session.download(x, 1)[0];
  EXPECT_EQ(CUDA_SUCCESS, api.cuEventDestroy_v2(event));
  EXPECT_EQ(CUDA_SUCCESS, api.cuStreamDestroy_v2(other));
  EXPECT_EQ(CUDA_SUCCESS, api.cuMemFree_v2(x));
  return result;
}

TEST(StandInStream, EventsOrderStreams) {
  run({}, [](Api &api) {
    EXPECT_EQ(41, acrossStreams(api, true));
    return 0;
  });
}

TEST(StandInStream, ForgottenEventIsSeen) {
  run({}, [](Api &api) {
    // The other stream is put off: the kernel read memory before the upload.
    EXPECT_EQ(1, acrossStreams(api, false));
    return 0;
  });
}

TEST(StandInStream, LegacyStreamWaitsForBlockingOnes) {
  run({}, [](Api &api) {
    Session session(api);
    CUstream blocking = nullptr;
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamCreate(&blocking, 0));
    CUdeviceptr x = session.upload({1, 2, 3});
    EXPECT_EQ(CUDA_SUCCESS, session.launchScale(x, 2, 3, blocking));
    EXPECT_EQ(CUDA_SUCCESS, session.launchScale(x, 3, 3, streamLegacy()));
    EXPECT_EQ(CUDA_SUCCESS, session.launchScale(x, 4, 3, blocking));
    // The copy is in the legacy stream, behind all of them.
    EXPECT_EQ((std::vector<float>{41, 65, 89}), session.download(x, 3));
    // A stream that does not block is not waited for.
    EXPECT_EQ(CUDA_SUCCESS, session.launchScale(x, 0, 3));
    EXPECT_EQ((std::vector<float>{41, 65, 89}), session.download(x, 3));
    EXPECT_EQ(CUDA_SUCCESS, api.cuCtxSynchronize());
    EXPECT_EQ((std::vector<float>{1, 1, 1}), session.download(x, 3));
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamDestroy_v2(blocking));
    EXPECT_EQ(CUDA_ERROR_INVALID_HANDLE, api.cuStreamSynchronize(blocking));
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemFree_v2(x));
    return 0;
  });
}

TEST(StandInStream, DestroyedStreamFinishesItsWork) {
  Outcome outcome = run({}, [](Api &api) {
    Session session(api);
    CUstream other = nullptr;
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
    CUdeviceptr x = session.upload({1});
    EXPECT_EQ(CUDA_SUCCESS, session.launchScale(x, 5, 1, other));
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamDestroy_v2(other));
    EXPECT_EQ(CUDA_SUCCESS, api.cuCtxSynchronize());
    EXPECT_EQ((std::vector<float>{6}), session.download(x, 1));
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemFree_v2(x));
    return 0;
  });
  EXPECT_TRUE(outcome.report.empty());
}

TEST(StandInStream, EventsMeasureTime) {
  run({}, [](Api &api) {
    Session session(api);
    CUevent start = nullptr, end = nullptr, untimed = nullptr;
    EXPECT_EQ(CUDA_SUCCESS, api.cuEventCreate(&start, 0));
    EXPECT_EQ(CUDA_SUCCESS, api.cuEventCreate(&end, 0));
    EXPECT_EQ(CUDA_SUCCESS,
              api.cuEventCreate(&untimed, CU_EVENT_DISABLE_TIMING));
    float time = -1;
    EXPECT_EQ(CUDA_ERROR_INVALID_HANDLE,
              api.cuEventElapsedTime(&time, start, end));
    EXPECT_EQ(CUDA_SUCCESS, api.cuEventQuery(end));
    EXPECT_EQ(CUDA_SUCCESS, api.cuEventRecord(start, session.stream));
    EXPECT_EQ(CUDA_SUCCESS, api.cuEventRecord(end, session.stream));
    EXPECT_EQ(CUDA_SUCCESS, api.cuEventRecord(untimed, session.stream));
    EXPECT_EQ(CUDA_ERROR_NOT_READY, api.cuEventElapsedTime(&time, start, end));
    EXPECT_EQ(CUDA_ERROR_NOT_READY, api.cuEventQuery(end));
    EXPECT_EQ(CUDA_SUCCESS, api.cuEventSynchronize(untimed));
    EXPECT_EQ(CUDA_SUCCESS, api.cuEventElapsedTime(&time, start, end));
    EXPECT_GE(time, 0);
    EXPECT_EQ(CUDA_ERROR_INVALID_HANDLE,
              api.cuEventElapsedTime(&time, start, untimed));
    for (CUevent event : {start, end, untimed})
      EXPECT_EQ(CUDA_SUCCESS, api.cuEventDestroy_v2(event));
    return 0;
  });
}

TEST(StandInStream, HostFunctionsRunInOrderAndMayNotCall) {
  Outcome outcome = run({}, [](Api &api) {
    Session session(api);
    struct State {
      Api &api;
      std::atomic<int> result{-1};
    } state{api};
    EXPECT_EQ(CUDA_SUCCESS, api.cuLaunchHostFunc(
                                session.stream,
                                [](void *data) {
                                  auto *state = static_cast<State *>(data);
                                  CUdeviceptr pointer = 0;
                                  state->result =
                                      state->api.cuMemAlloc_v2(&pointer, 4);
                                },
                                &state));
    // Comes by itself: whoever waits for it need not ask the driver.
    while (state.result == -1)
      std::this_thread::yield();
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamSynchronize(session.stream));
    EXPECT_EQ(CUDA_ERROR_NOT_PERMITTED, state.result);
    return 0;
  });
  EXPECT_TRUE(outcome.reports("cuMemAlloc_v2: called by a host function"));
}

TEST(StandInContext, StackAndCounts) {
  Outcome outcome = run({{"COUNT", "2"}}, [](Api &api) {
    EXPECT_EQ(CUDA_SUCCESS, api.cuInit(0));
    CUcontext first = nullptr, again = nullptr, second = nullptr;
    CUdeviceptr x = 0;
    EXPECT_EQ(CUDA_ERROR_INVALID_CONTEXT, api.cuMemAlloc_v2(&x, 4));
    EXPECT_EQ(CUDA_SUCCESS, api.cuDevicePrimaryCtxRetain(&first, 0));
    EXPECT_EQ(CUDA_SUCCESS, api.cuDevicePrimaryCtxRetain(&again, 0));
    EXPECT_EQ(CUDA_SUCCESS, api.cuDevicePrimaryCtxRetain(&second, 1));
    EXPECT_EQ(first, again);
    EXPECT_NE(first, second);
    EXPECT_EQ(CUDA_SUCCESS, api.cuCtxPushCurrent_v2(first));
    EXPECT_EQ(CUDA_SUCCESS, api.cuCtxPushCurrent_v2(second));
    CUdevice device = -1;
    EXPECT_EQ(CUDA_SUCCESS, api.cuCtxGetDevice(&device));
    EXPECT_EQ(1, device);
    CUcontext popped = nullptr;
    EXPECT_EQ(CUDA_SUCCESS, api.cuCtxPopCurrent_v2(&popped));
    EXPECT_EQ(second, popped);
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemAlloc_v2(&x, 4));
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemFree_v2(x));
    EXPECT_EQ(CUDA_SUCCESS, api.cuDevicePrimaryCtxRelease_v2(0));
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemAlloc_v2(&x, 4));
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemFree_v2(x));
    EXPECT_EQ(CUDA_SUCCESS, api.cuDevicePrimaryCtxRelease_v2(0));
    EXPECT_EQ(CUDA_ERROR_CONTEXT_IS_DESTROYED, api.cuMemAlloc_v2(&x, 4));
    EXPECT_EQ(CUDA_ERROR_INVALID_CONTEXT, api.cuDevicePrimaryCtxRelease_v2(0));
    EXPECT_EQ(CUDA_ERROR_INVALID_CONTEXT, api.cuCtxSetCurrent(first));
    EXPECT_EQ(CUDA_SUCCESS, api.cuDevicePrimaryCtxRelease_v2(1));
    return 0;
  });
  EXPECT_FALSE(outcome.reports("leak"));
}
