//===- CompileArgs.cpp - Arguments of moe-compile -------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CompileArgs.h"

#include "moe/Codegen/GPU/KernelExpansion.h"
#include "moe/Support/Version.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Option/ArgList.h"
#include "llvm/Option/OptTable.h"
#include "llvm/Option/Option.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/StringSaver.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace mlir::moe;
using moert::Status;
namespace opt = llvm::opt;
using namespace llvm::opt; // The generated tables name flags unqualified.

namespace {

enum OptionId {
  OPT_INVALID = 0,
#define OPTION(...) LLVM_MAKE_OPT_ID(__VA_ARGS__),
#include "CompileOptions.inc"
#undef OPTION
};

#define OPTTABLE_STR_TABLE_CODE
#include "CompileOptions.inc"
#undef OPTTABLE_STR_TABLE_CODE

#define OPTTABLE_PREFIXES_TABLE_CODE
#include "CompileOptions.inc"
#undef OPTTABLE_PREFIXES_TABLE_CODE

constexpr opt::OptTable::Info kInfos[] = {
#define OPTION(...) LLVM_CONSTRUCT_OPT_INFO(__VA_ARGS__),
#include "CompileOptions.inc"
#undef OPTION
};

class CompileOptTable : public opt::GenericOptTable {
public:
  CompileOptTable()
      : GenericOptTable(OptionStrTable, OptionPrefixesTable, kInfos) {}
};

} // namespace

bool CompileArgs::isInputIR() const {
  StringRef extension = llvm::sys::path::extension(input);
  return from || input == "-" || extension == ".mlir" || extension == ".mlirbc";
}

static std::string helpText(const opt::OptTable &table) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << "OVERVIEW: ahead-of-time compiler for Mixture-of-Experts models\n"
        "USAGE: moe-compile [options] <model>\n"
        "  <model> is a Hugging Face directory, or an .mlir or .mlirbc file in "
        "the moe\n  dialect.\n\n"
        "EXAMPLES\n"
        "  moe-compile ./OLMoE-1B-7B -o olmoe.moe\n"
        "  moe-compile ./OLMoE-1B-7B --weights=packed -o olmoe.moe\n"
        "  moe-compile ./OLMoE-1B-7B --target=x86-64,sm_80,sm_90a -o "
        "olmoe.moe\n"
        "  moe-compile layer.mlir --compile-to=routed -o -\n\n";
  std::string options;
  llvm::raw_string_ostream optionStream(options);
  table.printHelp(optionStream, "", "");
  // The overview and usage lines of the table repeat ours.
  StringRef body = options;
  size_t start = body.find("DIAGNOSTICS");
  for (StringRef heading : {"INPUT", "TARGET", "OUTPUT"})
    start = std::min(start, body.find(heading));
  os << body.drop_front(std::min(start, body.size()));
  return text;
}

static Status usage(std::string what, std::string fix) {
  return Status::error(1, std::move(what)).fix(std::move(fix));
}

static std::string listPhases() {
  std::string text;
  for (unsigned i = 0; i < kNumPhases; ++i)
    text += (i ? ", " : "") + stringifyPhase(static_cast<Phase>(i)).str();
  return text;
}

static SmallVector<StringRef> knownTargets() {
  SmallVector<StringRef> names = {"x86-64", "x86-64-v3", "x86-64-v4",
                                  "x86-64-amx"};
  for (const moe::gpu::ArchInfo &arch : moe::gpu::allArchs())
    names.push_back(arch.name);
  return names;
}

moert::StatusOr<CompileArgs> moe::parseCompileArgs(int argc, char **argv) {
  CompileOptTable table;
  llvm::BumpPtrAllocator allocator;
  llvm::StringSaver saver(allocator);
  unsigned missingIndex = 0, missingCount = 0;
  opt::InputArgList parsed = table.ParseArgs(
      ArrayRef<const char *>(argv + 1, argc - 1), missingIndex, missingCount);
  if (missingCount)
    return usage("option '" + std::string(parsed.getArgString(missingIndex)) +
                     "' needs a value",
                 "run 'moe-compile --help' for the values");
  if (opt::Arg *unknown = parsed.getLastArg(OPT_UNKNOWN)) {
    std::string text = unknown->getAsString(parsed), nearest;
    unsigned distance = table.findNearest(text, nearest);
    return usage("unknown option '" + text + "'",
                 distance <= 3 ? "did you mean '" + nearest + "'?"
                               : "run 'moe-compile --help' for the list");
  }

  CompileArgs args;
  if (parsed.hasArg(OPT_help)) {
    args.printAndStop = helpText(table);
    return args;
  }
  if (parsed.hasArg(OPT_version)) {
    args.printAndStop = "moe-compile " MOE_VERSION_STRING
                        " (LLVM " LLVM_VERSION_STRING ", targets x86-64";
    for (const moe::gpu::ArchInfo &arch : moe::gpu::allArchs())
      *args.printAndStop += ", " + arch.name.str();
    *args.printAndStop += ")\n";
    return args;
  }
  if (parsed.hasArg(OPT_list_phases)) {
    args.printAndStop = "";
    for (unsigned i = 0; i < kNumPhases; ++i)
      *args.printAndStop += stringifyPhase(static_cast<Phase>(i)).str() + "\n";
    return args;
  }

  std::vector<std::string> inputs = parsed.getAllArgValues(OPT_INPUT);
  if (inputs.size() != 1)
    return usage(inputs.empty() ? "no model given"
                                : "more than one model given: '" + inputs[0] +
                                      "' and '" + inputs[1] + "'",
                 "moe-compile <model> -o <file>");
  args.input = inputs[0];
  // "dir/" and "dir" are the same model.
  while (args.input.size() > 1 && args.input.back() == '/')
    args.input.pop_back();

  auto parsePhase = [&](unsigned id, StringRef flag,
                        std::optional<Phase> &phase) -> Status {
    if (const opt::Arg *arg = parsed.getLastArg(id)) {
      phase = symbolizePhase(arg->getValue());
      if (!phase)
        return usage("'" + std::string(arg->getValue()) + "' is no phase (" +
                         flag.str() + ")",
                     "use one of: " + listPhases());
    }
    return {};
  };
  std::optional<Phase> to;
  if (Status s = parsePhase(OPT_compile_from, "--compile-from", args.from);
      !s.ok())
    return s;
  if (Status s = parsePhase(OPT_compile_to, "--compile-to", to); !s.ok())
    return s;
  args.to = to.value_or(Phase::Module);
  if (args.from && *args.from >= args.to)
    return usage("--compile-from=" + stringifyPhase(*args.from).str() +
                     " leaves nothing to do until --compile-to=" +
                     stringifyPhase(args.to).str(),
                 "name a later phase: " + listPhases());

  auto choice = [&](unsigned id, StringRef flag, ArrayRef<StringRef> values,
                    std::optional<std::string> &result) -> Status {
    const opt::Arg *arg = parsed.getLastArg(id);
    if (!arg)
      return {};
    if (!llvm::is_contained(values, StringRef(arg->getValue())))
      return usage(flag.str() + " has no value '" + arg->getValue() + "'",
                   "use one of: " + llvm::join(values, ", "));
    result = arg->getValue();
    return {};
  };
  std::optional<std::string> routerType;
  if (Status s = choice(OPT_numerics, "--numerics", {"default", "strict"},
                        args.numerics);
      !s.ok())
    return s;
  if (Status s = choice(OPT_weights, "--weights",
                        {"external", "packed", "embedded"}, args.weights);
      !s.ok())
    return s;
  if (Status s = choice(OPT_router_dtype, "--router-dtype", {"f32", "model"},
                        routerType);
      !s.ok())
    return s;
  args.routerF32 = routerType == "f32";

  if (const opt::Arg *arg = parsed.getLastArg(OPT_target)) {
    SmallVector<StringRef> names;
    StringRef(arg->getValue()).split(names, ',');
    SmallVector<StringRef> known = knownTargets();
    for (StringRef name : names) {
      if (!llvm::is_contained(known, name))
        return usage("unknown target '" + name.str() + "'",
                     "use one of: " + llvm::join(known, ", "));
      args.targets.push_back(name.str());
    }
  }
  auto integer = [](StringRef text, int64_t least, int64_t &value) {
    return !text.getAsInteger(10, value) && value >= least;
  };
  if (const opt::Arg *arg = parsed.getLastArg(OPT_layers)) {
    SmallVector<StringRef> numbers;
    StringRef(arg->getValue()).split(numbers, ',');
    args.layers.emplace();
    for (StringRef number : numbers)
      if (int64_t layer; integer(number, 0, layer))
        args.layers->push_back(layer);
      else
        return usage("--layers: '" + number.str() + "' is no layer number",
                     "give numbers separated by commas, e.g. --layers=0,3");
  }
  if (const opt::Arg *arg = parsed.getLastArg(OPT_max_num_tokens)) {
    int64_t value;
    if (!integer(arg->getValue(), 1, value))
      return usage("--max-num-tokens: '" + std::string(arg->getValue()) +
                       "' is no positive number",
                   "give the most tokens of one call, e.g. 4096");
    args.maxTokens = value;
  }

  args.checkpoint = parsed.getLastArgValue(OPT_checkpoint).str();
  args.dumpDirectory = parsed.getLastArgValue(OPT_dump_phases).str();
  args.inProcess = parsed.getLastArgValue(OPT_in_process).str();
  args.hashWeights = parsed.hasArg(OPT_hash_weights);
  args.emulateAmx = parsed.hasArg(OPT_emulate_amx);
  args.quiet = parsed.hasArg(OPT_q);
  args.printPipeline = parsed.hasArg(OPT_print_pipeline);
  args.remarksPassed = parsed.getLastArgValue(OPT_Rpass_EQ).str();
  args.remarksMissed = parsed.getLastArgValue(OPT_Rpass_missed_EQ).str();
  args.remarksAnalysis = parsed.getLastArgValue(OPT_Rpass_analysis_EQ).str();

  args.output = parsed.getLastArgValue(OPT_o).str();
  if (args.output.empty()) {
    if (args.to != Phase::Module)
      args.output = "-";
    else if (args.input == "-")
      return usage("an input from standard input has no name for the output",
                   "add -o <file>");
    else
      args.output = llvm::sys::path::stem(args.input).str() + ".moe";
  }
  args.ptxas = parsed.getLastArgValue(OPT_ptxas).str();
  if (const opt::Arg *arg =
          parsed.getLastArg(OPT_save_temps, OPT_save_temps_EQ)) {
    args.saveTemps = arg->getOption().matches(OPT_save_temps_EQ)
                         ? arg->getValue()
                         : llvm::sys::path::parent_path(args.output).str();
    if (args.saveTemps.empty())
      args.saveTemps = ".";
  }
  if (args.output == "-" && args.to == Phase::Module)
    return usage("an artifact cannot be written to standard output",
                 "add -o <file>");
  if (args.from && (args.layers || args.routerF32))
    return usage("--layers and --router-dtype act on the import, which "
                 "--compile-from skips",
                 "remove them, or compile the model directory");
  return args;
}
