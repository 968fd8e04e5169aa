//===- RoutesTest.cpp - Tests of recorded and replayed routes -------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestGpu.h"

#include "moert/Format/Safetensors.h"
#include "moert/Session/Session.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <gtest/gtest.h>
#include <limits>

using namespace moert;
using namespace moert::test;
using nlohmann::json;

namespace {

/// What routes() of addRoutes is called with, and gives.
struct Arrays {
  std::vector<int32_t> ids, offsets = {0, 1, 3, 3, 7}, dropped = {0, 2, 0, 5};
  std::vector<float> weights;
  std::vector<int32_t> chosen;
  std::vector<float> shares;
};

class RoutesTest : public testing::Test {
protected:
  void build(const fb::PlanT &plan, const std::string &images = "") {
    std::string bytes = packPlan(plan);
    linkArtifact(path, bytes, makeMetadata(bytes).dump(), "", images);
  }
  std::unique_ptr<Session> open(SessionOptions options = {}) {
    options.functions = {"routes"};
    options.device.threads = 2;
    auto artifact = Artifact::open(path);
    EXPECT_TRUE(artifact.ok()) << artifact.status().toString();
    auto session = Session::create(*artifact, options);
    EXPECT_TRUE(session.ok()) << session.status().toString();
    return session.ok() ? session.take() : nullptr;
  }
  std::unique_ptr<Session> openPlain(bool readOnly = false) {
    fb::PlanT plan = makePlan();
    addRoutes(plan, readOnly);
    build(plan);
    return open();
  }
  /// Random choices of two different experts of 4, some of them missing.
  Arrays choose(int64_t tokens) {
    Arrays a;
    for (int64_t t = 0; t < tokens; ++t) {
      int32_t first = int32_t(random() % 4);
      int32_t second = (first + 1 + int32_t(random() % 3)) % 4;
      a.ids.push_back(first);
      a.ids.push_back(random() % 4 ? second : -1);
    }
    a.weights = randomFloats(2 * tokens, random());
    a.chosen.assign(2 * tokens, 77);
    a.shares.assign(2 * tokens, 77);
    return a;
  }
  template <typename T>
  static TensorView view(fb::DType type, std::vector<int64_t> shape,
                         std::vector<T> &data) {
    return {type, std::move(shape), data.data()};
  }
  static Status call(Session &session, Arrays &a) {
    const int64_t n = int64_t(a.ids.size()) / 2;
    return session.call(
        uint32_t(session.artifact().plan().functions()->size() - 1),
        {view(fb::DType::I32, {n, 2}, a.ids),
         view(fb::DType::F32, {n, 2}, a.weights),
         view(fb::DType::I32, {5}, a.offsets),
         view(fb::DType::I32, {4}, a.dropped)},
        {view(fb::DType::I32, {n, 2}, a.chosen),
         view(fb::DType::F32, {n, 2}, a.shares)});
  }
  static void expectRan(Session &session, Arrays &a, const Arrays &routes) {
    Status status = call(session, a);
    ASSERT_TRUE(status.ok()) << status.toString();
    EXPECT_EQ(a.chosen, routes.ids);
    EXPECT_EQ(0, std::memcmp(a.shares.data(), routes.weights.data(),
                             a.shares.size() * sizeof(float)));
  }
  /// Records a call of `tokens` to `file`; gives what is in it.
  Arrays record(Session &session, int64_t tokens) {
    Arrays a = choose(tokens);
    session.recordRoutes(true);
    expectRan(session, a, a);
    Status status = session.writeRoutes(file);
    EXPECT_TRUE(status.ok()) << status.toString();
    session.recordRoutes(false);
    for (size_t i = 0; i < a.ids.size(); ++i)
      if (a.ids[i] < 0)
        a.weights[i] = 0;
    return a;
  }
  void everyWay(Session &session);

  TemporaryFolder folder;
  const std::string path = folder.file("m.moe");
  const std::string file = folder.file("r.safetensors");
  std::mt19937 random{std::random_device()()};
};

/// Records, replays and both at once, several sizes, in any order.
void RoutesTest::everyWay(Session &session) {
  for (int64_t tokens : {1, 9, 0, 300, 9}) {
    Arrays recorded = record(session, tokens), other = choose(tokens);
    expectRan(session, other, other);
    ASSERT_TRUE(session.replayRoutes(file).ok());
    expectRan(session, other, recorded);
    // What is recorded now is what was used.
    session.recordRoutes(true);
    expectRan(session, other, recorded);
    const std::string before = readFile(file);
    ASSERT_TRUE(session.writeRoutes(file).ok());
    EXPECT_EQ(readFile(file), before);
    session.recordRoutes(false);
    session.stopReplay();
    expectRan(session, other, other);
  }
}

} // namespace

TEST_F(RoutesTest, RecordsAndReplays) {
  std::unique_ptr<Session> session = openPlain();
  ASSERT_TRUE(session);
  everyWay(*session);
}

TEST_F(RoutesTest, RecordsAndReplaysOnAGpu) {
  useStandIn();
  Status status = hal::findDriver("cuda")->available();
  if (!status.ok() || gpuImages().empty())
    GTEST_SKIP() << "no GPU, or no compiler for its kernels\n"
                 << status.toString();
  fb::PlanT plan = makePlan();
  addRoutes(plan);
  addGpuVariants(plan);
  build(plan, gpuImages());
  for (bool graphs : {false, true}) {
    SessionOptions options;
    options.deviceName = "cuda:0";
    options.graphs = graphs;
    std::unique_ptr<Session> session = open(options);
    ASSERT_TRUE(session);
    EXPECT_EQ(session->deviceInfo().name, "cuda:0");
    everyWay(*session);
  }
}

TEST_F(RoutesTest, WritesTheDocumentedFile) {
  std::unique_ptr<Session> session = openPlain();
  Arrays a = record(*session, 3);
  auto opened = SafetensorsFile::open(file);
  ASSERT_TRUE(opened.ok()) << opened.status().toString();
  const SafetensorsFile &routes = **opened;
  const std::map<std::string, std::string> metadata = {
      {"schema", "moe.routes/1"},
      {"model", "test/Tiny"},
      {"fingerprint", session->artifact().plan().fingerprint()->str()},
      {"function", "routes"},
      {"layers.0.experts", "4"},
      {"layers.0.per_token", "2"}};
  EXPECT_EQ(routes.metadata(), metadata);
  ASSERT_EQ(routes.tensors().size(), 2u);
  const TensorEntry *ids = routes.find("layers.0.ids");
  const TensorEntry *weights = routes.find("layers.0.weights");
  ASSERT_TRUE(ids && weights);
  const std::vector<int64_t> shape = {3, 2};
  EXPECT_EQ(ids->dtype, DType::I32);
  EXPECT_EQ(ids->shape, shape);
  EXPECT_EQ(weights->dtype, DType::F32);
  EXPECT_EQ(weights->shape, shape);
  EXPECT_EQ(0, std::memcmp(ids->data, a.ids.data(), 24));
  EXPECT_EQ(0, std::memcmp(weights->data, a.weights.data(), 24));
  EXPECT_EQ(folder.list(),
            (std::vector<std::string>{"m.moe", "r.safetensors"}));
}

TEST_F(RoutesTest, WeightsOfNoExpertAreZero) {
  std::unique_ptr<Session> session = openPlain();
  Arrays a = choose(2);
  a.ids = {3, -1, -1, -1};
  a.weights = {0.5f, 7.0f, std::numeric_limits<float>::quiet_NaN(), -1.0f};
  session->recordRoutes(true);
  ASSERT_TRUE(call(*session, a).ok());
  ASSERT_TRUE(session->writeRoutes(file).ok());
  auto routes = Routes::read(file);
  ASSERT_TRUE(routes.ok()) << routes.status().toString();
  EXPECT_EQ(routes->layers[0].ids, a.ids);
  EXPECT_EQ(routes->layers[0].weights, (std::vector<float>{0.5f, 0, 0, 0}));
}

TEST_F(RoutesTest, WhatCannotBeWritten) {
  std::unique_ptr<Session> session = openPlain();
  EXPECT_EQ(session->writeRoutes(file).toString(),
            "error[MOE0002]: there are no routes to write\nbecause recording "
            "is off\nfix: record, call the function, then write\n");
  session->recordRoutes(true);
  EXPECT_EQ(session->writeRoutes(file).because(),
            "no call was made since recording began");
  record(*session, 2);
  EXPECT_EQ(session->writeRoutes(file).number(), 2);
  session->recordRoutes(true);
  Arrays a = choose(2);
  ASSERT_TRUE(call(*session, a).ok());
  EXPECT_EQ(session->writeRoutes(folder.file("none/r")).number(), 11);
  EXPECT_EQ(folder.list(),
            (std::vector<std::string>{"m.moe", "r.safetensors"}));

  // A function without taps.
  buildArtifact(path, makePlan());
  auto artifact = Artifact::open(path);
  SessionOptions options;
  options.functions = {"twice"};
  auto other = Session::create(*artifact, options);
  ASSERT_TRUE(other.ok());
  (*other)->recordRoutes(true);
  std::vector<float> x(5), y(5);
  ASSERT_TRUE((*other)
                  ->call(0, {view(fb::DType::F32, {1, 5}, x)},
                         {view(fb::DType::F32, {1, 5}, y)})
                  .ok());
  EXPECT_EQ((*other)->writeRoutes(file).toString(),
            "error[MOE0016]: function 'twice' has no routes to write\n --> " +
                path +
                "\nbecause it has no router, or only such whose experts choose "
                "tokens\nfix: call a function with a router\n");
}

TEST_F(RoutesTest, RoutesOfOtherCalls) {
  std::unique_ptr<Session> session = openPlain();
  record(*session, 3);
  ASSERT_TRUE(session->replayRoutes(file).ok());
  Arrays a = choose(4);
  EXPECT_EQ(call(*session, a).toString(),
            "error[MOE0016]: the routes of layer 'layers.0' are of 3 tokens, "
            "the call has 4\n --> function 'routes'\nfix: record the routes "
            "with this artifact and as many tokens\n");
  // The session goes on.
  a = choose(3);
  ASSERT_TRUE(call(*session, a).ok());

  // A tap behind the kernel that used the ids.
  session = openPlain(/*readOnly=*/true);
  Arrays recorded = record(*session, 3);
  EXPECT_EQ(recorded.chosen, recorded.ids);
  ASSERT_TRUE(session->replayRoutes(file).ok());
  EXPECT_EQ(call(*session, a).toString(),
            "error[MOE0016]: routes of layer 'layers.0' cannot be replayed on "
            "cpu\n --> function 'routes'\nbecause one kernel chooses the "
            "experts and builds the lists there\nfix: replay them with "
            "--device=cpu\n");

  // Other experts; another function; another model.
  fb::PlanT plan = makePlan();
  addRoutes(plan);
  fb::TapRoutesT &tap =
      *plan.functions.back()->variants[0]->commands[2]->command.AsTapRoutes();
  tap.experts = 8;
  build(plan);
  session = open();
  ASSERT_TRUE(session->replayRoutes(file).ok());
  EXPECT_EQ(call(*session, a).what(),
            "the routes of layer 'layers.0' choose 2 of 4 experts, the "
            "artifact 2 of 8");
  tap.layer = "layers.1";
  build(plan);
  session = open();
  ASSERT_TRUE(session->replayRoutes(file).ok());
  EXPECT_EQ(call(*session, a).what(),
            "there are no routes of layer 'layers.1'");
  plan.functions.back()->variants[0]->commands.erase(
      plan.functions.back()->variants[0]->commands.begin() + 2);
  build(plan);
  session = open();
  ASSERT_TRUE(session->replayRoutes(file).ok());
  EXPECT_EQ(call(*session, a).what(),
            "there are routes of 1 layers, the function has 0");
  plan.functions.back()->name = "other";
  build(plan);
  auto artifact = Artifact::open(path);
  auto other = Session::create(*artifact, {});
  EXPECT_FALSE(other.ok()); // Without weights.
  SessionOptions options;
  options.functions = {"other"};
  other = Session::create(*artifact, options);
  ASSERT_TRUE(other.ok());
  EXPECT_EQ((*other)->replayRoutes(file).toString(),
            "error[MOE0016]: the routes are of function 'routes'\n --> " +
                file +
                "\nbecause the artifact has no such function\nfix: record "
                "them with this artifact\n");
  plan = makePlan();
  addRoutes(plan);
  plan.weights[0]->sources[0] = "another";
  build(plan);
  session = open();
  const std::string mine = session->artifact().plan().fingerprint()->str();
  EXPECT_EQ(session->replayRoutes(file).what(),
            "the routes are of another model");
  EXPECT_NE(session->replayRoutes(file).because().find(mine),
            std::string::npos);
}

TEST_F(RoutesTest, CallsOfOtherFunctionsWhileReplaying) {
  std::unique_ptr<Session> session = openPlain();
  record(*session, 3);
  ASSERT_TRUE(session->replayRoutes(file).ok());
  std::vector<float> x(5), y(5);
  auto twice = [&] {
    return session->call(0, {view(fb::DType::F32, {1, 5}, x)},
                         {view(fb::DType::F32, {1, 5}, y)});
  };
  EXPECT_EQ(twice().toString(),
            "error[MOE0016]: the routes are of function 'routes'\n --> "
            "function 'twice'\nfix: stop the replay before other functions "
            "are called\n");
  session->stopReplay();
  EXPECT_TRUE(twice().ok());
}

namespace {

/// A file of routes that tests damage.
struct RoutesFile {
  std::map<std::string, std::string> metadata = {{"schema", "moe.routes/1"},
                                                 {"function", "f"},
                                                 {"l.experts", "4"},
                                                 {"l.per_token", "2"}};
  std::vector<TensorSpec> specs = {{"l.ids", DType::I32, {3, 2}},
                                   {"l.weights", DType::F32, {3, 2}}};
  std::vector<int32_t> ids = {0, 3, 2, -1, -1, -1};

  Status read(const std::string &path) {
    auto writer = SafetensorsWriter::create(path, specs, metadata);
    EXPECT_TRUE(writer.ok());
    for (const TensorSpec &spec : specs) {
      std::string bytes(*shapeBytes(spec.shape, byteSize(spec.dtype)), '\0');
      if (&spec == &specs[0])
        std::memcpy(bytes.data(), ids.data(),
                    std::min(bytes.size(), ids.size() * 4));
      EXPECT_TRUE(writer->write(bytes.data(), bytes.size()).ok());
    }
    EXPECT_TRUE(writer->finish().ok());
    return Routes::read(path).status();
  }
};

} // namespace

TEST_F(RoutesTest, DamagedFiles) {
  auto read = [&](const std::function<void(RoutesFile &)> &change) {
    RoutesFile routes;
    change(routes);
    return routes.read(file);
  };
  auto why = [&](const std::function<void(RoutesFile &)> &change) {
    Status status = read(change);
    EXPECT_EQ(status.number(), 16);
    EXPECT_EQ(status.what(), "not a file of routes");
    EXPECT_EQ(status.where(), file);
    return status.because();
  };
  EXPECT_TRUE(read([](auto &) {}).ok());
  EXPECT_EQ(why([](auto &r) { r.metadata.clear(); }),
            "its schema is '', not moe.routes/1");
  EXPECT_EQ(why([](auto &r) { r.metadata["schema"] = "moe.routes/2"; }),
            "its schema is 'moe.routes/2', not moe.routes/1");
  EXPECT_EQ(why([](auto &r) { r.specs.clear(); }),
            "it has no tensor '<layer>.ids'");
  EXPECT_EQ(why([](auto &r) { r.specs.pop_back(); }),
            "it has no tensor 'l.weights'");
  EXPECT_EQ(why([](auto &r) { r.specs.push_back({"m", DType::U8, {1}}); }),
            "it has tensors that belong to no layer");
  EXPECT_EQ(why([](auto &r) { r.metadata.erase("l.experts"); }),
            "its metadata 'l.experts' is '', not a number");
  EXPECT_EQ(why([](auto &r) { r.metadata["l.per_token"] = "-2"; }),
            "its metadata 'l.per_token' is '-2', not a number");
  EXPECT_EQ(why([](auto &r) { r.specs[0].dtype = DType::F32; }),
            "tensor 'l.ids' is F32 [3, 2], needed is I32 [tokens, 2]");
  EXPECT_EQ(why([](auto &r) { r.specs[1].dtype = DType::I32; }),
            "tensor 'l.weights' is I32 [3, 2], needed is F32 [tokens, 2]");
  EXPECT_EQ(why([](auto &r) { r.specs[1].shape = {4, 2}; }),
            "tensor 'l.weights' is F32 [4, 2], needed is F32 [tokens, 2]");
  EXPECT_EQ(why([](auto &r) { r.specs[0].shape = {6}; }),
            "tensor 'l.ids' is I32 [6], needed is I32 [tokens, 2]");
  EXPECT_EQ(why([](auto &r) { r.metadata["l.per_token"] = "3"; }),
            "tensor 'l.ids' is I32 [3, 2], needed is I32 [tokens, 3]");
  EXPECT_EQ(why([](auto &r) { r.metadata["l.experts"] = "4294967295"; }),
            "its layer 'l' chooses 2 of 4294967295 experts");
  EXPECT_EQ(why([](auto &r) { r.metadata["l.experts"] = "1048577"; }),
            "its layer 'l' chooses 2 of 1048577 experts");
  EXPECT_TRUE(read([](auto &r) { r.metadata["l.experts"] = "1048576"; }).ok());
  EXPECT_EQ(why([](auto &r) { r.metadata["l.experts"] = "1"; }),
            "its layer 'l' chooses 2 of 1 experts");
  // No bytes, but many tokens.
  EXPECT_EQ(why([](auto &r) {
              r.metadata["l.per_token"] = "0";
              r.specs[0].shape = r.specs[1].shape = {int64_t(1) << 60, 0};
            }),
            "its layer 'l' chooses 0 of 4 experts");

  EXPECT_EQ(read([](auto &r) { r.ids[4] = 4; }).toString(),
            "error[MOE0014]: token 2 of layer 'l' has expert 4, outside 0 to "
            "3\n --> " +
                file +
                "\nfix: record the routes again: moe-run "
                "--record-routes=FILE\n");
  EXPECT_EQ(read([](auto &r) { r.ids[0] = -2; }).what(),
            "token 0 of layer 'l' has expert -2, outside 0 to 3");
  EXPECT_EQ(read([](auto &r) { r.ids[3] = 2; }).what(),
            "token 1 of layer 'l' has expert 2 twice");

  std::string bytes = readFile(file);
  for (size_t size : {size_t(0), size_t(7), size_t(50), bytes.size() - 1}) {
    writeBytes(file, bytes.substr(0, size));
    EXPECT_EQ(Routes::read(file).status().what(), "not a file of routes");
    EXPECT_EQ(Routes::read(file).status().number(), 16) << size;
  }
  EXPECT_EQ(Routes::read(file).status().because(),
            "tensor 'l.weights' at [24, 48) reaches past the 47 bytes of data "
            "in the file");
  EXPECT_EQ(Routes::read(folder.file("none")).status().number(), 10);
}

TEST_F(RoutesTest, TapsOutsideTheirMemory) {
  fb::PlanT plan = makePlan();
  addRoutes(plan);
  auto &commands = plan.functions.back()->variants[0]->commands;
  commands[2]->command.AsTapRoutes()->tokens->constant = 1;
  build(plan);
  std::unique_ptr<Session> session = open();
  Arrays a = choose(3);
  // Nothing is wrong while the tap does nothing.
  expectRan(*session, a, a);
  session->recordRoutes(true);
  EXPECT_EQ(call(*session, a).what(),
            "routes of layer 'layers.0' are larger than their memory");
  session->recordRoutes(false);
  expectRan(*session, a, a);
}

TEST_F(RoutesTest, CountsDroppedPairs) {
  std::unique_ptr<Session> session = openPlain();
  Arrays a = choose(7);
  for (int i = 0; i < 2; ++i)
    ASSERT_TRUE(call(*session, a).ok());
  json stats = json::parse(session->expertStatsJson());
  EXPECT_EQ(stats["tokens"], json::parse("[14]"));
  EXPECT_EQ(stats["counts"], json::parse("[[2, 4, 0, 8]]"));
  EXPECT_EQ(stats["dropped"], json::parse("[[0, 4, 0, 10]]"));

  // What limits cut from a choice that a replay does without is not counted.
  record(*session, 7);
  ASSERT_TRUE(session->replayRoutes(file).ok());
  ASSERT_TRUE(call(*session, a).ok());
  stats = json::parse(session->expertStatsJson());
  EXPECT_EQ(stats["tokens"], json::parse("[28]"));
  EXPECT_EQ(stats["counts"], json::parse("[[4, 8, 0, 16]]"));
  EXPECT_EQ(stats["dropped"], json::parse("[[0, 6, 0, 15]]"));

  // Fewer counts than experts.
  fb::PlanT plan = makePlan();
  addRoutes(plan);
  plan.functions.back()->inputs[3]->dims[0] = fb::Dim(-1, 3);
  build(plan);
  session = open();
  a.dropped.resize(3);
  const int64_t n = 7;
  EXPECT_EQ(session
                ->call(uint32_t(plan.functions.size() - 1),
                       {view(fb::DType::I32, {n, 2}, a.ids),
                        view(fb::DType::F32, {n, 2}, a.weights),
                        view(fb::DType::I32, {5}, a.offsets),
                        view(fb::DType::I32, {3}, a.dropped)},
                       {view(fb::DType::I32, {n, 2}, a.chosen),
                        view(fb::DType::F32, {n, 2}, a.shares)})
                .what(),
            "counts of dropped pairs of layer 'layers.0' are too few");
}
