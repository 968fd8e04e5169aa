//===- Driver.cpp - What all drivers share --------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moert/HAL/Driver.h"

#include <mutex>

using namespace moert;
using namespace moert::hal;

Deadline hal::deadlineIn(double seconds) {
  double limited = seconds < 86400 ? seconds : 86400;
  return std::chrono::steady_clock::now() +
         std::chrono::duration_cast<std::chrono::steady_clock::duration>(
             std::chrono::duration<double>(limited));
}

void hal::keepForever(std::shared_ptr<void> object) {
  static std::mutex mutex;
  static auto *kept = new std::vector<std::shared_ptr<void>>();
  std::lock_guard<std::mutex> lock(mutex);
  kept->push_back(std::move(object));
}
