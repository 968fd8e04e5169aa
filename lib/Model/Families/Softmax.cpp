//===- Softmax.cpp - Families that choose by the softmax over all experts -===//
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

static Names gate() { return {{Role::Router, "gate.weight"}}; }

/// `mlp.gate` and experts of three matrices, apart or fused.
static std::vector<Spelling> underMlp(const Names &rest = {}) {
  StringRef mlp = "model.layers.{L}.mlp.";
  return {{at(mlp, gate() + perExpert() + rest)},
          {at(mlp, gate() + fusedExperts() + rest)}};
}

Family model::mixtral() {
  Family family;
  family.modelType = "mixtral";
  family.stack().width = {{"intermediate_size"}, {}};
  family.experts = {{"num_local_experts"}, {}};
  family.router.normalize = {{}, true};
  family.router.roundLogits = true;
  family.spellings = {{at("model.layers.{L}.block_sparse_moe.",
                          gate() + perExpert("w1", "w3", "w2"))},
                      underMlp()[1]};
  return family;
}

Family model::olmoe() {
  Family family;
  family.modelType = "olmoe";
  family.stack().width = {{"intermediate_size"}, {}};
  family.experts = {{"num_experts"}, {}};
  family.router.normalize = {{"norm_topk_prob"}, false};
  family.router.roundLogits = true;
  family.router.roundWeights = true;
  family.spellings = underMlp();
  return family;
}

Family model::qwen3Moe() {
  Family family = olmoe();
  family.modelType = "qwen3_moe";
  family.stack().width = {{"moe_intermediate_size"}, {}};
  family.stack().placement.every = {{"decoder_sparse_step"}, 1};
  family.stack().placement.phase = {{}, -1};
  family.stack().placement.dense = "mlp_only_layers";
  family.experts = {{"num_experts", "num_local_experts"}, {}};
  return family;
}

Family model::qwen2Moe() {
  Family family = qwen3Moe();
  family.modelType = "qwen2_moe";
  family.shared.kind = SharedKind::Gated;
  family.shared.width = {{"shared_expert_intermediate_size"}, {}};
  family.spellings =
      underMlp(sharedExpert("shared_expert.") +
               Names{{Role::SharedScale, "shared_expert_gate.weight"}});
  return family;
}

Family model::qwen3Next() {
  Family family = qwen2Moe();
  family.modelType = "qwen3_next";
  family.router.normalize = {{"norm_topk_prob"}, true};
  return family;
}

Family model::jamba() {
  Family family;
  family.modelType = "jamba";
  family.stack().width = {{"intermediate_size"}, {}};
  family.stack().placement.every = {{"expert_layer_period"}, 2};
  family.stack().placement.phase = {{"expert_layer_offset"}, 1};
  family.experts = {{"num_experts"}, {}};
  family.router.roundLogits = true;
  family.router.roundWeights = true;
  StringRef block = "model.layers.{L}.feed_forward.";
  Names router = {{Role::Router, "router.weight"}};
  family.spellings = {{at(block, router + perExpert())},
                      {at(block, router + fusedExperts())}};
  return family;
}

Family model::grok1() {
  Family family;
  family.modelType = "grok-1";
  family.stack().width = {{"intermediate_size"}, {}};
  family.experts = {{"num_experts"}, {}};
  // Not in config.json: JAX's default.
  family.activation = {{}, "gelu_pytorch_tanh"};
  family.router.roundWeights = true;
  Names experts = {{Role::Gate, "{E}.linear.weight"},
                   {Role::Up, "{E}.linear_v.weight"},
                   {Role::Down, "{E}.linear_1.weight"}};
  family.spellings = {
      {at("transformer.decoder_layer.{L}.",
          Names{{Role::Router, "router.weight"}} + at("moe.", experts))},
      {at("model.layers.{L}.moe_block.", gate() + at("experts.", experts))}};
  return family;
}

/// `moe_normalize_expert_weights`: the p of the norm, 0 or null for none.
static void normalizeBy1(Family &family) {
  family.router.normalize = {{}, true};
  family.router.norm = 1;
}
static void normalizeBy2(Family &family) {
  family.router.normalize = {{}, true};
  family.router.norm = 2;
}

Family model::dbrx() {
  Family family;
  family.modelType = "dbrx";
  family.hidden = {{"d_model"}, {}};
  family.stack().layers = {{"n_layers"}, {}};
  family.stack().width = {{"ffn_config.ffn_hidden_size"}, {}};
  family.experts = {{"ffn_config.moe_num_experts"}, {}};
  family.topK = {{"ffn_config.moe_top_k"}, {}};
  family.activation = {{"ffn_config.ffn_act_fn.name"}, "silu"};
  family.router.roundLogits = true;
  family.router.roundWeights = true;
  family.choices = {
      {"ffn_config.moe_normalize_expert_weights",
       "1",
       {{"1", normalizeBy1}, {"2", normalizeBy2}, {"0"}, {"null"}}}};
  family.spellings = {
      {at("transformer.blocks.{L}.ffn.",
          {{Role::Router, "router.layer.weight"},
           {Role::Gate, "experts.mlp.w1", Merged},
           {Role::Up, "experts.mlp.v1", Merged},
           {Role::Down, "experts.mlp.w2", Merged | Transposed}})}};
  return family;
}
