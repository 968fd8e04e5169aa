//===- SealCode.cpp - The hash of an artifact's code ----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BuildMetadata.h"

#include "moert/Format/Artifact.h"

#include "llvm/Support/Endian.h"
#include "llvm/Support/FileSystem.h"

using namespace mlir;
using moert::Status;
namespace fs = llvm::sys::fs;

Status moe::sealCode(StringRef path) {
  auto cannotWrite = [&](std::error_code error) {
    return Status::error(11, "cannot write '" + path.str() +
                                 "': " + error.message());
  };
  int descriptor = -1;
  if (std::error_code error = fs::openFileForReadWrite(
          path, descriptor, fs::CD_OpenExisting, fs::OF_None))
    return cannotWrite(error);
  fs::file_t file = fs::convertFDToNativeFile(descriptor);
  uint64_t size = 0;
  std::error_code error = fs::file_size(path, size);
  fs::mapped_file_region map;
  if (!error)
    map = fs::mapped_file_region(file, fs::mapped_file_region::readwrite, size,
                                 /*offset=*/0, error);
  fs::closeFile(file);
  if (error)
    return cannotWrite(error);

  auto *bytes = reinterpret_cast<uint8_t *>(map.data());
  auto parsed = moert::ElfFile::parse(bytes, size, path.str());
  if (!parsed.ok())
    return std::move(parsed).status();
  std::string code;
  for (const char *name : {".text", ".rodata"})
    if (const moert::ElfSection *section = parsed->find(name))
      code.append(reinterpret_cast<const char *>(section->data), section->size);
  const moert::ElfSection *meta = parsed->find(moert::metaSection);
  const moert::ElfSection *sum = parsed->find(moert::sumSection);
  StringRef key = "\"text_xxh3\": \"";
  StringRef text(map.data() + (meta ? meta->offset : 0), meta ? meta->size : 0);
  size_t at = text.find(key);
  if (!sum || sum->size != 8 || at == StringRef::npos)
    return Status::error(9000, "the linked artifact has no place for the hash "
                               "of its code");
  std::string hash = moert::xxh3Hex(code.data(), code.size());
  assert(hash.size() == kHashDigits);
  std::copy(hash.begin(), hash.end(),
            map.data() + meta->offset + at + key.size());
  llvm::support::endian::write64le(
      map.data() + sum->offset,
      moert::xxh3(map.data() + meta->offset, meta->size));
  return {};
}
