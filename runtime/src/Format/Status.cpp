//===- Status.cpp - Errors as values --------------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moert/Format/Status.h"

#include <cstdio>

using namespace moert;

const std::vector<ErrorInfo> &moert::errorTable() {
  static const std::vector<ErrorInfo> table = {
#define MOE_ERROR(number, exitCode, title, explanation)                        \
  {number, exitCode, title, explanation},
#include "moert/Format/ErrorCodes.def"
  };
  return table;
}

const ErrorInfo &moert::errorInfo(int number) {
  const std::vector<ErrorInfo> &table = errorTable();
  for (const ErrorInfo &info : table)
    if (info.number == number)
      return info;
  return table.back();
}

std::string Status::toString() const {
  if (!payload)
    return {};
  char code[16];
  std::snprintf(code, sizeof(code), "MOE%04d", payload->number);
  std::string out = concat("error[", code, "]: ", payload->what, "\n");
  if (!payload->where.empty())
    out += concat(" --> ", payload->where, "\n");
  if (!payload->because.empty())
    out += concat("because ", payload->because, "\n");
  for (const std::string &note : payload->notes)
    out += concat("note: ", note, "\n");
  if (!payload->fix.empty())
    out += concat("fix: ", payload->fix, "\n");
  return out;
}

std::string moert::formatShape(const std::vector<int64_t> &shape) {
  std::string out = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    out += concat(i ? ", " : "", shape[i]);
  return out + "]";
}

std::string moert::formatBytes(uint64_t bytes) {
  if (bytes < 1024)
    return concat(bytes, " bytes");
  static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes) / 1024;
  int unit = 0;
  for (; value >= 1024 && unit < 3; ++unit)
    value /= 1024;
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f %s", value, units[unit]);
  return text;
}
