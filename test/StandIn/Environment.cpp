//===- Environment.cpp - Reading MOE_STANDIN_* ----------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Environment.h"

#include "Driver.h"

#include <cstdio>
#include <cstdlib>
#include <limits>

using namespace moe::standin;

namespace {

[[noreturn]] void fail(const char *variable, const std::string &value,
                       const char *expected) {
  std::fprintf(stderr, "stand-in: %s=%s: expected %s\n", variable,
               value.c_str(), expected);
  std::_Exit(70);
}

std::string get(const char *variable, const char *otherwise = "") {
  const char *value = std::getenv(variable);
  return value && *value ? value : otherwise;
}

std::vector<std::string> split(const std::string &text, char separator) {
  std::vector<std::string> parts;
  size_t begin = 0;
  while (begin <= text.size()) {
    size_t end = text.find(separator, begin);
    if (end == std::string::npos)
      end = text.size();
    if (end > begin)
      parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

bool parseNumber(const std::string &text, uint64_t &value) {
  if (text.empty() || text.size() > 19)
    return false;
  value = 0;
  for (char c : text) {
    if (c < '0' || c > '9')
      return false;
    value = value * 10 + uint64_t(c - '0');
  }
  return true;
}

uint64_t getNumber(const char *variable, uint64_t otherwise, uint64_t most) {
  std::string text = get(variable);
  if (text.empty())
    return otherwise;
  uint64_t value;
  if (!parseNumber(text, value) || value > most)
    fail(variable, text, "a number in range");
  return value;
}

bool parseResult(const std::string &text, CUresult &result) {
  uint64_t number;
  bool isNumber = parseNumber(text, number);
#define STANDIN_ERROR(NAME, VALUE, TEXT)                                       \
  if (text == #NAME || (isNumber && number == VALUE)) {                        \
    result = NAME;                                                             \
    return true;                                                               \
  }
#include "Errors.def"
  return false;
}

/// What the function is likely to fail with in practice.
CUresult likelyResult(const std::string &function) {
  for (const char *word :
       {"Alloc", "Create", "Retain", "Register", "Load", "Instantiate"})
    if (function.find(word) != std::string::npos)
      return CUDA_ERROR_OUT_OF_MEMORY;
  return CUDA_ERROR_UNKNOWN;
}

bool isFunction(const std::string &name) {
#define STANDIN_FUNCTION(NAME, BASE, VERSION, PARAMETERS)                      \
  if (name == #NAME || name == #BASE)                                          \
    return true;
#include "Functions.def"
  return false;
}

/// `function:k[:code][:async]`
Failure parseFailure(const std::string &text) {
  const char *expected = "function:call[:code][:async] of a served function";
  std::vector<std::string> parts = split(text, ':');
  Failure failure;
  if (parts.size() < 2 || parts.size() > 4 || !isFunction(parts[0]) ||
      !parseNumber(parts[1], failure.call) || failure.call == 0)
    fail("MOE_STANDIN_FAIL", text, expected);
  failure.function = parts[0];
  failure.code = likelyResult(parts[0]);
  bool hasCode = false;
  for (size_t i = 2; i < parts.size(); ++i) {
    if (parts[i] == "async")
      failure.asynchronous = true;
    else if (parseResult(parts[i], failure.code) &&
             failure.code != CUDA_SUCCESS)
      hasCode = true;
    else
      fail("MOE_STANDIN_FAIL", text, expected);
  }
  if (failure.asynchronous && !hasCode)
    failure.code = CUDA_ERROR_LAUNCH_FAILED;
  return failure;
}

void parseSchedule(const std::string &text, Environment &environment) {
  if (text == "late")
    environment.schedule = moe::emu::Schedule::Late;
  else if (text == "eager")
    environment.schedule = moe::emu::Schedule::Eager;
  else if (text.rfind("random:", 0) == 0 &&
           parseNumber(text.substr(7), environment.seed))
    environment.schedule = moe::emu::Schedule::Random;
  else
    fail("MOE_STANDIN_SCHEDULE", text, "late, eager or random:SEED");
}

} // namespace

Environment Environment::read() {
  Environment result;
  result.images = split(get("MOE_STANDIN_IMAGES"), ':');
  result.device = get("MOE_STANDIN_DEVICE", "sm_80");
  if (!findDeviceLimits(result.device))
    fail("MOE_STANDIN_DEVICE", result.device,
         "sm_80, sm_86, sm_89, sm_90, sm_100 or sm_120");
  result.count = int(getNumber("MOE_STANDIN_COUNT", 1, 64));
  result.multiprocessors = int(getNumber("MOE_STANDIN_SMS", 4, 1024));
  if (result.multiprocessors == 0)
    fail("MOE_STANDIN_SMS", "0", "at least one");
  result.memory =
      getNumber("MOE_STANDIN_MEMORY", UINT64_C(1) << 30, UINT64_C(1) << 40);
  result.driverVersion = int(getNumber("MOE_STANDIN_DRIVER", 13000, 1000000));
  parseSchedule(get("MOE_STANDIN_SCHEDULE", "late"), result);
  result.check = getNumber("MOE_STANDIN_CHECK", 1, 1) != 0;
  result.leaks = getNumber("MOE_STANDIN_LEAKS", 0, 1) != 0;
  result.threads = uint32_t(getNumber("MOE_STANDIN_THREADS", 0, 4096));
  for (const std::string &text : split(get("MOE_STANDIN_FAIL"), ','))
    result.failures.push_back(parseFailure(text));
  result.report = get("MOE_STANDIN_REPORT");
  result.log = get("MOE_STANDIN_LOG");
  result.counts = get("MOE_STANDIN_COUNTS");
  return result;
}
