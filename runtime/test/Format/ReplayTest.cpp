//===- ReplayTest.cpp - Replays the corpus of the fuzzers -----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The entry points of the libFuzzer targets, run over the committed corpus and
// over a fixed set of mutations of it, so that every build covers them. A
// crash or a sanitizer report fails the test.
//
//===----------------------------------------------------------------------===//

#include "../../fuzz/Entry.h"
#include "TestArtifact.h"

#include <dirent.h>
#include <gtest/gtest.h>

using namespace moert;
using namespace moert::test;

namespace {

using EntryPoint = void (*)(const uint8_t *, size_t);

struct Reader {
  const char *name;
  EntryPoint entry;
};

class Replay : public testing::TestWithParam<Reader> {
protected:
  void SetUp() override {
    std::string folder = std::string(MOERT_FUZZ_CORPUS) + "/" + GetParam().name;
    DIR *dir = ::opendir(folder.c_str());
    ASSERT_TRUE(dir) << folder;
    while (const dirent *item = ::readdir(dir))
      if (item->d_name[0] != '.')
        corpus.push_back(readFile(folder + "/" + item->d_name));
    ::closedir(dir);
    ASSERT_FALSE(corpus.empty());
  }
  void run(const std::string &bytes) {
    // An exact copy on the heap lets AddressSanitizer see every overrun.
    std::vector<uint8_t> copy(bytes.begin(), bytes.end());
    GetParam().entry(copy.data(), copy.size());
  }
  std::vector<std::string> corpus;
};

} // namespace

TEST_P(Replay, Corpus) {
  for (const std::string &bytes : corpus)
    run(bytes);
}

TEST_P(Replay, Prefixes) {
  for (const std::string &bytes : corpus)
    for (size_t size = 0; size < bytes.size(); size += 1 + size / 64)
      run(bytes.substr(0, size));
}

TEST_P(Replay, Mutations) {
  std::mt19937 random(7);
  for (const std::string &bytes : corpus)
    for (int i = 0; i < 1000; ++i) {
      std::string changed = bytes;
      for (int change = 0, count = 1 + random() % 4;
           change < count && !changed.empty(); ++change) {
        size_t at = random() % changed.size();
        switch (random() % 5) {
        case 0:
          changed[at] = static_cast<char>(random());
          break;
        case 1:
          changed[at] ^= static_cast<char>(1 << random() % 8);
          break;
        case 2: // An extreme number.
          for (size_t j = at; j < changed.size() && j < at + 8; ++j)
            changed[j] = static_cast<char>(random() % 2 ? 0xff : 0x7f);
          break;
        case 3: // Something from elsewhere in the file.
          changed.replace(at, 8, changed.substr(random() % changed.size(), 8));
          break;
        default:
          changed.erase(at, random() % 16);
          break;
        }
      }
      run(changed);
    }
}

INSTANTIATE_TEST_SUITE_P(
    Readers, Replay,
    testing::Values(Reader{"plan", fuzz::plan},
                    Reader{"metadata", fuzz::metadata},
                    Reader{"elf", fuzz::elf}, Reader{"offload", fuzz::offload},
                    Reader{"safetensors", fuzz::safetensors}),
    [](const auto &info) { return info.param.name; });

/// Writes the corpus anew: MOERT_WRITE_CORPUS=1 moert-format-tests, after a
/// change of a format.
static void writeCorpus() {
  std::string folder = MOERT_FUZZ_CORPUS;
  std::string plan = packPlan(makePlan());
  writeBytes(folder + "/plan/good", plan);
  writeBytes(folder + "/plan/empty", "");
  fb::PlanT gpu = makePlan();
  addGpuVariants(gpu);
  writeBytes(folder + "/plan/gpu", packPlan(std::move(gpu)));
  fb::PlanT routes = makePlan();
  addRoutes(routes);
  fb::WeightT &w = *routes.weights[0];
  w.encoding = fb::WeightEncoding::Fp8Block;
  w.stored_shape = {40, 5};
  w.block = {16, 2};
  w.scale_shape = {3, 3};
  w.scale_sources = {"w0.scale"};
  writeBytes(folder + "/plan/encoded", packPlan(std::move(routes)));
  writeBytes(folder + "/metadata/good", makeMetadata(plan).dump());
  writeBytes(folder + "/metadata/deep", std::string(5000, '['));
  TemporaryFolder work;
  linkArtifact(work.file("m.moe"), plan, makeMetadata(plan).dump());
  writeBytes(folder + "/elf/good", readFile(work.file("m.moe")));
  writeBytes(folder + "/offload/good", makeOffloading());
  writeWeights(work.path, 1);
  writeBytes(folder + "/safetensors/good",
             readFile(work.file("model.safetensors")));
  writeBytes(folder + "/safetensors/metadata",
             rawSafetensors(R"({"__metadata__":{"a":"b"},"x":{"dtype":"I8",)"
                            R"("shape":[0],"data_offsets":[0,0]}})",
                            ""));
}

/// The corpus stays meaningful: each folder has an input that its reader
/// accepts, and the plan is of the present format.
TEST(Corpus, HasGoodInputs) {
  if (std::getenv("MOERT_WRITE_CORPUS"))
    writeCorpus();
  std::string folder = MOERT_FUZZ_CORPUS;
  std::string plan = readFile(folder + "/plan/good");
  auto *bytes = reinterpret_cast<const uint8_t *>(plan.data());
  EXPECT_TRUE(readPlan(bytes, plan.size(), "good").ok());
  std::string gpu = readFile(folder + "/plan/gpu");
  bytes = reinterpret_cast<const uint8_t *>(gpu.data());
  EXPECT_TRUE(readPlan(bytes, gpu.size(), "gpu").ok());
  std::string encoded = readFile(folder + "/plan/encoded");
  bytes = reinterpret_cast<const uint8_t *>(encoded.data());
  EXPECT_TRUE(readPlan(bytes, encoded.size(), "encoded").ok());
  std::string meta = readFile(folder + "/metadata/good");
  bytes = reinterpret_cast<const uint8_t *>(meta.data());
  EXPECT_TRUE(readMetadata(bytes, meta.size(), "good").ok());
  std::string elf = readFile(folder + "/elf/good");
  bytes = reinterpret_cast<const uint8_t *>(elf.data());
  EXPECT_TRUE(ElfFile::parse(bytes, elf.size(), "good").ok());
  std::string images = readFile(folder + "/offload/good");
  bytes = reinterpret_cast<const uint8_t *>(images.data());
  EXPECT_TRUE(readOffloading(bytes, images.size(), "good").ok());
  std::string tensors = readFile(folder + "/safetensors/good");
  bytes = reinterpret_cast<const uint8_t *>(tensors.data());
  std::vector<TensorEntry> entries;
  std::map<std::string, std::string> extra;
  EXPECT_TRUE(
      parseSafetensors(bytes, tensors.size(), "good", entries, extra).ok());
}
