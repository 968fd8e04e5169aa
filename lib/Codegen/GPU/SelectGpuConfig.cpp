//===- SelectGpuConfig.cpp - Configuration of GPU kernels ---------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Codegen/GPU/KernelExpansion.h"
#include "moe/Codegen/GPU/Passes.h"

namespace mlir::moe {
#define GEN_PASS_DEF_SELECTGPUCONFIGPASS
#include "moe/Codegen/GPU/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::gpu;

namespace {
struct SelectGpuConfig
    : public moe::impl::SelectGpuConfigPassBase<SelectGpuConfig> {
  void runOnOperation() override {
    SmallVector<const ArchInfo *> archs;
    auto targets = getOperation()->getAttrOfType<ArrayAttr>("moe.targets");
    for (Attribute attr : targets ? targets.getValue() : ArrayRef<Attribute>())
      if (auto name = dyn_cast<StringAttr>(attr);
          name && name.getValue().starts_with("sm_")) {
        const ArchInfo *arch = findArch(name);
        if (!arch) {
          getOperation().emitError("unknown GPU architecture ") << attr;
          return signalPassFailure();
        }
        if (!llvm::is_contained(archs, arch))
          archs.push_back(arch);
      }
    llvm::sort(archs, [](const ArchInfo *x, const ArchInfo *y) {
      return x->capability < y->capability;
    });
    Builder b(&getContext());
    for (auto kernel : getOperation().getOps<plan::KernelOp>()) {
      if (kernel.getDevice() != DeviceKind::Cuda)
        continue;
      if (failed(checkForms(kernel)))
        return signalPassFailure();
      SmallVector<Attribute> variants;
      for (const ArchInfo *arch : archs)
        variants.push_back(configFor(kernel, *arch));
      kernel.setVariantsAttr(b.getArrayAttr(variants));
    }
  }

  GpuConfigAttr configFor(plan::KernelOp kernel, const ArchInfo &arch) {
    int64_t threads = 256;
    for (Operation &op : kernel.getBody().front()) {
      if (auto gemm = dyn_cast<KernelRaggedGemmOp>(op))
        return tuneRaggedGemm(gemm, arch);
      // One block sorts all pairs, and takes as long as its warps need.
      if (isa<KernelGroupRowsOp, KernelRouteRowsOp>(op))
        threads = 512;
    }
    return GpuConfigAttr::get(&getContext(), arch.name, threads,
                              /*blocks=*/2, /*n=*/1, /*k=*/1, /*stages=*/1,
                              "f32");
  }
};
} // namespace
