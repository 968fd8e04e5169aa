//===- EmitObject.cpp - Host code of a cut module as an object file -------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Codegen/GPU/Emulation/RetargetToHost.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/IR/DiagnosticInfo.h"
#include "llvm/IR/DiagnosticPrinter.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/Verifier.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"

using namespace mlir;
using namespace mlir::moe;

/// One CPU for all machines: results must not depend on where a test runs.
static std::unique_ptr<llvm::TargetMachine> createTargetMachine(Location loc) {
  LLVMInitializeX86TargetInfo();
  LLVMInitializeX86Target();
  LLVMInitializeX86TargetMC();
  LLVMInitializeX86AsmPrinter();
  llvm::Triple triple("x86_64-unknown-linux-gnu");
  std::string message;
  const llvm::Target *target =
      llvm::TargetRegistry::lookupTarget(triple, message);
  if (!target) {
    emitError(loc) << "LLVM has no x86-64 target: " << message;
    return nullptr;
  }
  llvm::TargetOptions options;
  // The IR says where products and sums are fused.
  options.AllowFPOpFusion = llvm::FPOpFusion::Strict;
  return std::unique_ptr<llvm::TargetMachine>(target->createTargetMachine(
      triple, "x86-64-v3", /*Features=*/"", options, llvm::Reloc::PIC_,
      /*CM=*/std::nullopt, llvm::CodeGenOptLevel::Default));
}

static void optimize(llvm::Module &module, llvm::TargetMachine &machine) {
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager cgscc;
  llvm::ModuleAnalysisManager modules;
  llvm::PipelineTuningOptions tuning;
  // Calls of the emulator stand between the accesses: nothing to vectorise.
  tuning.LoopVectorization = false;
  tuning.SLPVectorization = false;
  tuning.LoopUnrolling = false;
  llvm::PassBuilder builder(&machine, tuning);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(cgscc);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, cgscc, modules);
  builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O2)
      .run(module, modules);
}

/// Diagnostics of LLVM's code generator become ours.
static void reportDiagnostic(const llvm::DiagnosticInfo *info, void *context) {
  if (info->getSeverity() != llvm::DS_Error)
    return;
  std::string message;
  llvm::raw_string_ostream os(message);
  llvm::DiagnosticPrinterRawOStream printer(os);
  info->print(printer);
  auto &[loc, failed] = *static_cast<std::pair<Location, bool> *>(context);
  emitError(loc) << "LLVM: " << message;
  failed = true;
}

static bool isKnownToRuntime(StringRef name) {
  return name.starts_with("moe_emu_") ||
         llvm::StringSwitch<bool>(name)
             .Cases({"memcpy", "memset", "memmove"}, true)
             .Cases({"__truncsfbf2", "__truncdfbf2", "__truncsfhf2",
                     "__truncdfhf2", "__extendhfsf2"},
                    true)
             .Default(false);
}

static LogicalResult checkSymbols(Location loc, ArrayRef<char> object) {
  llvm::MemoryBufferRef buffer(StringRef(object.data(), object.size()), "moe");
  auto file = llvm::object::ObjectFile::createELFObjectFile(buffer);
  if (!file)
    return emitError(loc) << "LLVM wrote an object that is not ELF: "
                          << llvm::toString(file.takeError());
  for (llvm::object::ELFSymbolRef symbol : (*file)->symbols()) {
    llvm::Expected<uint32_t> flags = symbol.getFlags();
    llvm::Expected<StringRef> name = symbol.getName();
    if (!flags || !name) {
      llvm::consumeError(flags.takeError());
      llvm::consumeError(name.takeError());
      return emitError(loc) << "LLVM wrote an object with a broken symbol";
    }
    if ((*flags & llvm::object::BasicSymbolRef::SF_Undefined) &&
        !name->empty() && !isKnownToRuntime(*name))
      return emitError(loc) << "emulated code would call '" << *name
                            << "', which the emulator does not have";
  }
  return success();
}

void moe::registerEmulationTranslations(DialectRegistry &registry) {
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
}

LogicalResult moe::emitEmulatedObject(gpu::GPUModuleOp cut,
                                      SmallVectorImpl<char> &object) {
  Location loc = cut.getLoc();
  FailureOr<OwningOpRef<ModuleOp>> host = retargetToHost(cut);
  if (failed(host))
    return failure();
  llvm::LLVMContext llvmContext;
  std::unique_ptr<llvm::Module> module =
      translateModuleToLLVMIR(**host, llvmContext, "moe-emulated");
  if (!module)
    return emitError(loc) << "emulated code cannot become LLVM IR";
  std::unique_ptr<llvm::TargetMachine> machine = createTargetMachine(loc);
  if (!machine)
    return failure();
  module->setTargetTriple(machine->getTargetTriple());
  module->setDataLayout(machine->createDataLayout());
  module->setPICLevel(llvm::PICLevel::BigPIC);
  std::string message;
  llvm::raw_string_ostream os(message);
  if (llvm::verifyModule(*module, &os))
    return emitError(loc) << "emulated code is not valid LLVM IR: " << message;

  std::pair<Location, bool> context(loc, false);
  llvmContext.setDiagnosticHandlerCallBack(reportDiagnostic, &context);
  optimize(*module, *machine);
  llvm::legacy::PassManager codegen;
  size_t before = object.size();
  {
    llvm::raw_svector_ostream stream(object);
    if (machine->addPassesToEmitFile(codegen, stream, /*DwoOut=*/nullptr,
                                     llvm::CodeGenFileType::ObjectFile))
      return emitError(loc) << "LLVM cannot write objects for this target";
    codegen.run(*module);
  }
  if (context.second)
    return failure();
  return checkSymbols(loc, ArrayRef<char>(object).drop_front(before));
}
