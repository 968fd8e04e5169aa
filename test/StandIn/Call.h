//===- Call.h - What happens around every call ----------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_STANDIN_CALL_H
#define MOE_STANDIN_CALL_H

#include "Driver.h"

namespace moe::standin {

/// What a function needs before it can do anything. Flags.
enum Needs : unsigned {
  Nothing = 0,
  /// cuInit was called.
  Init = 1,
  /// The thread has a current context, without a sticky error.
  Current = 2 | Init,
  /// Gives something back: happens even when the call is made to fail, and
  /// after a sticky error.
  Release = 4,
  /// Forbidden while a stream of this process captures.
  Unsafe = 8,
};

/// One call of an API function, with the driver's mutex held.
struct Call {
  Call(Driver &driver, FunctionId id);

  Driver &driver;
  FunctionId id;
  Lock lock;
  /// The current context; set when Needs::Current was asked for.
  std::shared_ptr<Context> context;
  /// For the log.
  std::string detail;
  /// A function that releases does it, and is then made to fail.
  bool failing = false;
  /// What asynchronous work of this call is to fail with.
  CUresult injected = CUDA_SUCCESS;

  /// Reports misuse of the API and returns `result`.
  CUresult misuse(CUresult result, const std::string &what);

  /// Takes the injected failure for the work that the call submits.
  CUresult takeInjected();

  Device &device() const { return driver.devices[context->device]; }
};

const char *functionName(FunctionId id);

/// Runs `body` as the function `id`.
CUresult enterCall(FunctionId id, unsigned needs,
                   const std::function<CUresult(Call &)> &body);

} // namespace moe::standin

#endif // MOE_STANDIN_CALL_H
