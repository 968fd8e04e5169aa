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
#include <memory>

namespace mlir::moe::model {

/// Far above every model there is; products of two of them fit 63 bits.
constexpr int64_t maxChannels = 1 << 24;
constexpr int64_t maxCount = 1 << 16;

/// How `quantization_config` says that matrices of experts are stored: a tensor
/// `name` is `name` + `codes`, with scales in `name` + `scales`.
struct Quantisation {
  std::string method;
  WeightEncoding encoding;
  StringRef codes, scales;
  /// Rows and columns that share a scale, of fp8_block.
  std::array<int64_t, 2> block = {0, 0};
};

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
  bool transpose = false;
  /// Dimension, begin, end, step, extent of the source.
  std::optional<std::array<int64_t, 5>> split;
  std::optional<WeightEncoding> encoding;
  /// Names of the scales, like `source`; empty without encoding.
  std::string scales;
  /// Empty where the op has none.
  std::vector<int64_t> block, stored;
};

/// One MoE block: what differs between the layers of a model.
struct ImportedBlock {
  const Stack *stack = nullptr;
  /// Among the layers of all stacks, and of its own.
  int64_t layer = 0, index = 0;
  int64_t width = 0, experts = 0;
  std::vector<ImportedWeight> weights;

  /// "layers.1", what its function and weights are called.
  std::string getName() const {
    return moert::concat(stack->name.str(), ".", index);
  }
  const ImportedWeight *find(Role role) const {
    for (const ImportedWeight &weight : weights)
      if (weight.role == role)
        return &weight;
    return nullptr;
  }
};

/// The clause `capacity` as read.
struct ImportedCapacity {
  CapacityKind kind;
  double factor = 0.0;
  int64_t slots = 1, minimum = 1, multiple = 1;
};

/// A whole model. All sizes are checked: products of them fit.
struct ImportedModel {
  /// The row with the choices of config.json applied. Blocks point into it.
  std::shared_ptr<const Family> family;
  std::string name;
  moert::DType dtype = moert::DType::F32;
  std::optional<Quantisation> quantisation;
  std::string activation;
  double alpha = 0.0, limit = 0.0;
  int64_t layers = 0, hidden = 0, topK = 0;
  /// Experts of the MoE layers in turn, without identity experts.
  std::vector<int64_t> experts;
  int64_t identityExperts = 0;
  /// Of the first MoE layer.
  int64_t width = 0;
  int64_t groups = 1, keptGroups = 1;
  /// 0 without shared experts.
  int64_t sharedWidth = 0;
  bool normalize = false;
  double scale = 1.0, jitter = 0.0, keepBound = 0.0;
  std::optional<ImportedCapacity> capacity;
  /// All MoE layers in ascending order, imported or not.
  std::vector<int64_t> moeLayers;
  /// The imported ones, in ascending order.
  std::vector<ImportedBlock> blocks;
};

/// Understands config.json. The blocks have no weights yet.
StatusOr<ImportedModel> describeModel(Config config, StringRef directory,
                                      const ImportOptions &options);

/// What `quantization_config` says; nothing when there is none. MOE0207 for a
/// method that the family's weights cannot be read with.
StatusOr<std::optional<Quantisation>> readQuantisation(const Config &config,
                                                       const Family &family);

/// What the policy says. Needs the numbers of experts.
Status readRouter(const Config &config, ImportedModel &model);

/// MOE0205: a value that no model can have.
Status contradiction(const Config &config, StringRef key, std::string what,
                     std::string because);
/// MOE0207.
Status unsupported(const Config &config, StringRef key, std::string what,
                   std::string because, std::string fix);
/// A number that is computed with in f32. MOE0205 when it is not finite there,
/// negative, or, with `isPositive`, zero.
StatusOr<double> getF32(const Config &config, const Number &setting,
                        bool isPositive);
/// "'a', 'b', 'c'".
std::string quoteAll(ArrayRef<StringRef> names);

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

/// Gating::Clamped on scalars of f32.
Value buildClamped(OpBuilder &builder, Location loc, Value gate, Value up,
                   double alpha, double limit);

} // namespace mlir::moe::model

#endif // MOE_LIB_MODEL_IMPORTEDMODEL_H
