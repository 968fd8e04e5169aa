//===- CutHarness.cpp - Running cut modules in tests ----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CutHarness.h"

#include "../../../lib/Codegen/GPU/Emulation/Jit.h"
#include "moe/Codegen/GPU/Emulation/Passes.h"
#include "moe/Codegen/GPU/Emulation/RetargetToHost.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>

using namespace mlir;
using namespace moe_test;

/// Defined beside the dialects that only the parser needs.
void addNVVMDialect(DialectRegistry &registry);

namespace {

struct Parsed {
  Parsed() {
    DialectRegistry registry;
    registry.insert<gpu::GPUDialect, LLVM::LLVMDialect>();
    addNVVMDialect(registry);
    mlir::moe::registerEmulationTranslations(registry);
    context.appendDialectRegistry(registry);
    context.getDiagEngine().registerHandler([&](Diagnostic &diagnostic) {
      messages += diagnostic.str() + "\n";
      return success();
    });
  }

  bool read(const std::string &file) {
    module = parseSourceFile<ModuleOp>(
        std::string(MOE_EMULATION_TESTS) + "/" + file, &context);
    return bool(module);
  }

  bool readText(const std::string &text) {
    module = parseSourceString<ModuleOp>(text, &context);
    return bool(module);
  }

  LogicalResult plant(const Bug &bug) {
    PassManager pm(&context);
    mlir::moe::TestMutateCutPassOptions options;
    options.bug = bug.name;
    options.nth = bug.nth;
    pm.addPass(mlir::moe::createTestMutateCutPass(options));
    return pm.run(*module);
  }

  MLIRContext context{MLIRContext::Threading::DISABLED};
  std::string messages;
  OwningOpRef<ModuleOp> module;
};

} // namespace

struct Cut::Impl {
  std::unique_ptr<mlir::moe::JitModule> jit;
};

Cut::Cut() : impl(std::make_unique<Impl>()) {}
Cut::~Cut() = default;

std::unique_ptr<Cut> Cut::load(const std::string &file, const Bug &bug) {
  Parsed parsed;
  if (parsed.read(file) && (bug.name.empty() || succeeded(parsed.plant(bug)))) {
    std::unique_ptr<Cut> cut(new Cut);
    auto modules = parsed.module->getOps<gpu::GPUModuleOp>();
    cut->impl->jit = mlir::moe::JitModule::create(*modules.begin());
    if (cut->impl->jit)
      return cut;
  }
  ADD_FAILURE() << file << ": " << parsed.messages;
  return nullptr;
}

unsigned Cut::countPlaces(const std::string &file, const std::string &bug) {
  Parsed parsed;
  if (!parsed.read(file) || succeeded(parsed.plant({bug, 1u << 30}))) {
    ADD_FAILURE() << file << ": " << parsed.messages;
    return 0;
  }
  // "... fits 3 places; ..."
  size_t at = parsed.messages.find(" fits ");
  if (at == std::string::npos) {
    ADD_FAILURE() << parsed.messages;
    return 0;
  }
  return std::stoul(parsed.messages.substr(at + 6));
}

std::vector<char> moe_test::emitObject(const std::string &text,
                                       std::string &messages) {
  Parsed parsed;
  SmallVector<char> object;
  if (parsed.readText(text)) {
    auto modules = parsed.module->getOps<gpu::GPUModuleOp>();
    if (failed(mlir::moe::emitEmulatedObject(*modules.begin(), object)))
      object.clear();
  }
  messages = parsed.messages;
  return std::vector<char>(object.begin(), object.end());
}

std::string moe_test::readCut(const std::string &file) {
  std::ifstream in(std::string(MOE_EMULATION_TESTS) + "/" + file);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

const moe_emu_kernel *Cut::kernel(const std::string &name) const {
  return impl->jit->lookup(name);
}

const moe_emu_module &Cut::module() const { return impl->jit->getModule(); }

const std::vector<Policy> &moe_test::allPolicies() {
  using ::moe::emu::Schedule;
  static const std::vector<Policy> policies = {{Schedule::Late, 1},
                                               {Schedule::Eager, 1},
                                               {Schedule::Random, 1},
                                               {Schedule::Random, 2},
                                               {Schedule::Random, 3}};
  return policies;
}

Launch::Launch(const Cut &cut, const std::string &kernel) {
  config.kernel = cut.kernel(kernel);
  EXPECT_TRUE(config.kernel) << "no kernel " << kernel;
  for (uint32_t i = 0; i < cut.module().global_count; ++i) {
    const moe_emu_global &variable = cut.module().globals[i];
    addMemory(variable.address, variable.size, variable.name, true);
  }
}

Launch &Launch::addParam(std::string bytes) {
  params.push_back(std::make_unique<Param>());
  std::memcpy(params.back()->bytes.data(), bytes.data(), bytes.size());
  return *this;
}

Launch &Launch::tensor(void *base, uint32_t elementBytes,
                       std::vector<uint64_t> sizes, std::vector<uint32_t> box,
                       uint32_t swizzle) {
  std::vector<uint64_t> strides;
  uint64_t stride = elementBytes;
  for (size_t i = 0; i + 1 < sizes.size(); ++i)
    strides.push_back(stride *= sizes[i]);
  addParam("");
  std::optional<std::string> problem = ::moe::emu::encodeTensorMap(
      params.back()->bytes.data(), elementBytes, sizes.size(), base,
      sizes.data(), strides.data(), box.data(), swizzle);
  EXPECT_FALSE(problem) << *problem;
  return *this;
}

void Launch::addMemory(void *begin, uint64_t size, const char *name,
                       bool writable) {
  config.memory.push_back({begin, size, writable, name});
  std::sort(config.memory.begin(), config.memory.end(),
            [](const ::moe::emu::MemoryRange &a,
               const ::moe::emu::MemoryRange &b) { return a.begin < b.begin; });
}

::moe::emu::LaunchReport Launch::run(const Policy &policy, uint32_t osThreads) {
  std::vector<void *> pointers;
  for (auto &param : params)
    pointers.push_back(param->bytes.data());
  EXPECT_EQ(config.kernel->num_params, pointers.size());
  config.params = pointers.data();
  config.schedule = policy.schedule;
  config.seed = policy.seed;
  config.osThreads = osThreads;
  return ::moe::emu::launch(config);
}

std::string moe_test::textOf(const ::moe::emu::LaunchReport &report) {
  std::string text;
  for (const ::moe::emu::Finding &finding : report.findings)
    text += finding.toString() + "\n";
  return text;
}

std::set<std::string>
moe_test::namesOf(const ::moe::emu::LaunchReport &report) {
  std::set<std::string> names;
  for (const ::moe::emu::Finding &finding : report.findings)
    names.insert(::moe::emu::findingName(finding.kind));
  return names;
}

float moe_test::fromBf16(uint16_t bits) {
  uint32_t word = uint32_t(bits) << 16;
  float value;
  std::memcpy(&value, &word, 4);
  return value;
}

uint16_t moe_test::toBf16(float value) {
  uint32_t word;
  std::memcpy(&word, &value, 4);
  return (word + 0x7fff + ((word >> 16) & 1)) >> 16;
}

float moe_test::fromF16(uint16_t bits) {
  int exponent = (bits >> 10) & 31, fraction = bits & 1023;
  float value = exponent ? std::ldexp(1024 + fraction, exponent - 25)
                         : std::ldexp(fraction, -24);
  return bits & 0x8000 ? -value : value;
}

/// Normal values, to the nearest, ties to even.
uint16_t moe_test::toF16(float value) {
  int exponent;
  float fraction = std::frexp(std::fabs(value), &exponent);
  uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  if (fraction == 0)
    return sign;
  int bits = int(std::nearbyint(std::ldexp(fraction, 11)));
  return sign + ((exponent + 14) << 10) + bits - 1024;
}

std::vector<uint16_t> moe_test::randomBf16(std::mt19937 &rng, size_t count) {
  std::uniform_int_distribution<int> eighths(-8, 8);
  std::vector<uint16_t> values(count);
  for (uint16_t &value : values)
    value = toBf16(float(eighths(rng)) / 8);
  return values;
}

std::vector<float> moe_test::multiply(const std::vector<uint16_t> &a,
                                      const std::vector<uint16_t> &b, int m,
                                      int n, int k,
                                      const std::vector<int32_t> &rows) {
  std::vector<float> c(size_t(m) * n);
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j) {
      size_t row = rows.empty() ? i : rows[i];
      float sum = 0;
      for (int q = 0; q < k; ++q)
        sum += fromBf16(a[row * k + q]) * fromBf16(b[size_t(j) * k + q]);
      c[size_t(i) * n + j] = sum;
    }
  return c;
}
