//===- MoeCompileMain.cpp - Driver of moe-compile -------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The compilation runs in a child: LLVM's back ends abort on what they cannot
// select, the linker dies of SIGBUS on a full disk, and a user may press
// Ctrl-C. Whatever happens to the child, this process reports it and leaves
// nothing half-written behind: results appear in a folder beside the output and
// are moved into place when all is done.
//
//===----------------------------------------------------------------------===//

#include "CompileArgs.h"

#include "moe/Tools/Tools.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace mlir;
using namespace mlir::moe;
using moert::Status;
namespace fs = llvm::sys::fs;
namespace path = llvm::sys::path;

namespace {

volatile sig_atomic_t childPid = 0;
volatile sig_atomic_t interruptedBy = 0;

/// The first signal ends the child politely, a second one at once.
void forwardSignal(int signal) {
  int old = errno;
  if (childPid > 0)
    kill(childPid, interruptedBy ? SIGKILL : signal);
  interruptedBy = signal;
  errno = old;
}

int report(const Status &status) {
  llvm::errs() << status.toString();
  return status.exitCode();
}

/// Options of phase `target` as its pipeline takes them.
void printTargetOptions(const CompileArgs &args, llvm::raw_ostream &os) {
  StringRef separator = "=";
  for (auto [name, value] :
       {std::make_pair("ptxas", StringRef(args.ptxas)),
        std::make_pair("save-temps", StringRef(args.saveTemps))}) {
    if (value.empty())
      continue;
    os << separator << name << "=" << value;
    separator = "\\ ";
  }
}

/// Prints the command of every phase that would run.
void printPipeline(const CompileArgs &args) {
  llvm::raw_ostream &os = llvm::outs();
  auto file = [](unsigned i) {
    auto phase = static_cast<Phase>(i);
    return (Twine(i + 1) + "." + stringifyPhase(phase) +
            (phase >= Phase::Target ? ".mlirbc" : ".mlir"))
        .str();
  };
  unsigned first = args.from ? static_cast<unsigned>(*args.from) + 1 : 0;
  std::string input = args.input;
  for (unsigned i = first; i <= static_cast<unsigned>(args.to); ++i) {
    auto phase = static_cast<Phase>(i);
    if (phase == Phase::Import) {
      os << "moe-compile " << input << " --compile-to=import -o " << file(i)
         << "\n";
    } else {
      os << "moe-opt " << input << " --moe-" << stringifyPhase(phase);
      if (phase == Phase::Module) {
        os << "=output=" << args.output;
        std::string checkpoint = args.checkpoint;
        if (checkpoint.empty() && !args.isInputIR())
          checkpoint = args.input;
        if (!checkpoint.empty())
          os << "\\ checkpoint=" << checkpoint;
        os << " -o /dev/null\n";
      } else {
        if (phase == Phase::Target)
          printTargetOptions(args, os);
        os << (phase >= Phase::Target ? " --emit-bytecode"
                                      : " --mlir-print-debuginfo")
           << " -o " << file(i) << "\n";
      }
    }
    input = file(i);
  }
}

/// A folder for results beside the output; removed in the end.
class ResultFolder {
public:
  ~ResultFolder() {
    if (!name.empty())
      fs::remove_directories(name);
  }
  Status create(StringRef output) {
    SmallString<128> folder(path::parent_path(output));
    if (folder.empty())
      folder = ".";
    if (fs::is_directory(output))
      return Status::error(11, "cannot write '" + output.str() +
                                   "': it is a folder")
          .fix("choose another name with -o");
    // A device or a pipe is written in place: a rename would replace it.
    isSpecial = fs::exists(output) && !fs::is_regular_file(output);
    if (isSpecial) {
      if (std::error_code error =
              fs::createUniqueDirectory("moe-compile", folder))
        return Status::error(11, "cannot make a folder for temporary files: " +
                                     error.message());
      name = std::string(folder);
      return {};
    }
    path::append(folder, "." + path::filename(output) + ".tmp-" +
                             Twine(static_cast<int>(getpid())));
    if (mkdir(folder.c_str(), 0777) != 0)
      return Status::error(11, "cannot write '" + output.str() + "'")
          .because(std::string(strerror(errno)))
          .fix("choose a folder that exists and may be written with -o");
    name = std::string(folder);
    return {};
  }
  /// Moves everything into the folder of the output, the output itself last.
  Status commit(StringRef output) {
    std::error_code error;
    SmallVector<std::string> files;
    for (fs::directory_iterator it(name, error), end; it != end && !error;
         it.increment(error))
      files.push_back(it->path());
    StringRef outputName = path::filename(output);
    llvm::sort(files, [&](const std::string &a, const std::string &b) {
      return std::make_pair(path::filename(a) == outputName, a) <
             std::make_pair(path::filename(b) == outputName, b);
    });
    if (isSpecial && files.size() > 1)
      return Status::error(11, "cannot write '" + output.str() +
                                   "': it is no regular file, and there are " +
                                   std::to_string(files.size()) +
                                   " files to write")
          .fix("choose the name of a regular file with -o");
    for (const std::string &file : files) {
      SmallString<128> target(path::parent_path(output));
      path::append(target, path::filename(file));
      if (!error)
        error =
            isSpecial ? fs::copy_file(file, output) : fs::rename(file, target);
    }
    if (error)
      return Status::error(11, "cannot write '" + output.str() +
                                   "': " + error.message());
    return {};
  }
  std::string name;

private:
  bool isSpecial = false;
};

/// What a signal that killed the child most likely means.
Status describeSignal(int signal) {
  std::string name = strsignal(signal);
  if (signal == SIGBUS || signal == SIGXFSZ)
    return Status::error(11, "the compiler was killed by signal " +
                                 std::to_string(signal) + " (" + name +
                                 ") while it wrote")
        .because("the disk is full or a limit on file sizes was reached")
        .fix("make room, or choose another place with -o");
  if (signal == SIGKILL)
    return Status::error(9001,
                         "the compiler was killed by signal 9 (" + name + ")")
        .because("something outside stopped it, often the system for lack of "
                 "memory")
        .fix("make memory free and try again");
  return Status::error(9001, "the compiler crashed: signal " +
                                 std::to_string(signal) + " (" + name + ")")
      .because("this is a bug in the compiler")
      .fix("find the phase with --dump-phases=DIR and report it with its last "
           "dump");
}

int superviseChild(const CompileArgs &args, int argc, char **argv) {
  ResultFolder folder;
  bool writesFile = args.output != "-";
  if (writesFile)
    if (Status status = folder.create(args.output); !status.ok())
      return report(status);

  std::string inProcess =
      "--in-process=" + (writesFile ? folder.name : std::string("."));
  SmallVector<char *> childArgs(argv, argv + argc);
  childArgs.push_back(inProcess.data());
  childArgs.push_back(nullptr);

  struct sigaction action = {};
  action.sa_handler = forwardSignal;
  sigemptyset(&action.sa_mask);
  for (int signal : {SIGINT, SIGTERM, SIGHUP})
    sigaction(signal, &action, nullptr);

  pid_t parent = getpid(), pid = fork();
  if (pid < 0)
    return report(Status::error(9001, "cannot start the compiler process")
                      .because(strerror(errno)));
  if (pid == 0) {
    for (int signal : {SIGINT, SIGTERM, SIGHUP})
      std::signal(signal, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
      _exit(128 + SIGKILL);
    execv("/proc/self/exe", childArgs.data());
    _exit(127);
  }
  childPid = pid;
  // A signal that came before the child was known.
  if (interruptedBy)
    kill(pid, interruptedBy);
  int state = 0;
  while (waitpid(pid, &state, 0) < 0 && errno == EINTR)
    ;
  childPid = 0;

  if (interruptedBy) {
    llvm::errs() << "interrupted; nothing was written\n";
    return 128 + interruptedBy;
  }
  if (WIFSIGNALED(state)) {
    int signal = WTERMSIG(state);
    if (signal == SIGINT || signal == SIGTERM)
      return 128 + signal;
    return report(describeSignal(signal));
  }
  if (int code = WEXITSTATUS(state)) {
    if (code == 127)
      return report(Status::error(9001, "cannot run the compiler process"));
    return code;
  }
  if (writesFile) {
    if (Status status = folder.commit(args.output); !status.ok())
      return report(status);
    uint64_t size = 0;
    fs::file_size(args.output, size);
    if (!args.quiet)
      llvm::errs() << "wrote    " << args.output << " (" << size << " bytes)\n";
  }
  return 0;
}

} // namespace

int moe::moeCompileMain(int argc, char **argv) {
  moert::StatusOr<CompileArgs> args = parseCompileArgs(argc, argv);
  if (!args.ok())
    return report(args.status());
  if (args->printAndStop) {
    llvm::outs() << *args->printAndStop;
    return 0;
  }
  if (args->printPipeline) {
    printPipeline(*args);
    return 0;
  }
  if (!args->inProcess.empty())
    return compileInProcess(*args);
  return superviseChild(*args, argc, argv);
}
