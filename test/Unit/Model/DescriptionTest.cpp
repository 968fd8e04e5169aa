//===- DescriptionTest.cpp - What the importer makes of a model -----------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ModelTest.h"

using namespace mlir;
using namespace mlir::moe;

static std::string golden(StringRef name) {
  return (MOE_GOLDEN_DIR "/" + name).str();
}

/// Prints the module when the text misses a piece.
#define EXPECT_SAYS(imported, piece)                                           \
  EXPECT_TRUE(StringRef((imported).text).contains(piece))                      \
      << "missing: " << (piece) << "\nin: " << (imported).error                \
      << (imported).text

//===----------------------------------------------------------------------===//
// Families
//===----------------------------------------------------------------------===//

TEST(Describe, MixtralF32) {
  Imported model(golden("mixtral-f32"));
  EXPECT_SAYS(model,
              "moe.model = {activation = \"silu\", arch = \"mixtral\", dtype = "
              "f32, experts = 5 : i64, hidden = 40 : i64, layers = 2 : i64, "
              "moe_layers = array<i64: 0, 1>, name = \"mixtral-f32\", "
              "shared_width = 0 : i64, top_k = 2 : i64, width = 28 : i64}");
  EXPECT_SAYS(model, "func.func @layers.0.mlp(%arg0: tensor<?x40xf32> "
                     "{moe.name = \"x\"}) -> (tensor<?x40xf32> {moe.name = "
                     "\"y\"}) attributes {moe.layer = 0 : i64}");
  EXPECT_SAYS(model, "moe.weight @layers.1.gate : tensor<5x28x40xf32> from "
                     "[\"model.layers.1.block_sparse_moe.experts.{0..4}.w1."
                     "weight\"] stack\n");
  EXPECT_SAYS(model, "moe.weight @layers.1.up : tensor<5x28x40xf32> from "
                     "[\"model.layers.1.block_sparse_moe.experts.{0..4}.w3."
                     "weight\"] stack\n");
  EXPECT_SAYS(model, "moe.weight @layers.1.down : tensor<5x40x28xf32> from "
                     "[\"model.layers.1.block_sparse_moe.experts.{0..4}.w2."
                     "weight\"] stack\n");
  // f32 models round nothing.
  EXPECT_SAYS(model, "policy<score = softmax, top_k = 2, normalize> :");
  EXPECT_EQ(model.count("round"), 0u);
  EXPECT_EQ(model.count("truncf"), 0u);
  EXPECT_EQ(model.count("func.func"), 2u);
}

// bf16: logits are rounded as in the reference, weights stay f32.
TEST(Describe, MixtralBf16) {
  Imported model(golden("mixtral-bf16"));
  EXPECT_SAYS(model, "round bf16 : tensor<?x40xbf16>, tensor<5x40xbf16> -> "
                     "tensor<?x5xf32>");
  EXPECT_SAYS(model, "policy<score = softmax, top_k = 2, normalize> :");
  // Activation and output row, in each of two layers.
  EXPECT_EQ(model.count("arith.truncf"), 4u);
  EXPECT_EQ(model.count("linalg.matmul"), 6u);
}

// gate_up_proj holds the gate rows first.
TEST(Describe, FusedNames) {
  Imported model(golden("mixtral-f32-fused"));
  EXPECT_SAYS(model, "moe.weight @layers.0.router : tensor<5x24xf32> from "
                     "[\"model.layers.0.mlp.gate.weight\"]\n");
  EXPECT_SAYS(model, "moe.weight @layers.0.gate : tensor<5x20x24xf32> from "
                     "[\"model.layers.0.mlp.experts.gate_up_proj\"] split [1, "
                     "0, 20, 1, 40]\n");
  EXPECT_SAYS(model, "moe.weight @layers.0.up : tensor<5x20x24xf32> from "
                     "[\"model.layers.0.mlp.experts.gate_up_proj\"] split [1, "
                     "20, 40, 1, 40]\n");
  EXPECT_SAYS(model, "moe.weight @layers.0.down : tensor<5x24x20xf32> from "
                     "[\"model.layers.0.mlp.experts.down_proj\"]\n");
}

// Two shards; not normalised; weights rounded.
TEST(Describe, Olmoe) {
  Imported model(golden("olmoe-bf16"));
  EXPECT_SAYS(model, "[\"model.layers.0.mlp.experts.{0..4}.gate_proj.weight\"]"
                     " stack\n");
  EXPECT_SAYS(model,
              "policy<score = softmax, top_k = 3, round_weights = bf16> :");
}

// Layers 1 (listed as dense) and 0, 2, 4 (by the step) are dense.
TEST(Describe, Qwen2Sparse) {
  Imported model(golden("qwen2_moe-bf16-sparse"));
  EXPECT_SAYS(model, "layers = 6 : i64, moe_layers = array<i64: 3, 5>");
  EXPECT_SAYS(model, "shared_width = 19 : i64");
  EXPECT_EQ(model.count("func.func"), 2u);
  EXPECT_SAYS(model, "func.func @layers.3.mlp");
  EXPECT_SAYS(model, "func.func @layers.5.mlp");
  EXPECT_SAYS(model, "moe.weight @layers.3.shared.gate : tensor<1x19x26xbf16> "
                     "from [\"model.layers.3.mlp.shared_expert.gate_proj."
                     "weight\"] stack\n");
  EXPECT_SAYS(model, "moe.weight @layers.3.shared.scale : tensor<1x26xbf16> "
                     "from [\"model.layers.3.mlp.shared_expert_gate.weight\"]");
  EXPECT_SAYS(model, "tensor<1x26xbf16> -> tensor<?x1xf32>");
  EXPECT_EQ(model.count("moe.assign_all %arg0 weights("), 2u);
}

TEST(Describe, Qwen3) {
  Imported model(golden("qwen3_moe-bf16-fused"));
  EXPECT_SAYS(model, "policy<score = softmax, top_k = 4, normalize, "
                     "round_weights = bf16> :");
  EXPECT_EQ(model.count("moe.assign_all"), 0u);
}

// Layer 0 is dense; logits and weights stay f32; the shared experts are one
// MLP without a gate.
TEST(Describe, DeepseekV3) {
  Imported model(golden("deepseek_v3-bf16"));
  EXPECT_SAYS(model, "layers = 3 : i64, moe_layers = array<i64: 1, 2>");
  EXPECT_SAYS(model, "moe.weight @layers.1.select_bias : tensor<12xf32> from "
                     "[\"model.layers.1.mlp.gate.e_score_correction_bias\"]");
  // 1e-20 as the nearest f32.
  EXPECT_SAYS(model, "policy<score = sigmoid, groups = 3 keep 2 by top2_sum, "
                     "top_k = 3, normalize epsilon 9.99999968");
  EXPECT_SAYS(model, "-21, scale = 2.5> :");
  EXPECT_SAYS(model, "moe.weight @layers.1.shared.down : tensor<1x40x42xbf16>");
  EXPECT_SAYS(model, "moe.assign_all %arg0 : tensor<?x40xbf16>");
  EXPECT_EQ(model.count("round"), 0u);
}

// Every committed directory imports; each function's name tells its layer.
TEST(Describe, AllGoldenDirectories) {
  std::error_code error;
  size_t seen = 0;
  for (llvm::sys::fs::directory_iterator it(MOE_GOLDEN_DIR, error), end;
       it != end && !error; it.increment(error)) {
    if (!llvm::sys::fs::exists(it->path() + "/config.json"))
      continue;
    ++seen;
    Imported model(it->path());
    EXPECT_TRUE(model.module) << it->path() << "\n" << model.error;
    EXPECT_SAYS(model, "name = \"" +
                           llvm::sys::path::filename(it->path()).str() + "\"");
  }
  EXPECT_GE(seen, 16u);
}

//===----------------------------------------------------------------------===//
// Rules
//===----------------------------------------------------------------------===//

// Keeping every group filters nothing; without normalisation no epsilon.
TEST(Describe, DeepseekWithoutGroups) {
  ModelDirectory dir;
  makeDeepseek(dir);
  dir.set("topk_group", "4")
      .set("norm_topk_prob", "false")
      .set("routed_scaling_factor", "1");
  dir.write();
  Imported model(dir.path);
  EXPECT_SAYS(model, "policy<score = sigmoid, top_k = 3> :");
}

TEST(Describe, DeepseekWithoutSharedExperts) {
  ModelDirectory dir;
  makeDeepseek(dir);
  dir.set("n_shared_experts", "0");
  dir.write();
  Imported model(dir.path);
  EXPECT_SAYS(model, "shared_width = 0 : i64");
  EXPECT_EQ(model.count("moe.combine"), 1u);
}

// Of layers 1 to 6 every third: 3 and 6.
TEST(Describe, MoeLayerFrequency) {
  ModelDirectory dir;
  makeDeepseek(dir);
  std::map<std::string, moert::TensorSpec> block;
  block.swap(dir.tensors);
  for (const auto &[name, spec] : block)
    for (const char *layer : {"3", "6"}) {
      std::string renamed = name;
      renamed.replace(renamed.find(".1."), 3, "." + std::string(layer) + ".");
      dir.add(renamed, spec.dtype, spec.shape);
    }
  dir.set("num_hidden_layers", "7").set("moe_layer_freq", "3");
  dir.write();
  Imported model(dir.path);
  EXPECT_SAYS(model, "moe_layers = array<i64: 3, 6>");
}

TEST(Describe, RouterInF32) {
  ImportOptions options;
  options.routerF32 = true;
  Imported model(golden("olmoe-bf16"), options);
  EXPECT_SAYS(model, "policy<score = softmax, top_k = 3> :");
  EXPECT_EQ(model.count("round bf16"), 0u);
}

TEST(Describe, ChosenLayers) {
  ImportOptions options;
  options.layers = {5};
  Imported model(golden("qwen2_moe-f32-sparse"), options);
  EXPECT_EQ(model.count("func.func"), 1u);
  EXPECT_SAYS(model, "func.func @layers.5.mlp");
  EXPECT_SAYS(model, "moe_layers = array<i64: 3, 5>");
}

TEST(Describe, MaxTokens) {
  ImportOptions options;
  options.maxTokens = 4096;
  Imported model(golden("mixtral-f32-fused"), options);
  EXPECT_SAYS(model, "module attributes {moe.max_tokens = 4096 : i64, ");
}

TEST(Describe, Activations) {
  for (auto [name, op] :
       {std::pair("gelu", "math.erf"),
        std::pair("gelu_pytorch_tanh", "math.tanh"),
        std::pair("relu", "arith.maximumf"), std::pair("swish", "math.exp")}) {
    ModelDirectory dir;
    makeMixtral(dir);
    dir.set("hidden_act", "\"" + std::string(name) + "\"");
    dir.write();
    Imported model(dir.path);
    EXPECT_SAYS(model, op);
  }
}

// Tensors of other parts of the model, of any type, are nobody's business.
TEST(Describe, WholeCheckpoint) {
  ModelDirectory dir;
  makeMixtral(dir);
  dir.write();
  std::string blocksOnly = Imported(dir.path).text;
  dir.add("model.embed_tokens.weight", moert::DType::F16, {64, 24})
      .add("model.layers.0.self_attn.q_proj.weight", moert::DType::I8, {24, 24})
      .add("model.layers.2.block_sparse_moe.gate.weight", moert::DType::F32,
           {7});
  dir.write();
  EXPECT_EQ(Imported(dir.path).text, blocksOnly);
  EXPECT_FALSE(blocksOnly.empty());
}

// Spellings may differ between layers; the one with the most tensors wins.
TEST(Describe, SpellingPerLayer) {
  ModelDirectory dir;
  makeMixtral(dir);
  for (auto it = dir.tensors.begin(); it != dir.tensors.end();)
    it = StringRef(it->first).contains("layers.1.") ? dir.tensors.erase(it)
                                                    : std::next(it);
  dir.add("model.layers.1.mlp.gate.weight", moert::DType::BF16, {5, 24})
      .add("model.layers.1.mlp.experts.gate_up_proj", moert::DType::BF16,
           {5, 40, 24})
      .add("model.layers.1.mlp.experts.down_proj", moert::DType::BF16,
           {5, 24, 20});
  dir.write();
  Imported model(dir.path);
  EXPECT_SAYS(model, "@layers.0.down : tensor<5x24x20xbf16> from "
                     "[\"model.layers.0.block_sparse_moe.experts.{0..4}.w2");
  EXPECT_SAYS(model, "@layers.1.down : tensor<5x24x20xbf16> from "
                     "[\"model.layers.1.mlp.experts.down_proj\"]");
}

// The name is that of the directory however it is written.
TEST(Describe, NameOfDirectory) {
  EXPECT_SAYS(Imported(golden("mixtral-f32/")), "name = \"mixtral-f32\"");
  EXPECT_SAYS(Imported(golden("olmoe-f32/../mixtral-f32/.")),
              "name = \"mixtral-f32\"");
}

TEST(Describe, KnownModelTypes) {
  SmallVector<StringRef> types = getKnownModelTypes();
  EXPECT_TRUE(llvm::is_sorted(types));
  EXPECT_TRUE(llvm::is_contained(types, "deepseek_v3"));
}
