//===- PlanReaderTest.cpp - Tests of the plan verifier --------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestArtifact.h"

#include <functional>
#include <gtest/gtest.h>

using namespace moert;
using namespace moert::test;

namespace {

StatusOr<std::shared_ptr<const VerifiedPlan>> read(const std::string &bytes) {
  return readPlan(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size(),
                  "x.moe");
}

/// What is wrong with makePlan() after this change.
std::string problem(const std::function<void(fb::PlanT &)> &change) {
  fb::PlanT plan = makePlan();
  change(plan);
  auto result = read(packPlan(std::move(plan)));
  return result.ok() ? "no error" : result.status().what();
}

fb::DispatchT &dispatchOf(fb::PlanT &plan, int function) {
  return *plan.functions[function]
              ->variants[0]
              ->commands[0]
              ->command.AsDispatch();
}

} // namespace

TEST(PlanReader, AcceptsTheTestPlan) {
  auto plan = read(packPlan(makePlan()));
  ASSERT_TRUE(plan.ok()) << plan.status().toString();
  EXPECT_EQ((**plan)->functions()->size(), 8u);
}

TEST(PlanReader, RejectsNoise) {
  for (const std::string &bytes :
       {std::string(), std::string("abc"), std::string(64, '\0'),
        std::string(64, '\xff'), packPlan(makePlan()).substr(0, 300)}) {
    auto plan = read(bytes);
    EXPECT_EQ(plan.status().number(), 303);
    EXPECT_EQ(plan.status().where(), "x.moe");
    EXPECT_NE(plan.status().fix(), "");
  }
}

TEST(PlanReader, RejectsOtherFormats) {
  auto set = [](uint32_t major) {
    return [major](fb::PlanT &p) { p.format_major = major; };
  };
  EXPECT_EQ(problem(set(2)), "artifact has format 2.0; this runtime reads 1.x");
  EXPECT_EQ(problem(set(0)), "artifact has format 0.0; this runtime reads 1.x");
  fb::PlanT plan = makePlan();
  plan.format_minor = 9;
  EXPECT_TRUE(read(packPlan(std::move(plan))).ok()) << "minors only add";
}

TEST(PlanReader, RejectsBadKernels) {
  EXPECT_EQ(problem([](auto &p) { p.kernels[1]->name = "twice"; }),
            "plan has two of kernel 'twice'");
  EXPECT_EQ(problem([](auto &p) { p.kernels[1]->name = "a\nb"; }),
            "plan has an empty or unprintable name of a kernel");
  EXPECT_EQ(problem([](auto &p) { p.kernels[1]->levels = 0; }),
            "kernel 'linear' of the plan has code for no level");
  EXPECT_EQ(problem([](auto &p) { p.kernels[1]->scratch_bytes = ~0ull; }),
            "kernel 'linear' of the plan has 5 arguments and "
            "18446744073709551615 bytes of scratch");
}

TEST(PlanReader, RejectsBadGpuKernels) {
  auto gpu = [](const std::function<void(fb::KernelT &)> &change) {
    return problem([&](fb::PlanT &p) {
      addGpuVariants(p);
      change(*p.kernels.back());
    });
  };
  const std::string name = "kernel 'gpu_twice' of the plan ";
  EXPECT_EQ(gpu([](auto &) {}), "no error");
  EXPECT_EQ(gpu([](auto &k) { k.gpu.clear(); }),
            name + "has code for no architecture");
  EXPECT_EQ(gpu([](auto &k) { k.levels = 1; }),
            name + "is for GPUs, but has levels of a CPU");
  EXPECT_EQ(gpu([](auto &k) { k.device = static_cast<fb::DeviceKind>(9); }),
            name + "is for an unknown kind of device");
  EXPECT_EQ(gpu([](auto &k) { k.num_args = 511; }), name + "has 511 arguments");
  EXPECT_EQ(gpu([](auto &k) { k.gpu[0]->arch = "gfx90a"; }),
            name + "is for an unknown architecture 'gfx90a'");
  EXPECT_EQ(gpu([](auto &k) { k.gpu[1]->arch = "sm_80"; }),
            "plan has two of architecture 'sm_80'");
  EXPECT_EQ(gpu([](auto &k) { k.gpu[0]->threads = 33; }),
            name + "has 33 threads, 2 blocks and 0 + 0 bytes of shared memory "
                   "for sm_80");
  EXPECT_EQ(gpu([](auto &k) { k.gpu[0]->blocks_per_sm = 0; }),
            name + "has 64 threads, 0 blocks and 0 + 0 bytes of shared memory "
                   "for sm_80");
  EXPECT_EQ(gpu([](auto &k) { k.gpu[0]->shared_bytes = ~0u; }),
            name + "has 64 threads, 2 blocks and 4294967295 + 0 bytes of "
                   "shared memory for sm_80");
  EXPECT_EQ(gpu([](auto &k) { k.gpu[0]->scratch_bytes = 100; }),
            name + "has 100 bytes of scratch for sm_80");
  EXPECT_EQ(gpu([](auto &k) { k.gpu[0]->accumulation = ""; }),
            "plan has an empty or unprintable name of a accumulation class");
  EXPECT_EQ(problem([](auto &p) {
              addGpuVariants(p);
              p.kernels[0]->gpu = std::move(p.kernels.back()->gpu);
            }),
            "kernel 'twice' of the plan is for the CPU, but has code for GPUs");
}

TEST(PlanReader, RejectsMixedDevices) {
  EXPECT_EQ(problem([](auto &p) {
              addGpuVariants(p);
              p.functions[0]->variants.push_back(
                  std::make_unique<fb::VariantT>());
            }),
            "function 'twice' of the plan has variants for cpu in two places");
  EXPECT_EQ(problem([](auto &p) {
              addGpuVariants(p);
              p.functions[0]->variants[1]->guards.emplace_back(0, 2, 9);
            }),
            "function 'twice' of the plan has guards on its last variant for "
            "cpu");
  EXPECT_EQ(problem([](auto &p) {
              addGpuVariants(p);
              p.functions[0]->variants[2]->guards.emplace_back(0, 2, 9);
            }),
            "function 'twice' of the plan has guards on its last variant for "
            "cuda");
  EXPECT_EQ(problem([](auto &p) {
              addGpuVariants(p);
              p.functions[0]->variants[2]->device =
                  static_cast<fb::DeviceKind>(2);
            }),
            "function 'twice' of the plan has a variant for an unknown kind of "
            "device");
  EXPECT_EQ(problem([](auto &p) {
              addGpuVariants(p);
              dispatchOf(p, 0).kernel = p.kernels.size() - 1;
            }),
            "function 'twice' of the plan dispatches kernel 'gpu_twice' for "
            "cuda in a variant for cpu");
  // A function, and a whole plan, may be for one kind of device only.
  EXPECT_EQ(problem([](auto &p) {
              addGpuVariants(p);
              p.functions[0]->variants.erase(p.functions[0]->variants.begin(),
                                             p.functions[0]->variants.begin() +
                                                 2);
            }),
            "no error");
}

TEST(PlanReader, RejectsBadRows) {
  auto rows = [](uint32_t kTile, uint32_t kInner = 1) {
    return problem([=](fb::PlanT &p) {
      p.constants[0]->layout = fb::Layout::Rows;
      p.constants[0]->k_tile = kTile;
      p.constants[0]->k_inner = kInner;
    });
  };
  const std::string name = "constant 'w' of the plan ";
  EXPECT_EQ(rows(4), "no error");
  EXPECT_EQ(rows(2), name + "has k_tile 2 and k_inner 1");
  EXPECT_EQ(rows(4, 2), name + "has k_tile 4 and k_inner 2");
  EXPECT_EQ(rows(0), name + "has k_tile 0 and k_inner 1");
  EXPECT_EQ(problem([](auto &p) {
              p.constants[0]->layout = fb::Layout::Rows;
              p.constants[0]->k_tile = 4;
              p.weights[0]->dtype = p.constants[0]->dtype = fb::DType::I32;
            }),
            name + "makes rows of an element type without matrix products");
  EXPECT_EQ(problem([](auto &p) {
              p.constants[1]->layout = fb::Layout::Rows;
              p.constants[1]->k_tile = 4;
            }),
            "constant 'bias' of the plan makes rows of shape [40]");
}

TEST(PlanReader, RejectsPanelsOfStackedVectors) {
  for (bool rows : {false, true}) {
    const std::string kind = rows ? "rows" : "panels";
    auto stacked = [&](fb::PlanT &p) {
      fb::WeightT &bias = *p.weights[1];
      bias.stack = true;
      bias.sources = {"b0", "b1", "b2"};
      bias.shape = {3, 40};
      p.constants[1]->layout = rows ? fb::Layout::Rows : fb::Layout::Panels;
      p.constants[1]->k_tile = 4;
    };
    EXPECT_EQ(problem(stacked), "constant 'bias' of the plan makes " + kind +
                                    " of sources of shape [40]");
    // Not only of the first part.
    EXPECT_EQ(problem([&](auto &p) {
                stacked(p);
                p.weights[0]->shape = p.weights[0]->source_shape = {3, 40};
                p.weights[0]->stack = false;
                p.constants[1]->weights = {0, 1};
                p.constants[0]->layout = fb::Layout::RowMajor;
              }),
              "constant 'bias' of the plan makes " + kind +
                  " of sources of shape [40]");
    // As they are, they may be stacked.
    EXPECT_EQ(problem([&](auto &p) {
                stacked(p);
                p.constants[1]->layout = fb::Layout::RowMajor;
              }),
              "no error");
  }
}

TEST(PlanReader, RejectsBadWeights) {
  EXPECT_EQ(problem([](auto &p) { p.weights[0]->sources.clear(); }),
            "weight 'w' of the plan has 0 sources");
  EXPECT_EQ(problem([](auto &p) { p.weights[1]->sources.push_back("b"); }),
            "weight 'bias' of the plan has 2 sources and no stack");
  EXPECT_EQ(problem([](auto &p) { p.weights[0]->shape = {1, 40, 6}; }),
            "weight 'w' of the plan has shape [1, 40, 6], but its sources "
            "give [1, 40, 5]");
  EXPECT_EQ(problem([](auto &p) {
              p.weights[0]->source_shape = {INT64_MAX, INT64_MAX};
            }),
            "weight 'w' of the plan has source shape [9223372036854775807, "
            "9223372036854775807], which is negative or overflows");
  EXPECT_EQ(problem([](auto &p) { p.weights[1]->transpose = true; }),
            "weight 'bias' of the plan transposes a source of rank 1");
  EXPECT_EQ(problem([](auto &p) { p.weights[1]->slice_dim = 1; }),
            "weight 'bias' of the plan slices dimension 1 of rank 1");
  EXPECT_EQ(problem([](auto &p) {
              p.weights[1]->slice_dim = 0;
              p.weights[1]->slice_end = 41;
            }),
            "weight 'bias' of the plan takes slice [0, 41) with step 1 of a "
            "dimension of 40");
  EXPECT_EQ(problem([](auto &p) {
              p.weights[1]->dtype = static_cast<fb::DType>(77);
            }),
            "weight 'bias' of the plan has an unknown element type");
}

TEST(PlanReader, RejectsBadTaps) {
  auto tap = [](const std::function<void(fb::PlanT &, fb::TapRoutesT &)> &f) {
    return problem([&](fb::PlanT &plan) {
      addRoutes(plan);
      f(plan, *plan.functions.back()
                   ->variants[0]
                   ->commands[2]
                   ->command.AsTapRoutes());
    });
  };
  EXPECT_EQ(tap([](auto &, auto &) {}), "no error");
  EXPECT_EQ(tap([](auto &, auto &t) { t.layer = ""; }),
            "plan has an empty or unprintable name of a layer");
  EXPECT_EQ(tap([](auto &, auto &t) { t.per_token = 5; }),
            "function 'routes' of the plan taps routes of 5 of 4 experts");
  EXPECT_EQ(tap([](auto &, auto &t) { t.per_token = 0; }),
            "function 'routes' of the plan taps routes of 0 of 4 experts");
  EXPECT_EQ(tap([](auto &, auto &t) { t.experts = 1u << 21; }),
            "function 'routes' of the plan taps routes of 2 of 2097152 "
            "experts");
  EXPECT_EQ(tap([](auto &, auto &t) { t.weights.reset(); }),
            "function 'routes' of the plan taps routes without ids or weights");
  EXPECT_EQ(
      tap([](auto &, auto &t) { *t.ids = fb::Arg(fb::ArgKind::Buffer, 7); }),
      "function 'routes' of the plan has an argument with index 7 of 2");
  auto input = [](auto &, auto &t) { *t.ids = fb::Arg(fb::ArgKind::Input, 0); };
  EXPECT_EQ(tap(input),
            "function 'routes' of the plan taps routes of what is no buffer");
  EXPECT_EQ(tap([&](auto &p, auto &t) {
              input(p, t);
              t.read_only = true;
            }),
            "no error");
  EXPECT_EQ(tap([](auto &, auto &t) { t.tokens->coefficients = {1, 2}; }),
            "function 'routes' of the plan has an expression of 2 symbols, "
            "not 1");
  EXPECT_EQ(tap([](auto &p, auto &t) {
              auto entry = std::make_unique<fb::CommandEntryT>();
              entry->command.Set(fb::TapRoutesT(t));
              p.functions.back()->variants[0]->commands.push_back(
                  std::move(entry));
            }),
            "plan has two of tapped layer 'layers.0'");
  EXPECT_EQ(problem([](auto &p) {
              addRoutes(p);
              *p.functions.back()
                   ->variants[0]
                   ->commands[3]
                   ->command.AsRecordExperts()
                   ->dropped = fb::Arg(fb::ArgKind::Constant, 0);
            }),
            "function 'routes' of the plan records experts from what is no "
            "buffer");
}

TEST(PlanReader, RejectsBadConstants) {
  EXPECT_EQ(problem([](auto &p) { p.constants[0]->bytes = 17; }),
            "constant 'w' of the plan has 17 bytes, but its layout gives "
            "1280");
  EXPECT_EQ(problem([](auto &p) { p.constants[0]->weights = {7}; }),
            "constant 'w' of the plan uses weight 7 of 2");
  EXPECT_EQ(problem([](auto &p) { p.constants[1]->weights = {1, 1}; }),
            "constant 'bias' of the plan has 2 weights");
  EXPECT_EQ(problem([](auto &p) { p.constants[0]->weights = {0, 1}; }),
            "constant 'w' of the plan joins weights of different shapes");
  EXPECT_EQ(problem([](auto &p) { p.constants[0]->dtype = fb::DType::BF16; }),
            "constant 'w' of the plan has another element type than its "
            "weight");
  EXPECT_EQ(problem([](auto &p) { p.constants[0]->k_inner = 0; }),
            "constant 'w' of the plan has k_tile 1 and k_inner 0");
  EXPECT_EQ(
      problem([](auto &p) { p.constants[1]->layout = fb::Layout::Panels; }),
      "constant 'bias' of the plan makes panels of shape [40]");
}

TEST(PlanReader, RejectsBadEmbedding) {
  EXPECT_EQ(problem([](auto &p) {
              p.weights_mode = fb::WeightsMode::Embedded;
              p.embedded_offsets = {0};
            }),
            "plan has 1 offsets of embedded constants, not 2");
  EXPECT_EQ(problem([](auto &p) { p.embedded_offsets = {0, 8}; }),
            "plan has an embedded constant at 8, which is no multiple of 64");
}

TEST(PlanReader, RejectsAWrongFingerprint) {
  fb::PlanT plan = makePlan();
  std::string bytes = packPlan(std::move(plan));
  const fb::Plan *good = fb::GetPlan(bytes.data());
  const std::string right = good->fingerprint()->str();
  size_t at = bytes.find(right);
  bytes[at] = bytes[at] == '0' ? '1' : '0';
  auto result = read(bytes);
  EXPECT_EQ(result.status().what(), "plan has fingerprint '" +
                                        bytes.substr(at, 16) +
                                        "', but its weights give " + right);
}

TEST(PlanReader, RejectsBadSignatures) {
  EXPECT_EQ(problem([](auto &p) { p.functions[0]->symbols[0]->min = 5000; }),
            "function 'twice' of the plan has symbol 'N' in the empty range "
            "5000 to 4096");
  EXPECT_EQ(problem([](auto &p) {
              p.functions[0]->inputs[0]->dims[0] = fb::Dim(-1, 3);
            }),
            "function 'twice' of the plan has symbol 'N', which no input "
            "binds");
  EXPECT_EQ(problem([](auto &p) {
              p.functions[0]->outputs[0]->dims[1] = fb::Dim(1, 0);
            }),
            "function 'twice' of the plan has a bad dimension of 'y'");
  EXPECT_EQ(problem([](auto &p) { p.functions[1]->name = "twice"; }),
            "plan has two of function 'twice'");
}

TEST(PlanReader, RejectsBadVariants) {
  EXPECT_EQ(problem([](auto &p) { p.functions[0]->variants.clear(); }),
            "function 'twice' of the plan has no variant");
  EXPECT_EQ(
      problem([](auto &p) {
        p.functions[0]->variants[1]->guards.emplace_back(0, 2, 9);
      }),
      "function 'twice' of the plan has guards on its last variant for cpu");
  EXPECT_EQ(problem([](auto &p) {
              p.functions[0]->variants[0]->guards[0] = fb::Guard(1, 0, 2);
            }),
            "function 'twice' of the plan has a bad guard");
  EXPECT_EQ(problem([](auto &p) {
              p.functions[0]->variants[1]->buffers[0]->slot = 1;
            }),
            "function 'twice' of the plan has a buffer in slot 1 of 1");
  EXPECT_EQ(problem([](auto &p) {
              p.functions[0]->variants[1]->buffers[0]->sizes.clear();
            }),
            "function 'twice' of the plan has a buffer without a size");
  EXPECT_EQ(
      problem([](auto &p) {
        p.functions[0]->variants[1]->buffers[0]->sizes[0]->coefficients = {1,
                                                                           2};
      }),
      "function 'twice' of the plan has an expression of 2 symbols, "
      "not 1");
}

TEST(PlanReader, RejectsBadCommands) {
  EXPECT_EQ(problem([](auto &p) { dispatchOf(p, 0).kernel = 7; }),
            "function 'twice' of the plan dispatches kernel 7 of 7");
  EXPECT_EQ(problem([](auto &p) { dispatchOf(p, 0).args.pop_back(); }),
            "function 'twice' of the plan gives 2 arguments to kernel "
            "'twice', which takes 3");
  EXPECT_EQ(problem([](auto &p) {
              dispatchOf(p, 0).args[0] = fb::Arg(fb::ArgKind::Buffer, 0);
            }),
            "function 'twice' of the plan has an argument with index 0 of 0");
  EXPECT_EQ(problem([](auto &p) {
              dispatchOf(p, 0).args[0] =
                  fb::Arg(static_cast<fb::ArgKind>(9), 0);
            }),
            "function 'twice' of the plan has an argument of unknown kind 9");
  EXPECT_EQ(problem([](auto &p) {
              dispatchOf(p, 0).grid = static_cast<fb::Grid>(9);
            }),
            "function 'twice' of the plan has a dispatch with an unknown "
            "grid");
  EXPECT_EQ(problem([](auto &p) {
              auto *copy =
                  p.functions[0]->variants[1]->commands[1]->command.AsCopy();
              *copy->target = fb::Arg(fb::ArgKind::Input, 0);
            }),
            "function 'twice' of the plan has a copy 'twice.copy' from or to "
            "what is no memory");
}

/// Every byte of a valid plan flipped, one at a time: the result is refused or
/// is a plan that can be walked.
TEST(PlanReader, SurvivesEveryFlippedByte) {
  fb::PlanT plan = makePlan();
  addGpuVariants(plan);
  const std::string good = packPlan(std::move(plan));
  size_t accepted = 0;
  for (size_t i = 0; i < good.size(); ++i)
    for (unsigned char mask : {0x01, 0x80, 0xff}) {
      std::string bytes = good;
      bytes[i] = static_cast<char>(bytes[i] ^ mask);
      auto plan = read(bytes);
      if (!plan.ok())
        continue;
      ++accepted;
      for (const fb::Function *function : *(**plan)->functions()) {
        std::vector<int64_t> symbols(
            function->symbols() ? function->symbols()->size() : 0, 3);
        for (auto device : {fb::DeviceKind::Cpu, fb::DeviceKind::Cuda}) {
          (void)constantsOf(*function, device);
          if (auto *variant = selectVariant(*function, symbols, device))
            (void)layoutWorkspace(*variant, symbols);
        }
      }
    }
  EXPECT_LT(accepted, good.size());
}

//===----------------------------------------------------------------------===//
// Evaluation
//===----------------------------------------------------------------------===//

namespace {
class Evaluate : public testing::Test {
protected:
  Evaluate() : plan(read(packPlan(makePlan())).take()) {}
  const fb::Function &function(const char *name) {
    return *findFunction(**plan, name);
  }
  std::string bindError(const char *name,
                        const std::vector<std::vector<int64_t>> &shapes) {
    auto symbols = bindSymbols(function(name), shapes);
    return symbols.ok() ? "no error" : symbols.status().toString();
  }
  StatusOr<WorkspaceLayout> layOut(int64_t n) {
    return layoutWorkspace(
        *selectVariant(function("twice"), {n}, fb::DeviceKind::Cpu), {n});
  }
  std::shared_ptr<const VerifiedPlan> plan;
};
} // namespace

TEST_F(Evaluate, BindsSymbols) {
  auto symbols = bindSymbols(function("twice"), {{17, 5}});
  ASSERT_TRUE(symbols.ok());
  EXPECT_EQ(*symbols, std::vector<int64_t>{17});
  EXPECT_TRUE(bindSymbols(function("twice"), {{0, 5}}).ok());
}

TEST_F(Evaluate, RejectsShapes) {
  EXPECT_EQ(bindError("twice", {{5}}),
            "error[MOE0013]: input 'x' has rank 1, shape [5], needed is f32 "
            "[N, 5]\n --> function 'twice'\nfix: give an array of rank 2\n");
  EXPECT_EQ(bindError("twice", {{3, 6}}),
            "error[MOE0013]: input 'x' has shape [3, 6], needed is f32 [N, "
            "5]\n --> function 'twice'\nfix: dimension 1 must be 5\n");
  EXPECT_EQ(bindError("twice", {{5000, 5}}),
            "error[MOE0013]: input 'x' has shape [5000, 5], needed is f32 [N, "
            "5]\n --> function 'twice'\nbecause 'N' must lie in 0 to 4096\n");
  EXPECT_EQ(bindError("twice", {}),
            "error[MOE0013]: 0 inputs are given, 1 are needed\n --> function "
            "'twice'\nfix: give every input once\n");
}

TEST_F(Evaluate, OneSymbolHasOneValue) {
  fb::PlanT changed = makePlan();
  changed.functions[0]->inputs.push_back(std::make_unique<fb::TensorT>());
  changed.functions[0]->inputs[1]->name = "z";
  changed.functions[0]->inputs[1]->dims = {fb::Dim(0, 0)};
  plan = read(packPlan(std::move(changed))).take();
  EXPECT_EQ(bindError("twice", {{3, 5}, {4}}),
            "error[MOE0013]: input 'z' has shape [4], needed is f32 [N]\n --> "
            "function 'twice'\nbecause 'N' is 3 in input 'x'\n");
}

TEST_F(Evaluate, SelectsVariants) {
  const fb::Function &twice = function("twice");
  auto cpu = fb::DeviceKind::Cpu;
  EXPECT_EQ(selectVariant(twice, {0}, cpu), twice.variants()->Get(0));
  EXPECT_EQ(selectVariant(twice, {1}, cpu), twice.variants()->Get(0));
  EXPECT_EQ(selectVariant(twice, {2}, cpu), twice.variants()->Get(1));
  EXPECT_EQ(selectVariant(twice, {2}, fb::DeviceKind::Cuda), nullptr);
}

TEST_F(Evaluate, KeepsDevicesApart) {
  fb::PlanT changed = makePlan();
  addGpuVariants(changed);
  plan = read(packPlan(std::move(changed))).take();
  auto cpu = fb::DeviceKind::Cpu, cuda = fb::DeviceKind::Cuda;
  const fb::Function &twice = function("twice");
  EXPECT_EQ(selectVariant(twice, {0}, cuda), twice.variants()->Get(2));
  EXPECT_EQ(selectVariant(twice, {9}, cpu), twice.variants()->Get(1));
  EXPECT_TRUE(hasCode(twice, cuda));
  EXPECT_FALSE(hasCode(function("fails"), cuda));
  EXPECT_EQ(constantsOf(function("linear"), cpu),
            (std::vector<uint32_t>{0, 1}));
  EXPECT_EQ(constantsOf(function("linear"), cuda),
            (std::vector<uint32_t>{1, 2}));
}

TEST_F(Evaluate, LaysOutTheWorkspace) {
  fb::PlanT changed = makePlan();
  auto &buffers = changed.functions[0]->variants[1]->buffers;
  for (uint32_t i = 1; i < 4; ++i) {
    buffers.push_back(std::make_unique<fb::BufferT>());
    buffers[i]->slot = i % 2;
    buffers[i]->sizes.push_back(std::make_unique<fb::AffineT>());
    buffers[i]->sizes[0]->constant = 100 * i;
  }
  plan = read(packPlan(std::move(changed))).take();
  auto layout = layOut(7);
  ASSERT_TRUE(layout.ok());
  EXPECT_EQ(layout->sizes, (std::vector<uint64_t>{140, 100, 200, 300}));
  EXPECT_EQ(layout->offsets, (std::vector<uint64_t>{0, 256, 0, 256}));
  EXPECT_EQ(layout->bytes, 256u + 320u);
}

TEST_F(Evaluate, TheLeastSizeCounts) {
  fb::PlanT changed = makePlan();
  changed.functions[0]->variants[1]->buffers[0]->sizes[1]->constant = 50;
  plan = read(packPlan(std::move(changed))).take();
  auto layout = layOut(7);
  ASSERT_TRUE(layout.ok());
  EXPECT_EQ(layout->sizes[0], 50u);
}

TEST_F(Evaluate, ChecksOverflow) {
  for (auto [constant, coefficient] :
       {std::make_pair(int64_t(0), INT64_MAX),
        std::make_pair(INT64_MAX, int64_t(1)),
        std::make_pair(int64_t(-100), int64_t(1))}) {
    fb::PlanT changed = makePlan();
    fb::AffineT &size =
        *changed.functions[0]->variants[1]->buffers[0]->sizes[0];
    size.constant = constant;
    size.coefficients = {coefficient};
    plan = read(packPlan(std::move(changed))).take();
    auto layout = layOut(7);
    EXPECT_EQ(layout.status().number(), 601);
  }
}
