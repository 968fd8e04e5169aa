//===- EmitEmulatedObject.cpp - Cut modules for the emulator --------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "NVPTX.h"

#include "moe/Codegen/GPU/Emulation/RetargetToHost.h"
#include "moe/Target/Module/LinkShared.h"
#include "moe/Target/NVPTX/Passes.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"

namespace mlir::moe {
#define GEN_PASS_DEF_EMITEMULATEDOBJECTPASS
#include "moe/Target/NVPTX/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

LogicalResult nvptx::writeEmulatedModule(mlir::gpu::GPUModuleOp cut,
                                         StringRef path) {
  SmallVector<char> object;
  // What the linker leaves undefined, whoever loads the file provides.
  return success(
      succeeded(emitEmulatedObject(cut, object)) &&
      succeeded(linkShared(cut.getLoc(), object, /*sections=*/{}, path)));
}

namespace {
struct EmitEmulatedObject
    : public moe::impl::EmitEmulatedObjectPassBase<EmitEmulatedObject> {
  using EmitEmulatedObjectPassBase::EmitEmulatedObjectPassBase;

  void getDependentDialects(DialectRegistry &registry) const override {
    EmitEmulatedObjectPassBase::getDependentDialects(registry);
    registerEmulationTranslations(registry);
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (output.empty()) {
      module.emitError("the pass option 'output' is missing");
      return signalPassFailure();
    }
    auto cuts = module.getOps<mlir::gpu::GPUModuleOp>();
    if (!llvm::hasSingleElement(cuts)) {
      module.emitError("expected one gpu.module");
      return signalPassFailure();
    }
    if (failed(nvptx::writeEmulatedModule(*cuts.begin(), output)))
      return signalPassFailure();
    markAllAnalysesPreserved();
  }
};
} // namespace
