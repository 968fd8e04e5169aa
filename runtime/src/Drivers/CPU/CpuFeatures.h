//===- CpuFeatures.h - Instruction set levels of this machine -------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_DRIVERS_CPU_CPUFEATURES_H
#define MOERT_DRIVERS_CPU_CPUFEATURES_H

#include "moert/Format/Status.h"

#include <string>

namespace moert::hal {

/// "avx2", "avx512", "amx"; "none" for -1.
const char *isaName(int32_t level);

/// The highest MOERT_ISA_* level that the CPU and the operating system offer,
/// -1 when not even the lowest. Asks the system for the AMX tile registers on
/// first use; a refusal means the level below. Thread-safe.
int32_t machineIsaLevel();

/// The level to use: `option`, else the environment variable MOE_ISA, else
/// that of the machine. `amxEmulated` says that code of level amx needs AVX2
/// only, so that the level may be asked for without AMX. MOE0001 for an unknown
/// name, MOE0310 for a level that this machine does not have.
StatusOr<int32_t> chooseIsaLevel(const std::string &option,
                                 bool amxEmulated = false);

} // namespace moert::hal

#endif // MOERT_DRIVERS_CPU_CPUFEATURES_H
