//===- RowCode.cpp - Tensor code of a row against the judge ---------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RowCode.h"

#include "moe/Dialect/Moe/IR/Moe.h"
#include "moe/Reference/Interpreter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Parser/Parser.h"

#include "gtest/gtest.h"

#include <cmath>

using namespace mlir;
using namespace moe_test;
using mlir::moe::reference::Interpreter;
using mlir::moe::reference::NoWeights;
using mlir::moe::reference::RuntimeValue;
using mlir::moe::reference::Tensor;

std::string moe_test::substitute(
    std::string text,
    const std::vector<std::pair<std::string, std::string>> &names) {
  for (const auto &[name, value] : names)
    for (size_t at; (at = text.find("$" + name)) != std::string::npos;)
      text.replace(at, name.size() + 1, value);
  return text;
}

//===----------------------------------------------------------------------===//
// Source
//===----------------------------------------------------------------------===//

/// "%r0: memref<?xf32>, ..." or, without names, the types alone.
static std::string list(char letter, const std::vector<std::string> &types,
                        bool names, const std::string &before, bool asMemRef) {
  std::string text;
  for (size_t i = 0; i < types.size(); ++i) {
    text += i ? ", " : "";
    if (names)
      text += "%" + std::string(1, letter) + std::to_string(i);
    if (names && !before.empty())
      text += ": ";
    if (!before.empty())
      text += asMemRef
                  ? "memref<?x" + types[i].substr(types[i].rfind('x') + 1) + ">"
                  : "tensor<" + types[i] + ">";
  }
  return text;
}

static std::string memrefs(char letter, const std::vector<std::string> &types) {
  return list(letter, types, true, ":", true);
}
static std::string operands(char letter,
                            const std::vector<std::string> &types) {
  return list(letter, types, true, "", true) + " : " +
         list(letter, types, false, ":", true);
}

static std::string kernelSource(const RowCode &code) {
  std::string text = "plan.kernel @" + code.name + "(";
  auto add = [&](char letter, const std::vector<std::string> &types) {
    if (!types.empty())
      text += memrefs(letter, types) + ", ";
  };
  add('R', code.rows);
  if (code.experts)
    text += "%EO: memref<?xi32>, ";
  add('W', code.weights);
  add('I', code.invariants);
  add('O', code.outs);
  text += "%N: index) on cuda {\n  moe.kernel.map_rows rows(" +
          operands('R', code.rows) + ")";
  if (code.experts)
    text += " offsets(%EO : memref<?xi32>)";
  if (!code.weights.empty())
    text += " weights(" + operands('W', code.weights) + ")";
  if (!code.invariants.empty())
    text += " invariants(" + operands('I', code.invariants) + ")";
  text += "\n      outs(" + operands('O', code.outs) +
          ") tokens(%N) attributes {experts = " + std::to_string(code.experts) +
          " : i64} {\n  ^bb0(";
  std::string arguments;
  auto tensors = [&](char letter, const std::vector<std::string> &types) {
    if (!types.empty())
      arguments += (arguments.empty() ? "" : ", ") +
                   list(letter, types, true, ":", false);
  };
  tensors('r', code.rows);
  tensors('w', code.weights);
  tensors('i', code.invariants);
  return text + arguments + "):\n" + code.body + "\n    moe.yield " +
         list('o', code.outs, true, "", false) + " : " +
         list('o', code.outs, false, ":", false) + "\n  }\n}\n";
}

static std::string functionSource(const RowCode &code) {
  std::string arguments;
  auto tensors = [&](char letter, const std::vector<std::string> &types) {
    if (!types.empty())
      arguments += (arguments.empty() ? "" : ", ") +
                   list(letter, types, true, ":", false);
  };
  tensors('r', code.rows);
  tensors('w', code.weights);
  tensors('i', code.invariants);
  return "func.func @" + code.name + "(" + arguments + ") -> (" +
         list('o', code.outs, false, ":", false) + ") {\n" +
         (code.reference.empty() ? code.body : code.reference) + "\n  return " +
         list('o', code.outs, true, "", false) + " : " +
         list('o', code.outs, false, ":", false) + "\n}\n";
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

static size_t widthOf(Type type) { return type.getIntOrFloatBitWidth() / 8; }

/// The bytes of a tensor's elements as they lie in device memory.
static void append(std::vector<uint8_t> &bytes, const Tensor &tensor) {
  Type type = tensor.getElementType();
  for (int64_t i = 0; i < tensor.getNumElements(); ++i) {
    uint64_t bits;
    if (auto floatType = dyn_cast<FloatType>(type)) {
      llvm::APFloat value(tensor.getFloat(i));
      bool lost;
      value.convert(floatType.getFloatSemantics(),
                    llvm::APFloat::rmNearestTiesToEven, &lost);
      bits = value.bitcastToAPInt().getZExtValue();
    } else {
      bits = tensor.getInt(i);
    }
    for (size_t b = 0; b < widthOf(type); ++b)
      bytes.push_back(uint8_t(bits >> (8 * b)));
  }
}

static double valueAt(const std::vector<uint8_t> &bytes, size_t i, Type type) {
  uint64_t bits = 0;
  for (size_t b = 0; b < widthOf(type); ++b)
    bits |= uint64_t(bytes[i * widthOf(type) + b]) << (8 * b);
  llvm::APInt word(type.getIntOrFloatBitWidth(), bits);
  auto floatType = dyn_cast<FloatType>(type);
  if (!floatType)
    return double(word.getSExtValue());
  llvm::APFloat value(floatType.getFloatSemantics(), word);
  bool lost;
  value.convert(llvm::APFloat::IEEEdouble(), llvm::APFloat::rmNearestTiesToEven,
                &lost);
  return value.convertToDouble();
}

static Tensor randomTensor(Random &random, Type type, float scale) {
  auto tensor = cast<RankedTensorType>(type);
  int64_t size = tensor.getNumElements();
  Type element = tensor.getElementType();
  if (!isa<FloatType>(element)) {
    std::uniform_int_distribution<int64_t> values(-100, 100);
    std::vector<int64_t> ints(size);
    for (int64_t &value : ints)
      value = values(random);
    return Tensor::ofInts(element, tensor.getShape(), ints);
  }
  std::vector<float> wide = randomValues(random, size, scale);
  return Tensor::ofFloats(element, tensor.getShape(),
                          std::vector<double>(wide.begin(), wide.end()))
      .rounded();
}

static std::shared_ptr<DeviceBytes> inputOf(const std::vector<uint8_t> &bytes) {
  return input(bytes);
}

static void compare(const std::vector<uint8_t> &found,
                    const std::vector<uint8_t> &expected, Type type,
                    double tolerance, const std::string &where) {
  ASSERT_EQ(found.size(), expected.size()) << where;
  size_t count = found.size() / widthOf(type);
  double largest = 1e-6;
  for (size_t i = 0; i < count; ++i)
    if (std::isfinite(valueAt(expected, i, type)))
      largest = std::max(largest, std::fabs(valueAt(expected, i, type)));
  if (!isa<FloatType>(type))
    tolerance = 0;
  for (size_t i = 0; i < count; ++i) {
    double x = valueAt(found, i, type), y = valueAt(expected, i, type);
    if (x == y || (std::isnan(x) && std::isnan(y)))
      continue;
    ASSERT_NEAR(x, y, tolerance * largest) << where << ", element " << i;
  }
}

//===----------------------------------------------------------------------===//
// The check
//===----------------------------------------------------------------------===//

void moe_test::checkRowCode(const RowCode &code, const std::string &arch) {
  SCOPED_TRACE(code.name + " for " + arch);
  std::string diagnostics;
  std::unique_ptr<GpuKernels> kernels =
      GpuKernels::compile(kernelSource(code), diagnostics, arch);
  ASSERT_TRUE(kernels) << diagnostics << kernelSource(code);

  MLIRContext context;
  context
      .loadDialect<mlir::moe::MoeDialect, arith::ArithDialect,
                   func::FuncDialect, linalg::LinalgDialect, math::MathDialect,
                   scf::SCFDialect, tensor::TensorDialect>();
  OwningOpRef<ModuleOp> module =
      parseSourceString<ModuleOp>(functionSource(code), &context);
  ASSERT_TRUE(module) << functionSource(code);
  auto function = *module->getOps<func::FuncOp>().begin();
  ArrayRef<Type> types = function.getArgumentTypes();
  NoWeights none;
  Interpreter interpreter(*module, none);

  static Random random(4711);
  for (int64_t rows : {0, 1, 17}) {
    // Some experts have no rows: the first and, of one row, the last.
    std::vector<int32_t> offsets(code.experts + 1, 0);
    for (int64_t e = 2; e <= code.experts; ++e)
      offsets[e] = int32_t(rows * (e - 1) / (code.experts - 1));
    if (code.experts == 1)
      offsets[1] = int32_t(rows);

    std::vector<std::vector<uint8_t>> rowBytes(code.rows.size()),
        weightBytes(code.weights.size()),
        invariantBytes(code.invariants.size()), expected(code.outs.size());
    std::vector<std::vector<Tensor>> weights;
    std::vector<Tensor> invariants;
    size_t firstWeight = code.rows.size(),
           firstInvariant = firstWeight + code.weights.size();
    for (int64_t e = 0; e < code.experts; ++e) {
      std::vector<Tensor> &own = weights.emplace_back();
      for (size_t i = 0; i < code.weights.size(); ++i) {
        own.push_back(randomTensor(random, types[firstWeight + i], code.scale));
        append(weightBytes[i], own.back());
      }
    }
    for (size_t i = 0; i < code.invariants.size(); ++i) {
      invariants.push_back(
          randomTensor(random, types[firstInvariant + i], code.scale));
      append(invariantBytes[i], invariants.back());
    }
    for (int64_t row = 0, e = 0; row < rows; ++row) {
      while (code.experts && offsets[e + 1] <= row)
        ++e;
      std::vector<Tensor> arguments;
      for (size_t i = 0; i < code.rows.size(); ++i) {
        arguments.push_back(randomTensor(random, types[i], code.scale));
        append(rowBytes[i], arguments.back());
      }
      if (code.experts)
        arguments.insert(arguments.end(), weights[e].begin(), weights[e].end());
      arguments.insert(arguments.end(), invariants.begin(), invariants.end());
      FailureOr<SmallVector<RuntimeValue>> results =
          interpreter.call(code.name, arguments);
      ASSERT_TRUE(succeeded(results));
      for (size_t i = 0; i < code.outs.size(); ++i)
        append(expected[i], std::get<Tensor>((*results)[i]));
    }
    for (const Way &way : allWays()) {
      std::vector<GpuArg> args;
      for (const auto &bytes : rowBytes)
        args.push_back(inputOf(bytes));
      if (code.experts)
        args.push_back(input(offsets));
      for (const auto &bytes : weightBytes)
        args.push_back(inputOf(bytes));
      for (const auto &bytes : invariantBytes)
        args.push_back(inputOf(bytes));
      std::vector<std::shared_ptr<DeviceBytes>> outs;
      for (const auto &bytes : expected) {
        outs.push_back(output<uint8_t>(bytes.size()));
        args.push_back(outs.back());
      }
      args.push_back(rows);
      EXPECT_EQ(kernels->run(code.name, way, args), 0);
      for (size_t i = 0; i < outs.size(); ++i) {
        Type element = cast<RankedTensorType>(function.getResultTypes()[i])
                           .getElementType();
        compare(valuesOf<uint8_t>(outs[i]), expected[i], element,
                code.tolerance,
                way.name() + ", " + std::to_string(rows) + " rows, out " +
                    std::to_string(i));
        if (testing::Test::HasFailure())
          return;
      }
    }
  }
}
