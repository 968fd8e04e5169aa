//===- Emitters.h - Expansions of moe.ukernel -----------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One file per family of instructions. An emitter replaces nothing: it writes
// the code of the op before it, the pass erases the op.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CODEGEN_CPU_UKERNEL_EMITTERS_H
#define MOE_LIB_CODEGEN_CPU_UKERNEL_EMITTERS_H

#include "moe/Dialect/Moe/IR/Moe.h"

namespace mlir::moe::cpu {

/// bf16 weights and bf16 activations in tiles.
LogicalResult emitAmxUkernel(UkernelOp op, OpBuilder &b);

/// f32 or bf16 weights, f32 activations; AVX-512 and AVX2.
LogicalResult emitFmaUkernel(UkernelOp op, OpBuilder &b);

/// The buffer from byte `offset` on as memref<?xtype>.
Value viewBytes(OpBuilder &b, Location loc, Value bytes, Value offset,
                Type type);

} // namespace mlir::moe::cpu

#endif // MOE_LIB_CODEGEN_CPU_UKERNEL_EMITTERS_H
