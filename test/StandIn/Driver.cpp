//===- Driver.cpp - State, calls, reports ---------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Driver.h"

#include "Call.h"

#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <unistd.h>

using namespace moe::standin;

//===----------------------------------------------------------------------===//
// Text
//===----------------------------------------------------------------------===//

const char *moe::standin::functionName(FunctionId id) {
  static const char *const names[] = {
#define STANDIN_FUNCTION(NAME, BASE, VERSION, PARAMETERS) #NAME,
#include "Functions.def"
  };
  return names[size_t(id)];
}

static const char *baseName(FunctionId id) {
  static const char *const names[] = {
#define STANDIN_FUNCTION(NAME, BASE, VERSION, PARAMETERS) #BASE,
#include "Functions.def"
  };
  return names[size_t(id)];
}

const char *moe::standin::errorName(CUresult result) {
  switch (result) {
#define STANDIN_ERROR(NAME, VALUE, TEXT)                                       \
  case NAME:                                                                   \
    return #NAME;
#include "Errors.def"
  }
  return nullptr;
}

/// Appends one line in one write, so that processes may share the file.
static void appendLine(const std::string &path, const std::string &line) {
  int file =
      open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file < 0)
    return;
  std::string text = line + "\n";
  [[maybe_unused]] ssize_t written = write(file, text.data(), text.size());
  close(file);
}

void Driver::report(const std::string &line) {
  std::string text = "stand-in: " + line + "\n";
  [[maybe_unused]] ssize_t written =
      write(STDERR_FILENO, text.data(), text.size());
  if (!environment.report.empty())
    appendLine(environment.report, line);
}

//===----------------------------------------------------------------------===//
// Begin and end of the process
//===----------------------------------------------------------------------===//

static void writeCounts(const Driver &driver) {
  if (driver.environment.counts.empty())
    return;
  std::FILE *file = std::fopen(driver.environment.counts.c_str(), "w");
  if (!file)
    return;
  for (auto [id, count] : driver.calls)
    std::fprintf(file, "%s %llu\n", functionName(id),
                 static_cast<unsigned long long>(count));
  std::fclose(file);
}

/// From here on every call returns CUDA_ERROR_DEINITIALIZED, as it does with
/// the real driver while the process ends.
static void finish() {
  Driver &driver = Driver::get();
  Lock lock(driver.mutex);
  driver.finished = true;
  driver.changed.notify_all();
  // A kernel that still runs uses memory and static variables.
  driver.changed.wait_for(lock, std::chrono::seconds(10),
                          [&] { return driver.running == 0; });
  reportLeaks("at the end of the process", nullptr);
  writeCounts(driver);
}

Driver::Driver() : environment(Environment::read()) {
  random.seed(environment.seed);
  devices.resize(size_t(environment.count));
  for (Device &device : devices)
    device.limits = findDeviceLimits(environment.device);
}

Driver &Driver::get() {
  static Driver *driver = [] {
    auto *made = new Driver;
    std::atexit(finish);
    return made;
  }();
  return *driver;
}

//===----------------------------------------------------------------------===//
// Calls
//===----------------------------------------------------------------------===//

Call::Call(Driver &driver, FunctionId id)
    : driver(driver), id(id), lock(driver.mutex) {}

CUresult Call::misuse(CUresult result, const std::string &what) {
  driver.report(std::string("misuse: ") + functionName(id) + ": " + what);
  return result;
}

CUresult Call::takeInjected() {
  CUresult result = injected;
  injected = CUDA_SUCCESS;
  return result;
}

/// The failure that is asked for this call, if any.
static const Failure *findFailure(const Driver &driver, FunctionId id,
                                  uint64_t count) {
  for (const Failure &failure : driver.environment.failures)
    if (failure.call == count && (failure.function == functionName(id) ||
                                  failure.function == baseName(id)))
      return &failure;
  return nullptr;
}

thread_local bool moe::standin::inHostFunction = false;

/// Whether the driver returns such an error ever after.
static bool isSticky(CUresult result) {
  switch (result) {
  case CUDA_ERROR_ECC_UNCORRECTABLE:
  case CUDA_ERROR_ILLEGAL_ADDRESS:
  case CUDA_ERROR_LAUNCH_TIMEOUT:
  case CUDA_ERROR_ASSERT:
  case CUDA_ERROR_ILLEGAL_INSTRUCTION:
  case CUDA_ERROR_MISALIGNED_ADDRESS:
  case CUDA_ERROR_LAUNCH_FAILED:
    return true;
  default:
    return false;
  }
}

static CUresult checkNeeds(Call &call, unsigned needs) {
  if ((needs & Needs::Init) && !call.driver.initialised)
    return CUDA_ERROR_NOT_INITIALIZED;
  if ((needs & Needs::Current) == Needs::Current) {
    call.context = currentContext();
    if (!call.context)
      return CUDA_ERROR_INVALID_CONTEXT;
    if (call.context->destroyed)
      return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    if (call.context->sticky && !(needs & Needs::Release))
      return call.context->sticky;
  }
  if (needs & Needs::Unsafe)
    return checkUnsafeCall();
  return CUDA_SUCCESS;
}

static void logCall(Call &call, CUresult result) {
  if (call.driver.environment.log.empty())
    return;
  std::string line = functionName(call.id);
  if (!call.detail.empty())
    line += " " + call.detail;
  const char *name = errorName(result);
  line += std::string(" = ") + (name ? name : "unknown");
  appendLine(call.driver.environment.log, line);
}

CUresult moe::standin::enterCall(FunctionId id, unsigned needs,
                                 const std::function<CUresult(Call &)> &body) {
  Driver &driver = Driver::get();
  Call call(driver, id);
  if (driver.finished)
    return CUDA_ERROR_DEINITIALIZED;
  if (inHostFunction)
    return call.misuse(CUDA_ERROR_NOT_PERMITTED, "called by a host function");
  const Failure *failure = findFailure(driver, id, ++driver.calls[id]);
  bool now = failure && !failure->asynchronous;
  call.failing = now;
  if (now && isSticky(failure->code) && currentContext())
    currentContext()->sticky = failure->code;
  CUresult result = CUDA_SUCCESS;
  if (now && !(needs & Needs::Release))
    result = failure->code;
  if (result == CUDA_SUCCESS)
    result = checkNeeds(call, needs);
  if (result == CUDA_SUCCESS) {
    if (failure && !now)
      call.injected = failure->code;
    result = body(call);
    // Nothing was submitted that could fail later.
    if (result == CUDA_SUCCESS && call.injected)
      result = call.injected;
    if (result == CUDA_SUCCESS && call.context && (needs & Needs::Release))
      result = call.context->sticky;
  }
  if (now && (needs & Needs::Release))
    result = failure->code;
  logCall(call, result);
  return result;
}
