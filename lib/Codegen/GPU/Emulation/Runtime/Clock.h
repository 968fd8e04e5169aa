//===- Clock.h - Vector clocks of the race detector -----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A clock says, for every thread and asynchronous agent of a cluster, up to
// which of its epochs the holder has seen everything it did; a second row says
// the same of generic writes made visible to the async proxy. Clocks are
// immutable once shared and reference-counted, so that all threads that left a
// barrier hold one object: taking part in a barrier costs a thread O(1), the
// barrier O(threads).
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CODEGEN_GPU_EMULATION_RUNTIME_CLOCK_H
#define MOE_CODEGEN_GPU_EMULATION_RUNTIME_CLOCK_H

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

namespace moe::emu {

class ClockPool;

class Clock {
public:
  uint32_t *seen() { return reinterpret_cast<uint32_t *>(this + 1); }
  const uint32_t *seen() const {
    return reinterpret_cast<const uint32_t *>(this + 1);
  }
  uint32_t *proxy() { return seen() + width; }
  const uint32_t *proxy() const { return seen() + width; }

  ClockPool *pool;
  uint32_t refs;
  uint32_t width;
};

/// Owning reference, possibly null.
class ClockRef {
public:
  ClockRef() = default;
  explicit ClockRef(Clock *clock) : clock(clock) {}
  ClockRef(const ClockRef &other) : clock(other.clock) {
    if (clock)
      ++clock->refs;
  }
  ClockRef(ClockRef &&other) noexcept
      : clock(std::exchange(other.clock, nullptr)) {}
  ClockRef &operator=(ClockRef other) noexcept {
    std::swap(clock, other.clock);
    return *this;
  }
  ~ClockRef();

  Clock *get() const { return clock; }
  Clock *operator->() const { return clock; }
  Clock &operator*() const { return *clock; }
  explicit operator bool() const { return clock; }
  bool operator==(const ClockRef &other) const { return clock == other.clock; }
  bool operator!=(const ClockRef &other) const { return clock != other.clock; }

private:
  Clock *clock = nullptr;
};

/// Memory for the clocks of one cluster at a time.
class ClockPool {
public:
  ~ClockPool() { clear(); }

  /// All references must be gone. `width`: threads and agents.
  void reset(uint32_t newWidth) {
    memoA = memoB = memoResult = bumpFrom = bumpResult = proxyFrom =
        proxyResult = ClockRef();
    if (newWidth != width)
      clear();
    width = newWidth;
  }

  ClockRef zero() {
    ClockRef clock = allocate();
    std::memset(clock->seen(), 0, bytes());
    return clock;
  }

  ClockRef copy(const Clock &from) {
    ClockRef clock = allocate();
    std::memcpy(clock->seen(), from.seen(), bytes());
    return clock;
  }

  static void merge(Clock &into, const Clock &from) {
    uint32_t *a = into.seen();
    const uint32_t *b = from.seen();
    for (uint32_t i = 0, n = 2 * into.width; i < n; ++i)
      a[i] = std::max(a[i], b[i]);
  }

  /// The join of both. Threads that acquire one after the other mostly ask
  /// the same question, so the last answer is kept.
  ClockRef joined(const ClockRef &a, const ClockRef &b) {
    if (a == b)
      return a;
    if (memoResult && memoA == a && memoB == b)
      return memoResult;
    ClockRef result = copy(*a);
    merge(*result, *b);
    memoA = a, memoB = b, memoResult = result;
    return result;
  }

  /// `from` with entry `index` raised to `epoch`.
  ClockRef raised(const ClockRef &from, uint32_t index, uint32_t epoch) {
    if (from->seen()[index] >= epoch)
      return from;
    if (bumpResult && bumpFrom == from && bumpIndex == index &&
        bumpEpoch == epoch)
      return bumpResult;
    ClockRef result = copy(*from);
    result->seen()[index] = epoch;
    bumpFrom = from, bumpIndex = index, bumpEpoch = epoch, bumpResult = result;
    return result;
  }

  /// `from` with all that was seen visible to the async proxy.
  ClockRef proxied(const ClockRef &from) {
    if (proxyResult && proxyFrom == from)
      return proxyResult;
    ClockRef result = copy(*from);
    std::memcpy(result->proxy(), result->seen(), bytes() / 2);
    proxyFrom = from, proxyResult = result;
    return result;
  }

  void release(Clock *clock) { free.push_back(clock); }

private:
  size_t bytes() const { return size_t(width) * 2 * sizeof(uint32_t); }

  ClockRef allocate() {
    Clock *clock;
    if (free.empty()) {
      clock = static_cast<Clock *>(std::malloc(sizeof(Clock) + bytes()));
      if (!clock)
        std::abort();
      clock->pool = this;
      clock->width = width;
    } else {
      clock = free.back();
      free.pop_back();
    }
    clock->refs = 1;
    return ClockRef(clock);
  }

  void clear() {
    for (Clock *clock : free)
      std::free(clock);
    free.clear();
  }

  uint32_t width = 0;
  std::vector<Clock *> free;
  ClockRef memoA, memoB, memoResult;
  ClockRef bumpFrom, bumpResult;
  uint32_t bumpIndex = 0, bumpEpoch = 0;
  ClockRef proxyFrom, proxyResult;
};

inline ClockRef::~ClockRef() {
  if (clock && --clock->refs == 0)
    clock->pool->release(clock);
}

/// What the participants of a barrier have seen together.
class ClockSum {
public:
  /// Adds a participant: what it has seen, and its own doings up to `epoch`.
  void add(const ClockRef &seen, uint32_t index, uint32_t epoch) {
    if (!sum) {
      sum = seen->pool->copy(*seen);
      last = seen;
    } else if (last != seen) {
      ClockPool::merge(*sum, *seen);
      last = seen;
    }
    raise(seen->pool, index, epoch);
  }

  void raise(ClockPool *pool, uint32_t index, uint32_t epoch) {
    if (!sum)
      sum = pool->zero();
    sum->seen()[index] = std::max(sum->seen()[index], epoch);
  }

  /// Ends the collection and returns the result, null if nobody took part.
  ClockRef take() {
    last = ClockRef();
    return std::move(sum);
  }

private:
  ClockRef sum, last;
};

} // namespace moe::emu

#endif // MOE_CODEGEN_GPU_EMULATION_RUNTIME_CLOCK_H
