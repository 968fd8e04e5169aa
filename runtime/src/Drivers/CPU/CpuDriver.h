//===- CpuDriver.h - The CPU as a device ----------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_DRIVERS_CPU_CPUDRIVER_H
#define MOERT_DRIVERS_CPU_CPUDRIVER_H

#include "moert/HAL/Driver.h"

namespace moert::hal {

/// The driver of this machine's CPU. Its streams run every command at once in
/// the calling thread and on the device's workers.
Driver *cpuDriver();

} // namespace moert::hal

#endif // MOERT_DRIVERS_CPU_CPUDRIVER_H
