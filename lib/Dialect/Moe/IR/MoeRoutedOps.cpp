//===- MoeRoutedOps.cpp - Routed-level ops --------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/Moe/IR/Moe.h"

using namespace mlir;
using namespace mlir::moe;

LogicalResult SelectTopkOp::verify() { return success(); }
LogicalResult GroupRowsOp::verify() { return success(); }
LogicalResult AllRowsOp::verify() { return success(); }
LogicalResult GatherRowsOp::verify() { return success(); }
LogicalResult GroupedFfnOp::verify() { return success(); }
LogicalResult MapRowsOp::verify() { return success(); }
LogicalResult CombineRowsOp::verify() { return success(); }
LogicalResult CountRowsOp::verify() { return success(); }
