//===- TestGpu.cpp - GPUs for tests ---------------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestGpu.h"

#include <cstdlib>
#include <cstring>
#include <elf.h>
#include <unistd.h>

using namespace moert;
using namespace moert::test;

/// A file without code that says to be a cubin for sm_80.
static std::string emptyCubin() {
  Elf64_Ehdr header = {};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_ident[EI_ABIVERSION] = 7;
  header.e_type = ET_EXEC;
  header.e_machine = 190;
  header.e_version = EV_CURRENT;
  header.e_flags = 80;
  header.e_ehsize = sizeof(header);
  return std::string(reinterpret_cast<char *>(&header), sizeof(header));
}

static std::string ptxText() {
#if defined(MOERT_TEST_PTX)
  return readFile(MOERT_TEST_PTX);
#else
  return "";
#endif
}

bool test::hasStandIn() {
#if defined(MOERT_TEST_STANDIN)
  return true;
#else
  return false;
#endif
}

std::string test::gpuImages(bool cubin, bool ptx) {
  std::string bytes;
  auto add = [&](GpuImageKind kind, const std::string &text) {
    bytes += writeOffloading({kind,
                              {8, 0, 0},
                              reinterpret_cast<const uint8_t *>(text.data()),
                              text.size()});
  };
  if (cubin && hasStandIn())
    add(GpuImageKind::Cubin, emptyCubin());
  if (ptx && !ptxText().empty())
    add(GpuImageKind::Ptx, ptxText());
  return bytes;
}

#if defined(MOERT_TEST_STANDIN)
/// Objects by hash; stays until the process ends.
static const std::string &objectFolder() {
  static TemporaryFolder folder;
  static const bool filled = [] {
    for (const std::string &image : {emptyCubin(), ptxText()}) {
      std::string name =
          folder.file(xxh3Hex(image.data(), image.size()) + ".so");
      if (::symlink(MOERT_TEST_GPU_OBJECT, name.c_str()) != 0)
        return false;
    }
    return true;
  }();
  (void)filled;
  return folder.path;
}
#endif

std::string test::standInVariables() {
#if defined(MOERT_TEST_STANDIN)
  return std::string("MOE_CUDA_LIBRARY=") + MOERT_TEST_STANDIN +
         " MOE_STANDIN_IMAGES=" + objectFolder() + " MOE_STANDIN_THREADS=1 ";
#else
  return "";
#endif
}

void test::useStandIn() {
#if defined(MOERT_TEST_STANDIN)
  ::setenv("MOE_CUDA_LIBRARY", MOERT_TEST_STANDIN, 1);
  ::setenv("MOE_STANDIN_IMAGES", objectFolder().c_str(), 1);
  ::setenv("MOE_STANDIN_THREADS", "1", 1);
#endif
}

void test::buildGpuArtifact(const std::string &path, const std::string &images,
                            bool only) {
  fb::PlanT plan = makePlan();
  addGpuVariants(plan, only);
  std::string bytes = packPlan(std::move(plan));
  linkArtifact(path, bytes, makeMetadata(bytes).dump(), "", images);
}
