//===- ProcessGrid.h - Several ranks in one process -------------*- C++ -*-===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_REFERENCE_PROCESSGRID_H
#define MOE_REFERENCE_PROCESSGRID_H

#include "moe/Reference/Interpreter.h"

#include <memory>

namespace mlir::moe::reference {

/// Ranks that run one module, each on a thread with an interpreter of its own.
class ProcessGrid {
public:
  ProcessGrid(ModuleOp module, WeightProvider &weights, int64_t ranks);

  /// Calls function `name` on every rank with that rank's arguments. Fails
  /// when a rank fails, after all have ended.
  FailureOr<std::vector<SmallVector<RuntimeValue>>>
  call(StringRef name, ArrayRef<std::vector<Tensor>> arguments);

  int64_t getNumRanks() const { return ranks.size(); }
  const Interpreter &getRank(int64_t rank) const { return *ranks[rank]; }

private:
  std::vector<std::unique_ptr<Interpreter>> ranks;
};

} // namespace mlir::moe::reference

#endif // MOE_REFERENCE_PROCESSGRID_H
