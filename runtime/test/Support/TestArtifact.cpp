//===- TestArtifact.cpp - Builds small artifacts for tests ----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestArtifact.h"

#include "moert/Format/KernelABI.h"

#include <algorithm>
#include <cstdlib>
#include <dirent.h>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace moert;
using namespace moert::test;

static std::string makeFolder() {
  const char *base = std::getenv("TMPDIR");
  std::string name = std::string(base ? base : "/tmp") + "/moert-XXXXXX";
  return ::mkdtemp(name.data()) ? name : "";
}

TemporaryFolder::TemporaryFolder() : path(makeFolder()) {}

TemporaryFolder::~TemporaryFolder() {
  if (!path.empty())
    runCommand("rm -rf '" + path + "'");
}

std::vector<std::string> TemporaryFolder::list() const {
  std::vector<std::string> names;
  if (DIR *dir = ::opendir(path.c_str())) {
    while (const dirent *item = ::readdir(dir))
      if (item->d_name[0] != '.')
        names.push_back(item->d_name);
    ::closedir(dir);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string test::readFile(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

void test::writeBytes(const std::string &path, const std::string &bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

CommandResult test::runCommand(const std::string &command) {
  char outName[] = "/tmp/moert-out-XXXXXX", errName[] = "/tmp/moert-err-XXXXXX";
  ::close(::mkstemp(outName));
  ::close(::mkstemp(errName));
  CommandResult result;
  int status = std::system(
      ("{ " + command + "; } >" + outName + " 2>" + errName).c_str());
  result.exitCode =
      WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.out = readFile(outName);
  result.err = readFile(errName);
  ::unlink(outName);
  ::unlink(errName);
  return result;
}

std::string test::rawSafetensors(const std::string &header,
                                 const std::string &data) {
  std::string bytes;
  for (int i = 0; i < 8; ++i)
    bytes += static_cast<char>(header.size() >> (8 * i));
  return bytes + header + data;
}

//===----------------------------------------------------------------------===//
// Artifact
//===----------------------------------------------------------------------===//

std::string test::makeOffloading() {
  std::string bytes;
  std::mt19937 random(5);
  for (auto [kind, arch, size] :
       {std::make_tuple(GpuImageKind::Cubin, GpuArch{8, 0, 0}, 100),
        std::make_tuple(GpuImageKind::Ptx, GpuArch{8, 0, 0}, 61),
        std::make_tuple(GpuImageKind::Cubin, GpuArch{9, 0, 'a'}, 37)}) {
    std::string image = "\n.version 7.8\n";
    while (image.size() < size_t(size))
      image += static_cast<char>(random());
    GpuImage one{kind, arch, reinterpret_cast<const uint8_t *>(image.data()),
                 image.size()};
    bytes += writeOffloading(one);
  }
  return bytes;
}

nlohmann::json test::makeMetadata(const std::string &planBytes) {
  const fb::Plan *plan = fb::GetPlan(planBytes.data());
  static const char *const modes[] = {"external", "packed", "embedded"};
  nlohmann::json meta;
  meta["schema"] = "moe.meta/1";
  meta["format"] = {{"major", 1}, {"minor", 0}};
  meta["compiler"] = {{"version", "0.1.0"}, {"llvm", "22.1.8"}};
  meta["model"] = {{"name", "test/Tiny"},
                   {"arch", "tiny"},
                   {"layers", 1},
                   {"experts", 4},
                   {"top_k", 2}};
  meta["targets"] = {"x86-64"};
  meta["numerics"] = "default";
  meta["weights"] = {{"mode", modes[int(plan->weights_mode())]},
                     {"fingerprint", plan->fingerprint()->str()},
                     {"paths", {"elsewhere"}}};
  meta["plan_xxh3"] = xxh3Hex(planBytes.data(), planBytes.size());
  return meta;
}

void test::linkArtifact(const std::string &path, const std::string &planBytes,
                        const std::string &metadata, const std::string &weights,
                        const std::string &offloading) {
  TemporaryFolder work;
  std::string meta = metadata;
  meta.resize((meta.size() + 8) / 8 * 8, '\0');
  uint64_t sum = xxh3(meta.data(), meta.size());
  std::string sumBytes;
  for (int i = 0; i < 8; ++i)
    sumBytes += static_cast<char>(sum >> (8 * i));
  std::string assembly;
  auto section = [&](const char *name, const char *file,
                     const std::string &bytes, int alignment) {
    writeBytes(work.file(file), bytes);
    assembly += std::string(".section ") + name + ",\"a\",@progbits\n.balign " +
                std::to_string(alignment) + "\n.incbin \"" + work.file(file) +
                "\"\n";
  };
  section(planSection, "plan", planBytes, 16);
  section(metaSection, "meta", meta, 16);
  section(sumSection, "sum", sumBytes, 8);
  if (!weights.empty())
    section(weightsSection, "weights", weights, 64);
  if (!offloading.empty())
    section(offloadSection, "offloading", offloading, 8);
  assembly += ".section .note.GNU-stack,\"\",@progbits\n";
  writeBytes(work.file("sections.s"), assembly);
  CommandResult result = runCommand(
      std::string(MOERT_TEST_CC) + " -shared -nostdlib -o '" + path + "' '" +
      MOERT_TEST_KERNELS + "' '" + work.file("sections.s") + "'");
  ASSERT_EQ(result.exitCode, 0) << result.err;
}

void test::buildArtifact(const std::string &path, const fb::PlanT &plan) {
  std::string bytes = packPlan(plan);
  linkArtifact(path, bytes, makeMetadata(bytes).dump());
}

std::vector<float> test::randomFloats(size_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float &value : values)
    value = normal(generator);
  return values;
}

TestWeights test::writeWeights(const std::string &folder, unsigned seed) {
  ::mkdir(folder.c_str(), 0777);
  TestWeights weights{randomFloats(200, seed), randomFloats(40, seed + 1)};
  auto writer = SafetensorsWriter::create(
      folder + "/model.safetensors",
      {{"w0", DType::F32, {40, 5}}, {"bias", DType::F32, {40}}});
  EXPECT_TRUE(writer.ok()) << writer.status().toString();
  EXPECT_TRUE(writer->write(weights.w.data(), 800).ok());
  EXPECT_TRUE(writer->write(weights.bias.data(), 160).ok());
  EXPECT_TRUE(writer->finish().ok());
  return weights;
}
