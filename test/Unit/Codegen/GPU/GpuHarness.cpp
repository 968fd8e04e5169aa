//===- GpuHarness.cpp - Compile GPU kernels, emulate them -----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GpuHarness.h"

#include "../../../../lib/Codegen/GPU/Emulation/Jit.h"
#include "moe/Codegen/GPU/Emulation/RetargetToHost.h"
#include "moe/Codegen/GPU/Pipeline.h"
#include "moe/Codegen/Passes.h"
#include "moe/Dialect/Moe/IR/Moe.h"
#include "moe/Dialect/Plan/IR/Plan.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"

#include "gtest/gtest.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

using namespace mlir;
using namespace moe_test;
using ::moe::emu::LaunchConfig;
using ::moe::emu::LaunchReport;
using ::moe::emu::MemoryRange;
using ::moe::emu::Schedule;

constexpr size_t kAlignment = 256;

DeviceBytes::DeviceBytes(size_t count, size_t elementSize, size_t offset,
                         bool writable)
    : bytes(count * elementSize), writable(writable) {
  size_t skip = offset * elementSize;
  memory.reset(new uint8_t[bytes + skip + kAlignment]);
  auto address = reinterpret_cast<uintptr_t>(memory.get());
  begin = memory.get() + (kAlignment - address % kAlignment) + skip;
  if (bytes)
    std::memset(begin, 0xa5, bytes);
}

std::string Way::name() const {
  const char *names[] = {"late", "eager", "random"};
  return std::string(names[int(schedule)]) + " " + std::to_string(seed) +
         ", blocks " + std::to_string(blocks);
}

const std::vector<Way> &moe_test::allWays() {
  static const std::vector<Way> ways = {{Schedule::Late, 1, 1},
                                        {Schedule::Eager, 1, 3},
                                        {Schedule::Random, 7, 2},
                                        {Schedule::Random, 11, 5}};
  return ways;
}

struct GpuKernels::State {
  struct Kernel {
    uint32_t threads, shared;
    int64_t scratch;
  };
  std::unique_ptr<mlir::moe::JitModule> code;
  std::map<std::string, Kernel> kernels;
};

GpuKernels::GpuKernels() : state(std::make_unique<State>()) {}
GpuKernels::~GpuKernels() = default;

std::unique_ptr<GpuKernels> GpuKernels::compile(const std::string &source,
                                                std::string &diagnostics,
                                                const std::string &arch) {
  DialectRegistry registry;
  registry.insert<mlir::moe::MoeDialect, plan::PlanDialect, arith::ArithDialect,
                  func::FuncDialect, linalg::LinalgDialect, math::MathDialect,
                  scf::SCFDialect, tensor::TensorDialect>();
  mlir::moe::registerCPUCodegenInterfaces(registry);
  mlir::moe::registerEmulationTranslations(registry);
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    diagnostics += diagnostic.str() + "\n";
    return success();
  });
  OwningOpRef<ModuleOp> module =
      parseSourceString<ModuleOp>(source, ParserConfig(&context));
  if (!module)
    return nullptr;
  module->getOperation()->setAttr("moe.targets",
                                  Builder(&context).getStrArrayAttr({arch}));
  PassManager pm(&context);
  bool hasVariants =
      llvm::any_of(module->getOps<plan::KernelOp>(), [](plan::KernelOp kernel) {
        return !kernel.getVariants().empty();
      });
  if (!hasVariants)
    mlir::moe::addGPUKernelConfigPasses(pm);
  mlir::moe::addGPUCodegenPasses(pm);
  if (failed(pm.run(*module)))
    return nullptr;
  std::unique_ptr<GpuKernels> result(new GpuKernels);
  for (auto cut : module->getOps<mlir::gpu::GPUModuleOp>()) {
    for (auto func : cut.getOps<LLVM::LLVMFuncOp>()) {
      auto config = func->getAttrOfType<mlir::moe::GpuConfigAttr>("moe.config");
      if (!config)
        continue;
      auto number = [&](StringRef name) {
        return func->getAttrOfType<IntegerAttr>(name).getInt();
      };
      result->state->kernels[func.getSymName().str()] = {
          uint32_t(config.getThreads()), uint32_t(number("moe.shared_bytes")),
          number("moe.scratch_bytes")};
    }
    result->state->code = mlir::moe::JitModule::create(cut);
  }
  return result->state->code ? std::move(result) : nullptr;
}

int GpuKernels::run(const std::string &name, const Way &way,
                    const std::vector<GpuArg> &args) const {
  const moe_emu_kernel *kernel = state->code->lookup(name);
  if (!kernel) {
    ADD_FAILURE() << "no kernel " << name;
    return -1;
  }
  const State::Kernel &info = state->kernels.at(name);
  auto status = output<int32_t>(1);
  std::memset(status->data(), 0, sizeof(int32_t));
  auto scratch = output<uint8_t>(info.scratch * way.blocks);

  LaunchConfig config;
  std::vector<GpuArg> all = args;
  all.push_back(status);
  all.push_back(scratch);
  std::vector<uint64_t> values;
  for (const GpuArg &arg : all) {
    values.push_back(arg.bytes ? reinterpret_cast<uint64_t>(arg.bytes->data())
                               : uint64_t(arg.size));
    if (arg.bytes && arg.bytes->size())
      config.memory.push_back(
          {arg.bytes->data(), arg.bytes->size(), arg.bytes->isWritable(),
           "argument " + std::to_string(values.size() - 1)});
  }
  EXPECT_EQ(kernel->num_params, values.size());
  const moe_emu_module &module = state->code->getModule();
  for (uint32_t i = 0; i < module.global_count; ++i)
    config.memory.push_back({module.globals[i].address, module.globals[i].size,
                             true, module.globals[i].name});
  std::sort(config.memory.begin(), config.memory.end(),
            [](const MemoryRange &x, const MemoryRange &y) {
              return x.begin < y.begin;
            });
  std::vector<void *> params;
  for (uint64_t &value : values)
    params.push_back(&value);
  config.kernel = kernel;
  config.grid[0] = way.blocks;
  config.block[0] = info.threads;
  config.dynamicShared = info.shared;
  config.params = params.data();
  config.schedule = way.schedule;
  config.seed = way.seed;
  LaunchReport report = ::moe::emu::launch(config);
  for (const ::moe::emu::Finding &finding : report.findings)
    ADD_FAILURE() << way.name() << ": " << finding.toString();
  // What counts blocks is zero again for the next launch.
  for (uint32_t i = 0; i < module.global_count; ++i) {
    const moe_emu_global &global = module.globals[i];
    if (std::string(global.name).find("ticket") != std::string::npos)
      EXPECT_EQ(*static_cast<uint32_t *>(global.address), 0u) << global.name;
  }
  return valuesOf<int32_t>(status)[0];
}

std::vector<float> moe_test::randomValues(Random &random, size_t size,
                                          float scale) {
  std::normal_distribution<float> distribution(0.0f, scale);
  std::vector<float> values(size);
  for (float &value : values)
    value = distribution(random);
  return values;
}

std::vector<int32_t> moe_test::randomIds(Random &random, int64_t tokens,
                                         int64_t perToken, int64_t experts,
                                         bool ascending) {
  std::vector<int32_t> ids, all(experts);
  std::iota(all.begin(), all.end(), 0);
  for (int64_t t = 0; t < tokens; ++t) {
    std::shuffle(all.begin(), all.end(), random);
    if (ascending)
      std::sort(all.begin(), all.begin() + perToken);
    ids.insert(ids.end(), all.begin(), all.begin() + perToken);
  }
  return ids;
}

std::vector<float> moe_test::hardLogits(Random &random, int64_t tokens,
                                        int64_t experts) {
  std::vector<float> logits = randomValues(random, tokens * experts, 3.0f);
  const float kInf = std::numeric_limits<float>::infinity();
  const float kNaN = std::numeric_limits<float>::quiet_NaN();
  const float strange[] = {kNaN,  -kNaN, kInf,   -kInf, 0.0f,
                           -0.0f, 88.8f, -87.4f, 1e-40f};
  for (int64_t t = 0; t < tokens; ++t) {
    float *row = &logits[t * experts];
    for (int64_t e = 0; e < experts; ++e) {
      if (t % 8 == 1) // Many ties.
        row[e] = std::round(row[e]);
      else if (t % 8 == 2) // Nothing but ties.
        row[e] = 0.25f;
      else if (t % 8 == 3 && e % 3 == t % 3) // Some are strange.
        row[e] = strange[random() % 9];
      else if (t % 8 == 4) // All are strange.
        row[e] = strange[(e + t) % 9];
      else if (t % 8 == 5) // Nothing but NaN, or -infinity.
        row[e] = t % 16 == 5 ? kNaN : -kInf;
      else if (t % 8 == 6) // Zeros of both signs.
        row[e] = random() % 2 ? 0.0f : -0.0f;
    }
  }
  return logits;
}
