//===- Routes.h - What routers chose, in a file ---------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_SESSION_ROUTES_H
#define MOERT_SESSION_ROUTES_H

#include "moert/Format/Status.h"

#include <cstdint>
#include <string>
#include <vector>

namespace moert {

/// The value of "schema" in a file of routes.
constexpr const char *routesSchema = "moe.routes/1";

/// What the routers of one call chose.
///
/// The file is a safetensors file: for each layer "<layer>.ids", I32
/// [tokens, per_token], experts or -1 for none, and "<layer>.weights", F32 of
/// the same shape, 0 for none. `__metadata__` has "schema", "model",
/// "fingerprint" (of the weights), "function", and for each layer
/// "<layer>.experts" and "<layer>.per_token", decimal.
struct Routes {
  struct Layer {
    std::string name;
    uint32_t experts = 0, perToken = 0;
    int64_t tokens = 0;
    /// [tokens][perToken].
    std::vector<int32_t> ids;
    std::vector<float> weights;
  };

  std::string model, fingerprint, function;
  std::vector<Layer> layers;

  /// Replaces `path` when all is written; nothing of a failure is left there.
  /// MOE0011.
  Status write(const std::string &path) const;

  /// Reads a file and checks all of it: MOE0010, MOE0016 when it holds no
  /// routes, or wrong ones, MOE0014 for ids out of range or repeated in a
  /// token.
  static StatusOr<Routes> read(const std::string &path);
};

} // namespace moert

#endif // MOERT_SESSION_ROUTES_H
