//===- EmitObject.cpp - LLVM IR to object code ----------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LLVMCPU.h"

#include "mlir/IR/Diagnostics.h"
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
      triple, "x86-64", /*Features=*/"", options, llvm::Reloc::PIC_,
      /*CM=*/std::nullopt, llvm::CodeGenOptLevel::Default));
}

/// What the loop nests need: they come with their loops, vectors and
/// accumulators in place, so neither inlining nor vectorisation has work.
static void optimize(llvm::Module &module, llvm::TargetMachine &machine) {
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager cgscc;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder(&machine);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(cgscc);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, cgscc, modules);
  llvm::ModulePassManager passes;
  llvm::cantFail(builder.parsePassPipeline(
      passes, "function(sroa,early-cse<memssa>,"
              "instcombine<no-verify-fixpoint>,simplifycfg,"
              "loop-mssa(licm),gvn,loop-simplify,lcssa,"
              "loop(indvars,loop-deletion),"
              "instcombine<no-verify-fixpoint>,dse,simplifycfg)"));
  passes.run(module, modules);
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
    if (!(*flags & llvm::object::BasicSymbolRef::SF_Undefined) ||
        name->empty() || *name == "memcpy" || *name == "memset" ||
        *name == "memmove")
      continue;
    return emitError(loc) << "kernel code would call '" << *name
                          << "'; only memcpy, memset and memmove can be there "
                             "when it runs";
  }
  return success();
}

LogicalResult llvmcpu::emitObject(llvm::Module &module, Location loc,
                                  llvm::SmallVectorImpl<char> &object) {
  std::unique_ptr<llvm::TargetMachine> machine = createTargetMachine(loc);
  if (!machine)
    return failure();
  module.setTargetTriple(machine->getTargetTriple());
  module.setDataLayout(machine->createDataLayout());
  module.setPICLevel(llvm::PICLevel::BigPIC);
  std::string message;
  llvm::raw_string_ostream os(message);
  if (llvm::verifyModule(module, &os))
    return emitError(loc) << "kernel code is not valid LLVM IR: " << message;

  std::pair<Location, bool> context(loc, false);
  module.getContext().setDiagnosticHandlerCallBack(reportDiagnostic, &context);
  optimize(module, *machine);
  llvm::legacy::PassManager codegen;
  llvm::raw_svector_ostream stream(object);
  if (machine->addPassesToEmitFile(codegen, stream, /*DwoOut=*/nullptr,
                                   llvm::CodeGenFileType::ObjectFile))
    return emitError(loc) << "LLVM cannot write objects for this target";
  codegen.run(module);
  if (context.second)
    return failure();
  return checkSymbols(loc, object);
}
