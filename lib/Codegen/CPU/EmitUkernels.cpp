//===- EmitUkernels.cpp - Register blocks to ISA-specific code ------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Codegen/Passes.h"

#include "Expand/VectorUtils.h"
#include "Ukernel/Emitters.h"

#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace mlir::moe {
#define GEN_PASS_DEF_EMITUKERNELSPASS
#include "moe/Codegen/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

Value cpu::viewBytes(OpBuilder &b, Location loc, Value bytes, Value offset,
                     Type type) {
  // The op does not know where its operands end; no address is computed from
  // the size.
  Value size = indexConstant(b, loc, INT64_MAX / 8);
  return memref::ViewOp::create(b, loc,
                                MemRefType::get({ShapedType::kDynamic}, type),
                                bytes, offset, size);
}

namespace {
struct EmitUkernels : public moe::impl::EmitUkernelsPassBase<EmitUkernels> {
  void runOnOperation() override {
    SmallVector<UkernelOp> ops;
    getOperation().walk([&](UkernelOp op) { ops.push_back(op); });
    for (UkernelOp op : ops) {
      OpBuilder b(op);
      bool amx = op.getIsa() == Isa::AMX;
      if (failed(amx ? cpu::emitAmxUkernel(op, b) : cpu::emitFmaUkernel(op, b)))
        return signalPassFailure();
      op.erase();
    }
  }
};
} // namespace
