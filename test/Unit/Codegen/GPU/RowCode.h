//===- RowCode.h - Tensor code of a row against the judge -----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TEST_UNIT_CODEGEN_GPU_ROWCODE_H
#define MOE_TEST_UNIT_CODEGEN_GPU_ROWCODE_H

#include "GpuHarness.h"

namespace moe_test {

/// The region of a map_rows. Arguments are %r0, %r1, ... (rows), %w0, ... (the
/// expert's weights), %i0, ... (invariants); values to yield are %o0, ...
struct RowCode {
  std::string name;
  /// Types without "tensor<>", such as 1x17xbf16.
  std::vector<std::string> rows, weights, invariants, outs;
  std::string body;
  /// 0: rows have no expert.
  int64_t experts = 0;
  /// The same code for the interpreter when it lacks an op of `body`.
  std::string reference = {};
  /// Bound on the error relative to the largest value of an output; that of
  /// integers is 0.
  double tolerance = 1e-5;
  /// Standard deviation of the inputs.
  float scale = 1.0f;
};

/// Compiles the code for `arch` and runs it on 0, 1 and 17 rows of random
/// values, in every way and with every check, against the interpreter.
/// With experts, some have no rows.
void checkRowCode(const RowCode &code, const std::string &arch = "sm_80");

/// The text with every $NAME replaced.
std::string
substitute(std::string text,
           const std::vector<std::pair<std::string, std::string>> &names);

} // namespace moe_test

#endif // MOE_TEST_UNIT_CODEGEN_GPU_ROWCODE_H
