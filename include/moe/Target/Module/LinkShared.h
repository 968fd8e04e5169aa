//===- LinkShared.h - Linking an artifact ---------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TARGET_MODULE_LINKSHARED_H
#define MOE_TARGET_MODULE_LINKSHARED_H

#include "mlir/IR/Diagnostics.h"

#include <string>

namespace mlir::moe {

/// A section to add: its bytes, or the file that holds them.
struct ExtraSection {
  StringRef name;
  StringRef bytes;
  std::string file;
  unsigned alignment = 8;
  /// Type of the section as the assembler names it.
  StringRef type = "progbits";
};

/// Links an x86-64 object and further read-only sections into the shared
/// object `output`. Intermediate files stand beside it and are removed. The
/// linker runs in this process and may die of a signal when the disk is full;
/// `moe-compile` runs it in a child for that reason.
LogicalResult linkShared(Location loc, ArrayRef<char> object,
                         ArrayRef<ExtraSection> sections, StringRef output);

} // namespace mlir::moe

#endif // MOE_TARGET_MODULE_LINKSHARED_H
