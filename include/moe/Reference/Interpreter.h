//===- Interpreter.h - The judge --------------------------------*- C++ -*-===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Runs functions of a module, obviously rather than fast: the moe dialect at
// graph and routed level, and func, arith, math, linalg, tensor and scf around
// it. Tensor.h says in which precision.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_REFERENCE_INTERPRETER_H
#define MOE_REFERENCE_INTERPRETER_H

#include "moe/Reference/Tensor.h"
#include "moe/Reference/Weights.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/MapVector.h"

namespace mlir::moe::reference {

/// What one router decided (`moe.route`, `moe.route_products`, and the ops of
/// the routed level that end them): ids and weights, N x k, ascending ids
/// within a token, then -1 and +0 for each pair that is missing.
struct RouteRecord {
  Tensor ids, weights;
};

/// Executions of an op and the seconds that they took, nested ops included.
struct OpTime {
  int64_t count = 0;
  double seconds = 0;
};

/// Interprets functions of one module, which must outlive it and stay as it
/// is. Use one interpreter per thread; several may share module and weights.
class Interpreter {
public:
  Interpreter(ModuleOp module, WeightProvider &weights);

  /// Calls function `name` with one tensor per argument; a scalar argument
  /// takes a tensor of rank 0. Arguments must have the shapes and element
  /// types that the function declares. Inputs and results are rounded to their
  /// types. Errors are emitted as diagnostics; one that begins with "[MOEnnnn]"
  /// has that number in ErrorCodes.def.
  FailureOr<SmallVector<RuntimeValue>> call(StringRef name,
                                            ArrayRef<Tensor> arguments);

  /// The routing decisions of all calls, in order of execution.
  ArrayRef<RouteRecord> getRoutes() const { return routes; }
  /// Time per op name, in order of first execution.
  const llvm::MapVector<StringRef, OpTime> &getTimes() const { return times; }

private:
  friend class Frame;
  ModuleOp module;
  SymbolTable symbols;
  WeightProvider &weights;
  std::vector<RouteRecord> routes;
  llvm::MapVector<StringRef, OpTime> times;
  int depth = 0;
};

} // namespace mlir::moe::reference

#endif // MOE_REFERENCE_INTERPRETER_H
