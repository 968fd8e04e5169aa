//===- DescribeModel.cpp - From config.json to sizes and policy -----------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ImportedModel.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

#include <cmath>

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::model;
using moert::concat;

/// Far above every model there is; products of two of them fit 63 bits.
static constexpr int64_t maxChannels = 1 << 24;
static constexpr int64_t maxCount = 1 << 16;

/// "'a', 'b', 'c'".
template <typename RangeT> static std::string quoteAll(const RangeT &names) {
  std::string text;
  for (StringRef name : names)
    text += concat(text.empty() ? "'" : ", '", name.str(), "'");
  return text;
}

static Status unsupported(const Config &config, StringRef key, std::string what,
                          std::string because, std::string fix) {
  return Status::error(207, std::move(what))
      .at(config.where(key))
      .because(std::move(because))
      .fix(std::move(fix));
}

static StatusOr<const Family *> readFamily(const Config &config) {
  MOE_ASSIGN_OR_RETURN(std::string type, config.get(Text{{"model_type"}, {}}));
  if (const Family *family = findFamily(type))
    return family;
  return Status::error(201, concat("model type '", type, "' is not known"))
      .at(config.where("model_type"))
      .because(
          concat("the families known are ", quoteAll(getKnownModelTypes())))
      .fix("describe the block in the moe dialect and compile the .mlir file, "
           "or add a row to the table of families");
}

static StatusOr<moert::DType> readDType(const Config &config) {
  Text setting{{"dtype", "torch_dtype"}, {}};
  MOE_ASSIGN_OR_RETURN(std::string name, config.get(setting));
  if (name == "float32")
    return moert::DType::F32;
  if (name == "bfloat16")
    return moert::DType::BF16;
  return unsupported(config, config.nameOf(setting.names),
                     concat("models of type '", name, "' are not supported"),
                     "the types supported are 'bfloat16' and 'float32'",
                     "convert the checkpoint and its config.json to bfloat16");
}

/// What no field of the description can express.
static Status checkFacts(const Config &config, const ImportedModel &model) {
  if (const llvm::json::Value *value = config.find("quantization_config")) {
    std::string method = "of an unknown method";
    if (const llvm::json::Object *object = value->getAsObject())
      if (std::optional<StringRef> text = object->getString("quant_method");
          text && llvm::all_of(*text, llvm::isPrint))
        method = concat("of method '", text->str(), "'");
    return unsupported(
        config, "quantization_config",
        concat("quantised weights ", method, " are not supported"),
        "only bfloat16 and float32 weights can be imported",
        "use the unquantised checkpoint, or convert it to "
        "bfloat16 and remove 'quantization_config'");
  }
  for (const Fact &fact : model.family->facts) {
    MOE_ASSIGN_OR_RETURN(std::string value,
                         config.get(Text{{fact.key}, fact.value.str()}));
    if (value != fact.value)
      return unsupported(
          config, fact.key, concat("'", fact.key.str(), "' is '", value, "'"),
          concat("models of type '", model.family->modelType.str(),
                 "' are known with '", fact.value.str(), "' only"),
          "describe the block in the moe dialect and compile the .mlir file");
  }
  if (findActivation(model.activation))
    return {};
  SmallVector<StringRef> names;
  for (const Activation &activation : getActivations())
    names.append(activation.names.begin(), activation.names.end());
  return unsupported(
      config, config.nameOf(model.family->activation.names),
      concat("activation '", model.activation, "' is not supported"),
      concat("the activations supported are ", quoteAll(names)),
      "describe the block in the moe dialect and compile the .mlir file");
}

static Status contradiction(const Config &config, StringRef key,
                            std::string what, std::string because) {
  return Status::error(205, std::move(what))
      .at(config.where(key))
      .because(std::move(because))
      .fix("restore the value that the model was published with");
}

static Status readRouter(const Config &config, ImportedModel &model) {
  const Family &family = *model.family;
  const Router &router = family.router;
  int64_t experts = model.experts;
  MOE_ASSIGN_OR_RETURN(model.topK, config.get(family.topK, 1, maxCount));
  if (model.topK > experts) {
    StringRef key = config.nameOf(family.topK.names);
    return contradiction(config, key,
                         concat("'", key.str(), "' is ", model.topK,
                                ", but there are ", experts, " experts"),
                         "a token cannot visit more experts than there are");
  }
  MOE_ASSIGN_OR_RETURN(model.normalize, config.get(router.normalize));
  MOE_ASSIGN_OR_RETURN(model.scale, config.get(router.scale));
  // Routers compute in f32.
  if (static_cast<float>(model.scale) == 0.0f ||
      !std::isfinite(static_cast<float>(model.scale))) {
    StringRef key = config.nameOf(router.scale.names);
    return contradiction(config, key,
                         concat("'", key.str(), "' is no usable number"),
                         "it must be finite and not zero as a float32");
  }
  MOE_ASSIGN_OR_RETURN(model.groups, config.get(router.groups, 1, experts));
  MOE_ASSIGN_OR_RETURN(model.keptGroups,
                       config.get(router.keptGroups, 1, model.groups));
  if (model.groups == 1)
    return {};
  StringRef key = config.nameOf(router.groups.names);
  if (experts % model.groups)
    return contradiction(config, key,
                         concat("'", key.str(), "' is ", model.groups,
                                ", which does not divide ", experts,
                                " experts"),
                         "all groups have the same number of experts");
  int64_t perGroup = experts / model.groups;
  if (router.filter == GroupFilter::Top2Sum && perGroup < 2)
    return contradiction(config, key,
                         concat("'", key.str(), "' is ", model.groups, " for ",
                                experts, " experts"),
                         "the value of a group is the sum of its two best "
                         "experts, so a group needs two");
  key = config.nameOf(router.keptGroups.names);
  if (model.keptGroups * perGroup < model.topK)
    return contradiction(
        config, key, concat("'", key.str(), "' is ", model.keptGroups),
        concat("that many groups have ", model.keptGroups * perGroup,
               " experts, but every token visits ", model.topK));
  return {};
}

static Status readPlacement(const Config &config, ImportedModel &model) {
  const Placement &placement = model.family->placement;
  MOE_ASSIGN_OR_RETURN(model.layers,
                       config.get(model.family->layers, 1, maxCount));
  MOE_ASSIGN_OR_RETURN(int64_t first, config.get(placement.first, 0, maxCount));
  MOE_ASSIGN_OR_RETURN(int64_t every, config.get(placement.every, 1, maxCount));
  MOE_ASSIGN_OR_RETURN(std::vector<int64_t> dense,
                       config.getList(placement.dense));
  llvm::sort(dense);
  for (int64_t i = first; i < model.layers; ++i)
    if ((i + placement.offset) % every == 0 && !llvm::binary_search(dense, i))
      model.moeLayers.push_back(i);
  if (!model.moeLayers.empty())
    return {};
  return Status::error(208, "the model has no MoE layer")
      .at(config.getPath())
      .because(concat("by its placement rule all ", model.layers,
                      " layers are dense"))
      .fix("name the directory of a Mixture-of-Experts model");
}

/// Fills `blocks` with the layers asked for.
static Status chooseLayers(const Config &config, ImportedModel &model,
                           const ImportOptions &options) {
  std::vector<int64_t> chosen = model.moeLayers;
  if (options.layers) {
    chosen.assign(options.layers->begin(), options.layers->end());
    llvm::sort(chosen);
    chosen.erase(llvm::unique(chosen), chosen.end());
  }
  for (int64_t layer : chosen) {
    if (!llvm::binary_search(model.moeLayers, layer)) {
      std::string known;
      for (int64_t i : ArrayRef(model.moeLayers).take_front(20))
        known += concat(known.empty() ? "" : ", ", i);
      if (model.moeLayers.size() > 20)
        known += concat(", ... (", model.moeLayers.size(), " in all)");
      return Status::error(208, concat("layer ", layer, " is no MoE layer"))
          .at(config.getPath())
          .because(concat("the MoE layers of this model are ", known))
          .fix("ask for layers of this list only");
    }
    model.blocks.push_back({layer, {}});
  }
  if (!model.blocks.empty())
    return {};
  return Status::error(208, "no layer to import")
      .at(config.getPath())
      .because("the list of layers is empty")
      .fix("ask for at least one layer, or do not limit the layers");
}

/// The last component of a directory however it is written.
static std::string baseName(StringRef directory) {
  SmallString<256> real;
  if (llvm::sys::fs::real_path(directory, real))
    real = directory;
  return llvm::sys::path::filename(real).str();
}

StatusOr<ImportedModel> model::describeModel(const Config &config,
                                             StringRef directory,
                                             const ImportOptions &options) {
  ImportedModel model;
  model.name = baseName(directory);
  MOE_ASSIGN_OR_RETURN(model.family, readFamily(config));
  const Family &family = *model.family;
  MOE_ASSIGN_OR_RETURN(model.dtype, readDType(config));
  MOE_ASSIGN_OR_RETURN(model.activation, config.get(family.activation));
  MOE_RETURN_IF_ERROR(checkFacts(config, model));
  MOE_ASSIGN_OR_RETURN(model.hidden, config.get(family.hidden, 1, maxChannels));
  MOE_ASSIGN_OR_RETURN(model.width, config.get(family.width, 1, maxChannels));
  MOE_ASSIGN_OR_RETURN(model.experts, config.get(family.experts, 1, maxCount));
  MOE_RETURN_IF_ERROR(readRouter(config, model));
  if (family.shared.kind != SharedKind::None) {
    MOE_ASSIGN_OR_RETURN(int64_t width,
                         config.get(family.shared.width, 0, maxChannels));
    MOE_ASSIGN_OR_RETURN(int64_t count,
                         config.get(family.shared.count, 0, maxCount));
    model.sharedWidth = width * count;
  }
  uint64_t bytes = moert::byteSize(model.dtype);
  if (!moert::shapeBytes({model.experts, 2 * model.width, model.hidden},
                         bytes) ||
      !moert::shapeBytes({model.sharedWidth, model.hidden}, bytes))
    return contradiction(config, config.nameOf(family.hidden.names),
                         concat("the experts are too large: ", model.experts,
                                " of ", model.width, " x ", model.hidden),
                         "the size of one weight must fit 63 bits");
  MOE_RETURN_IF_ERROR(readPlacement(config, model));
  MOE_RETURN_IF_ERROR(chooseLayers(config, model, options));
  return model;
}
