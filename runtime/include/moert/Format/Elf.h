//===- Elf.h - Sections of an ELF shared object ---------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Reads an artifact without running any of it. Every offset is checked before
// it is used.
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_FORMAT_ELF_H
#define MOERT_FORMAT_ELF_H

#include "moert/Format/Status.h"

#include <string>
#include <string_view>
#include <vector>

namespace moert {

/// e_machine of the targets that artifacts are written for.
constexpr uint16_t elfMachineX86_64 = 62;
constexpr uint16_t elfMachineAArch64 = 183;

/// A section with bytes in the file. Borrowed from the file's bytes.
struct ElfSection {
  std::string_view name;
  uint64_t offset = 0;
  uint64_t size = 0;
  const uint8_t *data = nullptr;
};

/// The sections of a 64-bit little-endian shared object. Immutable.
class ElfFile {
public:
  /// MOE0304 for another kind of file, MOE0302 when the file is shorter than
  /// its headers say, MOE0303 when its tables contradict each other. `where`
  /// goes into messages.
  static StatusOr<ElfFile> parse(const uint8_t *data, uint64_t size,
                                 const std::string &where);

  uint16_t machine() const { return elfMachine; }
  const std::vector<ElfSection> &sections() const { return all; }
  /// The first section of this name, null when there is none.
  const ElfSection *find(std::string_view name) const;

private:
  uint16_t elfMachine = 0;
  std::vector<ElfSection> all;
};

} // namespace moert

#endif // MOERT_FORMAT_ELF_H
