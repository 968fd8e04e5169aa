//===- RoutesToolTest.cpp - Tests of moe-run with routes ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestArtifact.h"

#include "moert/Format/Npy.h"

#include <cstring>
#include <gtest/gtest.h>

using namespace moert;
using namespace moert::test;
using nlohmann::json;

namespace {

class RoutesToolTest : public testing::Test {
protected:
  void SetUp() override {
    fb::PlanT plan = makePlan();
    addRoutes(plan);
    buildArtifact(folder.file("m.moe"), plan);
    write("offsets", {5}, {0, 1, 1, 4, 6});
    write("dropped", {4}, {0, 7, 0, 2});
  }
  void write(const std::string &name, std::vector<int64_t> shape,
             const std::vector<int32_t> &data) {
    ASSERT_TRUE(writeNpy(folder.file(name + ".npy"), DType::I32, shape,
                         reinterpret_cast<const uint8_t *>(data.data()))
                    .ok());
  }
  void writeChoice(const std::vector<int32_t> &ids) {
    const int64_t n = int64_t(ids.size()) / 2;
    write("ids", {n, 2}, ids);
    std::vector<float> weights = randomFloats(ids.size(), 3);
    ASSERT_TRUE(
        writeNpy(folder.file("weights.npy"), DType::F32, {n, 2}, weights.data())
            .ok());
  }
  CommandResult run(const std::string &arguments) {
    return runCommand("cd " + folder.path + " && " + MOE_RUN +
                      " m.moe --function=routes --input=@ids.npy "
                      "--input=@weights.npy --input=@offsets.npy "
                      "--input=@dropped.npy --output=chosen=@c.npy "
                      "--output=shares=@s.npy -q " +
                      arguments);
  }
  std::vector<int32_t> chosen() {
    auto array = readNpy(folder.file("c.npy"));
    EXPECT_TRUE(array.ok()) << array.status().toString();
    std::vector<int32_t> values(array->bytes / 4);
    std::memcpy(values.data(), array->data, array->bytes);
    return values;
  }
  TemporaryFolder folder;
};

} // namespace

TEST_F(RoutesToolTest, RecordsAndReplays) {
  const std::vector<int32_t> first = {0, 1, 3, -1, 2, 0};
  const std::vector<int32_t> second = {2, 3, 1, 0, 3, 1};
  writeChoice(first);
  CommandResult result =
      run("--record-routes=r.safetensors --expert-stats=e.json --repeat=3");
  ASSERT_EQ(result.exitCode, 0) << result.err;
  EXPECT_EQ(chosen(), first);
  json stats = json::parse(readFile(folder.file("e.json")));
  EXPECT_EQ(stats["counts"], json::parse("[[1, 0, 3, 2]]"));
  EXPECT_EQ(stats["dropped"], json::parse("[[0, 7, 0, 2]]"));

  writeChoice(second);
  ASSERT_EQ(run("").exitCode, 0);
  EXPECT_EQ(chosen(), second);
  result = run("--replay-routes=r.safetensors --record-routes=q.safetensors");
  ASSERT_EQ(result.exitCode, 0) << result.err;
  EXPECT_EQ(chosen(), first);
  EXPECT_EQ(readFile(folder.file("q.safetensors")),
            readFile(folder.file("r.safetensors")));
}

TEST_F(RoutesToolTest, Errors) {
  writeChoice({0, 1});
  ASSERT_EQ(run("--record-routes=r.safetensors").exitCode, 0);
  writeChoice({0, 1, 2, 3});
  CommandResult result = run("--replay-routes=r.safetensors");
  EXPECT_EQ(result.exitCode, 1);
  EXPECT_EQ(result.err, "error[MOE0016]: the routes of layer 'layers.0' are of "
                        "1 tokens, the call has 2\n --> function 'routes'\n"
                        "fix: record the routes with this artifact and as many "
                        "tokens\n");
  result = run("--replay-routes=none.safetensors");
  EXPECT_EQ(result.err.substr(0, 15), "error[MOE0010]:");
  const std::string bytes = readFile(folder.file("r.safetensors"));
  writeBytes(folder.file("r.safetensors"), bytes.substr(0, bytes.size() - 1));
  result = run("--replay-routes=r.safetensors");
  EXPECT_EQ(result.err.substr(0, 15), "error[MOE0016]:");
  // A folder that does not exist: nothing is left behind.
  const std::vector<std::string> before = folder.list();
  result = run("--record-routes=none/r.safetensors");
  EXPECT_EQ(result.exitCode, 1);
  EXPECT_EQ(result.err.substr(0, 15), "error[MOE0011]:");
  EXPECT_EQ(folder.list(), before);
}

TEST_F(RoutesToolTest, InspectShowsTaps) {
  CommandResult result = runCommand("cd " + folder.path + " && " + MOE_INSPECT +
                                    " plan m.moe "
                                    "--function=routes");
  EXPECT_EQ(result.exitCode, 0) << result.err;
  EXPECT_NE(result.out.find(
                "      2 tap routes of layers.0 (2 of 4 experts, N tokens): "
                "ids %0, weights %1\n"
                "      3 record experts of layers.0 (4 experts) from input "
                "offsets, dropped from input dropped\n"),
            std::string::npos)
      << result.out;
}
