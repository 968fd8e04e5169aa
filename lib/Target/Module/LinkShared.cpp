//===- LinkShared.cpp - Linking an artifact -------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Target/Module/LinkShared.h"

#include "lld/Common/Driver.h"
#include "llvm/MC/MCAsmBackend.h"
#include "llvm/MC/MCAsmInfo.h"
#include "llvm/MC/MCCodeEmitter.h"
#include "llvm/MC/MCContext.h"
#include "llvm/MC/MCInstrInfo.h"
#include "llvm/MC/MCObjectFileInfo.h"
#include "llvm/MC/MCObjectWriter.h"
#include "llvm/MC/MCParser/MCAsmParser.h"
#include "llvm/MC/MCParser/MCTargetAsmParser.h"
#include "llvm/MC/MCRegisterInfo.h"
#include "llvm/MC/MCStreamer.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/MCTargetOptions.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/raw_ostream.h"

LLD_HAS_DRIVER(elf)

using namespace mlir;
using namespace mlir::moe;

static LogicalResult writeFile(Location loc, StringRef path,
                               ArrayRef<char> bytes) {
  std::error_code error;
  llvm::raw_fd_ostream os(path, error);
  if (!error) {
    os.write(bytes.data(), bytes.size());
    os.close();
    error = os.error();
    os.clear_error();
  }
  if (error)
    return emitError(loc) << "cannot write '" << path
                          << "': " << error.message();
  return success();
}

/// Assembles text into an object file. The assembler copies files named by
/// `.incbin`, so nothing large passes through LLVM IR.
static LogicalResult assemble(Location loc, StringRef text,
                              SmallVectorImpl<char> &object) {
  LLVMInitializeX86TargetInfo();
  LLVMInitializeX86TargetMC();
  LLVMInitializeX86AsmParser();
  llvm::Triple triple("x86_64-unknown-linux-gnu");
  std::string error;
  const llvm::Target *target =
      llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target)
    return emitError(loc) << error;
  llvm::MCTargetOptions options;
  std::unique_ptr<llvm::MCRegisterInfo> registers(
      target->createMCRegInfo(triple));
  std::unique_ptr<llvm::MCAsmInfo> asmInfo(
      target->createMCAsmInfo(*registers, triple, options));
  std::unique_ptr<llvm::MCInstrInfo> instructions(target->createMCInstrInfo());
  std::unique_ptr<llvm::MCSubtargetInfo> subtarget(
      target->createMCSubtargetInfo(triple, "", ""));
  llvm::SourceMgr sources;
  sources.AddNewSourceBuffer(llvm::MemoryBuffer::getMemBufferCopy(text),
                             llvm::SMLoc());
  llvm::MCContext context(triple, asmInfo.get(), registers.get(),
                          subtarget.get(), &sources, &options);
  std::unique_ptr<llvm::MCObjectFileInfo> info(
      target->createMCObjectFileInfo(context, /*PIC=*/true));
  context.setObjectFileInfo(info.get());

  llvm::raw_svector_ostream os(object);
  std::unique_ptr<llvm::MCAsmBackend> backend(
      target->createMCAsmBackend(*subtarget, *registers, options));
  std::unique_ptr<llvm::MCObjectWriter> writer =
      backend->createObjectWriter(os);
  std::unique_ptr<llvm::MCStreamer> streamer(target->createMCObjectStreamer(
      triple, context, std::move(backend), std::move(writer),
      std::unique_ptr<llvm::MCCodeEmitter>(
          target->createMCCodeEmitter(*instructions, context)),
      *subtarget));
  std::unique_ptr<llvm::MCAsmParser> parser(
      llvm::createMCAsmParser(sources, context, *streamer, *asmInfo));
  std::unique_ptr<llvm::MCTargetAsmParser> targetParser(
      target->createMCAsmParser(*subtarget, *parser, *instructions, options));
  parser->setTargetParser(*targetParser);
  if (parser->Run(/*NoInitialTextSection=*/false))
    return emitError(loc) << "cannot assemble the data sections";
  return success();
}

LogicalResult moe::linkShared(Location loc, ArrayRef<char> object,
                              ArrayRef<ExtraSection> sections,
                              StringRef output) {
  SmallVector<std::string> files;
  SmallVector<std::unique_ptr<llvm::FileRemover>> removers;
  auto temporary = [&](const Twine &suffix) -> StringRef {
    files.push_back((output + suffix).str());
    removers.push_back(std::make_unique<llvm::FileRemover>(files.back()));
    return files.back();
  };
  // References into `files` must stay valid.
  files.reserve(sections.size() + 2);

  std::string text;
  llvm::raw_string_ostream os(text);
  os << ".section .note.GNU-stack,\"\",@progbits\n";
  for (auto [i, section] : llvm::enumerate(sections)) {
    StringRef file = section.file;
    if (file.empty()) {
      file = temporary(".section" + Twine(i));
      if (failed(writeFile(loc, file, section.bytes)))
        return failure();
    }
    os << ".section " << section.name << ",\"a\",@" << section.type
       << "\n.balign " << section.alignment << "\n.incbin \"";
    os.write_escaped(file);
    os << "\"\n";
  }
  SmallVector<char, 0> data;
  if (failed(assemble(loc, text, data)))
    return failure();
  StringRef codeFile = temporary(".code.o"), dataFile = temporary(".data.o");
  if (failed(writeFile(loc, codeFile, object)) ||
      failed(writeFile(loc, dataFile, data)))
    return failure();

  std::string outputPath = output.str();
  const char *args[] = {"ld.lld",           "-shared",      "--build-id=none",
                        "--hash-style=gnu", "-z",           "noexecstack",
                        "--eh-frame-hdr",   "-o",           outputPath.c_str(),
                        codeFile.data(),    dataFile.data()};
  std::string messages;
  llvm::raw_string_ostream messageStream(messages);
  lld::Result result = lld::lldMain(args, messageStream, messageStream,
                                    {{lld::Gnu, &lld::elf::link}});
  if (result.retCode != 0)
    return emitError(loc) << "cannot link '" << output
                          << "': " << StringRef(messages).rtrim();
  return success();
}
