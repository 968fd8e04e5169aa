//===- ToolSupport.cpp - What the command-line tools share ----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ToolSupport.h"

#include "moert/Format/KernelABI.h"
#include "moert/Format/PlanReader.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fmt/format.h>

using namespace moert;

void tools::addCommonOptions(CLI::App &app, Verbosity &verbosity) {
  app.add_flag("-q,--quiet", verbosity.quiet, "Print errors only");
  app.add_flag("-v,--verbose", verbosity.verbose,
               "Print more: times, sizes, peak memory");
  app.set_version_flag(
      "--version", fmt::format("{} {} (format {}.{}, kernel ABI {})",
                               app.get_name(), MOERT_VERSION, planFormatMajor,
                               planFormatMinor, MOERT_KERNEL_ABI_VERSION));
}

std::string tools::nearest(const std::string &word,
                           const std::vector<std::string> &known) {
  size_t best = word.size() / 3 + 1;
  std::string result;
  for (const std::string &candidate : known) {
    std::vector<size_t> row(candidate.size() + 1);
    for (size_t j = 0; j < row.size(); ++j)
      row[j] = j;
    for (size_t i = 0; i < word.size(); ++i) {
      size_t diagonal = row[0];
      row[0] = i + 1;
      for (size_t j = 0; j < candidate.size(); ++j) {
        size_t change = diagonal + (word[i] != candidate[j]);
        diagonal = row[j + 1];
        row[j + 1] = std::min({change, row[j] + 1, row[j + 1] + 1});
      }
    }
    if (row.back() <= best && (result.empty() || row.back() < best)) {
      best = row.back();
      result = candidate;
    }
  }
  return result;
}

/// The option that an unknown one may have meant.
static std::string suggestion(const CLI::App &app, const std::string &text) {
  std::vector<std::string> known;
  for (const CLI::Option *option : app.get_options())
    for (const std::string &name : option->get_lnames())
      known.push_back("--" + name);
  size_t begin = text.find("--");
  if (begin == std::string::npos)
    return {};
  return tools::nearest(
      text.substr(begin, text.find_first_of("= ", begin) - begin), known);
}

bool tools::parse(CLI::App &app, int argc, char **argv, int &exitCode) {
  try {
    app.parse(argc, argv);
    return true;
  } catch (const CLI::CallForHelp &) {
    exitCode = finish(print(app.help()));
  } catch (const CLI::CallForVersion &) {
    exitCode = finish(print(app.version() + "\n"));
  } catch (const CLI::ParseError &error) {
    std::string what = error.what();
    Status status = Status::error(1, what);
    std::string near = suggestion(app, what);
    exitCode = finish(std::move(status).fix(
        near.empty() ? fmt::format("see {} --help", app.get_name())
                     : fmt::format("did you mean {}?", near)));
  }
  return false;
}

int tools::finish(const Status &status) {
  std::fputs(status.toString().c_str(), stderr);
  return status.exitCode();
}

Status tools::print(const std::string &text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() &&
      std::fflush(stdout) == 0)
    return {};
  return Status::error(11, "cannot write to the standard output")
      .because(std::strerror(errno));
}

uint64_t tools::peakResidentBytes() {
  unsigned long long kib = 0;
  if (std::FILE *file = std::fopen("/proc/self/status", "re")) {
    char line[256];
    while (std::fgets(line, sizeof(line), file) &&
           std::sscanf(line, "VmHWM: %llu", &kib) != 1)
      ;
    std::fclose(file);
  }
  return kib * 1024;
}
