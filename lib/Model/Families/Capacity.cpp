//===- Capacity.cpp - Families whose experts have a capacity --------------===//
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

/// An expert of two matrices, `<first>.weight` and `<second>.weight`.
static Names ungated(StringRef first, StringRef second, bool biases = false) {
  Names names = {{Role::Gate, (first + ".weight").str()},
                 {Role::Down, (second + ".weight").str()}};
  if (biases)
    names = names + Names{{Role::GateBias, (first + ".bias").str()},
                          {Role::DownBias, (second + ".bias").str()}};
  return names;
}

static Names router(StringRef name) { return {{Role::Router, name.str()}}; }

//===----------------------------------------------------------------------===//
// Encoders with decoders
//===----------------------------------------------------------------------===//

Family model::switchTransformers() {
  Family family;
  family.modelType = "switch_transformers";
  Stack encoder, decoder;
  encoder.name = "encoder.layers";
  encoder.prefix = "encoder.block.{L}.layer.1.mlp.";
  encoder.layers = {{"num_layers"}, {}};
  encoder.width = {{"d_ff"}, {}};
  encoder.placement.every = {{"encoder_sparse_step"}, {}};
  encoder.placement.phase = {{}, 1};
  decoder = encoder;
  decoder.name = "decoder.layers";
  decoder.prefix = "decoder.block.{L}.layer.2.mlp.";
  decoder.layers = {{"num_decoder_layers"}, {}};
  decoder.placement.every = {{"decoder_sparse_step"}, {}};
  family.stacks = {encoder, decoder};
  family.hidden = {{"d_model"}, {}};
  family.experts = {{"num_experts"}, {}};
  family.topK = {{}, 1};
  family.activation = {{"dense_act_fn"}, "relu"};
  family.router.roundScores = true;
  Capacity capacity;
  capacity.kind = CapacityKind::Slots;
  capacity.slots = {{"expert_capacity"}, {}};
  family.router.capacity = capacity;
  family.choices = {
      fact("num_selected_experts", "1"), fact("router_type", "tokens_masked"),
      fact("router_dtype", "float32"), fact("router_bias", "false")};
  StringRef experts = "experts.expert_{E}.";
  Names gate = router("router.classifier.weight");
  family.spellings = {
      {at("{S}", gate + at(experts, ungated("wi", "wo")))},
      {at("{S}", gate + at(experts, {{Role::Gate, "wi_0.weight"},
                                     {Role::Up, "wi_1.weight"},
                                     {Role::Down, "wo.weight"}}))}};
  return family;
}

/// What is dropped depends on scores, weights are normalised ones: no policy
/// tells them apart.
static void normalizeBeforeDrop(Family &family) {
  StringRef because =
      "with 'normalize_router_prob_before_dropping' the reference decides by "
      "scores that are not normalised, a policy by those that are";
  StringRef fix = "set one of the two keys back to its default";
  family.choices.push_back(
      {"second_expert_policy", "all", {{"all"}}, because, fix});
  family.choices.push_back(
      {"batch_prioritized_routing", "false", {{"false"}}, because, fix});
}

Family model::nllbMoe() {
  Family family;
  family.modelType = "nllb-moe";
  Stack encoder, decoder;
  encoder.name = "encoder.layers";
  encoder.prefix = "model.encoder.layers.{L}.ffn.";
  encoder.layers = {{"encoder_layers"}, {}};
  encoder.width = {{"encoder_ffn_dim"}, {}};
  encoder.placement.every = {{"encoder_sparse_step"}, {}};
  encoder.placement.phase = {{}, -1};
  decoder.name = "decoder.layers";
  decoder.prefix = "model.decoder.layers.{L}.ffn.";
  decoder.layers = {{"decoder_layers"}, {}};
  decoder.width = {{"decoder_ffn_dim"}, {}};
  decoder.placement.every = {{"decoder_sparse_step"}, {}};
  decoder.placement.phase = {{}, -1};
  family.stacks = {encoder, decoder};
  family.hidden = {{"d_model"}, {}};
  family.experts = {{"num_experts"}, {}};
  family.topK = {{}, 2};
  family.activation = {{"activation_function"}, "relu"};
  // The first expert is that of the largest rounded score, the second that of
  // the largest logit of the others. Scores as they are choose the same two but
  // for a tie of three rounded scores at the top; rounded ones would let their
  // ties choose the second expert, too. What priority tied tokens have the
  // reference's sort leaves open. Weights are rounded before the scale, which
  // the policy cannot say; not rounding at all is nearer to it than rounding
  // afterwards.
  family.router.normalize = {{}, true};
  family.router.atLeast = Router::AtLeast::ModelType;
  family.router.dropout = {{"moe_token_dropout"}, 0.2};
  Capacity capacity;
  capacity.kind = CapacityKind::Tokens;
  capacity.factor = {{"moe_eval_capacity_token_fraction"}, 1.0};
  capacity.slots = {{"expert_capacity"}, {}};
  family.router.capacity = capacity;
  family.choices = {
      fact("router_bias", "false"),
      fact("router_dtype", "float32"),
      // Not 'sampling', whose noise comes before the softmax.
      {"second_expert_policy",
       "all",
       {{"all"},
        {"random",
         [](Family &family) {
           // Stays when a random number is less than twice the weight.
           family.router.keep = Keep::Random;
           family.router.keepBound = {{}, 0.5};
         }}}},
      {"normalize_router_prob_before_dropping",
       "false",
       {{"false", [](Family &family) { family.router.afterDrop = true; }},
        {"true", normalizeBeforeDrop}}},
      {"batch_prioritized_routing",
       "false",
       {{"false"}, {"true", [](Family &family) {
                      family.router.capacity->order = DropOrder::Priority;
                    }}}}};
  family.spellings = {
      {at("{S}", router("router.classifier.weight") +
                     at("experts.expert_{E}.", ungated("fc1", "fc2", true)))}};
  return family;
}

//===----------------------------------------------------------------------===//
// Language models
//===----------------------------------------------------------------------===//

/// The second expert stays for a reason.
template <Keep keep> static void keepSecond(Family &family) {
  family.router.keep = keep;
  family.router.keepBound = {{"second_expert_threshold"}, 0.2};
}

Family model::gshard() {
  Family family;
  family.modelType = "gshard";
  family.stack().width = {{"intermediate_size"}, {}};
  family.stack().placement.every = {{"moe_layer_step"}, 2};
  family.stack().placement.phase = {{}, -1};
  family.experts = {{"num_experts"}, {}};
  family.topK = {{"num_experts_per_tok"}, 2};
  family.activation = {{"hidden_act"}, "relu"};
  family.router.roundWeights = true;
  family.router.normalize = {{}, true};
  family.router.epsilon = 1e-9;
  Capacity capacity;
  capacity.factor = {{"capacity_factor"}, {}};
  capacity.factorPerToken = true;
  capacity.roundDown = true;
  capacity.minimum = {{"min_capacity"}, 4};
  capacity.multiple = {{"capacity_multiple"}, 4};
  family.router.capacity = capacity;
  family.choices = {fact("num_experts_per_tok", "2"),
                    {"second_expert_policy",
                     "all",
                     {{"all"},
                      {"threshold", keepSecond<Keep::Threshold>},
                      {"random", keepSecond<Keep::Random>}}},
                    {"normalize_before_dropping",
                     "true",
                     {{"true"}, {"false", [](Family &family) {
                                   family.router.afterDrop = true;
                                 }}}}};
  family.spellings = {
      {at("layers.{L}.moe.",
          router("gate.weight") + at("experts.{E}.", ungated("wi", "wo")))}};
  return family;
}

/// PR-MoE: a dense MLP beside the experts.
static void mixResidual(Family &family) {
  family.shared.kind = SharedKind::Mixed;
  family.shared.width = {{"ffn_hidden_size"}, {}};
  const Names residual = at("language_model.encoder.layers.{L}.mlp.",
                            {{Role::SharedGate, "mlp.dense_h_to_4h.weight"},
                             {Role::SharedDown, "mlp.dense_4h_to_h.weight"},
                             {Role::Mix, "coefficient.weight"},
                             {Role::MixBias, "coefficient.bias"}});
  const Names biases = at("language_model.encoder.layers.{L}.mlp.",
                          {{Role::SharedGateBias, "mlp.dense_h_to_4h.bias"},
                           {Role::SharedDownBias, "mlp.dense_4h_to_h.bias"}});
  family.spellings[0].names = family.spellings[0].names + residual + biases;
  family.spellings[1].names = family.spellings[1].names + residual;
}

/// DeepSpeed lets random numbers decide, in inference, too, unless told not to.
static Choice notRandom(StringRef key) {
  return {key,
          "true",
          {{"false"}},
          "without 'false', and without the key, random numbers decide",
          "set the key to false to run the model without random numbers"};
}

Family model::deepspeedMoe() {
  Family family;
  family.modelType = "deepspeed_moe";
  family.stack().layers = {{"num_layers"}, {}};
  family.stack().width = {{"ffn_hidden_size"}, {}};
  family.stack().placement.every = {{"expert_interval"}, 2};
  family.stack().placement.phase = {{}, -1};
  family.experts = {{"num_experts"}, {}};
  family.listsExperts = true;
  family.topK = {{"topk"}, 1};
  family.activation = {{"activation_function"}, "gelu"};
  family.router.roundWeights = true;
  family.choices = {
      {"topk",
       "1",
       {{"1",
         [](Family &family) {
           family.choices.push_back(notRandom("use_rts"));
         }},
        {"2",
         [](Family &family) {
           family.router.normalize = {{}, true};
           family.router.atLeast = Router::AtLeast::F32;
           family.router.afterDrop = true;
           family.choices.push_back(notRandom("moe_top2_2nd_expert_sampling"));
         }}}},
      {"moe_token_dropping",
       "true",
       {{"false"},
        {"true",
         [](Family &family) {
           Capacity capacity;
           capacity.factor = {{"moe_eval_capacity_factor"}, 1.0};
           capacity.minimum = {{"moe_min_capacity"}, 4};
           family.router.capacity = capacity;
         }}}},
      {"mlp_type", "standard", {{"standard"}, {"residual", mixResidual}}}};
  auto spelling = [](bool biases) {
    return at("language_model.encoder.layers.{L}.mlp.deepspeed_moe.",
              router("gate.wg.weight") +
                  at("experts.deepspeed_experts.{E}.",
                     ungated("dense_h_to_4h", "dense_4h_to_h", biases)));
  };
  family.spellings = {{spelling(true)}, {spelling(false)}};
  return family;
}

//===----------------------------------------------------------------------===//
// Vision
//===----------------------------------------------------------------------===//

Family model::vmoe() {
  Family family;
  family.modelType = "vmoe";
  Stack &stack = family.stack();
  stack.layers = {{"encoder.num_layers"}, {}};
  stack.width = {{"encoder.mlp_dim"}, {}};
  stack.placement.listed = "encoder.moe.layers";
  // Without a list every second layer, as in the paper's "every 2".
  stack.placement.every = {{}, 2};
  stack.placement.phase = {{}, -1};
  family.experts = {{"encoder.moe.num_experts"}, {}};
  family.topK = {{"encoder.moe.router.num_selected_experts"}, {}};
  // flax.linen.gelu.
  family.activation = {{}, "gelu_pytorch_tanh"};
  family.router.roundLogits = true;
  family.router.roundScores = true;
  Capacity capacity;
  capacity.factor = {{"encoder.moe.router.dispatcher.capacity_factor"}, {}};
  capacity.multiple = {{}, 4};
  family.router.capacity = capacity;
  family.choices = {{"encoder.moe.router.dispatcher.batch_priority",
                     "false",
                     {{"false"}, {"true", [](Family &family) {
                                    family.router.capacity->order =
                                        DropOrder::Priority;
                                  }}}}};
  family.spellings = {{at("Encoder/encoderblock_{L}/Moe/",
                          {{Role::Router, "Router/dense/kernel", Transposed},
                           {Role::Gate, "Mlp/Dense_0/kernel", Transposed},
                           {Role::GateBias, "Mlp/Dense_0/bias"},
                           {Role::Down, "Mlp/Dense_1/kernel", Transposed},
                           {Role::DownBias, "Mlp/Dense_1/bias"}})}};
  return family;
}

Family model::limoe() {
  Family family = vmoe();
  family.modelType = "limoe";
  return family;
}
