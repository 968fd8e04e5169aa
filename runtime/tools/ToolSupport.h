//===- ToolSupport.h - What the command-line tools share ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_TOOLS_TOOLSUPPORT_H
#define MOERT_TOOLS_TOOLSUPPORT_H

#include "moert/Format/Status.h"

#include <string>

namespace CLI {
class App;
}

namespace moert::tools {

/// How much goes to stderr.
struct Verbosity {
  bool quiet = false;
  int verbose = 0;
};

/// Adds -q, -v and --version.
void addCommonOptions(CLI::App &app, Verbosity &verbosity);

/// Parses the command line. True to go on; false when the tool ends now with
/// `exitCode`: after --help (0) or a usage error (2, printed).
bool parse(CLI::App &app, int argc, char **argv, int &exitCode);

/// Prints an error to stderr and returns the exit code; 0 for OK.
int finish(const Status &status);

/// Writes data to stdout. MOE0011 when it cannot be written.
Status print(const std::string &text);

/// Largest resident set of this process so far, in bytes (VmHWM).
uint64_t peakResidentBytes();

/// "did you mean" for a word and what could have been meant; empty when
/// nothing is near.
std::string nearest(const std::string &word,
                    const std::vector<std::string> &known);

} // namespace moert::tools

#endif // MOERT_TOOLS_TOOLSUPPORT_H
