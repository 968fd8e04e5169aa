//===- MoeAttrs.cpp - Attributes of the moe dialect -----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Verification of the attributes; the policy's are in PolicyAttr.cpp.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/Moe/IR/Moe.h"

using namespace mlir;
using namespace mlir::moe;

LogicalResult
CpuConfigAttr::verify(function_ref<InFlightDiagnostic()> emitError, Isa,
                      int64_t mr, int64_t nr, int64_t kc, int64_t prefetch,
                      StringRef accumulation) {
  if (mr < 1 || nr < 1 || kc < 1)
    return emitError() << "C1: mr, nr and kc must be at least 1, got " << mr
                       << ", " << nr << " and " << kc;
  if (prefetch < 0)
    return emitError() << "C2: prefetch must not be negative, got " << prefetch;
  if (accumulation.empty())
    return emitError() << "C3: the accumulation class needs a name";
  return success();
}

LogicalResult
GpuConfigAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                      StringRef arch, int64_t threads, int64_t blocks,
                      int64_t n, int64_t k, int64_t stages,
                      StringRef accumulation) {
  constexpr StringRef known[] = {"sm_80",  "sm_86",   "sm_89",
                                 "sm_90a", "sm_100a", "sm_120a"};
  if (!llvm::is_contained(known, arch))
    return emitError() << "C1: unknown architecture \"" << arch
                       << "\"; known are " << llvm::join(ArrayRef(known), ", ");
  if (threads < 32 || threads > 1024 || threads % 32)
    return emitError() << "C2: threads must be a multiple of 32 between 32 and "
                          "1024, got "
                       << threads;
  if (blocks < 1 || n < 1 || k < 1 || stages < 1)
    return emitError() << "C3: blocks, n, k and stages must be at least 1, got "
                       << blocks << ", " << n << ", " << k << " and " << stages;
  if (accumulation.empty())
    return emitError() << "C4: the accumulation class needs a name";
  return success();
}

LogicalResult LayoutAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                 LayoutKind kind, int64_t kTile,
                                 int64_t kInner) {
  if (kTile < 1 || kInner < 1 || kTile % kInner)
    return emitError() << "C1: kInner must divide kTile, both at least 1, got "
                       << kInner << " and " << kTile;
  if (kind == LayoutKind::RowMajor && (kTile != 1 || kInner != 1))
    return emitError() << "C2: row_major has no tiles, got kTile = " << kTile
                       << " and kInner = " << kInner;
  if (kind == LayoutKind::Rows && kInner != 1)
    return emitError() << "C2: rows have kInner = 1, got " << kInner;
  return success();
}
