//===- Policy.h - The clauses of a routing policy ---------------*- C++ -*-===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What #moe.policy holds, as a value that code fills field by field. The
// clauses are documented at the attribute (MoeAttrs.td), their arithmetic in
// docs/Numerics.md ("Router").
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_IR_POLICY_H
#define MOE_DIALECT_MOE_IR_POLICY_H

#include "mlir/IR/Attributes.h"
#include "mlir/IR/Types.h"
#include "llvm/ADT/DenseMapInfo.h"
#include "llvm/ADT/StringRef.h"

#include <optional>
#include <string>

#include "moe/Dialect/Moe/IR/MoeEnums.h.inc"

namespace mlir::moe {

class CapacityAttr;

struct Policy {
  /// `top_k`.
  int64_t topK = 0;
  Score score = Score::Softmax;
  /// `round_scores`, null for none.
  Type roundScores;
  bool biasAfterFirst = false;
  /// `groups = G keep K by filter`; 1 and 1 without groups.
  int64_t groups = 1;
  int64_t keepGroups = 1;
  GroupFilter groupFilter = GroupFilter::None;
  /// `prefer = x beyond J`.
  bool prefers = false;
  float prefer = 0;
  int64_t preferBeyond = 0;
  int64_t nullExperts = 0;

  WeightSource weightSource = WeightSource::Scores;
  /// `sparsemixer jitter x`.
  float jitter = 0;
  bool normalize = false;
  /// `by p`; 0 is the plain sum.
  int64_t norm = 0;
  /// `epsilon x`, or with `atLeast` the smallest divisor.
  float epsilon = 0;
  bool atLeast = false;
  bool afterDrop = false;
  float scale = 1;
  /// `round_weights`, null for none.
  Type roundWeights;

  Keep keep = Keep::All;
  /// The x of `keep`.
  float keepBound = 0;
  /// Null without the clause.
  Attribute capacityAttr;
  DropOrder dropOrder = DropOrder::Choice;

  /// `capacityAttr` as what it is.
  CapacityAttr getCapacity() const;

  /// Whether all fields are the same, numbers bit by bit.
  bool operator==(const Policy &other) const;
  bool operator!=(const Policy &other) const { return !(*this == other); }
};

llvm::hash_code hash_value(const Policy &policy);

} // namespace mlir::moe

#endif // MOE_DIALECT_MOE_IR_POLICY_H
