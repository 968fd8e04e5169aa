//===- Families.cpp - The table of families -------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// One row per value of `model_type`. What the reference implementations do is
// written down in test/golden/README.md.
//
//===----------------------------------------------------------------------===//

#include "Family.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::model;

static Spelling operator+(Spelling a, const Spelling &b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// `{gate,up,down}_proj` of every expert, under `mlp`.
static const Spelling &perExpert() {
  static const Spelling names = {
      {Role::Router, "model.layers.{L}.mlp.gate.weight"},
      {Role::Gate, "model.layers.{L}.mlp.experts.{E}.gate_proj.weight"},
      {Role::Up, "model.layers.{L}.mlp.experts.{E}.up_proj.weight"},
      {Role::Down, "model.layers.{L}.mlp.experts.{E}.down_proj.weight"}};
  return names;
}

/// The same after transformers 5 has loaded it.
static const Spelling &fused() {
  static const Spelling names = {
      {Role::Router, "model.layers.{L}.mlp.gate.weight"},
      {Role::GateUp, "model.layers.{L}.mlp.experts.gate_up_proj"},
      {Role::Down, "model.layers.{L}.mlp.experts.down_proj"}};
  return names;
}

static Family mixtral() {
  Family family;
  family.modelType = "mixtral";
  family.width = {{"intermediate_size"}, {}};
  family.experts = {{"num_local_experts"}, {}};
  family.router.normalize = {{}, true};
  family.router.roundLogits = true;
  family.spellings = {
      {{Role::Router, "model.layers.{L}.block_sparse_moe.gate.weight"},
       {Role::Gate, "model.layers.{L}.block_sparse_moe.experts.{E}.w1.weight"},
       {Role::Up, "model.layers.{L}.block_sparse_moe.experts.{E}.w3.weight"},
       {Role::Down, "model.layers.{L}.block_sparse_moe.experts.{E}.w2.weight"}},
      fused()};
  return family;
}

static Family olmoe() {
  Family family;
  family.modelType = "olmoe";
  family.width = {{"intermediate_size"}, {}};
  family.experts = {{"num_experts"}, {}};
  family.router.normalize = {{"norm_topk_prob"}, false};
  family.router.roundLogits = true;
  family.router.roundWeights = true;
  family.spellings = {perExpert(), fused()};
  return family;
}

static Family qwen3Moe() {
  Family family;
  family.modelType = "qwen3_moe";
  family.width = {{"moe_intermediate_size"}, {}};
  family.experts = {{"num_experts", "num_local_experts"}, {}};
  family.placement.every = {{"decoder_sparse_step"}, 1};
  family.placement.offset = 1;
  family.placement.dense = "mlp_only_layers";
  family.router.normalize = {{"norm_topk_prob"}, false};
  family.router.roundLogits = true;
  family.router.roundWeights = true;
  family.spellings = {perExpert(), fused()};
  return family;
}

static Family qwen2Moe() {
  Family family = qwen3Moe();
  family.modelType = "qwen2_moe";
  family.shared.kind = SharedKind::Gated;
  family.shared.width = {{"shared_expert_intermediate_size"}, {}};
  const Spelling shared = {
      {Role::SharedGate, "model.layers.{L}.mlp.shared_expert.gate_proj.weight"},
      {Role::SharedUp, "model.layers.{L}.mlp.shared_expert.up_proj.weight"},
      {Role::SharedDown, "model.layers.{L}.mlp.shared_expert.down_proj.weight"},
      {Role::SharedScale, "model.layers.{L}.mlp.shared_expert_gate.weight"}};
  family.spellings = {perExpert() + shared, fused() + shared};
  return family;
}

static Family deepseekV3() {
  Family family;
  family.modelType = "deepseek_v3";
  family.width = {{"moe_intermediate_size"}, {}};
  family.experts = {{"n_routed_experts"}, {}};
  family.placement.first = {{"first_k_dense_replace"}, {}};
  family.placement.every = {{"moe_layer_freq"}, 1};
  family.router.score = Score::Sigmoid;
  family.router.filter = GroupFilter::Top2Sum;
  family.router.groups = {{"n_group"}, {}};
  family.router.keptGroups = {{"topk_group"}, {}};
  family.router.normalize = {{"norm_topk_prob"}, true};
  family.router.epsilon = 1e-20;
  family.router.scale = {{"routed_scaling_factor"}, {}};
  family.shared.kind = SharedKind::Plain;
  family.shared.width = {{"moe_intermediate_size"}, {}};
  family.shared.count = {{"n_shared_experts"}, {}};
  family.facts = {{"scoring_func", "sigmoid"}, {"topk_method", "noaux_tc"}};
  const Spelling rest = {
      {Role::SelectBias, "model.layers.{L}.mlp.gate.e_score_correction_bias"},
      {Role::SharedGate,
       "model.layers.{L}.mlp.shared_experts.gate_proj.weight"},
      {Role::SharedUp, "model.layers.{L}.mlp.shared_experts.up_proj.weight"},
      {Role::SharedDown,
       "model.layers.{L}.mlp.shared_experts.down_proj.weight"}};
  family.spellings = {perExpert() + rest, fused() + rest};
  return family;
}

ArrayRef<Family> model::getFamilies() {
  static const Family table[] = {deepseekV3(), mixtral(), olmoe(), qwen2Moe(),
                                 qwen3Moe()};
  return table;
}

const Family *model::findFamily(StringRef modelType) {
  for (const Family &family : getFamilies())
    if (family.modelType == modelType)
      return &family;
  return nullptr;
}
