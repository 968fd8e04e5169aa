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

Status hal::badDispatch(const DispatchInfo &info) {
  return Status::error(9000, concat("dispatch '", info.label,
                                    "' has a bad kernel or a bad number of "
                                    "arguments"));
}

Status hal::kernelResult(int32_t result, const std::string &label) {
  if (result == MOERT_KERNEL_OK)
    return {};
  if (result == MOERT_KERNEL_BAD_EXPERT_INDEX)
    return Status::error(
               14, concat("'", label, "' was given an invalid expert index"))
        .because("an index lies outside [0, experts), or a token names one "
                 "expert twice")
        .fix("check the indices that the call gets");
  if (result == MOERT_KERNEL_BAD_INDEX)
    return Status::error(
               17, concat("'", label, "' was given an index outside its table"))
        .because("a lookup takes indices from 0 to the rows of its table less "
                 "one")
        .fix("check the indices that the call gets");
  return Status::error(
      9000, concat("'", label, "' failed with the unknown result ", result));
}

void hal::keepForever(std::shared_ptr<void> object) {
  static std::mutex mutex;
  static auto *kept = new std::vector<std::shared_ptr<void>>();
  std::lock_guard<std::mutex> lock(mutex);
  kept->push_back(std::move(object));
}
