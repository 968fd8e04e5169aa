//===- ModuleTest.cpp - Images, devices, entry points ---------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"

#include <cstring>

using namespace standin_test;

TEST(StandInModule, LoadsPtxAndCubinByHash) {
  Outcome outcome = run({}, [](Api &api) {
    Session session(api);
    std::vector<char> cubin = makeCubin(80, 8);
    CUmodule module = nullptr;
    EXPECT_EQ(CUDA_SUCCESS, api.cuModuleLoadData(&module, cubin.data()));
    CUfunction function = nullptr;
    EXPECT_EQ(CUDA_SUCCESS, api.cuModuleGetFunction(&function, module, "add"));
    EXPECT_EQ(CUDA_ERROR_NOT_FOUND,
              api.cuModuleGetFunction(&function, module, "subtract"));
    EXPECT_EQ(CUDA_SUCCESS, api.cuModuleUnload(module));
    EXPECT_EQ(CUDA_ERROR_INVALID_HANDLE, api.cuModuleUnload(module));
    return 0;
  });
  EXPECT_TRUE(outcome.reports("cuModuleUnload: no such module"));
  EXPECT_EQ(1u, outcome.report.size());
}

TEST(StandInModule, RefusesImages) {
  run({{"DRIVER", "12000"}}, [](Api &api) {
    Session session(api);
    CUmodule module = nullptr;
    auto load = [&](const std::string &image) {
      return api.cuModuleLoadData(&module, image.c_str());
    };
    std::vector<char> cubin = makeCubin(90, 8);
    EXPECT_EQ(CUDA_ERROR_NO_BINARY_FOR_GPU,
              api.cuModuleLoadData(&module, cubin.data()));
    cubin = makeCubin(86, 7);
    EXPECT_EQ(CUDA_ERROR_NO_BINARY_FOR_GPU,
              api.cuModuleLoadData(&module, cubin.data()));
    cubin = makeCubin(80, 7);
    EXPECT_EQ(CUDA_ERROR_INVALID_IMAGE,
              api.cuModuleLoadData(&module, cubin.data()));
    // The section lies behind everything that is mapped.
    cubin = makeCubin(80, 8);
    std::memset(cubin.data() + cubin.size() - 40, 0x3f, 8);
    EXPECT_EQ(CUDA_ERROR_INVALID_IMAGE,
              api.cuModuleLoadData(&module, cubin.data()));
    EXPECT_EQ(CUDA_ERROR_INVALID_IMAGE, load("garbage"));
    EXPECT_EQ(CUDA_ERROR_INVALID_IMAGE, load(""));
    EXPECT_EQ(CUDA_ERROR_INVALID_IMAGE, load(makePtx("sm_80", "7.1")));
    EXPECT_EQ(CUDA_ERROR_UNSUPPORTED_PTX_VERSION,
              load(makePtx("sm_80", "8.1")));
    EXPECT_EQ(CUDA_ERROR_NO_BINARY_FOR_GPU, load(makePtx("sm_90", "8.0")));
    EXPECT_EQ(CUDA_ERROR_NO_BINARY_FOR_GPU, load(makePtx("sm_75a", "8.0")));
    EXPECT_EQ(CUDA_ERROR_INVALID_PTX, load(makePtx("fermi", "8.0")));
    char log[200];
    int options[] = {5, 6};
    void *values[] = {log, reinterpret_cast<void *>(sizeof(log))};
    EXPECT_EQ(CUDA_ERROR_UNSUPPORTED_PTX_VERSION,
              api.cuModuleLoadDataEx(&module, makePtx("sm_80", "8.1").c_str(),
                                     2, options, values));
    EXPECT_STREQ("PTX .version 8.1 is newer than driver 12000 knows", log);
    return 0;
  });
}

TEST(StandInModule, EveryLoadHasItsOwnVariables) {
  Outcome outcome = run({}, [](Api &api) {
    Session session(api);
    CUmodule other = nullptr;
    EXPECT_EQ(CUDA_SUCCESS,
              api.cuModuleLoadData(&other, makePtx("sm_80", "7.0").c_str()));
    for (int i = 0; i < 3; ++i)
      EXPECT_EQ(CUDA_SUCCESS, session.launch("count", 1, 1, {}));
    EXPECT_EQ(CUDA_SUCCESS, api.cuStreamSynchronize(session.stream));
    uint32_t expected[] = {10, 7};
    for (CUmodule module : {session.module, other}) {
      CUdeviceptr address = 0;
      size_t bytes = 0;
      uint32_t value = 0;
      EXPECT_EQ(CUDA_SUCCESS,
                api.cuModuleGetGlobal_v2(&address, &bytes, module, "counter"));
      EXPECT_EQ(4u, bytes);
      EXPECT_EQ(CUDA_SUCCESS, api.cuMemcpyDtoH_v2(&value, address, bytes));
      EXPECT_EQ(expected[module == other], value);
    }
    EXPECT_EQ(CUDA_SUCCESS, api.cuModuleUnload(other));
    return 0;
  });
  EXPECT_TRUE(outcome.report.empty());
}

TEST(StandInDevice, FollowsTheArchitecture) {
  struct Expected {
    const char *device;
    int major, minor, optin, clusters;
  };
  for (Expected expected :
       {Expected{"sm_80", 8, 0, 163, 0}, Expected{"sm_86", 8, 6, 99, 0},
        Expected{"sm_90a", 9, 0, 227, 1}, Expected{"sm_120", 12, 0, 99, 1}})
    run({{"DEVICE", expected.device}, {"COUNT", "2"}, {"SMS", "11"}},
        [&](Api &api) {
          int value = 0;
          CUdevice device = 0;
          EXPECT_EQ(CUDA_ERROR_NOT_INITIALIZED, api.cuDeviceGet(&device, 0));
          EXPECT_EQ(CUDA_SUCCESS, api.cuInit(0));
          EXPECT_EQ(CUDA_SUCCESS, api.cuDeviceGetCount(&value));
          EXPECT_EQ(2, value);
          EXPECT_EQ(CUDA_ERROR_INVALID_DEVICE, api.cuDeviceGet(&device, 2));
          EXPECT_EQ(CUDA_SUCCESS, api.cuDeviceGet(&device, 1));
          auto attribute = [&](int which) {
            EXPECT_EQ(CUDA_SUCCESS,
                      api.cuDeviceGetAttribute(&value, which, device));
            return value;
          };
          EXPECT_EQ(expected.major, attribute(75));
          EXPECT_EQ(expected.minor, attribute(76));
          EXPECT_EQ(expected.optin * 1024, attribute(97));
          EXPECT_EQ(expected.clusters, attribute(120));
          EXPECT_EQ(11, attribute(16));
          char name[64];
          EXPECT_EQ(CUDA_SUCCESS, api.cuDeviceGetName(name, 64, device));
          EXPECT_EQ(0, std::strncmp("Stand-in sm_", name, 12));
          return 0;
        });
}

TEST(StandInDevice, MayBeMissing) {
  run({{"COUNT", "0"}}, [](Api &api) {
    EXPECT_EQ(CUDA_ERROR_NO_DEVICE, api.cuInit(0));
    return 0;
  });
}

TEST(StandInDevice, RefusesWhatItCannotBe) {
  EXPECT_EQ(70, run(
                    {{"DEVICE", "sm_60"}},
                    [](Api &api) { return int(api.cuInit(0)); }, 70)
                    .status);
  EXPECT_EQ(70, run(
                    {{"FAIL", "cuLaunch:1"}},
                    [](Api &api) { return int(api.cuInit(0)); }, 70)
                    .status);
}

TEST(StandInQuery, FindsEntryPointsByVersion) {
  run({{"DRIVER", "12000"}}, [](Api &api) {
    void *address = nullptr;
    int status = -1;
    auto find = [&](const char *name, int version) {
      return api.cuGetProcAddress_v2(name, &address, version, 0, &status);
    };
    EXPECT_EQ(CUDA_SUCCESS, find("cuMemAlloc", 12000));
    EXPECT_EQ(reinterpret_cast<void *>(api.cuMemAlloc_v2), address);
    EXPECT_EQ(CUDA_SUCCESS, find("cuGetProcAddress", 12000));
    EXPECT_EQ(reinterpret_cast<void *>(api.cuGetProcAddress_v2), address);
    EXPECT_EQ(CUDA_SUCCESS, find("cuGetProcAddress", 11030));
    EXPECT_EQ(reinterpret_cast<void *>(api.cuGetProcAddress), address);
    EXPECT_EQ(CUDA_ERROR_NOT_FOUND, find("cuMemAlloc_v2", 12000));
    EXPECT_EQ(CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND, status);
    EXPECT_EQ(CUDA_ERROR_NOT_FOUND, find("cuMemAllocAsync", 11000));
    EXPECT_EQ(CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT, status);
    // The caller knows more than this driver has.
    EXPECT_EQ(CUDA_SUCCESS, find("cuStreamGetCaptureInfo", 13000));
    EXPECT_EQ(reinterpret_cast<void *>(api.cuStreamGetCaptureInfo_v2), address);
    const char *text = nullptr;
    EXPECT_EQ(CUDA_SUCCESS,
              api.cuGetErrorName(CUDA_ERROR_ILLEGAL_ADDRESS, &text));
    EXPECT_STREQ("CUDA_ERROR_ILLEGAL_ADDRESS", text);
    EXPECT_EQ(CUDA_SUCCESS,
              api.cuGetErrorString(CUDA_ERROR_ILLEGAL_ADDRESS, &text));
    EXPECT_STREQ("an illegal memory access was encountered", text);
    EXPECT_EQ(CUDA_ERROR_INVALID_VALUE,
              api.cuGetErrorName(static_cast<CUresult>(12345), &text));
    return 0;
  });
}
