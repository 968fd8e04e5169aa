//===- Metadata.h - The JSON metadata of an artifact ----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Section `.moe.meta` is UTF-8 JSON, padded with NUL bytes:
//
//   {"schema": "moe.meta/1",
//    "format": {"major": 1, "minor": 0},
//    "compiler": {"version": "0.1.0", "llvm": "22.1.8"},
//    "model": {"name": "...", "arch": "olmoe", "layers": 2, "experts": 64,
//              "top_k": 8},
//    "targets": ["x86-64:avx2", ...], "numerics": "default",
//    "weights": {"mode": "external", "fingerprint": "16 hex digits",
//                "bytes": 805306368, "paths": ["../olmoe"],
//                "content_xxh3": {"name": "16 hex digits", ...}},
//    "functions": [...],
//    "plan_xxh3": "16 hex digits", "text_xxh3": "16 hex digits",
//    "offloading_xxh3": "16 hex digits"}
//
// Required are schema, format, weights.mode, weights.fingerprint and
// plan_xxh3; unknown keys are skipped. `weights.paths` are tried in order,
// relative ones from the artifact's folder. `content_xxh3` is keyed by the
// name of a checkpoint tensor (external) or of a constant (packed, embedded).
// `text_xxh3` is the hash of the bytes of `.text` followed by `.rodata`,
// `offloading_xxh3` that of `.llvm.offloading` where the file has it.
//
// Section `.moe.sum` holds the xxh3-64 of the whole `.moe.meta` section, 8
// bytes, little-endian; it is the same in every format version.
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_FORMAT_METADATA_H
#define MOERT_FORMAT_METADATA_H

#include "moert/Format/Status.h"

#include <map>
#include <string>
#include <vector>

namespace moert {

struct Metadata {
  uint32_t formatMajor = 0;
  uint32_t formatMinor = 0;
  std::string compilerVersion;
  std::string llvmVersion;
  std::string modelName;
  std::string architecture;
  /// 0 where the metadata does not say.
  int64_t layers = 0;
  int64_t experts = 0;
  int64_t topK = 0;
  std::vector<std::string> targets;
  std::string numerics;
  std::string weightsMode;
  std::string weightsFingerprint;
  uint64_t weightsBytes = 0;
  std::vector<std::string> weightsPaths;
  std::map<std::string, std::string> contentHashes;
  std::string planHash;
  /// Empty when not recorded.
  std::string textHash, offloadHash;
  /// The JSON text itself, without padding.
  std::string json;
};

/// Parses the bytes of `.moe.meta`. MOE0301 for another major format, MOE0303
/// when a key is missing or of another type. `where` goes into messages.
StatusOr<Metadata> readMetadata(const uint8_t *data, uint64_t size,
                                const std::string &where);

} // namespace moert

#endif // MOERT_FORMAT_METADATA_H
