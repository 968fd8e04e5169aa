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
/// `a.b` is the key b of the object under a.
template <typename T> struct Setting {
  std::vector<StringRef> names;
  std::optional<T> fallback;
};
using Int = Setting<int64_t>;
using Flag = Setting<bool>;
using Number = Setting<double>;
using Text = Setting<std::string>;

/// Layer i is MoE iff i >= first, i % every == phase (a negative phase counts
/// from `every`), and i is not in the list under the key `dense`; or, when the
/// key `listed` has a list, iff i is in it.
struct Placement {
  Int first{{}, 0};
  Int every{{}, 1};
  Int phase{{}, 0};
  StringRef dense;
  StringRef listed;
};

/// Layers of one kind: the decoder of most models, or encoder and decoder.
struct Stack {
  /// How functions and weights of its layers are called.
  StringRef name = "layers";
  /// What `{S}` stands for in the names of tensors; `{L}` is the layer.
  StringRef prefix;
  Int layers{{"num_hidden_layers"}, {}};
  /// Width of an expert.
  Int width;
  Placement placement;
};

/// The clause `capacity` of #moe.policy. A `factor` that is not positive means
/// `slots` slots.
struct Capacity {
  CapacityKind kind = CapacityKind::Factor;
  Number factor{{}, 0.0};
  /// The factor counts tokens, not pairs: it is divided by k.
  bool factorPerToken = false;
  Int slots{{}, 1};
  bool roundDown = false;
  Int minimum{{}, 1};
  Int multiple{{}, 1};
  DropOrder order = DropOrder::Choice;
};

/// The fields of #moe.policy, and how logits are rounded.
struct Router {
  Score score = Score::Softmax;
  WeightSource weights = WeightSource::Scores;
  /// Of sparsemixer.
  Number jitter{{}, 0.0};
  GroupFilter filter = GroupFilter::None;
  Int groups{{}, 1};
  Int keptGroups{{}, 1};
  Flag normalize{{}, false};
  /// Normalises only with k > 1.
  bool normalizeSeveral = false;
  /// Scales only what is not normalised.
  bool normalizeOrScale = false;
  /// The p of `normalize by`, 0 for the plain sum.
  int64_t norm = 0;
  double epsilon = 0.0;
  /// The divisor is at least the epsilon of ...
  enum class AtLeast { Nothing, F32, ModelType } atLeast = AtLeast::Nothing;
  /// Normalises what is left after drops, where any are possible.
  bool afterDrop = false;
  Number scale{{}, 1.0};
  /// Makes the scale `scale * (1 - dropout)`.
  Number dropout{{}, 0.0};
  Keep keep = Keep::All;
  Number keepBound{{}, 0.0};
  std::optional<Capacity> capacity;
  /// The weight multiplies what the expert takes, not what it gives.
  bool appliesToInput = false;
  /// The reference multiplies x and the router in the model's type.
  bool roundLogits = false;
  /// The reference casts the scores to the model's type.
  bool roundScores = false;
  /// The reference casts the routing weights to the model's type.
  bool roundWeights = false;
};

enum class SharedKind {
  None,
  /// Added as it is.
  Plain,
  /// Multiplied by sigmoid(x . w) first.
  Gated,
  /// With c = softmax of two numbers x . w: c0 * routed + c1 * shared.
  Mixed,
};

/// Experts that every token visits: one MLP of `width` * `count`.
struct Shared {
  SharedKind kind = SharedKind::None;
  Int width{{}, 0};
  Int count{{}, 1};
};

/// How an expert with two first products joins them.
enum class Gating {
  /// act(gate) * up.
  Product,
  /// (up + 1) * gate * sigmoid(alpha * gate), gate at most `limit` and up
  /// within +-`limit`.
  Clamped,
};

/// What a tensor of the checkpoint is for, and its shape as [out, in]. E
/// experts of width I; the shared one has width S. `Gate` alone, without `Up`,
/// is an ungated expert.
enum class Role {
  Router,         // [E, H], identity experts included
  RouterBias,     // [E]
  SelectBias,     // [E], f32 in every model
  Gate,           // [I, H] per expert
  Up,             // [I, H] per expert
  GateUp,         // [2I, H] per expert, split into Gate and Up
  Down,           // [H, I] per expert
  GateBias,       // [I] per expert
  UpBias,         // [I] per expert
  GateUpBias,     // [2I] per expert, split into GateBias and UpBias
  DownBias,       // [H] per expert
  OutputBias,     // [H], added to the block's output
  SharedGate,     // [S, H]
  SharedUp,       // [S, H]
  SharedDown,     // [H, S]
  SharedGateBias, // [S]
  SharedUpBias,   // [S]
  SharedDownBias, // [H]
  SharedScale,    // [1, H], of SharedKind::Gated
  Mix,            // [2, H], of SharedKind::Mixed, split into the next two
  MixRouted,      // [1, H]
  MixShared,      // [1, H]
  MixBias,        // [2], split into the next two
  MixRoutedBias,  // [1]
  MixSharedBias,  // [1]
};

/// How the checkpoint stores a tensor; flags.
enum Layout : unsigned {
  RowsAreOutputs = 0,
  /// [in, out] instead of [out, in].
  Transposed = 1,
  /// Gate and up alternate; otherwise all of gate comes first.
  Interleaved = 2,
  /// [E * rows, columns]: the experts' matrices one below the other.
  Merged = 4,
};

/// The name of a tensor. `{L}` is the layer, `{E}` the expert, `{S}` the prefix
/// of the stack. The tensor of an expert's role without `{E}` holds all
/// experts, in a leading dimension.
struct TensorName {
  Role role;
  std::string pattern;
  unsigned layout = RowsAreOutputs;
};

/// All tensors of one block under one convention.
struct Spelling {
  std::vector<TensorName> names;
  /// The `quant_method` of config.json that this is for; empty for every
  /// checkpoint. The method says how codes and scales are called (Encodings.h).
  StringRef method;
};

struct Family;

/// A key of which only some values have a known meaning; others are refused.
struct Choice {
  struct Option {
    /// As it stands in config.json, without quotes; "null" for null.
    StringRef value;
    /// What it changes; null for nothing. May add choices at the end.
    void (*apply)(Family &family) = nullptr;
  };
  StringRef key;
  /// What an absent key means.
  StringRef fallback;
  std::vector<Option> options;
  /// Why others are refused, and what to do then, where more is known than that
  /// they are unknown.
  StringRef because = {}, fix = {};
};

struct Family {
  StringRef modelType;
  /// The object of config.json that has the settings; empty for all of it.
  StringRef root;
  std::vector<Stack> stacks{Stack{}};
  Int hidden{{"hidden_size"}, {}};
  Int experts;
  /// `experts` may be a list with one number for each MoE layer.
  bool listsExperts = false;
  /// Experts behind the others that give back what they take.
  Int identityExperts{{}, 0};
  Int topK{{"num_experts_per_tok"}, {}};
  Text activation{{"hidden_act"}, "silu"};
  Gating gating = Gating::Product;
  /// Of Gating::Clamped.
  Number alpha{{}, 0.0};
  Number limit{{}, 0.0};
  Router router;
  Shared shared;
  std::vector<Choice> choices;
  std::vector<Spelling> spellings;

  Stack &stack() { return stacks.front(); }
};

/// The table, in ascending order of `modelType`.
ArrayRef<Family> getFamilies();

/// The row of `modelType`, null when there is none.
const Family *findFamily(StringRef modelType);

} // namespace mlir::moe::model

#endif // MOE_LIB_MODEL_FAMILY_H
