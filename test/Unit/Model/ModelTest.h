//===- ModelTest.h - Helpers to test the importer -------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TEST_UNIT_MODEL_MODELTEST_H
#define MOE_TEST_UNIT_MODEL_MODELTEST_H

#include "moe/Model/Import.h"
#include "moert/Format/Safetensors.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include "gtest/gtest.h"

#include <fstream>
#include <map>
#include <random>
#include <set>

namespace mlir::moe {

/// Imports a directory and keeps the module as text, or the diagnostic.
class Imported {
public:
  explicit Imported(StringRef directory, const ImportOptions &options = {}) {
    ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
      error += diagnostic.str();
      return success();
    });
    FailureOr<OwningOpRef<ModuleOp>> result =
        importModel(&context, directory, options);
    if (succeeded(result)) {
      module = std::move(*result);
      llvm::raw_string_ostream(text) << *module;
    }
  }

  /// Number of times that the module says `piece`.
  size_t count(StringRef piece) const { return StringRef(text).count(piece); }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  std::string text, error;
};

/// A model directory that a test builds, and that goes away with it.
class ModelDirectory {
public:
  ModelDirectory() {
    SmallString<128> name;
    if (llvm::sys::fs::createUniqueDirectory("moe-model", name))
      ADD_FAILURE() << "cannot create a temporary directory";
    path = name.str().str();
  }
  ~ModelDirectory() { llvm::sys::fs::remove_directories(path); }

  /// Sets a key of config.json to a JSON text.
  ModelDirectory &set(const std::string &key, const std::string &value) {
    config[key] = value;
    return *this;
  }
  ModelDirectory &drop(const std::string &key) {
    config.erase(key);
    return *this;
  }
  ModelDirectory &add(const std::string &name, moert::DType dtype,
                      std::vector<int64_t> shape) {
    tensors[name] = {name, dtype, std::move(shape)};
    return *this;
  }

  /// Writes config.json, one key per line in ascending order.
  void writeConfig() const {
    std::string text = "{\n";
    for (const auto &[key, value] : config)
      text += (text.size() > 2 ? ",\n" : "") + ("  \"" + key) + "\": " + value;
    writeFile("config.json", text + "\n}\n");
  }
  /// Writes all tensors, with random bytes, into one file.
  void writeTensors(const std::string &file = "model.safetensors") const {
    std::vector<moert::TensorSpec> specs;
    uint64_t bytes = 0;
    for (const auto &[name, spec] : tensors) {
      specs.push_back(spec);
      bytes += *moert::shapeBytes(spec.shape, moert::byteSize(spec.dtype));
    }
    auto writer = moert::SafetensorsWriter::create(path + "/" + file, specs);
    ASSERT_TRUE(writer.ok()) << writer.status().toString();
    std::mt19937 random(7);
    std::vector<uint8_t> data(bytes);
    for (uint8_t &byte : data)
      byte = static_cast<uint8_t>(random());
    ASSERT_TRUE(writer->write(data.data(), data.size()).ok());
    ASSERT_TRUE(writer->finish().ok());
  }
  void write() const {
    writeConfig();
    writeTensors();
  }
  void writeFile(const std::string &file, const std::string &text) const {
    std::ofstream(path + "/" + file) << text;
  }

  /// The diagnostic of importing it, with DIR for its path.
  std::string importError(const ImportOptions &options = {}) const {
    Imported imported(path, options);
    if (imported.error.empty())
      return "no error";
    std::string text = imported.error;
    for (size_t at; (at = text.find(path)) != std::string::npos;)
      text.replace(at, path.size(), "DIR");
    return text;
  }

  std::string path;
  std::map<std::string, std::string> config;
  std::map<std::string, moert::TensorSpec> tensors;
};

/// A Mixtral of two layers: H = 24, I = 20, E = 5, k = 2.
inline void makeMixtral(ModelDirectory &dir,
                        moert::DType dtype = moert::DType::BF16) {
  bool isF32 = dtype == moert::DType::F32;
  dir.set("model_type", "\"mixtral\"")
      .set("torch_dtype", isF32 ? "\"float32\"" : "\"bfloat16\"")
      .set("hidden_act", "\"silu\"")
      .set("hidden_size", "24")
      .set("intermediate_size", "20")
      .set("num_local_experts", "5")
      .set("num_experts_per_tok", "2")
      .set("num_hidden_layers", "2");
  for (int layer = 0; layer < 2; ++layer) {
    std::string block =
        "model.layers." + std::to_string(layer) + ".block_sparse_moe.";
    dir.add(block + "gate.weight", dtype, {5, 24});
    for (int e = 0; e < 5; ++e) {
      std::string expert = block + "experts." + std::to_string(e);
      dir.add(expert + ".w1.weight", dtype, {20, 24});
      dir.add(expert + ".w3.weight", dtype, {20, 24});
      dir.add(expert + ".w2.weight", dtype, {24, 20});
    }
  }
}

/// A DeepSeek-V3 of two layers, the first dense: H = 24, I = 10, E = 12, k = 3,
/// 4 groups of which 2 are kept, two shared experts.
inline void makeDeepseek(ModelDirectory &dir,
                         moert::DType dtype = moert::DType::BF16) {
  bool isF32 = dtype == moert::DType::F32;
  dir.set("model_type", "\"deepseek_v3\"")
      .set("torch_dtype", isF32 ? "\"float32\"" : "\"bfloat16\"")
      .set("hidden_size", "24")
      .set("moe_intermediate_size", "10")
      .set("n_routed_experts", "12")
      .set("num_experts_per_tok", "3")
      .set("num_hidden_layers", "2")
      .set("first_k_dense_replace", "1")
      .set("moe_layer_freq", "1")
      .set("n_group", "4")
      .set("topk_group", "2")
      .set("n_shared_experts", "2")
      .set("norm_topk_prob", "true")
      .set("routed_scaling_factor", "2.5")
      .set("scoring_func", "\"sigmoid\"")
      .set("topk_method", "\"noaux_tc\"");
  std::string block = "model.layers.1.mlp.";
  dir.add(block + "gate.weight", dtype, {12, 24});
  dir.add(block + "gate.e_score_correction_bias", moert::DType::F32, {12});
  for (int e = 0; e < 12; ++e) {
    std::string expert = block + "experts." + std::to_string(e);
    dir.add(expert + ".gate_proj.weight", dtype, {10, 24});
    dir.add(expert + ".up_proj.weight", dtype, {10, 24});
    dir.add(expert + ".down_proj.weight", dtype, {24, 10});
  }
  dir.add(block + "shared_experts.gate_proj.weight", dtype, {20, 24});
  dir.add(block + "shared_experts.up_proj.weight", dtype, {20, 24});
  dir.add(block + "shared_experts.down_proj.weight", dtype, {24, 20});
}

} // namespace mlir::moe

#endif // MOE_TEST_UNIT_MODEL_MODELTEST_H
