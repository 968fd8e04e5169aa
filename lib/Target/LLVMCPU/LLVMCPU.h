//===- LLVMCPU.h - Parts of the host target -------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_TARGET_LLVMCPU_LLVMCPU_H
#define MOE_LIB_TARGET_LLVMCPU_LLVMCPU_H

#include "mlir/IR/Location.h"
#include "llvm/ADT/SmallVector.h"

#include <array>
#include <string>
#include <vector>

namespace llvm {
class Function;
class Module;
} // namespace llvm

namespace mlir::moe::llvmcpu {

inline constexpr unsigned kNumLevels = 3;

/// One row of the kernel table.
struct KernelEntry {
  std::string name;
  uint32_t numArgs = 0;
  std::array<uint64_t, kNumLevels> scratchBytes = {};
  std::array<llvm::Function *, kNumLevels> code = {};
};

/// Adds the constant kernel table and the exported query function.
void addKernelTable(llvm::Module &module,
                    const std::vector<KernelEntry> &entries);

/// Optimises the module and compiles it to a position-independent ELF object.
/// Fails with a diagnostic at `loc` when the code is not valid or refers to
/// another symbol than memcpy, memset and memmove.
LogicalResult emitObject(llvm::Module &module, Location loc,
                         llvm::SmallVectorImpl<char> &object);

} // namespace mlir::moe::llvmcpu

#endif // MOE_LIB_TARGET_LLVMCPU_LLVMCPU_H
