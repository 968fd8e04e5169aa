//===- SafetensorsTest.cpp - Tests of the safetensors reader --------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestArtifact.h"

#include <cstring>
#include <gtest/gtest.h>

using namespace moert;
using namespace moert::test;

namespace {

/// Writes a file with this header and so much data, and opens it.
class Safetensors : public testing::Test {
protected:
  Status open(const std::string &header, size_t dataBytes) {
    return openBytes(rawSafetensors(header, std::string(dataBytes, 'd')));
  }
  Status openBytes(const std::string &bytes) {
    writeBytes(path, bytes);
    auto file = SafetensorsFile::open(path);
    return file.status();
  }
  /// Expects MOE0404 with this text, the file's name and the fix.
  void expectDamaged(const Status &status, const std::string &what) {
    EXPECT_EQ(status.toString(),
              "error[MOE0404]: " + what + "\n --> " + path +
                  "\nfix: download or write the file again\n");
  }
  TemporaryFolder folder;
  const std::string path = folder.file("m.safetensors");
};

const char *const a8 =
    R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";

} // namespace

TEST_F(Safetensors, ReadsTensorsAndMetadata) {
  writeBytes(path,
             rawSafetensors(
                 R"({"__metadata__":{"k":"v"},)"
                 R"("b":{"dtype":"BF16","shape":[3,1],"data_offsets":[8,14]},)"
                 R"("s":{"dtype":"I64","shape":[],"data_offsets":[14,22]},)"
                 R"("e":{"dtype":"F32","shape":[0,4],"data_offsets":[8,8]},)" +
                     std::string(a8) + "} ",
                 "0123456789abcdefghijkl"));
  auto file = SafetensorsFile::open(path);
  ASSERT_TRUE(file.ok()) << file.status().toString();
  const TensorEntry *b = (*file)->find("b");
  ASSERT_TRUE(b);
  EXPECT_EQ(b->dtype, DType::BF16);
  EXPECT_EQ(b->shape, (std::vector<int64_t>{3, 1}));
  EXPECT_EQ(std::string(reinterpret_cast<const char *>(b->data), b->bytes),
            "89abcd");
  EXPECT_EQ((*file)->find("e")->bytes, 0u);
  EXPECT_EQ((*file)->find("s")->bytes, 8u);
  EXPECT_EQ((*file)->find("c"), nullptr);
  EXPECT_EQ((*file)->metadata().at("k"), "v");
}

TEST_F(Safetensors, RejectsTruncated) {
  expectDamaged(openBytes("abc"),
                "safetensors file has 3 bytes; the header length alone has 8");
  expectDamaged(open("{" + std::string(a8) + "}", 7),
                "tensor 'a' at [0, 8) reaches past the 7 bytes of data in the "
                "file");
}

TEST_F(Safetensors, RejectsHeaderPastTheEnd) {
  std::string bytes = rawSafetensors("{}", "");
  bytes[0] = 100;
  expectDamaged(openBytes(bytes),
                "safetensors header of 100 bytes reaches past the end of the "
                "file of 10 bytes");
  std::memset(bytes.data(), 0xff, 8);
  expectDamaged(openBytes(bytes),
                "safetensors header of 18446744073709551615 bytes reaches "
                "past the end of the file of 10 bytes");
}

TEST_F(Safetensors, RejectsHugeHeader) {
  std::string bytes = rawSafetensors("{}", "");
  const uint64_t length = maxSafetensorsHeader + 1;
  std::memcpy(bytes.data(), &length, 8);
  bytes.resize(length + 16, ' ');
  expectDamaged(openBytes(bytes),
                "safetensors header of 100000001 bytes is larger than the "
                "limit of 100000000 bytes");
}

TEST_F(Safetensors, RejectsWhatIsNoObject) {
  expectDamaged(open("[1]", 0), "safetensors header does not start with '{'");
  expectDamaged(open("", 0), "safetensors header does not start with '{'");
  expectDamaged(open("{\"a\":", 0),
                "the header is not valid JSON at its byte 6");
  expectDamaged(open("{\"a\":5}", 0), "tensor 'a' is a number, not an object");
  expectDamaged(open("{\"__metadata__\":{\"x\":1}}", 0),
                "__metadata__ 'x' is a number, not a string");
}

TEST_F(Safetensors, RejectsOverlap) {
  expectDamaged(
      open("{" + std::string(a8) +
               R"(,"b":{"dtype":"U8","shape":[4],"data_offsets":[6,10]}})",
           10),
      "tensor 'b' at [6, 10) overlaps tensor 'a', which ends at 8");
}

TEST_F(Safetensors, RejectsHoles) {
  expectDamaged(
      open("{" + std::string(a8) +
               R"(,"b":{"dtype":"U8","shape":[2],"data_offsets":[9,11]}})",
           11),
      "nothing describes the bytes [8, 9) before tensor 'b'");
  expectDamaged(open("{" + std::string(a8) + "}", 9),
                "tensors end at byte 8, but the file has 9 bytes of data");
}

TEST_F(Safetensors, RejectsOutOfRange) {
  expectDamaged(
      open(R"({"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}})", 8),
      "tensor 'a' at [0, 9) reaches past the 8 bytes of data in the file");
  expectDamaged(
      open(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[8,4]}})", 8),
      "tensor 'a' has data_offsets [8, 4] that end before they begin");
  expectDamaged(
      open(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[-4,0]}})", 8),
      "tensor 'a' has a negative number in 'data_offsets'");
  expectDamaged(
      open(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4,8]}})", 8),
      "tensor 'a' has more than two data_offsets");
}

TEST_F(Safetensors, RejectsSizesThatDoNotFit) {
  expectDamaged(
      open(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8),
      "tensor 'a' has shape [3] of F32 = 12 bytes, but data_offsets [0, 8] "
      "span 8 bytes");
  expectDamaged(
      open(R"({"a":{"dtype":"F32","shape":[4611686018427387904,8],)"
           R"("data_offsets":[0,8]}})",
           8),
      "tensor 'a' has shape [4611686018427387904, 8], whose size overflows");
  expectDamaged(open(R"({"a":{"dtype":"F32","shape":[18446744073709551615],)"
                     R"("data_offsets":[0,8]}})",
                     8),
                "tensor 'a' has a dimension beyond 63 bits");
  expectDamaged(
      open(R"({"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,8]}})", 8),
      "tensor 'a' has a fraction or a number beyond 64 bits in 'shape'");
}

TEST_F(Safetensors, RejectsUnknownAndMissing) {
  expectDamaged(
      open(R"({"a":{"dtype":"Q4","shape":[8],"data_offsets":[0,8]}})", 8),
      "tensor 'a' has unknown dtype 'Q4'");
  expectDamaged(open(R"({"a":{"dtype":"U8","shape":[8]}})", 8),
                "tensor 'a' has no 'data_offsets'");
  expectDamaged(
      open(R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8],"x":[]}})",
           8),
      "tensor 'a' has unknown key 'x'");
}

TEST_F(Safetensors, RejectsDuplicates) {
  expectDamaged(open("{" + std::string(a8) + "," + a8 + "}", 8),
                "tensor 'a' appears twice");
  expectDamaged(open(R"({"a":{"dtype":"U8","dtype":"U8","shape":[8],)"
                     R"("data_offsets":[0,8]}})",
                     8),
                "key 'dtype' appears twice in 'a'");
}

TEST_F(Safetensors, DeepNestingIsRejectedNotFollowed) {
  std::string deep = "{\"a\":" + std::string(1 << 20, '[');
  EXPECT_EQ(open(deep, 0).number(), 404);
  deep = "{\"a\":{\"shape\":" + std::string(1 << 20, '[');
  EXPECT_EQ(open(deep, 0).number(), 404);
}

//===----------------------------------------------------------------------===//
// Writer
//===----------------------------------------------------------------------===//

TEST_F(Safetensors, WriterRoundTrips) {
  std::vector<TensorSpec> specs = {{"x", DType::F32, {3}},
                                   {"none", DType::BF16, {0, 7}},
                                   {"y", DType::U8, {5}}};
  auto writer = SafetensorsWriter::create(path, specs, {{"key", "value"}});
  ASSERT_TRUE(writer.ok());
  std::string data = "0123456789ABabcde";
  // In pieces that end in the middle of tensors.
  ASSERT_TRUE(writer->write(data.data(), 5).ok());
  ASSERT_TRUE(writer->write(data.data() + 5, 12).ok());
  ASSERT_TRUE(writer->finish().ok());
  auto file = SafetensorsFile::open(path);
  ASSERT_TRUE(file.ok()) << file.status().toString();
  EXPECT_EQ(std::memcmp((*file)->find("x")->data, data.data(), 12), 0);
  EXPECT_EQ(std::memcmp((*file)->find("y")->data, "abcde", 5), 0);
  EXPECT_EQ((*file)->find("none")->shape, (std::vector<int64_t>{0, 7}));
  EXPECT_EQ((*file)->metadata().at("key"), "value");
}

TEST_F(Safetensors, WriterAligns) {
  std::vector<TensorSpec> specs = {
      {"x", DType::U8, {5}}, {"y", DType::U8, {4096}}, {"z", DType::U8, {1}}};
  auto writer = SafetensorsWriter::create(path, specs, {}, 4096);
  ASSERT_TRUE(writer.ok());
  std::string data(5 + 4096 + 1, 'q');
  ASSERT_TRUE(writer->write(data.data(), data.size()).ok());
  ASSERT_TRUE(writer->finish().ok());
  auto file = SafetensorsFile::open(path);
  ASSERT_TRUE(file.ok()) << file.status().toString();
  for (const char *name : {"x", "y", "z"}) {
    EXPECT_EQ((*file)->find(name)->offset % 4096, 0u) << name;
    EXPECT_EQ((*file)->find(name)->data[0], 'q') << name;
  }
  EXPECT_TRUE((*file)->find("__pad.0"));
}

TEST_F(Safetensors, WriterChecksTheAmount) {
  auto writer = SafetensorsWriter::create(path, {{"x", DType::U8, {5}}});
  ASSERT_TRUE(writer.ok());
  EXPECT_EQ(writer->finish().number(), 9000);
  EXPECT_EQ(writer->write("123456", 6).number(), 9000);
}

//===----------------------------------------------------------------------===//
// Checkpoint
//===----------------------------------------------------------------------===//

namespace {
class CheckpointTest : public Safetensors {
protected:
  void shard(const char *name, const char *tensor) {
    writeBytes(folder.file(name),
               rawSafetensors(std::string("{\"") + tensor +
                                  R"(":{"dtype":"U8","shape":[8],)"
                                  R"("data_offsets":[0,8]}})",
                              "12345678"));
  }
  void index(const std::string &map) {
    writeBytes(indexPath, "{\"metadata\":{},\"weight_map\":" + map + "}");
  }
  std::string error() {
    auto checkpoint = Checkpoint::open(folder.path);
    return checkpoint.status().toString();
  }
  std::string badIndex(const std::string &what) {
    return "error[MOE0405]: " + what + "\n --> " + indexPath +
           "\nfix: complete the download of the checkpoint\n";
  }
  const std::string indexPath = folder.file("model.safetensors.index.json");
};
} // namespace

TEST_F(CheckpointTest, SingleFile) {
  shard("model.safetensors", "a");
  auto checkpoint = Checkpoint::open(folder.path);
  ASSERT_TRUE(checkpoint.ok());
  EXPECT_EQ((*checkpoint)->names(), std::vector<std::string>{"a"});
}

TEST_F(CheckpointTest, ShardsOfAnIndex) {
  shard("s1.safetensors", "a");
  shard("s2.safetensors", "b");
  shard("other.safetensors", "c");
  index(R"({"a":"s1.safetensors","b":"s2.safetensors"})");
  auto checkpoint = Checkpoint::open(folder.path);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().toString();
  EXPECT_TRUE((*checkpoint)->find("b"));
  EXPECT_FALSE((*checkpoint)->find("c")) << "not named by the index";
}

TEST_F(CheckpointTest, AnyFilesWithoutAnIndex) {
  shard("block0.safetensors", "a");
  shard("block1.safetensors", "b");
  writeBytes(folder.file("config.json"), "{}");
  auto checkpoint = Checkpoint::open(folder.path);
  ASSERT_TRUE(checkpoint.ok());
  EXPECT_EQ((*checkpoint)->names(), (std::vector<std::string>{"a", "b"}));
}

TEST_F(CheckpointTest, RejectsATensorInTwoFiles) {
  shard("x.safetensors", "a");
  shard("y.safetensors", "a");
  EXPECT_EQ(error(), "error[MOE0404]: tensor 'a' is in '" +
                         folder.file("x.safetensors") + "' and in '" +
                         folder.file("y.safetensors") + "'\n --> " +
                         folder.path + "\nfix: keep one of the files only\n");
}

TEST_F(CheckpointTest, NothingThere) {
  EXPECT_EQ(error(),
            "error[MOE0401]: no checkpoint in '" + folder.path +
                "'\nbecause it has no model.safetensors, no "
                "model.safetensors.index.json and no other *.safetensors\n"
                "fix: name the folder of the safetensors files\n");
  auto missing = Checkpoint::open("/nowhere");
  EXPECT_EQ(missing.status().number(), 401);
}

TEST_F(CheckpointTest, IndexNamesAMissingShard) {
  shard("s1.safetensors", "a");
  index(R"({"a":"s1.safetensors","b":"s2.safetensors"})");
  EXPECT_EQ(error(), badIndex("checkpoint index names shard "
                              "'s2.safetensors', which is not there"));
}

TEST_F(CheckpointTest, IndexNamesATensorThatItsShardLacks) {
  shard("s1.safetensors", "a");
  index(R"({"a":"s1.safetensors","b":"s1.safetensors"})");
  EXPECT_EQ(error(), badIndex("checkpoint index puts tensor 'b' into shard "
                              "'s1.safetensors', which does not have it"));
}

TEST_F(CheckpointTest, IndexMayNotLeaveItsFolder) {
  index(R"({"a":"../secret.safetensors"})");
  EXPECT_EQ(error(), badIndex("tensor 'a' is in a shard whose name is no plain "
                              "file name: \"../secret.safetensors\""));
  index(R"({"a":7})");
  EXPECT_EQ(error(), badIndex("tensor 'a' is in a shard whose name is no plain "
                              "file name: 7"));
}

TEST_F(CheckpointTest, IndexIsNotJson) {
  writeBytes(indexPath, "{\"weight_map\":{");
  EXPECT_EQ(error(), badIndex("checkpoint index is no JSON object with "
                              "'weight_map'"));
}
