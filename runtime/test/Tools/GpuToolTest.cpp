//===- GpuToolTest.cpp - Tests of the tools with GPUs ---------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestGpu.h"

#include "moert/Format/Npy.h"

#include <gtest/gtest.h>
#include <sstream>

using namespace moert;
using namespace moert::test;
using nlohmann::json;

namespace {

class GpuTool : public testing::Test {
protected:
  void SetUp() override {
    writeWeights(folder.file("weights"), 7);
    std::vector<float> x = randomFloats(85, 3), y;
    for (float v : x)
      y.push_back(2 * v);
    ASSERT_TRUE(
        writeNpy(folder.file("x.npy"), DType::F32, {17, 5}, x.data()).ok());
    ASSERT_TRUE(
        writeNpy(folder.file("y.npy"), DType::F32, {17, 5}, y.data()).ok());
    buildGpuArtifact(model, gpuImages());
  }
  CommandResult run(const std::string &variables,
                    const std::string &arguments) {
    return runCommand("cd " + folder.path + " && " + standInVariables() +
                      variables + " timeout 60 " MOE_RUN " m.moe -t 2 " +
                      arguments);
  }
  /// moe-run of "twice" with a check of its output.
  CommandResult twice(const std::string &variables,
                      const std::string &arguments) {
    return run(variables, "--function=twice --input=@x.npy "
                          "--expected-output=@y.npy " +
                              arguments);
  }
  static std::string firstLine(const std::string &text) {
    return text.substr(0, text.find('\n'));
  }
  TemporaryFolder folder;
  const std::string model = folder.file("m.moe");
};

#define NEEDS_STAND_IN()                                                       \
  if (!hasStandIn())                                                           \
  GTEST_SKIP() << "built without the stand-in of the CUDA driver"

} // namespace

TEST_F(GpuTool, NoDriver) {
  const std::string none = "MOE_CUDA_LIBRARY=libnone.so.1 ";
  CommandResult result = twice(none, "--device=cuda:0");
  EXPECT_EQ(result.exitCode, 3);
  EXPECT_EQ(firstLine(result.err),
            "error[MOE0312]: libnone.so.1 cannot be loaded");
  EXPECT_NE(
      result.err.find("fix: install the NVIDIA driver, or use --device=cpu\n"),
      std::string::npos)
      << result.err;
  result = twice(none, "--device=cpu");
  EXPECT_EQ(result.exitCode, 0) << result.err;
  if (gpuImages().empty())
    return;
  result = twice(none, "");
  EXPECT_EQ(result.exitCode, 0) << result.err;
  EXPECT_EQ(
      firstLine(result.err).substr(0, 66),
      "moert: running m.moe on the CPU: libnone.so.1 cannot be loaded: li");
}

TEST_F(GpuTool, UnknownDevices) {
  for (const char *name : {"gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:9999"}) {
    CommandResult result = twice("", std::string("--device=") + name);
    EXPECT_EQ(result.exitCode, 2) << name;
    EXPECT_EQ(result.err, std::string("error[MOE0002]: there is no device '") +
                              name + "'\nfix: use cpu, cuda, cuda:N or auto\n");
  }
}

TEST_F(GpuTool, InspectShowsGpuCode) {
  fb::PlanT plan = makePlan();
  addGpuVariants(plan);
  std::string bytes = packPlan(std::move(plan));
  linkArtifact(model, bytes, makeMetadata(bytes).dump(), "", makeOffloading());
  CommandResult result =
      runCommand("cd " + folder.path + " && " MOE_INSPECT " kernels m.moe");
  EXPECT_NE(
      result.out.find(
          "gpu_linear  [cuda]  5 arguments, 1 dispatches\n"
          "  sm_80    64 threads, 2 blocks per SM, 24 registers, 0 + 65536 "
          "bytes of shared memory, 0 bytes of scratch per block, test\n"
          "  sm_90a   64 threads,"),
      std::string::npos)
      << result.out;
  EXPECT_NE(result.out.find("image  sm_80 cubin  100 bytes\n"
                            "image  sm_80 PTX  61 bytes\n"
                            "image  sm_90a cubin  37 bytes\n"),
            std::string::npos)
      << result.out;
  result = runCommand("cd " + folder.path + " && " MOE_INSPECT " m.moe");
  EXPECT_NE(
      result.out.find("\ngpu        sm_80 (cubin, PTX), sm_90a (cubin)\n"),
      std::string::npos)
      << result.out;
  result = runCommand("cd " + folder.path +
                      " && " MOE_INSPECT " plan m.moe --function=linear");
  EXPECT_NE(result.out.find("  variant 1 on cuda:\n"), std::string::npos);
  result = runCommand("cd " + folder.path +
                      " && " MOE_INSPECT
                      " memory m.moe --function=linear --tokens=10 "
                      "--device=cuda");
  EXPECT_NE(result.out.find("  arrays                1800 bytes"),
            std::string::npos)
      << result.out;
  EXPECT_NE(result.out.find("  weights               1440 bytes"),
            std::string::npos)
      << result.out;
}

TEST_F(GpuTool, RunsTheSameArtifactEverywhere) {
  NEEDS_STAND_IN();
  for (const char *options :
       {"--device=cpu", "--device=cuda", "--device=cuda:0 --graph --repeat=3",
        "--device=auto", "--device=cuda --trace=t.json -v"}) {
    CommandResult result = twice("", options);
    EXPECT_EQ(result.exitCode, 0) << options << "\n" << result.err;
  }
  CommandResult result = twice("", "--json --graph");
  json report = json::parse(result.out, nullptr, false);
  EXPECT_EQ(report["device"], "cuda:0");
  EXPECT_EQ(report["code"], "cubin of sm_80");
  EXPECT_EQ(report["graphs"], 1);
}

TEST_F(GpuTool, FallsBackFromCubinToPtxToCpu) {
  NEEDS_STAND_IN();
  buildGpuArtifact(model, gpuImages(/*cubin=*/false));
  CommandResult result = twice("", "");
  EXPECT_EQ(result.exitCode, 0) << result.err;
  EXPECT_EQ(firstLine(result.err),
            "moert: no cubin for sm_80 in m.moe, using the PTX of sm_80");
  result = twice("MOE_STANDIN_DEVICE=sm_90 ", "--device=cuda:0");
  EXPECT_EQ(result.exitCode, 0) << result.err;
  EXPECT_EQ(firstLine(result.err),
            "moert: no cubin for sm_90 in m.moe, using the PTX of sm_80");

  buildGpuArtifact(model, "");
  result = twice("", "");
  EXPECT_EQ(result.exitCode, 0) << result.err;
  EXPECT_EQ(firstLine(result.err).substr(0, 73),
            "moert: running m.moe on the CPU: artifact has no code for this "
            "device: cu");
  result = twice("", "--device=cuda:0");
  EXPECT_EQ(result.exitCode, 3);
  EXPECT_EQ(firstLine(result.err),
            "error[MOE0311]: artifact has no code for this device");
  EXPECT_NE(result.err.find("fix: moe-compile --target=x86-64,sm_80\n"),
            std::string::npos)
      << result.err;
}

TEST_F(GpuTool, MachinesThatCannot) {
  NEEDS_STAND_IN();
  CommandResult result = twice("MOE_STANDIN_COUNT=0 ", "--device=cuda");
  EXPECT_EQ(result.exitCode, 3);
  EXPECT_EQ(firstLine(result.err), "error[MOE0313]: there is no NVIDIA GPU");
  result = twice("", "--device=cuda:5");
  EXPECT_EQ(result.err, "error[MOE0313]: there is no device cuda:5\nbecause "
                        "the driver offers 1 GPU\nfix: use --device=cuda:0\n");
  buildGpuArtifact(model, gpuImages(/*cubin=*/false));
  result = twice("MOE_STANDIN_DRIVER=11000 ", "--device=cuda");
  EXPECT_EQ(result.exitCode, 3);
  EXPECT_EQ(firstLine(result.err),
            "error[MOE0314]: driver is too old for the artifact");
  EXPECT_NE(result.err.find("because the PTX of sm_80 is of version "),
            std::string::npos)
      << result.err;
  EXPECT_NE(result.err.find("is of CUDA 11.0 and knows PTX up to 7.0\n"),
            std::string::npos)
      << result.err;
}

TEST_F(GpuTool, GpusThatAreTooSmall) {
  NEEDS_STAND_IN();
  fb::PlanT plan = makePlan();
  addGpuVariants(plan);
  plan.functions[0]->symbols[0]->max = 1 << 20;
  plan.functions[0]->variants[2]->buffers[0]->sizes.resize(1);
  std::string bytes = packPlan(std::move(plan));
  linkArtifact(model, bytes, makeMetadata(bytes).dump(), "", gpuImages());
  std::vector<float> x = randomFloats(5 * 100000, 3);
  ASSERT_TRUE(
      writeNpy(folder.file("x.npy"), DType::F32, {100000, 5}, x.data()).ok());
  CommandResult result =
      run("MOE_STANDIN_MEMORY=4194304 ",
          "--device=cuda --function=twice --input=@x.npy --output=@z.npy");
  EXPECT_EQ(result.exitCode, 6);
  EXPECT_EQ(firstLine(result.err),
            "error[MOE0602]: the call needs 1.9 MiB + 3.8 MiB on the GPU for "
            "workspace and arrays");
  const size_t at = result.err.find("fix: call with at most ");
  ASSERT_NE(at, std::string::npos) << result.err;
  const int fitting = std::atoi(result.err.c_str() + at + 23);
  EXPECT_GT(fitting, 10000);
  ASSERT_TRUE(
      writeNpy(folder.file("x.npy"), DType::F32, {fitting, 5}, x.data()).ok());
  result = run("MOE_STANDIN_MEMORY=4194304 ",
               "--device=cuda --function=twice --input=@x.npy --output=@z.npy");
  EXPECT_EQ(result.exitCode, 0) << result.err;

  ASSERT_TRUE(
      writeNpy(folder.file("x.npy"), DType::F32, {2, 5}, x.data()).ok());
  result = run("MOE_STANDIN_MEMORY=2048 ",
               "--device=cuda --function=linear --input=@x.npy");
  EXPECT_EQ(result.exitCode, 6) << result.err;
}

/// Every function of the driver fails at every call in turn: a clear error or
/// success, no hang, and everything is given back.
TEST_F(GpuTool, SurvivesEveryFailure) {
  NEEDS_STAND_IN();
  for (const char *options : {"--function=linear --input=@x.npy --device=cuda",
                              "--function=linear --input=@x.npy --device=cuda "
                              "--graph --trace=t.json"}) {
    const std::string counts = folder.file("counts");
    CommandResult good =
        run("MOE_STANDIN_LEAKS=1 MOE_STANDIN_COUNTS=" + counts + " ", options);
    ASSERT_EQ(good.exitCode, 0) << good.err;
    EXPECT_EQ(good.err.find("stand-in: "), std::string::npos) << good.err;
    std::istringstream lines(readFile(counts));
    std::string function;
    int calls = 0, tried = 0;
    while (lines >> function >> calls)
      for (int k = 1; k <= calls; ++k) {
        // The first calls, then ever fewer of those that repeat.
        if (k > 4 && k != calls && k % 16 != 0)
          continue;
        ++tried;
        const std::string fail = function + ":" + std::to_string(k);
        CommandResult result =
            run("MOE_STANDIN_LEAKS=1 MOE_STANDIN_FAIL=" + fail + " ", options);
        EXPECT_TRUE(result.exitCode == 0 || result.exitCode == 1 ||
                    result.exitCode == 3 || result.exitCode == 6)
            << fail << " ends with " << result.exitCode << "\n"
            << result.err;
        if (result.exitCode != 0) {
          EXPECT_NE(result.err.find("error[MOE0"), std::string::npos) << fail;
        }
        EXPECT_EQ(result.err.find("leak: "), std::string::npos) << fail << "\n"
                                                                << result.err;
      }
    EXPECT_GT(tried, 40);
  }
}
