//===- ArtifactTest.cpp - Tests of reading whole artifacts ----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestArtifact.h"

#include <cstring>
#include <elf.h>
#include <gtest/gtest.h>

using namespace moert;
using namespace moert::test;
using nlohmann::json;

namespace {

/// A good artifact, and the errors of changed ones.
class ArtifactTest : public testing::Test {
protected:
  void SetUp() override {
    buildArtifact(path, makePlan());
    good = readFile(path);
  }
  Status error(const std::string &bytes) {
    writeBytes(path, bytes);
    return Artifact::open(path).status();
  }
  std::string text(const std::string &first, const std::string &rest) {
    return first + "\n --> " + path + "\n" + rest + "\n";
  }
  /// Links an artifact whose metadata was changed.
  Status withMetadata(const std::function<void(json &)> &change) {
    std::string plan = packPlan(makePlan());
    json meta = makeMetadata(plan);
    change(meta);
    linkArtifact(path, plan, meta.dump());
    return Artifact::open(path).status();
  }
  TemporaryFolder folder;
  const std::string path = folder.file("m.moe");
  std::string good;
  const std::string again = "fix: copy the file again, or compile the model "
                            "again";
};

} // namespace

TEST_F(ArtifactTest, OpensTheGoodOne) {
  auto artifact = Artifact::open(path);
  ASSERT_TRUE(artifact.ok()) << artifact.status().toString();
  EXPECT_EQ((*artifact)->elf().machine(), elfMachineX86_64);
  EXPECT_EQ((*artifact)->metadata().modelName, "test/Tiny");
  EXPECT_EQ((*artifact)->metadata().topK, 2);
  EXPECT_EQ((*artifact)->plan().functions()->size(), 8u);
  EXPECT_TRUE((*artifact)->elf().find(".text"));
}

TEST_F(ArtifactTest, OtherFilesAreNoArtifacts) {
  EXPECT_EQ(error("#!/bin/sh\n").toString(),
            text("error[MOE0304]: not a MoE artifact",
                 "because it is no ELF file\n"
                 "fix: give a file that moe-compile wrote"));
  EXPECT_EQ(error("").number(), 304);
  EXPECT_EQ(error(readFile("/proc/self/exe")).number(), 304);
  std::string other = good;
  other[EI_CLASS] = ELFCLASS32;
  EXPECT_EQ(error(other).because(), "it is no 64-bit little-endian ELF file");
}

TEST_F(ArtifactTest, TruncationIsSeenAtEveryLength) {
  for (size_t size = 4; size < good.size(); size += 61) {
    Status status = error(good.substr(0, size));
    EXPECT_EQ(status.number(), 302) << size << "\n" << status.toString();
  }
  EXPECT_EQ(error(good.substr(0, good.size() - 1)).toString(),
            text("error[MOE0302]: artifact is incomplete: it has " +
                     std::to_string(good.size() - 1) + " of at least " +
                     std::to_string(good.size()) + " bytes",
                 "fix: copy the file again"));
}

TEST_F(ArtifactTest, EveryFlippedBitOfThePlanIsSeen) {
  auto artifact = Artifact::open(path);
  ASSERT_TRUE(artifact.ok());
  const ElfSection section = *(*artifact)->elf().find(planSection);
  for (uint64_t i = 0; i < section.size; i += 7) {
    std::string bytes = good;
    bytes[section.offset + i] ^= static_cast<char>(1 << i % 8);
    EXPECT_EQ(error(bytes).toString(),
              text("error[MOE0303]: artifact is damaged: the checksum of its "
                   "execution plan does not match",
                   again));
  }
}

TEST_F(ArtifactTest, EveryFlippedBitOfTheMetadataIsSeen) {
  auto artifact = Artifact::open(path);
  ASSERT_TRUE(artifact.ok());
  const ElfSection section = *(*artifact)->elf().find(metaSection);
  for (uint64_t i = 0; i < section.size; i += 3) {
    std::string bytes = good;
    bytes[section.offset + i] ^= static_cast<char>(1 << i % 8);
    EXPECT_EQ(error(bytes).toString(),
              text("error[MOE0303]: artifact is damaged: the checksum of its "
                   "metadata does not match",
                   again));
  }
}

TEST_F(ArtifactTest, NewerFormatIsRefused) {
  EXPECT_EQ(
      withMetadata([](json &m) { m["format"]["major"] = 2; }).toString(),
      text("error[MOE0301]: artifact has format 2.0; this runtime reads 1.x",
           "fix: upgrade the runtime, or compile the model again with the "
           "moe-compile of this release"));
  EXPECT_TRUE(withMetadata([](json &m) { m["format"]["minor"] = 7; }).ok());
}

TEST_F(ArtifactTest, MetadataIsChecked) {
  EXPECT_EQ(withMetadata([](json &m) { m.erase("schema"); }).what(),
            "key 'schema' of the metadata is missing");
  EXPECT_EQ(withMetadata([](json &m) { m["weights"] = 5; }).what(),
            "key 'weights' of the metadata is no object");
  EXPECT_EQ(withMetadata([](json &m) { m["targets"] = {1}; }).what(),
            "key 'targets' of the metadata is no list of strings");
  EXPECT_EQ(withMetadata([](json &m) {
              m["weights"]["fingerprint"] = "0123456789abcdef";
            }).what(),
            "metadata and plan of the artifact name different weights");
  EXPECT_TRUE(withMetadata([](json &m) { m["future"] = {1, 2}; }).ok());
}

TEST_F(ArtifactTest, MetadataMustBeJson) {
  std::string plan = packPlan(makePlan());
  linkArtifact(path, plan, "{\"schema\":");
  EXPECT_EQ(Artifact::open(path).status().what(), "metadata is no JSON object");
}

TEST_F(ArtifactTest, CodeHashIsChecked) {
  auto artifact = Artifact::open(path);
  ASSERT_TRUE(artifact.ok());
  std::string code;
  for (const char *name : {".text", ".rodata"})
    if (const ElfSection *s = (*artifact)->elf().find(name))
      code.append(reinterpret_cast<const char *>(s->data), s->size);
  std::string hash = xxh3Hex(code.data(), code.size());
  Status ok = withMetadata([&](json &m) { m["text_xxh3"] = hash; });
  ASSERT_TRUE(ok.ok()) << ok.toString();
  std::string bytes = readFile(path);
  artifact = Artifact::open(path);
  bytes[(*artifact)->elf().find(".text")->offset + 5] ^= 4;
  EXPECT_EQ(error(bytes).what(),
            "artifact is damaged: the checksum of its code does not match");
}

TEST_F(ArtifactTest, EmbeddedConstantsLieInTheirSection) {
  fb::PlanT plan = makePlan();
  plan.weights_mode = fb::WeightsMode::Embedded;
  plan.embedded_offsets = {0, 1280};
  std::string bytes = packPlan(std::move(plan));
  std::string meta = makeMetadata(bytes).dump();
  linkArtifact(path, bytes, meta, std::string(1280 + 160, 'w'));
  auto artifact = Artifact::open(path);
  ASSERT_TRUE(artifact.ok()) << artifact.status().toString();
  EXPECT_EQ((*artifact)->embedded(1)[0], 'w');
  linkArtifact(path, bytes, meta, std::string(1280 + 159, 'w'));
  EXPECT_EQ(Artifact::open(path).status().what(),
            "embedded constant 'bias' at [1280, +160) lies outside the 1439 "
            "bytes of .moe.weights");
  linkArtifact(path, bytes, meta);
  EXPECT_EQ(Artifact::open(path).status().what(),
            "artifact has no section .moe.weights, which its plan needs");
}

TEST_F(ArtifactTest, MissingSectionIsNamed) {
  std::string bytes = good;
  size_t at = bytes.find(".moe.sum");
  ASSERT_NE(at, std::string::npos);
  bytes[at + 1] = 'x';
  EXPECT_EQ(error(bytes).because(), "it has no section .moe.sum");
}

/// Every byte of the ELF header and of the section table, changed.
TEST_F(ArtifactTest, SurvivesDamagedHeaders) {
  Elf64_Ehdr header;
  std::memcpy(&header, good.data(), sizeof(header));
  std::vector<size_t> places;
  for (size_t i = 0; i < sizeof(header); ++i)
    places.push_back(i);
  for (size_t i = header.e_shoff; i < good.size(); ++i)
    places.push_back(i);
  for (size_t i = header.e_phoff;
       i < header.e_phoff + header.e_phnum * sizeof(Elf64_Phdr); ++i)
    places.push_back(i);
  for (size_t place : places)
    for (unsigned char mask : {0x01, 0x80, 0xff}) {
      std::string bytes = good;
      bytes[place] = static_cast<char>(bytes[place] ^ mask);
      auto elf = ElfFile::parse(reinterpret_cast<const uint8_t *>(bytes.data()),
                                bytes.size(), "x");
      if (!elf.ok())
        continue;
      for (const ElfSection &section : elf->sections()) {
        ASSERT_LE(section.offset, bytes.size());
        ASSERT_LE(section.size, bytes.size() - section.offset);
      }
    }
}
