//===- Deepseek.cpp - DeepSeek, and those who took over its router --------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Rows.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::model;

/// Placement, sizes, shared experts and names that all three have.
static Family makeDeepseek(StringRef modelType, const Names &more = {}) {
  Family family;
  family.modelType = modelType;
  family.stack().width = {{"moe_intermediate_size"}, {}};
  family.stack().placement.first = {{"first_k_dense_replace"}, {}};
  family.stack().placement.every = {{"moe_layer_freq"}, 1};
  family.experts = {{"n_routed_experts"}, {}};
  family.router.epsilon = 1e-20;
  family.shared.kind = SharedKind::Plain;
  family.shared.width = {{"moe_intermediate_size"}, {}};
  family.shared.count = {{"n_shared_experts"}, {}};
  StringRef mlp = "model.layers.{L}.mlp.";
  Names rest = Names{{Role::Router, "gate.weight"}} + more +
               sharedExpert("shared_experts.");
  family.spellings = {{at(mlp, perExpert() + rest)},
                      {at(mlp, fusedExperts() + rest)}};
  return family;
}

Family model::deepseek() {
  Family family = makeDeepseek("deepseek");
  family.shared.count = {{"n_shared_experts"}, 0};
  family.router.normalize = {{"norm_topk_prob"}, false};
  family.router.normalizeSeveral = true;
  family.router.roundLogits = true;
  family.router.roundScores = true;
  family.router.roundWeights = true;
  family.choices = {fact("scoring_func", "softmax")};
  return family;
}

/// Only the groups with the largest scores are open.
static void limitGroups(Family &family) {
  family.router.filter = GroupFilter::Max;
  family.router.groups = {{"n_group"}, {}};
  family.router.keptGroups = {{"topk_group"}, {}};
}

Family model::deepseekV2() {
  Family family = makeDeepseek("deepseek_v2");
  family.shared.count = {{"n_shared_experts"}, 0};
  family.router.normalize = {{"norm_topk_prob"}, false};
  family.router.normalizeSeveral = true;
  family.router.scale = {{"routed_scaling_factor"}, 1.0};
  family.router.normalizeOrScale = true;
  family.choices = {fact("scoring_func", "softmax"),
                    {"topk_method",
                     "greedy",
                     {{"greedy"}, {"group_limited_greedy", limitGroups}}}};
  return family;
}

Family model::deepseekV3() {
  Family family = makeDeepseek(
      "deepseek_v3", {{Role::SelectBias, "gate.e_score_correction_bias"}});
  family.router.score = Score::Sigmoid;
  family.router.filter = GroupFilter::Top2Sum;
  family.router.groups = {{"n_group"}, {}};
  family.router.keptGroups = {{"topk_group"}, {}};
  family.router.normalize = {{"norm_topk_prob"}, true};
  family.router.scale = {{"routed_scaling_factor"}, {}};
  family.choices = {fact("scoring_func", "sigmoid"),
                    fact("topk_method", "noaux_tc")};
  return family;
}

Family model::longcatFlash() {
  Family family;
  family.modelType = "longcat_flash";
  family.stack().layers = {{"num_layers"}, {}};
  family.stack().width = {{"expert_ffn_hidden_size"}, {}};
  family.experts = {{"n_routed_experts"}, {}};
  family.identityExperts = {{"zero_expert_num"}, {}};
  family.topK = {{"moe_topk"}, {}};
  family.router.scale = {{"routed_scaling_factor"}, {}};
  family.choices = {fact("zero_expert_type", "identity"),
                    fact("router_bias", "false"),
                    fact("norm_topk_prob", "false")};
  StringRef mlp = "model.layers.{L}.mlp.";
  Names router = {{Role::Router, "router.classifier.weight"},
                  {Role::SelectBias, "router.e_score_correction_bias"}};
  family.spellings = {{at(mlp, router + perExpert())},
                      {at(mlp, router + fusedExperts())}};
  return family;
}
