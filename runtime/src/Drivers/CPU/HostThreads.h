//===- HostThreads.h - The threads that serve a device --------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_DRIVERS_CPU_HOSTTHREADS_H
#define MOERT_DRIVERS_CPU_HOSTTHREADS_H

#include "ThreadPool.h"

#include <mutex>

namespace moert::hal {

/// The runtime's thread pool, or the embedder's threads. `run` is for one
/// caller at a time, who holds `busy`; `parallelFor` takes it by itself.
class HostThreads {
public:
  /// MOE0001 for a bad number of threads.
  static StatusOr<std::unique_ptr<HostThreads>>
  create(const DeviceOptions &options);

  int32_t workers() const { return count; }
  /// True after a missed deadline.
  bool broken() const { return pool && pool->broken(); }

  /// Calls body(context, w) for every worker, or for worker 0 only.
  Status run(fb::Grid grid, void (*body)(void *, int32_t), void *context);

  /// See Device::parallelFor.
  Status parallelFor(int64_t count, const std::function<void(int64_t)> &body);

  std::mutex busy;

private:
  explicit HostThreads(const DeviceOptions &options) : options(options) {}

  const DeviceOptions options;
  int32_t count = 1;
  std::unique_ptr<ThreadPool> pool;
};

} // namespace moert::hal

#endif // MOERT_DRIVERS_CPU_HOSTTHREADS_H
