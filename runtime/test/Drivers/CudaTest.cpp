//===- CudaTest.cpp - Tests of the driver of NVIDIA GPUs ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What does not need a GPU: choices and messages, and the device on a table of
// functions made here.
//
//===----------------------------------------------------------------------===//

#include "TestGpu.h"

#include "Drivers/CUDA/CudaDevice.h"
#include "Drivers/CUDA/CudaImages.h"

#include <gtest/gtest.h>

using namespace moert;
using namespace moert::hal;
using namespace moert::test;

namespace {

class CudaImages : public testing::Test {
protected:
  void SetUp() override {
    buildGpuArtifact(path, makeOffloading());
    artifact = Artifact::open(path).take();
  }
  std::string chosen(int32_t major, int32_t minor) const {
    std::string names;
    for (const GpuImage *image : usableImages(*artifact, gpu(major, minor)))
      names += concat(names.empty() ? "" : ", ", imageKindName(image->kind),
                      " of ", image->arch.name());
    return names;
  }
  static GpuIdentity gpu(int32_t major, int32_t minor) {
    return {"cuda:0", "Test GPU", major, minor, 0};
  }
  TemporaryFolder folder;
  const std::string path = folder.file("m.moe");
  std::shared_ptr<const Artifact> artifact;
};

} // namespace

TEST_F(CudaImages, CubinsFirstThenPtxNewestFirst) {
  EXPECT_EQ(chosen(8, 0), "cubin of sm_80, PTX of sm_80");
  EXPECT_EQ(chosen(8, 9), "cubin of sm_80, PTX of sm_80");
  EXPECT_EQ(chosen(9, 0), "cubin of sm_90a, PTX of sm_80");
  EXPECT_EQ(chosen(12, 0), "PTX of sm_80");
  EXPECT_EQ(chosen(7, 5), "");
}

TEST_F(CudaImages, ImagesThatThePlanDoesNotDescribeAreLeftOut) {
  fb::PlanT plan = makePlan();
  addGpuVariants(plan);
  plan.kernels.back()->gpu.erase(plan.kernels.back()->gpu.begin());
  std::string bytes = packPlan(std::move(plan));
  linkArtifact(path, bytes, makeMetadata(bytes).dump(), "", makeOffloading());
  artifact = Artifact::open(path).take();
  EXPECT_EQ(chosen(8, 0), "");
  EXPECT_EQ(chosen(9, 0), "cubin of sm_90a");
}

TEST_F(CudaImages, BlocksThatDoNotFitTheDeviceAreLeftOut) {
  fb::PlanT plan = makePlan();
  addGpuVariants(plan);
  for (auto &kernel : plan.kernels)
    if (kernel->device == fb::DeviceKind::Cuda)
      for (auto &code : kernel->gpu)
        if (code->arch == "sm_80")
          code->shared_bytes = 160 << 10;
  std::string bytes = packPlan(std::move(plan));
  linkArtifact(path, bytes, makeMetadata(bytes).dump(), "", makeOffloading());
  artifact = Artifact::open(path).take();
  GpuIdentity small = gpu(8, 9);
  small.sharedBytes = 99 << 10;
  EXPECT_TRUE(usableImages(*artifact, small).empty());
  GpuIdentity large = gpu(8, 0);
  large.sharedBytes = 163 << 10;
  EXPECT_EQ(usableImages(*artifact, large).size(), 2u);
}

TEST_F(CudaImages, MessagesNameTheFix) {
  EXPECT_EQ(noUsableImage(*artifact, gpu(7, 5)).toString(),
            "error[MOE0311]: artifact has no code for this device\n --> " +
                path +
                "\nbecause cuda:0 (Test GPU, sm_75) was asked for; the "
                "artifact has code for CPU (avx2, avx512, amx), sm_80 (cubin, "
                "PTX), sm_90a (cubin)\n"
                "fix: moe-compile --target=x86-64,sm_80,sm_90a,sm_75\n");
  EXPECT_EQ(targetOption(*artifact, gpu(10, 0)),
            "--target=x86-64,sm_80,sm_90a,sm_100a");
  const std::string text = "\n.version 9.0\n.target sm_80\n";
  GpuImage image{GpuImageKind::Ptx,
                 {8, 0, 0},
                 reinterpret_cast<const uint8_t *>(text.data()),
                 text.size()};
  EXPECT_EQ(ptxTooNew(*artifact, image, gpu(8, 9), 12040).toString(),
            "error[MOE0314]: driver is too old for the artifact\n --> " + path +
                "\nbecause the PTX of sm_80 is of version 9.0; the driver of "
                "cuda:0 (Test GPU, sm_89) is of CUDA 12.4 and knows PTX up to "
                "8.4\nfix: install a driver of CUDA 13.0 or newer, or "
                "moe-compile --target=x86-64,sm_80,sm_90a,sm_89 where ptxas is "
                "installed\n");
}

TEST(CudaApi, VersionsOfPtx) {
  EXPECT_EQ(cudaVersionOfPtx(7, 8), 11080);
  EXPECT_EQ(cudaVersionOfPtx(8, 4), 12040);
  EXPECT_EQ(cudaVersionOfPtx(8, 7), 12080);
  EXPECT_EQ(cudaVersionOfPtx(9, 0), 13000);
  EXPECT_EQ(newestPtx(12080), std::make_pair(8, 7));
  EXPECT_EQ(newestPtx(12050), std::make_pair(8, 5));
  EXPECT_EQ(newestPtx(13000), std::make_pair(9, 0));
}

TEST(CudaApi, NamesOfResults) {
  CudaApi api;
  api.getErrorName = [](CUresult, const char **text) {
    *text = "CUDA_ERROR_TEST";
    return cudaSuccess;
  };
  api.getErrorString = [](CUresult, const char **text) {
    *text = "a test";
    return cudaSuccess;
  };
  EXPECT_TRUE(api.check(cudaSuccess, "cuInit").ok());
  EXPECT_EQ(api.check(CUresult(1), "cuMemAlloc_v2").toString(),
            "error[MOE0321]: cuMemAlloc failed\n"
            "because CUDA_ERROR_TEST (a test)\n"
            "fix: see nvidia-smi and the system log, or use --device=cpu\n");
  EXPECT_EQ(api.check(CUresult(700), "cuStreamQuery").toString(),
            "error[MOE0320]: the GPU stopped\n"
            "because cuStreamQuery reported CUDA_ERROR_TEST (a test)\n"
            "fix: start again; report it when it happens again\n");
}

namespace {

/// The state of a table made by hand: a GPU that never finishes.
struct Fake {
  static inline int contexts = 0, streams = 0, allocations = 0;

  static std::shared_ptr<CudaApi> table() {
    auto api = std::make_shared<CudaApi>();
    api->version = 12040;
    api->getErrorName = [](CUresult, const char **) { return CUresult(1); };
    api->deviceGetCount = [](int *count) { return *count = 1, cudaSuccess; };
    api->deviceGet = [](CUdevice *d, int n) { return *d = n, cudaSuccess; };
    api->deviceGetName = [](char *name, int, CUdevice) {
      return name[0] = 'X', name[1] = 0, cudaSuccess;
    };
    api->deviceGetAttribute = [](int *value, int which, CUdevice) {
      *value = which == cudaAttributeMajor ? 8 : 0;
      return cudaSuccess;
    };
    api->primaryCtxRetain = [](CUcontext *c, CUdevice) {
      ++contexts;
      return *c = reinterpret_cast<CUcontext>(16), cudaSuccess;
    };
    api->primaryCtxRelease = [](CUdevice) { return --contexts, cudaSuccess; };
    api->ctxPushCurrent = [](CUcontext) { return cudaSuccess; };
    api->ctxPopCurrent = [](CUcontext *) { return cudaSuccess; };
    api->streamCreate = [](CUstream *s, unsigned) {
      ++streams;
      return *s = reinterpret_cast<CUstream>(16), cudaSuccess;
    };
    api->streamDestroy = [](CUstream) { return --streams, cudaSuccess; };
    api->streamQuery = [](CUstream) { return cudaNotReady; };
    api->memAlloc = [](CUdeviceptr *p, size_t bytes) {
      if (bytes > (1 << 20))
        return cudaOutOfMemory;
      ++allocations;
      return *p = 4096, cudaSuccess;
    };
    api->memFree = [](CUdeviceptr) { return --allocations, cudaSuccess; };
    api->memGetInfo = [](size_t *free, size_t *total) {
      return *free = 1 << 19, *total = 1 << 20, cudaSuccess;
    };
    api->memHostAlloc = [](void **p, size_t bytes, unsigned) {
      return *p = std::malloc(bytes), cudaSuccess;
    };
    api->memFreeHost = [](void *p) { return std::free(p), cudaSuccess; };
    api->memsetD8Async = [](CUdeviceptr, unsigned char, size_t, CUstream) {
      return cudaSuccess;
    };
    return api;
  }
};

} // namespace

TEST(CudaDevice, MissedDeadlinesEndTheUseOfTheGpu) {
  DeviceOptions options;
  options.threads = 1;
  auto device = CudaDevice::open(Fake::table(), options);
  ASSERT_TRUE(device.ok()) << device.status().toString();
  auto stream = (*device)->createStream();
  ASSERT_TRUE(stream.ok()) << stream.status().toString();
  EXPECT_EQ((*stream)->synchronize(deadlineIn(0.02)).toString(),
            "error[MOE0015]: the GPU did not finish in time\n --> cuda:0 (X, "
            "sm_80)\nfix: create a new session with a longer timeout\n");
  EXPECT_EQ((*stream)->fill(nullptr, 0, 1).what(),
            "the GPU is still busy with an earlier call");
  stream->reset();
  EXPECT_EQ(Fake::streams, 1) << "the driver would wait for the GPU";
}

TEST(CudaDevice, MemoryErrorsSayWhatIsFree) {
  const int contexts = Fake::contexts, allocations = Fake::allocations;
  {
    DeviceOptions options;
    options.threads = 1;
    auto device = CudaDevice::open(Fake::table(), options);
    ASSERT_TRUE(device.ok());
    EXPECT_EQ(
        (*device)->allocate(1 << 21, BufferUse::Workspace).status().toString(),
        "error[MOE0601]: cannot allocate 2.0 MiB of workspace\n --> "
        "cuda:0 (X, sm_80)\nbecause 512.0 KiB of 1.0 MiB are free on "
        "cuda:0 (X, sm_80)\nfix: call with fewer tokens, or use a GPU "
        "with more memory\n");
    auto buffer = (*device)->allocate(100, BufferUse::Workspace);
    ASSERT_TRUE(buffer.ok());
    EXPECT_EQ(Fake::allocations, allocations + 1);
  }
  EXPECT_EQ(Fake::allocations, allocations);
  EXPECT_EQ(Fake::contexts, contexts);
}

TEST(CudaDevice, DevicesThatAreNotThere) {
  DeviceOptions options;
  options.threads = 1;
  options.ordinal = 3;
  EXPECT_EQ(CudaDevice::open(Fake::table(), options).status().toString(),
            "error[MOE0313]: there is no device cuda:3\n"
            "because the driver offers 1 GPU\nfix: use --device=cuda:0\n");
}
