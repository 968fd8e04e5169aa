//===- HeaderIsC.c - moert.h is a C header --------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moert/moert.h"

#include "moert/Format/KernelABI.h"

#include <string.h>

/// Called by CApiTest.cpp: opens a file that is not there, from C.
int32_t moert_test_open_missing(void) {
  moert_module *module = NULL;
  int32_t error = moert_module_open("/nowhere/model.moe", &module);
  if (module || !strstr(moert_last_error(), "/nowhere/model.moe"))
    return -1;
  return error;
}
