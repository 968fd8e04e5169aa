//===- Family.h - What distinguishes the families of models ---------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A family is data: which keys of config.json hold the sizes, which layers are
// MoE, how tokens are routed, what an expert computes, and how tensors are
// called. docs/Guides/AddingAFamily.md explains each field.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_MODEL_FAMILY_H
#define MOE_LIB_MODEL_FAMILY_H

#include "moe/Dialect/Moe/IR/Moe.h"

#include <optional>
#include <string>
#include <vector>

namespace mlir::moe::model {

/// A value that config.json gives under one of several names, the preferred
/// one first. A name that is absent or null gives `fallback`; without a
/// fallback that is an error. Without names it is the constant `fallback`.
template <typename T> struct Setting {
  std::vector<StringRef> names;
  std::optional<T> fallback;
};
using Int = Setting<int64_t>;
using Flag = Setting<bool>;
using Number = Setting<double>;
using Text = Setting<std::string>;

/// Layer i is MoE iff i >= first, (i + offset) % every == 0, and i is not in
/// the list under the key `dense`.
struct Placement {
  Int first{{}, 0};
  Int every{{}, 1};
  int64_t offset = 0;
  StringRef dense;
};

/// The fields of #moe.policy, and how logits are rounded.
struct Router {
  Score score = Score::Softmax;
  WeightSource weights = WeightSource::Scores;
  GroupFilter filter = GroupFilter::None;
  Int groups{{}, 1};
  Int keptGroups{{}, 1};
  Flag normalize{{}, false};
  double epsilon = 0.0;
  Number scale{{}, 1.0};
  /// The reference multiplies x and the router in the model's type.
  bool roundLogits = false;
  /// The reference casts the routing weights to the model's type.
  bool roundWeights = false;
};

enum class SharedKind {
  None,
  /// Added as it is.
  Plain,
  /// Multiplied by sigmoid(x . w) first.
  Gated,
};

/// Experts that every token visits: one MLP of `width` * `count`.
struct Shared {
  SharedKind kind = SharedKind::None;
  Int width{{}, 0};
  Int count{{}, 1};
};

/// What a tensor of the checkpoint is for.
enum class Role {
  Router,     // [E, H]
  SelectBias, // [E], f32 in every model
  Gate,       // [I, H] per expert
  Up,         // [I, H] per expert
  GateUp,     // [E, 2I, H], gate rows first
  Down,       // [H, I] per expert, or [E, H, I]
  SharedGate, // [S, H]
  SharedUp,   // [S, H]
  SharedDown, // [H, S]
  SharedScale // [1, H]
};

/// The name of a tensor. `{L}` is the layer, `{E}` the expert; a Gate, Up or
/// Down without `{E}` holds all experts.
struct TensorName {
  Role role;
  StringRef pattern;
};

/// All tensors of one block under one convention.
using Spelling = std::vector<TensorName>;

/// A key whose value is part of what the family means. Other values are
/// refused; an absent key is fine.
struct Fact {
  StringRef key;
  StringRef value;
};

struct Family {
  StringRef modelType;
  Int layers{{"num_hidden_layers"}, {}};
  Int hidden{{"hidden_size"}, {}};
  Int width;
  Int experts;
  Int topK{{"num_experts_per_tok"}, {}};
  Text activation{{"hidden_act"}, "silu"};
  Placement placement;
  Router router;
  Shared shared;
  std::vector<Fact> facts;
  std::vector<Spelling> spellings;
};

/// The table, in ascending order of `modelType`.
ArrayRef<Family> getFamilies();

/// The row of `modelType`, null when there is none.
const Family *findFamily(StringRef modelType);

} // namespace mlir::moe::model

#endif // MOE_LIB_MODEL_FAMILY_H
