//===- Pipeline.h - Passes of GPU code generation -------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CODEGEN_GPU_PIPELINE_H
#define MOE_CODEGEN_GPU_PIPELINE_H

namespace mlir {
class OpPassManager;
namespace moe {

/// End of phase `tiled`: every `plan.kernel` on cuda gets its variants.
void addGPUKernelConfigPasses(OpPassManager &pm);

/// Part of phase `target`: from `plan.kernel` on cuda to cut modules. Does
/// nothing in a module without such kernels.
void addGPUCodegenPasses(OpPassManager &pm);

} // namespace moe
} // namespace mlir

#endif // MOE_CODEGEN_GPU_PIPELINE_H
