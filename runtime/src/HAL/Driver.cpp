//===- Driver.cpp - Registry of drivers
//------------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moert/HAL/Driver.h"

#include "../Drivers/CPU/CpuDriver.h"

using namespace moert;
using namespace moert::hal;

Deadline hal::deadlineIn(double seconds) {
  double limited = seconds < 86400 ? seconds : 86400;
  return std::chrono::steady_clock::now() +
         std::chrono::duration_cast<std::chrono::steady_clock::duration>(
             std::chrono::duration<double>(limited));
}

const std::vector<Driver *> &hal::drivers() {
  static const std::vector<Driver *> all = {cpuDriver()};
  return all;
}

Driver *hal::findDriver(std::string_view name) {
  for (Driver *driver : drivers())
    if (driver->name() == name)
      return driver;
  return nullptr;
}
