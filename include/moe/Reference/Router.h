//===- Router.h - The router, bit for bit -----------------------*- C++ -*-===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// docs/Numerics.md as code: f32 arithmetic in exactly the order given there.
// All functions are pure.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_REFERENCE_ROUTER_H
#define MOE_REFERENCE_ROUTER_H

#include "moe/Dialect/Moe/IR/Moe.h"
#include "llvm/ADT/ArrayRef.h"

#include <cstdint>
#include <vector>

namespace mlir::moe::reference {

//===----------------------------------------------------------------------===//
// Functions of numbers
//===----------------------------------------------------------------------===//

/// "The sixteen-lane sum" of products of two arrays of one size.
float sixteenLaneDot(ArrayRef<float> a, ArrayRef<float> b);
/// "The sixteen-lane sum" of the elements.
float sixteenLaneSum(ArrayRef<float> a);

/// "exp" and the sigmoid built on it.
float routerExp(float x);
float routerSigmoid(float x);
/// "log" and the softplus built on both.
float routerLog(float x);
float routerSoftplus(float x);

/// f32 to bf16 and back, as "Rounding between formats" says.
float roundToBF16(float x);

/// f32 to `type` (f32, bf16 or f16) and back; a null type rounds nothing.
float roundRouterValue(float x, Type type);

/// "Router logits" with `cosine`: the dot product over the norms.
float cosineDot(ArrayRef<float> a, ArrayRef<float> b, float epsilon);

/// "Random numbers": the number of one row and column of `columns`.
float randomNumber(Distribution distribution, uint64_t seed, uint64_t stream,
                   uint64_t row, uint64_t column, uint64_t columns);

//===----------------------------------------------------------------------===//
// Token choice
//===----------------------------------------------------------------------===//

/// What one token's choice depends on. Logits are those of all experts, null
/// ones included; the others are empty or as long as `moe.route` says.
struct RouterRow {
  ArrayRef<float> logits, bias;
  ArrayRef<int64_t> resident;
  /// One for each choice.
  ArrayRef<float> random;
};

/// The `top_k` choices of one token.
struct Selection {
  /// -1: no pair, then the weight is +0.
  std::vector<int64_t> ids;
  std::vector<float> weights;
  /// `moe.routing_regret` of the token; 0 without `prefer`.
  float regret = 0;
};

/// Step 1 of "Router": scores of one token.
std::vector<float> routerScores(ArrayRef<float> logits, Score kind);

/// Steps 1 to 9 of "Router" for one token, in order of selection. The policy
/// holds for this number of experts (constraints of `moe.route`).
Selection chooseExperts(const RouterRow &row, PolicyAttr policy);

/// Steps 11 to 13: final weights, in ascending id, then the missing ones.
Selection finishSelection(Selection choices, PolicyAttr policy);

/// All steps for one token and a policy without capacity.
Selection selectExperts(const RouterRow &row, PolicyAttr policy);

/// "Product keys" for one token: final weights, in ascending id.
Selection selectProducts(ArrayRef<float> first, ArrayRef<float> second,
                         PolicyAttr policy);

//===----------------------------------------------------------------------===//
// All tokens
//===----------------------------------------------------------------------===//

/// The slots of one expert when `tokens` compete; "Capacity".
int64_t countSlots(CapacityAttr capacity, int64_t tokens, int64_t perToken,
                   int64_t experts);

/// Step 10 of "Router": replaces the pairs that `capacity` of the policy drops
/// by -1 and +0. Choices of all tokens, in order of selection; `experts` is the
/// number that are not null. Gives the dropped pairs of each expert.
std::vector<int64_t> applyCapacity(MutableArrayRef<Selection> tokens,
                                   int64_t experts, PolicyAttr policy);

/// How `moe.choose_tokens` chooses.
struct TokenChoice {
  TokenScore score = TokenScore::None;
  CapacityAttr capacity;
  bool average = false;
  /// 1 when there is no `scale`.
  float scale = 1;
  /// Null for none.
  Type roundWeights;
};

/// "Expert choice". For each token an id per expert, -1 for experts that do
/// not take it.
std::vector<Selection> chooseTokens(ArrayRef<float> logits, int64_t tokens,
                                    int64_t experts, const TokenChoice &choice);

} // namespace mlir::moe::reference

#endif // MOE_REFERENCE_ROUTER_H
