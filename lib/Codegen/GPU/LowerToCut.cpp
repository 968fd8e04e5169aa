//===- LowerToCut.cpp - GPU kernels to llvm and nvvm --------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Codegen/GPU/Passes.h"
#include "moe/Dialect/Moe/IR/Moe.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

namespace mlir::moe {
#define GEN_PASS_DEF_LOWERTOCUTPASS
#include "moe/Codegen/GPU/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

namespace {
struct LowerToCut : public moe::impl::LowerToCutPassBase<LowerToCut> {
  void getDependentDialects(DialectRegistry &registry) const override {
    LowerToCutPassBase::getDependentDialects(registry);
    OpPassManager pm(mlir::gpu::GPUModuleOp::getOperationName());
    addConversions(pm);
    pm.getDependentDialects(registry);
  }

  /// Not nvvm: its ops are what the cut is for.
  static constexpr StringLiteral kLowered[] = {
      "arith", "cf", "func", "index", "math", "memref", "ub", "vector"};

  static void addConversions(OpPassManager &pm,
                             ArrayRef<std::string> dialects = {}) {
    pm.addPass(createCanonicalizerPass());
    pm.addPass(createCSEPass());
    pm.addPass(createLoopInvariantCodeMotionPass());
    pm.addPass(createSCFToControlFlowPass());
    ConvertToLLVMPassOptions options;
    options.filterDialects.assign(dialects.begin(), dialects.end());
    pm.addPass(createConvertToLLVMPass(options));
    pm.addPass(createReconcileUnrealizedCastsPass());
    pm.addPass(createCanonicalizerPass());
    pm.addPass(createCSEPass());
  }

  void runOnOperation() override {
    // The conversion takes only dialects that are there.
    SmallVector<std::string> dialects;
    for (StringRef name : kLowered)
      if (getContext().getLoadedDialect(name))
        dialects.push_back(name.str());
    OpPassManager pm(mlir::gpu::GPUModuleOp::getOperationName());
    addConversions(pm, dialects);
    for (auto target : getOperation().getOps<mlir::gpu::GPUModuleOp>()) {
      if (failed(runPipeline(pm, target)) || failed(check(target)))
        return signalPassFailure();
      markKernels(target);
    }
  }

  /// These attributes may stand on functions of the llvm dialect only.
  static void markKernels(mlir::gpu::GPUModuleOp target) {
    Builder b(target.getContext());
    for (auto func : target.getOps<LLVM::LLVMFuncOp>()) {
      auto config = func->getAttrOfType<GpuConfigAttr>("moe.config");
      if (!config)
        continue;
      func->setAttr("gpu.kernel", b.getUnitAttr());
      func->setAttr("nvvm.kernel", b.getUnitAttr());
      func->setAttr("nvvm.maxntid",
                    b.getDenseI32ArrayAttr({int32_t(config.getThreads())}));
    }
  }

  static LogicalResult check(mlir::gpu::GPUModuleOp target) {
    // A cast that is left over says less than the op that needs it.
    auto result = target.getBody()->walk([](Operation *op) {
      if (isa<UnrealizedConversionCastOp>(op) ||
          isa_and_nonnull<LLVM::LLVMDialect, NVVM::NVVMDialect>(
              op->getDialect()))
        return WalkResult::advance();
      op->emitError("no lowering of '") << op->getName() << "' for a GPU";
      return WalkResult::interrupt();
    });
    return failure(result.wasInterrupted());
  }
};
} // namespace
