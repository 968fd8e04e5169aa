//===- FamiliesTest.cpp - What the importer derives for each family -------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Policy, placement, shared experts and layouts of the golden directories. The
// numbers themselves are compared by test/Integration/golden-interpret.test.
//
//===----------------------------------------------------------------------===//

#include "ModelTest.h"

using namespace mlir;
using namespace mlir::moe;

namespace {

struct Expected {
  const char *directory;
  /// Of the module's description.
  const char *moeLayers;
  int64_t sharedWidth;
  /// Of the first block's policy, between the angle brackets.
  const char *policy;
  /// What else the module says.
  std::vector<const char *> pieces = {};
  /// What it must not say.
  std::vector<const char *> absent = {};
};

class Families : public testing::TestWithParam<Expected> {};

std::string nameOf(const testing::TestParamInfo<Expected> &info) {
  std::string name = info.param.directory;
  for (char &c : name)
    c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
}

const Expected expectations[] = {
    {"deepseek-bf16",
     "2, 4",
     26,
     "score = softmax, round_scores = bf16, top_k = 4, round_weights = bf16",
     {"@layers.2.shared.gate : tensor<1x26x36xbf16>", "round bf16"}},
    {"deepseek_v2-bf16",
     "1, 2",
     28,
     "score = softmax, groups = 4 keep 2 by max, top_k = 3, scale = 16.0",
     {},
     {"round bf16"}},
    {"deepseek_v2-bf16-lite", "1, 2", 22, "score = softmax, top_k = 4"},
    {"qwen3_next-bf16",
     "1, 3",
     19,
     "score = softmax, top_k = 4, normalize, round_weights = bf16",
     {"@layers.1.shared.scale : tensor<1x34xbf16>",
      "moe.assign_all %arg0 weights("}},
    {"jamba-bf16",
     "1, 3",
     0,
     "score = softmax, top_k = 2, round_weights = bf16",
     {"[\"model.layers.1.feed_forward.router.weight\"]"}},
    {"grok_1-bf16",
     "0, 1",
     0,
     "score = softmax, top_k = 2, round_weights = bf16",
     {"math.tanh",
      "@layers.1.up : tensor<8x24x35xbf16> from "
      "[\"transformer.decoder_layer.1.moe.{0..7}.linear_v.weight\"] stack"},
     {"round bf16"}},
    {"dbrx-bf16",
     "0, 1",
     0,
     "score = softmax, top_k = 4, normalize by 1, round_weights = bf16",
     {"@layers.0.gate : tensor<6x17x36xbf16> from "
      "[\"transformer.blocks.0.ffn.experts.mlp.w1\"] stored [102, 36]\n",
      "@layers.0.down : tensor<6x36x17xbf16> from "
      "[\"transformer.blocks.0.ffn.experts.mlp.w2\"] stored [102, 36] "
      "transpose\n"}},
    {"gpt_oss-bf16",
     "0, 1",
     0,
     "score = none, top_k = 3, weights = softmax, round_weights = bf16",
     {"experts.gate_up_proj\"] transpose split [2, 0, 44, 2, 44]\n",
      "experts.gate_up_proj\"] transpose split [2, 1, 44, 2, 44]\n",
      "@layers.0.up_bias : tensor<5x22xbf16> from "
      "[\"model.layers.0.mlp.experts.gate_up_proj_bias\"] split [1, 1, 44, 2, "
      "44]\n",
      "tensor<5x36xbf16>, tensor<5xbf16> -> tensor<?x5xf32>", "1.702",
      "arith.minimumf", "arith.maximumf"}},
    {"gpt_oss-bf16-mxfp4",
     "0, 1",
     0,
     "score = none, top_k = 3, weights = softmax, round_weights = bf16",
     {"@layers.0.gate : tensor<5x32x64xbf16> from "
      "[\"model.layers.0.mlp.experts.gate_up_proj_blocks\"] encoding",
      "mxfp4 scales [\"model.layers.0.mlp.experts.gate_up_proj_scales\"] "
      "stored [5, 64, 2, 16] split [1, 0, 64, 2, 64]\n",
      "scales [\"model.layers.0.mlp.experts.down_proj_scales\"] stored [5, 64, "
      "1, 16]\n"},
     {"transpose\n", "transpose split"}},
    {"phimoe-bf16", "0", 0,
     "score = none, top_k = 2, weights = sparsemixer jitter 0.00999999977, "
     "round_weights = bf16"},
    {"llama4_text-bf16",
     "1, 3",
     14,
     "score = none, top_k = 1, weights = sigmoid, round_weights = bf16",
     {"moe.dispatch %arg0 by %2 weighted", "by %2 unweighted",
      "gate_up_proj\"] transpose split [2, 14, 28, 1, 28]\n"}},
    {"llama4-bf16",
     "1, 3",
     14,
     "score = none, top_k = 1, weights = sigmoid, round_weights = bf16",
     {"[\"language_model.model.layers.1.feed_forward.router.weight\"]",
      "hidden = 36 : i64"}},
    {"longcat_flash-bf16",
     "0, 1",
     0,
     "score = softmax, top_k = 4, scale = 6.0",
     {"identity_experts = 3", "@layers.0.select_bias : tensor<9xf32>",
      "moe.restrict %3[0, 6]", "moe.restrict %3[6, 9]"},
     {"round bf16"}},
    {"jetmoe-bf16",
     "0, 1",
     0,
     "score = none, top_k = 2, weights = softmax, round_weights = bf16",
     {"@layers.0.output_bias : tensor<30xbf16>",
      "input_linear.weight\"] split [1, 17, 34, 1, 34]\n"}},
    {"switch_transformers-bf16",
     "1, 3, 5",
     0,
     "score = softmax, round_scores = bf16, top_k = 1, capacity = slots 4 by "
     "choice",
     {"layers = 6 : i64", "func.func @encoder.layers.3.mlp",
      "func.func @decoder.layers.1.mlp", "moe.layer = 5 : i64",
      "[\"decoder.block.1.layer.2.mlp.experts.expert_{0..5}.wo.weight\"]"},
     {"func.func @layers"}},
    {"nllb_moe-f32",
     "3, 5",
     0,
     "score = softmax, top_k = 2, normalize at_least 1.1920929E-7, scale = 0.8",
     {"@encoder.layers.3.gate_bias : tensor<6x19xf32>",
      "@decoder.layers.1.down_bias : tensor<6x28xf32>"}},
    {"nllb_moe-bf16-capacity", "3, 5", 0,
     "score = softmax, top_k = 2, normalize at_least 0.0078125 after_drop, "
     "scale = 0.8, capacity = tokens 0.3 by priority"},
    {"gshard-f32", "1, 3", 0,
     "score = softmax, top_k = 2, normalize epsilon 9.99999971E-10, capacity = "
     "factor 0.75 floor min 4 multiple 4 by choice"},
    {"deepspeed_moe-f32",
     "1, 3",
     17,
     "score = softmax, top_k = 1",
     {"layer_experts = array<i64: 4, 7>", "experts = 7 : i64",
      "@layers.1.router : tensor<4x28xf32>",
      "@layers.3.router : tensor<7x28xf32>",
      "@layers.1.mix.shared : tensor<1x28xf32> from "
      "[\"language_model.encoder.layers.1.mlp.coefficient.weight\"] split [0, "
      "1, 2, 1, 2]\n",
      "@layers.1.shared.gate_bias : tensor<1x17xf32>"}},
    {"deepspeed_moe-f32-top2",
     "1, 3",
     0,
     "score = softmax, top_k = 2, normalize at_least 1.1920929E-7 after_drop, "
     "capacity = factor 1.0 min 4 by choice",
     {},
     {"layer_experts", "mix"}},
    {"vmoe-bf16",
     "1, 3",
     0,
     "score = softmax, round_scores = bf16, top_k = 2, capacity = factor 1.05 "
     "multiple 4 by priority",
     {"[\"Encoder/encoderblock_1/Moe/Router/dense/kernel\"] transpose\n",
      "@layers.1.gate_bias : tensor<6x23xbf16>"},
     {"@layers.1.up"}},
    {"limoe-bf16", "2, 3", 0,
     "score = softmax, round_scores = bf16, top_k = 1, capacity = factor 1.05 "
     "multiple 4 by priority"}};

} // namespace

TEST_P(Families, AsItsReference) {
  const Expected &expected = GetParam();
  Imported model((MOE_GOLDEN_DIR "/" + StringRef(expected.directory)).str());
  ASSERT_TRUE(model.module) << model.error;
  std::vector<std::string> pieces = {
      "moe_layers = array<i64: " + std::string(expected.moeLayers) + ">",
      "shared_width = " + std::to_string(expected.sharedWidth) + " : i64",
      "policy<" + std::string(expected.policy) + "> :"};
  pieces.insert(pieces.end(), expected.pieces.begin(), expected.pieces.end());
  for (const std::string &piece : pieces)
    EXPECT_TRUE(StringRef(model.text).contains(piece))
        << "missing: " << piece << "\nin: " << model.text;
  for (const char *piece : expected.absent)
    EXPECT_EQ(model.count(piece), 0u) << piece << "\nin: " << model.text;
}

INSTANTIATE_TEST_SUITE_P(Golden, Families, testing::ValuesIn(expectations),
                         nameOf);

// Every family has a golden directory.
TEST(GoldenDirectories, EachFamilyHasSome) {
  std::set<std::string> seen;
  std::error_code error;
  for (llvm::sys::fs::directory_iterator it(MOE_GOLDEN_DIR, error), end;
       it != end && !error; it.increment(error)) {
    if (!llvm::sys::fs::exists(it->path() + "/config.json"))
      continue;
    Imported model(it->path());
    ASSERT_TRUE(model.module) << it->path() << "\n" << model.error;
    auto description =
        (*model.module)->getAttrOfType<DictionaryAttr>("moe.model");
    seen.insert(description.getAs<StringAttr>("arch").str());
  }
  for (StringRef type : getKnownModelTypes())
    EXPECT_TRUE(seen.count(type.str())) << type.str();
}

//===----------------------------------------------------------------------===//
// Choices
//===----------------------------------------------------------------------===//

namespace {

/// A golden directory whose config.json a test changes line by line.
class ChangedGolden {
public:
  explicit ChangedGolden(StringRef name)
      : golden((MOE_GOLDEN_DIR "/" + name).str()) {
    llvm::sys::fs::copy_file(golden + "/model.safetensors",
                             dir.path + "/model.safetensors");
    std::ifstream file(golden + "/config.json");
    text.assign(std::istreambuf_iterator<char>(file), {});
  }
  /// Replaces `"key": old` by `"key": value`.
  ChangedGolden &set(const std::string &key, const std::string &value) {
    size_t at = text.find("\"" + key + "\": ");
    if (at == std::string::npos) {
      text.insert(text.find('{') + 1, "\n \"" + key + "\": " + value + ",");
      return *this;
    }
    at += key.size() + 4;
    // The values that tests change are no lists or objects.
    size_t end = text.find_first_of(",\n", at);
    text.replace(at, end - at, value);
    return *this;
  }
  /// Removes the line of a key.
  ChangedGolden &drop(const std::string &key) {
    size_t at = text.find("\"" + key + "\": ");
    text.erase(at, text.find('\n', at) - at);
    return *this;
  }
  Imported import(const ImportOptions &options = {}) const {
    dir.writeFile("config.json", text);
    return Imported(dir.path, options);
  }
  std::string importError() const {
    dir.writeFile("config.json", text);
    return dir.importError();
  }

private:
  std::string golden, text;
  ModelDirectory dir;
};

} // namespace

#define EXPECT_SAYS(imported, piece)                                           \
  EXPECT_TRUE(StringRef((imported).text).contains(piece))                      \
      << "missing: " << (piece) << "\nin: " << (imported).error                \
      << (imported).text

// Normalised weights of DeepSeek-V2 are not scaled.
TEST(Choices, DeepseekV2Normalised) {
  Imported model =
      ChangedGolden("deepseek_v2-f32").set("norm_topk_prob", "true").import();
  EXPECT_SAYS(model, "keep 2 by max, top_k = 3, normalize epsilon 9.99999968");
  EXPECT_EQ(model.count("scale = 16"), 0u);
}

// A single weight is not divided by itself, and DeepSeek-V2 scales it.
TEST(Choices, DeepseekNormalisesSeveral) {
  ChangedGolden first("deepseek-f32"), second("deepseek_v2-f32");
  first.set("norm_topk_prob", "true");
  EXPECT_SAYS(first.import(), "top_k = 4, normalize epsilon 9.99999968");
  first.set("num_experts_per_tok", "1");
  EXPECT_SAYS(first.import(), "policy<score = softmax, top_k = 1> :");
  second.set("norm_topk_prob", "true").set("num_experts_per_tok", "1");
  EXPECT_SAYS(second.import(), "keep 2 by max, top_k = 1, scale = 16.0> :");
}

TEST(Choices, DbrxWithoutNorm) {
  for (std::string norm : {"null", "0", "0.0"}) {
    Imported model =
        ChangedGolden("dbrx-f32")
            .set("moe_top_k", "4, \"moe_normalize_expert_weights\": " + norm)
            .import();
    EXPECT_SAYS(model, "policy<score = softmax, top_k = 4> :");
  }
}

TEST(Choices, DbrxNorm2) {
  Imported model = ChangedGolden("dbrx-f32")
                       .set("moe_top_k", "4, \"moe_normalize_expert_weights\""
                                         ": 2.0")
                       .import();
  EXPECT_SAYS(model, "top_k = 4, normalize by 2> :");
}

// A list of layers takes the place of the step.
TEST(Choices, Llama4ListsLayers) {
  Imported model =
      ChangedGolden("llama4_text-f32").set("moe_layers", "[3, 1]").import();
  EXPECT_SAYS(model, "moe_layers = array<i64: 1, 3>");
  EXPECT_SAYS(
      ChangedGolden("llama4_text-f32").set("moe_layers", "[3]").import(),
      "moe_layers = array<i64: 3>");
}

// The limit and the slope of the clamped activation come from config.json.
TEST(Choices, GptOssLimit) {
  Imported model = ChangedGolden("gpt_oss-f32")
                       .set("swiglu_limit", "5.5")
                       .set("swiglu_alpha", "1.25")
                       .import();
  EXPECT_SAYS(model, "arith.constant 5.500000e+00 : f32");
  EXPECT_SAYS(model, "arith.constant -5.500000e+00 : f32");
  EXPECT_SAYS(model, "arith.constant 1.250000e+00 : f32");
}

// The random second expert takes its seed as an input.
TEST(Choices, NllbRandomSecondExpert) {
  Imported model = ChangedGolden("nllb_moe-f32")
                       .set("second_expert_policy", "\"random\"")
                       .import();
  EXPECT_SAYS(model, "tensor<1xi64> {moe.name = \"seed\"}");
  // Each layer draws numbers of its own.
  EXPECT_SAYS(model, "uniform seed(%arg1) like %1 stream 3 :");
  EXPECT_SAYS(model, "uniform seed(%arg1) like %1 stream 5 :");
  EXPECT_SAYS(model, "top_k = 2, normalize at_least 1.1920929E-7 after_drop, "
                     "scale = 0.8, keep = random 0.5> :");
}

TEST(Choices, NllbNormalisedBefore) {
  Imported model = ChangedGolden("nllb_moe-f32-capacity")
                       .set("normalize_router_prob_before_dropping", "true")
                       .set("batch_prioritized_routing", "false")
                       .import();
  EXPECT_SAYS(model, "normalize at_least 1.1920929E-7, scale = 0.8, capacity = "
                     "tokens 0.3 by choice> :");
}

// Without a fraction the capacity of training holds: as given, or twice an
// expert's share, which is what two choices with factor 1 are.
TEST(Choices, NllbCapacityOfTraining) {
  ChangedGolden golden("nllb_moe-f32-capacity");
  golden.set("moe_eval_capacity_token_fraction", "-1.0");
  EXPECT_SAYS(golden.import(), "capacity = slots 64 by priority> :");
  golden.set("expert_capacity", "null");
  EXPECT_SAYS(golden.import(),
              "capacity = factor 1.0 multiple 2 by priority> :");
}

TEST(Choices, GshardSecondExpert) {
  ChangedGolden golden("gshard-f32");
  golden.set("second_expert_policy", "\"threshold\"");
  EXPECT_SAYS(golden.import(), "keep = threshold 0.2, capacity = factor 0.75");
  golden.set("second_expert_policy", "\"random\"")
      .set("normalize_before_dropping", "false");
  EXPECT_SAYS(golden.import(), "normalize epsilon 9.99999971E-10 after_drop, "
                               "keep = random 0.2, capacity = factor 0.75");
}

TEST(Choices, VmoeByPosition) {
  Imported model =
      ChangedGolden("vmoe-f32").set("batch_priority", "false").import();
  EXPECT_SAYS(model, "capacity = factor 1.05 multiple 4 by choice> :");
}

TEST(Choices, RouterInF32) {
  ImportOptions options;
  options.routerF32 = true;
  Imported model = ChangedGolden("deepseek-bf16").import(options);
  EXPECT_SAYS(model, "policy<score = softmax, top_k = 4> :");
  EXPECT_EQ(model.count("round bf16"), 0u);
}

// Layers are numbered through all stacks.
TEST(Choices, LayerOfDecoder) {
  ImportOptions options;
  options.layers = {5};
  Imported model = ChangedGolden("switch_transformers-f32").import(options);
  EXPECT_EQ(model.count("func.func"), 1u);
  EXPECT_SAYS(model, "func.func @decoder.layers.1.mlp");
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

/// Replaces the matrices of experts by codes and scales in blocks of 8 x 16.
static void encodeFp8(ModelDirectory &dir) {
  std::map<std::string, moert::TensorSpec> tensors;
  tensors.swap(dir.tensors);
  for (auto &[name, spec] : tensors) {
    if (!StringRef(name).ends_with("_proj.weight")) {
      dir.tensors[name] = spec;
      continue;
    }
    int64_t rows = spec.shape[0], columns = spec.shape[1];
    dir.add(name, moert::DType::F8E4M3, {rows, columns});
    dir.add(name + "_scale_inv", moert::DType::F32,
            {(rows + 7) / 8, (columns + 15) / 16});
  }
  dir.set("quantization_config",
          "{\"quant_method\": \"fp8\", \"fmt\": \"e4m3\", "
          "\"weight_block_size\": [8, 16]}");
}

TEST(Encodings, Fp8Blocks) {
  ModelDirectory dir;
  makeDeepseek(dir);
  encodeFp8(dir);
  dir.write();
  Imported model(dir.path);
  EXPECT_SAYS(model, "@layers.1.router : tensor<12x24xbf16> from "
                     "[\"model.layers.1.mlp.gate.weight\"]\n");
  EXPECT_SAYS(model, "fp8_block scales [\"model.layers.1.mlp.experts.{0..11}."
                     "down_proj.weight_scale_inv\"] block [8, 16] stack\n");
  EXPECT_SAYS(model, "fp8_block scales [\"model.layers.1.mlp.shared_experts."
                     "up_proj.weight_scale_inv\"] block [8, 16] stack\n");
}

// What the method leaves out stays as it is.
TEST(Encodings, Fp8LeavesSharedExpertsOut) {
  ModelDirectory dir;
  makeDeepseek(dir);
  encodeFp8(dir);
  for (const char *part : {"gate", "up"}) {
    std::string name = std::string("model.layers.1.mlp.shared_experts.") +
                       part + "_proj.weight";
    dir.tensors.erase(name + "_scale_inv");
    dir.add(name, moert::DType::BF16, {20, 24});
  }
  dir.write();
  Imported model(dir.path);
  EXPECT_SAYS(model, "[\"model.layers.1.mlp.shared_experts.up_proj.weight\"] "
                     "stack\n");
  EXPECT_SAYS(model, "shared_experts.down_proj.weight_scale_inv\"]");
}

// Blocks far larger than any matrix have one scale.
TEST(Encodings, Fp8AbsurdBlocks) {
  ModelDirectory dir;
  makeDeepseek(dir);
  encodeFp8(dir);
  dir.set("quantization_config",
          "{\"quant_method\": \"fp8\", \"weight_block_size\": "
          "[9223372036854775807, 9223372036854775807]}");
  dir.write();
  std::string error = dir.importError();
  EXPECT_TRUE(StringRef(error).contains(
      "'model.layers.1.mlp.experts.0.gate_proj.weight_scale_inv' in "
      "model.safetensors is F32 [2, 2], expected F32 [1, 1]\n"))
      << error;
}

TEST(Encodings, Fp8ScalesMissing) {
  ModelDirectory dir;
  makeDeepseek(dir);
  encodeFp8(dir);
  dir.tensors.erase("model.layers.1.mlp.experts.7.up_proj.weight_scale_inv");
  dir.add("model.layers.1.mlp.experts.2.up_proj.weight_scale_inv",
          moert::DType::F32, {1, 2});
  dir.write();
  EXPECT_EQ(
      dir.importError(),
      "error[MOE0206]: 2 tensors do not fit config.json\n"
      " --> DIR\n"
      "because 'model.layers.1.mlp.experts.2.up_proj.weight_scale_inv' in "
      "model.safetensors is F32 [1, 2], expected F32 [2, 2]\n"
      "note: 'model.layers.1.mlp.experts.7.up_proj.weight_scale_inv' is "
      "missing, expected F32 [2, 2]\n"
      "fix: use config.json and the safetensors files of one and the same "
      "model");
}

//===----------------------------------------------------------------------===//
// Values that a family's reference never had
//===----------------------------------------------------------------------===//

namespace {

struct Refused {
  const char *directory, *key, *value;
  /// The error up to the line of the key, and what follows it.
  const char *what, *because;
};

const Refused refusals[] = {
    {"nllb_moe-f32", "second_expert_policy", "\"sampling\"",
     "error[MOE0207]: 'second_expert_policy' is 'sampling'",
     "because models of type 'nllb-moe' are known with 'all', 'random' only\n"},
    {"nllb_moe-f32", "router_bias", "true",
     "error[MOE0207]: 'router_bias' is 'true'",
     "because models of type 'nllb-moe' are known with 'false' only\n"},
    {"nllb_moe-f32", "moe_token_dropout", "1.0",
     "error[MOE0205]: 'moe_token_dropout' is no usable number",
     "because it must be at least 0 and less than 1\n"},
    {"nllb_moe-f32", "moe_token_dropout", "-0.1",
     "error[MOE0205]: 'moe_token_dropout' is no usable number",
     "because it must be at least 0 and less than 1\n"},
    {"switch_transformers-f32", "num_selected_experts", "2",
     "error[MOE0207]: 'num_selected_experts' is '2'",
     "because models of type 'switch_transformers' are known with '1' only\n"},
    {"switch_transformers-f32", "expert_capacity", "0",
     "error[MOE0205]: 'expert_capacity' is 0",
     "because it must be at least 1 and at most 16777216\n"},
    {"switch_transformers-f32", "dense_act_fn", "\"mish\"",
     "error[MOE0207]: activation 'mish' is not supported",
     "because the activations supported are 'silu', 'swish', 'gelu', "
     "'gelu_pytorch_tanh', 'gelu_new', 'relu'\n"},
    {"deepseek-f32", "scoring_func", "\"sigmoid\"",
     "error[MOE0207]: 'scoring_func' is 'sigmoid'",
     "because models of type 'deepseek' are known with 'softmax' only\n"},
    {"deepseek_v2-f32", "topk_method", "\"noaux_tc\"",
     "error[MOE0207]: 'topk_method' is 'noaux_tc'",
     "because models of type 'deepseek_v2' are known with 'greedy', "
     "'group_limited_greedy' only\n"},
    {"deepseek_v2-f32", "n_group", "5",
     "error[MOE0205]: 'n_group' is 5, "
     "which does not divide 12 experts",
     "because all groups have the same number of experts\n"},
    {"longcat_flash-f32", "zero_expert_type", "\"drop\"",
     "error[MOE0207]: 'zero_expert_type' is 'drop'",
     "because models of type 'longcat_flash' are known with 'identity' only\n"},
    {"longcat_flash-f32", "norm_topk_prob", "true",
     "error[MOE0207]: 'norm_topk_prob' is 'true'",
     "because models of type 'longcat_flash' are known with 'false' only\n"},
    {"longcat_flash-f32", "moe_topk", "10",
     "error[MOE0205]: 'moe_topk' is 10, but there are 9 experts",
     "because a token cannot visit more experts than there are\n"},
    {"phimoe-f32", "num_experts_per_tok", "3",
     "error[MOE0207]: 'num_experts_per_tok' is '3'",
     "because models of type 'phimoe' are known with '2' only\n"},
    {"phimoe-f32", "router_jitter_noise", "-0.01",
     "error[MOE0205]: 'router_jitter_noise' is no usable number",
     "because it must be finite and not negative as a float32\n"},
    {"jamba-f32", "expert_layer_offset", "2",
     "error[MOE0205]: 'expert_layer_offset' is 2",
     "because it must be at least 0 and at most 1\n"},
    {"llama4-f32", "interleave_moe_layer_step", "0",
     "error[MOE0205]: 'text_config.interleave_moe_layer_step' is 0",
     "because it must be at least 1 and at most 65536\n"},
    {"llama4-f32", "num_local_experts", "\"six\"",
     "error[MOE0204]: 'text_config.num_local_experts' must be an integer, but "
     "is \"six\"",
     "fix: restore the value that the model was published with"},
    {"llama4_text-f32", "moe_layers", "[4]",
     "error[MOE0205]: 'moe_layers' names layer 4",
     "because the layers are 0 to 3\n"},
    {"dbrx-f32", "moe_top_k", "7",
     "error[MOE0205]: 'ffn_config.moe_top_k' is 7, but there are 6 experts",
     "because a token cannot visit more experts than there are\n"},
    {"vmoe-f32", "capacity_factor", "0",
     "error[MOE0205]: 'encoder.moe.router.dispatcher.capacity_factor' is no "
     "usable number",
     "because it must be finite and positive as a float32\n"},
    {"gshard-f32", "second_expert_policy", "\"sampling\"",
     "error[MOE0207]: 'second_expert_policy' is 'sampling'",
     "because models of type 'gshard' are known with 'all', 'threshold', "
     "'random' only\n"},
    {"deepspeed_moe-f32-top2", "topk", "3", "error[MOE0207]: 'topk' is '3'",
     "because models of type 'deepspeed_moe' are known with '1', '2' only\n"},
    {"deepspeed_moe-f32", "use_rts", "true",
     "error[MOE0207]: 'use_rts' is 'true'",
     "because without 'false', and without the key, random numbers decide\n"},
    {"deepspeed_moe-f32-top2", "moe_top2_2nd_expert_sampling", "true",
     "error[MOE0207]: 'moe_top2_2nd_expert_sampling' is 'true'",
     "because without 'false', and without the key, random numbers decide\n"},
    {"deepspeed_moe-f32-top2", "mlp_type", "\"dense\"",
     "error[MOE0207]: 'mlp_type' is 'dense'",
     "because models of type 'deepspeed_moe' are known with 'standard', "
     "'residual' only\n"},
    {"deepspeed_moe-f32", "expert_interval", "4",
     "error[MOE0205]: 'num_experts' has 2 numbers for 1 MoE layers",
     "because it must have one number, or one for each of them\n"},
    {"gpt_oss-f32", "swiglu_limit", "-7.0",
     "error[MOE0205]: 'swiglu_limit' is no usable number",
     "because it must be finite and positive as a float32\n"},
    {"gpt_oss-f32", "swiglu_alpha", "1e39",
     "error[MOE0205]: 'swiglu_alpha' is no usable number",
     "because it must be finite and positive as a float32\n"},
    {"gpt_oss-f32-mxfp4", "hidden_size", "48",
     "error[MOE0205]: 'hidden_size' is 48",
     "because 32 values of mxfp4 share a scale\n"},
    {"gpt_oss-f32-mxfp4", "quant_method", "\"awq\"",
     "error[MOE0207]: quantised weights of method 'awq' are not supported",
     "because beside bfloat16 and float32, the weights of this family can be "
     "imported with the method 'fp8' or 'mxfp4' only\n"}};

class Refusals : public testing::TestWithParam<Refused> {};

} // namespace

TEST_P(Refusals, NamesKeyAndReason) {
  const Refused &refused = GetParam();
  std::string error = ChangedGolden(refused.directory)
                          .set(refused.key, refused.value)
                          .importError();
  // The line depends on the directory; that there is one does not.
  EXPECT_TRUE(StringRef(error).starts_with(std::string(refused.what) +
                                           "\n --> DIR/config.json:"))
      << error;
  EXPECT_NE(error.find("\n" + std::string(refused.because)), std::string::npos)
      << error;
}

INSTANTIATE_TEST_SUITE_P(Golden, Refusals, testing::ValuesIn(refusals));

// Values that are refused only beside another one.
TEST(RefusedTogether, NllbNormalisedBefore) {
  for (auto [key, value] : {std::pair("second_expert_policy", "\"random\""),
                            std::pair("batch_prioritized_routing", "true")}) {
    ChangedGolden golden("nllb_moe-f32");
    golden.set(key, value);
    EXPECT_EQ(golden.importError(), "no error");
    std::string error =
        golden.set("normalize_router_prob_before_dropping", "true")
            .importError();
    EXPECT_TRUE(StringRef(error).starts_with("error[MOE0207]: '" +
                                             std::string(key) + "' is '"))
        << error;
    EXPECT_TRUE(StringRef(error).contains(
        "because with 'normalize_router_prob_before_dropping' the reference "
        "decides by scores that are not normalised, a policy by those that "
        "are\nfix: set one of the two keys back to its default"))
        << error;
  }
}

// DeepSpeed's default is random, of the number of experts that it concerns.
TEST(RefusedWhenAbsent, DeepspeedWithoutKey) {
  ChangedGolden top1("deepspeed_moe-f32"), top2("deepspeed_moe-f32-top2");
  top1.drop("moe_top2_2nd_expert_sampling");
  top2.drop("use_rts");
  EXPECT_EQ(top1.importError(), "no error");
  EXPECT_EQ(top2.importError(), "no error");
  EXPECT_TRUE(StringRef(top1.drop("use_rts").importError())
                  .starts_with("error[MOE0207]: 'use_rts' is 'true'\n --> "
                               "DIR/config.json\nbecause without 'false', and "
                               "without the key, random numbers decide\n"));
  EXPECT_TRUE(
      StringRef(top2.drop("moe_top2_2nd_expert_sampling").importError())
          .starts_with("error[MOE0207]: 'moe_top2_2nd_expert_sampling' is "
                       "'true'\n --> DIR/config.json\nbecause without "
                       "'false', and without the key, random numbers decide\n"
                       "fix: set the key to false to run the model without "
                       "random numbers"));
}

TEST(InvalidEncoding, Fp8WithoutBlocks) {
  ModelDirectory dir;
  makeDeepseek(dir);
  dir.set("quantization_config", "{\"quant_method\": \"fp8\"}");
  dir.write();
  EXPECT_EQ(dir.importError(),
            "error[MOE0207]: fp8 weights without blocks are not supported\n"
            " --> DIR/config.json:13\n"
            "because 'weight_block_size' must give the rows and columns that "
            "share a scale\n"
            "fix: use the unquantised checkpoint, or convert it to bfloat16 "
            "and remove 'quantization_config'");
}

TEST(InvalidEncoding, Fp8OfOtherFormat) {
  ModelDirectory dir;
  makeDeepseek(dir);
  dir.set("quantization_config",
          "{\"quant_method\": \"fp8\", \"fmt\": \"e5m2\"}");
  dir.write();
  EXPECT_EQ(dir.importError(),
            "error[MOE0207]: fp8 weights of format 'e5m2' are not supported\n"
            " --> DIR/config.json:13\n"
            "because the format supported is 'e4m3'\n"
            "fix: use the unquantised checkpoint, or convert it to bfloat16 "
            "and remove 'quantization_config'");
}

// The object that holds the settings.
TEST(InvalidRoot, NoTextConfig) {
  ModelDirectory dir;
  dir.set("model_type", "\"llama4\"").set("dtype", "\"bfloat16\"");
  dir.writeConfig();
  EXPECT_EQ(dir.importError(),
            "error[MOE0203]: config.json has no key 'text_config'\n"
            " --> DIR/config.json\n"
            "because models of this family cannot be read without it\n"
            "fix: restore config.json as the model was published with");
  dir.set("text_config", "7");
  dir.writeConfig();
  EXPECT_EQ(dir.importError(),
            "error[MOE0204]: 'text_config' must be an object, but is 7\n"
            " --> DIR/config.json:4\n"
            "fix: restore the value that the model was published with");
}
