//===- GroupedGemm.cpp - Expands moe.kernel.grouped_gemm ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// for every expert
//   for every panel of this worker
//     for every group of 8 row blocks: C stays in the L1 cache
//       for every chunk of input channels: B stays in the L1 cache
//         for every register block of rows: moe.ukernel
//       epilogue: C, with its bias, to rows, or through the activation to
//         packed rows
//
// A group of one register block takes all channels in one chunk. The first
// register block of an expert prefetches the panel, which the others find in
// the cache. All loops are in one function, since LLVM configures the tile
// registers once per function.
//
// C starts from zero and every register block adds to it, in ascending order
// of channels: an element's bits do not depend on the number of rows.
//
//===----------------------------------------------------------------------===//

#include "GemmLayout.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::cpu;

/// Row blocks whose C is kept: 16 KiB.
static constexpr int64_t kGroupBlocks = 8;

namespace {
struct GroupedGemm {
  KernelGroupedGemmOp op;
  KernelContext &ctx;
  OpBuilder &b;
  Location loc;
  PackedLayout input, output;
  bool activated;
  /// Level whose emitter makes the register blocks, and its rows.
  Isa isa;
  int64_t mr;
  /// Input channels of the packed weights, bytes of one, panels of an expert.
  int64_t weightChannels, weightBytes, panels;
  Value scratch;
  /// Where the biases of the expert begin: its number times n.
  Value expertBias;

  GroupedGemm(KernelGroupedGemmOp op, KernelContext &ctx)
      : op(op), ctx(ctx), b(ctx.b), loc(ctx.loc),
        input(ctx.config.getIsa(), op.getWeightType(), op.getK()),
        output(ctx.config.getIsa(), op.getWeightType(), op.getN()),
        activated(op.hasActivation()), isa(ctx.config.getIsa()),
        mr(ctx.config.getMr()) {
    if (isa == Isa::AMX && !input.amx) {
      isa = Isa::AVX512;
      mr = 8;
    }
    bool bf16 = op.getWeightType().isBF16();
    weightBytes = bf16 ? 2 : 4;
    weightChannels = bf16 ? input.paddedChannels : int64_t(op.getK());
    panels = llvm::divideCeil(op.getN(), kPanelColumns / op.getParts());
  }

  Value constant(int64_t value) { return indexConstant(b, loc, value); }
  Value add(Value lhs, Value rhs) { return addIndex(b, loc, lhs, rhs); }
  Value add(Value lhs, int64_t rhs) { return addIndex(b, loc, lhs, rhs); }
  Value mul(Value lhs, int64_t rhs) { return mulIndex(b, loc, lhs, rhs); }
  Value sub(Value lhs, Value rhs) {
    return arith::SubIOp::create(b, loc, lhs, rhs);
  }
  Value min(Value lhs, Value rhs) {
    return arith::MinSIOp::create(b, loc, lhs, rhs);
  }
  Value compare(arith::CmpIPredicate predicate, Value lhs, int64_t rhs) {
    return arith::CmpIOp::create(b, loc, predicate, lhs, constant(rhs));
  }
  void when(Value condition, llvm::function_ref<void()> then,
            llvm::function_ref<void()> otherwise = {}) {
    auto ifOp = scf::IfOp::create(b, loc, condition, bool(otherwise));
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(ifOp.thenBlock());
    then();
    if (!otherwise)
      return;
    b.setInsertionPointToStart(ifOp.elseBlock());
    otherwise();
  }

  /// Rows of one register block.
  int64_t stepRows() const { return input.amx ? mr * kBlockRows : mr; }

  LogicalResult verify();
  LogicalResult expand();
  void expandGroup(Value panel, Value weights, Value block, Value rows,
                   Value isFirst, Value rowBegin);
  void multiply(Value packed, Value weights, Value k, Value row, Value rows,
                int64_t prefetch);
  void writeRows(Value panel, Value rows, Value rowBegin);
  void writePacked(Value panel, Value rows, Value blocks, Value blockBegin);
  void storePacked(Value lanes, Value row, Value channel, Value blockBegin);
  Value loadBias(int64_t part, Value channel, int64_t count);
  SmallVector<Value> loadPanelBiases(Value panel);
  Value activate(ArrayRef<Value> parts);
  LogicalResult verifyActivation();
};
} // namespace

/// What the op's verifier does not know: it depends on the configuration.
LogicalResult GroupedGemm::verify() {
  if (!llvm::isPowerOf2_64(mr) || mr > (input.amx ? 2 : kBlockRows))
    return op.emitOpError("cannot use register blocks of mr = ")
           << mr << "; a power of two up to " << (input.amx ? 2 : kBlockRows)
           << " is needed at this level";
  if (activated && input.amx && !op.getRowType().isBF16())
    return op.emitOpError("at level AMX, rows of type ")
           << op.getRowType() << " would be rounded to bf16";
  return activated ? verifyActivation() : success();
}

LogicalResult GroupedGemm::verifyActivation() {
  Block &body = op.getActivation().front();
  for (Operation &nested : body.without_terminator())
    if (!nested.hasTrait<OpTrait::Elementwise>() &&
        !nested.hasTrait<OpTrait::ConstantLike>())
      return op.emitOpError("activation can hold elementwise ops only, not '")
             << nested.getName() << "'";
  return success();
}

LogicalResult GroupedGemm::expand() {
  if (failed(verify()))
    return failure();
  scratch = ctx.allocScratch(b.getF32Type(),
                             kGroupBlocks * kBlockRows * kPanelColumns);
  std::pair<Value, Value> share = ctx.splitRange(constant(panels));
  int64_t panelBytes = weightChannels * kPanelColumns * weightBytes;

  Value zero = constant(0);
  auto loop = scf::ForOp::create(b, loc, zero, constant(op.getExperts()),
                                 constant(1), zero);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  Value expert = loop.getInductionVar();
  Value firstBlock = loop.getRegionIterArg(0);
  ExpertRows e(b, loc, op.getExpertOffsets(), expert);
  if (!op.getBiases().empty())
    expertBias = mul(expert, op.getN());
  when(compare(arith::CmpIPredicate::sgt, e.rows, 0), [&] {
    forRange(b, loc, share.first, share.second, [&](Value panel) {
      Value weights =
          add(mul(expert, panels * panelBytes), mul(panel, panelBytes));
      int64_t groupRows = kGroupBlocks * kBlockRows;
      forRange(
          b, loc, zero, e.rows,
          [&](Value row) {
            Value rows = min(sub(e.rows, row), constant(groupRows));
            Value blocks = arith::ShRUIOp::create(b, loc, row, constant(4));
            expandGroup(panel, weights, add(firstBlock, blocks), rows,
                        compare(arith::CmpIPredicate::eq, row, 0),
                        add(e.begin, row));
          },
          groupRows);
    });
  });
  scf::YieldOp::create(b, loc, add(firstBlock, e.blocks));
  return success();
}

/// Rows `rowBegin` .. + `rows` - 1, from block `block` on, of one panel.
void GroupedGemm::expandGroup(Value panel, Value weights, Value block,
                              Value rows, Value isFirst, Value rowBegin) {
  Value blocks =
      arith::ShRUIOp::create(b, loc, add(rows, kBlockRows - 1), constant(4));
  Value zero = arith::ConstantOp::create(
      b, loc, b.getZeroAttr(lanesType(b.getF32Type())));
  forRange(
      b, loc, constant(0), mul(blocks, kBlockRows * kPanelColumns),
      [&](Value i) { vector::StoreOp::create(b, loc, zero, scratch, i); },
      kLanes);

  // All chunks but the last are multiples of 32 channels.
  int64_t chunk = std::max<int64_t>(
      std::min(ctx.config.getKc() / 32 * 32, input.paddedChannels), 32);
  Value isSingle = compare(arith::CmpIPredicate::sle, rows, stepRows());
  Value channels = constant(weightChannels);
  Value step =
      arith::SelectOp::create(b, loc, isSingle, channels, constant(chunk));
  auto loop = scf::ForOp::create(b, loc, constant(0), channels, step);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    Value k0 = loop.getInductionVar();
    Value k = min(step, sub(channels, k0));
    Value weightsAt = add(weights, mul(k0, kPanelColumns * weightBytes));
    // Either layout holds the 16 rows of a channel, or of 32, together.
    Value packedAt = add(mul(block, input.blockBytes()),
                         mul(k0, kBlockRows * (input.amx ? 2 : 4)));
    when(isFirst, [&] {
      multiply(packedAt, weightsAt, k, constant(0), rows,
               ctx.config.getPrefetch());
    });
    Value begin = arith::SelectOp::create(b, loc, isFirst, constant(stepRows()),
                                          constant(0));
    forRange(
        b, loc, begin, rows,
        [&](Value row) {
          multiply(packedAt, weightsAt, k, row, sub(rows, row),
                   /*prefetch=*/0);
        },
        stepRows());
  }
  if (activated)
    writePacked(panel, rows, blocks, block);
  else
    writeRows(panel, rows, rowBegin);
}

/// One register block from row `row` of the group on, of which `rows` rows are
/// there. Fewer rows than `mr` take the next smaller block that holds them:
/// half of `mr` and so on, down to one.
void GroupedGemm::multiply(Value packed, Value weights, Value k, Value row,
                           Value rows, int64_t prefetch) {
  Value block = arith::ShRUIOp::create(b, loc, row, constant(4));
  Value inBlock = arith::AndIOp::create(b, loc, row, constant(15));
  Value a = add(packed, mul(block, input.blockBytes()));
  Value c = mul(row, kPanelColumns);
  Value kp = constant(input.paddedChannels);
  std::function<void(int64_t)> emit = [&](int64_t size) {
    auto ukernel = [&] {
      UkernelOp::create(b, loc, op.getPacked(), a, inBlock, op.getWeights(),
                        weights, scratch, c, k, kp, size, isa,
                        cast<FloatType>(op.getWeightType()), prefetch,
                        /*accumulate=*/true);
    };
    if (size == 1)
      return ukernel();
    int64_t smaller = (size / 2) * (input.amx ? kBlockRows : 1);
    when(compare(arith::CmpIPredicate::sgt, rows, smaller), ukernel,
         [&] { emit(size / 2); });
  };
  emit(mr);
}

/// `count` values of the bias of `part` from `channel` on.
Value GroupedGemm::loadBias(int64_t part, Value channel, int64_t count) {
  return loadLanes(b, loc, op.getBiases()[part], add(expertBias, channel),
                   count);
}

/// The biases of a panel of packed rows, tile by tile, the parts of each side
/// by side; channels from n on are zero. Empty without biases.
SmallVector<Value> GroupedGemm::loadPanelBiases(Value panel) {
  int64_t parts = op.getParts(), channels = kPanelColumns / parts;
  int64_t lastChannels = op.getN() - (panels - 1) * channels;
  if (op.getBiases().empty())
    return {};
  auto load = [&](int64_t count) {
    SmallVector<Value> biases;
    for (int64_t tile = 0; tile < channels; tile += kLanes)
      for (int64_t part = 0; part < parts; ++part) {
        int64_t left = std::min(count - tile, kLanes);
        Value first = add(mul(panel, channels), tile);
        biases.push_back(
            left > 0 ? loadBias(part, first, left)
                     : arith::ConstantOp::create(
                           b, loc, b.getZeroAttr(lanesType(b.getF32Type()))));
      }
    return biases;
  };
  if (lastChannels == channels)
    return load(channels);
  // Each case knows its number of channels when it is compiled.
  SmallVector<Type> types(kPanelColumns / kLanes, lanesType(b.getF32Type()));
  Value isLast = compare(arith::CmpIPredicate::eq, panel, panels - 1);
  auto ifOp = scf::IfOp::create(b, loc, types, isLast, /*withElse=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(ifOp.thenBlock());
  scf::YieldOp::create(b, loc, load(lastChannels));
  b.setInsertionPointToStart(ifOp.elseBlock());
  scf::YieldOp::create(b, loc, load(channels));
  return ifOp.getResults();
}

/// Row-major rows; the last panel may have fewer columns.
void GroupedGemm::writeRows(Value panel, Value rows, Value rowBegin) {
  int64_t n = op.getN();
  int64_t lastColumns = n - (panels - 1) * kPanelColumns;
  auto writeColumns = [&](int64_t columns) {
    Value first = mul(panel, kPanelColumns);
    SmallVector<Value> biases;
    for (int64_t tile = 0; tile < columns && !op.getBiases().empty();
         tile += kLanes)
      biases.push_back(
          loadBias(0, add(first, tile), std::min(columns - tile, kLanes)));
    forRange(b, loc, constant(0), rows, [&](Value row) {
      Value from = mul(row, kPanelColumns);
      Value to = add(mul(add(rowBegin, row), n), first);
      for (int64_t tile = 0; tile < columns; tile += kLanes) {
        Value lanes = loadLanes(b, loc, scratch, add(from, tile));
        if (!biases.empty())
          lanes = arith::AddFOp::create(b, loc, lanes, biases[tile / kLanes]);
        lanes = roundTo(b, loc, lanes, op.getRowType());
        storeLanes(b, loc, lanes, op.getOut(), add(to, tile),
                   std::min(columns - tile, kLanes));
      }
    });
  };
  if (lastColumns == kPanelColumns)
    return writeColumns(kPanelColumns);
  when(
      compare(arith::CmpIPredicate::eq, panel, panels - 1),
      [&] { writeColumns(lastColumns); }, [&] { writeColumns(kPanelColumns); });
}

/// Rows through the activation into blocks of the next GEMM; channels and rows
/// of padding become zero.
void GroupedGemm::writePacked(Value panel, Value rows, Value blocks,
                              Value blockBegin) {
  int64_t n = op.getN(), parts = op.getParts();
  int64_t tiles = 2 / parts;
  VectorType type = lanesType(b.getF32Type());
  Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(type));
  Value firstChannel = mul(panel, tiles * kLanes);
  SmallVector<Value> biases = loadPanelBiases(panel);
  forRange(b, loc, constant(0), rows, [&](Value row) {
    for (int64_t tile = 0; tile < tiles; ++tile) {
      SmallVector<Value> lanes;
      for (int64_t part = 0; part < parts; ++part) {
        int64_t column = tile * parts + part;
        Value sum = loadLanes(b, loc, scratch,
                              add(mul(row, kPanelColumns), column * kLanes));
        if (!biases.empty())
          sum = arith::AddFOp::create(b, loc, sum, biases[column]);
        lanes.push_back(sum);
      }
      Value channel = add(firstChannel, tile * kLanes);
      Value value = roundTo(b, loc, activate(lanes), op.getRowType());
      if (n % (tiles * kLanes)) {
        Value left = sub(constant(n), channel);
        left = arith::MaxSIOp::create(b, loc, left, constant(0));
        Value inside = vector::CreateMaskOp::create(
            b, loc, lanesType(b.getI1Type()), left);
        value = arith::SelectOp::create(b, loc, inside, value, zero);
      }
      storePacked(value, row, channel, blockBegin);
    }
  });
  auto clear = [&](Value begin, Value end, Value channel) {
    forRange(b, loc, begin, end,
             [&](Value row) { storePacked(zero, row, channel, blockBegin); });
  };
  Value allRows = mul(blocks, kBlockRows);
  for (int64_t tile = 0; tile < tiles; ++tile)
    clear(rows, allRows, add(firstChannel, tile * kLanes));
  // An odd number of tiles leaves half of the last 32 channels to no panel.
  int64_t covered = panels * tiles * kLanes;
  if (covered != output.paddedChannels)
    when(compare(arith::CmpIPredicate::eq, panel, panels - 1),
         [&] { clear(constant(0), allRows, constant(covered)); });
}

/// Stores 16 channels of row `row` of the group.
void GroupedGemm::storePacked(Value lanes, Value row, Value channel,
                              Value blockBegin) {
  Value block =
      add(blockBegin, arith::ShRUIOp::create(b, loc, row, constant(4)));
  Value inBlock = arith::AndIOp::create(b, loc, row, constant(15));
  Value view =
      output.view(b, loc, op.getOut(), mul(block, output.blockBytes()));
  if (!output.amx)
    return storeColumn(b, loc, lanes, view, channel, inBlock);
  // Channel c of row r is element (c / 32) * 512 + r * 32 + c % 32.
  Value inTile = arith::AndIOp::create(b, loc, channel, constant(31));
  Value tile = mul(sub(channel, inTile), kBlockRows);
  storeLanes(b, loc, lanes, view, add(add(tile, mul(inBlock, 32)), inTile));
}

/// The activation on 16 columns at once: its ops are elementwise, so each is
/// the same op on vectors.
Value GroupedGemm::activate(ArrayRef<Value> parts) {
  Block &body = op.getActivation().front();
  IRMapping mapping;
  for (auto [arg, part] : llvm::zip_equal(body.getArguments(), parts))
    mapping.map(arg, part);
  auto widen = [&](Value scalar) -> Value {
    if (Value known = mapping.lookupOrNull(scalar))
      return known;
    Value splat = vector::BroadcastOp::create(
        b, loc, lanesType(scalar.getType()), scalar);
    mapping.map(scalar, splat);
    return splat;
  };
  for (Operation &nested : body.without_terminator()) {
    if (nested.hasTrait<OpTrait::ConstantLike>()) {
      Operation *copy = b.clone(nested);
      mapping.map(nested.getResult(0),
                  vector::BroadcastOp::create(
                      b, loc, lanesType(copy->getResult(0).getType()),
                      copy->getResult(0))
                      .getResult());
      continue;
    }
    for (Value operand : nested.getOperands())
      widen(operand);
    Operation *copy = b.clone(nested, mapping);
    for (auto [from, to] :
         llvm::zip_equal(nested.getResults(), copy->getResults())) {
      to.setType(lanesType(from.getType()));
      mapping.map(from, to);
    }
  }
  return widen(body.getTerminator()->getOperand(0));
}

LogicalResult cpu::expandGroupedGemm(KernelGroupedGemmOp op,
                                     KernelContext &ctx) {
  return GroupedGemm(op, ctx).expand();
}
