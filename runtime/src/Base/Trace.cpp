//===- Trace.cpp - Time line of a session ---------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moert/Base/Trace.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <tuple>

using namespace moert;

int64_t Trace::now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void Trace::span(int32_t track, const std::string &name, int64_t begin,
                 int64_t end) {
  Track &target = tracks[track];
  if (target.spans.size() >= maxSpansPerTrack) {
    ++target.dropped;
    return;
  }
  target.spans.push_back({name, begin, end});
}

std::string Trace::toJson() const {
  int64_t origin = INT64_MAX;
  uint64_t dropped = 0;
  for (const Track &track : tracks) {
    dropped += track.dropped;
    for (const Span &span : track.spans)
      origin = std::min(origin, span.begin);
  }
  std::string out = "{\"displayTimeUnit\":\"ms\",\"otherData\":{\"schema\":"
                    "\"moe.trace/1\",\"dropped_spans\":" +
                    std::to_string(dropped) + "},\"traceEvents\":[\n";
  out += "{\"ph\":\"M\",\"pid\":1,\"name\":\"process_name\",\"args\":{"
         "\"name\":\"moert\"}}";
  for (size_t t = 0; t < tracks.size(); ++t) {
    std::string name = t == 0 ? "host" : "worker " + std::to_string(t - 1);
    out += ",\n{\"ph\":\"M\",\"pid\":1,\"tid\":" + std::to_string(t) +
           ",\"name\":\"thread_name\",\"args\":{\"name\":\"" + name + "\"}}";
  }
  for (size_t t = 0; t < tracks.size(); ++t) {
    // Outer spans end later than inner ones and are recorded after them;
    // viewers want them first.
    std::vector<const Span *> sorted;
    for (const Span &span : tracks[t].spans)
      sorted.push_back(&span);
    std::sort(sorted.begin(), sorted.end(), [](const Span *a, const Span *b) {
      return std::make_tuple(a->begin, -a->end, a) <
             std::make_tuple(b->begin, -b->end, b);
    });
    for (const Span *span : sorted) {
      char times[96];
      std::snprintf(times, sizeof(times), "\"ts\":%.3f,\"dur\":%.3f",
                    (span->begin - origin) / 1e3,
                    (span->end - span->begin) / 1e3);
      out += ",\n{\"ph\":\"X\",\"pid\":1,\"tid\":" + std::to_string(t) + "," +
             times + ",\"name\":" + nlohmann::json(span->name).dump() + "}";
    }
  }
  return out + "\n]}\n";
}
