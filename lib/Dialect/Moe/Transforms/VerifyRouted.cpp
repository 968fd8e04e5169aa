//===- VerifyRouted.cpp - Border check of routed ops ----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/Moe/Transforms/Passes.h"

namespace mlir::moe {
#define GEN_PASS_DEF_VERIFYROUTEDPASS
#include "moe/Dialect/Moe/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

namespace {

struct VerifyRoutedPass
    : public moe::impl::VerifyRoutedPassBase<VerifyRoutedPass> {
  void runOnOperation() override {
    markAllAnalysesPreserved();
    if (getOperation().isDeclaration())
      return;
    for (Operation &op : getOperation().front()) {
      if (isa<func::ReturnOp, GetWeightOp, RouterLogitsOp, SelectTopkOp,
              GroupRowsOp, AllRowsOp, GatherRowsOp, GroupedFfnOp, MapRowsOp,
              CombineRowsOp, CountRowsOp>(op))
        continue;
      op.emitError() << "'" << op.getName()
                     << "' stands outside a kernel region after the phase "
                        "'routed'";
      return signalPassFailure();
    }
  }
};

} // namespace
