//===- NVPTX.h - Parts of the GPU target ----------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_TARGET_NVPTX_NVPTX_H
#define MOE_LIB_TARGET_NVPTX_NVPTX_H

#include "moe/Codegen/GPU/KernelExpansion.h"

#include "moert/Format/Status.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringMap.h"

#include <string>

namespace mlir::gpu {
class GPUModuleOp;
} // namespace mlir::gpu

namespace mlir::moe::nvptx {

/// What an op of the cut asks of the architecture.
struct CutOpInfo {
  /// Least compute capability, 10 * major + minor.
  int capability = 80;
  /// Nonzero: only the architecture-specific target ("a") of this capability.
  int onlyArch = 0;
};

/// Null for an op that no cut module may hold.
const CutOpInfo *findCutOp(StringRef name);

/// The PTX of a cut module. `blocks` says of kernels how many blocks are meant
/// to share a multiprocessor, by which ptxas limits their registers. Reports a
/// diagnostic when LLVM rejects the code or it would need another library.
/// `cut` stays as it is.
LogicalResult emitPtx(mlir::gpu::GPUModuleOp cut, const gpu::ArchInfo &arch,
                      const llvm::StringMap<int64_t> &blocks, std::string &ptx);

/// What `ptxas -v` says about one kernel.
struct KernelUsage {
  int64_t registers = 0;
  /// Bytes of shared memory that the code itself declares.
  int64_t staticShared = 0;
  int64_t spillBytes = 0;
};

struct PtxasReport {
  /// By name of the kernel.
  llvm::StringMap<KernelUsage> kernels;
  /// The numbers and texts of warnings that are errors to us.
  std::vector<std::string> fatalWarnings;
};

/// Reads the output of `ptxas -v`.
PtxasReport parsePtxasLog(StringRef log);

class Ptxas {
public:
  /// The assembler at `path`, which must be there. When `path` is empty, that
  /// of the toolkit $CUDA_HOME, the first in the search path, or that of
  /// /usr/local/cuda when CUDA_HOME is not set. A Ptxas that is not found when
  /// there is none, or when `path` is "none".
  static moert::StatusOr<Ptxas> find(StringRef path);

  bool found() const { return !program.empty(); }
  /// As `ptxas --version` says it, e.g. "13.0.88"; "unknown" when it does not.
  const std::string &version() const { return release; }

  /// Assembles for `arch`. `log` receives everything that it printed, also when
  /// it fails.
  moert::Status run(StringRef arch, StringRef ptx, std::string &cubin,
                    std::string &log) const;

private:
  std::string program, release;
};

/// Writes `cut` as a shared object for the emulator.
LogicalResult writeEmulatedModule(mlir::gpu::GPUModuleOp cut, StringRef path);

} // namespace mlir::moe::nvptx

#endif // MOE_LIB_TARGET_NVPTX_NVPTX_H
