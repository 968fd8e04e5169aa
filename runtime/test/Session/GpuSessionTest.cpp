//===- GpuSessionTest.cpp - Tests of sessions on GPUs ---------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestGpu.h"

#include "moert/Session/Session.h"

#include <gtest/gtest.h>

using namespace moert;
using namespace moert::test;
using nlohmann::json;

namespace {

class GpuSession : public testing::Test {
protected:
  void SetUp() override {
    useStandIn();
    Status status = hal::findDriver("cuda")->available();
    if (!status.ok() || gpuImages().empty())
      GTEST_SKIP() << "no GPU, or no compiler for its kernels\n"
                   << status.toString();
    weights = writeWeights(folder.file("weights"), 11);
    buildGpuArtifact(path, gpuImages());
  }
  std::unique_ptr<Session> open(SessionOptions options = {}) {
    if (options.deviceName == "cpu")
      options.deviceName = "cuda:0";
    options.device.threads = 2;
    options.device.log = [this](const std::string &line) {
      lines.push_back(line);
    };
    auto artifact = Artifact::open(path);
    EXPECT_TRUE(artifact.ok()) << artifact.status().toString();
    auto session = Session::create(*artifact, options);
    EXPECT_TRUE(session.ok()) << session.status().toString();
    return session.ok() ? session.take() : nullptr;
  }
  static uint32_t index(Session &session, const char *name) {
    const auto &functions = *session.artifact().plan().functions();
    for (uint32_t i = 0; i < functions.size(); ++i)
      if (functions.Get(i)->name()->string_view() == name)
        return i;
    ADD_FAILURE() << name;
    return 0;
  }
  template <typename T>
  static TensorView view(fb::DType type, std::vector<int64_t> shape,
                         std::vector<T> &data) {
    return {type, std::move(shape), data.data()};
  }
  static void checkTwice(Session &session, int64_t n) {
    std::vector<float> x = randomFloats(5 * n, 20 + n), y(5 * n, -1);
    Status status = session.call(0, {view(fb::DType::F32, {n, 5}, x)},
                                 {view(fb::DType::F32, {n, 5}, y)});
    ASSERT_TRUE(status.ok()) << status.toString();
    for (size_t i = 0; i < x.size(); ++i)
      ASSERT_EQ(y[i], 2 * x[i]) << "n = " << n;
  }
  void checkLinear(Session &session, int64_t n) {
    std::vector<float> x = randomFloats(5 * n, 40 + n), y(40 * n, -1);
    Status status = session.call(index(session, "linear"),
                                 {view(fb::DType::F32, {n, 5}, x)},
                                 {view(fb::DType::F32, {n, 40}, y)});
    ASSERT_TRUE(status.ok()) << status.toString();
    for (int64_t r = 0; r < n; ++r)
      for (int64_t c = 0; c < 40; ++c) {
        double sum = weights.bias[c];
        for (int64_t k = 0; k < 5; ++k)
          sum += double(x[r * 5 + k]) * weights.w[c * 5 + k];
        ASSERT_NEAR(y[r * 40 + c], sum, 1e-5) << r << ", " << c;
      }
  }

  TemporaryFolder folder;
  const std::string path = folder.file("m.moe");
  TestWeights weights;
  std::vector<std::string> lines;
};

} // namespace

TEST_F(GpuSession, StagesArraysOfAnySize) {
  std::unique_ptr<Session> session = open();
  ASSERT_TRUE(session);
  EXPECT_EQ(session->deviceInfo().name, "cuda:0");
  for (int64_t n : {0, 1, 2, 17, 1000, 3, 4096, 0})
    checkTwice(*session, n);
  EXPECT_EQ(session->workspaceBytes(), 20u * 4096);
  EXPECT_EQ(session->arrayBytes(), 2 * 20u * 4096);
  EXPECT_TRUE(session
                  ->call(0, {{fb::DType::F32, {0, 5}, nullptr}},
                         {{fb::DType::F32, {0, 5}, nullptr}})
                  .ok());
}

TEST_F(GpuSession, ConstantsAreUploaded) {
  uint64_t done = 0, total = 0;
  SessionOptions options;
  options.weights.progress = [&](uint64_t d, uint64_t t) {
    EXPECT_GT(d, done);
    done = d;
    total = t;
  };
  std::unique_ptr<Session> session = open(options);
  ASSERT_TRUE(session);
  for (int64_t n : {0, 1, 7, 100})
    checkLinear(*session, n);
  EXPECT_EQ(done, total);
  EXPECT_EQ(total, session->weights().bytes());
  EXPECT_EQ(total, 40u * 8 * 4 + 160) << "w.rows and bias, not the panels";
}

TEST_F(GpuSession, PackedAndEmbeddedConstants) {
  auto checkpoint = Checkpoint::open(folder.file("weights"));
  ASSERT_TRUE(checkpoint.ok());
  fb::PlanT plan = makePlan();
  addGpuVariants(plan);
  plan.weights_mode = fb::WeightsMode::Packed;
  std::string bytes = packPlan(std::move(plan));
  linkArtifact(path, bytes, makeMetadata(bytes).dump(), "", gpuImages());
  ASSERT_TRUE(writePackedWeights(*fb::GetPlan(bytes.data()), **checkpoint,
                                 path + ".weights.safetensors")
                  .ok());
  std::unique_ptr<Session> session = open();
  ASSERT_TRUE(session);
  checkLinear(*session, 9);

  plan = makePlan();
  addGpuVariants(plan);
  plan.weights_mode = fb::WeightsMode::Embedded;
  plan.embedded_offsets = {0, 1280, 1536};
  bytes = packPlan(std::move(plan));
  const fb::Plan *read = fb::GetPlan(bytes.data());
  std::string embedded(1536 + 1280, '\0');
  for (uint32_t i = 0; i < 3; ++i)
    ASSERT_TRUE(packConstant(*read, *read->constants()->Get(i), **checkpoint,
                             reinterpret_cast<uint8_t *>(embedded.data()) +
                                 read->embedded_offsets()->Get(i))
                    .ok());
  linkArtifact(path, bytes, makeMetadata(bytes).dump(), embedded, gpuImages());
  session = open();
  ASSERT_TRUE(session);
  checkLinear(*session, 9);
}

TEST_F(GpuSession, CountsExperts) {
  for (bool graphs : {false, true}) {
    SessionOptions options;
    options.graphs = graphs;
    std::unique_ptr<Session> session = open(options);
    ASSERT_TRUE(session);
    std::vector<float> x(25);
    for (int64_t n : {5, 0, 1})
      ASSERT_TRUE(session
                      ->call(index(*session, "experts"),
                             {view(fb::DType::F32, {n, 5}, x)}, {})
                      .ok());
    json stats = json::parse(session->expertStatsJson());
    EXPECT_EQ(stats["tokens"], json({6}));
    EXPECT_EQ(stats["counts"], json({{4, 4, 2, 2}}));
  }
}

TEST_F(GpuSession, GraphsGiveTheSameAndAreBounded) {
  SessionOptions options;
  options.graphs = true;
  std::unique_ptr<Session> session = open(options);
  ASSERT_TRUE(session);
  checkTwice(*session, 100);
  for (int i = 0; i < 3; ++i)
    for (int64_t n : {3, 17, 0})
      checkTwice(*session, n);
  EXPECT_EQ(session->graphCount(), 4u);
  // Larger buffers lie elsewhere: recordings of the old ones are gone.
  checkTwice(*session, 1000);
  EXPECT_EQ(session->graphCount(), 1u);
  for (int64_t n = 0; n < 40; ++n)
    checkTwice(*session, n);
  EXPECT_EQ(session->graphCount(), 32u);
  checkTwice(*session, 1000);
  checkLinear(*session, 6);
  EXPECT_EQ(lines, lines.empty() ? lines : std::vector<std::string>{lines[0]});
}

TEST_F(GpuSession, CpusRunWithoutGraphs) {
  SessionOptions options;
  options.graphs = true;
  options.device.isa = "avx2"; // A level of a CPU: auto takes the CPU.
  options.deviceName = "auto";
  std::unique_ptr<Session> session = open(options);
  ASSERT_TRUE(session);
  EXPECT_EQ(session->deviceInfo().name, "cpu");
  EXPECT_EQ(lines,
            std::vector<std::string>{"cpu records no graphs, running without"});
  checkTwice(*session, 9);
}

TEST_F(GpuSession, AutoAsksForNoGpuWithoutCodeForOne) {
  std::string bytes = packPlan(makePlan());
  linkArtifact(path, bytes, makeMetadata(bytes).dump(), "", "");
  SessionOptions options;
  options.deviceName = "auto";
  std::unique_ptr<Session> session = open(options);
  ASSERT_TRUE(session);
  EXPECT_EQ(session->deviceInfo().name, "cpu");
  EXPECT_TRUE(lines.empty());
  checkTwice(*session, 3);
}

TEST_F(GpuSession, ErrorsOfKernelsNameTheDispatch) {
  fb::PlanT plan = makePlan();
  addGpuVariants(plan, /*only=*/true);
  std::string bytes = packPlan(std::move(plan));
  linkArtifact(path, bytes, makeMetadata(bytes).dump(), "", gpuImages());
  for (bool graphs : {false, true}) {
    SessionOptions options;
    options.graphs = graphs;
    std::unique_ptr<Session> session = open(options);
    ASSERT_TRUE(session);
    EXPECT_EQ(session->call(index(*session, "fails"), {}, {}).toString(),
              "error[MOE0014]: 'layers.3.route' was given an invalid expert "
              "index\n --> function 'fails'\nbecause an index lies outside "
              "[0, experts), or a token names one expert twice\nfix: check "
              "the indices that the call gets\n");
    checkTwice(*session, 5); // Still usable.
  }
}

TEST_F(GpuSession, FunctionsWithoutCodeAreAnError) {
  std::unique_ptr<Session> session = open();
  ASSERT_TRUE(session);
  Status status = session->call(index(*session, "fails"), {}, {});
  EXPECT_EQ(status.number(), 311);
  EXPECT_EQ(status.what(), "function 'fails' has no code for GPUs");
  // And the other way round: an artifact for GPUs only, on a CPU.
  buildGpuArtifact(path, gpuImages(), /*only=*/true);
  auto artifact = Artifact::open(path);
  SessionOptions options;
  options.functions = {"twice"};
  status = Session::create(*artifact, options).status();
  EXPECT_EQ(status.number(), 311);
  EXPECT_EQ(status.what(), "function 'twice' has no code for the CPU");
  EXPECT_NE(status.fix().find("--device=cuda"), std::string::npos);
}

TEST_F(GpuSession, TracesHaveTheGpu) {
  SessionOptions options;
  options.trace = true;
  std::unique_ptr<Session> session = open(options);
  ASSERT_TRUE(session);
  for (int i = 0; i < 3; ++i)
    checkTwice(*session, 50);
  json trace = json::parse(session->traceJson());
  std::map<std::string, int> names;
  double last = 0;
  for (const json &event : trace["traceEvents"]) {
    if (event["ph"] != "X")
      continue;
    ++names[event["name"]];
    if (event["tid"] != 1)
      continue;
    EXPECT_GE(event["ts"].get<double>() + 0.002, last);
    last = event["ts"].get<double>() + event["dur"].get<double>();
  }
  EXPECT_EQ(names["twice.large"], 6) << "once on the host, once on the GPU";
}
