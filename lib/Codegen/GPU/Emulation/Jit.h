//===- Jit.h - Emulated kernels in this process ---------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CODEGEN_GPU_EMULATION_JIT_H
#define MOE_LIB_CODEGEN_GPU_EMULATION_JIT_H

#include "moe/Codegen/GPU/Emulation/EmulatedModule.h"

#include "mlir/Support/LLVM.h"

#include <memory>

namespace mlir::gpu {
class GPUModuleOp;
} // namespace mlir::gpu

namespace mlir::moe {

/// A cut module, compiled as `emitEmulatedObject` does and loaded. The code
/// lives as long as this object. Not thread-safe to create.
class JitModule {
public:
  /// Null after an error that was reported at the module.
  static std::unique_ptr<JitModule> create(gpu::GPUModuleOp cut);
  ~JitModule();

  const moe_emu_module &getModule() const { return *module; }
  /// Null when there is no such kernel.
  const moe_emu_kernel *lookup(StringRef name) const;

private:
  struct Code;
  JitModule();

  std::unique_ptr<Code> code;
  const moe_emu_module *module = nullptr;
};

} // namespace mlir::moe

#endif // MOE_LIB_CODEGEN_GPU_EMULATION_JIT_H
