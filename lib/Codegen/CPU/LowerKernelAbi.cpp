//===- LowerKernelAbi.cpp - Kernels to the C ABI and LLVM dialect ---------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Codegen/CPU/KernelExpansion.h"
#include "moe/Codegen/Passes.h"

#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/ConvertToLLVM/ToLLVMPass.h"
#include "mlir/Conversion/FuncToLLVM/ConvertFuncToLLVM.h"
#include "mlir/Conversion/IndexToLLVM/IndexToLLVM.h"
#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/MemRefToLLVM/MemRefToLLVM.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Conversion/UBToLLVM/UBToLLVM.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVM.h"
#include "mlir/Dialect/AMX/Transforms.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

namespace mlir::moe {
#define GEN_PASS_DEF_LOWERKERNELABIPASS
#include "moe/Codegen/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

void moe::registerCPUCodegenInterfaces(DialectRegistry &registry) {
  arith::registerConvertArithToLLVMInterface(registry);
  cf::registerConvertControlFlowToLLVMInterface(registry);
  registerConvertAMXToLLVMInterface(registry);
  registerConvertFuncToLLVMInterface(registry);
  registerConvertMathToLLVMInterface(registry);
  registerConvertMemRefToLLVMInterface(registry);
  index::registerConvertIndexToLLVMInterface(registry);
  ub::registerConvertUBToLLVMInterface(registry);
  vector::registerConvertVectorToLLVMInterface(registry);
  cpu::registerMapRowsInterfaces(registry);
}

/// CPU and features of an ISA level, as KernelABI.h defines the levels. The
/// vector width is asked for because LLVM prefers 256 bits at x86-64-v4.
static ArrayAttr targetAttributes(Builder &b, Isa isa) {
  auto pair = [&](StringRef key, StringRef value) -> Attribute {
    return b.getStrArrayAttr({key, value});
  };
  bool v4 = isa != Isa::AVX2;
  SmallVector<Attribute> attrs = {
      pair("target-cpu", v4 ? "x86-64-v4" : "x86-64-v3"),
      pair("prefer-vector-width", v4 ? "512" : "256"),
      b.getStringAttr("nounwind")};
  if (isa == Isa::AMX)
    attrs.push_back(pair("target-features", "+amx-tile,+amx-bf16,+avx512bf16"));
  return b.getArrayAttr(attrs);
}

/// Replaces the arguments of a function by those of the C ABI.
static void adaptSignature(func::FuncOp func, LLVMTypeConverter &converter) {
  OpBuilder b(func.getContext());
  Location loc = func.getLoc();
  Block &entry = func.getBody().front();
  unsigned numArgs = entry.getNumArguments();
  auto ptr = LLVM::LLVMPointerType::get(b.getContext());
  Type i32 = b.getI32Type(), i64 = b.getI64Type();
  Value args = entry.addArgument(ptr, loc);
  Value worker = entry.addArgument(i32, loc);
  Value workers = entry.addArgument(i32, loc);
  Value scratch = entry.addArgument(ptr, loc);

  b.setInsertionPointToStart(&entry);
  auto asMemRef = [&](Value pointer, Type type) -> Value {
    auto descriptor =
        MemRefDescriptor::poison(b, loc, converter.convertType(type));
    descriptor.setAllocatedPtr(b, loc, pointer);
    descriptor.setAlignedPtr(b, loc, pointer);
    // Kernels know their sizes; no access depends on this one.
    Value size = LLVM::ConstantOp::create(b, loc, b.getI64IntegerAttr(0));
    Value one = LLVM::ConstantOp::create(b, loc, b.getI64IntegerAttr(1));
    descriptor.setOffset(b, loc, size);
    descriptor.setSize(b, loc, 0, size);
    descriptor.setStride(b, loc, 0, one);
    return UnrealizedConversionCastOp::create(b, loc, type, Value(descriptor))
        .getResult(0);
  };
  auto asIndex = [&](Value value) -> Value {
    return arith::IndexCastOp::create(b, loc, b.getIndexType(), value);
  };
  unsigned own = numArgs - 3;
  for (unsigned i = 0; i < own; ++i) {
    BlockArgument arg = entry.getArgument(i);
    Value slot = LLVM::GEPOp::create(b, loc, ptr, i64, args,
                                     ArrayRef<LLVM::GEPArg>{int32_t(i)});
    bool isMemRef = isa<MemRefType>(arg.getType());
    Value value =
        LLVM::LoadOp::create(b, loc, isMemRef ? Type(ptr) : i64, slot);
    arg.replaceAllUsesWith(isMemRef ? asMemRef(value, arg.getType())
                                    : asIndex(value));
  }
  entry.getArgument(own).replaceAllUsesWith(asIndex(worker));
  entry.getArgument(own + 1).replaceAllUsesWith(asIndex(workers));
  BlockArgument old = entry.getArgument(own + 2);
  old.replaceAllUsesWith(asMemRef(scratch, old.getType()));
  entry.eraseArguments(0, numArgs);
  func.setType(b.getFunctionType({ptr, i32, i32, ptr}, {i32}));
}

namespace {
struct LowerKernelAbi
    : public moe::impl::LowerKernelAbiPassBase<LowerKernelAbi> {
  void getDependentDialects(DialectRegistry &registry) const override {
    LowerKernelAbiPassBase::getDependentDialects(registry);
    OpPassManager pm(ModuleOp::getOperationName());
    addConversions(pm);
    pm.getDependentDialects(registry);
  }

  static void addConversions(OpPassManager &pm) {
    pm.addPass(createCanonicalizerPass());
    pm.addPass(createCSEPass());
    pm.addPass(createConvertVectorToLLVMPass());
    pm.addPass(createSCFToControlFlowPass());
    // Driven by interfaces: the only one that converts tiles passed between
    // blocks.
    pm.addPass(createConvertToLLVMPass());
    pm.addPass(createReconcileUnrealizedCastsPass());
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    OpBuilder b(&getContext());
    // The conversions run on a module of their own, so that they see nothing
    // but the kernels.
    b.setInsertionPointToEnd(module.getBody());
    auto inner = ModuleOp::create(b, module.getLoc());
    LLVMTypeConverter converter(&getContext());
    bool emulated = module->hasAttr("moe.emulate_amx");
    SmallVector<func::FuncOp> funcs;
    for (auto func : module.getOps<func::FuncOp>())
      if (func->hasAttr("moe.kernel"))
        funcs.push_back(func);
    for (func::FuncOp func : funcs) {
      auto config = func->getAttrOfType<CpuConfigAttr>("moe.config");
      if (!config) {
        func.emitError("kernel function has no 'moe.config'");
        return signalPassFailure();
      }
      Isa isa = config.getIsa();
      if (isa == Isa::AMX && emulated)
        isa = Isa::AVX2;
      adaptSignature(func, converter);
      func->setAttr("passthrough", targetAttributes(b, isa));
      func->setAttr(
          "llvm.linkage",
          LLVM::LinkageAttr::get(&getContext(), LLVM::Linkage::Internal));
      func->moveBefore(inner.getBody(), inner.getBody()->end());
    }

    OpPassManager pm(ModuleOp::getOperationName());
    addConversions(pm);
    if (failed(runPipeline(pm, inner)))
      return signalPassFailure();
    for (Operation &op :
         llvm::make_early_inc_range(inner.getBody()->getOperations())) {
      if (failed(check(&op)))
        return signalPassFailure();
      op.moveBefore(inner);
    }
    inner.erase();
  }

  static LogicalResult check(Operation *op) {
    // A cast that is left over says less than the op that needs it.
    auto result = op->walk([](Operation *nested) {
      if (isa<UnrealizedConversionCastOp>(nested) ||
          isa_and_nonnull<LLVM::LLVMDialect>(nested->getDialect()))
        return WalkResult::advance();
      nested->emitError("no lowering of '")
          << nested->getName() << "' to the LLVM dialect";
      return WalkResult::interrupt();
    });
    return failure(result.wasInterrupted());
  }
};
} // namespace
