//===- ScalarProgram.h - Scalar code as closures ----------------*- C++ -*-===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_REFERENCE_SCALARPROGRAM_H
#define MOE_LIB_REFERENCE_SCALARPROGRAM_H

#include "Frame.h"

#include <functional>
#include <vector>

namespace mlir::moe::reference {

/// Computes the result of an op from its operands. Sets `error` when the op
/// has no result for them.
using ScalarFunction =
    std::function<Scalar(const Scalar *operands, const char *&error)>;

/// Whether f32 results keep f64 precision or are rounded; see Tensor.h.
enum class Precision { F64, F32 };

/// The function of an arith or math op with one result, on one element; empty
/// when the op is not known. Constants are not included.
ScalarFunction getScalarFunction(Operation *op, Precision precision);

/// A block of scalar ops, compiled once and run for many elements.
class ScalarProgram {
public:
  /// Values from outside the block are taken from `frame`, which must outlive
  /// the program; `numLoops` is the number of indices that `linalg.index` may
  /// ask for. Emits an error for an op that is no scalar op.
  static FailureOr<ScalarProgram> compile(Block &block, const Frame &frame,
                                          unsigned numLoops = 0,
                                          Precision precision = Precision::F64);

  /// Runs on the arguments and indices set before. Emits an error when an op
  /// fails.
  LogicalResult run();

  void setArgument(unsigned i, Scalar value) { registers[i] = value; }
  /// The operand `i` of the terminator after `run`.
  Scalar result(unsigned i) const { return registers[results[i]]; }
  /// Sets the index of loop `i` for `linalg.index`.
  void setIndex(unsigned i, int64_t value) {
    registers[numArguments + i].i = value;
  }

private:
  struct Step {
    ScalarFunction function;
    SmallVector<unsigned, 3> operands;
    unsigned result;
    Operation *op;
  };
  /// Block arguments, loop indices, then constants and results.
  std::vector<Scalar> registers;
  std::vector<Step> steps;
  SmallVector<unsigned, 2> results;
  unsigned numArguments = 0;
};

} // namespace mlir::moe::reference

#endif // MOE_LIB_REFERENCE_SCALARPROGRAM_H
