//===- ExpertStats.h - How often each expert was chosen -------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_SESSION_EXPERTSTATS_H
#define MOERT_SESSION_EXPERTSTATS_H

#include "moert/Format/Metadata.h"

#include <cstdint>
#include <string>
#include <vector>

namespace moert {

/// Counts tokens per layer and expert. Thread-compatible.
class ExpertStats {
public:
  struct Layer {
    std::string name;
    /// Tokens that came through the layer, and pairs (token, expert).
    int64_t tokens = 0;
    std::vector<int64_t> counts;
    /// Pairs that a limit of capacity dropped; as long as counts.
    std::vector<int64_t> dropped;
    /// Whether the layer has such a limit.
    bool drops = false;
  };

  /// Adds the differences of offsets[0 .. experts], and dropped[0 .. experts)
  /// unless it is null.
  void record(std::string_view layer, uint32_t experts, const int32_t *offsets,
              const int32_t *dropped, int64_t tokens);
  void reset() { all.clear(); }
  const std::vector<Layer> &layers() const { return all; }

  /// {"schema": "moe.expert_stats/1", "fingerprint": "...", "layers": [names],
  ///  "num_experts": largest of all layers, "top_k": from the metadata, absent
  ///  when unknown, "tokens": [one per layer], "counts": [[...], ...],
  ///  "dropped": [[...], ...], absent when no layer has a limit of capacity}.
  /// With token choice and without limits, sum(counts[l]) == top_k * tokens[l].
  std::string toJson(const Metadata &metadata) const;

private:
  std::vector<Layer> all;
};

} // namespace moert

#endif // MOERT_SESSION_EXPERTSTATS_H
