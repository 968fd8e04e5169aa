//===- CApiTest.cpp - Tests of the C interface ----------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moert/moert.h"

#include "TestArtifact.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <thread>

namespace fb = moert::fb;
using namespace moert::test;
using nlohmann::json;

extern "C" int32_t moert_test_open_missing(void);

namespace {

class CApi : public testing::Test {
protected:
  void SetUp() override {
    weights = writeWeights(folder.file("weights"), 5);
    buildArtifact(path, makePlan());
    ASSERT_EQ(moert_module_open(path.c_str(), &module), 0)
        << moert_last_error();
  }
  void TearDown() override {
    moert_session_destroy(session);
    moert_module_close(module);
  }
  void open(const moert_session_options *options = nullptr) {
    ASSERT_EQ(moert_session_create(module, options, &session), 0)
        << moert_last_error();
  }
  uint32_t find(const char *name) {
    uint32_t index = 99;
    EXPECT_EQ(moert_module_find_function(module, name, &index), 0);
    return index;
  }
  static moert_tensor tensor(const std::vector<int64_t> &shape, void *data) {
    return {sizeof(moert_tensor), MOERT_F32, uint32_t(shape.size()),
            shape.data(), data};
  }
  TemporaryFolder folder;
  const std::string path = folder.file("m.moe");
  TestWeights weights;
  moert_module *module = nullptr;
  moert_session *session = nullptr;
};

} // namespace

TEST_F(CApi, ComesFromTheSharedLibrary) {
  Dl_info info;
  ASSERT_TRUE(::dladdr(reinterpret_cast<void *>(moert_version), &info));
  EXPECT_NE(std::string(info.dli_fname).find("libmoert.so.0"),
            std::string::npos)
      << info.dli_fname;
  EXPECT_EQ(moert_abi_version(), uint32_t(MOERT_ABI_VERSION));
  EXPECT_STREQ(moert_version(), "0.1.0");
}

TEST_F(CApi, WorksFromC) { EXPECT_EQ(moert_test_open_missing(), 10); }

TEST_F(CApi, DescribesFunctions) {
  ASSERT_EQ(moert_module_function_count(module), 8u);
  EXPECT_STREQ(moert_module_function_name(module, 1), "linear");
  EXPECT_EQ(moert_module_function_name(module, 8), nullptr);
  EXPECT_EQ(moert_function_input_count(module, 1), 1u);
  EXPECT_EQ(moert_function_output_count(module, 1), 1u);
  moert_tensor_info info = {};
  info.struct_size = sizeof(info);
  ASSERT_EQ(moert_function_output(module, 1, 0, &info), 0);
  EXPECT_STREQ(info.name, "y");
  EXPECT_EQ(info.dtype, MOERT_F32);
  ASSERT_EQ(info.rank, 2u);
  EXPECT_EQ(info.dims[0].size, -1);
  EXPECT_STREQ(info.dims[0].symbol, "N");
  EXPECT_EQ(info.dims[0].max, 4096);
  EXPECT_EQ(info.dims[1].size, 40);
  EXPECT_EQ(info.dims[1].symbol, nullptr);
  EXPECT_EQ(moert_function_input(module, 1, 1, &info), 2);
  EXPECT_EQ(moert_function_input(module, 9, 0, &info), 2);
  json meta = json::parse(moert_module_metadata(module));
  EXPECT_EQ(meta["model"]["name"], "test/Tiny");
}

TEST_F(CApi, UnknownFunctionListsTheKnownOnes) {
  uint32_t index;
  EXPECT_EQ(moert_module_find_function(module, "nope", &index), 2);
  EXPECT_EQ(std::string(moert_last_error()),
            "error[MOE0002]: there is no function 'nope'\n --> " + path +
                "\nbecause the artifact has: twice, linear, experts, level, "
                "fails, slow, scratches, half\nfix: name one of these\n");
}

TEST_F(CApi, RunsAFunction) {
  open();
  std::vector<int64_t> in = {3, 5};
  std::vector<float> x = randomFloats(15, 9), y(120);
  moert_tensor input = tensor(in, x.data());
  int64_t shape[2];
  uint32_t linear = find("linear");
  ASSERT_EQ(moert_session_output_shapes(session, linear, &input, 1, shape, 2),
            0)
      << moert_last_error();
  EXPECT_EQ(shape[0], 3);
  EXPECT_EQ(shape[1], 40);
  EXPECT_EQ(moert_session_output_shapes(session, linear, &input, 1, shape, 1),
            2);
  moert_tensor output = tensor({shape[0], shape[1]}, y.data());
  std::vector<int64_t> out = {3, 40};
  output.shape = out.data();
  ASSERT_EQ(moert_session_call(session, linear, &input, 1, &output, 1), 0)
      << moert_last_error();
  double sum = weights.bias[7];
  for (int k = 0; k < 5; ++k)
    sum += double(x[5 + k]) * weights.w[7 * 5 + k];
  EXPECT_NEAR(y[40 + 7], sum, 1e-5);
}

TEST_F(CApi, SessionOutlivesTheModule) {
  open();
  moert_module_close(module);
  module = nullptr;
  std::vector<int64_t> shape = {2, 5};
  std::vector<float> x(10, 1), y(10);
  moert_tensor input = tensor(shape, x.data());
  moert_tensor output = tensor(shape, y.data());
  EXPECT_EQ(moert_session_call(session, 0, &input, 1, &output, 1), 0);
  EXPECT_EQ(y[9], 2);
}

TEST_F(CApi, OptionsAreRead) {
  const char *names[] = {"experts"};
  moert_session_options options = {};
  options.struct_size = sizeof(options);
  options.threads = 2;
  options.isa = "avx2";
  options.trace = 1;
  options.function_count = 1;
  options.functions = names;
  open(&options);
  EXPECT_STREQ(moert_session_isa(session), "avx2");
  EXPECT_EQ(moert_session_threads(session), 2);
  std::vector<int64_t> shape = {4, 5};
  std::vector<float> x(20);
  moert_tensor input = tensor(shape, x.data());
  ASSERT_EQ(moert_session_call(session, find("experts"), &input, 1, nullptr, 0),
            0)
      << moert_last_error();
  json stats = json::parse(moert_session_expert_stats(session));
  EXPECT_EQ(stats["counts"], json({{2, 2, 2, 2}}));
  EXPECT_NE(std::string(moert_session_trace(session)).find("offsets"),
            std::string::npos);
  moert_session_reset_expert_stats(session);
  stats = json::parse(moert_session_expert_stats(session));
  EXPECT_EQ(stats["counts"], json::array());
}

TEST_F(CApi, ShorterOptionsOfOldCallers) {
  moert_session_options options = {};
  options.struct_size = offsetof(moert_session_options, threads);
  options.isa = "avx2";
  options.threads = -7; // Beyond what the caller says it has.
  open(&options);
  EXPECT_STREQ(moert_session_isa(session), "avx2");
}

TEST_F(CApi, WrongArguments) {
  EXPECT_EQ(moert_module_open(nullptr, &module), 2);
  EXPECT_EQ(moert_session_create(nullptr, nullptr, &session), 2);
  EXPECT_EQ(moert_session_call(nullptr, 0, nullptr, 0, nullptr, 0), 2);
  EXPECT_STREQ(moert_last_error(),
               "error[MOE0002]: argument 'session' is null\n");
  open();
  std::vector<int64_t> shape = {2, 5};
  std::vector<float> x(10), y(10);
  moert_tensor input = tensor(shape, x.data());
  moert_tensor output = tensor(shape, y.data());
  EXPECT_EQ(moert_session_call(session, 0, nullptr, 1, &output, 1), 2);
  input.dtype = 77;
  EXPECT_EQ(moert_session_call(session, 0, &input, 1, &output, 1), 2);
  input.dtype = MOERT_BF16;
  EXPECT_EQ(moert_session_call(session, 0, &input, 1, &output, 1), 13);
  input.struct_size = 3;
  EXPECT_EQ(moert_session_call(session, 0, &input, 1, &output, 1), 2);
  EXPECT_EQ(moert_exit_code(402), 4);
  EXPECT_EQ(moert_exit_code(0), 0);
}

TEST_F(CApi, ErrorsArePerThread) {
  uint32_t index;
  moert_module_find_function(module, "nope", &index);
  std::string mine = moert_last_error();
  std::thread([] {
    EXPECT_STREQ(moert_last_error(), "");
    moert_module *other;
    moert_module_open("/nowhere", &other);
  }).join();
  EXPECT_EQ(moert_last_error(), mine);
}

TEST_F(CApi, RecordsAndReplaysRoutes) {
  fb::PlanT plan = makePlan();
  addRoutes(plan);
  const std::string other = folder.file("routes.moe");
  buildArtifact(other, plan);
  moert_module_close(module);
  ASSERT_EQ(moert_module_open(other.c_str(), &module), 0) << moert_last_error();
  const char *names[] = {"routes"};
  moert_session_options options{};
  options.struct_size = sizeof options;
  options.function_count = 1;
  options.functions = names;
  open(&options);
  std::vector<int32_t> ids = {3, 1, 0, -1}, offsets(5), dropped(4);
  std::vector<int32_t> chosen(4);
  std::vector<float> weights = {0.75f, 0.25f, 1, 0}, shares(4);
  const std::vector<int64_t> pairs = {2, 2}, five = {5}, four = {4};
  auto call = [&] {
    moert_tensor in[] = {
        tensor(pairs, ids.data()), tensor(pairs, weights.data()),
        tensor(five, offsets.data()), tensor(four, dropped.data())};
    for (int i : {0, 2, 3})
      in[i].dtype = MOERT_I32;
    moert_tensor out[] = {tensor(pairs, chosen.data()),
                          tensor(pairs, shares.data())};
    out[0].dtype = MOERT_I32;
    return moert_session_call(session, find("routes"), in, 4, out, 2);
  };
  const std::string file = folder.file("r.safetensors");
  EXPECT_EQ(moert_session_record_routes(nullptr, 1), 2);
  EXPECT_EQ(moert_session_write_routes(session, nullptr), 2);
  EXPECT_EQ(moert_session_write_routes(session, file.c_str()), 2);
  ASSERT_EQ(moert_session_record_routes(session, 1), 0);
  ASSERT_EQ(call(), 0) << moert_last_error();
  ASSERT_EQ(moert_session_write_routes(session, file.c_str()), 0)
      << moert_last_error();
  const std::vector<int32_t> recorded = ids;
  ids = {0, 2, 1, 2};
  ASSERT_EQ(call(), 0);
  EXPECT_EQ(chosen, ids);
  ASSERT_EQ(moert_session_replay_routes(session, file.c_str()), 0)
      << moert_last_error();
  ASSERT_EQ(call(), 0);
  EXPECT_EQ(chosen, recorded);
  ASSERT_EQ(moert_session_replay_routes(session, nullptr), 0);
  ASSERT_EQ(call(), 0);
  EXPECT_EQ(chosen, ids);
  EXPECT_EQ(moert_session_replay_routes(session, path.c_str()), 16);
  EXPECT_EQ(moert_session_replay_routes(session, "/nowhere"), 10);
}
