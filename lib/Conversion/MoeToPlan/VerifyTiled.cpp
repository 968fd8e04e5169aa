//===- VerifyTiled.cpp - Border check of the plan -------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace mlir::moe {
#define GEN_PASS_DEF_VERIFYTILEDPASS
#include "moe/Conversion/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// Kernel ops and what gives them a number of rows.
static bool isKernelOp(Operation *op) {
  return isa<KernelRouterLogitsOp, KernelSelectTopkOp, KernelApplyCapacityOp,
             KernelSelectProductsOp, KernelRowLogitsOp, KernelNestIdsOp,
             KernelCountIdsOp, KernelRandomOp, KernelLookupRowsOp,
             KernelGroupRowsOp, KernelAllRowsOp, KernelChooseRowsOp,
             KernelSliceRowsOp, KernelGatherRowsOp, KernelPackRowsOp,
             KernelGroupedGemmOp, KernelCombineRowsOp, KernelCountRowsOp,
             KernelMapRowsOp, KernelFoldRowsOp, KernelRouteRowsOp,
             KernelRaggedGemmOp, arith::ConstantOp, arith::AddIOp,
             arith::MulIOp, arith::IndexCastOp, memref::LoadOp>(op);
}

static LogicalResult verifyKernel(plan::KernelOp kernel, bool strict) {
  for (Operation &op : kernel.getBody().front())
    if (!isKernelOp(&op))
      return op.emitError() << "'" << op.getName() << "' stands in kernel '"
                            << kernel.getSymName()
                            << "'; expected kernel ops of the moe dialect";
  if (kernel.getVariants().empty())
    return kernel.emitError() << "kernel '" << kernel.getSymName()
                              << "' has no configuration for any target";
  // Of two variants for one level the runtime may take either; the strict mode
  // promises that a token cannot tell.
  llvm::DenseMap<unsigned, StringRef> classes;
  if (kernel.getDevice() == DeviceKind::Cuda) // One variant per architecture.
    return success();
  for (Attribute attr : kernel.getVariants()) {
    auto config = dyn_cast<CpuConfigAttr>(attr);
    if (!config)
      return kernel.emitError() << "kernel '" << kernel.getSymName()
                                << "' has an unknown configuration " << attr;
    auto [it, isNew] = classes.try_emplace(
        static_cast<unsigned>(config.getIsa()), config.getAccumulation());
    if (!isNew && strict && it->second != config.getAccumulation())
      return kernel.emitError()
             << "kernel '" << kernel.getSymName() << "' mixes accumulation "
             << "classes '" << it->second << "' and '"
             << config.getAccumulation() << "' at level "
             << stringifyIsa(config.getIsa())
             << ", which moe.numerics = \"strict\" forbids";
  }
  return success();
}

namespace {

struct VerifyTiledPass
    : public moe::impl::VerifyTiledPassBase<VerifyTiledPass> {
  void runOnOperation() override {
    markAllAnalysesPreserved();
    auto numerics = getOperation()->getAttrOfType<StringAttr>("moe.numerics");
    bool strict = numerics && numerics.getValue() == "strict";
    for (Operation &op : *getOperation().getBody()) {
      if (auto kernel = dyn_cast<plan::KernelOp>(op)) {
        if (failed(verifyKernel(kernel, strict)))
          return signalPassFailure();
        continue;
      }
      if (isa<WeightOp, plan::FuncOp, plan::ConstantOp>(op))
        continue;
      op.emitError() << "'" << op.getName()
                     << "' is left in the module after the phase 'tiled'";
      return signalPassFailure();
    }
  }
};

} // namespace
