//===- Logits.cpp - Families that choose by logits ------------------------===//
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

/// Logits and weights in the model's type, no scores.
static Family makeByLogits(StringRef modelType, WeightSource weights) {
  Family family;
  family.modelType = modelType;
  family.stack().width = {{"intermediate_size"}, {}};
  family.experts = {{"num_local_experts"}, {}};
  family.router.score = Score::None;
  family.router.weights = weights;
  family.router.roundLogits = true;
  family.router.roundWeights = true;
  return family;
}

Family model::gptOss() {
  Family family = makeByLogits("gpt_oss", WeightSource::Softmax);
  family.topK = {{"num_experts_per_tok", "experts_per_token"}, {}};
  // hidden_act says silu, but the code has this.
  family.gating = Gating::Clamped;
  family.alpha = {{"swiglu_alpha"}, 1.702};
  family.limit = {{"swiglu_limit"}, 7.0};
  StringRef mlp = "model.layers.{L}.mlp.";
  Names rest = {{Role::Router, "router.weight"},
                {Role::RouterBias, "router.bias"},
                {Role::GateUpBias, "experts.gate_up_proj_bias", Interleaved},
                {Role::DownBias, "experts.down_proj_bias"}};
  Names plain = {
      {Role::GateUp, "experts.gate_up_proj", Transposed | Interleaved},
      {Role::Down, "experts.down_proj", Transposed}};
  // Blocks lie along the inputs, so the quantised form is not transposed.
  Names blocks = {{Role::GateUp, "experts.gate_up_proj", Interleaved},
                  {Role::Down, "experts.down_proj"}};
  family.spellings = {{at(mlp, plain + rest)},
                      {at(mlp, blocks + rest), "mxfp4"}};
  return family;
}

Family model::jetmoe() {
  Family family = makeByLogits("jetmoe", WeightSource::Softmax);
  family.activation = {{"activation_function"}, "silu"};
  family.spellings = {
      {at("model.layers.{L}.mlp.", {{Role::Router, "router.layer.weight"},
                                    {Role::GateUp, "input_linear.weight"},
                                    {Role::Down, "output_linear.weight"},
                                    {Role::OutputBias, "bias"}})}};
  return family;
}

Family model::phimoe() {
  Family family = makeByLogits("phimoe", WeightSource::Sparsemixer);
  family.router.jitter = {{"router_jitter_noise"}, 0.01};
  family.choices = {fact("num_experts_per_tok", "2")};
  family.spellings = {
      {at("model.layers.{L}.block_sparse_moe.",
          Names{{Role::Router, "gate.weight"}} + perExpert("w1", "w3", "w2"))},
      {at("model.layers.{L}.mlp.",
          Names{{Role::Router, "router.weight"}} + fusedExperts())}};
  return family;
}

Family model::llama4Text() {
  Family family = makeByLogits("llama4_text", WeightSource::Sigmoid);
  family.router.appliesToInput = true;
  Stack &stack = family.stack();
  stack.prefix = "model.layers.{L}.feed_forward.";
  stack.placement.every = {{"interleave_moe_layer_step"}, 1};
  stack.placement.phase = {{}, -1};
  stack.placement.listed = "moe_layers";
  family.shared.kind = SharedKind::Plain;
  family.shared.width = {{"intermediate_size"}, {}};
  family.spellings = {
      {at("{S}", Names{{Role::Router, "router.weight"},
                       {Role::GateUp, "experts.gate_up_proj", Transposed},
                       {Role::Down, "experts.down_proj", Transposed}} +
                     sharedExpert("shared_expert."))}};
  return family;
}

Family model::llama4() {
  Family family = llama4Text();
  family.modelType = "llama4";
  family.root = "text_config";
  family.stack().prefix = "language_model.model.layers.{L}.feed_forward.";
  return family;
}
