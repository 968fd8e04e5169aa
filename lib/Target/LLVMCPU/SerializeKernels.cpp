//===- SerializeKernels.cpp - Kernels to plan.binary ----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Target/LLVMCPU/Passes.h"

#include "LLVMCPU.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"

namespace mlir::moe {
#define GEN_PASS_DEF_SERIALIZEKERNELSPASS
#include "moe/Target/LLVMCPU/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::llvmcpu;

namespace {
struct SerializeKernels
    : public moe::impl::SerializeKernelsPassBase<SerializeKernels> {
  void getDependentDialects(DialectRegistry &registry) const override {
    SerializeKernelsPassBase::getDependentDialects(registry);
    registerBuiltinDialectTranslation(registry);
    registerLLVMDialectTranslation(registry);
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (failed(collect(module)) || failed(compile(module)))
      return signalPassFailure();
    OpBuilder b(&getContext());
    b.setInsertionPointToEnd(module.getBody());
    auto bytes = ArrayRef(reinterpret_cast<const int8_t *>(object.data()),
                          object.size());
    plan::BinaryOp::create(b, module.getLoc(), b.getStringAttr("host"),
                           b.getStringAttr("elf-x86_64-object"), describe(b),
                           b.getDenseI8ArrayAttr(bytes), StringAttr());
    for (LLVM::LLVMFuncOp func : functions)
      func.erase();
    for (plan::KernelOp kernel :
         llvm::make_early_inc_range(module.getOps<plan::KernelOp>()))
      if (kernel.getDevice() == DeviceKind::Cpu)
        kernel.erase();
  }

  /// Fills `entries` in the order of the kernels.
  LogicalResult collect(ModuleOp module) {
    entries.clear();
    functions.clear();
    configs.clear();
    object.clear();
    emulated = module->hasAttr("moe.emulate_amx");
    llvm::StringMap<unsigned> numbers;
    for (auto kernel : module.getOps<plan::KernelOp>()) {
      if (kernel.getDevice() != DeviceKind::Cpu)
        continue;
      numbers[kernel.getSymName()] = entries.size();
      KernelEntry &entry = entries.emplace_back();
      entry.name = kernel.getSymName().str();
      entry.numArgs = kernel.getBody().getNumArguments();
    }
    configs.resize(entries.size());
    for (auto func : module.getOps<LLVM::LLVMFuncOp>()) {
      functions.push_back(func);
      auto name = func->getAttrOfType<StringAttr>("moe.kernel");
      auto config = func->getAttrOfType<CpuConfigAttr>("moe.config");
      auto bytes = func->getAttrOfType<IntegerAttr>("moe.scratch_bytes");
      if (!name && func.isExternal())
        continue;
      if (!name || !config || !bytes)
        return func.emitError("function is no kernel; run "
                              "'moe-lower-kernel-abi' first");
      auto number = numbers.find(name);
      if (number == numbers.end())
        return func.emitError("no plan.kernel named '")
               << name.getValue() << "'";
      unsigned level = static_cast<unsigned>(config.getIsa());
      entries[number->second].scratchBytes[level] = bytes.getInt();
      configs[number->second][level] = func;
    }
    for (auto [entry, levels] : llvm::zip_equal(entries, configs))
      if (llvm::none_of(levels, [](LLVM::LLVMFuncOp func) { return func; }))
        return module.emitError("kernel '") << entry.name << "' has no code";
    return success();
  }

  LogicalResult compile(ModuleOp module) {
    // Translation sees the functions only.
    OwningOpRef<ModuleOp> inner = ModuleOp::create(module.getLoc());
    OpBuilder b(inner->getBodyRegion());
    for (LLVM::LLVMFuncOp func : functions)
      b.clone(*func);
    llvm::LLVMContext context;
    std::unique_ptr<llvm::Module> code =
        translateModuleToLLVMIR(*inner, context, "moe");
    if (!code)
      return module.emitError("kernels cannot be translated to LLVM IR");
    for (auto [entry, levels] : llvm::zip_equal(entries, configs))
      for (auto [level, func] : llvm::enumerate(levels))
        if (func)
          entry.code[level] = code->getFunction(func.getSymName());
    addKernelTable(*code, entries);
    return emitObject(*code, module.getLoc(), object);
  }

  /// The dictionary that `plan.binary` documents.
  DictionaryAttr describe(Builder &b) {
    SmallVector<NamedAttribute> kernels;
    for (auto [entry, levels] : llvm::zip_equal(entries, configs)) {
      SmallVector<int64_t> scratch(entry.scratchBytes.begin(),
                                   entry.scratchBytes.end());
      SmallVector<StringRef> classes;
      int64_t mask = 0;
      for (auto [level, func] : llvm::enumerate(levels)) {
        mask |= int64_t(bool(func)) << level;
        classes.push_back(func
                              ? func->getAttrOfType<CpuConfigAttr>("moe.config")
                                    .getAccumulation()
                              : StringRef());
      }
      NamedAttrList attrs;
      attrs.set("accumulation", b.getStrArrayAttr(classes));
      attrs.set("args", b.getI64IntegerAttr(entry.numArgs));
      attrs.set("levels", b.getI64IntegerAttr(mask));
      attrs.set("scratch", b.getI64ArrayAttr(scratch));
      if (emulated && levels[static_cast<unsigned>(Isa::AMX)])
        attrs.set("emulated", b.getUnitAttr());
      kernels.emplace_back(b.getStringAttr(entry.name),
                           attrs.getDictionary(b.getContext()));
    }
    return b.getDictionaryAttr(kernels);
  }

  bool emulated = false;
  std::vector<KernelEntry> entries;
  std::vector<std::array<LLVM::LLVMFuncOp, kNumLevels>> configs;
  SmallVector<LLVM::LLVMFuncOp> functions;
  SmallVector<char> object;
};
} // namespace
