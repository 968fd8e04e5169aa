//===- Interpreter.cpp - The judge ----------------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Reference/Interpreter.h"
#include "Frame.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/FormatVariadic.h"

#include <chrono>

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::reference;

/// Calls within calls; a recursive module would otherwise exhaust the stack.
static constexpr int maxDepth = 100;

InFlightDiagnostic mlir::moe::reference::emitNumbered(Operation *op,
                                                      int number) {
  return op->emitError() << llvm::formatv("[MOE{0:D4}] ", number).str();
}

LogicalResult mlir::moe::reference::emitUnknown(Operation *op) {
  return op->emitOpError("is not known to the interpreter");
}

//===----------------------------------------------------------------------===//
// Frame
//===----------------------------------------------------------------------===//

const RuntimeValue *Frame::find(Value value) const {
  auto it = values.find(value);
  if (it != values.end())
    return &it->second;
  return parent ? parent->find(value) : nullptr;
}

const RuntimeValue &Frame::get(Value value) const {
  const RuntimeValue *content = find(value);
  assert(content && "dominance gives every operand a value");
  return *content;
}

Scalar Frame::getScalar(Value value) const {
  return std::get<Scalar>(get(value));
}

const Routing &Frame::getRouting(Value value) const {
  return std::get<Routing>(get(value));
}

const Tensor &Frame::getTensor(Value value) const {
  return std::get<Tensor>(get(value));
}

FailureOr<Tensor> Frame::read(Operation *op, Value value) const {
  const Tensor &tensor = getTensor(value);
  if (!tensor.isFullyDefined())
    return op->emitOpError() << "reads a tensor of " << tensor.getTypeString()
                             << " with elements that were never written";
  return tensor.contiguous();
}

LogicalResult Frame::set(Operation *op, Value value, RuntimeValue content) {
  if (auto type = dyn_cast<RankedTensorType>(value.getType())) {
    const auto &tensor = std::get<Tensor>(content);
    bool fits = tensor.getRank() == type.getRank();
    for (int64_t d = 0; fits && d < type.getRank(); ++d)
      fits = type.isDynamicDim(d) || type.getDimSize(d) == tensor.getDim(d);
    if (!fits)
      return op->emitOpError() << "gives a tensor of " << tensor.getTypeString()
                               << " where its type is " << type;
  }
  values.insert_or_assign(value, std::move(content));
  return success();
}

FailureOr<SmallVector<RuntimeValue>>
Frame::run(Block &block, ArrayRef<RuntimeValue> arguments) {
  for (auto [argument, content] :
       llvm::zip_equal(block.getArguments(), arguments))
    if (failed(set(block.getParentOp(), argument, content)))
      return failure();
  for (Operation &op : block.without_terminator()) {
    auto start = std::chrono::steady_clock::now();
    if (failed(execute(&op)))
      return failure();
    std::chrono::duration<double> elapsed =
        std::chrono::steady_clock::now() - start;
    OpTime &time = interpreter.times[op.getName().getStringRef()];
    ++time.count;
    time.seconds += elapsed.count();
  }
  SmallVector<RuntimeValue> results;
  for (Value operand : block.getTerminator()->getOperands())
    results.push_back(get(operand));
  return results;
}

LogicalResult Frame::execute(Operation *op) {
  for (Value operand : op->getOperands())
    if (isa<BaseMemRefType, UnrankedTensorType, VectorType>(operand.getType()))
      return op->emitOpError() << "uses a value of type " << operand.getType()
                               << ", which the interpreter does not know";
  if (auto structured = dyn_cast<linalg::LinalgOp>(op))
    return runStructuredOp(structured, *this);
  if (auto softmax = dyn_cast<linalg::SoftmaxOp>(op))
    return runSoftmax(softmax, *this);
  StringRef dialect = op->getName().getDialectNamespace();
  if (dialect == MoeDialect::getDialectNamespace())
    return runMoeOp(op, *this);
  if (dialect == tensor::TensorDialect::getDialectNamespace())
    return runTensorOp(op, *this);
  if (isa<arith::ArithDialect, math::MathDialect>(op->getDialect()))
    return op->getNumResults() == 1 ? runElementwiseOp(op, *this)
                                    : emitUnknown(op);
  return runControlOp(op, *this);
}

FailureOr<SmallVector<RuntimeValue>>
Frame::callFunction(Operation *op, StringRef name,
                    ArrayRef<RuntimeValue> arguments) {
  auto function = interpreter.symbols.lookup<func::FuncOp>(name);
  if (!function)
    return op->emitOpError() << "calls @" << name << ", which does not exist";
  if (function.isExternal() || !llvm::hasSingleElement(function.getBody()))
    return function.emitOpError("has no body of one block to interpret");
  if (interpreter.depth >= maxDepth)
    return op->emitOpError() << "calls deeper than " << maxDepth << " levels";
  ++interpreter.depth;
  Frame frame(interpreter, nullptr);
  FailureOr<SmallVector<RuntimeValue>> results =
      frame.run(function.getBody().front(), arguments);
  --interpreter.depth;
  return results;
}

FailureOr<Tensor> Frame::loadWeight(GetWeightOp op) {
  auto weight = interpreter.symbols.lookup<WeightOp>(op.getWeight());
  if (!weight)
    return op.emitOpError() << "names no weight: @" << op.getWeight();
  return interpreter.weights.load(weight);
}

void Frame::recordRoute(RouteRecord record) {
  interpreter.routes.push_back(std::move(record));
}

//===----------------------------------------------------------------------===//
// Control flow
//===----------------------------------------------------------------------===//

static LogicalResult setResults(Operation *op, Frame &frame,
                                ArrayRef<RuntimeValue> contents) {
  for (auto [result, content] : llvm::zip_equal(op->getResults(), contents))
    if (failed(frame.set(op, result, content)))
      return failure();
  return success();
}

static LogicalResult runFor(scf::ForOp op, Frame &frame) {
  int64_t lower = frame.getInt(op.getLowerBound()),
          upper = frame.getInt(op.getUpperBound()),
          step = frame.getInt(op.getStep());
  if (step <= 0)
    return op.emitOpError() << "has step " << step;
  SmallVector<RuntimeValue> carried;
  for (Value init : op.getInitArgs())
    carried.push_back(frame.get(init));
  for (int64_t i = lower; i < upper; i += step) {
    Scalar index;
    index.i = i;
    SmallVector<RuntimeValue> arguments = {index};
    llvm::append_range(arguments, carried);
    Frame body(frame.getInterpreter(), &frame);
    FailureOr<SmallVector<RuntimeValue>> next =
        body.run(*op.getBody(), arguments);
    if (failed(next))
      return failure();
    carried = std::move(*next);
  }
  return setResults(op, frame, carried);
}

static LogicalResult runIf(scf::IfOp op, Frame &frame) {
  Region &region =
      frame.getInt(op.getCondition()) ? op.getThenRegion() : op.getElseRegion();
  if (region.empty())
    return success();
  Frame body(frame.getInterpreter(), &frame);
  FailureOr<SmallVector<RuntimeValue>> results = body.run(region.front(), {});
  return failed(results) ? failure() : setResults(op, frame, *results);
}

static LogicalResult runCall(func::CallOp op, Frame &frame) {
  SmallVector<RuntimeValue> arguments;
  for (Value operand : op.getOperands())
    arguments.push_back(frame.get(operand));
  FailureOr<SmallVector<RuntimeValue>> results =
      frame.callFunction(op, op.getCallee(), arguments);
  return failed(results) ? failure() : setResults(op, frame, *results);
}

LogicalResult mlir::moe::reference::runControlOp(Operation *op, Frame &frame) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](scf::ForOp op) { return runFor(op, frame); })
      .Case([&](scf::IfOp op) { return runIf(op, frame); })
      .Case([&](func::CallOp op) { return runCall(op, frame); })
      .Default([](Operation *op) { return emitUnknown(op); });
}

//===----------------------------------------------------------------------===//
// Interpreter
//===----------------------------------------------------------------------===//

Interpreter::Interpreter(ModuleOp module, WeightProvider &weights)
    : module(module), symbols(module), weights(weights) {}

/// The argument as the function takes it.
static FailureOr<RuntimeValue> fitArgument(func::FuncOp function, unsigned i,
                                           const Tensor &given) {
  Type type = function.getArgumentTypes()[i];
  auto shaped = dyn_cast<RankedTensorType>(type);
  bool fits = getElementTypeOrSelf(type) == given.getElementType() &&
              given.getRank() == (shaped ? shaped.getRank() : 0);
  for (int64_t d = 0; fits && shaped && d < shaped.getRank(); ++d)
    fits = shaped.isDynamicDim(d) || shaped.getDimSize(d) == given.getDim(d);
  if (!fits)
    return emitNumbered(function, 13)
           << "input " << i << " of @" << function.getName() << " is "
           << given.getTypeString() << ", but the function takes " << type;
  Tensor rounded = given.contiguous().rounded();
  if (shaped)
    return RuntimeValue(rounded);
  return RuntimeValue(rounded.getScalar(0));
}

FailureOr<SmallVector<RuntimeValue>>
Interpreter::call(StringRef name, ArrayRef<Tensor> arguments) {
  auto function = symbols.lookup<func::FuncOp>(name);
  if (!function)
    return emitNumbered(module, 2) << "the module has no function @" << name;
  if (arguments.size() != function.getNumArguments())
    return emitNumbered(function, 13)
           << "@" << name << " takes " << function.getNumArguments()
           << " inputs, but " << arguments.size() << " were given";
  SmallVector<RuntimeValue> contents;
  for (auto [i, argument] : llvm::enumerate(arguments)) {
    FailureOr<RuntimeValue> content = fitArgument(function, i, argument);
    if (failed(content))
      return failure();
    contents.push_back(std::move(*content));
  }
  Frame frame(*this, nullptr);
  FailureOr<SmallVector<RuntimeValue>> results =
      frame.callFunction(function, name, contents);
  if (failed(results))
    return failure();
  for (auto [i, result] : llvm::enumerate(*results)) {
    Type type = function.getResultTypes()[i];
    if (auto *tensor = std::get_if<Tensor>(&result)) {
      if (!tensor->isFullyDefined())
        return function.emitOpError()
               << "returns result " << i
               << " with elements that were never written";
      *tensor = tensor->contiguous().rounded();
    } else if (auto *scalar = std::get_if<Scalar>(&result)) {
      if (isa<FloatType>(type))
        scalar->f = roundToType(scalar->f, type);
    }
  }
  return results;
}
