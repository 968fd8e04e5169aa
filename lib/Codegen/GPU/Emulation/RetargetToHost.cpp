//===- RetargetToHost.cpp - Turn a cut module into host code --------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Codegen/GPU/Emulation/RetargetToHost.h"

#include "Retarget.h"
#include "moe/Codegen/GPU/Emulation/Passes.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/IR/Verifier.h"

namespace mlir::moe {
#define GEN_PASS_DEF_RETARGETTOHOSTPASS
#include "moe/Codegen/GPU/Emulation/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

FailureOr<OwningOpRef<ModuleOp>> moe::retargetToHost(gpu::GPUModuleOp cut) {
  OwningOpRef<ModuleOp> host = ModuleOp::create(cut.getLoc());
  IRMapping mapping;
  for (Operation &op : *cut.getBody())
    host->push_back(op.clone(mapping));
  if (failed(emulation::Retargeter(*host).run()) || failed(verify(*host)))
    return failure();
  return host;
}

namespace {
struct RetargetToHost
    : public mlir::moe::impl::RetargetToHostPassBase<RetargetToHost> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto cuts = llvm::to_vector(module.getOps<gpu::GPUModuleOp>());
    if (cuts.size() != 1 || !llvm::hasSingleElement(*module.getBody())) {
      module.emitError("one gpu.module, and nothing else, is needed");
      return signalPassFailure();
    }
    FailureOr<OwningOpRef<ModuleOp>> host = retargetToHost(cuts.front());
    if (failed(host))
      return signalPassFailure();
    cuts.front().erase();
    module->removeAttr(gpu::GPUDialect::getContainerModuleAttrName());
    module.getBody()->getOperations().splice(
        module.getBody()->begin(), (*host)->getBody()->getOperations());
  }
};
} // namespace
