//===- CpuExecutable.h - Kernels of an artifact on the CPU ----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_DRIVERS_CPU_CPUEXECUTABLE_H
#define MOERT_DRIVERS_CPU_CPUEXECUTABLE_H

#include "moert/HAL/Driver.h"

namespace moert::hal {

/// The code of an artifact, one function per kernel of its plan.
class CpuExecutable : public Executable {
public:
  /// MOE0310 when the artifact is for another machine, or has no code at
  /// `level` or below for some kernel that this machine can run. Executes
  /// nothing of the artifact.
  static Status check(const Artifact &artifact, int32_t level);

  /// `check`, then loads the code. MOE0305 when it does not load.
  static StatusOr<std::unique_ptr<Executable>> load(const Artifact &artifact,
                                                    int32_t level);
  ~CpuExecutable() override;
  std::string code() const override;

  moert_kernel_fn function(uint32_t kernel) const { return functions[kernel]; }
  /// Scratch that every worker needs, for the largest kernel.
  uint64_t scratchBytes() const { return scratch; }

private:
  Status bind(const Artifact &artifact, const moert_module_table *table,
              int32_t level);
  void *handle = nullptr;
  std::vector<moert_kernel_fn> functions;
  uint64_t scratch = 0;
  int32_t level = 0;
};

} // namespace moert::hal

#endif // MOERT_DRIVERS_CPU_CPUEXECUTABLE_H
