//===- moe-compile.cpp - The compiler -------------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Tools/Tools.h"

int main(int argc, char **argv) {
  return mlir::moe::moeCompileMain(argc, argv);
}
