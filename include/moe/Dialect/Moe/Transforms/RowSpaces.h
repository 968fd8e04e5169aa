//===- RowSpaces.h - What the rows of a tensor stand for --------*- C++ -*-===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Types do not tell whether a tensor has one row per token or one per pair
// (token, expert) of some routing; this analysis does, on routed ops.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_TRANSFORMS_ROWSPACES_H
#define MOE_DIALECT_MOE_TRANSFORMS_ROWSPACES_H

#include "moe/Dialect/Moe/IR/Moe.h"

namespace mlir::moe {

/// What the rows of a tensor stand for.
struct RowSpace {
  enum class Kind {
    /// No tensor of rank 1 or more.
    None,
    /// One row per token of the function.
    Tokens,
    /// One row per pair that `pairs` counts.
    Pairs,
    /// `rows` rows, known at compile time, such as the slots of Soft MoE.
    Fixed
  };
  Kind kind = Kind::None;
  /// The `expert_offsets` of a routing (on the graph level the routing).
  Value pairs;
  int64_t rows = 0;

  static RowSpace ofTokens() { return {Kind::Tokens, {}, 0}; }
  static RowSpace ofPairs(Value pairs) { return {Kind::Pairs, pairs, 0}; }
  static RowSpace ofFixed(int64_t rows) { return {Kind::Fixed, {}, rows}; }

  bool operator==(const RowSpace &other) const {
    return kind == other.kind && pairs == other.pairs && rows == other.rows;
  }
  bool operator!=(const RowSpace &other) const { return !(*this == other); }
};

/// The spaces of the values of a function, filled op by op in program order.
/// Not thread-safe.
class RowSpaces {
public:
  /// The space of a value: as noted, else from its type: the leading extent
  /// when it is static, tokens when it is not.
  RowSpace lookup(Value value) const;

  /// What the tokens are among which a routing distributes pairs.
  /// \param pairs  the `expert_offsets` of the routing
  RowSpace getTokens(Value pairs) const { return tokens.lookup(pairs); }

  void set(Value value, RowSpace space) { spaces[value] = space; }
  void setTokens(Value pairs, RowSpace space) { tokens[pairs] = space; }

  /// Notes the results of a routed op; other ops are left alone. Its operands
  /// must be noted already.
  void visit(Operation *op);

private:
  DenseMap<Value, RowSpace> spaces, tokens;
};

/// The op that makes the list `value` as its result number `list` (0 to 4, see
/// the routed ops); null when no op does.
Operation *getListMaker(Value value, unsigned list);

} // namespace mlir::moe

#endif // MOE_DIALECT_MOE_TRANSFORMS_ROWSPACES_H
