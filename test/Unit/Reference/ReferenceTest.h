//===- ReferenceTest.h - Helpers to test the interpreter ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TEST_UNIT_REFERENCE_REFERENCETEST_H
#define MOE_TEST_UNIT_REFERENCE_REFERENCETEST_H

#include "moe/Dialect/Moe/IR/Moe.h"
#include "moe/Reference/ProcessGrid.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"

#include <mutex>

namespace mlir::moe::reference {

/// A context that collects the text of errors.
class ReferenceTest : public testing::Test {
protected:
  ReferenceTest()
      : handler(&context, [this](Diagnostic &diagnostic) {
          std::lock_guard<std::mutex> lock(mutex);
          errors += diagnostic.str() + "\n";
          return success();
        }) {
    context.loadDialect<MoeDialect, arith::ArithDialect, func::FuncDialect,
                        linalg::LinalgDialect, math::MathDialect,
                        scf::SCFDialect, tensor::TensorDialect>();
  }

  OwningOpRef<ModuleOp> parse(StringRef text) {
    auto module = parseSourceString<ModuleOp>(text, &context);
    EXPECT_TRUE(module) << errors;
    return module;
  }
  Tensor floats(ArrayRef<int64_t> shape, std::vector<double> values) {
    return Tensor::ofFloats(Float32Type::get(&context), shape,
                            std::move(values));
  }

  MLIRContext context;
  std::mutex mutex;
  std::string errors;
  ScopedDiagnosticHandler handler;
};

} // namespace mlir::moe::reference

#endif // MOE_TEST_UNIT_REFERENCE_REFERENCETEST_H
