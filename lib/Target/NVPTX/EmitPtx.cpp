//===- EmitPtx.cpp - A cut module to PTX ----------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "NVPTX.h"

#include "moe/Target/NVPTX/Passes.h"

#include "mlir/Conversion/NVVMToLLVM/NVVMToLLVM.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Transforms/DialectConversion.h"
#include "llvm/IR/DiagnosticInfo.h"
#include "llvm/IR/DiagnosticPrinter.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/Verifier.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"

using namespace mlir;
using namespace mlir::moe;

void moe::registerNVPTXTranslations(DialectRegistry &registry) {
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
  registerNVVMDialectTranslation(registry);
}

static std::unique_ptr<llvm::TargetMachine>
createTargetMachine(Location loc, const moe::gpu::ArchInfo &arch) {
  LLVMInitializeNVPTXTargetInfo();
  LLVMInitializeNVPTXTarget();
  LLVMInitializeNVPTXTargetMC();
  LLVMInitializeNVPTXAsmPrinter();
  llvm::Triple triple("nvptx64-nvidia-cuda");
  std::string message;
  const llvm::Target *target =
      llvm::TargetRegistry::lookupTarget(triple, message);
  if (!target) {
    emitError(loc) << "LLVM has no NVPTX target: " << message;
    return nullptr;
  }
  llvm::TargetOptions options;
  // The IR says where products and sums are fused.
  options.AllowFPOpFusion = llvm::FPOpFusion::Strict;
  return std::unique_ptr<llvm::TargetMachine>(target->createTargetMachine(
      triple, arch.name, "+ptx" + std::to_string(arch.ptxVersion), options,
      llvm::Reloc::PIC_, /*CM=*/std::nullopt,
      llvm::CodeGenOptLevel::Aggressive));
}

/// Ops that exist as PTX text only become inline assembly of LLVM.
static LogicalResult lowerPtxOps(ModuleOp module) {
  MLIRContext *context = module.getContext();
  RewritePatternSet patterns(context);
  populateNVVMToLLVMConversionPatterns(patterns);
  ConversionTarget target(*context);
  target.addLegalDialect<LLVM::LLVMDialect>();
  return applyPartialConversion(module, target, std::move(patterns));
}

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

/// PTX must load where no CUDA toolkit ever was: no other library may be
/// needed.
static LogicalResult checkSymbols(Location loc, StringRef arch, StringRef ptx) {
  auto [before, rest] = ptx.split(".extern .func");
  if (rest.empty())
    return success();
  StringRef declaration = rest.take_until([](char c) { return c == ';'; });
  // An optional result "(.param ...)" precedes the name.
  StringRef name = declaration.ltrim();
  if (name.starts_with("("))
    name = name.split(')').second.ltrim();
  name = name.take_until([](char c) { return c == '(' || isspace(c); });
  return emitError(loc) << "code for " << arch << " would call '" << name
                        << "', which no driver has";
}

LogicalResult nvptx::emitPtx(mlir::gpu::GPUModuleOp cut,
                             const moe::gpu::ArchInfo &arch,
                             const llvm::StringMap<int64_t> &blocks,
                             std::string &ptx) {
  Location loc = cut.getLoc();
  std::unique_ptr<llvm::TargetMachine> machine = createTargetMachine(loc, arch);
  if (!machine)
    return failure();
  OwningOpRef<ModuleOp> inner = ModuleOp::create(loc);
  OpBuilder b(inner->getBodyRegion());
  for (Operation &op : *cut.getBody()) {
    Operation *copy = b.clone(op);
    // Otherwise ptxas makes its own guess, and may spill for blocks that are
    // not meant to share a multiprocessor.
    if (auto func = dyn_cast<LLVM::LLVMFuncOp>(copy))
      if (auto found = blocks.find(func.getSymName()); found != blocks.end())
        func->setAttr("nvvm.minctasm", b.getI32IntegerAttr(found->second));
  }
  if (failed(lowerPtxOps(*inner)))
    return cut.emitError("ops cannot be lowered to LLVM");

  llvm::LLVMContext context;
  // Names of values would not reach the text, but cost time.
  context.setDiscardValueNames(true);
  std::unique_ptr<llvm::Module> code =
      translateModuleToLLVMIR(*inner, context, cut.getName());
  if (!code)
    return cut.emitError("kernels cannot be translated to LLVM IR");
  code->setTargetTriple(machine->getTargetTriple());
  code->setDataLayout(machine->createDataLayout());
  std::string message;
  llvm::raw_string_ostream os(message);
  if (llvm::verifyModule(*code, &os))
    return emitError(loc) << "kernel code is not valid LLVM IR: " << message;

  std::pair<Location, bool> state(loc, false);
  context.setDiagnosticHandlerCallBack(reportDiagnostic, &state);
  optimize(*code, *machine);
  SmallVector<char, 0> text;
  llvm::raw_svector_ostream stream(text);
  llvm::legacy::PassManager codegen;
  if (machine->addPassesToEmitFile(codegen, stream, /*DwoOut=*/nullptr,
                                   llvm::CodeGenFileType::AssemblyFile))
    return emitError(loc) << "LLVM cannot write PTX";
  codegen.run(*code);
  if (state.second)
    return failure();
  ptx.assign(text.begin(), text.end());
  return checkSymbols(loc, arch.name, ptx);
}
