//===- ScalarProgram.cpp - Scalar code as closures ------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ScalarProgram.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe::reference;

/// `tensor.extract` from a tensor outside the block.
static ScalarFunction getExtract(tensor::ExtractOp op, Tensor source) {
  return
      [source = std::move(source)](const Scalar *indices, const char *&error) {
        int64_t position = 0;
        for (int64_t d = 0; d < source.getRank(); ++d) {
          if (indices[d].i < 0 || indices[d].i >= source.getDim(d)) {
            error = "index is out of range";
            return Scalar{};
          }
          position = position * source.getDim(d) + indices[d].i;
        }
        if (!source.isDefined(position)) {
          error = "reads an element that was never written";
          return Scalar{};
        }
        return source.getScalar(position);
      };
}

FailureOr<ScalarProgram> ScalarProgram::compile(Block &block,
                                                const Frame &frame,
                                                unsigned numLoops,
                                                Precision precision) {
  ScalarProgram program;
  llvm::DenseMap<Value, unsigned> place;
  for (BlockArgument argument : block.getArguments())
    place[argument] = program.registers.size() + argument.getArgNumber();
  program.numArguments = block.getNumArguments();
  program.registers.resize(program.numArguments + numLoops);

  // The register of a value; values from outside become constants.
  auto registerOf = [&](Operation *user, Value value) -> FailureOr<unsigned> {
    auto it = place.find(value);
    if (it != place.end())
      return it->second;
    const RuntimeValue *known = frame.find(value);
    if (!known || !std::holds_alternative<Scalar>(*known))
      return user->emitOpError() << "uses a value of type " << value.getType()
                                 << ", which scalar code cannot";
    program.registers.push_back(std::get<Scalar>(*known));
    return place[value] = program.registers.size() - 1;
  };

  for (Operation &op : block.without_terminator()) {
    if (auto index = dyn_cast<linalg::IndexOp>(op)) {
      place[index.getResult()] = program.numArguments + index.getDim();
      continue;
    }
    if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
      Scalar value;
      if (auto number = dyn_cast<FloatAttr>(constant.getValue()))
        value.f = number.getValueAsDouble();
      else if (auto number = dyn_cast<IntegerAttr>(constant.getValue()))
        value.i = number.getValue().getSExtValue();
      else
        return op.emitOpError("is no scalar, which scalar code needs");
      place[constant.getResult()] = program.registers.size();
      program.registers.push_back(value);
      continue;
    }
    Step step;
    step.op = &op;
    ValueRange operands = op.getOperands();
    if (auto extract = dyn_cast<tensor::ExtractOp>(op)) {
      const RuntimeValue *source = frame.find(extract.getTensor());
      if (!source)
        return op.emitOpError("reads a tensor made by scalar code");
      step.function =
          getExtract(extract, std::get<Tensor>(*source).contiguous());
      operands = extract.getIndices();
    } else {
      step.function = getScalarFunction(&op, precision);
    }
    if (!step.function)
      return emitUnknown(&op);
    for (Value operand : operands) {
      FailureOr<unsigned> number = registerOf(&op, operand);
      if (failed(number))
        return failure();
      step.operands.push_back(*number);
    }
    step.result = place[op.getResult(0)] = program.registers.size();
    program.registers.emplace_back();
    program.steps.push_back(std::move(step));
  }
  Operation *terminator = block.getTerminator();
  for (Value operand : terminator->getOperands()) {
    FailureOr<unsigned> number = registerOf(terminator, operand);
    if (failed(number))
      return failure();
    program.results.push_back(*number);
  }
  return program;
}

LogicalResult ScalarProgram::run() {
  Scalar operands[8];
  for (const Step &step : steps) {
    for (size_t i = 0; i < step.operands.size(); ++i)
      operands[i] = registers[step.operands[i]];
    const char *error = nullptr;
    registers[step.result] = step.function(operands, error);
    if (error)
      return step.op->emitOpError(error);
  }
  return success();
}
