//===- GemmLayout.cpp - Layouts around grouped GEMMs ----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GemmLayout.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::cpu;

Value PackedLayout::view(OpBuilder &b, Location loc, Value bytes,
                         Value offset) const {
  Type element = amx ? Type(b.getBF16Type()) : Type(b.getF32Type());
  auto type = MemRefType::get({ShapedType::kDynamic}, element);
  Value size = indexConstant(b, loc, paddedChannels * kBlockRows);
  return memref::ViewOp::create(b, loc, type, bytes, offset, size);
}

ExpertRows::ExpertRows(OpBuilder &b, Location loc, Value offsets,
                       Value expert) {
  begin = loadIndex(b, loc, offsets, expert);
  Value end = loadIndex(b, loc, offsets, addIndex(b, loc, expert, 1));
  rows = arith::SubIOp::create(b, loc, end, begin);
  blocks = arith::ShRUIOp::create(
      b, loc, addIndex(b, loc, rows, kBlockRows - 1), indexConstant(b, loc, 4));
}

void cpu::storeColumn(OpBuilder &b, Location loc, Value lanes, Value block,
                      Value channel, Value row, int64_t count) {
  Value base = addIndex(b, loc, mulIndex(b, loc, channel, kBlockRows), row);
  for (int64_t i = 0; i < count; ++i) {
    Value element = vector::ExtractOp::create(b, loc, lanes, i);
    memref::StoreOp::create(b, loc, element, block,
                            addIndex(b, loc, base, i * kBlockRows));
  }
}
