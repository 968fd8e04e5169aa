//===- RowFunction.h - Tensor code of one row on buffers ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What the CPU's and the GPU's expansion of moe.kernel.map_rows share: the
// region becomes a function of one row on buffers, in a module of its own. It
// is simplified and fused as tensor code, bufferised by upstream's one-shot
// analysis, and its linalg ops are lowered as the target says.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CODEGEN_ROWFUNCTION_H
#define MOE_LIB_CODEGEN_ROWFUNCTION_H

#include "moe/Dialect/Moe/IR/Moe.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/BuiltinOps.h"

namespace mlir::moe {

/// The region of a map_rows or fold_rows as a function on buffers. Lives as
/// long as the code taken from it is needed.
class RowFunction {
public:
  /// Replaces a linalg op on buffers of static shape by loops of scf and
  /// memref.
  using LowerLinalg =
      function_ref<LogicalResult(RewriterBase &, linalg::LinalgOp)>;

  explicit RowFunction(KernelMapRowsOp op)
      : RowFunction(op, op.getBody(), /*carried=*/0) {}
  explicit RowFunction(KernelFoldRowsOp op)
      : RowFunction(op, op.getBody(), op.getOuts().size()) {}

  /// Builds and lowers the function. Its ops are then of arith, math, memref,
  /// scf and vector. Fails with a diagnostic at the op that has no lowering.
  LogicalResult create(LowerLinalg lower);

  /// The types of its arguments: the region's, tensors as memrefs, then the
  /// results' of a map_rows. A fold_rows has its results in the memrefs that
  /// hold what it carries.
  ArrayRef<Type> getArgumentTypes() { return func.getArgumentTypes(); }
  /// One block; its terminator returns nothing.
  Block &getBody() { return func.getBody().front(); }
  /// All allocations, of static shape, at any depth of the body.
  ArrayRef<memref::AllocOp> getTemporaries() { return temporaries; }

private:
  RowFunction(Operation *op, Region &region, unsigned carried)
      : op(op), region(region), carried(carried), rewriter(op->getContext()) {}

  LogicalResult checkBody();
  LogicalResult build();
  void decompose();
  LogicalResult expandConstants();
  LogicalResult simplifyTensors();
  LogicalResult bufferize();
  void carryInPlace(scf::ForOp loop);
  void reuseCarried();
  void storeCarried();
  LogicalResult lowerControlFlow();
  LogicalResult lowerToLoops(LowerLinalg lower);
  LogicalResult simplifyBuffers();
  LogicalResult collectTemporaries();
  LogicalResult simplify(RewritePatternSet &&patterns);

  Operation *op;
  Region &region;
  /// How many of the last arguments of the region are carried from row to row.
  unsigned carried;
  IRRewriter rewriter;
  OwningOpRef<ModuleOp> module;
  func::FuncOp func;
  SmallVector<memref::AllocOp> temporaries;
};

/// Adds the interfaces by which tensor code is bufferised.
void registerRowFunctionInterfaces(DialectRegistry &registry);

} // namespace mlir::moe

#endif // MOE_LIB_CODEGEN_ROWFUNCTION_H
