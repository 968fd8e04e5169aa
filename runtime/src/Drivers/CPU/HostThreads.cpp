//===- HostThreads.cpp - The threads that serve a device ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "HostThreads.h"

#include <atomic>

using namespace moert;
using namespace moert::hal;

StatusOr<std::unique_ptr<HostThreads>>
HostThreads::create(const DeviceOptions &options) {
  if (options.threads < 0 || options.threads > 4096)
    return Status::error(1, concat("cannot use ", options.threads, " threads"))
        .fix("give a number from 1 to 4096, or 0 for one per CPU");
  std::unique_ptr<HostThreads> threads(new HostThreads(options));
  threads->count = options.threads ? options.threads : availableCpus();
  if (!options.parallel) {
    MOE_ASSIGN_OR_RETURN(threads->pool, ThreadPool::create(threads->count));
  }
  return StatusOr<std::unique_ptr<HostThreads>>(std::move(threads));
}

Status HostThreads::run(fb::Grid grid, void (*body)(void *, int32_t),
                        void *context) {
  if (grid == fb::Grid::One) {
    body(context, 0);
    return {};
  }
  if (!options.parallel)
    return pool->run(body, context, deadlineIn(options.dispatchTimeout));
  struct Counting {
    void (*body)(void *, int32_t);
    void *context;
    std::atomic<int32_t> calls{0};
  } counting{body, context};
  options.parallel(
      options.parallelUser, count,
      [](void *opaque, int32_t index) {
        auto *c = static_cast<Counting *>(opaque);
        c->body(c->context, index);
        c->calls.fetch_add(1);
      },
      &counting);
  if (counting.calls.load() == count)
    return {};
  return Status::error(2,
                       concat("the parallel function of the embedder ran ",
                              counting.calls.load(), " of ", count, " workers"))
      .fix("call body(context, i) once for every i in [0, count)");
}

Status HostThreads::parallelFor(int64_t count,
                                const std::function<void(int64_t)> &body) {
  struct Loop {
    int64_t count;
    const std::function<void(int64_t)> &body;
    std::atomic<int64_t> next{0};
  };
  // Kept when a deadline is missed: a worker may still read it.
  std::unique_ptr<Loop> loop(new Loop{count, body});
  std::lock_guard<std::mutex> lock(busy);
  Status status = run(
      fb::Grid::All,
      [](void *opaque, int32_t) {
        auto *l = static_cast<Loop *>(opaque);
        for (int64_t i; (i = l->next.fetch_add(1)) < l->count;)
          l->body(i);
      },
      loop.get());
  if (status.number() == 15)
    keepForever(std::shared_ptr<Loop>(std::move(loop)));
  return status;
}
