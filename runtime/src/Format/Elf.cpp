//===- Elf.cpp - Sections of an ELF shared object -------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moert/Format/Elf.h"

#include <cstring>
#include <elf.h>

using namespace moert;

namespace {

/// Copies a header out of the file; the file gives no alignment.
template <typename T> T read(const uint8_t *data, uint64_t offset) {
  T value;
  std::memcpy(&value, data + offset, sizeof(T));
  return value;
}

/// True when [offset, offset + size) lies within `total` bytes.
bool inside(uint64_t offset, uint64_t size, uint64_t total) {
  return offset <= total && size <= total - offset;
}

Status damaged(const std::string &where, std::string what) {
  return Status::error(303, std::move(what))
      .at(where)
      .fix("copy the file again, or compile the model again");
}

Status incomplete(const std::string &where, uint64_t size, uint64_t needed) {
  return Status::error(302, concat("artifact is incomplete: it has ", size,
                                   " of at least ", needed, " bytes"))
      .at(where)
      .fix("copy the file again");
}

Status notArtifact(const std::string &where, std::string reason) {
  return Status::error(304, "not a MoE artifact")
      .at(where)
      .because(std::move(reason))
      .fix("give a file that moe-compile wrote");
}

} // namespace

const ElfSection *ElfFile::find(std::string_view name) const {
  for (const ElfSection &section : all)
    if (section.name == name)
      return &section;
  return nullptr;
}

StatusOr<ElfFile> ElfFile::parse(const uint8_t *data, uint64_t size,
                                 const std::string &where) {
  if (size < 4 || std::memcmp(data, ELFMAG, SELFMAG) != 0)
    return notArtifact(where, "it is no ELF file");
  if (size < sizeof(Elf64_Ehdr))
    return incomplete(where, size, sizeof(Elf64_Ehdr));
  Elf64_Ehdr header = read<Elf64_Ehdr>(data, 0);
  if (header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_ident[EI_DATA] != ELFDATA2LSB)
    return notArtifact(where, "it is no 64-bit little-endian ELF file");
  if (header.e_type != ET_DYN)
    return notArtifact(where, "it is an ELF file, but no shared object");
  if (header.e_shoff == 0)
    return notArtifact(where, "it has no section table");
  if (header.e_shentsize != sizeof(Elf64_Shdr) ||
      (header.e_phnum != 0 && header.e_phentsize != sizeof(Elf64_Phdr)))
    return damaged(where, "ELF table entries have an unknown size");

  const uint64_t tableOffset = header.e_shoff;
  if (!inside(tableOffset, sizeof(Elf64_Shdr), size))
    return tableOffset > (uint64_t(1) << 62)
               ? damaged(where, "ELF section table lies past any file")
               : incomplete(where, size, tableOffset + sizeof(Elf64_Shdr));
  Elf64_Shdr first = read<Elf64_Shdr>(data, tableOffset);
  const uint64_t count = header.e_shnum ? header.e_shnum : first.sh_size;
  const uint64_t namesIndex =
      header.e_shstrndx == SHN_XINDEX ? first.sh_link : header.e_shstrndx;
  if (count > 65536)
    return damaged(where, concat("ELF file claims ", count, " sections"));
  if (!inside(tableOffset, count * sizeof(Elf64_Shdr), size))
    return incomplete(where, size, tableOffset + count * sizeof(Elf64_Shdr));
  if (namesIndex >= count)
    return damaged(where, concat("ELF section ", namesIndex, " of ", count,
                                 " should hold the names"));

  // A segment past the end of the file would be a SIGBUS when loaded.
  if (!inside(header.e_phoff, uint64_t(header.e_phnum) * sizeof(Elf64_Phdr),
              size))
    return damaged(where, "ELF program headers lie outside the file");
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment =
        read<Elf64_Phdr>(data, header.e_phoff + i * sizeof(Elf64_Phdr));
    if (segment.p_type == PT_LOAD &&
        (!inside(segment.p_offset, segment.p_filesz, size) ||
         segment.p_filesz > segment.p_memsz))
      return damaged(where,
                     concat("ELF segment ", i, " lies outside the file"));
  }

  auto sectionHeader = [&](uint64_t i) {
    return read<Elf64_Shdr>(data, tableOffset + i * sizeof(Elf64_Shdr));
  };
  Elf64_Shdr names = sectionHeader(namesIndex);
  if (names.sh_type != SHT_STRTAB ||
      !inside(names.sh_offset, names.sh_size, size) || names.sh_size == 0 ||
      data[names.sh_offset + names.sh_size - 1] != 0)
    return damaged(where, "ELF section names are not readable");

  ElfFile result;
  result.elfMachine = header.e_machine;
  for (uint64_t i = 1; i < count; ++i) {
    Elf64_Shdr section = sectionHeader(i);
    if (section.sh_name >= names.sh_size)
      return damaged(where, concat("ELF section ", i, " has no name"));
    // The table ends with a NUL, so the name ends inside it.
    std::string_view name(reinterpret_cast<const char *>(
        data + names.sh_offset + section.sh_name));
    if (section.sh_type == SHT_NOBITS || section.sh_type == SHT_NULL)
      continue;
    if (!inside(section.sh_offset, section.sh_size, size))
      return damaged(where,
                     concat("ELF section '", name, "' at [", section.sh_offset,
                            ", +", section.sh_size,
                            ") lies outside the file of ", size, " bytes"));
    result.all.push_back(
        {name, section.sh_offset, section.sh_size, data + section.sh_offset});
  }
  return result;
}
