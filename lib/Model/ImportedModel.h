//===- ImportedModel.h - A model as the importer understood it ------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_MODEL_IMPORTEDMODEL_H
#define MOE_LIB_MODEL_IMPORTEDMODEL_H

#include "Config.h"
#include "Family.h"
#include "moe/Model/Import.h"
#include "moert/Format/Safetensors.h"

#include <array>

namespace mlir::moe::model {

/// A `moe.weight` to be.
struct ImportedWeight {
  Role role;
  std::string symbol;
  moert::DType dtype;
  /// Of the weight as the module sees it.
  std::vector<int64_t> shape;
  /// With a range in braces where there is one source per expert.
  std::string source;
  bool stack = false;
  /// Dimension, begin, end, step, extent of the source.
  std::optional<std::array<int64_t, 5>> split;
};

/// One MoE block: what differs between the layers of a model.
struct ImportedBlock {
  int64_t layer;
  std::vector<ImportedWeight> weights;

  const ImportedWeight *find(Role role) const {
    for (const ImportedWeight &weight : weights)
      if (weight.role == role)
        return &weight;
    return nullptr;
  }
};

/// A whole model. All sizes are checked: products of them fit.
struct ImportedModel {
  const Family *family = nullptr;
  std::string name;
  moert::DType dtype = moert::DType::F32;
  std::string activation;
  int64_t layers = 0, hidden = 0, width = 0, experts = 0, topK = 0;
  int64_t groups = 1, keptGroups = 1;
  /// 0 without shared experts.
  int64_t sharedWidth = 0;
  bool normalize = false;
  double scale = 1.0;
  /// All MoE layers in ascending order, imported or not.
  std::vector<int64_t> moeLayers;
  /// The imported ones, in ascending order.
  std::vector<ImportedBlock> blocks;
};

/// Understands config.json. The blocks have no weights yet.
StatusOr<ImportedModel> describeModel(const Config &config, StringRef directory,
                                      const ImportOptions &options);

/// Finds the tensors of every block and checks their shapes and types.
/// MOE0206 with the first problems and their number.
Status bindTensors(ImportedModel &model, const moert::Checkpoint &checkpoint);

/// Builds the module; cannot fail for a model that the two above accepted.
OwningOpRef<ModuleOp> buildModule(MLIRContext *context,
                                  const ImportedModel &model,
                                  const ImportOptions &options);

/// An activation function of experts.
struct Activation {
  /// Values of `hidden_act` that mean it.
  std::vector<StringRef> names;
  /// Applies it to a scalar of f32.
  Value (*build)(OpBuilder &builder, Location loc, Value x);
};
ArrayRef<Activation> getActivations();
/// Null when unknown.
const Activation *findActivation(StringRef name);

/// 1 / (1 + exp(-x)) on a scalar of f32.
Value buildSigmoid(OpBuilder &builder, Location loc, Value x);

} // namespace mlir::moe::model

#endif // MOE_LIB_MODEL_IMPORTEDMODEL_H
