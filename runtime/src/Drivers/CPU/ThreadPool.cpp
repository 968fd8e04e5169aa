//===- ThreadPool.cpp - Persistent workers for dispatches -----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ThreadPool.h"

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstring>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace moert;
using namespace moert::hal;

namespace {

/// Sleeps while *word == expected, for at most `seconds`.
void futexWait(std::atomic<uint32_t> &word, uint32_t expected, double seconds) {
  timespec time;
  time.tv_sec = static_cast<time_t>(seconds);
  time.tv_nsec = static_cast<long>((seconds - time.tv_sec) * 1e9);
  ::syscall(SYS_futex, reinterpret_cast<uint32_t *>(&word), FUTEX_WAIT_PRIVATE,
            expected, &time, nullptr, 0);
}

void futexWakeAll(std::atomic<uint32_t> &word) {
  ::syscall(SYS_futex, reinterpret_cast<uint32_t *>(&word), FUTEX_WAKE_PRIVATE,
            INT_MAX, nullptr, nullptr, 0);
}

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/// About 50 microseconds: longer than the gap between two dispatches.
constexpr int spins = 1500;
/// A sleeper looks again after this time even if a wake-up were lost.
constexpr double nap = 1.0;
constexpr size_t stackBytes = 1 << 20;

} // namespace

struct ThreadPool::Shared {
  /// Counts dispatches; workers wait for it to change.
  alignas(64) std::atomic<uint32_t> epoch{0};
  std::atomic<uint32_t> sleepers{0};
  std::atomic<bool> stop{false};
  void (*body)(void *, int32_t) = nullptr;
  void *context = nullptr;
  int spinCount = spins;
  /// Workers that have not finished the dispatch.
  alignas(64) std::atomic<uint32_t> remaining{0};
  std::atomic<uint32_t> callerSleeps{0};

  void work(int32_t worker) {
    uint32_t seen = 0;
    while (true) {
      uint32_t now = epoch.load(std::memory_order_acquire);
      for (int i = 0; now == seen && i < spinCount; ++i) {
        relax();
        now = epoch.load(std::memory_order_acquire);
      }
      while (now == seen) {
        // The dispatcher changes `epoch` before it reads `sleepers`, and the
        // kernel compares `epoch` again, so no wake-up is lost.
        sleepers.fetch_add(1);
        futexWait(epoch, seen, nap);
        sleepers.fetch_sub(1);
        now = epoch.load(std::memory_order_acquire);
      }
      seen = now;
      if (stop.load(std::memory_order_acquire))
        return;
      body(context, worker);
      if (remaining.fetch_sub(1) == 1 && callerSleeps.load())
        futexWakeAll(remaining);
    }
  }
};

StatusOr<std::unique_ptr<ThreadPool>> ThreadPool::create(int32_t workers) {
  std::unique_ptr<ThreadPool> pool(new ThreadPool());
  pool->count = workers;
  pool->shared = std::make_shared<Shared>();
  if (workers > availableCpus())
    pool->shared->spinCount = 0; // Spinning would take the CPU from others.
  struct Start {
    std::shared_ptr<Shared> shared;
    int32_t worker;
  };
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setstacksize(&attributes, stackBytes);
  int error = 0;
  for (int32_t worker = 1; worker < workers && !error; ++worker) {
    auto start = std::make_unique<Start>(Start{pool->shared, worker});
    pthread_t thread;
    error = ::pthread_create(
        &thread, &attributes,
        [](void *argument) -> void * {
          std::unique_ptr<Start> own(static_cast<Start *>(argument));
          own->shared->work(own->worker);
          return nullptr;
        },
        start.get());
    if (!error) {
      start.release();
      pool->threads.push_back(thread);
    }
  }
  ::pthread_attr_destroy(&attributes);
  if (error)
    return Status::error(
               601, concat("cannot start ", workers - 1, " worker threads"))
        .because(std::strerror(error))
        .fix("use fewer threads: --threads=N");
  return StatusOr<std::unique_ptr<ThreadPool>>(std::move(pool));
}

ThreadPool::~ThreadPool() {
  shared->stop.store(true, std::memory_order_release);
  shared->epoch.fetch_add(1);
  futexWakeAll(shared->epoch);
  for (pthread_t thread : threads) {
    if (isBroken)
      ::pthread_detach(thread);
    else
      ::pthread_join(thread, nullptr);
  }
}

Status ThreadPool::run(void (*body)(void *, int32_t), void *context,
                       Deadline deadline) {
  if (isBroken)
    return Status::error(15, "a worker is still busy with an earlier dispatch")
        .fix("create a new session");
  Shared &s = *shared;
  if (count > 1) {
    s.body = body;
    s.context = context;
    s.remaining.store(count - 1, std::memory_order_relaxed);
    s.epoch.fetch_add(1);
    if (s.sleepers.load())
      futexWakeAll(s.epoch);
  }
  body(context, 0);
  if (count == 1)
    return {};

  uint32_t left = s.remaining.load(std::memory_order_acquire);
  for (int i = 0; left && i < s.spinCount; ++i) {
    relax();
    left = s.remaining.load(std::memory_order_acquire);
  }
  if (left) {
    s.callerSleeps.store(1);
    while ((left = s.remaining.load()) != 0) {
      double seconds = std::chrono::duration<double>(
                           deadline - std::chrono::steady_clock::now())
                           .count();
      if (seconds <= 0)
        break;
      futexWait(s.remaining, left, seconds < nap ? seconds : nap);
    }
    s.callerSleeps.store(0);
  }
  if (left == 0)
    return {};
  isBroken = true;
  return Status::error(
             15, concat(left, " of ", count, " workers did not finish in time"))
      .fix("create a new session with a longer timeout");
}

int32_t hal::availableCpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0)
    return CPU_COUNT(&set);
  long online = ::sysconf(_SC_NPROCESSORS_ONLN);
  return online > 0 ? static_cast<int32_t>(online) : 1;
}
