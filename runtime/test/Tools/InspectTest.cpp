//===- InspectTest.cpp - Tests of the tool moe-inspect --------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestArtifact.h"

#include "moert/Format/Npy.h"

#include <gtest/gtest.h>

using namespace moert;
using namespace moert::test;
using nlohmann::json;

namespace {

class InspectTest : public testing::Test {
protected:
  void SetUp() override {
    writeWeights(folder.file("weights"), 7);
    buildArtifact(model, makePlan());
  }
  CommandResult inspect(const std::string &arguments) {
    return runCommand("cd " + folder.path + " && " + MOE_INSPECT + " " +
                      arguments);
  }
  json parsed(const std::string &arguments) {
    CommandResult result = inspect(arguments + " --json");
    EXPECT_EQ(result.exitCode, 0) << result.err;
    return json::parse(result.out, nullptr, false);
  }
  TemporaryFolder folder;
  const std::string model = folder.file("m.moe");
};

/// A plan like makePlan() whose "linear" has constants of this size, so that
/// they dominate the memory of a run.
fb::PlanT largePlan(int64_t rows) {
  fb::PlanT plan = makePlan();
  plan.weights[0]->source_shape = {rows, 512};
  plan.weights[0]->shape = {4, rows, 512};
  plan.weights[0]->sources = {"e0", "e1", "e2", "e3"};
  return plan;
}

} // namespace

TEST_F(InspectTest, Summary) {
  std::string fingerprint =
      parsed("weights m.moe")["fingerprint"].get<std::string>();
  CommandResult result = inspect("m.moe");
  EXPECT_EQ(result.exitCode, 0) << result.err;
  std::string size = formatBytes(readFile(model).size());
  EXPECT_EQ(result.out,
            "m.moe  " + size +
                "  format 1.0  built by moe 0.1.0 (LLVM 22.1.8)\n"
                "model      test/Tiny (tiny), 1 layers, 4 experts, top-2\n"
                "targets    x86-64\n"
                "numerics   default\n"
                "plan       8 functions, 7 kernels, 2 constants\n"
                "weights    external: 1.4 KiB packed, fingerprint xxh3:" +
                fingerprint + "  found: ./weights\n");
  EXPECT_EQ(parsed("summary m.moe")["metadata"]["model"]["top_k"], 2);
}

TEST_F(InspectTest, Io) {
  CommandResult result = inspect("io m.moe");
  EXPECT_EQ(result.out.find("twice\n"
                            "  input  x: f32 [N, 5]\n"
                            "  output y: f32 [N, 5]\n"
                            "  N in 0 .. 4096\n"
                            "linear\n"),
            0u)
      << result.out;
  json io = parsed("io m.moe");
  EXPECT_EQ(io["functions"][1]["outputs"][0]["type"], "f32 [N, 40]");
}

TEST_F(InspectTest, Weights) {
  CommandResult result = inspect("weights m.moe");
  EXPECT_NE(result.out.find("found: ./weights\n"
                            "w  f32 panels  1.2 KiB\n"
                            "  w [1, 40, 5] from w0\n"
                            "bias  f32 row-major  160 bytes\n"
                            "  bias [40] from bias\n"),
            std::string::npos)
      << result.out;
}

TEST_F(InspectTest, Kernels) {
  CommandResult result = inspect("kernels m.moe");
  EXPECT_NE(result.out.find("scratches  [avx2, avx512, amx]  2 arguments, 4.0 "
                            "KiB of scratch, 1 dispatches\n"),
            std::string::npos)
      << result.out;
  json kernels = parsed("kernels m.moe");
  EXPECT_EQ(kernels["kernels"][0]["dispatches"], 2);
}

TEST_F(InspectTest, Plan) {
  CommandResult result = inspect("plan m.moe --function=twice");
  EXPECT_EQ(result.out,
            "function twice(x: f32 [N, 5]) -> (y: f32 [N, 5])\n"
            "  N in 0 .. 4096\n"
            "  variant 0 when 0 <= N < 2:\n"
            "      0 dispatch twice.small [one worker] twice(input x, output "
            "y, N)\n"
            "  variant 1:\n"
            "    %0 = slot 0, min(20 * N, 1048576) bytes\n"
            "      0 dispatch twice.large [all workers] twice(input x, %0, "
            "N)\n"
            "      1 copy twice.copy %0 -> output y, 20 * N bytes\n");
  result = inspect("plan m.moe --function=experts");
  EXPECT_NE(result.out.find("record experts of layers.0 (4 experts) from %0"),
            std::string::npos);
  json plan = parsed("plan m.moe");
  EXPECT_EQ(plan["functions"][0]["variants"][1]["commands"][1]["bytes"],
            "20 * N");
}

TEST_F(InspectTest, CheckFindsNothingWrong) {
  CommandResult result = inspect("check m.moe --isa=avx2");
  EXPECT_EQ(result.exitCode, 0) << result.err;
  EXPECT_EQ(result.out, "ok: runs here at level avx2, weights ./weights\n");
}

TEST_F(InspectTest, CheckExitsWith3And4) {
  fb::PlanT plan = makePlan();
  plan.kernels[3]->levels = 4;
  buildArtifact(model, plan);
  CommandResult result = inspect("check m.moe --isa=avx2 --json");
  EXPECT_EQ(result.exitCode, 3);
  EXPECT_EQ(json::parse(result.out)["problems"][0]["error"], 310);
  buildArtifact(model, makePlan());
  ASSERT_EQ(runCommand("rm -r " + folder.file("weights")).exitCode, 0);
  result = inspect("check m.moe");
  EXPECT_EQ(result.exitCode, 4);
  EXPECT_EQ(result.err,
            "error[MOE0401]: weights not found for 'm.moe'\nbecause searched: "
            "'./weights' (there is no such file or folder); './elsewhere' "
            "(there is no such file or folder)\nfix: name the folder of the "
            "checkpoint: --weights=DIR\n");
}

TEST_F(InspectTest, NeverRunsTheArtifact) {
  // A file whose code cannot be loaded at all is still shown.
  std::string bytes = readFile(model);
  size_t at = bytes.find("moe_module_query");
  ASSERT_NE(at, std::string::npos);
  bytes[at] = 'x';
  writeBytes(model, bytes);
  EXPECT_EQ(inspect("check m.moe").exitCode, 0);
  EXPECT_EQ(inspect("plan m.moe").exitCode, 0);
}

TEST_F(InspectTest, UsageErrors) {
  CommandResult result = inspect("plna m.moe");
  EXPECT_EQ(result.exitCode, 2);
  EXPECT_EQ(result.err, "error[MOE0001]: unknown command 'plna'\nfix: did you "
                        "mean plan?\n");
  EXPECT_EQ(inspect("").exitCode, 2);
  EXPECT_EQ(inspect("plan missing.moe").exitCode, 1);
  EXPECT_EQ(inspect("plan m.moe --function=nope").err,
            "error[MOE0002]: there is no function 'nope'\n --> m.moe\nfix: "
            "moe-inspect io m.moe\n");
}

TEST_F(InspectTest, MemoryOfTokensOutOfRange) {
  EXPECT_EQ(inspect("memory m.moe --function=twice --tokens=5000").err,
            "error[MOE0013]: N = 5000 is out of range\nbecause function "
            "'twice' takes 0 to 4096\nfix: give --tokens in this range\n");
}

/// The prediction against the peak that moe-run itself reports.
class MemoryTest : public InspectTest,
                   public testing::WithParamInterface<fb::WeightsMode> {};

TEST_P(MemoryTest, PredictionIsWithinFivePercent) {
  const int64_t rows = 20000; // 41 MB per expert
  fb::PlanT plan = largePlan(rows);
  plan.weights_mode = GetParam();
  buildArtifact(model, plan);
  std::vector<TensorSpec> specs;
  for (int e = 0; e < 4; ++e)
    specs.push_back({"e" + std::to_string(e), DType::F32, {rows, 512}});
  specs.push_back({"bias", DType::F32, {40}});
  auto writer = SafetensorsWriter::create(
      folder.file("weights/model.safetensors"), specs);
  ASSERT_TRUE(writer.ok());
  std::vector<float> row = randomFloats(512 * 100, 1);
  for (int64_t r = 0; r < 4 * rows; r += 100)
    ASSERT_TRUE(writer->write(row.data(), row.size() * 4).ok());
  ASSERT_TRUE(writer->write(row.data(), 160).ok() && writer->finish().ok());
  if (GetParam() == fb::WeightsMode::Packed) {
    auto artifact = Artifact::open(model);
    auto checkpoint = Checkpoint::open(folder.file("weights"));
    ASSERT_TRUE(artifact.ok() && checkpoint.ok());
    Status status = writePackedWeights((*artifact)->plan(), **checkpoint,
                                       (*artifact)->packedPath());
    ASSERT_TRUE(status.ok()) << status.toString();
  }
  std::vector<float> x = randomFloats(5 * 1000, 2);
  ASSERT_TRUE(
      writeNpy(folder.file("x.npy"), DType::F32, {1000, 5}, x.data()).ok());
  CommandResult result = runCommand(
      "cd " + folder.path + " && " + MOE_RUN +
      " m.moe --function=linear --input=@x.npy --threads=2 --json -q");
  ASSERT_EQ(result.exitCode, 0) << result.err;
  const double peak = json::parse(result.out)["peak_resident_bytes"];
  json memory = parsed("memory m.moe --function=linear --tokens=1000 "
                       "--threads=2");
  const double predicted = memory["functions"][0]["peak_bytes"];
  EXPECT_NEAR(predicted / peak, 1, 0.05)
      << "predicted " << predicted << ", was " << peak;
  const double packed = memory["functions"][0]["weight_bytes"];
  const double tensor = rows * 512 * 4;
  EXPECT_LE(peak, packed + tensor + (64 << 20));
}

INSTANTIATE_TEST_SUITE_P(Modes, MemoryTest,
                         testing::Values(fb::WeightsMode::External,
                                         fb::WeightsMode::Packed),
                         [](const auto &info) {
                           return info.param == fb::WeightsMode::External
                                      ? "External"
                                      : "Packed";
                         });

/// Weights that are decoded while they are packed: one decoded tensor and its
/// codes beside the packed ones, whatever their number.
TEST_F(InspectTest, PeakOfEncodedWeights) {
  const int64_t rows = 20000; // 41 MB per expert, 10 MB encoded
  fb::PlanT plan = largePlan(rows);
  fb::WeightT &w = *plan.weights[0];
  w.encoding = fb::WeightEncoding::Int8Scaled;
  w.stored_shape = {rows, 512};
  w.scale_shape = {rows, 1};
  std::vector<TensorSpec> specs;
  for (const std::string &source : w.sources) {
    w.scale_sources.push_back(source + ".scale");
    specs.push_back({source, DType::I8, {rows, 512}});
    specs.push_back({source + ".scale", DType::F32, {rows, 1}});
  }
  buildArtifact(model, plan);
  specs.push_back({"bias", DType::F32, {40}});
  auto writer = SafetensorsWriter::create(
      folder.file("weights/model.safetensors"), specs);
  ASSERT_TRUE(writer.ok());
  const std::vector<float> data = randomFloats(rows, 1);
  for (const TensorSpec &spec : specs)
    for (uint64_t left = *shapeBytes(spec.shape, byteSize(spec.dtype)), part;
         left > 0; left -= part) {
      part = std::min<uint64_t>(left, data.size() * 4);
      ASSERT_TRUE(writer->write(data.data(), part).ok());
    }
  ASSERT_TRUE(writer->finish().ok());
  std::vector<float> x = randomFloats(5 * 1000, 2);
  ASSERT_TRUE(
      writeNpy(folder.file("x.npy"), DType::F32, {1000, 5}, x.data()).ok());
  CommandResult result = runCommand(
      "cd " + folder.path + " && " + MOE_RUN +
      " m.moe --function=linear --input=@x.npy --threads=2 --json -q");
  ASSERT_EQ(result.exitCode, 0) << result.err;
  const double peak = json::parse(result.out)["peak_resident_bytes"];
  json memory = parsed("memory m.moe --function=linear --tokens=1000 "
                       "--threads=2");
  const double predicted = memory["functions"][0]["peak_bytes"];
  EXPECT_NEAR(predicted / peak, 1, 0.05)
      << "predicted " << predicted << ", was " << peak;
  const double packed = memory["functions"][0]["weight_bytes"];
  EXPECT_LE(peak, packed + rows * 512 * 5 + (64 << 20));
}
