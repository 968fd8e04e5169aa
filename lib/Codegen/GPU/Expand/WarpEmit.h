//===- WarpEmit.h - What the kernels of routing say about warps -----------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Operations on whole warps and the loops over work that are common to the
// kernels around the experts. All 32 lanes take part in what is said to be of
// the warp.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CODEGEN_GPU_EXPAND_WARPEMIT_H
#define MOE_LIB_CODEGEN_GPU_EXPAND_WARPEMIT_H

#include "../Builder/Emit.h"
#include "moe/Codegen/GPU/KernelExpansion.h"

namespace mlir::moe::gpu {

/// Largest and smallest i32 (signed) of the warp, in all lanes.
Value warpMaxS(Emit &e, Value value);
Value warpMinS(Emit &e, Value value);
/// Largest f32 of the warp, NaN when any is NaN, in all lanes.
Value warpMaximum(Emit &e, Value value);
/// Mask of the lanes that hold the same i32.
Value warpMatch(Emit &e, Value value);
/// Inclusive sums of i32 over the lanes up to each.
Value warpScan(Emit &e, Value value, Value lane);

/// Number of bits that are set; number of zeros below the lowest of them.
Value countBits(Emit &e, Value bits);
Value lowestBit(Emit &e, Value bits);

/// What came before in this thread is seen on the whole device before what
/// comes after.
void deviceFence(Emit &e);

/// base[index] if `condition`, else `otherwise`, without touching memory.
Value loadIf(Emit &e, Value condition, Type type, Value base, Value index,
             Value otherwise);

/// ceil(x / divisor), for unsigned x.
Value ceilDiv(Emit &e, Value x, int64_t divisor);

/// for (i = begin; i < end; i += threads of the block), i32, from this
/// thread's first on.
void forThreads(Emit &e, KernelContext &ctx, Value end, Emit::LoopBody body);
/// The same over the threads of all blocks. Of the type of `end`.
void forAllThreads(Emit &e, KernelContext &ctx, Value end, Emit::LoopBody body);
/// The same over the warps of all blocks; uniform in each warp.
void forAllWarps(Emit &e, KernelContext &ctx, Value end, Emit::LoopBody body);

/// The i32 of an index argument of the kernel.
inline Value argumentI32(Emit &e, KernelContext &ctx, Value argument) {
  return e.toI32(ctx.argument(argument));
}

/// i1: all addresses are multiples of `alignment`, a power of two.
Value areAligned(Emit &e, ArrayRef<Value> addresses, int64_t alignment);

} // namespace mlir::moe::gpu

#endif // MOE_LIB_CODEGEN_GPU_EXPAND_WARPEMIT_H
