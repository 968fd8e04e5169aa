//===- RunTest.cpp - Tests of the tool moe-run ----------------------------===//
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

class RunTest : public testing::Test {
protected:
  void SetUp() override {
    weights = writeWeights(folder.file("weights"), 7);
    buildArtifact(model, makePlan());
    x = randomFloats(85, 8);
    ASSERT_TRUE(
        writeNpy(folder.file("x.npy"), DType::F32, {17, 5}, x.data()).ok());
  }
  CommandResult run(const std::string &arguments) {
    return runCommand("cd " + folder.path + " && " + MOE_RUN + " m.moe " +
                      arguments);
  }
  void expectError(const CommandResult &result, int exitCode,
                   const std::string &text) {
    EXPECT_EQ(result.exitCode, exitCode);
    EXPECT_EQ(result.err, text);
    EXPECT_EQ(result.out, "");
  }
  std::vector<float> floats(const std::string &name) {
    auto array = readNpy(folder.file(name));
    EXPECT_TRUE(array.ok()) << array.status().toString();
    std::vector<float> values(array->bytes / 4);
    std::memcpy(values.data(), array->data, array->bytes);
    return values;
  }
  TemporaryFolder folder;
  const std::string model = folder.file("m.moe");
  TestWeights weights;
  std::vector<float> x;
};

} // namespace

TEST_F(RunTest, WritesOutputs) {
  CommandResult result = run("--function=linear --input=@x.npy "
                             "--output=@y.npy -q");
  ASSERT_EQ(result.exitCode, 0) << result.err;
  EXPECT_EQ(result.err + result.out, "");
  std::vector<float> y = floats("y.npy");
  ASSERT_EQ(y.size(), 17u * 40);
  for (int r = 0; r < 17; ++r) {
    double sum = weights.bias[33];
    for (int k = 0; k < 5; ++k)
      sum += double(x[r * 5 + k]) * weights.w[33 * 5 + k];
    EXPECT_NEAR(y[r * 40 + 33], sum, 1e-5);
  }
}

TEST_F(RunTest, ReadsAndWritesSafetensors) {
  auto writer = SafetensorsWriter::create(
      folder.file("in.safetensors"),
      {{"odd", DType::U8, {1}}, {"x", DType::F32, {17, 5}}});
  ASSERT_TRUE(writer->write("!", 1).ok() && writer->write(x.data(), 340).ok() &&
              writer->finish().ok());
  CommandResult result = run("--function=twice --input=x=@in.safetensors:x "
                             "--output=y=@out.safetensors -q");
  ASSERT_EQ(result.exitCode, 0) << result.err;
  auto file = SafetensorsFile::open(folder.file("out.safetensors"));
  ASSERT_TRUE(file.ok());
  const TensorEntry *y = (*file)->find("y");
  ASSERT_TRUE(y);
  float last;
  std::memcpy(&last, y->data + 84 * 4, 4);
  EXPECT_EQ(last, 2 * x[84]);
  result = run("--function=twice --input=@in.safetensors");
  expectError(result, 2,
              "error[MOE0002]: the file holds several tensors\n --> "
              "in.safetensors\nbecause it holds: odd, x\nfix: name one: "
              "@file.safetensors:tensor\n");
}

TEST_F(RunTest, PrintsWhatIsNotWritten) {
  float one[5] = {1, 2, 3, 4, 5};
  ASSERT_TRUE(writeNpy(folder.file("one.npy"), DType::F32, {1, 5}, one).ok());
  CommandResult result = run("--function=twice --input=@one.npy");
  EXPECT_EQ(result.out, "y: f32 [1, 5] = 2 4 6 8 10\n");
  EXPECT_NE(result.err.find("weights 0 bytes"), std::string::npos)
      << result.err;
}

TEST_F(RunTest, ZeroTokens) {
  ASSERT_TRUE(
      writeNpy(folder.file("none.npy"), DType::F32, {0, 5}, nullptr).ok());
  CommandResult result =
      run("--function=linear --input=@none.npy --output=@y.npy -q");
  EXPECT_EQ(result.exitCode, 0) << result.err;
  auto y = readNpy(folder.file("y.npy"));
  ASSERT_TRUE(y.ok());
  EXPECT_EQ(y->shape, (std::vector<int64_t>{0, 40}));
}

TEST_F(RunTest, ListsFunctions) {
  CommandResult result = run("--list-functions");
  EXPECT_EQ(result.exitCode, 0);
  EXPECT_EQ(result.out.substr(0, result.out.find('\n', 60)),
            "twice(x: f32 [N, 5]) -> (y: f32 [N, 5])\n"
            "linear(x: f32 [N, 5]) -> (y: f32 [N, 40])");
}

TEST_F(RunTest, ComparesWithExpectedOutputs) {
  std::vector<float> y = x;
  for (float &value : y)
    value *= 2;
  auto store = [&](const char *name) {
    ASSERT_TRUE(
        writeNpy(folder.file(name), DType::F32, {17, 5}, y.data()).ok());
  };
  store("ref.npy");
  const std::string base = "--function=twice --input=@x.npy -q ";
  EXPECT_EQ(run(base + "--expected-output=@ref.npy").exitCode, 0);
  y[31] += 0.5f;
  store("off.npy");
  CommandResult result = run(base + "--expected-output=y=@off.npy");
  EXPECT_EQ(result.exitCode, 5);
  EXPECT_EQ(result.err.substr(0, result.err.find("; relative")),
            "error[MOE0501]: output 'y' differs from the expected one\n --> "
            "off.npy\nbecause 1 elements are outside rtol 0 atol 0");
  EXPECT_NE(result.err.find("at [6, 1]"), std::string::npos) << result.err;
  EXPECT_EQ(run(base + "--expected-output=@off.npy --atol=0.51").exitCode, 0);
  EXPECT_EQ(run(base + "--expected-output=@off.npy --atol=0.4").exitCode, 5);
  EXPECT_EQ(
      run(base + "--expected-output=@off.npy --rel-frobenius=0.9").exitCode, 0);
  EXPECT_EQ(
      run(base + "--expected-output=@off.npy --rel-frobenius=1e-9").exitCode,
      5);
  y[31] = std::nanf("");
  store("nan.npy");
  EXPECT_EQ(run(base + "--expected-output=@nan.npy --atol=9 "
                       "--rel-frobenius=9")
                .exitCode,
            5)
      << "a NaN is not within any tolerance of a number";
}

TEST_F(RunTest, ExpectedShapeCounts) {
  CommandResult result =
      run("--function=linear --input=@x.npy --expected-output=@x.npy -q");
  EXPECT_EQ(result.exitCode, 5);
  EXPECT_EQ(result.err, "error[MOE0501]: output 'y' has shape [17, 40], "
                        "expected is [17, 5]\n --> x.npy\n");
}

TEST_F(RunTest, Bf16InputsNeedConsentForConversion) {
  float values[4] = {1.0f, 1.00390625f, -2.5f, 3.0e38f};
  ASSERT_TRUE(writeNpy(folder.file("h.npy"), DType::F32, {2, 2}, values).ok());
  expectError(run("--function=half --input=@h.npy"), 1,
              "error[MOE0013]: input 'x' is F32, needed is BF16\n --> h.npy\n"
              "fix: convert it with --convert-inputs, or store it as the type "
              "needed\n");
  CommandResult result = run("--function=half --input=@h.npy "
                             "--convert-inputs --output=@o.npy -q");
  ASSERT_EQ(result.exitCode, 0) << result.err;
  auto out = readNpy(folder.file("o.npy"));
  ASSERT_TRUE(out.ok());
  EXPECT_EQ(out->dtype, DType::U16);
  uint16_t bits[4];
  std::memcpy(bits, out->data, 8);
  // 1.00390625 lies half way and goes to even.
  EXPECT_EQ(bits[0], 0x3f80);
  EXPECT_EQ(bits[1], 0x3f80);
  EXPECT_EQ(bits[2], 0xc020);
  EXPECT_EQ(bits[3], 0x7f62);
  // Bits stored as u2 are taken as they are.
  result = run("--function=half --input=@o.npy --expected-output=@o.npy -q");
  EXPECT_EQ(result.exitCode, 0) << result.err;
}

TEST_F(RunTest, BadInputs) {
  std::vector<double> d(10);
  ASSERT_TRUE(
      writeNpy(folder.file("rank.npy"), DType::F32, {85}, x.data()).ok());
  ASSERT_TRUE(
      writeNpy(folder.file("shape.npy"), DType::F32, {5, 17}, x.data()).ok());
  ASSERT_TRUE(
      writeNpy(folder.file("type.npy"), DType::I32, {17, 5}, x.data()).ok());
  expectError(run("--function=twice --input=@rank.npy"), 1,
              "error[MOE0013]: input 'x' has rank 1, shape [85], needed is "
              "f32 [N, 5]\n --> function 'twice'\nfix: give an array of rank "
              "2\n");
  expectError(run("--function=twice --input=@shape.npy"), 1,
              "error[MOE0013]: input 'x' has shape [5, 17], needed is f32 [N, "
              "5]\n --> function 'twice'\nfix: dimension 1 must be 5\n");
  expectError(run("--function=twice --input=@type.npy"), 1,
              "error[MOE0013]: input 'x' is I32, needed is F32\n --> "
              "type.npy\nfix: store it as the type needed\n");
  expectError(run("--function=twice"), 2,
              "error[MOE0002]: input 'x' is missing\nbecause function 'twice' "
              "needs f32 [N, 5]\nfix: --input=x=@file.npy\n");
  expectError(run("--function=twice --input=z=@x.npy"), 2,
              "error[MOE0002]: the function has no 'z' for --input\nbecause "
              "it has: x\nfix: name one of these\n");
  expectError(run("--function=twice --input=x.npy"), 2,
              "error[MOE0001]: --input has the bad value 'x.npy'\nfix: write "
              "--input=[name=]@file\n");
  expectError(run("--function=twice --input=@missing.npy"), 1,
              "error[MOE0010]: cannot read 'missing.npy'\nbecause No such "
              "file or directory\nfix: check the path\n");
  expectError(run("--function=twise --input=@x.npy"), 2,
              "error[MOE0002]: there is no function 'twise'\n --> m.moe\n"
              "because the artifact has: twice, linear, experts, level, "
              "fails, slow, scratches, half\nfix: did you mean twice?\n");
}

TEST_F(RunTest, UsageErrorsExitWith2) {
  CommandResult result = run("--fonction=twice");
  EXPECT_EQ(result.exitCode, 2);
  EXPECT_EQ(result.err, "error[MOE0001]: The following argument was not "
                        "expected: --fonction=twice\nfix: did you mean "
                        "--function?\n");
  EXPECT_EQ(run("--isa=sse").exitCode, 2);
  EXPECT_EQ(runCommand(std::string(MOE_RUN)).exitCode, 2);
  EXPECT_EQ(runCommand(std::string(MOE_RUN) + " --help").exitCode, 0);
  EXPECT_EQ(runCommand(std::string(MOE_RUN) + " --version").out,
            "moe-run 0.1.0 (format 1.2, kernel ABI 1)\n");
}

TEST_F(RunTest, OutputsAreCompleteOrAbsent) {
  expectError(run("--function=twice --input=@x.npy --output=@no/y.npy -q"), 1,
              "error[MOE0011]: cannot write 'no/y.npy'\nbecause No such file "
              "or directory\nfix: choose an existing folder that you may "
              "write\n");
  expectError(run("--function=twice --input=@x.npy --output=@/dev/full -q"), 1,
              "error[MOE0011]: cannot write '/dev/full'\nbecause No space "
              "left on device\nfix: make room on the disk, or choose a path "
              "on another one\n");
  EXPECT_EQ(folder.list(),
            (std::vector<std::string>{"m.moe", "weights", "x.npy"}))
      << "something was left behind";
}

TEST_F(RunTest, ArtifactAndWeightErrorsHaveTheirExitCodes) {
  std::string good = readFile(model);
  writeBytes(model, good.substr(0, good.size() / 2));
  EXPECT_EQ(run("--list-functions").exitCode, 3);
  writeBytes(model, good);
  ASSERT_EQ(runCommand("mv " + folder.file("weights") + " " + folder.file("w2"))
                .exitCode,
            0);
  EXPECT_EQ(run("--function=linear --input=@x.npy").exitCode, 4);
  EXPECT_EQ(run("--function=linear --input=@x.npy --weights=w2").exitCode, 0);
  EXPECT_EQ(run("--function=fails").exitCode, 1);
}

TEST_F(RunTest, WritesTraceAndStatistics) {
  CommandResult result = run("--function=experts --input=@x.npy --trace=t.json "
                             "--expert-stats=s.json --repeat=3 --threads=2 -q");
  ASSERT_EQ(result.exitCode, 0) << result.err;
  json stats = json::parse(readFile(folder.file("s.json")));
  EXPECT_EQ(stats["tokens"], json({17})) << "of one run";
  EXPECT_EQ(stats["counts"], json({{9, 9, 8, 8}}));
  json trace = json::parse(readFile(folder.file("t.json")));
  EXPECT_GT(trace["traceEvents"].size(), 6u);
}

TEST_F(RunTest, ReportsAsJson) {
  CommandResult result = run("--function=linear --input=@x.npy --repeat=5 "
                             "--threads=3 --isa=avx2 --json -q");
  ASSERT_EQ(result.exitCode, 0) << result.err;
  json report = json::parse(result.out);
  EXPECT_EQ(report["schema"], "moe.run/1");
  EXPECT_EQ(report["runs"], 5);
  EXPECT_EQ(report["threads"], 3);
  EXPECT_EQ(report["isa"], "avx2");
  EXPECT_EQ(report["weight_bytes_read"], 1280 + 160);
  EXPECT_EQ(report["outputs"][0]["shape"], json({17, 40}));
  EXPECT_GT(report["peak_resident_bytes"], 1 << 20);
  EXPECT_LE(report["min_ms"], report["median_ms"]);
}

TEST_F(RunTest, VerboseTellsPeakMemory) {
  CommandResult result =
      run("--function=linear --input=@x.npy --output=@y.npy -v");
  EXPECT_NE(result.err.find("peak resident"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("weights from ./weights"), std::string::npos)
      << result.err;
}
