//===- KernelExpansion.h - Expanding kernel ops into GPU code -------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One function per kernel op writes its code at the builder's insertion point,
// inside the `llvm.func` of a kernel: scf, arith, math, llvm (addresses, loads,
// stores, atomics) and nvvm. A worker is a block; its threads run the same
// code. Integers are i32 or i64, never index; pointers are !llvm.ptr<1>
// (global) and !llvm.ptr<3> (shared).
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CODEGEN_GPU_KERNELEXPANSION_H
#define MOE_CODEGEN_GPU_KERNELEXPANSION_H

#include "moe/Dialect/Moe/IR/Moe.h"
#include "moe/Dialect/Plan/IR/Plan.h"

#include "mlir/IR/IRMapping.h"

namespace mlir::moe::gpu {

/// Limits of an architecture, as the CUDA programming guide tabulates them.
struct ArchInfo {
  StringRef name;
  /// Compute capability, 10 * major + minor.
  int capability;
  /// Dynamic shared memory that one block may opt in to, in bytes.
  int64_t maxSharedBytes;
  /// Shared memory of a multiprocessor, and what each block takes besides.
  int64_t sharedBytesPerSm, reservedSharedBytes;
  int64_t registersPerSm, threadsPerSm;
  /// Oldest PTX version that has everything of this architecture, 10 * x.y.
  int ptxVersion;
};

/// Null for an architecture that is not known.
const ArchInfo *findArch(StringRef name);
/// All known architectures, ascending.
ArrayRef<ArchInfo> allArchs();

class KernelContext {
public:
  KernelContext(OpBuilder &builder, Location loc, GpuConfigAttr config)
      : b(builder), loc(loc), config(config),
        arch(*findArch(config.getArch())) {}

  OpBuilder &b;
  Location loc;
  /// The variant to generate.
  GpuConfigAttr config;
  const ArchInfo &arch;

  /// i32, valid in the whole kernel: number of this block and of all blocks
  /// (workers), number of this thread in the block, and lane and warp of it.
  Value block, blocks, thread, lane, warp;

  int64_t threads() const { return config.getThreads(); }
  int64_t warps() const { return config.getThreads() / 32; }

  /// The address (!llvm.ptr<1>) of a memref argument, or the i64 of an index
  /// argument, of the kernel that is being expanded.
  Value argument(Value kernelArgument) const {
    return arguments.lookup(kernelArgument);
  }

  /// `bytes` of the block's dynamic shared memory (!llvm.ptr<3>), at a multiple
  /// of `alignment` (a power of two, at most 1024). Valid until the end of the
  /// kernel op being expanded; contents undefined.
  Value allocShared(int64_t bytes, int64_t alignment = 16);

  /// `bytes` of global memory private to the block (!llvm.ptr<1>), 256-byte
  /// aligned. Valid until the end of the kernel op; contents undefined.
  Value allocScratch(int64_t bytes);

  /// A 4-byte variable in global memory (!llvm.ptr<1>) that is zero when the
  /// module is loaded and keeps its value between launches; one for each call.
  /// What changes it must leave it zero at the end of a launch.
  Value makeTicket();

  /// Makes the kernel report `status` (i32, one of MOERT_KERNEL_*), unless a
  /// larger value was raised. Called by one thread or by many.
  void raiseStatus(Value status);

  /// Waits for all threads of the block (bar.sync 0).
  void barrier();

  // Used by the pass that calls the expanders.
  IRMapping arguments;
  Value sharedBase, scratchBase, statusPointer;
  std::function<Value()> ticketMaker;
  int64_t sharedUsed = 0, sharedPeak = 0, scratchUsed = 0, scratchPeak = 0;
};

/// Fails with an error that names the form, the function and a way out when
/// `kernel` holds a kernel op or a clause of a policy that no GPU code exists
/// for.
LogicalResult checkForms(plan::KernelOp kernel);

/// The configuration of a kernel whose first op is a GEMM.
GpuConfigAttr tuneRaggedGemm(KernelRaggedGemmOp op, const ArchInfo &arch);

LogicalResult expandRouterLogits(KernelRouterLogitsOp op, KernelContext &ctx);
LogicalResult expandSelectTopk(KernelSelectTopkOp op, KernelContext &ctx);
LogicalResult expandGroupRows(KernelGroupRowsOp op, KernelContext &ctx);
LogicalResult expandRouteRows(KernelRouteRowsOp op, KernelContext &ctx);
LogicalResult expandAllRows(KernelAllRowsOp op, KernelContext &ctx);
LogicalResult expandGatherRows(KernelGatherRowsOp op, KernelContext &ctx);
LogicalResult expandRaggedGemm(KernelRaggedGemmOp op, KernelContext &ctx);
LogicalResult expandCombineRows(KernelCombineRowsOp op, KernelContext &ctx);
LogicalResult expandCountRows(KernelCountRowsOp op, KernelContext &ctx);
LogicalResult expandMapRows(KernelMapRowsOp op, KernelContext &ctx);

} // namespace mlir::moe::gpu

#endif // MOE_CODEGEN_GPU_KERNELEXPANSION_H
