//===- Frame.h - One activation of a function or region ---------*- C++ -*-===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_REFERENCE_FRAME_H
#define MOE_LIB_REFERENCE_FRAME_H

#include "moe/Reference/Interpreter.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "llvm/ADT/DenseMap.h"

namespace mlir::moe::reference {

/// Emits an error at `op` that carries a number of ErrorCodes.def.
InFlightDiagnostic emitNumbered(Operation *op, int number);

/// The values of one activation. A region that is not isolated sees the values
/// of the frame around it.
class Frame {
public:
  Frame(Interpreter &interpreter, const Frame *parent)
      : interpreter(interpreter), parent(parent) {}

  /// The value, null when it has none yet.
  const RuntimeValue *find(Value value) const;
  const RuntimeValue &get(Value value) const;
  Scalar getScalar(Value value) const;
  int64_t getInt(Value value) const { return getScalar(value).i; }
  const Routing &getRouting(Value value) const;
  /// The tensor, possibly a stack, elements possibly undefined.
  const Tensor &getTensor(Value value) const;
  /// The tensor as an array; fails when an element was never written.
  FailureOr<Tensor> read(Operation *op, Value value) const;

  /// Defines `value`; fails at `op` when a shape contradicts its type.
  LogicalResult set(Operation *op, Value value, RuntimeValue content);

  /// Runs a block with these arguments; gives the operands of its terminator.
  FailureOr<SmallVector<RuntimeValue>> run(Block &block,
                                           ArrayRef<RuntimeValue> arguments);

  Interpreter &getInterpreter() const { return interpreter; }
  FailureOr<SmallVector<RuntimeValue>>
  callFunction(Operation *op, StringRef name, ArrayRef<RuntimeValue> arguments);
  FailureOr<Tensor> loadWeight(GetWeightOp op);
  void recordRoute(RouteRecord record);

private:
  LogicalResult execute(Operation *op);

  Interpreter &interpreter;
  const Frame *parent;
  llvm::DenseMap<Value, RuntimeValue> values;
};

/// Each runs one op of its group, or fails with a diagnostic.
LogicalResult runMoeOp(Operation *op, Frame &frame);
LogicalResult runTensorOp(Operation *op, Frame &frame);
LogicalResult runControlOp(Operation *op, Frame &frame);
LogicalResult runStructuredOp(linalg::LinalgOp op, Frame &frame);
LogicalResult runSoftmax(linalg::SoftmaxOp op, Frame &frame);
/// Scalar ops, on scalars or on every element of tensors.
LogicalResult runElementwiseOp(Operation *op, Frame &frame);
/// The diagnostic for an op that the interpreter does not know.
LogicalResult emitUnknown(Operation *op);

} // namespace mlir::moe::reference

#endif // MOE_LIB_REFERENCE_FRAME_H
