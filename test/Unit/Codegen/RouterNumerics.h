//===- RouterNumerics.h - The routers of docs/Numerics.md -----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A plain implementation of the sections "Router", "Capacity", "Expert choice"
// and "Product keys", written from their text.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TEST_UNIT_CODEGEN_ROUTERNUMERICS_H
#define MOE_TEST_UNIT_CODEGEN_ROUTERNUMERICS_H

#include "Numerics.h"

#include <string>

namespace moe_test {

enum class Score { None, Softmax, Sigmoid, SqrtSoftplus };
enum class Filter { None, Max, Top2Sum };
enum class WeightsFrom { Scores, Softmax, Sigmoid, Sparsemixer, Constant };
enum class Keep { All, Threshold, TopP, Random };
enum class Order { Choice, Position, Weight, Priority };
enum class Narrow { No, BF16, F16 };

struct Capacity {
  enum Kind { None, Factor, Tokens, Slots } kind = None;
  double factor = 0.0;
  int64_t slots = 0;
  bool floor = false;
  int64_t minimum = 1, multiple = 1, every = 0;

  /// As #moe.capacity writes it, without the brackets.
  std::string text() const;
  /// The number of slots when `tokens` compete.
  int64_t slotsFor(int64_t tokens, int64_t perToken, int64_t experts) const;
};

struct Policy {
  int64_t topK = 1;
  Score score = Score::Softmax;
  Narrow roundScores = Narrow::No;
  bool biasAfterFirst = false;
  int64_t groups = 1, keepGroups = 1;
  Filter filter = Filter::None;
  bool prefers = false;
  float prefer = 0.0f;
  int64_t beyond = 0, nullExperts = 0;

  WeightsFrom weights = WeightsFrom::Scores;
  float jitter = 0.0f;
  bool normalize = false, atLeast = false, afterDrop = false;
  int64_t norm = 0;
  float epsilon = 0.0f, scale = 1.0f;
  Narrow roundWeights = Narrow::No;

  Keep keep = Keep::All;
  float keepBound = 0.0f;
  Capacity capacity;
  Order order = Order::Choice;

  /// As #moe.policy writes it, with the brackets.
  std::string text() const;
};

struct Pair {
  int32_t id;
  float weight;
};

/// What a token brings along; null for what the policy does not ask for.
struct TokenInputs {
  const float *bias = nullptr;
  const int32_t *resident = nullptr;
  const float *random = nullptr;
};

/// Steps 1 to 9 for one token: its choices in order of selection, the id -1 and
/// weight +0 for those that are no pair.
std::vector<Pair> choose(const std::vector<float> &logits,
                         const TokenInputs &inputs, const Policy &policy);

/// Steps 11 to 13: the final pairs, ascending, then id -1 with weight +0.
std::vector<Pair> finish(std::vector<Pair> choices, const Policy &policy);

/// Both, for a policy without a capacity; `bias` may be null.
std::vector<Pair> route(const std::vector<float> &logits, const float *bias,
                        const Policy &policy);

/// Step 10, over the choices of all tokens: turns pairs without a slot into id
/// -1 and returns how many each of `experts` lost.
std::vector<int32_t> applyCapacity(std::vector<std::vector<Pair>> &choices,
                                   const Policy &policy, int64_t experts);

/// The final pairs of a token by product keys.
std::vector<Pair> routeProducts(const std::vector<float> &first,
                                const std::vector<float> &second,
                                const Policy &policy);

enum class TokenScore { None, Softmax, Sigmoid, SoftmaxOverTokens };

struct TokenChoice {
  TokenScore score = TokenScore::Softmax;
  Capacity capacity;
  bool average = false;
  float scale = 1.0f;
  Narrow round = Narrow::No;
};

/// Expert choice on logits of tokens x experts.
Lists chooseTokens(const std::vector<float> &logits, int64_t tokens,
                   int64_t experts, const TokenChoice &choice);

/// The name of `value` in the dialect.
const char *nameOf(TokenScore value);
const char *nameOf(Narrow value);

} // namespace moe_test

#endif // MOE_TEST_UNIT_CODEGEN_ROUTERNUMERICS_H
