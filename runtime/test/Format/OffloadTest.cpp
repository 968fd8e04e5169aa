//===- OffloadTest.cpp - Tests of the reader of GPU images ----------------===//
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

StatusOr<std::vector<GpuImage>> read(const std::string &bytes) {
  return readOffloading(reinterpret_cast<const uint8_t *>(bytes.data()),
                        bytes.size(), "x.moe");
}

std::string problem(const std::string &bytes) {
  auto images = read(bytes);
  return images.ok() ? "no error" : images.status().what();
}

/// One image with a number of its header or entry replaced.
std::string changed(uint64_t at, uint64_t value, size_t bytes = 8) {
  std::string text = "cubin";
  std::string all = writeOffloading({GpuImageKind::Cubin,
                                     {8, 0, 0},
                                     reinterpret_cast<const uint8_t *>("cubin"),
                                     text.size()});
  std::memcpy(all.data() + at, &value, bytes);
  return all;
}

GpuImage image(const char *text) {
  return {GpuImageKind::Ptx,
          {8, 0, 0},
          reinterpret_cast<const uint8_t *>(text),
          std::strlen(text)};
}

} // namespace

TEST(Offload, ReadsWhatIsWritten) {
  const std::string bytes = makeOffloading();
  auto images = read(bytes);
  ASSERT_TRUE(images.ok()) << images.status().toString();
  ASSERT_EQ(images->size(), 3u);
  EXPECT_EQ((*images)[0].kind, GpuImageKind::Cubin);
  EXPECT_EQ((*images)[0].arch.name(), "sm_80");
  EXPECT_EQ((*images)[0].size, 100u);
  EXPECT_EQ((*images)[1].kind, GpuImageKind::Ptx);
  EXPECT_EQ((*images)[2].arch.name(), "sm_90a");
  EXPECT_EQ(reinterpret_cast<uintptr_t>((*images)[2].data) % 8,
            reinterpret_cast<uintptr_t>(bytes.data()) % 8);
  // Padding between binaries, as linkers add it.
  EXPECT_EQ(read(bytes + std::string(24, '\0') + bytes).status().what(),
            "GPU image at 664 of section .llvm.offloading is the second cubin "
            "of sm_80");
  EXPECT_EQ(read("")->size(), 0u);
}

TEST(Offload, OtherDevicesArePassedOver) {
  std::string bytes = makeOffloading();
  size_t at = bytes.find("nvptx64");
  bytes[at] = 'N';
  EXPECT_EQ(read(bytes)->size(), 2u);
}

TEST(Offload, RejectsDamage) {
  const std::string start = "GPU image at 0 of section .llvm.offloading ";
  EXPECT_EQ(problem("abc"), start + "has no header");
  EXPECT_EQ(problem(changed(0, 7, 1)), start + "has no header");
  EXPECT_EQ(problem(changed(4, 2, 4)),
            start + "has version 2; this runtime reads version 1");
  EXPECT_EQ(problem(changed(8, 1000)), start + "has 1000 bytes of 152");
  EXPECT_EQ(problem(changed(8, 3)), start + "has 3 bytes of 152");
  EXPECT_EQ(problem(changed(16, ~0ull)), start + "lies outside of it");
  EXPECT_EQ(problem(changed(24, 39)), start + "lies outside of it");
  EXPECT_EQ(problem(changed(32, 4, 2)), start + "is of unknown kind 4");
  EXPECT_EQ(problem(changed(40, ~0ull)), start + "has a bad list of strings");
  EXPECT_EQ(problem(changed(48, 1ull << 60)),
            start + "has a bad list of strings");
  EXPECT_EQ(problem(changed(72, 4000)), start + "has a string outside of it");
  EXPECT_EQ(problem(changed(56, 170)), start + "has its image outside of it");
  EXPECT_EQ(problem(changed(64, ~0ull)), start + "has its image outside of it");
  EXPECT_EQ(problem(changed(64, 0)), start + "is empty");
  std::string arch = changed(0, 0x10, 1);
  arch.replace(arch.find("sm_80"), 5, "sm_8x");
  EXPECT_EQ(problem(arch), start + "is for an unknown architecture");
  EXPECT_EQ(read("abc").status().number(), 303);
  EXPECT_EQ(read("abc").status().where(), "x.moe");
}

TEST(Offload, Architectures) {
  for (const char *bad : {"", "sm_", "sm_8", "sm_080", "sm_8a0", "sm_90A",
                          "compute_80", "sm_99999", "sm_90aa"})
    EXPECT_FALSE(GpuArch::parse(bad)) << bad;
  for (const char *good : {"sm_80", "sm_90a", "sm_100f", "sm_120a"})
    EXPECT_EQ(GpuArch::parse(good)->name(), good);
  GpuArch sm80{8, 0, 0}, sm86{8, 6, 0}, sm90a{9, 0, 'a'}, sm100f{10, 0, 'f'};
  EXPECT_TRUE(sm80.cubinRunsOn(8, 6));
  EXPECT_FALSE(sm86.cubinRunsOn(8, 0));
  EXPECT_FALSE(sm80.cubinRunsOn(9, 0));
  EXPECT_TRUE(sm80.ptxRunsOn(9, 0));
  EXPECT_FALSE(sm86.ptxRunsOn(8, 0));
  EXPECT_TRUE(sm90a.cubinRunsOn(9, 0));
  EXPECT_TRUE(sm90a.ptxRunsOn(9, 0));
  EXPECT_FALSE(sm90a.ptxRunsOn(10, 0));
  EXPECT_TRUE(sm100f.cubinRunsOn(10, 3));
  EXPECT_FALSE(sm100f.ptxRunsOn(12, 0));
  EXPECT_TRUE(sm80 < sm86 && sm86 < sm90a && sm90a < sm100f);
}

TEST(Offload, VersionOfPtx) {
  EXPECT_EQ(
      image("//\n// Generated\n\n.version 8.4\n.target sm_80\n").ptxVersion(),
      std::make_pair(8, 4));
  EXPECT_EQ(image(".version 9.0\n").ptxVersion(), std::make_pair(9, 0));
  EXPECT_EQ(image(".target sm_80\n").ptxVersion(), std::make_pair(0, 0));
  EXPECT_EQ(image("\n.version ").ptxVersion(), std::make_pair(0, 0));
}

TEST(Offload, ArtifactsListTheirImages) {
  TemporaryFolder folder;
  std::string plan = packPlan(makePlan());
  nlohmann::json meta = makeMetadata(plan);
  meta["offloading_xxh3"] =
      xxh3Hex(makeOffloading().data(), makeOffloading().size());
  linkArtifact(folder.file("m.moe"), plan, meta.dump(), "", makeOffloading());
  auto artifact = Artifact::open(folder.file("m.moe"));
  ASSERT_TRUE(artifact.ok()) << artifact.status().toString();
  EXPECT_EQ((*artifact)->images().size(), 3u);
  EXPECT_EQ((*artifact)->codeFor(),
            (std::vector<std::string>{"CPU (avx2, avx512, amx)",
                                      "sm_80 (cubin, PTX)", "sm_90a (cubin)"}));

  std::string other = makeOffloading();
  other[other.find("version") + 30] ^= 1;
  linkArtifact(folder.file("n.moe"), plan, meta.dump(), "", other);
  EXPECT_EQ(Artifact::open(folder.file("n.moe")).status().what(),
            "artifact is damaged: the checksum of its GPU images does not "
            "match");
  // Without the section the code for the CPU is still good.
  linkArtifact(folder.file("o.moe"), plan, meta.dump());
  EXPECT_TRUE(Artifact::open(folder.file("o.moe")).ok());
}
