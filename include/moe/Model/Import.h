//===- Import.h - From a model directory to moe IR ------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A directory as Hugging Face publishes it (config.json and safetensors files)
// becomes a module with one function per MoE block:
//
//   module attributes {moe.model = {arch = "mixtral", name = "tiny",
//       layers = 2, moe_layers = array<i64: 0, 1>, experts = 8, top_k = 2,
//       hidden = 64, width = 96, shared_width = 0, dtype = bf16}} {
//     moe.weight @layers.0.gate : ... from [...] stack
//     func.func @layers.0.mlp(%x: tensor<?x64xbf16> {moe.name = "x"})
//         -> (tensor<?x64xbf16> {moe.name = "y"})
//         attributes {moe.layer = 0 : i64} { ... }
//   }
//
// `shared_width` is the width of the shared expert, 0 without one. `experts`
// counts those with weights, of the layer with the most; where layers differ,
// `layer_experts` has the number for each of `moe_layers`, and where experts
// that give back what they take stand behind the others, `identity_experts`
// counts them.
//
// Layers of a model with encoder and decoder are numbered through, the
// encoder's first; their functions are called @encoder.layers.N.mlp and
// @decoder.layers.N.mlp, N counting in each. A router that draws random numbers
// in inference gives its function a second input, `seed` : tensor<1xi64>.
//
// Only names, shapes and types of tensors are read, never their values.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MODEL_IMPORT_H
#define MOE_MODEL_IMPORT_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

#include <cstdint>
#include <optional>

namespace mlir::moe {

/// What the description of a model does not say.
struct ImportOptions {
  /// Keeps router logits and routing weights in f32 where the family's own
  /// implementation rounds them to the model's type.
  bool routerF32 = false;
  /// The MoE layers to import, in any order; all when absent.
  std::optional<SmallVector<int64_t>> layers;
  /// Most tokens of one call: the attribute `moe.max_tokens` of the module.
  std::optional<int64_t> maxTokens;
};

/// Imports the model in `directory`. On failure one diagnostic has been emitted
/// whose text is the whole message of an error of ErrorCodes.def:
///
///   error[MOE0203]: config.json has no key 'num_experts_per_tok'
///    --> model/config.json
///   because ...
///   fix: ...
///
/// MOE02xx for the description, MOE04xx for damaged safetensors files. Loads
/// the dialects it needs into `context`. Thread-safe for distinct contexts.
FailureOr<OwningOpRef<ModuleOp>> importModel(MLIRContext *context,
                                             StringRef directory,
                                             const ImportOptions &options = {});

/// The values of `model_type` that `importModel` knows, in ascending order.
SmallVector<StringRef> getKnownModelTypes();

} // namespace mlir::moe

#endif // MOE_MODEL_IMPORT_H
