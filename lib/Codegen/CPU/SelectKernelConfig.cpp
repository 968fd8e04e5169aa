//===- SelectKernelConfig.cpp - Choose levels and register blocks ---------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Codegen/Passes.h"

#include "mlir/IR/Builders.h"

namespace mlir::moe {
#define GEN_PASS_DEF_SELECTKERNELCONFIGPASS
#include "moe/Codegen/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// Register blocks: as many accumulators as hide the latency of their chains
/// and fit the registers without spilling. AMX: 2 x 2 of the 8 tiles; AVX-512:
/// 8 rows x 2 vectors of 32; AVX2: 2 rows x 4 vectors of 16. Weights are
/// prefetched 1.5 KiB ahead; more than 3 KiB loses the gain. 128 channels of
/// a panel are 8 KiB of bf16 and stay in the L1 cache over row blocks.
static CpuConfigAttr configFor(MLIRContext *context, Isa isa) {
  constexpr int64_t kChannels = 128, kPrefetch = 1536;
  switch (isa) {
  case Isa::AVX2:
    return CpuConfigAttr::get(context, isa, 2, 2, kChannels, kPrefetch,
                              "fma-avx2");
  case Isa::AVX512:
    return CpuConfigAttr::get(context, isa, 8, 2, kChannels, kPrefetch,
                              "fma-avx512");
  case Isa::AMX:
    return CpuConfigAttr::get(context, isa, 2, 2, kChannels, kPrefetch,
                              "amx-bf16-k32");
  }
  llvm_unreachable("unknown ISA level");
}

/// Whether code for level AMX differs from that for AVX-512: exactly when
/// packed bf16 activations are written or read.
static bool usesAmx(plan::KernelOp kernel) {
  auto result = kernel.getBody().walk([](Operation *op) {
    Type weights;
    if (auto pack = dyn_cast<KernelPackRowsOp>(op))
      weights = pack.getWeightType();
    else if (auto gemm = dyn_cast<KernelGroupedGemmOp>(op))
      weights = gemm.getWeightType();
    return weights && weights.isBF16() ? WalkResult::interrupt()
                                       : WalkResult::advance();
  });
  return result.wasInterrupted();
}

namespace {
struct SelectKernelConfig
    : public moe::impl::SelectKernelConfigPassBase<SelectKernelConfig> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    bool levels[3] = {};
    if (failed(readTargets(module, levels)))
      return signalPassFailure();
    Builder b(&getContext());
    for (plan::KernelOp kernel : module.getOps<plan::KernelOp>()) {
      if (kernel.getDevice() != DeviceKind::Cpu)
        continue;
      bool amx = levels[2] && usesAmx(kernel);
      bool avx512 = levels[1] || (levels[2] && !amx && !levels[0]);
      SmallVector<Attribute> variants;
      if (levels[0])
        variants.push_back(configFor(&getContext(), Isa::AVX2));
      if (avx512)
        variants.push_back(configFor(&getContext(), Isa::AVX512));
      if (amx)
        variants.push_back(configFor(&getContext(), Isa::AMX));
      kernel.setVariantsAttr(b.getArrayAttr(variants));
    }
  }

  LogicalResult readTargets(ModuleOp module, bool (&levels)[3]) {
    auto targets = module->getAttrOfType<ArrayAttr>("moe.targets");
    if (!targets || targets.empty())
      return module.emitError("module has no attribute 'moe.targets', an array "
                              "of the targets to generate code for");
    for (Attribute attr : targets) {
      auto name = dyn_cast<StringAttr>(attr);
      StringRef target = name ? name.getValue() : StringRef();
      bool all = target == "x86-64";
      if (target.starts_with("sm_")) // See moe-select-gpu-config.
        continue;
      if (!all && target != "x86-64-v3" && target != "x86-64-v4" &&
          target != "x86-64-amx")
        return module.emitError("unknown target ")
               << attr << " in 'moe.targets'; known are \"x86-64\" (all x86 "
               << "levels), \"x86-64-v3\", \"x86-64-v4\" and \"x86-64-amx\"";
      levels[0] |= all || target == "x86-64-v3";
      levels[1] |= all || target == "x86-64-v4";
      levels[2] |= all || target == "x86-64-amx";
    }
    return success();
  }
};
} // namespace
