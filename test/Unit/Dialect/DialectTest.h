//===- DialectTest.h - Modules and diagnostics for tests of dialects ------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===------------------------------------------------------------------===//

#ifndef MOE_TEST_UNIT_DIALECT_DIALECTTEST_H
#define MOE_TEST_UNIT_DIALECT_DIALECTTEST_H

#include "moe/Dialect/Plan/IR/Plan.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Parser/Parser.h"

#include "gtest/gtest.h"

#include <string>

namespace moe_test {

/// A context with the dialects, which keeps diagnostics instead of printing
/// them.
class DialectTest : public testing::Test {
protected:
  DialectTest() {
    context.loadDialect<mlir::moe::MoeDialect, mlir::plan::PlanDialect>();
    context.getDiagEngine().registerHandler(
        [this](mlir::Diagnostic &diag) { diagnostics += diag.str() + "\n"; });
  }

  /// Parses a module; null, with `diagnostics` set, when that fails.
  mlir::OwningOpRef<mlir::ModuleOp> parse(const std::string &text) {
    return mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  }

  mlir::MLIRContext context;
  std::string diagnostics;
};

} // namespace moe_test

#endif // MOE_TEST_UNIT_DIALECT_DIALECTTEST_H
