//===- Pipeline.h - Order of the CPU passes -------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CODEGEN_CPU_PIPELINE_H
#define MOE_CODEGEN_CPU_PIPELINE_H

namespace mlir {
class OpPassManager;
namespace moe {

/// End of phase `tiled`: every `plan.kernel` gets its variants.
void addKernelConfigPasses(OpPassManager &pm);

/// Part of phase `target`: from `plan.kernel` with variants to kernels in the
/// LLVM dialect, ready for `moe-serialize-kernels`.
void addCPUCodegenPasses(OpPassManager &pm);

} // namespace moe
} // namespace mlir

#endif // MOE_CODEGEN_CPU_PIPELINE_H
