//===- CompileArgs.h - Arguments of moe-compile ---------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_TOOLS_COMPILEARGS_H
#define MOE_LIB_TOOLS_COMPILEARGS_H

#include "moe/Pipelines/Phases.h"

#include "moert/Format/Status.h"

#include <string>
#include <vector>

namespace mlir::moe {

/// What the command line of moe-compile says, checked as far as that goes
/// without reading a file.
struct CompileArgs {
  std::string input;
  std::string output;
  std::string checkpoint;
  std::string dumpDirectory;
  /// Path of ptxas, empty to look for it.
  std::string ptxas;
  /// Folder for intermediate files of GPU code, empty for none.
  std::string saveTemps;
  /// When not empty, this process compiles and writes into this folder.
  std::string inProcess;
  std::optional<Phase> from;
  Phase to = Phase::Module;
  std::optional<std::string> numerics, weights;
  std::vector<std::string> targets;
  std::optional<std::vector<int64_t>> layers;
  std::optional<int64_t> maxTokens;
  bool routerF32 = false;
  bool hashWeights = false;
  bool emulateAmx = false;
  bool quiet = false;
  bool printPipeline = false;
  std::string remarksPassed, remarksMissed, remarksAnalysis;
  /// Set for --help, --version and --list-phases: print this and stop.
  std::optional<std::string> printAndStop;

  /// Whether the input is MLIR rather than a model directory.
  bool isInputIR() const;
};

/// Parses a command line; errors have number MOE0001 or MOE0002.
moert::StatusOr<CompileArgs> parseCompileArgs(int argc, char **argv);

/// Compiles in this process. Returns the exit code.
int compileInProcess(const CompileArgs &args);

} // namespace mlir::moe

#endif // MOE_LIB_TOOLS_COMPILEARGS_H
