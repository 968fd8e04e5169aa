//===- ThreadPool.h - Persistent workers for dispatches -------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_DRIVERS_CPU_THREADPOOL_H
#define MOERT_DRIVERS_CPU_THREADPOOL_H

#include "moert/HAL/Driver.h"

namespace moert::hal {

/// A fixed number of threads that run one function together, again and again.
/// Idle threads spin for a moment, because the next dispatch of a plan follows
/// at once, and then sleep. One thread at a time may call `run`.
class ThreadPool {
public:
  /// `workers` >= 1; the thread that calls `run` is one of them.
  static StatusOr<std::unique_ptr<ThreadPool>> create(int32_t workers);
  ~ThreadPool();

  int32_t workers() const { return count; }

  /// Calls body(context, w) once for every worker w, that of the caller being
  /// 0, and returns after the last. MOE0015 when a worker misses `deadline`;
  /// it may still use `context` then, and later calls fail too.
  Status run(void (*body)(void *context, int32_t worker), void *context,
             Deadline deadline);

  /// True after a missed deadline.
  bool broken() const { return isBroken; }

private:
  struct Shared;
  ThreadPool() = default;
  int32_t count = 1;
  bool isBroken = false;
  /// Shared with the threads, which outlive the pool when it is broken.
  std::shared_ptr<Shared> shared;
  std::vector<pthread_t> threads;
};

} // namespace moert::hal

#endif // MOERT_DRIVERS_CPU_THREADPOOL_H
