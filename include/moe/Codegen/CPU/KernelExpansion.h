//===- KernelExpansion.h - From kernel ops to loops -----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// `moe-expand-kernels` clones every `plan.kernel` once per variant into a
// func.func and replaces each kernel op by its loop nest, in scf, arith, math,
// vector and memref, with `moe.ukernel` ops where a GEMM's register block
// stands. This header is what the expanders (one file per kernel op) share.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CODEGEN_CPU_KERNELEXPANSION_H
#define MOE_CODEGEN_CPU_KERNELEXPANSION_H

#include "moe/Dialect/Moe/IR/Moe.h"

namespace mlir::moe::cpu {

/// The surroundings of the kernel op that is being expanded. The builder
/// stands where the op stood.
class KernelContext {
public:
  KernelContext(OpBuilder &builder, Location loc, CpuConfigAttr config,
                Value worker, Value workers, Value scratch, Value status)
      : b(builder), loc(loc), config(config), worker(worker), workers(workers),
        scratch(scratch), status(status) {}

  OpBuilder &b;
  Location loc;
  /// The variant to generate.
  CpuConfigAttr config;
  /// Number of this worker and of all workers, index.
  Value worker, workers;

  /// `elements` values in the worker's private scratch, 64-byte aligned, as a
  /// memref<?xelementType>. The memory is valid until the end of the kernel op
  /// being expanded; its contents are undefined.
  Value allocScratch(Type elementType, int64_t elements);

  /// Makes the kernel return `value` (i32) unless a larger value was raised.
  void raiseStatus(Value value);

  /// The contiguous share [begin, end) of this worker in [0, total); shares
  /// differ by at most one.
  std::pair<Value, Value> splitRange(Value total);

  /// Bytes of scratch taken so far, and the largest number ever taken.
  int64_t scratchUsed = 0, scratchPeak = 0;

private:
  Value scratch; // memref<?xi8>
  Value status;  // memref<1xi32>
};

// One expander per kernel op. Each fails with a diagnostic at the op when the
// op cannot be generated, and leaves erasing the op to the caller.
LogicalResult expandRouterLogits(KernelRouterLogitsOp op, KernelContext &ctx);
LogicalResult expandSelectTopk(KernelSelectTopkOp op, KernelContext &ctx);
LogicalResult expandApplyCapacity(KernelApplyCapacityOp op, KernelContext &ctx);
LogicalResult expandSelectProducts(KernelSelectProductsOp op,
                                   KernelContext &ctx);
LogicalResult expandChooseRows(KernelChooseRowsOp op, KernelContext &ctx);
LogicalResult expandGroupRows(KernelGroupRowsOp op, KernelContext &ctx);
LogicalResult expandAllRows(KernelAllRowsOp op, KernelContext &ctx);
LogicalResult expandGatherRows(KernelGatherRowsOp op, KernelContext &ctx);
LogicalResult expandPackRows(KernelPackRowsOp op, KernelContext &ctx);
LogicalResult expandGroupedGemm(KernelGroupedGemmOp op, KernelContext &ctx);
LogicalResult expandCombineRows(KernelCombineRowsOp op, KernelContext &ctx);
LogicalResult expandCountRows(KernelCountRowsOp op, KernelContext &ctx);
LogicalResult expandSliceRows(KernelSliceRowsOp op, KernelContext &ctx);
LogicalResult expandRowLogits(KernelRowLogitsOp op, KernelContext &ctx);
LogicalResult expandNestIds(KernelNestIdsOp op, KernelContext &ctx);
LogicalResult expandCountIds(KernelCountIdsOp op, KernelContext &ctx);
LogicalResult expandRandom(KernelRandomOp op, KernelContext &ctx);
LogicalResult expandLookupRows(KernelLookupRowsOp op, KernelContext &ctx);
LogicalResult expandMapRows(KernelMapRowsOp op, KernelContext &ctx);
LogicalResult expandFoldRows(KernelFoldRowsOp op, KernelContext &ctx);

/// Adds the interfaces by which expandMapRows and expandFoldRows bufferise
/// tensor code.
void registerMapRowsInterfaces(DialectRegistry &registry);

} // namespace mlir::moe::cpu

#endif // MOE_CODEGEN_CPU_KERNELEXPANSION_H
