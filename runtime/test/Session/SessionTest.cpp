//===- SessionTest.cpp - Tests of sessions --------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestArtifact.h"

#include "moert/Session/Session.h"

#include <cstring>
#include <gtest/gtest.h>
#include <thread>

using namespace moert;
using namespace moert::test;
using nlohmann::json;

namespace {

class SessionTest : public testing::Test {
protected:
  void SetUp() override { weights = writeWeights(folder.file("weights"), 11); }

  std::unique_ptr<Session> open(SessionOptions options = {}) {
    return open(makePlan(), options);
  }
  std::unique_ptr<Session> open(const fb::PlanT &plan,
                                SessionOptions options = {}) {
    auto session = create(plan, options);
    EXPECT_TRUE(session.ok()) << session.status().toString();
    return session.ok() ? session.take() : nullptr;
  }
  StatusOr<std::unique_ptr<Session>> create(const fb::PlanT &plan,
                                            SessionOptions options = {}) {
    buildArtifact(path, plan);
    auto artifact = Artifact::open(path);
    EXPECT_TRUE(artifact.ok()) << artifact.status().toString();
    return Session::create(*artifact, options);
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
  /// Runs twice() on n rows and checks the result.
  static void checkTwice(Session &session, int64_t n) {
    std::vector<float> x = randomFloats(5 * n, 20 + n), y(5 * n, -1);
    Status status = session.call(0, {view(fb::DType::F32, {n, 5}, x)},
                                 {view(fb::DType::F32, {n, 5}, y)});
    ASSERT_TRUE(status.ok()) << status.toString();
    for (size_t i = 0; i < x.size(); ++i)
      ASSERT_EQ(y[i], 2 * x[i]);
  }
  /// Runs linear() on n rows and compares with a plain loop.
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
};

SessionOptions threads(int32_t count) {
  SessionOptions options;
  options.device.threads = count;
  return options;
}

} // namespace

TEST_F(SessionTest, RunsBothVariantsForAnyNumberOfTokens) {
  for (int32_t count : {1, 2, 3}) {
    std::unique_ptr<Session> session = open(threads(count));
    ASSERT_TRUE(session);
    // Growing and shrinking workspaces.
    for (int64_t n : {0, 1, 2, 17, 1000, 3, 4096, 0})
      checkTwice(*session, n);
    EXPECT_EQ(session->workspaceBytes(), 20u * 4096);
  }
}

TEST_F(SessionTest, ExternalWeightsArePacked) {
  std::unique_ptr<Session> session = open(threads(2));
  ASSERT_TRUE(session);
  for (int64_t n : {0, 1, 7, 100})
    checkLinear(*session, n);
  EXPECT_EQ(session->weights().source(), folder.file("weights"));
}

TEST_F(SessionTest, PackedWeightsAreMapped) {
  fb::PlanT plan = makePlan();
  plan.weights_mode = fb::WeightsMode::Packed;
  buildArtifact(path, plan);
  auto artifact = Artifact::open(path);
  auto checkpoint = Checkpoint::open(folder.file("weights"));
  ASSERT_TRUE(artifact.ok() && checkpoint.ok());
  ASSERT_TRUE(writePackedWeights((*artifact)->plan(), **checkpoint,
                                 (*artifact)->packedPath())
                  .ok());
  auto session = Session::create(*artifact, threads(2));
  ASSERT_TRUE(session.ok()) << session.status().toString();
  checkLinear(**session, 9);
  EXPECT_EQ((*session)->weights().source(), path + ".weights.safetensors");
}

TEST_F(SessionTest, EmbeddedWeightsAreUsedInPlace) {
  fb::PlanT plan = makePlan();
  plan.weights_mode = fb::WeightsMode::Embedded;
  plan.embedded_offsets = {0, 1280};
  std::string bytes = packPlan(std::move(plan));
  const fb::Plan *read = fb::GetPlan(bytes.data());
  auto checkpoint = Checkpoint::open(folder.file("weights"));
  std::string embedded(1280 + 160, '\0');
  for (uint32_t i = 0; i < 2; ++i)
    ASSERT_TRUE(
        packConstant(*read, *read->constants()->Get(i), **checkpoint,
                     reinterpret_cast<uint8_t *>(embedded.data()) + 1280 * i)
            .ok());
  linkArtifact(path, bytes, makeMetadata(bytes).dump(), embedded);
  auto artifact = Artifact::open(path);
  ASSERT_TRUE(artifact.ok()) << artifact.status().toString();
  auto session = Session::create(*artifact, threads(2));
  ASSERT_TRUE(session.ok()) << session.status().toString();
  checkLinear(**session, 9);
}

//===----------------------------------------------------------------------===//
// Finding and checking weights
//===----------------------------------------------------------------------===//

TEST_F(SessionTest, MissingWeightsListThePlaces) {
  ASSERT_EQ(runCommand("rm -r " + folder.file("weights")).exitCode, 0);
  auto session = create(makePlan());
  EXPECT_EQ(session.status().toString(),
            "error[MOE0401]: weights not found for '" + path +
                "'\nbecause searched: '" + folder.path +
                "/weights' (there is no such file or folder); '" + folder.path +
                "/elsewhere' (there is no such file or folder)\n"
                "fix: name the folder of the checkpoint: --weights=DIR\n");
}

TEST_F(SessionTest, RecordedPathIsSearched) {
  ASSERT_EQ(runCommand("mv " + folder.file("weights") + " " +
                       folder.file("elsewhere"))
                .exitCode,
            0);
  std::unique_ptr<Session> session = open();
  ASSERT_TRUE(session);
  EXPECT_EQ(session->weights().source(), folder.path + "/elsewhere");
}

TEST_F(SessionTest, WeightsOfAnotherModel) {
  auto writer = SafetensorsWriter::create(
      folder.file("weights/model.safetensors"), {{"z", DType::U8, {1}}});
  ASSERT_TRUE(writer->write("z", 1).ok() && writer->finish().ok());
  auto session = create(makePlan());
  EXPECT_EQ(session.status().number(), 402);
  EXPECT_EQ(session.status().what(),
            "2 tensors do not match this artifact: tensor 'w0' is missing; "
            "tensor 'bias' is missing");
}

TEST_F(SessionTest, PackedWeightsOfAnotherModel) {
  fb::PlanT plan = makePlan();
  plan.weights_mode = fb::WeightsMode::Packed;
  buildArtifact(path, plan);
  auto writer = SafetensorsWriter::create(
      path + ".weights.safetensors", {{"z", DType::U8, {1}}},
      {{"layout", packedLayoutId}, {"fingerprint", "0123456789abcdef"}});
  ASSERT_TRUE(writer->write("z", 1).ok() && writer->finish().ok());
  auto artifact = Artifact::open(path);
  auto session = Session::create(*artifact, {});
  EXPECT_EQ(session.status().toString(),
            "error[MOE0403]: weights of another model\n --> " + path +
                ".weights.safetensors\nbecause the fingerprint of the file is "
                "'0123456789abcdef', the artifact needs '" +
                (*artifact)->plan().fingerprint()->str() +
                "'\nfix: give the file that was written with this artifact\n");
}

TEST_F(SessionTest, PackedWeightsAreMissing) {
  fb::PlanT plan = makePlan();
  plan.weights_mode = fb::WeightsMode::Packed;
  auto session = create(plan);
  EXPECT_EQ(session.status().number(), 401);
  EXPECT_EQ(session.status().because(),
            "searched: '" + path + ".weights.safetensors'");
}

TEST_F(SessionTest, ContentsAreVerifiedOnRequest) {
  std::string bytes = packPlan(makePlan());
  json meta = makeMetadata(bytes);
  meta["weights"]["content_xxh3"] = {
      {"w0", xxh3Hex(weights.w.data(), 800)},
      {"bias", xxh3Hex(weights.bias.data(), 160)}};
  linkArtifact(path, bytes, meta.dump());
  SessionOptions options;
  options.weights.verifyContents = true;
  auto session = Session::create(*Artifact::open(path), options);
  ASSERT_TRUE(session.ok()) << session.status().toString();
  EXPECT_EQ((*session)->weights().hashesCompared(), 2u);

  writeWeights(folder.file("weights"), 12);
  session = Session::create(*Artifact::open(path), options);
  EXPECT_EQ(session.status().number(), 406);
  EXPECT_EQ(session.status().what(),
            "contents of 'w0' differ from those at compile time");
  options.weights.verifyContents = false;
  EXPECT_TRUE(Session::create(*Artifact::open(path), options).ok());
}

TEST_F(SessionTest, OnlyTheNamedFunctionsLoadWeights) {
  ASSERT_EQ(runCommand("rm -r " + folder.file("weights")).exitCode, 0);
  SessionOptions options;
  options.functions = {"twice"};
  std::unique_ptr<Session> session = open(options);
  ASSERT_TRUE(session);
  checkTwice(*session, 3);
  std::vector<float> x(5), y(40);
  EXPECT_EQ(session
                ->call(1, {view(fb::DType::F32, {1, 5}, x)},
                       {view(fb::DType::F32, {1, 40}, y)})
                .what(),
            "function 'linear' was left out of this session");
  options.functions = {"twise"};
  EXPECT_EQ(create(makePlan(), options).status().what(),
            "there is no function 'twise'");
}

//===----------------------------------------------------------------------===//
// Wrong arguments
//===----------------------------------------------------------------------===//

TEST_F(SessionTest, WrongArgumentsAreRefused) {
  std::unique_ptr<Session> session = open();
  ASSERT_TRUE(session);
  std::vector<float> x(64), y(64);
  auto f32 = fb::DType::F32;
  auto error = [&](TensorView in, TensorView out) {
    return session->call(0, {in}, {out}).toString();
  };
  TensorView good = view(f32, {3, 5}, x), out = view(f32, {3, 5}, y);
  EXPECT_EQ(error(good, out), "");
  EXPECT_EQ(error(view(fb::DType::BF16, {3, 5}, x), out),
            "error[MOE0013]: input 'x' is bf16, needed is f32 [N, 5]\n --> "
            "function 'twice'\nfix: convert the array first\n");
  EXPECT_EQ(error(view(f32, {15}, x), out),
            "error[MOE0013]: input 'x' has rank 1, shape [15], needed is f32 "
            "[N, 5]\n --> function 'twice'\nfix: give an array of rank 2\n");
  EXPECT_EQ(error(view(f32, {5, 3}, x), out),
            "error[MOE0013]: input 'x' has shape [5, 3], needed is f32 [N, "
            "5]\n --> function 'twice'\nfix: dimension 1 must be 5\n");
  EXPECT_EQ(error(good, view(f32, {4, 5}, y)),
            "error[MOE0013]: output 'y' has shape [4, 5] instead of [3, 5], "
            "needed is f32 [N, 5]\n --> function 'twice'\nfix: give an array "
            "of this shape\n");
  EXPECT_EQ(error(good, {f32, {3, 5}, nullptr}),
            "error[MOE0013]: output 'y' has no memory, needed is f32 [N, "
            "5]\n --> function 'twice'\nfix: give its address\n");
  char *odd = reinterpret_cast<char *>(x.data()) + 1;
  EXPECT_EQ(error({f32, {3, 5}, odd}, out),
            "error[MOE0013]: input 'x' is not aligned to its elements, "
            "needed is f32 [N, 5]\n --> function 'twice'\nfix: copy it into "
            "aligned memory\n");
  EXPECT_EQ(session->call(0, {}, {out}).number(), 13);
  EXPECT_EQ(session->call(0, {good}, {}).number(), 13);
  EXPECT_EQ(session->call(99, {good}, {out}).number(), 2);
}

TEST_F(SessionTest, EmptyArraysNeedNoMemory) {
  std::unique_ptr<Session> session = open();
  ASSERT_TRUE(session);
  Status status = session->call(0, {{fb::DType::F32, {0, 5}, nullptr}},
                                {{fb::DType::F32, {0, 5}, nullptr}});
  EXPECT_TRUE(status.ok()) << status.toString();
}

TEST_F(SessionTest, KernelErrorsNameTheDispatch) {
  std::unique_ptr<Session> session = open(threads(3));
  ASSERT_TRUE(session);
  Status status = session->call(index(*session, "fails"), {}, {});
  EXPECT_EQ(status.toString(),
            "error[MOE0014]: 'layers.3.route' was given an invalid expert "
            "index\n --> function 'fails'\nbecause an index lies outside [0, "
            "experts), or a token names one expert twice\nfix: check the "
            "indices that the call gets\n");
  checkTwice(*session, 5); // Still usable.
}

TEST_F(SessionTest, CopiesStayInsideTheirMemory) {
  fb::PlanT plan = makePlan();
  plan.functions[0]
      ->variants[1]
      ->commands[1]
      ->command.AsCopy()
      ->size->coefficients = {21};
  std::unique_ptr<Session> session = open(plan);
  ASSERT_TRUE(session);
  std::vector<float> x(64), y(64);
  EXPECT_EQ(session
                ->call(0, {view(fb::DType::F32, {3, 5}, x)},
                       {view(fb::DType::F32, {3, 5}, y)})
                .what(),
            "copy 'twice.copy' of 63 bytes is larger than its memory");
}

TEST_F(SessionTest, MissedDeadlineEndsTheSession) {
  SessionOptions options = threads(2);
  options.device.dispatchTimeout = 0.05;
  std::unique_ptr<Session> session = open(options);
  ASSERT_TRUE(session);
  Status status = session->call(index(*session, "slow"), {}, {});
  EXPECT_EQ(status.toString(),
            "error[MOE0015]: 1 of 2 workers did not finish in time\n --> "
            "function 'slow'\nnote: while running 'layers.7.slow'\nfix: "
            "create a new session with a longer timeout\n");
  std::vector<float> x(5), y(5);
  EXPECT_EQ(session
                ->call(0, {view(fb::DType::F32, {1, 5}, x)},
                       {view(fb::DType::F32, {1, 5}, y)})
                .what(),
            "the session is not usable after a missed deadline");
  // The worker ends before the code of its kernel could be missed.
  session.reset();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
}

//===----------------------------------------------------------------------===//
// Levels, statistics, traces, the embedder's threads
//===----------------------------------------------------------------------===//

TEST_F(SessionTest, LevelsCanBeChosen) {
  for (const char *isa : {"avx2", "avx512", "amx"}) {
    SessionOptions options;
    options.device.isa = isa;
    auto session = create(makePlan(), options);
    if (!session.ok()) {
      EXPECT_EQ(session.status().number(), 310);
      continue;
    }
    std::vector<int32_t> y(1, -1);
    ASSERT_TRUE((*session)
                    ->call(index(**session, "level"), {},
                           {view(fb::DType::I32, {1}, y)})
                    .ok());
    EXPECT_EQ((*session)->deviceInfo().level, isa);
    EXPECT_EQ(y[0], std::string(isa) == "avx2"     ? 0
                    : std::string(isa) == "avx512" ? 1
                                                   : 2);
  }
}

TEST_F(SessionTest, CountsExperts) {
  std::unique_ptr<Session> session = open();
  ASSERT_TRUE(session);
  std::vector<float> x(25);
  uint32_t experts = index(*session, "experts");
  for (int64_t n : {5, 0, 1})
    ASSERT_TRUE(
        session->call(experts, {view(fb::DType::F32, {n, 5}, x)}, {}).ok());
  json stats = json::parse(session->expertStatsJson());
  EXPECT_EQ(stats["schema"], "moe.expert_stats/1");
  EXPECT_EQ(stats["layers"], json({"layers.0"}));
  EXPECT_EQ(stats["num_experts"], 4);
  EXPECT_EQ(stats["top_k"], 2);
  EXPECT_EQ(stats["tokens"], json({6}));
  EXPECT_EQ(stats["counts"], json({{4, 4, 2, 2}}));
  session->resetExpertStats();
  EXPECT_EQ(json::parse(session->expertStatsJson())["layers"], json::array());
}

TEST_F(SessionTest, TraceNestsStrictly) {
  SessionOptions options = threads(2);
  options.trace = true;
  std::unique_ptr<Session> session = open(options);
  ASSERT_TRUE(session);
  for (int i = 0; i < 3; ++i)
    checkTwice(*session, 50);
  json trace = json::parse(session->traceJson());
  // By track: spans as (begin, end), checked to nest or follow.
  std::map<int, std::vector<std::pair<double, double>>> open;
  std::map<std::string, int> names;
  for (const json &event : trace["traceEvents"]) {
    if (event["ph"] != "X")
      continue;
    ++names[event["name"]];
    double begin = event["ts"], end = begin + event["dur"].get<double>();
    auto &stack = open[event["tid"]];
    // Times are rounded to a nanosecond.
    while (!stack.empty() && stack.back().second <= begin + 0.0005)
      stack.pop_back();
    if (!stack.empty()) {
      EXPECT_LE(end, stack.back().second + 0.0015) << event;
    }
    stack.emplace_back(begin, end);
  }
  EXPECT_EQ(open.size(), 3u) << "host and two workers";
  EXPECT_EQ(names["twice"], 3);
  EXPECT_EQ(names["twice.large"], 9) << "once on the host, twice on workers";
  EXPECT_EQ(names["twice.copy"], 3);
}

namespace {
struct Embedder {
  int dispatches = 0;
  int skip = 0;
  static void run(void *user, int32_t count,
                  void (*body)(void *context, int32_t index), void *context) {
    auto *self = static_cast<Embedder *>(user);
    ++self->dispatches;
    std::vector<std::thread> threads;
    for (int32_t i = count - 1; i >= self->skip; --i)
      threads.emplace_back([=] { body(context, i); });
    for (std::thread &thread : threads)
      thread.join();
  }
};
} // namespace

TEST_F(SessionTest, EmbedderMayBringItsThreads) {
  Embedder embedder;
  SessionOptions options = threads(3);
  options.device.parallel = Embedder::run;
  options.device.parallelUser = &embedder;
  std::unique_ptr<Session> session = open(options);
  ASSERT_TRUE(session);
  const int before = embedder.dispatches;
  checkTwice(*session, 100);
  checkLinear(*session, 100);
  EXPECT_EQ(embedder.dispatches, before + 2);
  embedder.skip = 1;
  std::vector<float> x(50), y(50);
  EXPECT_EQ(session
                ->call(0, {view(fb::DType::F32, {10, 5}, x)},
                       {view(fb::DType::F32, {10, 5}, y)})
                .what(),
            "the parallel function of the embedder ran 2 of 3 workers");
}

TEST_F(SessionTest, CallsOfSeveralThreadsFollowEachOther) {
  std::unique_ptr<Session> session = open(threads(2));
  ASSERT_TRUE(session);
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t)
    callers.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i)
        checkTwice(*session, 10 * t + i);
    });
  for (std::thread &caller : callers)
    caller.join();
}

TEST_F(SessionTest, WorkspaceThatDoesNotFitIsAnError) {
  fb::PlanT plan = makePlan();
  auto &sizes = plan.functions[0]->variants[1]->buffers[0]->sizes;
  sizes.resize(1);
  sizes[0]->coefficients = {int64_t(1) << 50};
  std::unique_ptr<Session> session = open(plan);
  ASSERT_TRUE(session);
  std::vector<float> x(50), y(50);
  Status status = session->call(0, {view(fb::DType::F32, {4, 5}, x)},
                                {view(fb::DType::F32, {4, 5}, y)});
  EXPECT_EQ(status.number(), 601);
  EXPECT_EQ(status.exitCode(), 6);
  EXPECT_EQ(status.fix(),
            "call with fewer tokens, or use a machine with more memory");
  checkTwice(*session, 1);
}
