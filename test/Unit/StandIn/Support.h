//===- Support.h - Running the stand-in in a process of its own -----------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_UNIT_STANDIN_SUPPORT_H
#define MOE_UNIT_STANDIN_SUPPORT_H

#include "DriverAPI.h"

#include "gtest/gtest.h"

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace standin_test {

/// The driver as a program finds it: by dlopen and dlsym.
struct Api {
#define STANDIN_FUNCTION(NAME, BASE, VERSION, PARAMETERS)                      \
  decltype(&::NAME) NAME = nullptr;
#include "Functions.def"
  Api();
};

using Variables = std::map<std::string, std::string>;

/// What a child process left behind.
struct Outcome {
  /// Exit status, or 128 + the signal that ended it.
  int status = 0;
  std::vector<std::string> report;
  std::vector<std::string> log;
  std::map<std::string, int> counts;

  bool reports(const std::string &text) const;
};

/// Runs `body` in a child with these MOE_STANDIN_* variables (given without
/// that prefix). Expectations that fail there fail the test here, unless the
/// child is meant to end otherwise. `body` returns the exit status.
Outcome run(const Variables &variables, const std::function<int(Api &)> &body,
            int expectedStatus = 0);

/// PTX text for a target, of which the folder of images has the kernels.
std::string makePtx(const std::string &target, const std::string &version);

/// A cubin as the reader sees one, for architecture 10 * major + minor.
std::vector<char> makeCubin(int architecture, int abiVersion);

std::string hashOf(const void *data, size_t size);

/// Folder with the kernels under the hashes of makePtx("sm_80", "7.0"),
/// makePtx("sm_90a", "8.0") and makeCubin(80, 8).
const std::string &imageFolder();

/// Context, stream and module, for tests that want to get on.
struct Session {
  Api &api;
  CUcontext context = nullptr;
  CUstream stream = nullptr;
  CUmodule module = nullptr;

  explicit Session(Api &api, const std::string &target = "sm_80",
                   const std::string &version = "7.0");
  ~Session();
  CUfunction function(const char *name);
  CUdeviceptr allocate(size_t bytes);
  CUdeviceptr upload(const std::vector<float> &values);
  std::vector<float> download(CUdeviceptr from, size_t count);
  CUresult launch(const char *name, unsigned grid, unsigned block,
                  std::vector<void *> params, unsigned shared = 0,
                  CUstream on = nullptr);
  CUresult launchScale(CUdeviceptr x, float factor, unsigned count,
                       CUstream on = nullptr);
};

} // namespace standin_test

#endif // MOE_UNIT_STANDIN_SUPPORT_H
