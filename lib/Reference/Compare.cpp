//===- Compare.cpp - Distance of two tensors ------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Reference/Compare.h"

#include "llvm/Support/FormatVariadic.h"

#include <cmath>
#include <cstdio>

using namespace mlir;
using namespace mlir::moe::reference;

static std::string formatNumber(const char *format, double value) {
  char text[32];
  std::snprintf(text, sizeof(text), format, value);
  return text;
}

/// "[3, 17]" for a row-major position.
static std::string formatIndex(int64_t position, ArrayRef<int64_t> shape) {
  SmallVector<int64_t> index(shape.size());
  for (int64_t d = shape.size(); d-- > 0; position /= shape[d])
    index[d] = position % shape[d];
  return llvm::formatv("[{0:$[, ]}]",
                       llvm::make_range(index.begin(), index.end()));
}

Comparison mlir::moe::reference::compare(const Tensor &found,
                                         const Tensor &expected,
                                         const Tolerance &tolerance) {
  if (found.getShape() != expected.getShape())
    return {false, llvm::formatv("is {0}, expected {1}", found.getTypeString(),
                                 expected.getTypeString())};
  auto number = [](const Tensor &t, int64_t i) {
    return t.isFloat() ? t.getFloat(i) : static_cast<double>(t.getInt(i));
  };
  bool exact = !tolerance.relFrobenius && !tolerance.rtol && !tolerance.atol;
  bool elementwise = exact || tolerance.rtol || tolerance.atol;
  double rtol = tolerance.rtol.value_or(0), atol = tolerance.atol.value_or(0);
  double distance = 0, norm = 0, worst = -1;
  int64_t outside = 0, where = 0, notFinite = 0;
  for (int64_t i = 0, n = found.getNumElements(); i < n; ++i) {
    double f = number(found, i), e = number(expected, i);
    if (!std::isfinite(f) || !std::isfinite(e)) {
      if (f == e || (std::isnan(f) && std::isnan(e)))
        continue;
      ++notFinite;
      worst = HUGE_VAL;
      where = i;
      continue;
    }
    double difference = std::fabs(f - e);
    distance += difference * difference;
    norm += e * e;
    outside += elementwise && difference > atol + rtol * std::fabs(e);
    if (difference > worst) {
      worst = difference;
      where = i;
    }
  }
  double relative = std::sqrt(distance) / (norm > 0 ? std::sqrt(norm) : 1);
  bool near = !tolerance.relFrobenius || relative <= *tolerance.relFrobenius;
  Comparison result;
  result.equal = !notFinite && !outside && near;
  result.text = llvm::formatv("relative Frobenius norm {0}",
                              formatNumber("%.3g", relative));
  if (tolerance.relFrobenius)
    result.text += llvm::formatv(" (bound {0})",
                                 formatNumber("%.3g", *tolerance.relFrobenius));
  if (outside)
    result.text += llvm::formatv(", {0} of {1} elements outside", outside,
                                 found.getNumElements());
  if (notFinite)
    result.text += llvm::formatv(
        ", {0} elements NaN or infinite on one side only", notFinite);
  if (worst > 0)
    result.text += llvm::formatv(", worst at {0}: {1}, expected {2}",
                                 formatIndex(where, found.getShape()),
                                 formatNumber("%.9g", number(found, where)),
                                 formatNumber("%.9g", number(expected, where)));
  return result;
}
