//===- Environment.h - How the stand-in is told what to be ----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The variables MOE_STANDIN_*; README.md explains them. Read once, at the first
// call of any function.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_STANDIN_ENVIRONMENT_H
#define MOE_STANDIN_ENVIRONMENT_H

#include "DriverAPI.h"

#include "moe/Codegen/GPU/Emulation/Launch.h"

#include <cstdint>
#include <string>
#include <vector>

namespace moe::standin {

/// One entry of MOE_STANDIN_FAIL.
struct Failure {
  std::string function;
  uint64_t call = 0;
  CUresult code = CUDA_ERROR_UNKNOWN;
  bool asynchronous = false;
};

struct Environment {
  std::vector<std::string> images;
  std::string device = "sm_80";
  int count = 1;
  int multiprocessors = 4;
  uint64_t memory = UINT64_C(1) << 30;
  int driverVersion = 13000;
  emu::Schedule schedule = emu::Schedule::Late;
  uint64_t seed = 1;
  bool check = true;
  bool leaks = false;
  uint32_t threads = 0;
  std::vector<Failure> failures;
  std::string report;
  std::string log;
  std::string counts;

  /// Reads the variables; what cannot be understood ends the process with a
  /// message, as a test that believes to be configured would prove nothing.
  static Environment read();
};

} // namespace moe::standin

#endif // MOE_STANDIN_ENVIRONMENT_H
