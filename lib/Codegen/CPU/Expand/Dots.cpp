//===- Dots.cpp - Sixteen-lane dot products -------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Every product has a vector of its own, whose lanes are those of the
// sixteen-lane sum; so the bits do not depend on what else is computed.
//
//===----------------------------------------------------------------------===//

#include "Dots.h"

#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace mlir::moe::cpu;

Dots mlir::moe::cpu::emitDots(ImplicitLocOpBuilder &b, Value x,
                              ValueRange xRows, Value w, ValueRange wRows,
                              int64_t hidden, bool squares) {
  size_t numX = xRows.size(), numW = wRows.size(), products = numX * numW;
  size_t sums = products + (squares ? numX + numW : 0);
  SmallVector<Value> lanes(sums, lanesConstant(b, 0.0f));
  lanes = forLanes(
      b, hidden, lanes,
      [&](ImplicitLocOpBuilder &b, Value h, int64_t count, ValueRange lanes) {
        SmallVector<Value> result(lanes), a;
        auto load = [&](Value buffer, Value row) {
          return loadLanes(b, buffer, arith::AddIOp::create(b, row, h), count);
        };
        auto add = [&](size_t sum, Value left, Value right) {
          Value next = math::FmaOp::create(b, left, right, result[sum]);
          // A lane of -0 would become +0 by adding nothing.
          result[sum] = selectLanes(b, count, next, result[sum]);
        };
        for (Value row : xRows)
          a.push_back(load(x, row));
        for (size_t j = 0; j < numW; ++j) {
          Value c = load(w, wRows[j]);
          for (size_t i = 0; i < numX; ++i)
            add(i * numW + j, a[i], c);
          if (squares)
            add(products + numX + j, c, c);
        }
        for (size_t i = 0; squares && i < numX; ++i)
          add(products + i, a[i], a[i]);
        return result;
      });

  Dots dots;
  for (size_t i = 0; i < sums; ++i) {
    SmallVector<Value> &part = i < products          ? dots.products
                               : i < products + numX ? dots.xSquares
                                                     : dots.wSquares;
    part.push_back(addHalves(b, lanes[i]));
  }
  return dots;
}
