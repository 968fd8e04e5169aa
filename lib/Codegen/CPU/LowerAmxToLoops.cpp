//===- LowerAmxToLoops.cpp - Run amx ops without AMX ----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A tile becomes a buffer on the stack. Tiles carried by loops stay in one
// buffer each, and a multiplication adds to the buffer of its accumulator, so
// that the loops around are exactly those that run on AMX.
//
//===----------------------------------------------------------------------===//

#include "moe/Codegen/Passes.h"

#include "Expand/VectorUtils.h"

#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace mlir::moe {
#define GEN_PASS_DEF_TESTLOWERAMXTOLOOPSPASS
#include "moe/Codegen/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::cpu;

namespace {
/// Lowers one function.
class TileLowering {
public:
  explicit TileLowering(func::FuncOp func) : func(func), b(func.getContext()) {}

  LogicalResult run() {
    for (Block &block : func.getBody())
      if (failed(lowerBlock(block)))
        return failure();
    // Users before producers: every tile is dead by now.
    for (Operation *op : tileOps)
      op->dropAllUses();
    for (Operation *op : tileOps)
      op->erase();
    for (scf::ForOp loop : deadLoops)
      loop.erase();
    return success();
  }

private:
  LogicalResult lowerBlock(Block &block);
  LogicalResult lowerLoop(scf::ForOp loop);
  void lowerLoad(amx::TileLoadOp op);
  void lowerStore(amx::TileStoreOp op);
  LogicalResult lowerMultiply(amx::TileMulFOp op);

  /// A new buffer for a tile, allocated at the function's entry.
  Value createBuffer(Type type) {
    auto tile = cast<amx::TileType>(type);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(&func.getBody().front());
    return memref::AllocaOp::create(
        b, func.getLoc(),
        MemRefType::get({tile.getNumElements()}, tile.getElementType()),
        b.getI64IntegerAttr(64));
  }

  /// Copies rows of a tile between buffers; a row has 64 bytes.
  void copyRows(Location loc, Type type, Value from, Value fromBase,
                Value fromStride, Value to, Value toBase, Value toStride) {
    auto tile = cast<amx::TileType>(type);
    auto row = VectorType::get({tile.getDimSize(1)}, tile.getElementType());
    forRange(b, loc, indexConstant(b, loc, 0),
             indexConstant(b, loc, tile.getDimSize(0)), [&](Value i) {
               auto at = [&](Value base, Value stride) {
                 return addIndex(b, loc, base,
                                 arith::MulIOp::create(b, loc, i, stride));
               };
               Value value = vector::LoadOp::create(b, loc, row, from,
                                                    at(fromBase, fromStride));
               vector::StoreOp::create(b, loc, value, to, at(toBase, toStride));
             });
  }

  void copyBuffer(Location loc, Type type, Value from, Value to) {
    if (from == to)
      return;
    Value zero = indexConstant(b, loc, 0);
    Value stride =
        indexConstant(b, loc, cast<amx::TileType>(type).getDimSize(1));
    copyRows(loc, type, from, zero, stride, to, zero, stride);
  }

  func::FuncOp func;
  OpBuilder b;
  DenseMap<Value, Value> buffers;
  SmallVector<Operation *> tileOps;
  SmallVector<scf::ForOp> deadLoops;
};
} // namespace

void TileLowering::lowerLoad(amx::TileLoadOp op) {
  Location loc = op.getLoc();
  Value buffer = createBuffer(op.getTileType());
  copyRows(loc, op.getTileType(), op.getBase(), op.getIndices().front(),
           op.getStride(), buffer, indexConstant(b, loc, 0),
           indexConstant(b, loc, op.getTileType().getDimSize(1)));
  buffers[op.getRes()] = buffer;
}

void TileLowering::lowerStore(amx::TileStoreOp op) {
  Location loc = op.getLoc();
  copyRows(loc, op.getTileType(), buffers.lookup(op.getVal()),
           indexConstant(b, loc, 0),
           indexConstant(b, loc, op.getTileType().getDimSize(1)), op.getBase(),
           op.getIndices().front(), op.getStride());
}

LogicalResult TileLowering::lowerMultiply(amx::TileMulFOp op) {
  Location loc = op.getLoc();
  if (!op.getLhsTileType().getElementType().isBF16())
    return op.emitOpError("has no lowering to loops but for tiles of bf16");
  Value lhs = buffers.lookup(op.getLhs()), rhs = buffers.lookup(op.getRhs());
  Value acc = buffers.lookup(op.getAcc());
  if (!op.getAcc().hasOneUse()) {
    Value copy = createBuffer(op.getTileType());
    copyBuffer(loc, op.getTileType(), acc, copy);
    acc = copy;
  }
  buffers[op.getRes()] = acc;

  int64_t rows = op.getTileType().getDimSize(0);
  int64_t pairs = op.getLhsTileType().getDimSize(1) / 2;
  int64_t columns = op.getTileType().getDimSize(1);
  auto floats = VectorType::get({columns}, b.getF32Type());
  auto ints = VectorType::get({columns}, b.getI32Type());
  auto splat = [&](int32_t value) -> Value {
    return arith::ConstantOp::create(
        b, loc, DenseElementsAttr::get(ints, b.getI32IntegerAttr(value)));
  };
  Value half = splat(16), upper = splat(int32_t(0xffff0000));
  Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(floats));
  // The two bf16 of each 32 bits as f32.
  auto split = [&](Value bits) -> std::pair<Value, Value> {
    Value lo = arith::ShLIOp::create(b, loc, bits, half);
    Value hi = arith::AndIOp::create(b, loc, bits, upper);
    return {vector::BitCastOp::create(b, loc, floats, lo),
            vector::BitCastOp::create(b, loc, floats, hi)};
  };
  auto load = [&](Value tile, Value at, int64_t lanes) -> Value {
    auto narrow = VectorType::get({lanes * 2}, b.getBF16Type());
    Value value = vector::LoadOp::create(b, loc, narrow, tile, at);
    return vector::BitCastOp::create(
        b, loc, VectorType::get({lanes}, b.getI32Type()), value);
  };
  Value begin = indexConstant(b, loc, 0);
  forRange(b, loc, begin, indexConstant(b, loc, rows), [&](Value row) {
    auto loop =
        scf::ForOp::create(b, loc, begin, indexConstant(b, loc, pairs),
                           indexConstant(b, loc, 1), ValueRange{zero, zero});
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(loop.getBody());
      Value p = loop.getInductionVar();
      Value at = addIndex(b, loc, mulIndex(b, loc, row, pairs * 2),
                          mulIndex(b, loc, p, 2));
      Value pair = vector::ExtractOp::create(b, loc, load(lhs, at, 1), 0);
      auto [aEven, aOdd] =
          split(vector::BroadcastOp::create(b, loc, ints, pair));
      auto [bEven, bOdd] =
          split(load(rhs, mulIndex(b, loc, p, columns * 2), columns));
      Value even =
          math::FmaOp::create(b, loc, aEven, bEven, loop.getRegionIterArg(0));
      Value odd =
          math::FmaOp::create(b, loc, aOdd, bOdd, loop.getRegionIterArg(1));
      scf::YieldOp::create(b, loc, ValueRange{even, odd});
    }
    Value sum =
        arith::AddFOp::create(b, loc, loop.getResult(0), loop.getResult(1));
    Value at = mulIndex(b, loc, row, columns);
    Value old = vector::LoadOp::create(b, loc, floats, acc, at);
    Value total = arith::AddFOp::create(b, loc, old, sum);
    vector::StoreOp::create(b, loc, total, acc, at);
  });
  return success();
}

LogicalResult TileLowering::lowerLoop(scf::ForOp loop) {
  SmallVector<unsigned> tiles;
  SmallVector<Value> inits;
  b.setInsertionPoint(loop);
  for (auto [i, init] : llvm::enumerate(loop.getInitArgs())) {
    if (!isa<amx::TileType>(init.getType())) {
      inits.push_back(init);
      continue;
    }
    tiles.push_back(i);
    Value buffer = createBuffer(init.getType());
    copyBuffer(loop.getLoc(), init.getType(), buffers.lookup(init), buffer);
    buffers[loop.getRegionIterArg(i)] = buffer;
    buffers[loop.getResult(i)] = buffer;
  }
  if (failed(lowerBlock(*loop.getBody())))
    return failure();
  if (tiles.empty())
    return success();

  auto yield = cast<scf::YieldOp>(loop.getBody()->getTerminator());
  b.setInsertionPoint(yield);
  for (unsigned i : tiles) {
    Value value = yield.getOperand(i);
    copyBuffer(yield.getLoc(), value.getType(), buffers.lookup(value),
               buffers.lookup(loop.getRegionIterArg(i)));
  }
  // The same loop without the tiles.
  b.setInsertionPoint(loop);
  auto rest = scf::ForOp::create(b, loop.getLoc(), loop.getLowerBound(),
                                 loop.getUpperBound(), loop.getStep(), inits);
  Block *from = loop.getBody(), *to = rest.getBody();
  if (inits.empty())
    to->getTerminator()->erase();
  to->getOperations().splice(to->end(), from->getOperations());
  loop.getInductionVar().replaceAllUsesWith(rest.getInductionVar());
  SmallVector<Value> yielded;
  for (unsigned i = 0, next = 0, e = loop.getNumResults(); i < e; ++i) {
    if (llvm::is_contained(tiles, i))
      continue;
    loop.getRegionIterArg(i).replaceAllUsesWith(rest.getRegionIterArg(next));
    loop.getResult(i).replaceAllUsesWith(rest.getResult(next));
    yielded.push_back(yield.getOperand(i));
    ++next;
  }
  yield->setOperands(yielded);
  deadLoops.push_back(loop);
  return success();
}

LogicalResult TileLowering::lowerBlock(Block &block) {
  SmallVector<Operation *> ops, dead;
  for (Operation &op : block)
    ops.push_back(&op);
  for (Operation *op : ops) {
    b.setInsertionPoint(op);
    Location loc = op->getLoc();
    if (auto loop = dyn_cast<scf::ForOp>(op)) {
      if (failed(lowerLoop(loop)))
        return failure();
      continue;
    }
    if (auto zero = dyn_cast<amx::TileZeroOp>(op)) {
      Value buffer = createBuffer(zero.getTileType());
      auto type = VectorType::get({zero.getTileType().getDimSize(1)},
                                  zero.getTileType().getElementType());
      Value value = arith::ConstantOp::create(b, loc, b.getZeroAttr(type));
      forRange(
          b, loc, indexConstant(b, loc, 0),
          indexConstant(b, loc, zero.getTileType().getNumElements()),
          [&](Value i) { vector::StoreOp::create(b, loc, value, buffer, i); },
          type.getNumElements());
      buffers[zero.getRes()] = buffer;
    } else if (auto load = dyn_cast<amx::TileLoadOp>(op)) {
      lowerLoad(load);
    } else if (auto store = dyn_cast<amx::TileStoreOp>(op)) {
      lowerStore(store);
    } else if (auto multiply = dyn_cast<amx::TileMulFOp>(op)) {
      if (failed(lowerMultiply(multiply)))
        return failure();
    } else if (isa_and_nonnull<amx::AMXDialect>(op->getDialect())) {
      return op->emitOpError("has no lowering to loops");
    } else {
      for (Region &region : op->getRegions())
        for (Block &nested : region)
          if (failed(lowerBlock(nested)))
            return failure();
      continue;
    }
    dead.push_back(op);
  }
  tileOps.append(dead);
  return success();
}

namespace {
struct TestLowerAmxToLoops
    : public moe::impl::TestLowerAmxToLoopsPassBase<TestLowerAmxToLoops> {
  using TestLowerAmxToLoopsPassBase::TestLowerAmxToLoopsPassBase;

  void runOnOperation() override {
    if (!always && !getOperation()->hasAttr("moe.emulate_amx"))
      return;
    for (auto func : getOperation().getOps<func::FuncOp>())
      if (!func.isDeclaration() && failed(TileLowering(func).run()))
        return signalPassFailure();
  }
};
} // namespace
