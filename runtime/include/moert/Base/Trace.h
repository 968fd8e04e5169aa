//===- Trace.h - Time line of a session -----------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_BASE_TRACE_H
#define MOERT_BASE_TRACE_H

#include "moert/Format/Status.h"

#include <cstdint>
#include <string>
#include <vector>

namespace moert {

/// Records spans of time and writes them as a Chrome trace (JSON, for
/// ui.perfetto.dev or chrome://tracing): one track for the host, one per
/// worker. Spans of one track nest strictly. Tracks may be written to by
/// different threads at the same time, one thread per track.
class Trace {
public:
  /// Nanoseconds of a monotonic clock.
  static int64_t now();

  explicit Trace(int32_t workers) : tracks(workers + 1) {}

  /// Track 0 is the host; track 1 + w is worker w. `name` is copied.
  void span(int32_t track, const std::string &name, int64_t begin, int64_t end);

  int32_t trackCount() const { return static_cast<int32_t>(tracks.size()); }

  /// The whole trace. Times are microseconds since the first span.
  std::string toJson() const;

private:
  struct Span {
    std::string name;
    int64_t begin, end;
  };
  struct Track {
    std::vector<Span> spans;
    uint64_t dropped = 0;
  };
  /// Bounds the memory of a long run; what is beyond is counted.
  static constexpr size_t maxSpansPerTrack = 1'000'000;
  std::vector<Track> tracks;
};

} // namespace moert

#endif // MOERT_BASE_TRACE_H
