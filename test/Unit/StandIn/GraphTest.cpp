//===- GraphTest.cpp - Capture and replay, and what forbids it ------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"

#include <thread>

using namespace standin_test;

/// What both a direct run and a graph do: upload, compute on two streams that
/// fork and join, download.
static void issue(Session &session, CUstream side, CUevent fork, CUevent join,
                  CUdeviceptr x, CUdeviceptr y, const float *in, float *out) {
  Api &api = session.api;
  EXPECT_EQ(CUDA_SUCCESS, api.cuMemcpyHtoDAsync_v2(x, in, 32, session.stream));
  EXPECT_EQ(CUDA_SUCCESS, session.launchScale(x, 2, 8));
  EXPECT_EQ(CUDA_SUCCESS, api.cuEventRecord(fork, session.stream));
  EXPECT_EQ(CUDA_SUCCESS, api.cuStreamWaitEvent(side, fork, 0));
  EXPECT_EQ(CUDA_SUCCESS, api.cuMemcpyDtoDAsync_v2(y, x, 16, side));
  EXPECT_EQ(CUDA_SUCCESS, session.launchScale(y, 3, 4, side));
  EXPECT_EQ(CUDA_SUCCESS, api.cuEventRecord(join, side));
  EXPECT_EQ(CUDA_SUCCESS, api.cuMemsetD32Async(x + 16, 0, 4, session.stream));
  EXPECT_EQ(CUDA_SUCCESS, api.cuStreamWaitEvent(session.stream, join, 0));
  EXPECT_EQ(CUDA_SUCCESS, api.cuMemcpyDtoDAsync_v2(x, y, 16, session.stream));
  EXPECT_EQ(CUDA_SUCCESS, api.cuMemcpyDtoHAsync_v2(out, x, 32, session.stream));
}

TEST(StandInGraph, ReplayGivesTheSameAsADirectRun) {
  for (const char *schedule : {"late", "eager", "random:1", "random:2"}) {
    Outcome outcome = run({{"SCHEDULE", schedule}}, [](Api &api) {
      Session session(api);
      CUstream side = nullptr;
      CUevent fork = nullptr, join = nullptr;
      EXPECT_EQ(CUDA_SUCCESS,
                api.cuStreamCreate(&side, CU_STREAM_NON_BLOCKING));
      EXPECT_EQ(CUDA_SUCCESS, api.cuEventCreate(&fork, 2));
      EXPECT_EQ(CUDA_SUCCESS, api.cuEventCreate(&join, 2));
      CUdeviceptr x = session.allocate(32), y = session.allocate(16);
      std::vector<float> in{1, 2, 3, 4, 5, 6, 7, 8}, direct(8), replayed(8);
      issue(session, side, fork, join, x, y, in.data(), direct.data());
      EXPECT_EQ(CUDA_SUCCESS, api.cuStreamSynchronize(session.stream));
      EXPECT_EQ((std::vector<float>{10, 16, 22, 28, 0, 0, 0, 0}), direct);

      EXPECT_EQ(CUDA_SUCCESS,
                api.cuStreamBeginCapture_v2(
                    session.stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
      issue(session, side, fork, join, x, y, in.data(), replayed.data());
      int status = 0;
      EXPECT_EQ(CUDA_SUCCESS, api.cuStreamIsCapturing(side, &status));
      EXPECT_EQ(CU_STREAM_CAPTURE_STATUS_ACTIVE, status);
      CUgraph graph = nullptr;
      EXPECT_EQ(CUDA_SUCCESS, api.cuStreamEndCapture(session.stream, &graph));
      EXPECT_EQ(CUDA_SUCCESS, api.cuStreamIsCapturing(side, &status));
      EXPECT_EQ(CU_STREAM_CAPTURE_STATUS_NONE, status);
      EXPECT_EQ(std::vector<float>(8, 0), replayed);
      size_t nodes = 0;
      EXPECT_EQ(CUDA_SUCCESS, api.cuGraphGetNodes(graph, nullptr, &nodes));
      EXPECT_EQ(7u, nodes);
      std::vector<CUgraphNode> handles(nodes);
      EXPECT_EQ(CUDA_SUCCESS,
                api.cuGraphGetNodes(graph, handles.data(), &nodes));
      int type = -1;
      EXPECT_EQ(CUDA_SUCCESS, api.cuGraphNodeGetType(handles[1], &type));
      EXPECT_EQ(CU_GRAPH_NODE_TYPE_KERNEL, type);
      CUgraphExec exec = nullptr;
      EXPECT_EQ(CUDA_SUCCESS, api.cuGraphInstantiateWithFlags(&exec, graph, 0));
      EXPECT_EQ(CUDA_SUCCESS, api.cuGraphDestroy(graph));
      EXPECT_EQ(CUDA_ERROR_INVALID_VALUE, api.cuGraphDestroy(graph));
      for (float first : {1.0f, -7.0f}) {
        // The graph reads the host's memory anew at every launch.
        in[0] = first;
        EXPECT_EQ(CUDA_SUCCESS, api.cuGraphLaunch(exec, session.stream));
        EXPECT_EQ(CUDA_SUCCESS, api.cuStreamSynchronize(session.stream));
        direct[0] = (first * 2 + 1) * 3 + 1;
        EXPECT_EQ(direct, replayed);
      }
      EXPECT_EQ(CUDA_SUCCESS, api.cuGraphExecDestroy(exec));
      EXPECT_EQ(CUDA_ERROR_INVALID_HANDLE,
                api.cuGraphLaunch(exec, session.stream));
      for (CUevent event : {fork, join})
        EXPECT_EQ(CUDA_SUCCESS, api.cuEventDestroy_v2(event));
      EXPECT_EQ(CUDA_SUCCESS, api.cuStreamDestroy_v2(side));
      for (CUdeviceptr pointer : {x, y})
        EXPECT_EQ(CUDA_SUCCESS, api.cuMemFree_v2(pointer));
      return 0;
    });
    EXPECT_EQ(2u, outcome.report.size());
    EXPECT_TRUE(outcome.reports("cuGraphDestroy: no such graph"));
    EXPECT_TRUE(outcome.reports("no such executable graph"));
  }
}

/// Begins a capture, does `what`, which is not allowed, and expects the
/// capture to be invalid from then on.
static void expectInvalid(
    CUresult expected,
    const std::function<CUresult(Api &, Session &, CUdeviceptr)> &what,
    int mode = CU_STREAM_CAPTURE_MODE_GLOBAL) {
  run({}, [&](Api &api) {
    Session session(api);
    CUdeviceptr x = session.upload({1, 2, 3});
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamBeginCapture_v2(session.stream, mode));
    EXPECT_EQ(CUDA_SUCCESS, session.launchScale(x, 2, 3));
    EXPECT_EQ(expected, what(api, session, x));
    EXPECT_EQ(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED,
              session.launchScale(x, 2, 3));
    CUgraph graph = reinterpret_cast<CUgraph>(8);
    EXPECT_EQ(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED,
              api.cuStreamEndCapture(session.stream, &graph));
    EXPECT_EQ(nullptr, graph);
    // The stream works as before, and nothing captured was run.
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamSynchronize(session.stream));
    EXPECT_EQ((std::vector<float>{1, 2, 3}), session.download(x, 3));
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemFree_v2(x));
    return 0;
  });
}

TEST(StandInCapture, ForbiddenCallsInvalidate) {
  constexpr CUresult unsupported = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  expectInvalid(unsupported, [](Api &api, Session &session, CUdeviceptr) {
    return api.cuStreamSynchronize(session.stream);
  });
  expectInvalid(unsupported, [](Api &api, Session &session, CUdeviceptr) {
    return api.cuStreamQuery(session.stream);
  });
  expectInvalid(unsupported, [](Api &api, Session &, CUdeviceptr) {
    return api.cuCtxSynchronize();
  });
  expectInvalid(unsupported, [](Api &api, Session &, CUdeviceptr) {
    CUdeviceptr pointer = 0;
    return api.cuMemAlloc_v2(&pointer, 4);
  });
  expectInvalid(unsupported, [](Api &api, Session &, CUdeviceptr x) {
    return api.cuMemFree_v2(x);
  });
  expectInvalid(unsupported, [](Api &api, Session &, CUdeviceptr x) {
    float value = 0;
    return api.cuMemcpyDtoH_v2(&value, x, 4);
  });
  expectInvalid(unsupported, [](Api &api, Session &session, CUdeviceptr) {
    CUdeviceptr pointer = 0;
    return api.cuMemAllocAsync(&pointer, 4, session.stream);
  });
  // From another thread, too, as the mode is global.
  expectInvalid(unsupported, [](Api &api, Session &session, CUdeviceptr) {
    CUresult result = CUDA_SUCCESS;
    std::thread([&] {
      api.cuCtxSetCurrent(session.context);
      CUdeviceptr pointer = 0;
      result = api.cuMemAlloc_v2(&pointer, 4);
    }).join();
    return result;
  });
}

TEST(StandInCapture, DependenciesOutsideInvalidate) {
  expectInvalid(CUDA_ERROR_STREAM_CAPTURE_ISOLATION,
                [](Api &api, Session &session, CUdeviceptr) {
                  CUstream other = nullptr;
                  CUevent event = nullptr;
                  EXPECT_EQ(CUDA_SUCCESS, api.cuStreamCreate(&other, 1));
                  EXPECT_EQ(CUDA_SUCCESS, api.cuEventCreate(&event, 0));
                  EXPECT_EQ(CUDA_SUCCESS, api.cuEventRecord(event, other));
                  return api.cuStreamWaitEvent(session.stream, event, 0);
                });
  expectInvalid(CUDA_ERROR_STREAM_CAPTURE_MERGE, [](Api &api, Session &session,
                                                    CUdeviceptr) {
    CUstream other = nullptr;
    CUevent event = nullptr;
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamCreate(&other, 1));
    EXPECT_EQ(CUDA_SUCCESS, api.cuEventCreate(&event, 0));
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamBeginCapture_v2(other, 0));
    EXPECT_EQ(CUDA_SUCCESS, api.cuEventRecord(event, other));
    EXPECT_EQ(CUDA_ERROR_CAPTURED_EVENT, api.cuEventSynchronize(event));
    CUresult result = api.cuStreamWaitEvent(session.stream, event, 0);
    CUgraph graph = nullptr;
    EXPECT_EQ(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED,
              api.cuStreamEndCapture(other, &graph));
    return result;
  });
}

TEST(StandInCapture, LegacyStreamInvalidatesBlockingCapture) {
  run({}, [](Api &api) {
    Session session(api);
    CUstream blocking = nullptr;
    CUgraph graph = nullptr;
    CUdeviceptr x = session.upload({1});
    EXPECT_EQ(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
              api.cuStreamBeginCapture_v2(streamLegacy(), 0));
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamCreate(&blocking, 0));
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamBeginCapture_v2(blocking, 2));
    EXPECT_EQ(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT,
              session.launchScale(x, 2, 1, streamLegacy()));
    EXPECT_EQ(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED,
              api.cuStreamEndCapture(blocking, &graph));
    // A stream that does not block may capture beside the legacy stream.
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamBeginCapture_v2(session.stream, 2));
    EXPECT_EQ(CUDA_SUCCESS, session.launchScale(x, 2, 1, streamLegacy()));
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamEndCapture(session.stream, &graph));
    EXPECT_EQ(CUDA_SUCCESS, api.cuGraphDestroy(graph));
    EXPECT_EQ((std::vector<float>{3}), session.download(x, 1));
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamDestroy_v2(blocking));
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemFree_v2(x));
    return 0;
  });
}

TEST(StandInCapture, EndsWhereItBegan) {
  Outcome outcome = run({}, [](Api &api) {
    Session session(api);
    CUstream side = nullptr;
    CUevent event = nullptr;
    CUgraph graph = nullptr;
    CUdeviceptr x = session.upload({1});
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamCreate(&side, 1));
    EXPECT_EQ(CUDA_SUCCESS, api.cuEventCreate(&event, 0));
    EXPECT_EQ(CUDA_ERROR_ILLEGAL_STATE,
              api.cuStreamEndCapture(session.stream, &graph));
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamBeginCapture_v2(session.stream, 1));
    EXPECT_EQ(CUDA_ERROR_ILLEGAL_STATE,
              api.cuStreamBeginCapture_v2(session.stream, 1));
    std::thread([&] {
      api.cuCtxSetCurrent(session.context);
      CUgraph none = nullptr;
      EXPECT_EQ(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD,
                api.cuStreamEndCapture(session.stream, &none));
      // Allowed, as the capture is of the other thread alone.
      CUdeviceptr own = 0;
      EXPECT_EQ(CUDA_SUCCESS, api.cuMemAlloc_v2(&own, 4));
      EXPECT_EQ(CUDA_SUCCESS, api.cuMemFree_v2(own));
    }).join();
    EXPECT_EQ(CUDA_SUCCESS, api.cuEventRecord(event, session.stream));
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamWaitEvent(side, event, 0));
    EXPECT_EQ(CUDA_SUCCESS, session.launchScale(x, 2, 1, side));
    // The side stream was never joined.
    EXPECT_EQ(CUDA_ERROR_STREAM_CAPTURE_UNJOINED,
              api.cuStreamEndCapture(session.stream, &graph));
    EXPECT_EQ(nullptr, graph);
    EXPECT_EQ(CUDA_SUCCESS, session.launchScale(x, 2, 1, side));
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamSynchronize(side));
    EXPECT_EQ((std::vector<float>{3}), session.download(x, 1));
    EXPECT_EQ(CUDA_SUCCESS, api.cuEventDestroy_v2(event));
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamDestroy_v2(side));
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemFree_v2(x));
    return 0;
  });
  EXPECT_TRUE(outcome.report.empty());
}

TEST(StandInGraph, ReplayOverFreedMemoryIsFound) {
  Outcome outcome = run({}, [](Api &api) {
    Session session(api);
    CUgraph graph = nullptr;
    CUgraphExec exec = nullptr;
    CUdeviceptr x = session.upload({1});
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamBeginCapture_v2(session.stream, 2));
    EXPECT_EQ(CUDA_SUCCESS, session.launchScale(x, 2, 1));
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamEndCapture(session.stream, &graph));
    EXPECT_EQ(CUDA_SUCCESS, api.cuGraphInstantiateWithFlags(&exec, graph, 0));
    EXPECT_EQ(CUDA_SUCCESS, api.cuMemFree_v2(x));
    EXPECT_EQ(CUDA_SUCCESS, api.cuGraphLaunch(exec, session.stream));
    EXPECT_EQ(CUDA_ERROR_ILLEGAL_ADDRESS,
              api.cuStreamSynchronize(session.stream));
    api.cuGraphExecDestroy(exec);
    api.cuGraphDestroy(graph);
    return 0;
  });
  ASSERT_EQ(1u, outcome.report.size());
  EXPECT_TRUE(outcome.reports("launch: kernel scale: parameter 0: "));
}
