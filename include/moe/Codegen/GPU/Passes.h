//===- Passes.h - GPU code generation passes ------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CODEGEN_GPU_PASSES_H
#define MOE_CODEGEN_GPU_PASSES_H

#include "moe/Dialect/Plan/IR/Plan.h"

#include "mlir/Pass/Pass.h"

namespace mlir {
namespace affine {
class AffineDialect;
}
namespace arith {
class ArithDialect;
}
namespace bufferization {
class BufferizationDialect;
}
namespace cf {
class ControlFlowDialect;
}
namespace func {
class FuncDialect;
}
namespace gpu {
class GPUDialect;
}
namespace linalg {
class LinalgDialect;
}
namespace LLVM {
class LLVMDialect;
}
namespace math {
class MathDialect;
}
namespace memref {
class MemRefDialect;
}
namespace NVVM {
class NVVMDialect;
}
namespace scf {
class SCFDialect;
}
namespace tensor {
class TensorDialect;
}
namespace vector {
class VectorDialect;
}
} // namespace mlir

namespace mlir::moe {

#define GEN_PASS_DECL
#include "moe/Codegen/GPU/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "moe/Codegen/GPU/Passes.h.inc"

} // namespace mlir::moe

#endif // MOE_CODEGEN_GPU_PASSES_H
