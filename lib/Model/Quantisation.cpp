//===- Quantisation.cpp - What quantization_config says -------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ImportedModel.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::model;
using moert::concat;

static constexpr char key[] = "quantization_config";

/// "of method 'x'".
static std::string nameMethod(const Config &config) {
  StatusOr<std::string> method =
      config.get(Text{{"quantization_config.quant_method"}, {}});
  return method.ok() ? concat("of method '", *method, "'")
                     : "of an unknown method";
}

static Status refuse(const Config &config, std::string what,
                     std::string because) {
  return unsupported(config, key, std::move(what), std::move(because),
                     "use the unquantised checkpoint, or convert it to "
                     "bfloat16 and remove 'quantization_config'");
}

/// Blocks of `weight_block_size` with a scale each.
static StatusOr<std::optional<Quantisation>> readFp8(const Config &config) {
  MOE_ASSIGN_OR_RETURN(std::string format,
                       config.getWord("quantization_config.fmt", "e4m3"));
  if (format != "e4m3")
    return refuse(
        config,
        concat("fp8 weights of format '", format, "' are not supported"),
        "the format supported is 'e4m3'");
  MOE_ASSIGN_OR_RETURN(std::vector<int64_t> block,
                       config.getList("quantization_config.weight_block_size"));
  if (block.size() != 2 || block[0] < 1 || block[1] < 1)
    return refuse(config, "fp8 weights without blocks are not supported",
                  "'weight_block_size' must give the rows and columns that "
                  "share a scale");
  Quantisation result{"fp8", WeightEncoding::Fp8Block, "", "_scale_inv"};
  result.block = {block[0], block[1]};
  return std::optional(result);
}

StatusOr<std::optional<Quantisation>>
model::readQuantisation(const Config &config, const Family &family) {
  if (!config.find(key))
    return std::optional<Quantisation>();
  StatusOr<std::string> method =
      config.get(Text{{"quantization_config.quant_method"}, {}});
  if (method.ok() && *method == "fp8")
    return readFp8(config);
  bool knowsMxfp4 = llvm::any_of(family.spellings, [](const Spelling &names) {
    return names.method == "mxfp4";
  });
  if (method.ok() && *method == "mxfp4" && knowsMxfp4)
    return std::optional(
        Quantisation{"mxfp4", WeightEncoding::Mxfp4, "_blocks", "_scales"});
  return refuse(
      config,
      concat("quantised weights ", nameMethod(config), " are not supported"),
      concat("beside bfloat16 and float32, the weights of this family can be "
             "imported with the method ",
             knowsMxfp4 ? "'fp8' or 'mxfp4'" : "'fp8'", " only"));
}
