//===- InvalidModelTest.cpp - Every error of the importer, word for word --===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ModelTest.h"

using namespace mlir;
using namespace mlir::moe;

namespace {

/// A Mixtral whose config.json or tensors a test spoils.
class InvalidModel : public testing::Test {
protected:
  InvalidModel() { makeMixtral(dir); }

  /// Writes the directory and compares the error with `message`.
  void expectError(const std::string &message,
                   const ImportOptions &options = {}) {
    dir.write();
    EXPECT_EQ(dir.importError(options), message);
  }

  ModelDirectory dir;
};

class InvalidDeepseek : public InvalidModel {
protected:
  InvalidDeepseek() {
    dir.config.clear();
    dir.tensors.clear();
    makeDeepseek(dir);
  }
};

} // namespace

TEST_F(InvalidModel, IsValidBeforeItIsSpoiled) { expectError("no error"); }

TEST_F(InvalidDeepseek, IsValidBeforeItIsSpoiled) { expectError("no error"); }

//===----------------------------------------------------------------------===//
// The file
//===----------------------------------------------------------------------===//

TEST_F(InvalidModel, NoDirectory) {
  Imported imported(dir.path + "/none");
  EXPECT_EQ(imported.error,
            "error[MOE0010]: no directory '" + dir.path + "/none'\n --> " +
                dir.path +
                "/none\nfix: name the directory of a model with config.json "
                "and safetensors files");
}

TEST_F(InvalidModel, NoConfig) {
  dir.writeTensors();
  EXPECT_EQ(dir.importError(),
            "error[MOE0202]: the model directory has no config.json\n"
            " --> DIR\n"
            "because config.json tells the family and the sizes of the model\n"
            "fix: name a directory that Hugging Face tools can load");
}

TEST_F(InvalidModel, NotJson) {
  dir.writeFile("config.json", "{\n  \"model_type\": mixtral\n}\n");
  EXPECT_EQ(dir.importError(),
            "error[MOE0202]: config.json is not valid JSON\n"
            " --> DIR/config.json\n"
            "because [2:17, byte=19]: Invalid JSON value\n"
            "fix: restore config.json as the model was published with");
}

TEST_F(InvalidModel, EmptyConfig) {
  dir.writeFile("config.json", "");
  EXPECT_EQ(dir.importError(),
            "error[MOE0202]: config.json is not valid JSON\n"
            " --> DIR/config.json\n"
            "because [1:0, byte=0]: Unexpected EOF\n"
            "fix: restore config.json as the model was published with");
}

TEST_F(InvalidModel, NotAnObject) {
  dir.writeFile("config.json", "[1, 2]");
  EXPECT_EQ(dir.importError(),
            "error[MOE0202]: config.json is not a JSON object\n"
            " --> DIR/config.json\n"
            "because the outermost value must be { ... }\n"
            "fix: restore config.json as the model was published with");
}

// A parser that recurses once per bracket must not meet this.
TEST_F(InvalidModel, NestedTooDeeply) {
  dir.writeFile("config.json", std::string(1000000, '['));
  EXPECT_EQ(dir.importError(),
            "error[MOE0202]: config.json is nested too deeply\n"
            " --> DIR/config.json\n"
            "because the limit is 64 levels\n"
            "fix: restore config.json as the model was published with");
}

TEST_F(InvalidModel, TooLarge) {
  dir.writeFile("config.json", std::string(17 << 20, ' '));
  EXPECT_EQ(dir.importError(),
            "error[MOE0202]: config.json is too large\n"
            " --> DIR/config.json\n"
            "because it has 17825792 bytes; the limit is 16777216\n"
            "fix: restore config.json as the model was published with");
}

//===----------------------------------------------------------------------===//
// Keys
//===----------------------------------------------------------------------===//

TEST_F(InvalidModel, MissingKey) {
  dir.drop("num_experts_per_tok");
  expectError("error[MOE0203]: config.json has no key 'num_experts_per_tok'\n"
              " --> DIR/config.json\n"
              "because models of this family cannot be read without it\n"
              "fix: restore config.json as the model was published with");
}

TEST_F(InvalidModel, MissingKeyOfTwoNames) {
  dir.drop("torch_dtype");
  expectError(
      "error[MOE0203]: config.json has no key 'dtype' or 'torch_dtype'\n"
      " --> DIR/config.json\n"
      "because models of this family cannot be read without it\n"
      "fix: restore config.json as the model was published with");
}

// null is how transformers writes "not set".
TEST_F(InvalidModel, NullIsMissing) {
  dir.set("hidden_size", "null");
  expectError("error[MOE0203]: config.json has no key 'hidden_size'\n"
              " --> DIR/config.json\n"
              "because models of this family cannot be read without it\n"
              "fix: restore config.json as the model was published with");
}

TEST_F(InvalidModel, WrongType) {
  dir.set("num_local_experts", "\"eight\"");
  expectError("error[MOE0204]: 'num_local_experts' must be an integer, but is "
              "\"eight\"\n"
              " --> DIR/config.json:8\n"
              "fix: restore the value that the model was published with");
}

TEST_F(InvalidModel, FractionalSize) {
  dir.set("hidden_size", "24.5");
  expectError("error[MOE0204]: 'hidden_size' must be an integer, but is 24.5\n"
              " --> DIR/config.json:3\n"
              "fix: restore the value that the model was published with");
}

TEST_F(InvalidDeepseek, WrongTypeOfFlag) {
  dir.set("norm_topk_prob", "1");
  expectError(
      "error[MOE0204]: 'norm_topk_prob' must be true or false, but is 1\n"
      " --> DIR/config.json:10\n"
      "fix: restore the value that the model was published with");
}

TEST_F(InvalidDeepseek, WrongTypeOfNumber) {
  dir.set("routed_scaling_factor", "[2.5]");
  expectError(
      "error[MOE0204]: 'routed_scaling_factor' must be a number, but is [2.5]\n"
      " --> DIR/config.json:13\n"
      "fix: restore the value that the model was published with");
}

TEST_F(InvalidModel, WrongTypeOfText) {
  dir.set("model_type", "[\"mixtral\"]");
  expectError("error[MOE0204]: 'model_type' must be a plain string, but is "
              "[\"mixtral\"]\n"
              " --> DIR/config.json:5\n"
              "fix: restore the value that the model was published with");
}

// Text of a file must not clear the screen of whoever reads the message.
TEST_F(InvalidModel, ControlCharacters) {
  dir.set("model_type", "\"mix\\u001b[2Jtral\"");
  expectError("error[MOE0204]: 'model_type' must be a plain string, but is "
              "\"mix\\u001b[2Jtral\"\n"
              " --> DIR/config.json:5\n"
              "fix: restore the value that the model was published with");
}

TEST_F(InvalidModel, WrongTypeOfList) {
  dir.set("model_type", "\"qwen3_moe\"")
      .set("num_experts", "5")
      .set("moe_intermediate_size", "20")
      .set("mlp_only_layers", "[0, \"1\"]");
  expectError(
      "error[MOE0204]: 'mlp_only_layers' must be a list of integers, but is "
      "[0,\"1\"]\n"
      " --> DIR/config.json:5\n"
      "fix: restore the value that the model was published with");
}

// The line is that of the outermost key, not of one inside another object.
TEST_F(InvalidModel, LineOfOutermostKey) {
  dir.set("a", "{\n\"hidden_size\": 1, \"s\": \"\\\"hidden_size\\\": {\"}")
      .set("hidden_size", "[]");
  expectError("error[MOE0204]: 'hidden_size' must be an integer, but is []\n"
              " --> DIR/config.json:5\n"
              "fix: restore the value that the model was published with");
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

TEST_F(InvalidModel, UnknownFamily) {
  dir.set("model_type", "\"llama\"");
  expectError(
      "error[MOE0201]: model type 'llama' is not known\n"
      " --> DIR/config.json:5\n"
      "because the families known are 'dbrx', 'deepseek', 'deepseek_v2', "
      "'deepseek_v3', 'deepspeed_moe', 'gpt_oss', 'grok-1', 'gshard', 'jamba', "
      "'jetmoe', 'limoe', 'llama4', 'llama4_text', 'longcat_flash', 'mixtral', "
      "'nllb-moe', 'olmoe', 'phimoe', 'qwen2_moe', 'qwen3_moe', 'qwen3_next', "
      "'switch_transformers', 'vmoe'\n"
      "fix: describe the block in the moe dialect and compile the .mlir file, "
      "or add a row to the table of families");
}

TEST_F(InvalidModel, NoExperts) {
  dir.set("num_local_experts", "0");
  expectError("error[MOE0205]: 'num_local_experts' is 0\n"
              " --> DIR/config.json:8\n"
              "because it must be at least 1 and at most 65536\n"
              "fix: restore the value that the model was published with");
}

TEST_F(InvalidModel, MoreChosenThanExperts) {
  dir.set("num_experts_per_tok", "6");
  expectError("error[MOE0205]: 'num_experts_per_tok' is 6, but there are 5 "
              "experts\n"
              " --> DIR/config.json:6\n"
              "because a token cannot visit more experts than there are\n"
              "fix: restore the value that the model was published with");
}

TEST_F(InvalidModel, NegativeSize) {
  dir.set("hidden_size", "-24");
  expectError("error[MOE0205]: 'hidden_size' is -24\n"
              " --> DIR/config.json:3\n"
              "because it must be at least 1 and at most 16777216\n"
              "fix: restore the value that the model was published with");
}

TEST_F(InvalidModel, AbsurdSize) {
  dir.set("hidden_size", "9223372036854775807");
  expectError("error[MOE0205]: 'hidden_size' is 9223372036854775807\n"
              " --> DIR/config.json:3\n"
              "because it must be at least 1 and at most 16777216\n"
              "fix: restore the value that the model was published with");
}

TEST_F(InvalidModel, AbsurdProduct) {
  dir.set("hidden_size", "16777216")
      .set("intermediate_size", "16777216")
      .set("num_local_experts", "65536");
  expectError("error[MOE0205]: the experts are too large: 65536 of 16777216 x "
              "16777216\n"
              " --> DIR/config.json:3\n"
              "because the size of one weight must fit 63 bits\n"
              "fix: restore the value that the model was published with");
}

// The search for tensors that cannot all be there ends early.
TEST_F(InvalidModel, AbsurdNumberOfLayers) {
  dir.set("num_hidden_layers", "65536").set("num_local_experts", "65536");
  dir.write();
  std::string error = dir.importError();
  EXPECT_EQ(error.find("error[MOE0206]: at least 1000 tensors do not fit "
                       "config.json\n --> DIR\n"),
            0u)
      << error;
}

TEST_F(InvalidModel, SpellingsContradict) {
  dir.set("model_type", "\"qwen3_moe\"")
      .set("moe_intermediate_size", "20")
      .set("num_experts", "6");
  expectError("error[MOE0205]: 'num_local_experts' is 5, but 'num_experts' is "
              "6\n"
              " --> DIR/config.json:10\n"
              "because both are names of the same value\n"
              "fix: remove the wrong one");
}

TEST_F(InvalidDeepseek, GroupsDoNotDivide) {
  dir.set("n_group", "5");
  expectError("error[MOE0205]: 'n_group' is 5, which does not divide 12 "
              "experts\n"
              " --> DIR/config.json:7\n"
              "because all groups have the same number of experts\n"
              "fix: restore the value that the model was published with");
}

TEST_F(InvalidDeepseek, GroupOfOne) {
  dir.set("n_group", "12").set("topk_group", "4");
  expectError("error[MOE0205]: 'n_group' is 12 for 12 experts\n"
              " --> DIR/config.json:7\n"
              "because the value of a group is the sum of its two best "
              "experts, so a group needs two\n"
              "fix: restore the value that the model was published with");
}

TEST_F(InvalidDeepseek, KeptGroupsTooSmall) {
  dir.set("n_group", "6").set("topk_group", "1");
  expectError("error[MOE0205]: 'topk_group' is 1\n"
              " --> DIR/config.json:15\n"
              "because that many groups have 2 experts, but every token visits "
              "3\n"
              "fix: restore the value that the model was published with");
}

TEST_F(InvalidDeepseek, MoreKeptThanGroups) {
  dir.set("topk_group", "5");
  expectError("error[MOE0205]: 'topk_group' is 5\n"
              " --> DIR/config.json:15\n"
              "because it must be at least 1 and at most 4\n"
              "fix: restore the value that the model was published with");
}

TEST_F(InvalidDeepseek, ScaleIsZero) {
  dir.set("routed_scaling_factor", "1e-60");
  expectError("error[MOE0205]: 'routed_scaling_factor' is no usable number\n"
              " --> DIR/config.json:13\n"
              "because it must be finite and not zero as a float32\n"
              "fix: restore the value that the model was published with");
}

TEST_F(InvalidDeepseek, UnknownRoutingRule) {
  dir.set("topk_method", "\"greedy\"");
  expectError(
      "error[MOE0207]: 'topk_method' is 'greedy'\n"
      " --> DIR/config.json:16\n"
      "because models of type 'deepseek_v3' are known with 'noaux_tc' only\n"
      "fix: describe the block in the moe dialect and compile the .mlir file");
}

TEST_F(InvalidModel, Quantised) {
  dir.set("quantization_config", "{\"quant_method\": \"gptq\"}");
  expectError(
      "error[MOE0207]: quantised weights of method 'gptq' are not supported\n"
      " --> DIR/config.json:9\n"
      "because beside bfloat16 and float32, the weights of this family can be "
      "imported with the method 'fp8' only\n"
      "fix: use the unquantised checkpoint, or convert it to bfloat16 and "
      "remove 'quantization_config'");
}

TEST_F(InvalidModel, QuantisedSomehow) {
  dir.set("quantization_config", "true");
  expectError(
      "error[MOE0207]: quantised weights of an unknown method are not "
      "supported\n"
      " --> DIR/config.json:9\n"
      "because beside bfloat16 and float32, the weights of this family can be "
      "imported with the method 'fp8' only\n"
      "fix: use the unquantised checkpoint, or convert it to bfloat16 and "
      "remove 'quantization_config'");
}

TEST_F(InvalidModel, HalfPrecision) {
  dir.set("torch_dtype", "\"float16\"");
  expectError("error[MOE0207]: models of type 'float16' are not supported\n"
              " --> DIR/config.json:9\n"
              "because the types supported are 'bfloat16' and 'float32'\n"
              "fix: convert the checkpoint and its config.json to bfloat16");
}

TEST_F(InvalidModel, UnknownActivation) {
  dir.set("hidden_act", "\"mish\"");
  expectError(
      "error[MOE0207]: activation 'mish' is not supported\n"
      " --> DIR/config.json:2\n"
      "because the activations supported are 'silu', 'swish', 'gelu', "
      "'gelu_pytorch_tanh', 'gelu_new', 'relu'\n"
      "fix: describe the block in the moe dialect and compile the .mlir file");
}

//===----------------------------------------------------------------------===//
// Layers
//===----------------------------------------------------------------------===//

TEST_F(InvalidDeepseek, AllLayersDense) {
  dir.set("first_k_dense_replace", "2");
  expectError("error[MOE0208]: the model has no MoE layer\n"
              " --> DIR/config.json\n"
              "because by its placement rule all 2 layers are dense\n"
              "fix: name the directory of a Mixture-of-Experts model");
}

TEST_F(InvalidDeepseek, DenseLayerAskedFor) {
  ImportOptions options;
  options.layers = {1, 0};
  expectError("error[MOE0208]: layer 0 is no MoE layer\n"
              " --> DIR/config.json\n"
              "because the MoE layers of this model are 1\n"
              "fix: ask for layers of this list only",
              options);
}

TEST_F(InvalidModel, EmptyListOfLayers) {
  ImportOptions options;
  options.layers.emplace();
  expectError("error[MOE0208]: no layer to import\n"
              " --> DIR/config.json\n"
              "because the list of layers is empty\n"
              "fix: ask for at least one layer, or do not limit the layers",
              options);
}

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

TEST_F(InvalidModel, NoCheckpoint) {
  dir.writeConfig();
  EXPECT_EQ(dir.importError(),
            "error[MOE0401]: no checkpoint in 'DIR'\n"
            "because it has no model.safetensors, no "
            "model.safetensors.index.json and no other *.safetensors\n"
            "fix: name the folder of the safetensors files");
}

TEST_F(InvalidModel, IndexNamesMissingShard) {
  dir.writeConfig();
  dir.writeTensors("model-00001-of-00002.safetensors");
  dir.writeFile("model.safetensors.index.json",
                "{\"weight_map\": {\"a\": "
                "\"model-00002-of-00002.safetensors\"}}");
  EXPECT_EQ(dir.importError(),
            "error[MOE0405]: checkpoint index names shard "
            "'model-00002-of-00002.safetensors', which is not there\n"
            " --> DIR/model.safetensors.index.json\n"
            "fix: complete the download of the checkpoint");
}

TEST_F(InvalidModel, TensorMissing) {
  dir.tensors.erase("model.layers.1.block_sparse_moe.experts.3.w2.weight");
  expectError(
      "error[MOE0206]: 1 tensor does not fit config.json\n"
      " --> DIR\n"
      "because 'model.layers.1.block_sparse_moe.experts.3.w2.weight' is "
      "missing, expected BF16 [24, 20]\n"
      "fix: use config.json and the safetensors files of one and the same "
      "model");
}

TEST_F(InvalidModel, TensorOfWrongShape) {
  dir.add("model.layers.0.block_sparse_moe.gate.weight", moert::DType::BF16,
          {24, 5});
  expectError(
      "error[MOE0206]: 1 tensor does not fit config.json\n"
      " --> DIR\n"
      "because 'model.layers.0.block_sparse_moe.gate.weight' in "
      "model.safetensors is BF16 [24, 5], expected BF16 [5, 24]\n"
      "fix: use config.json and the safetensors files of one and the same "
      "model");
}

TEST_F(InvalidDeepseek, SelectionBiasOfWrongType) {
  dir.add("model.layers.1.mlp.gate.e_score_correction_bias", moert::DType::BF16,
          {12});
  expectError("error[MOE0206]: 1 tensor does not fit config.json\n"
              " --> DIR\n"
              "because 'model.layers.1.mlp.gate.e_score_correction_bias' in "
              "model.safetensors is BF16 [12], expected F32 [12]\n"
              "fix: use config.json and the safetensors files of one and the "
              "same model");
}

// All 32 tensors are wrong: five are named, the rest counted.
TEST_F(InvalidModel, TensorsOfWrongType) {
  dir.set("torch_dtype", "\"float32\"");
  std::string block = "'model.layers.0.block_sparse_moe.";
  std::string is = ".w1.weight' in model.safetensors is BF16 [20, 24], "
                   "expected F32 [20, 24]\n";
  expectError("error[MOE0206]: 32 tensors do not fit config.json\n"
              " --> DIR\n"
              "because " +
              block +
              "gate.weight' in model.safetensors is BF16 [5, 24], expected "
              "F32 [5, 24]\n"
              "note: " +
              block + "experts.0" + is + "note: " + block + "experts.1" + is +
              "note: " + block + "experts.2" + is + "note: " + block +
              "experts.3" + is +
              "note: and 27 more\n"
              "fix: use config.json and the safetensors files of one and the "
              "same model");
}
