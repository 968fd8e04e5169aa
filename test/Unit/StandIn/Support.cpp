//===- Support.cpp - Running the stand-in in a process of its own ---------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"

#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <elf.h>
#include <fstream>
#include <sstream>
#include <sys/wait.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

using namespace standin_test;

Api::Api() {
  void *library = dlopen(STANDIN_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    ADD_FAILURE() << dlerror();
    std::exit(99);
  }
#define STANDIN_FUNCTION(NAME, BASE, VERSION, PARAMETERS)                      \
  NAME = reinterpret_cast<decltype(NAME)>(dlsym(library, #NAME));              \
  EXPECT_NE(nullptr, NAME) << #NAME;
#include "Functions.def"
}

//===----------------------------------------------------------------------===//
// Images
//===----------------------------------------------------------------------===//

std::string standin_test::hashOf(const void *data, size_t size) {
  char text[17];
  std::snprintf(text, sizeof(text), "%016llx",
                static_cast<unsigned long long>(XXH3_64bits(data, size)));
  return text;
}

std::string standin_test::makePtx(const std::string &target,
                                  const std::string &version) {
  return "//\n// Kernels of the tests\n//\n\n.version " + version +
         "\n.target " + target + "\n.address_size 64\n";
}

std::vector<char> standin_test::makeCubin(int architecture, int abiVersion) {
  constexpr size_t payload = 100;
  std::vector<char> bytes(sizeof(Elf64_Ehdr) + payload +
                          2 * sizeof(Elf64_Shdr));
  Elf64_Ehdr header = {};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_ABIVERSION] = static_cast<unsigned char>(abiVersion);
  header.e_machine = 190;
  header.e_flags =
      Elf64_Word(abiVersion >= 8 ? architecture << 8 : architecture);
  header.e_shoff = sizeof(Elf64_Ehdr) + payload;
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = 2;
  Elf64_Shdr section = {};
  section.sh_type = SHT_PROGBITS;
  section.sh_offset = sizeof(Elf64_Ehdr);
  section.sh_size = payload;
  std::memcpy(bytes.data(), &header, sizeof(header));
  std::memset(bytes.data() + sizeof(header), 'k', payload);
  std::memcpy(bytes.data() + bytes.size() - sizeof(section), &section,
              sizeof(section));
  return bytes;
}

static void copyKernels(const std::string &to) {
  std::ifstream from(STANDIN_KERNELS, std::ios::binary);
  std::ofstream(to, std::ios::binary) << from.rdbuf();
}

static std::string makeFolder() {
  std::string name = testing::TempDir() + "standin-XXXXXX";
  EXPECT_NE(nullptr, mkdtemp(name.data()));
  return name;
}

namespace {

/// The folder with the kernels; the process that made it removes it.
struct Images {
  std::string folder = makeFolder();
  std::vector<std::string> files;
  pid_t owner = getpid();

  void add(const void *image, size_t size) {
    files.push_back(folder + "/" + hashOf(image, size) + ".so");
    copyKernels(files.back());
  }
  Images() {
    for (const char *target : {"sm_80", "sm_90a"}) {
      std::string ptx = makePtx(target, target[3] == '8' ? "7.0" : "8.0");
      add(ptx.data(), ptx.size());
    }
    std::vector<char> cubin = makeCubin(80, 8);
    add(cubin.data(), cubin.size());
  }
  ~Images() {
    if (getpid() != owner)
      return;
    for (const std::string &file : files)
      unlink(file.c_str());
    rmdir(folder.c_str());
  }
};

} // namespace

const std::string &standin_test::imageFolder() {
  static const Images images;
  return images.folder;
}

//===----------------------------------------------------------------------===//
// Child processes
//===----------------------------------------------------------------------===//

static std::vector<std::string> readLines(const std::string &path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);)
    lines.push_back(line);
  return lines;
}

bool Outcome::reports(const std::string &text) const {
  for (const std::string &line : report)
    if (line.find(text) != std::string::npos)
      return true;
  return false;
}

Outcome standin_test::run(const Variables &variables,
                          const std::function<int(Api &)> &body,
                          int expectedStatus) {
  std::string folder = makeFolder();
  std::string images = imageFolder();
  std::fflush(nullptr);
  pid_t child = fork();
  if (child == 0) {
    setenv("MOE_STANDIN_IMAGES", images.c_str(), 1);
    setenv("MOE_STANDIN_REPORT", (folder + "/report").c_str(), 1);
    setenv("MOE_STANDIN_LOG", (folder + "/log").c_str(), 1);
    setenv("MOE_STANDIN_COUNTS", (folder + "/counts").c_str(), 1);
    setenv("MOE_STANDIN_LEAKS", "1", 1);
    setenv("MOE_STANDIN_THREADS", "1", 1);
    for (const auto &[name, value] : variables)
      setenv(("MOE_STANDIN_" + name).c_str(), value.c_str(), 1);
    // A test that hangs ends here.
    alarm(60);
    int status = 0;
    {
      Api api;
      status = body(api);
    }
    std::exit(testing::Test::HasFailure() ? 98 : status);
  }
  Outcome outcome;
  int status = 0;
  EXPECT_EQ(child, waitpid(child, &status, 0));
  outcome.status =
      WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  EXPECT_EQ(expectedStatus, outcome.status);
  outcome.report = readLines(folder + "/report");
  outcome.log = readLines(folder + "/log");
  for (const std::string &line : readLines(folder + "/counts")) {
    std::istringstream stream(line);
    std::string name;
    int count = 0;
    stream >> name >> count;
    outcome.counts[name] = count;
  }
  for (const char *name : {"/report", "/log", "/counts"})
    unlink((folder + name).c_str());
  rmdir(folder.c_str());
  return outcome;
}

//===----------------------------------------------------------------------===//
// Sessions
//===----------------------------------------------------------------------===//

Session::Session(Api &api, const std::string &target,
                 const std::string &version)
    : api(api) {
  EXPECT_EQ(CUDA_SUCCESS, api.cuInit(0));
  EXPECT_EQ(CUDA_SUCCESS, api.cuDevicePrimaryCtxRetain(&context, 0));
  EXPECT_EQ(CUDA_SUCCESS, api.cuCtxSetCurrent(context));
  EXPECT_EQ(CUDA_SUCCESS, api.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  std::string ptx = makePtx(target, version);
  EXPECT_EQ(CUDA_SUCCESS, api.cuModuleLoadData(&module, ptx.c_str()));
}

Session::~Session() {
  api.cuModuleUnload(module);
  api.cuStreamDestroy_v2(stream);
  api.cuDevicePrimaryCtxRelease_v2(0);
}

CUfunction Session::function(const char *name) {
  CUfunction result = nullptr;
  EXPECT_EQ(CUDA_SUCCESS, api.cuModuleGetFunction(&result, module, name));
  return result;
}

CUdeviceptr Session::allocate(size_t bytes) {
  CUdeviceptr result = 0;
  EXPECT_EQ(CUDA_SUCCESS, api.cuMemAlloc_v2(&result, bytes));
  return result;
}

CUdeviceptr Session::upload(const std::vector<float> &values) {
  CUdeviceptr result = allocate(values.size() * 4);
  EXPECT_EQ(CUDA_SUCCESS,
            api.cuMemcpyHtoD_v2(result, values.data(), values.size() * 4));
  return result;
}

std::vector<float> Session::download(CUdeviceptr from, size_t count) {
  std::vector<float> result(count);
  EXPECT_EQ(CUDA_SUCCESS, api.cuMemcpyDtoH_v2(result.data(), from, count * 4));
  return result;
}

CUresult Session::launch(const char *name, unsigned grid, unsigned block,
                         std::vector<void *> params, unsigned shared,
                         CUstream on) {
  return api.cuLaunchKernel(function(name), grid, 1, 1, block, 1, 1, shared,
                            on ? on : stream, params.data(), nullptr);
}

CUresult Session::launchScale(CUdeviceptr x, float factor, unsigned count,
                              CUstream on) {
  return launch("scale", (count + 63) / 64, 64, {&x, &factor, &count}, 0, on);
}
