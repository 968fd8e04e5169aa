//===- KernelHarness.cpp - Compile kernels, load them, run them -----------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelHarness.h"

#include "moe/Codegen/CPU/Pipeline.h"
#include "moe/Codegen/Passes.h"
#include "moe/Target/LLVMCPU/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/Program.h"

#include "gtest/gtest.h"

#include <algorithm>
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

using namespace mlir;
using namespace moe_test;

GuardedBytes::GuardedBytes(size_t bytes) : bytes(bytes) {
  size_t page = sysconf(_SC_PAGESIZE);
  size_t data = (bytes + page - 1) / page * page + page;
  mapped = data + page;
  base = static_cast<char *>(mmap(nullptr, mapped, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  end = base + data;
  mprotect(end, page, PROT_NONE);
}

GuardedBytes::~GuardedBytes() { munmap(base, mapped); }

/// Links an object into a shared one and loads it.
static void *load(ArrayRef<int8_t> object, std::string &diagnostics) {
  SmallString<128> objectPath, sharedPath;
  int fd;
  if (llvm::sys::fs::createTemporaryFile("kernels", "o", fd, objectPath) ||
      llvm::sys::fs::createTemporaryFile("kernels", "so", sharedPath)) {
    diagnostics += "no temporary file";
    return nullptr;
  }
  llvm::FileRemover removeObject(objectPath), removeShared(sharedPath);
  {
    llvm::raw_fd_ostream os(fd, /*shouldClose=*/true);
    os.write(reinterpret_cast<const char *>(object.data()), object.size());
  }
  StringRef args[] = {MOE_LLD, "-shared", "-o", sharedPath, objectPath};
  std::string message;
  if (llvm::sys::ExecuteAndWait(MOE_LLD, args, std::nullopt, {}, 0, 0,
                                &message)) {
    diagnostics += "cannot link: " + message;
    return nullptr;
  }
  void *handle = dlopen(sharedPath.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle)
    diagnostics += dlerror();
  return handle;
}

std::unique_ptr<Kernels> Kernels::compile(const std::string &source,
                                          std::string &diagnostics) {
  DialectRegistry registry;
  registry.insert<moe::MoeDialect, plan::PlanDialect, arith::ArithDialect,
                  func::FuncDialect, linalg::LinalgDialect, math::MathDialect,
                  scf::SCFDialect, tensor::TensorDialect>();
  moe::registerCPUCodegenInterfaces(registry);
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    diagnostics += diagnostic.str() + "\n";
    return success();
  });
  OwningOpRef<ModuleOp> module =
      parseSourceString<ModuleOp>(source, ParserConfig(&context));
  if (!module)
    return nullptr;
  module->getOperation()->setAttr(
      "moe.targets", Builder(&context).getStrArrayAttr({"x86-64"}));
  PassManager pm(&context);
  moe::addKernelConfigPasses(pm);
  moe::addLLVMCPUTargetPasses(pm);
  if (failed(pm.run(*module)))
    return nullptr;
  plan::BinaryOp binary = *module->getOps<plan::BinaryOp>().begin();
  std::unique_ptr<Kernels> kernels(new Kernels);
  kernels->handle = load(binary.getData(), diagnostics);
  if (!kernels->handle)
    return nullptr;
  auto query = reinterpret_cast<moert_query_fn>(
      dlsym(kernels->handle, MOERT_QUERY_SYMBOL));
  kernels->table = query ? query(MOERT_KERNEL_ABI_VERSION) : nullptr;
  if (!kernels->table) {
    diagnostics += "no kernel table";
    return nullptr;
  }
  return kernels;
}

Kernels::~Kernels() {
  if (handle)
    dlclose(handle);
}

const moert_kernel_entry &Kernels::entry(const std::string &name) const {
  for (uint32_t i = 0; i < table->kernel_count; ++i)
    if (table->kernels[i].name == name)
      return table->kernels[i];
  ADD_FAILURE() << "no kernel " << name;
  abort();
}

std::vector<int> Kernels::levelsOf(const std::string &name) const {
  bool supported[MOERT_ISA_COUNT] = {
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"),
      __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
          __builtin_cpu_supports("avx512vl"),
      false};
  std::vector<int> levels;
  static bool reported[MOERT_ISA_COUNT] = {};
  for (int level = 0; level < MOERT_ISA_COUNT; ++level) {
    if (!entry(name).fn[level])
      continue;
    if (supported[level])
      levels.push_back(level);
    else if (!std::exchange(reported[level], true))
      llvm::outs() << "level " << levelName(level)
                   << " is not run: this machine has no such CPU\n";
  }
  return levels;
}

int Kernels::run(const std::string &name, int level, int workers,
                 std::initializer_list<Arg> args, bool reversed) const {
  const moert_kernel_entry &kernel = entry(name);
  EXPECT_EQ(kernel.num_args, args.size());
  std::vector<moert_arg> values;
  for (const Arg &arg : args)
    values.push_back(arg.value);
  int status = 0;
  for (int i = 0; i < workers; ++i) {
    // Scratch ends at a page that cannot be touched and starts at 64 bytes.
    size_t bytes = (kernel.scratch_bytes[level] + 63) / 64 * 64;
    GuardedBytes scratch(bytes);
    std::memset(scratch.data(), 0xff, bytes);
    int worker = reversed ? workers - 1 - i : i;
    status = std::max(status, kernel.fn[level](values.data(), worker, workers,
                                               scratch.data()));
  }
  return status;
}

const char *moe_test::levelName(int level) {
  const char *names[] = {"AVX2", "AVX-512", "AMX"};
  return names[level];
}

void moe_test::forEveryWay(const Kernels &kernels, const std::string &name,
                           const std::function<void(int, int, bool)> &body) {
  std::vector<int> levels = kernels.levelsOf(name);
  EXPECT_FALSE(levels.empty()) << "this machine runs no level of " << name;
  for (int level : levels)
    for (int workers : {1, 2, 3}) {
      SCOPED_TRACE(name + " at level " + levelName(level) + " with " +
                   std::to_string(workers) + " workers");
      body(level, workers, workers == 3);
    }
}

std::vector<float> moe_test::randomValues(Random &random, size_t size,
                                          float scale) {
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> values(size);
  for (float &value : values)
    value = normal(random);
  return values;
}
