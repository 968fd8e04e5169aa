//===- ProcessGrid.cpp - Several ranks in one process ---------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Reference/ProcessGrid.h"

#include <thread>

using namespace mlir;
using namespace mlir::moe::reference;

ProcessGrid::ProcessGrid(ModuleOp module, WeightProvider &weights,
                         int64_t numRanks) {
  for (int64_t rank = 0; rank < numRanks; ++rank)
    ranks.push_back(std::make_unique<Interpreter>(module, weights));
}

FailureOr<std::vector<SmallVector<RuntimeValue>>>
ProcessGrid::call(StringRef name, ArrayRef<std::vector<Tensor>> arguments) {
  std::vector<FailureOr<SmallVector<RuntimeValue>>> results(ranks.size());
  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < ranks.size(); ++rank)
    threads.emplace_back([&, rank] {
      results[rank] = ranks[rank]->call(name, arguments[rank]);
    });
  for (std::thread &thread : threads)
    thread.join();
  std::vector<SmallVector<RuntimeValue>> values;
  for (FailureOr<SmallVector<RuntimeValue>> &result : results) {
    if (failed(result))
      return failure();
    values.push_back(std::move(*result));
  }
  return values;
}
