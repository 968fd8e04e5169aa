//===- TestPlan.cpp - The plan of the test artifacts ----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestArtifact.h"

using namespace moert;
using namespace moert::test;

namespace {

using ArgList = std::vector<std::pair<fb::ArgKind, uint32_t>>;

std::unique_ptr<fb::TensorT>
tensor(const char *name, fb::DType dtype,
       const std::vector<std::pair<int32_t, int64_t>> &dims) {
  auto t = std::make_unique<fb::TensorT>();
  t->name = name;
  t->dtype = dtype;
  for (auto [symbol, constant] : dims)
    t->dims.emplace_back(symbol, constant);
  return t;
}

std::unique_ptr<fb::AffineT> affine(int64_t constant,
                                    std::vector<int64_t> coefficients) {
  auto a = std::make_unique<fb::AffineT>();
  a->constant = constant;
  a->coefficients = std::move(coefficients);
  return a;
}

std::unique_ptr<fb::CommandEntryT> dispatch(uint32_t kernel, fb::Grid grid,
                                            const char *label,
                                            const ArgList &args) {
  fb::DispatchT d;
  d.kernel = kernel;
  d.grid = grid;
  d.label = label;
  for (auto [kind, index] : args)
    d.args.emplace_back(kind, index);
  auto entry = std::make_unique<fb::CommandEntryT>();
  entry->command.Set(std::move(d));
  return entry;
}

std::unique_ptr<fb::CommandEntryT> copy(const char *label, fb::Arg source,
                                        fb::Arg target,
                                        std::unique_ptr<fb::AffineT> size) {
  fb::CopyT c;
  c.label = label;
  c.source = std::make_unique<fb::Arg>(source);
  c.target = std::make_unique<fb::Arg>(target);
  c.size = std::move(size);
  auto entry = std::make_unique<fb::CommandEntryT>();
  entry->command.Set(std::move(c));
  return entry;
}

/// A function over one symbol N in [0, 4096] with one variant.
std::unique_ptr<fb::FunctionT> function(const char *name, bool hasSymbol) {
  auto f = std::make_unique<fb::FunctionT>();
  f->name = name;
  if (hasSymbol) {
    auto n = std::make_unique<fb::SymbolT>();
    n->name = "N";
    n->max = 4096;
    f->symbols.push_back(std::move(n));
  }
  f->variants.push_back(std::make_unique<fb::VariantT>());
  return f;
}

std::unique_ptr<fb::BufferT> buffer(uint32_t slot,
                                    std::unique_ptr<fb::AffineT> size) {
  auto b = std::make_unique<fb::BufferT>();
  b->slot = slot;
  b->sizes.push_back(std::move(size));
  return b;
}

constexpr auto Input = fb::ArgKind::Input;
constexpr auto Output = fb::ArgKind::Output;
constexpr auto Temp = fb::ArgKind::Buffer;
constexpr auto Const = fb::ArgKind::Constant;
constexpr auto Sym = fb::ArgKind::Symbol;

} // namespace

fb::PlanT test::makePlan() {
  fb::PlanT plan;
  plan.format_major = 1;
  struct KernelSpec {
    const char *name;
    uint32_t args;
    uint64_t scratch;
  };
  for (KernelSpec spec :
       {KernelSpec{"twice", 3, 0}, KernelSpec{"linear", 5, 0},
        KernelSpec{"offsets", 2, 0}, KernelSpec{"level", 1, 0},
        KernelSpec{"fails", 0, 0}, KernelSpec{"scratches", 2, 4096},
        KernelSpec{"slow", 0, 0}}) {
    auto kernel = std::make_unique<fb::KernelT>();
    kernel->name = spec.name;
    kernel->num_args = spec.args;
    kernel->levels = 7;
    kernel->scratch_bytes = spec.scratch;
    plan.kernels.push_back(std::move(kernel));
  }

  auto w = std::make_unique<fb::WeightT>();
  w->name = "w";
  w->shape = {1, 40, 5};
  w->sources = {"w0"};
  w->source_shape = {40, 5};
  w->stack = true;
  plan.weights.push_back(std::move(w));
  auto b = std::make_unique<fb::WeightT>();
  b->name = "bias";
  b->shape = {40};
  b->sources = {"bias"};
  b->source_shape = {40};
  plan.weights.push_back(std::move(b));
  for (uint32_t i = 0; i < 2; ++i) {
    auto constant = std::make_unique<fb::ConstantT>();
    constant->name = i == 0 ? "w" : "bias";
    constant->layout = i == 0 ? fb::Layout::Panels : fb::Layout::RowMajor;
    constant->weights = {i};
    plan.constants.push_back(std::move(constant));
  }

  auto f32 = fb::DType::F32;
  auto twice = function("twice", true);
  twice->inputs.push_back(tensor("x", f32, {{0, 0}, {-1, 5}}));
  twice->outputs.push_back(tensor("y", f32, {{0, 0}, {-1, 5}}));
  fb::VariantT *small = twice->variants[0].get();
  small->guards.emplace_back(0, 0, 2);
  small->commands.push_back(dispatch(0, fb::Grid::One, "twice.small",
                                     {{Input, 0}, {Output, 0}, {Sym, 0}}));
  twice->variants.push_back(std::make_unique<fb::VariantT>());
  fb::VariantT *large = twice->variants[1].get();
  large->buffers.push_back(buffer(0, affine(0, {20})));
  large->buffers[0]->sizes.push_back(affine(1 << 20, {0}));
  large->commands.push_back(dispatch(0, fb::Grid::All, "twice.large",
                                     {{Input, 0}, {Temp, 0}, {Sym, 0}}));
  large->commands.push_back(copy("twice.copy", fb::Arg(Temp, 0),
                                 fb::Arg(Output, 0), affine(0, {20})));
  plan.functions.push_back(std::move(twice));

  auto linear = function("linear", true);
  linear->inputs.push_back(tensor("x", f32, {{0, 0}, {-1, 5}}));
  linear->outputs.push_back(tensor("y", f32, {{0, 0}, {-1, 40}}));
  linear->variants[0]->commands.push_back(
      dispatch(1, fb::Grid::All, "linear",
               {{Input, 0}, {Const, 0}, {Const, 1}, {Output, 0}, {Sym, 0}}));
  plan.functions.push_back(std::move(linear));

  auto experts = function("experts", true);
  experts->inputs.push_back(tensor("x", f32, {{0, 0}, {-1, 5}}));
  experts->variants[0]->buffers.push_back(buffer(0, affine(20, {0})));
  experts->variants[0]->commands.push_back(
      dispatch(2, fb::Grid::One, "offsets", {{Temp, 0}, {Sym, 0}}));
  fb::RecordExpertsT record;
  record.layer = "layers.0";
  record.experts = 4;
  record.offsets = std::make_unique<fb::Arg>(Temp, 0);
  auto entry = std::make_unique<fb::CommandEntryT>();
  entry->command.Set(std::move(record));
  experts->variants[0]->commands.push_back(std::move(entry));
  plan.functions.push_back(std::move(experts));

  auto level = function("level", false);
  level->outputs.push_back(tensor("y", fb::DType::I32, {{-1, 1}}));
  level->variants[0]->commands.push_back(
      dispatch(3, fb::Grid::One, "level", {{Output, 0}}));
  plan.functions.push_back(std::move(level));

  auto fails = function("fails", false);
  fails->variants[0]->commands.push_back(
      dispatch(4, fb::Grid::All, "layers.3.route", {}));
  plan.functions.push_back(std::move(fails));

  auto slow = function("slow", false);
  slow->variants[0]->commands.push_back(
      dispatch(6, fb::Grid::All, "layers.7.slow", {}));
  plan.functions.push_back(std::move(slow));

  auto scratches = function("scratches", true);
  scratches->inputs.push_back(tensor("x", fb::DType::U8, {{0, 0}}));
  scratches->outputs.push_back(tensor("sum", fb::DType::I64, {{-1, 1}}));
  scratches->variants[0]->commands.push_back(
      dispatch(5, fb::Grid::All, "scratches", {{Output, 0}, {Sym, 0}}));
  plan.functions.push_back(std::move(scratches));

  auto half = function("half", true);
  half->inputs.push_back(tensor("x", fb::DType::BF16, {{0, 0}, {-1, 2}}));
  half->outputs.push_back(tensor("y", fb::DType::BF16, {{0, 0}, {-1, 2}}));
  half->variants[0]->commands.push_back(
      copy("half", fb::Arg(Input, 0), fb::Arg(Output, 0), affine(0, {4})));
  plan.functions.push_back(std::move(half));
  return plan;
}

void test::addRoutes(fb::PlanT &plan, bool readOnly) {
  auto routes = function("routes", true);
  const auto i32 = fb::DType::I32, f32 = fb::DType::F32;
  const std::vector<std::pair<int32_t, int64_t>> pairs = {{0, 0}, {-1, 2}};
  routes->inputs.push_back(tensor("ids", i32, pairs));
  routes->inputs.push_back(tensor("weights", f32, pairs));
  routes->inputs.push_back(tensor("offsets", i32, {{-1, 5}}));
  routes->inputs.push_back(tensor("dropped", i32, {{-1, 4}}));
  routes->outputs.push_back(tensor("chosen", i32, pairs));
  routes->outputs.push_back(tensor("shares", f32, pairs));
  fb::VariantT &variant = *routes->variants[0];
  for (uint32_t i = 0; i < 2; ++i) {
    variant.buffers.push_back(buffer(i, affine(0, {8})));
    variant.commands.push_back(
        copy("in", fb::Arg(Input, i), fb::Arg(Temp, i), affine(0, {8})));
  }
  auto add = [&](auto command) {
    auto entry = std::make_unique<fb::CommandEntryT>();
    entry->command.Set(std::move(command));
    variant.commands.push_back(std::move(entry));
  };
  fb::TapRoutesT tap;
  tap.layer = "layers.0";
  tap.experts = 4;
  tap.per_token = 2;
  tap.tokens = affine(0, {1});
  tap.ids = std::make_unique<fb::Arg>(Temp, 0);
  tap.weights = std::make_unique<fb::Arg>(Temp, 1);
  tap.read_only = readOnly;
  add(std::move(tap));
  fb::RecordExpertsT record;
  record.layer = "layers.0";
  record.experts = 4;
  record.offsets = std::make_unique<fb::Arg>(Input, 2);
  record.dropped = std::make_unique<fb::Arg>(Input, 3);
  add(std::move(record));
  for (uint32_t i = 0; i < 2; ++i)
    variant.commands.push_back(
        copy("out", fb::Arg(Temp, i), fb::Arg(Output, i), affine(0, {8})));
  plan.functions.push_back(std::move(routes));
}

namespace {

/// The kernel for the GPU with the work of `kernel`.
std::unique_ptr<fb::KernelT> gpuKernel(const fb::KernelT &kernel) {
  auto gpu = std::make_unique<fb::KernelT>();
  gpu->name = "gpu_" + kernel.name;
  gpu->num_args = kernel.num_args;
  gpu->device = fb::DeviceKind::Cuda;
  for (const char *arch : {"sm_80", "sm_90a"}) {
    auto code = std::make_unique<fb::GpuKernelT>();
    code->arch = arch;
    code->threads = 64;
    code->blocks_per_sm = 2;
    code->scratch_bytes = kernel.scratch_bytes;
    code->accumulation = "test";
    code->registers = 24;
    // More than a GPU grants without being asked.
    if (kernel.name == "linear")
      code->shared_bytes = 64 * 1024;
    gpu->gpu.push_back(std::move(code));
  }
  return gpu;
}

} // namespace

void test::addGpuVariants(fb::PlanT &plan, bool only) {
  const size_t count = plan.kernels.size();
  // "twice" is the last, which tests change.
  for (size_t i = count; i-- > 0;)
    plan.kernels.push_back(gpuKernel(*plan.kernels[i]));
  auto rows = std::make_unique<fb::ConstantT>();
  rows->name = "w.rows";
  rows->layout = fb::Layout::Rows;
  rows->k_tile = 4;
  rows->weights = {0};
  plan.constants.push_back(std::move(rows));
  for (std::unique_ptr<fb::FunctionT> &function : plan.functions) {
    if (function->name == "fails" && !only)
      continue;
    const size_t variants = function->variants.size();
    auto copy = std::make_unique<fb::VariantT>(*function->variants.back());
    copy->device = fb::DeviceKind::Cuda;
    for (auto &entry : copy->commands)
      if (fb::DispatchT *dispatch = entry->command.AsDispatch()) {
        dispatch->kernel = 2 * count - 1 - dispatch->kernel;
        for (fb::Arg &arg : dispatch->args)
          if (arg.kind() == Const && arg.index() == 0)
            arg = fb::Arg(Const, 2);
      }
    function->variants.push_back(std::move(copy));
    if (only)
      function->variants.erase(function->variants.begin(),
                               function->variants.begin() + variants);
  }
  if (!only)
    return;
  for (std::unique_ptr<fb::FunctionT> &function : plan.functions)
    for (auto &entry : function->variants[0]->commands)
      if (fb::DispatchT *dispatch = entry->command.AsDispatch())
        dispatch->kernel -= count;
  plan.kernels.erase(plan.kernels.begin(), plan.kernels.begin() + count);
}

/// One pass of serialisation.
static std::string serialise(const fb::PlanT &plan) {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(fb::Plan::Pack(builder, &plan), fb::PlanIdentifier());
  return std::string(reinterpret_cast<char *>(builder.GetBufferPointer()),
                     builder.GetSize());
}

std::string test::packPlan(fb::PlanT plan) {
  std::string first = serialise(plan);
  const fb::Plan *read = fb::GetPlan(first.data());
  plan.fingerprint = computeFingerprint(*read);
  for (uint32_t i = 0; i < plan.constants.size(); ++i)
    if (plan.constants[i]->bytes == 0) {
      auto bytes = packedBytes(*read, *read->constants()->Get(i));
      plan.constants[i]->bytes = bytes.ok() ? *bytes : 0;
    }
  return serialise(plan);
}
