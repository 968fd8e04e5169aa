//===- Ptxas.cpp - Running NVIDIA's assembler -----------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "NVPTX.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::nvptx;
using moert::Status;
namespace sys = llvm::sys;

namespace {

/// A temporary file, removed in the end.
class TemporaryFile {
public:
  std::error_code create(StringRef suffix) {
    std::error_code error = sys::fs::createTemporaryFile("moe", suffix, path);
    if (!error)
      remover.setFile(path);
    return error;
  }
  std::string read() const {
    auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false,
                                              /*RequiresNullTerminator=*/false);
    return buffer ? (*buffer)->getBuffer().str() : std::string();
  }
  SmallString<128> path;

private:
  llvm::FileRemover remover;
};

} // namespace

static Status cannotWrite(StringRef path, std::error_code error) {
  return Status::error(11, "cannot write a temporary file '" + path.str() +
                               "': " + error.message())
      .fix("make room, or set TMPDIR to another folder");
}

/// Longest run of ptxas; kernels of real models take it a few seconds.
static constexpr unsigned kSeconds = 600;

/// Runs a program whose output, both streams, goes to `output`.
static int execute(StringRef program, ArrayRef<StringRef> args,
                   StringRef output, std::string &message) {
  std::optional<StringRef> redirects[] = {StringRef(), output, output};
  return sys::ExecuteAndWait(program, args, /*Env=*/std::nullopt, redirects,
                             kSeconds, /*MemoryLimit=*/0, &message);
}

moert::StatusOr<Ptxas> Ptxas::find(StringRef path) {
  Ptxas result;
  if (path == "none")
    return result;
  if (!path.empty()) {
    if (!sys::fs::can_execute(path))
      return Status::error(111, "cannot run ptxas: '" + path.str() +
                                    "' is no program")
          .fix("give the path of NVIDIA's assembler with --ptxas");
    result.program = path.str();
  } else {
    // /usr/local/cuda is what CUDA_HOME would say by default.
    std::optional<std::string> home = sys::Process::GetEnv("CUDA_HOME");
    std::string bin = home.value_or("/usr/local/cuda") + "/bin";
    auto inToolkit = sys::findProgramByName("ptxas", {StringRef(bin)});
    auto inPath = sys::findProgramByName("ptxas");
    if (inToolkit && (home || !inPath))
      result.program = *inToolkit;
    else if (inPath)
      result.program = *inPath;
    else
      return result;
  }

  result.release = "unknown";
  TemporaryFile output;
  if (std::error_code error = output.create("txt"))
    return cannotWrite(output.path, error);
  std::string message;
  if (execute(result.program, {result.program, "--version"}, output.path,
              message) == 0) {
    std::string text = output.read();
    // "Cuda compilation tools, release 13.0, V13.0.88"
    StringRef version = StringRef(text).split(", V").second;
    version =
        version.take_while([](char c) { return llvm::isDigit(c) || c == '.'; });
    if (!version.empty())
      result.release = version.str();
  }
  return result;
}

/// The line of PTX that the first error of the log names, quoted.
static std::string quotePtxLine(StringRef log, StringRef ptx) {
  // "ptxas <file>, line 12; error   : ..."
  unsigned number = 0;
  StringRef rest = log.split(", line ").second;
  if (rest.empty() || rest.consumeInteger(10, number) || number == 0)
    return "";
  for (unsigned i = 1; i < number; ++i)
    ptx = ptx.split('\n').second;
  return "line " + std::to_string(number) +
         " of the PTX is: " + ptx.split('\n').first.trim().str();
}

Status Ptxas::run(StringRef arch, StringRef ptx, std::string &cubin,
                  std::string &log) const {
  TemporaryFile input, output, text;
  for (auto [file, suffix] :
       {std::make_pair(&input, "ptx"), std::make_pair(&output, "cubin"),
        std::make_pair(&text, "log")})
    if (std::error_code error = file->create(suffix))
      return cannotWrite(file->path, error);
  std::error_code error;
  llvm::raw_fd_ostream os(input.path, error);
  if (!error) {
    os << ptx;
    os.close();
    error = os.error();
    os.clear_error();
  }
  if (error)
    return cannotWrite(input.path, error);

  std::string message, archFlag = ("-arch=" + arch).str();
  int code =
      execute(program, {program, "-v", archFlag, input.path, "-o", output.path},
              text.path, message);
  log = text.read();
  // The name of the temporary file differs from run to run.
  for (size_t at; (at = log.find(input.path.str())) != std::string::npos;)
    log.replace(at, input.path.size(), (arch + ".ptx").str());
  if (code != 0) {
    std::string reason = StringRef(log).trim().str();
    if (!message.empty())
      reason += (reason.empty() ? "" : "\n") + message;
    std::string line = quotePtxLine(log, ptx);
    return Status::error(
               111,
               "ptxas cannot assemble the kernels for " + arch.str() +
                   (code > 0 ? ": it ended with code " + std::to_string(code)
                             : std::string()))
        .because("it says: " + (reason.empty() ? "nothing" : reason) +
                 (line.empty() ? "" : "\n" + line))
        .fix("use ptxas of CUDA 12.8 or newer (--ptxas=PATH)");
  }
  cubin = output.read();
  return {};
}

PtxasReport nvptx::parsePtxasLog(StringRef log) {
  PtxasReport report;
  KernelUsage *kernel = nullptr;
  // The number in front of `unit`, as in "24 bytes spill stores".
  auto numberBefore = [](StringRef line, StringRef unit) -> int64_t {
    size_t at = line.find(unit);
    if (at == StringRef::npos)
      return 0;
    StringRef before = line.take_front(at).rtrim();
    size_t start = before.find_last_not_of("0123456789");
    int64_t value = 0;
    before.drop_front(start == StringRef::npos ? 0 : start + 1)
        .getAsInteger(10, value);
    return value;
  };
  SmallVector<StringRef> lines;
  log.split(lines, '\n');
  for (StringRef line : lines) {
    // "Compiling entry function 'name' for 'sm_80'", then "Function properties
    // for name", the spills, and "Used 92 registers, used 1 barriers, ...".
    for (StringRef head :
         {"Compiling entry function '", "Function properties for "})
      if (size_t at = line.find(head); at != StringRef::npos) {
        StringRef name = line.drop_front(at + head.size());
        kernel = &report.kernels[name.take_until(
            [](char c) { return c == '\'' || isspace(c); })];
      }
    for (StringRef number : {"C7510", "C7514"})
      if (line.contains(number))
        report.fatalWarnings.push_back(line.trim().str());
    if (!kernel)
      continue;
    kernel->spillBytes += numberBefore(line, "bytes spill stores") +
                          numberBefore(line, "bytes spill loads");
    if (line.contains("Used ")) {
      kernel->registers = numberBefore(line, "registers");
      kernel->staticShared = numberBefore(line, "bytes smem");
    }
  }
  return report;
}
