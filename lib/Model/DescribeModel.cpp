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

std::string model::quoteAll(ArrayRef<StringRef> names) {
  std::string text;
  for (StringRef name : names)
    text += concat(text.empty() ? "'" : ", '", name.str(), "'");
  return text;
}

Status model::unsupported(const Config &config, StringRef key, std::string what,
                          std::string because, std::string fix) {
  return Status::error(207, std::move(what))
      .at(key.empty() ? config.getPath() : config.where(key))
      .because(std::move(because))
      .fix(std::move(fix));
}

static constexpr char useDialect[] =
    "describe the block in the moe dialect and compile the .mlir file";

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

static const Text dtypeSetting{{"dtype", "torch_dtype"}, {}};

static StatusOr<moert::DType> readDType(const Config &config) {
  MOE_ASSIGN_OR_RETURN(std::string name, config.get(dtypeSetting));
  if (name == "float32")
    return moert::DType::F32;
  if (name == "bfloat16")
    return moert::DType::BF16;
  return unsupported(config, config.nameOf(dtypeSetting.names),
                     concat("models of type '", name, "' are not supported"),
                     "the types supported are 'bfloat16' and 'float32'",
                     "convert the checkpoint and its config.json to bfloat16");
}

/// Applies what the keys with few meanings say.
static Status makeChoices(const Config &config, Family &family) {
  for (size_t i = 0; i < family.choices.size(); ++i) {
    // A copy: options may change the family, and add choices.
    const Choice choice = family.choices[i];
    MOE_ASSIGN_OR_RETURN(std::string value,
                         config.getWord(choice.key, choice.fallback));
    auto option =
        llvm::find_if(choice.options, [&](const Choice::Option &option) {
          return option.value == value;
        });
    if (option == choice.options.end()) {
      SmallVector<StringRef> known;
      for (const Choice::Option &option : choice.options)
        known.push_back(option.value);
      return unsupported(
          config, choice.key,
          concat("'", config.show(choice.key), "' is '", value, "'"),
          choice.because.empty()
              ? concat("models of type '", family.modelType.str(),
                       "' are known with ", quoteAll(known), " only")
              : choice.because.str(),
          choice.fix.empty() ? useDialect : choice.fix.str());
    }
    if (option->apply)
      option->apply(family);
  }
  return {};
}

static Status readActivation(const Config &config, ImportedModel &model) {
  const Family &family = *model.family;
  if (family.gating == Gating::Clamped) {
    model.activation = "swiglu_clamped";
    MOE_ASSIGN_OR_RETURN(model.alpha,
                         getF32(config, family.alpha, /*isPositive=*/true));
    MOE_ASSIGN_OR_RETURN(model.limit,
                         getF32(config, family.limit, /*isPositive=*/true));
    return {};
  }
  MOE_ASSIGN_OR_RETURN(model.activation, config.get(family.activation));
  if (findActivation(model.activation))
    return {};
  SmallVector<StringRef> names;
  for (const Activation &activation : getActivations())
    names.append(activation.names.begin(), activation.names.end());
  return unsupported(
      config, config.nameOf(family.activation.names),
      concat("activation '", model.activation, "' is not supported"),
      concat("the activations supported are ", quoteAll(names)), useDialect);
}

Status model::contradiction(const Config &config, StringRef key,
                            std::string what, std::string because) {
  return Status::error(205, std::move(what))
      .at(config.where(key))
      .because(std::move(because))
      .fix("restore the value that the model was published with");
}

StatusOr<double> model::getF32(const Config &config, const Number &setting,
                               bool isPositive) {
  MOE_ASSIGN_OR_RETURN(double value, config.get(setting));
  float rounded = static_cast<float>(value);
  if (std::isfinite(rounded) && (isPositive ? rounded > 0 : rounded >= 0))
    return value;
  StringRef key = config.nameOf(setting.names);
  return contradiction(
      config, key, concat("'", config.show(key), "' is no usable number"),
      concat("it must be finite and ", isPositive ? "positive" : "not negative",
             " as a float32"));
}

/// Appends the MoE layers of a stack, and their blocks.
static Status readStack(const Config &config, const Stack &stack,
                        ImportedModel &model) {
  const Placement &placement = stack.placement;
  MOE_ASSIGN_OR_RETURN(int64_t layers, config.get(stack.layers, 1, maxCount));
  MOE_ASSIGN_OR_RETURN(int64_t width, config.get(stack.width, 1, maxChannels));
  std::vector<int64_t> chosen;
  if (!placement.listed.empty() && config.find(placement.listed)) {
    MOE_ASSIGN_OR_RETURN(chosen, config.getList(placement.listed));
    llvm::sort(chosen);
    chosen.erase(llvm::unique(chosen), chosen.end());
    if (!chosen.empty() && (chosen.front() < 0 || chosen.back() >= layers)) {
      int64_t wrong = chosen.front() < 0 ? chosen.front() : chosen.back();
      return contradiction(
          config, placement.listed,
          concat("'", config.show(placement.listed), "' names layer ", wrong),
          concat("the layers are 0 to ", layers - 1));
    }
  } else {
    MOE_ASSIGN_OR_RETURN(int64_t first,
                         config.get(placement.first, 0, maxCount));
    MOE_ASSIGN_OR_RETURN(int64_t every,
                         config.get(placement.every, 1, maxCount));
    MOE_ASSIGN_OR_RETURN(
        int64_t phase,
        config.get(placement.phase, placement.phase.names.empty() ? -1 : 0,
                   placement.phase.names.empty() ? maxCount : every - 1));
    MOE_ASSIGN_OR_RETURN(std::vector<int64_t> dense,
                         config.getList(placement.dense));
    llvm::sort(dense);
    phase = (phase % every + every) % every;
    for (int64_t i = first; i < layers; ++i)
      if (i % every == phase && !llvm::binary_search(dense, i))
        chosen.push_back(i);
  }
  for (int64_t index : chosen) {
    ImportedBlock block;
    block.stack = &stack;
    block.layer = model.layers + index;
    block.index = index;
    block.width = width;
    model.moeLayers.push_back(block.layer);
    model.blocks.push_back(std::move(block));
  }
  model.layers += layers;
  return {};
}

/// Every MoE layer gets a block.
static Status readPlacement(const Config &config, ImportedModel &model) {
  for (const Stack &stack : model.family->stacks)
    MOE_RETURN_IF_ERROR(readStack(config, stack, model));
  if (!model.blocks.empty()) {
    model.width = model.blocks.front().width;
    return {};
  }
  return Status::error(208, "the model has no MoE layer")
      .at(config.getPath())
      .because(concat("by its placement rule all ", model.layers,
                      " layers are dense"))
      .fix("name the directory of a Mixture-of-Experts model");
}

/// The number of experts, of each MoE layer in turn.
static Status readExperts(const Config &config, ImportedModel &model) {
  const Family &family = *model.family;
  MOE_ASSIGN_OR_RETURN(model.identityExperts,
                       config.get(family.identityExperts, 0, maxCount));
  StringRef key = config.nameOf(family.experts.names);
  const llvm::json::Value *value = config.find(key);
  if (!family.listsExperts || !value || !value->getAsArray()) {
    MOE_ASSIGN_OR_RETURN(int64_t experts,
                         config.get(family.experts, 1, maxCount));
    model.experts.assign(model.blocks.size(), experts);
  } else {
    MOE_ASSIGN_OR_RETURN(model.experts, config.getList(key));
    if (model.experts.size() == 1)
      model.experts.assign(model.blocks.size(), model.experts.front());
    if (model.experts.size() != model.blocks.size())
      return contradiction(config, key,
                           concat("'", config.show(key), "' has ",
                                  model.experts.size(), " numbers for ",
                                  model.blocks.size(), " MoE layers"),
                           "it must have one number, or one for each of them");
    for (int64_t experts : model.experts)
      if (experts < 1 || experts > maxCount)
        return contradiction(
            config, key,
            concat("'", config.show(key), "' names ", experts, " experts"),
            concat("it must be at least 1 and at most ", maxCount));
  }
  for (auto [block, experts] : llvm::zip(model.blocks, model.experts))
    block.experts = experts;
  return {};
}

/// Leaves the blocks of the layers asked for.
static Status chooseLayers(const Config &config, ImportedModel &model,
                           const ImportOptions &options) {
  if (!options.layers)
    return {};
  for (int64_t layer : *options.layers) {
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
  }
  llvm::erase_if(model.blocks, [&](const ImportedBlock &block) {
    return !llvm::is_contained(*options.layers, block.layer);
  });
  if (!model.blocks.empty())
    return {};
  return Status::error(208, "no layer to import")
      .at(config.getPath())
      .because("the list of layers is empty")
      .fix("ask for at least one layer, or do not limit the layers");
}

static Status checkSizes(const Config &config, const ImportedModel &model) {
  if (model.quantisation &&
      model.quantisation->encoding == WeightEncoding::Mxfp4)
    for (auto [size, key] :
         {std::pair(model.hidden, config.nameOf(model.family->hidden.names)),
          std::pair(model.width,
                    config.nameOf(model.family->stacks[0].width.names))})
      if (size % 32)
        return contradiction(config, key,
                             concat("'", config.show(key), "' is ", size),
                             "32 values of mxfp4 share a scale");
  uint64_t bytes = moert::byteSize(model.dtype);
  for (const ImportedBlock &block : model.blocks)
    if (!moert::shapeBytes({block.experts + model.identityExperts,
                            2 * block.width, model.hidden},
                           bytes) ||
        !moert::shapeBytes({model.sharedWidth, model.hidden}, bytes))
      return contradiction(config, config.nameOf(model.family->hidden.names),
                           concat("the experts are too large: ", block.experts,
                                  " of ", block.width, " x ", model.hidden),
                           "the size of one weight must fit 63 bits");
  return {};
}

/// The last component of a directory however it is written.
static std::string baseName(StringRef directory) {
  SmallString<256> real;
  if (llvm::sys::fs::real_path(directory, real))
    real = directory;
  return llvm::sys::path::filename(real).str();
}

StatusOr<ImportedModel> model::describeModel(Config config, StringRef directory,
                                             const ImportOptions &options) {
  ImportedModel model;
  model.name = baseName(directory);
  MOE_ASSIGN_OR_RETURN(const Family *row, readFamily(config));
  auto chosen = std::make_shared<Family>(*row);
  model.family = chosen;
  MOE_ASSIGN_OR_RETURN(model.quantisation, readQuantisation(config, *row));
  // Beside the object with the settings, or in it.
  bool isOutside = config.find(config.nameOf(dtypeSetting.names)) != nullptr;
  if (isOutside) {
    MOE_ASSIGN_OR_RETURN(model.dtype, readDType(config));
  }
  MOE_RETURN_IF_ERROR(config.enter(row->root));
  if (!isOutside) {
    MOE_ASSIGN_OR_RETURN(model.dtype, readDType(config));
  }
  MOE_RETURN_IF_ERROR(makeChoices(config, *chosen));
  const Family &family = *model.family;
  MOE_RETURN_IF_ERROR(readActivation(config, model));
  MOE_ASSIGN_OR_RETURN(model.hidden, config.get(family.hidden, 1, maxChannels));
  MOE_RETURN_IF_ERROR(readPlacement(config, model));
  MOE_RETURN_IF_ERROR(readExperts(config, model));
  MOE_RETURN_IF_ERROR(readRouter(config, model));
  if (family.shared.kind != SharedKind::None) {
    MOE_ASSIGN_OR_RETURN(int64_t width,
                         config.get(family.shared.width, 0, maxChannels));
    MOE_ASSIGN_OR_RETURN(int64_t count,
                         config.get(family.shared.count, 0, maxCount));
    model.sharedWidth = width * count;
  }
  MOE_RETURN_IF_ERROR(checkSizes(config, model));
  MOE_RETURN_IF_ERROR(chooseLayers(config, model, options));
  return model;
}
