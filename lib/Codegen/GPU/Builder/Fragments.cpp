//===- Fragments.cpp - Operands of tensor core instructions ---------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Fragments.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::gpu;

bool moe::gpu::hasMma(Type element) {
  return element.isBF16() || element.isF16();
}

SmallVector<Value> moe::gpu::matrixOffsets(Emit &e, const SharedTile &tile,
                                           Operand operand, Value lane,
                                           Value firstRow) {
  // Lanes 8i to 8i + 7 address matrix i: for A the second is the lower rows,
  // for B the second half of the channels.
  Value inMatrix = e.rem(lane, 8);
  Value low = e.rem(e.div(lane, 8), 2), high = e.div(lane, 16);
  Value lower = operand == Operand::A ? low : high;
  Value right = operand == Operand::A ? high : low;
  Value row = e.add(firstRow, e.add(e.mul(lower, 8), inMatrix));
  SmallVector<Value> offsets;
  for (int64_t k = 0; k < tile.columns; k += kMmaK)
    offsets.push_back(tile.byteOffset(
        e, row, e.add(right, k * tile.elementBytes() / kChunkBytes)));
  return offsets;
}

SmallVector<Value, 4> moe::gpu::loadMatrices(Emit &e, Value address) {
  SmallVector<Type> registers(4, e.getI32Type());
  Type type = LLVM::LLVMStructType::getLiteral(e.getContext(), registers);
  Value loaded = NVVM::LdMatrixOp::create(
      e, type, address, /*num=*/4, NVVM::MMALayout::row,
      NVVM::LdStMatrixShapeAttr::get(e.getContext(), 8, 8),
      NVVM::LdStMatrixEltType::B16);
  SmallVector<Value, 4> values;
  for (int64_t i = 0; i < 4; ++i)
    values.push_back(
        LLVM::ExtractValueOp::create(e, loaded, ArrayRef<int64_t>{i}));
  return values;
}

SmallVector<Value, 4> moe::gpu::multiplyAdd(Emit &e, Type element, ValueRange a,
                                            ValueRange b, ValueRange c) {
  // The op takes bf16 as i32, and f16 as vectors.
  auto typed = [&](ValueRange registers) {
    SmallVector<Value> values(registers);
    if (element.isF16())
      for (Value &value : values)
        value = LLVM::BitcastOp::create(e, VectorType::get(2, element), value);
    return values;
  };
  auto ptxType = element.isF16() ? NVVM::MMATypes::f16 : NVVM::MMATypes::bf16;
  SmallVector<Type> results(4, e.getF32Type());
  Value product = NVVM::MmaOp::create(
      e, LLVM::LLVMStructType::getLiteral(e.getContext(), results), typed(a),
      typed(b), c, ArrayRef<int64_t>{kMmaM, kMmaN, kMmaK},
      /*b1Op=*/std::nullopt, /*intOverflow=*/std::nullopt,
      std::array<NVVM::MMATypes, 2>{ptxType, ptxType},
      std::array<NVVM::MMALayout, 2>{NVVM::MMALayout::row,
                                     NVVM::MMALayout::col});
  SmallVector<Value, 4> values;
  for (int64_t i = 0; i < 4; ++i)
    values.push_back(
        LLVM::ExtractValueOp::create(e, product, ArrayRef<int64_t>{i}));
  return values;
}
