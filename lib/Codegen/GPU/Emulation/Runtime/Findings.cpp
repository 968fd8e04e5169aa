//===- Findings.cpp - What the emulator reports ---------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Machine.h"

#include <cstdarg>
#include <cstdio>

namespace moe::emu {

static constexpr size_t kMaxFindings = 32;

const char *findingName(FindingKind kind) {
  switch (kind) {
  case FindingKind::Race:
    return "race";
  case FindingKind::UninitialisedRead:
    return "uninitialised-read";
  case FindingKind::OutOfBoundsShared:
    return "out-of-bounds-shared";
  case FindingKind::OutOfBoundsGlobal:
    return "out-of-bounds-global";
  case FindingKind::WriteToReadOnly:
    return "write-to-read-only";
  case FindingKind::Misaligned:
    return "misaligned";
  case FindingKind::Deadlock:
    return "deadlock";
  case FindingKind::DivergentCollective:
    return "divergent-collective";
  case FindingKind::BarrierMisuse:
    return "barrier-misuse";
  case FindingKind::TransactionCount:
    return "transaction-count";
  case FindingKind::MissingProxyFence:
    return "missing-proxy-fence";
  case FindingKind::OverwriteInFlight:
    return "overwrite-in-flight";
  case FindingKind::CopyInFlight:
    return "copy-in-flight";
  case FindingKind::InvalidDescriptor:
    return "invalid-descriptor";
  case FindingKind::InvalidLaunch:
    return "invalid-launch";
  case FindingKind::Trap:
    return "trap";
  }
  return "unknown";
}

std::string Finding::toString() const {
  char text[160];
  std::snprintf(text, sizeof text, ", block (%u,%u,%u), thread %u", block[0],
                block[1], block[2], thread);
  std::string line =
      std::string(findingName(kind)) + ": kernel " + kernel + text;
  if (!location.empty())
    line += ", at " + location;
  if (address) {
    std::snprintf(text, sizeof text,
                  address < kArenaBytes ? ", shared+0x%llx"
                                        : ", address 0x%llx",
                  static_cast<unsigned long long>(address));
    line += text;
  }
  return line + ": " + message;
}

static uint64_t blockNumber(const Finding &finding,
                            const LaunchConfig &config) {
  return finding.block[0] +
         uint64_t(config.grid[0]) *
             (finding.block[1] + uint64_t(config.grid[1]) * finding.block[2]);
}

void LaunchState::add(Finding finding) {
  std::lock_guard<std::mutex> lock(mutex);
  uint64_t block = blockNumber(finding, config);
  for (auto old = findings.begin(); old != findings.end(); ++old) {
    if (old->kind != finding.kind || old->location != finding.location)
      continue;
    if (blockNumber(*old, config) <= block)
      return;
    findings.erase(old);
    break;
  }
  if (findings.size() >= kMaxFindings)
    return;
  auto after = std::upper_bound(findings.begin(), findings.end(), block,
                                [&](uint64_t number, const Finding &other) {
                                  return number < blockNumber(other, config);
                                });
  findings.insert(after, std::move(finding));
}

void Machine::addFinding(FindingKind kind, const Fiber &fiber, const char *site,
                         uint64_t address, std::string message) {
  Finding finding;
  finding.kind = kind;
  if (launch->config.kernel->name)
    finding.kernel = launch->config.kernel->name;
  finding.location = site;
  std::copy_n(fiber.thread.ctaid, 3, finding.block);
  finding.thread = fiber.local;
  // Addresses of shared memory differ from run to run, offsets do not.
  finding.address = address;
  finding.message = std::move(message);
  launch->add(std::move(finding));
}

static std::string formatted(const char *format, va_list arguments) {
  char text[512];
  std::vsnprintf(text, sizeof text, format, arguments);
  return text;
}

void Machine::report(FindingKind kind, const Fiber &fiber, const char *site,
                     uint64_t address, const char *format, ...) {
  std::pair<FindingKind, const char *> key(kind, site);
  if (std::find(known.begin(), known.end(), key) != known.end())
    return;
  known.push_back(key);
  va_list arguments;
  va_start(arguments, format);
  addFinding(kind, fiber, site, address, formatted(format, arguments));
  va_end(arguments);
}

void Machine::fatal(FindingKind kind, Fiber &fiber, const char *site,
                    uint64_t address, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  addFinding(kind, fiber, site, address, formatted(format, arguments));
  va_end(arguments);
  leave(fiber);
}

} // namespace moe::emu
