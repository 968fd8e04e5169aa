//===- Tools.h - Entry points of the tools --------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TOOLS_TOOLS_H
#define MOE_TOOLS_TOOLS_H

namespace mlir::moe {

/// `moe-opt`: MlirOptMain with our dialects and passes. Returns an exit code.
int moeOptMain(int argc, char **argv);

/// `moe-compile`. Returns an exit code.
int moeCompileMain(int argc, char **argv);

} // namespace mlir::moe

#endif // MOE_TOOLS_TOOLS_H
