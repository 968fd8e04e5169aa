//===- SelectTopk.h - What applies a routing policy -------------*- C++ -*-===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The steps of docs/Numerics.md ("Router") as emitters, one token at a time:
// scores (SelectTopkScores.cpp), the order of keys (SelectTopkOrder.cpp), keys
// and groups (SelectTopkKeys.cpp), and what happens to the chosen pairs
// afterwards (SelectTopkPairs.cpp). SelectTopk.cpp puts them together. Kernels
// that choose in another way share the pieces.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CODEGEN_CPU_EXPAND_SELECTTOPK_H
#define MOE_LIB_CODEGEN_CPU_EXPAND_SELECTTOPK_H

#include "Lanes.h"
#include "moe/Codegen/CPU/KernelExpansion.h"

#include <limits>

namespace mlir::moe::cpu {

//===----------------------------------------------------------------------===//
// Order
//===----------------------------------------------------------------------===//
//
// Keys are compared as integers: the order of step 3 on f32 becomes the order
// of i32 by mapping -0 to +0, NaN to -infinity and turning the negative values
// around. The smallest i32 is then free to say "cannot be selected".

/// The key of what cannot be selected.
inline constexpr int32_t kExcluded = std::numeric_limits<int32_t>::min();

/// Keys of f32 values, scalar or vector.
Value keyOf(ImplicitLocOpBuilder &b, Value value);
/// The f32 of keys, scalar or vector.
Value valueOfKey(ImplicitLocOpBuilder &b, Value key);

/// Index and value of a key.
struct BestKey {
  Value index, key;
};
/// The first of the largest `size` keys, which is then excluded. Keys behind
/// them, up to a whole number of lanes, are excluded.
BestKey emitTakeBest(ImplicitLocOpBuilder &b, Value keys, int64_t size);

//===----------------------------------------------------------------------===//
// Scores
//===----------------------------------------------------------------------===//

/// A constant like `like`, a scalar or vector of f32.
Value constantLike(ImplicitLocOpBuilder &b, Value like, float value);
/// The functions of docs/Numerics.md on a scalar or vector of f32.
Value emitSigmoid(ImplicitLocOpBuilder &b, Value x);
Value emitSqrtSoftplus(ImplicitLocOpBuilder &b, Value x);
/// Largest lane, NaN when any lane is NaN.
Value reduceMaximum(ImplicitLocOpBuilder &b, Value lanes);

/// Calls `use` with lanes of the scores (step 1, rounded as `round` says) of
/// the `size` logits from `row` on. `scores` is scratch of f32 for all lanes.
void emitScores(ImplicitLocOpBuilder &b, Score score, Type round, Value logits,
                Value row, int64_t size, Value scores,
                function_ref<void(ImplicitLocOpBuilder &, Value lanes, Value e,
                                  int64_t count)>
                    use);

//===----------------------------------------------------------------------===//
// Keys
//===----------------------------------------------------------------------===//

/// Scores and selection keys of one token: steps 1, 2 and 4.
class SelectionKeys {
public:
  SelectionKeys(KernelSelectTopkOp op, KernelContext &ctx);

  /// Fills `scores` and `keys` with those of the first choice. `logitRow` is
  /// the token's place in the logits.
  void emitFirst(ImplicitLocOpBuilder &b, Value token, Value logitRow);
  /// Turns the keys into those of the choices after the first.
  void emitRest(ImplicitLocOpBuilder &b, Value token);
  /// Whether the first choice has keys of its own.
  bool firstDiffers();

  /// Scratch: per expert.
  Value scores, keys;

private:
  Value loadBias(ImplicitLocOpBuilder &b, Value token, Value e, int64_t count);
  /// Raises the keys of experts that are resident or among the best.
  void emitPrefer(ImplicitLocOpBuilder &b);
  /// Excludes the keys of all groups but the best.
  void emitGroupFilter(ImplicitLocOpBuilder &b);
  /// The value of the group whose keys begin at `begin`, as a key.
  Value emitGroupValue(ImplicitLocOpBuilder &b, Value begin);

  KernelSelectTopkOp op;
  const Policy policy;
  int64_t experts;
  /// Scratch: per group; ids and keys of the best that `prefer` names.
  Value groupKeys, bestIds, bestKeys;
};

//===----------------------------------------------------------------------===//
// Chosen pairs
//===----------------------------------------------------------------------===//

/// The choices of one token in order of selection. Their id is -1 when they are
/// no pair; the lanes behind the last choice are harmless.
class ChosenPairs {
public:
  ChosenPairs(PolicyAttr policy, KernelContext &ctx);

  void emitClearTail(ImplicitLocOpBuilder &b);
  void emitStore(ImplicitLocOpBuilder &b, Value j, Value id, Value weight);
  /// Step 6 for weights that follow from the chosen logits, which `weights`
  /// holds: softmax and sigmoid.
  void emitWeightsOfLogits(ImplicitLocOpBuilder &b);
  /// Steps 7 to 9: null experts from `firstNull` on, `normalize` over all
  /// choices, `keep`. `random` may be null; `row` is the token's place in it.
  void emitDrops(ImplicitLocOpBuilder &b, int64_t firstNull, Value random,
                 Value row);
  /// Steps 11 to 13, and the pairs in ascending id from `row` on.
  void emitFinish(ImplicitLocOpBuilder &b, Value toIds, Value toWeights,
                  Value row);
  /// The choices as they are, for those that decide on capacity.
  void emitInOrder(ImplicitLocOpBuilder &b, Value toIds, Value toWeights,
                   Value row);

private:
  using Update = function_ref<Value(ImplicitLocOpBuilder &, Value)>;
  using Combine = function_ref<Value(ImplicitLocOpBuilder &, Value, Value)>;
  /// From the place of a choice and its weight.
  using Map = function_ref<Value(ImplicitLocOpBuilder &, Value j, Value w)>;

  /// Changes all weights, lanes at a time.
  void update(ImplicitLocOpBuilder &b, Update change);
  void divideBy(ImplicitLocOpBuilder &b, Value scalar);
  /// Combines what `map` makes of the weights in order of selection, starting
  /// from the first.
  Value reduce(ImplicitLocOpBuilder &b, Combine combine, Map map);
  Value sum(ImplicitLocOpBuilder &b, Map map);
  /// Whether a choice with this id is a pair, i1.
  Value isPair(ImplicitLocOpBuilder &b, Value id);
  /// Steps 8 and 11.
  void emitNormalize(ImplicitLocOpBuilder &b, bool pairsOnly);
  void emitKeep(ImplicitLocOpBuilder &b, Value random, Value row);
  void emitSorted(ImplicitLocOpBuilder &b, Value toIds, Value toWeights,
                  Value row);

  const Policy policy;
  /// Whether a token may have fewer pairs than choices.
  bool dropsPairs;
  /// Scratch: one i32 and one f32 per choice.
  Value ids, weights;
};

} // namespace mlir::moe::cpu

#endif // MOE_LIB_CODEGEN_CPU_EXPAND_SELECTTOPK_H
