//===- BuildMetadata.h - The metadata as JSON -----------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_TARGET_MODULE_BUILDMETADATA_H
#define MOE_LIB_TARGET_MODULE_BUILDMETADATA_H

#include "mlir/IR/BuiltinOps.h"

#include "moert/Format/PlanReader.h"

#include <map>
#include <string>

namespace mlir::moe {

/// Digits of a hash.
constexpr unsigned kHashDigits = 16;

/// The content of `.moe.meta` (schema moe.meta/1, see moert/Format/Metadata.h).
/// `offloading` are the bytes of `.llvm.offloading`, empty without GPU images;
/// `contentHashes` those to record, by name, empty for none.
/// `text_xxh3` has the right size, but only zeros: `sealCode` knows it.
std::string
buildMetadata(ModuleOp module, const moert::VerifiedPlan &plan,
              ArrayRef<uint8_t> planBytes, ArrayRef<char> offloading,
              const std::map<std::string, std::string> &contentHashes);

/// Puts the hash of the code of the linked artifact `path` into its metadata,
/// and the new checksum of these into `.moe.sum`.
moert::Status sealCode(StringRef path);

} // namespace mlir::moe

#endif // MOE_LIB_TARGET_MODULE_BUILDMETADATA_H
