//===- Weights.h - Where the interpreter gets weights -----------*- C++ -*-===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_REFERENCE_WEIGHTS_H
#define MOE_REFERENCE_WEIGHTS_H

#include "moe/Dialect/Moe/IR/Moe.h"
#include "moe/Reference/Tensor.h"
#include "moert/Format/Safetensors.h"

#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace mlir::moe::reference {

/// Gives the values of `moe.weight` symbols. Thread-safe.
class WeightProvider {
public:
  virtual ~WeightProvider();
  /// The value of `weight`, of its declared type; emits an error at it when
  /// there is none.
  virtual FailureOr<Tensor> load(WeightOp weight) = 0;
};

/// No weights at all: every load is an error (MOE0401).
class NoWeights : public WeightProvider {
public:
  FailureOr<Tensor> load(WeightOp weight) override;
};

/// Weights of a checkpoint, read when first asked for and kept. A source that
/// is neither split nor transposed stays in the mapped file.
class CheckpointWeights : public WeightProvider {
public:
  explicit CheckpointWeights(
      std::shared_ptr<const moert::Checkpoint> checkpoint)
      : checkpoint(std::move(checkpoint)) {}
  /// MOE0402 when a tensor is missing or has another shape or type.
  FailureOr<Tensor> load(WeightOp weight) override;

private:
  std::shared_ptr<const moert::Checkpoint> checkpoint;
  std::mutex mutex;
  std::map<std::string, Tensor> loaded;
};

} // namespace mlir::moe::reference

#endif // MOE_REFERENCE_WEIGHTS_H
