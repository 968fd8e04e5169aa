//===- CompileInProcess.cpp - The compilation itself ----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CompileArgs.h"

#include "moe/Dialect/Plan/IR/Plan.h"
#include "moe/InitAll.h"
#include "moe/Model/Import.h"

#include "moert/Format/File.h"

#include "mlir/Bytecode/BytecodeWriter.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/ToolOutputFile.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace mlir::moe;
using moert::Status;
namespace path = llvm::sys::path;

namespace {

/// Reports remarks through the diagnostic engine, as clang's -Rpass does.
struct ImmediateRemarks : remark::detail::RemarkEmittingPolicyBase {
  void reportRemark(const remark::detail::Remark &remark) override {
    reportImpl(remark);
  }
  void finalize() override {}
};

class Compilation {
public:
  explicit Compilation(const CompileArgs &args)
      : args(args), context(MLIRContext::Threading::DISABLED) {}
  int run();

private:
  int report(const Status &status) {
    llvm::errs() << status.toString();
    return status.exitCode();
  }
  void printDiagnostic(Diagnostic &diagnostic);
  LogicalResult enableRemarks();
  int load();
  LogicalResult setOptions();
  LogicalResult runPhase(Phase phase);
  int writeIR(Phase phase, StringRef file);
  void describe();

  /// Path of the checkpoint: given, or the model directory itself.
  std::string checkpointPath() const {
    if (!args.checkpoint.empty())
      return args.checkpoint;
    return args.isInputIR() ? "" : args.input;
  }

  const CompileArgs &args;
  DialectRegistry registry;
  MLIRContext context;
  llvm::SourceMgr sources;
  OwningOpRef<ModuleOp> module;
  int exitCode = 1;
};

/// Our own messages carry everything themselves; those of MLIR get a location
/// and, for text input, the line with a caret.
void Compilation::printDiagnostic(Diagnostic &diagnostic) {
  std::string text = diagnostic.str();
  StringRef rest = text;
  if (rest.consume_front("error[MOE")) {
    int number = 0;
    rest.consumeInteger(10, number);
    exitCode = moert::errorInfo(number).exitCode;
    llvm::errs() << text << (StringRef(text).ends_with("\n") ? "" : "\n");
    return;
  }
  if (rest.starts_with("warning[MOE")) {
    if (!args.quiet)
      llvm::errs() << text << (rest.ends_with("\n") ? "" : "\n");
    return;
  }
  auto kind = llvm::SourceMgr::DK_Error;
  switch (diagnostic.getSeverity()) {
  case DiagnosticSeverity::Error:
    break;
  case DiagnosticSeverity::Warning:
    kind = llvm::SourceMgr::DK_Warning;
    break;
  case DiagnosticSeverity::Remark:
    kind = llvm::SourceMgr::DK_Remark;
    break;
  case DiagnosticSeverity::Note:
    kind = llvm::SourceMgr::DK_Note;
    break;
  }
  llvm::SMLoc where;
  if (auto loc = diagnostic.getLocation()->findInstanceOf<FileLineColLoc>()) {
    if (sources.getNumBuffers() &&
        loc.getFilename() == sources.getMemoryBuffer(1)->getBufferIdentifier())
      where =
          sources.FindLocForLineAndColumn(1, loc.getLine(), loc.getColumn());
    if (!where.isValid())
      llvm::errs() << loc.getFilename().getValue() << ":" << loc.getLine()
                   << ":" << loc.getColumn() << ": ";
  }
  sources.PrintMessage(llvm::errs(), where, kind, text);
  for (Diagnostic &note : diagnostic.getNotes())
    printDiagnostic(note);
}

LogicalResult Compilation::enableRemarks() {
  remark::RemarkCategories categories;
  auto set = [](const std::string &regex, std::optional<std::string> &slot) {
    if (!regex.empty())
      slot = regex;
  };
  set(args.remarksPassed, categories.passed);
  set(args.remarksMissed, categories.missed);
  set(args.remarksAnalysis, categories.analysis);
  if (!categories.passed && !categories.missed && !categories.analysis)
    return success();
  return remark::enableOptimizationRemarks(
      context, nullptr, std::make_unique<ImmediateRemarks>(), categories,
      /*printAsEmitRemarks=*/true);
}

int Compilation::load() {
  if (!args.isInputIR()) {
    ImportOptions options;
    options.routerF32 = args.routerF32;
    if (args.layers)
      options.layers.emplace(args.layers->begin(), args.layers->end());
    options.maxTokens = args.maxTokens;
    FailureOr<OwningOpRef<ModuleOp>> imported =
        importModel(&context, args.input, options);
    if (failed(imported))
      return exitCode;
    module = std::move(*imported);
    return 0;
  }
  auto buffer = llvm::MemoryBuffer::getFileOrSTDIN(args.input);
  if (!buffer)
    return report(Status::error(10, "cannot read '" + args.input +
                                        "': " + buffer.getError().message())
                      .fix("check the path of the model"));
  sources.AddNewSourceBuffer(std::move(*buffer), llvm::SMLoc());
  module = parseSourceFile<ModuleOp>(sources, &context);
  return module ? 0 : exitCode;
}

/// Records the options as attributes of the module, where the passes find
/// them. A dump has them already; contradicting it is an error.
LogicalResult Compilation::setOptions() {
  Builder b(&context);
  auto set = [&](StringRef name, Attribute value, bool isDefault,
                 StringRef flag) -> LogicalResult {
    Attribute old = (*module)->getAttr(name);
    if (old && isDefault)
      return success();
    if (old && args.from && old != value) {
      exitCode = report(
          Status::error(1, flag.str() + " contradicts what the input was "
                                        "compiled with so far")
              .because("its module attribute " + name.str() + " differs")
              .fix("leave " + flag.str() +
                   " out, or start again from the model"));
      return failure();
    }
    (*module)->setAttr(name, value);
    return success();
  };
  std::vector<std::string> targets =
      args.targets.empty() ? std::vector<std::string>{"x86-64"} : args.targets;
  SmallVector<StringRef> targetRefs(targets.begin(), targets.end());
  if (failed(set("moe.targets", b.getStrArrayAttr(targetRefs),
                 args.targets.empty(), "--target")) ||
      failed(set("moe.numerics",
                 b.getStringAttr(args.numerics.value_or("default")),
                 !args.numerics, "--numerics")) ||
      failed(set("moe.weights",
                 b.getStringAttr(args.weights.value_or("external")),
                 !args.weights, "--weights")))
    return failure();
  if (args.maxTokens &&
      failed(set("moe.max_tokens", b.getI64IntegerAttr(*args.maxTokens), false,
                 "--max-num-tokens")))
    return failure();
  if (args.hashWeights)
    (*module)->setAttr("moe.hash_weights", b.getUnitAttr());
  if (args.emulateAmx)
    (*module)->setAttr("moe.emulate_amx", b.getUnitAttr());

  // Where moe-run will find the checkpoint without being told; relative, since
  // no absolute path may enter an artifact.
  std::string checkpoint = checkpointPath();
  if (!checkpoint.empty() && args.output != "-" &&
      !(*module)->hasAttr("moe.checkpoint")) {
    SmallString<128> from(path::parent_path(args.output)), to(checkpoint);
    llvm::sys::fs::make_absolute(from);
    llvm::sys::fs::make_absolute(to);
    path::remove_dots(from, /*remove_dot_dot=*/true);
    path::remove_dots(to, /*remove_dot_dot=*/true);
    auto f = path::begin(from), fe = path::end(from);
    auto t = path::begin(to), te = path::end(to);
    while (f != fe && t != te && *f == *t)
      ++f, ++t;
    SmallString<128> relative;
    for (; f != fe; ++f)
      path::append(relative, "..");
    for (; t != te; ++t)
      path::append(relative, *t);
    (*module)->setAttr("moe.checkpoint", b.getStringAttr(relative));
  }
  return success();
}

LogicalResult Compilation::runPhase(Phase phase) {
  PassManager pm(&context);
  switch (phase) {
  case Phase::Import:
    buildImportPipeline(pm, {});
    break;
  case Phase::Graph:
    buildGraphPipeline(pm, {});
    break;
  case Phase::Routed:
    buildRoutedPipeline(pm, {});
    break;
  case Phase::Tiled:
    buildTiledPipeline(pm, {});
    break;
  case Phase::Target: {
    TargetPipelineOptions options;
    options.ptxas = args.ptxas;
    options.saveTemps = args.saveTemps;
    buildTargetPipeline(pm, options);
    break;
  }
  case Phase::Module: {
    ModulePipelineOptions options;
    SmallString<128> file(args.inProcess);
    path::append(file, path::filename(args.output));
    options.output = std::string(file);
    options.checkpoint = checkpointPath();
    buildModulePipeline(pm, options);
    break;
  }
  }
  return pm.run(*module);
}

int Compilation::writeIR(Phase phase, StringRef file) {
  std::string bytes;
  llvm::raw_string_ostream os(bytes);
  // Object code is bulky as text.
  if (phase >= Phase::Target) {
    if (failed(writeBytecodeToFile(*module, os)))
      return 1;
  } else {
    OpPrintingFlags flags;
    flags.enableDebugInfo(/*enable=*/true, /*prettyForm=*/false);
    module->print(os, flags);
    os << "\n";
  }
  if (file == "-") {
    llvm::outs() << bytes;
    llvm::outs().flush();
    return 0;
  }
  Status status = moert::writeFile(file.str(), bytes.data(), bytes.size());
  return status.ok() ? 0 : report(status);
}

static std::string formatBytes(uint64_t bytes) {
  if (bytes >= uint64_t(1) << 30)
    return llvm::formatv("{0:f2} GiB", bytes / double(1 << 30));
  if (bytes >= 1 << 20)
    return llvm::formatv("{0:f1} MiB", bytes / double(1 << 20));
  return llvm::formatv("{0:f1} KiB", bytes / 1024.0);
}

/// The first lines of every compilation: what will be compiled, for what.
void Compilation::describe() {
  if (args.quiet)
    return;
  auto text = [&](Attribute attr) -> std::string {
    if (auto string = dyn_cast_or_null<StringAttr>(attr))
      return string.str();
    if (auto integer = dyn_cast_or_null<IntegerAttr>(attr))
      return std::to_string(integer.getInt());
    return "?";
  };
  llvm::raw_ostream &os = llvm::errs();
  os << "model    ";
  if (auto model = (*module)->getAttrOfType<DictionaryAttr>("moe.model"))
    os << text(model.get("name")) << " (" << text(model.get("arch")) << "), "
       << text(model.get("layers")) << " layers, " << text(model.get("experts"))
       << " experts, top-" << text(model.get("top_k")) << "\n";
  else
    os << path::filename(args.input) << "\n";
  os << "target   ";
  llvm::interleaveComma((*module)
                            ->getAttrOfType<ArrayAttr>("moe.targets")
                            .getAsRange<StringAttr>(),
                        os, [&](StringAttr name) { os << name.getValue(); });
  uint64_t bytes = 0;
  for (auto weight : module->getOps<WeightOp>()) {
    auto type = cast<ShapedType>(weight.getType());
    bytes += type.getNumElements() * type.getElementTypeBitWidth() / 8;
  }
  os << ", numerics " << text((*module)->getAttr("moe.numerics"))
     << "\nplan     " << formatBytes(bytes) << " of "
     << text((*module)->getAttr("moe.weights")) << " weights\n";
}

int Compilation::run() {
  registerAllDialects(registry);
  context.appendDialectRegistry(registry);
  context.loadAllAvailableDialects();
  context.getDiagEngine().registerHandler([&](Diagnostic &diagnostic) {
    printDiagnostic(diagnostic);
    return success();
  });
  if (failed(enableRemarks()))
    return report(Status::error(1, "a -Rpass option is no regular expression"));
  if (int code = load())
    return code;
  if (failed(setOptions()))
    return exitCode;
  if (!args.from)
    describe();
  if (!args.dumpDirectory.empty())
    if (std::error_code error =
            llvm::sys::fs::create_directories(args.dumpDirectory))
      return report(Status::error(11, "cannot create '" + args.dumpDirectory +
                                          "': " + error.message()));

  unsigned first = args.from ? static_cast<unsigned>(*args.from) + 1 : 0;
  for (unsigned i = first; i <= static_cast<unsigned>(args.to); ++i) {
    auto phase = static_cast<Phase>(i);
    if (failed(runPhase(phase)))
      return exitCode;
    if (!args.dumpDirectory.empty() && phase != Phase::Module) {
      SmallString<128> file(args.dumpDirectory);
      path::append(file, Twine(i + 1) + "." + stringifyPhase(phase) +
                             (phase >= Phase::Target ? ".mlirbc" : ".mlir"));
      if (int code = writeIR(phase, file))
        return code;
    }
  }
  if (args.to == Phase::Module)
    return 0;
  if (args.output == "-")
    return writeIR(args.to, "-");
  SmallString<128> file(args.inProcess);
  path::append(file, path::filename(args.output));
  return writeIR(args.to, file);
}

} // namespace

int moe::compileInProcess(const CompileArgs &args) {
  return Compilation(args).run();
}
