//===- Leaks.cpp - What was not given back --------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Driver.h"

using namespace moe::standin;

namespace {

/// How many of a kind are left, and what the first of them is.
struct Count {
  uint64_t number = 0;
  uint64_t bytes = 0;
  std::string first;

  void add(const Allocation &piece) {
    if (number++ == 0)
      first = piece.describe();
    bytes += piece.size;
  }
};

} // namespace

static void reportCount(const char *kind, const Count &count,
                        const std::string &where) {
  if (count.number == 0)
    return;
  std::string line = "leak: " + std::to_string(count.number) + " " + kind +
                     (count.number == 1 ? "" : "s");
  if (!count.first.empty())
    line += " (" + std::to_string(count.bytes) +
            " bytes; first: " + count.first + ")";
  Driver::get().report(line + " left " + where);
}

template <typename T>
static Count countIn(const Registry<T> &registry, const Context *context) {
  Count count;
  for (const auto &[handle, object] : registry.all())
    count.number += !context || object->context.get() == context;
  return count;
}

void moe::standin::reportLeaks(const std::string &where, Context *context) {
  Driver &driver = Driver::get();
  if (!driver.environment.leaks)
    return;
  Count device, host, registered, contexts;
  for (const auto &[begin, piece] : driver.memory.all()) {
    if (context && piece->context != context)
      continue;
    if (piece->kind == Allocation::Kind::Device && !piece->freeing)
      device.add(*piece);
    else if (piece->kind == Allocation::Kind::Host)
      host.add(*piece);
    else if (piece->kind == Allocation::Kind::Registered)
      registered.add(*piece);
  }
  reportCount("device allocation", device, where);
  reportCount("page-locked allocation", host, where);
  reportCount("registered range", registered, where);
  reportCount("module", countIn(driver.modules, context), where);
  reportCount("stream", countIn(driver.streams, context), where);
  reportCount("event", countIn(driver.events, context), where);
  reportCount("graph", countIn(driver.graphs, context), where);
  reportCount("executable graph", countIn(driver.execs, context), where);
  if (context)
    return;
  contexts.number = driver.contexts.all().size();
  reportCount("primary context", contexts, where);
}
