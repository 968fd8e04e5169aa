//===- AMX.cpp - Register blocks for AMX ----------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// mr x 2 tiles of C; one k step takes a tile of 16 rows x 32 channels of A for
// each row block and two tiles of 32 channels x 16 columns of B: 2 KiB of the
// panel. The prefetches of a step stand between its multiplications, where
// they do not keep tile loads waiting.
//
//===----------------------------------------------------------------------===//

#include "Emitters.h"

#include "../Expand/VectorUtils.h"

#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::cpu;

namespace {
constexpr int64_t kTileElements = 512, kTiles = 2, kLineElements = 32;
constexpr int64_t kStepLines = kTiles * kTileElements / kLineElements;
} // namespace

LogicalResult cpu::emitAmxUkernel(UkernelOp op, OpBuilder &b) {
  Location loc = op.getLoc();
  int64_t mr = op.getMr();
  if (!op.getWeightType().isBF16())
    return op.emitOpError("level AMX has no code for weights of type ")
           << op.getWeightType();
  if (mr > 2)
    return op.emitOpError("level AMX has 1 or 2 row blocks, not ") << mr;

  auto narrow = amx::TileType::get({16, 32}, b.getBF16Type());
  auto wide = amx::TileType::get({16, 16}, b.getF32Type());
  Value a = viewBytes(b, loc, op.getA(), op.getAOffset(), b.getBF16Type());
  Value w = viewBytes(b, loc, op.getB(), op.getBOffset(), b.getBF16Type());
  Value c = op.getC();
  Value stride = indexConstant(b, loc, 32);
  Value zero = indexConstant(b, loc, 0);
  // Row blocks are kp channels of 16 rows apart.
  Value blockElements = mulIndex(b, loc, op.getKp(), 16);

  auto cIndex = [&](int64_t i, int64_t j) {
    return addIndex(b, loc, op.getCOffset(), i * 16 * 32 + j * 16);
  };
  SmallVector<Value> init;
  for (int64_t i = 0; i < mr; ++i)
    for (int64_t j = 0; j < kTiles; ++j)
      init.push_back(op.getAccumulate()
                         ? amx::TileLoadOp::create(b, loc, wide, c,
                                                   ValueRange{cIndex(i, j)},
                                                   stride)
                               .getResult()
                         : amx::TileZeroOp::create(b, loc, wide).getResult());

  Value steps =
      arith::ShRUIOp::create(b, loc, op.getK(), indexConstant(b, loc, 5));
  auto loop =
      scf::ForOp::create(b, loc, zero, steps, indexConstant(b, loc, 1), init);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    Value aAt = mulIndex(b, loc, loop.getInductionVar(), kTileElements);
    Value wAt =
        mulIndex(b, loc, loop.getInductionVar(), kTiles * kTileElements);
    SmallVector<Value> acc(loop.getRegionIterArgs());
    auto load = [&](Value from, Value at) -> Value {
      return amx::TileLoadOp::create(b, loc, narrow, from, ValueRange{at},
                                     stride);
    };
    int64_t lines = 0, gap = 0;
    auto prefetch = [&] {
      if (!op.getPrefetch())
        return;
      ++gap;
      for (; lines < kStepLines * gap / (mr * kTiles); ++lines) {
        int64_t ahead = op.getPrefetch() / 2 + lines * kLineElements;
        memref::PrefetchOp::create(b, loc, w, addIndex(b, loc, wAt, ahead),
                                   /*isWrite=*/false, /*localityHint=*/3,
                                   /*isDataCache=*/true);
      }
    };
    SmallVector<Value> tiles;
    for (int64_t i = 0; i < mr; ++i) {
      Value from = i ? addIndex(b, loc, aAt, blockElements) : aAt;
      Value rows = load(a, from);
      for (int64_t j = 0; j < kTiles; ++j) {
        if (i == 0)
          tiles.push_back(load(w, addIndex(b, loc, wAt, j * kTileElements)));
        Value &sum = acc[i * kTiles + j];
        sum = amx::TileMulFOp::create(b, loc, wide, rows, tiles[j], sum);
        prefetch();
      }
    }
    scf::YieldOp::create(b, loc, acc);
  }
  for (int64_t i = 0; i < mr; ++i)
    for (int64_t j = 0; j < kTiles; ++j)
      amx::TileStoreOp::create(b, loc, c, ValueRange{cIndex(i, j)},
                               loop.getResult(i * kTiles + j), stride);
  return success();
}
