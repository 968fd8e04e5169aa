//===- ExpertStats.cpp - How often each expert was chosen -----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moert/Session/ExpertStats.h"

#include <algorithm>
#include <nlohmann/json.hpp>

using namespace moert;

void ExpertStats::record(std::string_view layer, uint32_t experts,
                         const int32_t *offsets, const int32_t *dropped,
                         int64_t tokens) {
  auto it = std::find_if(all.begin(), all.end(),
                         [&](const Layer &l) { return l.name == layer; });
  if (it == all.end()) {
    all.emplace_back();
    it = all.end() - 1;
    it->name = layer;
  }
  it->tokens += tokens;
  if (it->counts.size() < experts)
    it->counts.resize(experts);
  it->dropped.resize(it->counts.size());
  it->drops |= dropped != nullptr;
  for (uint32_t e = 0; e < experts; ++e) {
    it->counts[e] += int64_t(offsets[e + 1]) - offsets[e];
    if (dropped)
      it->dropped[e] += dropped[e];
  }
}

std::string ExpertStats::toJson(const Metadata &metadata) const {
  nlohmann::ordered_json root;
  root["schema"] = "moe.expert_stats/1";
  root["model"] = metadata.modelName;
  root["fingerprint"] = metadata.weightsFingerprint;
  root["layers"] = nlohmann::ordered_json::array();
  size_t experts = 0;
  for (const Layer &layer : all) {
    root["layers"].push_back(layer.name);
    experts = std::max(experts, layer.counts.size());
  }
  root["num_experts"] = experts;
  if (metadata.topK)
    root["top_k"] = metadata.topK;
  root["tokens"] = nlohmann::ordered_json::array();
  root["counts"] = nlohmann::ordered_json::array();
  for (const Layer &layer : all) {
    root["tokens"].push_back(layer.tokens);
    root["counts"].push_back(layer.counts);
  }
  if (std::any_of(all.begin(), all.end(),
                  [](const Layer &layer) { return layer.drops; })) {
    root["dropped"] = nlohmann::ordered_json::array();
    for (const Layer &layer : all)
      root["dropped"].push_back(layer.dropped);
  }
  return root.dump() + "\n";
}
