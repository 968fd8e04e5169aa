//===- moe-interpret.cpp - Runs a function of a module, slowly ------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The command line of lib/Reference. Exit codes are those of ErrorCodes.def.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/Moe/IR/Moe.h"
#include "moe/Dialect/Plan/IR/Plan.h"
#include "moe/Reference/Compare.h"
#include "moe/Reference/ProcessGrid.h"
#include "moe/Reference/TensorFile.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/DLTI/DLTI.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Support/FileUtilities.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/SourceMgr.h"

#include <cmath>
#include <cstdio>
#include <mutex>

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::reference;
namespace cl = llvm::cl;
using moert::concat;
using moert::Status;
using moert::StatusOr;

static cl::OptionCategory category("moe-interpret options");
static cl::opt<std::string> moduleFile(cl::Positional, cl::Required,
                                       cl::desc("<module.mlir>"),
                                       cl::cat(category));
static cl::opt<std::string> functionName(
    "function", cl::cat(category),
    cl::desc("Function to run; may be omitted when there is one only"));
static cl::list<std::string>
    inputs("input", cl::cat(category),
           cl::desc("[NAME=]@FILE.npy or [NAME=]@FILE.safetensors[:TENSOR], in "
                    "order of arguments"));
static cl::list<std::string>
    outputs("output", cl::cat(category),
            cl::desc("[NAME=]@FILE.npy or [NAME=]@FILE.safetensors[:TENSOR] to "
                     "write, in order of results"));
static cl::list<std::string>
    expected("expected-output", cl::cat(category),
             cl::desc("[NAME=]@FILE to compare with, in order of results"));
static cl::opt<std::string>
    weightsPath("weights", cl::cat(category),
                cl::desc("Checkpoint: a folder, or a .safetensors file"));
static cl::opt<double> relFrobenius(
    "rel-frobenius", cl::cat(category), cl::init(NAN),
    cl::desc("Bound on |found - expected| / |expected| of an output"));
static cl::opt<double>
    relTolerance("rtol", cl::cat(category), cl::init(NAN),
                 cl::desc("Relative tolerance of an element, default 0"));
static cl::opt<double>
    absTolerance("atol", cl::cat(category), cl::init(NAN),
                 cl::desc("Absolute tolerance of an element, default 0"));
static cl::opt<bool> convertInputs(
    "convert-inputs", cl::cat(category),
    cl::desc("Round inputs of another float type to the function's"));
static cl::opt<bool> printValues("print", cl::cat(category),
                                 cl::desc("Print the results"));
static cl::opt<std::string> routingPath(
    "routing", cl::cat(category),
    cl::desc("@FILE.safetensors for the ids and weights of every routing "
             "decision: tensors 0.ids, 0.weights, 1.ids, ..."));
static cl::opt<int64_t>
    numRanks("ranks", cl::cat(category), cl::init(1),
             cl::desc("Run on this many ranks; {rank} in file names stands for "
                      "the number of the rank"));
static cl::opt<bool> timing("timing", cl::cat(category),
                            cl::desc("Print seconds per op to stderr"));

//===----------------------------------------------------------------------===//
// Errors
//===----------------------------------------------------------------------===//

static int report(const Status &status) {
  std::fputs(status.toString().c_str(), stderr);
  return status.exitCode();
}

namespace {

/// Prints diagnostics, numbered ones in the form of Status, and remembers the
/// exit code of the first error.
class DiagnosticPrinter {
public:
  DiagnosticPrinter(MLIRContext *context, llvm::SourceMgr &sources)
      : plain(sources, context, llvm::errs()),
        handler(context,
                [this](Diagnostic &diagnostic) { return print(diagnostic); }) {}

  int getExitCode() const { return exitCode ? exitCode : 1; }

private:
  static std::string describe(Location location) {
    if (auto place = location->findInstanceOf<FileLineColLoc>())
      return concat(place.getFilename().str(), ':', place.getLine(), ':',
                    place.getColumn());
    std::string text;
    llvm::raw_string_ostream(text) << location;
    return text;
  }

  LogicalResult print(Diagnostic &diagnostic) {
    std::lock_guard<std::mutex> lock(mutex);
    std::string text = diagnostic.str();
    int number = 0;
    bool isError = diagnostic.getSeverity() == DiagnosticSeverity::Error;
    if (!isError || std::sscanf(text.c_str(), "[MOE%d] ", &number) != 1) {
      exitCode = exitCode || !isError ? exitCode : 1;
      return failure();
    }
    Status status = Status::error(number, text.substr(text.find(' ') + 1))
                        .at(describe(diagnostic.getLocation()));
    std::fputs(status.toString().c_str(), stderr);
    if (!exitCode)
      exitCode = status.exitCode();
    return success();
  }

  std::mutex mutex;
  int exitCode = 0;
  SourceMgrDiagnosticHandler plain;
  ScopedDiagnosticHandler handler;
};

} // namespace

//===----------------------------------------------------------------------===//
// Options
//===----------------------------------------------------------------------===//

/// Assigns "[NAME=]@FILE" options to `names`: by name, else in order. Entries
/// without an option are empty.
static StatusOr<std::vector<std::string>>
assignFiles(StringRef option, ArrayRef<std::string> given,
            ArrayRef<std::string> names) {
  std::vector<std::string> files(names.size());
  size_t next = 0;
  for (StringRef text : given) {
    size_t index = next;
    size_t equal = text.find("=@");
    if (equal != StringRef::npos) {
      StringRef name = text.take_front(equal);
      index = llvm::find(names, name) - names.begin();
      if (index == names.size())
        return Status::error(2, concat("--", option.str(), " names '",
                                       name.str(), "', which does not exist"))
            .because("the function has: " + llvm::join(names, ", "));
      text = text.drop_front(equal + 1);
    }
    if (!text.consume_front("@"))
      return Status::error(1, concat("--", option.str(), "=", text.str(),
                                     " does not name a file"))
          .fix(concat("--", option.str(), "=@", text.str()));
    if (index >= names.size())
      return Status::error(2, concat("--", option.str(), " is given ",
                                     given.size(), " times for ", names.size(),
                                     " values"));
    if (!files[index].empty())
      return Status::error(
          2, concat("--", option.str(), " names '", names[index], "' twice"));
    files[index] = text.str();
    next = index + 1;
  }
  return files;
}

static std::string forRank(StringRef path, int64_t rank) {
  std::string text = path.str();
  size_t at = text.find("{rank}");
  if (at != std::string::npos)
    text.replace(at, 6, std::to_string(rank));
  return text;
}

/// Names of arguments or results: moe.name, else x, or x0, x1, ...
static std::vector<std::string>
namesOf(unsigned count, StringRef prefix,
        llvm::function_ref<StringAttr(unsigned)> get) {
  std::vector<std::string> names;
  for (unsigned i = 0; i < count; ++i) {
    StringAttr name = get(i);
    names.push_back(name         ? name.str()
                    : count == 1 ? prefix.str()
                                 : (prefix + Twine(i)).str());
  }
  return names;
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

static void printTensor(const Tensor &tensor, int64_t dim, int64_t &position) {
  if (dim == tensor.getRank()) {
    // A NaN has no sign that would mean anything.
    char text[32] = "nan";
    if (tensor.isFloat() && !std::isnan(tensor.getFloat(position)))
      std::snprintf(text, sizeof(text), "%.7g", tensor.getFloat(position));
    else if (!tensor.isFloat())
      std::snprintf(text, sizeof(text), "%lld",
                    static_cast<long long>(tensor.getInt(position)));
    llvm::outs() << text;
    ++position;
    return;
  }
  llvm::outs() << '[';
  for (int64_t i = 0; i < tensor.getDim(dim); ++i) {
    llvm::outs() << (i ? ", " : "");
    printTensor(tensor, dim + 1, position);
  }
  llvm::outs() << ']';
}

static Status compareOutput(const Tensor &found, StringRef name, StringRef file,
                            MLIRContext *context) {
  MOE_ASSIGN_OR_RETURN(Tensor reference,
                       readAnyTensor(TensorPath::parse(file), context));
  Tolerance tolerance;
  auto given = [](double value) {
    return std::isnan(value) ? std::nullopt : std::optional<double>(value);
  };
  tolerance.relFrobenius = given(relFrobenius);
  tolerance.rtol = given(relTolerance);
  tolerance.atol = given(absTolerance);
  Comparison comparison = compare(found, reference, tolerance);
  if (!comparison.equal)
    return Status::error(501, concat("output ", name.str(),
                                     " differs from the expected one"))
        .at(file.str())
        .because(comparison.text);
  llvm::outs() << name << ": matches, " << comparison.text << "\n";
  return {};
}

static Status writeRouting(const Interpreter &interpreter, StringRef file) {
  std::vector<std::pair<TensorPath, Tensor>> tensors;
  for (auto [n, record] : llvm::enumerate(interpreter.getRoutes())) {
    tensors.push_back({{file.str(), std::to_string(n) + ".ids"}, record.ids});
    tensors.push_back(
        {{file.str(), std::to_string(n) + ".weights"}, record.weights});
  }
  if (tensors.empty())
    return Status::error(2, "--routing: the function decides no routing");
  return writeTensors(tensors);
}

static void printTiming(const Interpreter &interpreter) {
  for (const auto &[name, time] : interpreter.getTimes())
    llvm::errs() << llvm::formatv("{0,8:f3} s  {1,6} x  {2}\n", time.seconds,
                                  time.count, name);
}

//===----------------------------------------------------------------------===//
// Main
//===----------------------------------------------------------------------===//

static func::FuncOp chooseFunction(ModuleOp module, Status &status) {
  std::vector<std::string> names;
  func::FuncOp chosen;
  for (auto function : module.getOps<func::FuncOp>()) {
    names.push_back(function.getName().str());
    if (functionName.empty() || functionName == function.getName())
      chosen = function;
  }
  if (chosen && (!functionName.empty() || names.size() == 1))
    return chosen;
  status = Status::error(2, functionName.empty()
                                ? "--function=NAME must say which to run"
                                : concat("no function @", functionName, " in ",
                                         moduleFile))
               .because("the module has: " + llvm::join(names, ", "));
  return {};
}

/// Everything that one function does with its files.
static Status runFunction(func::FuncOp function, ProcessGrid &grid,
                          bool &failedInside) {
  MLIRContext *context = function.getContext();
  std::vector<std::string> inputNames =
      namesOf(function.getNumArguments(), "x", [&](unsigned i) {
        return function.getArgAttrOfType<StringAttr>(i, "moe.name");
      });
  std::vector<std::string> outputNames =
      namesOf(function.getNumResults(), "y", [&](unsigned i) {
        return function.getResultAttrOfType<StringAttr>(i, "moe.name");
      });
  MOE_ASSIGN_OR_RETURN(std::vector<std::string> inputFiles,
                       assignFiles("input", inputs, inputNames));
  MOE_ASSIGN_OR_RETURN(std::vector<std::string> outputFiles,
                       assignFiles("output", outputs, outputNames));
  MOE_ASSIGN_OR_RETURN(std::vector<std::string> expectedFiles,
                       assignFiles("expected-output", expected, outputNames));

  std::vector<std::vector<Tensor>> arguments(grid.getNumRanks());
  for (auto [i, file] : llvm::enumerate(inputFiles)) {
    if (file.empty())
      return Status::error(2, concat("no --input for '", inputNames[i], "'"))
          .because("@" + function.getName().str() +
                   " takes: " + llvm::join(inputNames, ", "));
    Type type = getElementTypeOrSelf(function.getArgumentTypes()[i]);
    for (int64_t rank = 0; rank < grid.getNumRanks(); ++rank) {
      MOE_ASSIGN_OR_RETURN(Tensor tensor,
                           readTensor(TensorPath::parse(forRank(file, rank)),
                                      type, convertInputs));
      arguments[rank].push_back(std::move(tensor));
    }
  }

  auto results = grid.call(function.getName(), arguments);
  if (failed(results)) {
    failedInside = true;
    return {};
  }
  std::vector<std::pair<TensorPath, Tensor>> written;
  Status comparison;
  for (auto [rank, values] : llvm::enumerate(*results)) {
    for (auto [i, value] : llvm::enumerate(values)) {
      Type type = getElementTypeOrSelf(function.getResultTypes()[i]);
      std::string name = outputNames[i];
      if (grid.getNumRanks() > 1)
        name += concat(" of rank ", rank);
      if (std::holds_alternative<Routing>(value))
        return Status::error(2, concat("result ", name, " is a routing"))
            .fix("return what is made of it, or use --routing");
      Tensor tensor = std::holds_alternative<Scalar>(value)
                          ? Tensor::ofScalars(type, {}, std::get<Scalar>(value))
                          : std::get<Tensor>(value);
      if (printValues) {
        int64_t position = 0;
        llvm::outs() << name << ": " << tensor.getTypeString() << " = ";
        printTensor(tensor, 0, position);
        llvm::outs() << "\n";
      }
      if (!outputFiles[i].empty()) {
        TensorPath path = TensorPath::parse(forRank(outputFiles[i], rank));
        if (path.tensor.empty())
          path.tensor = outputNames[i];
        written.push_back({path, tensor});
      }
      if (!expectedFiles[i].empty()) {
        Status status = compareOutput(tensor, name,
                                      forRank(expectedFiles[i], rank), context);
        if (comparison.ok())
          comparison = status;
      }
    }
    StringRef routing = routingPath;
    routing.consume_front("@");
    if (!routing.empty())
      MOE_RETURN_IF_ERROR(
          writeRouting(grid.getRank(rank), forRank(routing, rank)));
    if (timing)
      printTiming(grid.getRank(rank));
  }
  // Outputs are kept when they differ: they show where.
  MOE_RETURN_IF_ERROR(writeTensors(written));
  return comparison;
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  cl::HideUnrelatedOptions(category);
  if (!cl::ParseCommandLineOptions(argc, argv,
                                   "Interpreter of MoE modules: the reference "
                                   "for everything else\n",
                                   &llvm::errs()))
    return 2;
  if (numRanks < 1)
    return report(Status::error(1, concat("--ranks=", numRanks.getValue(),
                                          " is not a positive number")));

  DialectRegistry registry;
  registry
      .insert<MoeDialect, plan::PlanDialect, arith::ArithDialect, DLTIDialect,
              func::FuncDialect, linalg::LinalgDialect, math::MathDialect,
              memref::MemRefDialect, scf::SCFDialect, tensor::TensorDialect>();
  MLIRContext context(registry);
  std::string message;
  std::unique_ptr<llvm::MemoryBuffer> buffer =
      openInputFile(moduleFile, &message);
  if (!buffer)
    return report(Status::error(10, message));
  llvm::SourceMgr sources;
  sources.AddNewSourceBuffer(std::move(buffer), SMLoc());
  DiagnosticPrinter diagnostics(&context, sources);
  OwningOpRef<ModuleOp> module = parseSourceFile<ModuleOp>(sources, &context);
  if (!module)
    return diagnostics.getExitCode();

  Status status;
  func::FuncOp function = chooseFunction(*module, status);
  if (!function)
    return report(status);
  std::unique_ptr<WeightProvider> weights = std::make_unique<NoWeights>();
  if (!weightsPath.empty()) {
    auto checkpoint = moert::Checkpoint::open(weightsPath);
    if (!checkpoint.ok())
      return report(checkpoint.status());
    weights = std::make_unique<CheckpointWeights>(*checkpoint);
  }
  ProcessGrid grid(*module, *weights, numRanks);
  bool failedInside = false;
  status = runFunction(function, grid, failedInside);
  if (failedInside)
    return diagnostics.getExitCode();
  return status.ok() ? 0 : report(status);
}
