//===- Registry.cpp - The list of drivers ---------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moert/HAL/Driver.h"

#include "CPU/CpuDriver.h"
#include "CUDA/CudaDriver.h"

using namespace moert;
using namespace moert::hal;

const std::vector<Driver *> &hal::drivers() {
  static const std::vector<Driver *> all = {cpuDriver(), cudaDriver()};
  return all;
}

Driver *hal::findDriver(std::string_view name) {
  for (Driver *driver : drivers())
    if (driver->name() == name)
      return driver;
  return nullptr;
}
