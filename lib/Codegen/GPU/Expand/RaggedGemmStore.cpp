//===- RaggedGemmStore.cpp - From sums to results -------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The sums of a tile pass through shared memory: so the activation is there
// once for all row classes, rows of padding cost nothing, and a thread stores
// neighbouring channels at once.
//
//===----------------------------------------------------------------------===//

#include "RaggedGemm.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::gpu;

/// Channels whose parts layout Rows puts side by side; what a thread turns into
/// results at once.
static constexpr int64_t kGroup = 8;
static constexpr int64_t kFloatsPerLoad = kChunkBytes / 4;

Value SumsTile::index(Emit &e, Value row, Value column) const {
  Value swizzle = e.mul(e.rem(e.div(column, 32), 4), 4);
  return e.add(e.mul(row, pitch()), e.bitXor(column, swizzle));
}

void RaggedGemm::stageSums(Emit &e, const RowClass &rowClass, Value warpRow,
                           Value warpColumn, ValueRange sums) {
  auto layout = AccumulatorLayout::get(shape, rowClass);
  Type f32 = e.getF32Type();
  SumsTile sumsTile = shape.sumsTile();
  Value row = e.add(warpRow, layout.row(e, ctx.lane, 0));
  Value column = e.add(warpColumn, layout.column(e, ctx.lane));
  SmallVector<Value> first;
  for (int64_t tile = 0; tile < layout.tiles; ++tile)
    first.push_back(e.address(
        f32, sumsShared, sumsTile.index(e, row, e.add(column, tile * kGroup))));
  // From one slot to the next all addresses move alike.
  int64_t slotBytes = layout.slotRows() * sumsTile.pitch() * 4;
  for (int64_t slot = 0; slot < layout.slots; ++slot) {
    for (int64_t tile = 0; tile < layout.tiles; ++tile) {
      Value address = e.offset(first[tile], slot * slotBytes);
      if (layout.width == 1) {
        e.storeAt(sums[layout.index(slot, tile, 0)], address);
        continue;
      }
      Value both = LLVM::UndefOp::create(e, VectorType::get(2, f32));
      for (int64_t i = 0; i < 2; ++i)
        both = LLVM::InsertElementOp::create(
            e, both, sums[layout.index(slot, tile, i)], e.i32(i));
      e.storeAt(both, address, 8);
    }
  }
}

Value RaggedGemm::activate(Emit &e, ArrayRef<Value> parts) {
  if (!op.hasActivation())
    return parts.front();
  Block &body = op.getActivation().front();
  IRMapping mapping;
  for (auto [argument, part] : llvm::zip_equal(body.getArguments(), parts))
    mapping.map(argument, part);
  for (Operation &nested : body.without_terminator())
    e.clone(nested, mapping);
  return mapping.lookupOrDefault(body.getTerminator()->getOperand(0));
}

Value RaggedGemm::addBias(Emit &e, Value sum, int64_t part,
                          ArrayRef<Value> addresses, int64_t channel) {
  if (addresses.empty())
    return sum;
  // One by one: a bias may be an input, which is aligned to its elements only.
  Type type = cast<MemRefType>(op.getBiases()[part].getType()).getElementType();
  int64_t bytes = type.getIntOrFloatBitWidth() / 8;
  Value bias = e.loadAt(type, e.offset(addresses[part], channel * bytes));
  return arith::AddFOp::create(e, sum, e.toF32(bias));
}

SmallVector<Value>
RaggedGemm::emitBiasAddresses(Emit &e, const RaggedTile &tile, Value channel) {
  SmallVector<Value> addresses;
  if (biases.empty())
    return addresses;
  Value first = e.mul(e.toI64(tile.expert), shape.channels);
  Value index = e.add(first, e.toI64(channel));
  for (auto [bias, argument] : llvm::zip_equal(biases, op.getBiases())) {
    Type type = cast<MemRefType>(argument.getType()).getElementType();
    addresses.push_back(e.address(type, bias, index));
  }
  return addresses;
}

void RaggedGemm::storeResults(Emit &e, const RaggedTile &tile) {
  int64_t parts = shape.parts, channels = shape.channels;
  int64_t groups = shape.tileColumns / (kGroup * parts);
  // As many channels at once as their addresses are aligned to.
  int64_t together = kGroup;
  while (channels % together != 0 ||
         together * shape.elementBytes() > kChunkBytes)
    together /= 2;
  bool hasTail =
      channels % kGroup != 0 || shape.columns() % shape.tileColumns != 0;
  SumsTile sumsTile = shape.sumsTile();
  auto load = VectorType::get(kFloatsPerLoad, e.getF32Type());
  auto store = VectorType::get(together, shape.element);
  e.forRange(
      ctx.thread, e.mul(tile.rows, groups), e.i32(shape.threads),
      [&](Emit &e, Value piece) {
        Value row = e.div(piece, groups), group = e.rem(piece, groups);
        Value column = e.mul(group, kGroup * parts);
        SmallVector<Value> values;
        for (int64_t i = 0; i < kGroup * parts; i += kFloatsPerLoad) {
          Value index = sumsTile.index(e, row, e.add(column, i));
          Value loaded = e.loadAt(
              load, e.address(e.getF32Type(), sumsShared, index), kChunkBytes);
          for (int64_t j = 0; j < kFloatsPerLoad; ++j)
            values.push_back(
                LLVM::ExtractElementOp::create(e, loaded, e.i32(j)));
        }
        Value channel =
            e.mul(e.add(e.mul(tile.columnTile, groups), group), kGroup);
        Value index = e.add(e.mul(e.toI64(e.add(tile.firstRow, row)), channels),
                            e.toI64(channel));
        Value begin = e.address(shape.element, out, index);
        SmallVector<Value> biasAddresses = emitBiasAddresses(e, tile, channel);
        for (int64_t first = 0; first < kGroup; first += together) {
          auto storeThese = [&](Emit &e) {
            Value results;
            if (together != 1)
              results = LLVM::UndefOp::create(e, store);
            for (int64_t i = 0; i < together; ++i) {
              SmallVector<Value> own;
              for (int64_t part = 0; part < parts; ++part)
                own.push_back(addBias(e, values[part * kGroup + first + i],
                                      part, biasAddresses, first + i));
              Value result = e.fromF32(activate(e, own), shape.element);
              results = together == 1 ? result
                                      : LLVM::InsertElementOp::create(
                                            e, results, result, e.i32(i));
            }
            int64_t bytes = shape.elementBytes();
            e.storeAt(results, e.offset(begin, first * bytes),
                      together * bytes);
          };
          if (hasTail)
            e.ifThen(e.lessU(e.add(channel, first), e.i32(channels)),
                     storeThese);
          else
            storeThese(e);
        }
      });
}
