//===- NVVMRegistration.cpp - The dialect of GPU ops ----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A file of its own: the header takes longer to compile than the tests.
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/IR/DialectRegistry.h"

void addNVVMDialect(mlir::DialectRegistry &registry) {
  registry.insert<mlir::NVVM::NVVMDialect>();
}
