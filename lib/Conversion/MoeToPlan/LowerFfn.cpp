//===- LowerFfn.cpp - Commands of the GEMMs of the experts --------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "FunctionLowering.h"

#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace mlir::moe;

/// Values of one kernel argument after another, in the order of the arguments.
namespace {
class Taker {
public:
  explicit Taker(ValueRange values) : values(values) {}
  Value one() { return many(1).front(); }
  ValueRange many(size_t count) {
    ValueRange taken = values.take_front(count);
    values = values.drop_front(count);
    return taken;
  }

private:
  ValueRange values;
};
} // namespace

/// A GPU gathers rows while it copies them: nothing is packed, and rows follow
/// each other as in the graph. Only rows that are multiplied by their weight
/// are gathered by a kernel of their own.
void FunctionLowering::lowerRaggedFfn(GroupedFfnOp op) {
  Location loc = op.getLoc();
  Type element = op.getX().getType().getElementType();
  Type bytes = flat(b.getI8Type()), i32 = flat(b.getI32Type());
  int64_t hidden = op.getX().getType().getDimSize(1);
  int64_t elementBytes = element.getIntOrFloatBitWidth() / 8;
  unsigned parts = op.getParts();
  bool scaled = !op.getRowWeight().empty(), biased = !op.getBiases().empty();
  unsigned numUpBiases = biased ? parts : 0;
  auto type = TypeAttr::get(element);
  auto i64 = [&](int64_t value) { return b.getI64IntegerAttr(value); };
  // One asynchronous copy moves 16 bytes.
  auto layout =
      LayoutAttr::get(b.getContext(), LayoutKind::Rows, 16 / elementBytes, 1);

  struct Segment {
    int64_t experts, width, out;
    Value worklist, gathered, activated, upWeights, downWeights;
  };
  SmallVector<Segment> segments;
  for (unsigned s = 0; s < op.getNumSegments(); ++s) {
    SmallVector<FlatSymbolRefAttr> symbols;
    for (Value weight : op.getSegmentWeights(s))
      symbols.push_back(
          cast<GetWeightOp>(weight.getDefiningOp()).getWeightAttr());
    auto up = cast<RankedTensorType>(op.getSegmentWeights(s)[0].getType());
    auto down =
        cast<RankedTensorType>(op.getSegmentWeights(s).back().getType());
    Value offsets = op.getExpertOffsets()[s];
    RowBound pairs = pairBounds.lookup(offsets);
    Segment segment{up.getDimSize(0),
                    up.getDimSize(1),
                    down.getDimSize(1),
                    worklists.lookup(offsets),
                    {},
                    {},
                    {},
                    {}};
    segment.upWeights = getConstant(loc, ArrayRef(symbols).drop_back(), layout);
    segment.downWeights = getConstant(loc, symbols.back(), layout);
    segment.activated =
        allocate(loc, size(pairs, segment.width * elementBytes));
    if (scaled)
      segment.gathered = allocate(loc, size(pairs, hidden * elementBytes));
    segments.push_back(segment);
    define(op.getResult(s));
  }

  if (scaled) {
    Args gather;
    addTensor(gather, op.getX());
    for (auto [s, segment] : llvm::enumerate(segments)) {
      addTensor(gather, op.getRowToken()[s]);
      addTensor(gather, op.getExpertOffsets()[s]);
      addTensor(gather, op.getRowWeight()[s]);
      gather.add(segment.gathered, flat(element));
    }
    dispatch(op, "gather_rows", gather, [&](OpBuilder &b, ValueRange v) {
      Taker args(v);
      Value x = args.one();
      for (const Segment &segment : segments) {
        ValueRange own = args.many(4);
        KernelGatherRowsOp::create(b, loc, x, own[0], own[1], own[2], own[3],
                                   segment.experts, hidden);
      }
    });
  }

  Args up;
  if (!scaled)
    addTensor(up, op.getX());
  for (auto [s, segment] : llvm::enumerate(segments)) {
    up.add(segment.upWeights, bytes);
    if (scaled)
      up.add(segment.gathered, flat(element));
    else
      up.add(buffer(op.getRowToken()[s]), i32);
    for (Value bias : op.getSegmentBiases(s).take_front(numUpBiases))
      addTensor(up, bias);
    up.add(segment.worklist, i32);
    up.add(segment.activated, flat(element));
  }
  dispatch(op, "ffn_up", up, [&](OpBuilder &b, ValueRange v) {
    Taker args(v);
    Value x = scaled ? Value() : args.one();
    for (const Segment &segment : segments) {
      Value weights = args.one(), rows = args.one();
      ValueRange biases = args.many(numUpBiases), last = args.many(2);
      auto gemm = KernelRaggedGemmOp::create(
          b, loc, scaled ? rows : x, scaled ? Value() : rows, weights, biases,
          last[0], last[1], i64(segment.experts), i64(segment.width),
          i64(hidden), i64(parts), i64(kTileRows), type);
      IRMapping mapping;
      op.getActivation().cloneInto(&gemm.getActivation(), mapping);
    }
  });

  Args down;
  for (auto [s, segment] : llvm::enumerate(segments)) {
    down.add(segment.activated, flat(element));
    down.add(segment.downWeights, bytes);
    if (biased)
      addTensor(down, op.getSegmentBiases(s).back());
    down.add(segment.worklist, i32);
    down.add(buffer(op.getResult(s)), flat(element));
  }
  dispatch(op, "ffn_down", down, [&](OpBuilder &b, ValueRange v) {
    Taker args(v);
    for (const Segment &segment : segments) {
      ValueRange first = args.many(2), biases = args.many(biased ? 1 : 0);
      ValueRange last = args.many(2);
      KernelRaggedGemmOp::create(b, loc, first[0], Value(), first[1], biases,
                                 last[0], last[1], i64(segment.experts),
                                 i64(segment.out), i64(segment.width), i64(1),
                                 i64(kTileRows), type);
    }
  });
}

void FunctionLowering::lowerGroupedFfn(GroupedFfnOp op) {
  if (onGpu())
    return lowerRaggedFfn(op);
  Location loc = op.getLoc();
  Type element = op.getX().getType().getElementType();
  Type bytes = flat(b.getI8Type()), i32 = flat(b.getI32Type());
  int64_t hidden = op.getX().getType().getDimSize(1);
  unsigned parts = op.getParts();
  bool scaled = !op.getRowWeight().empty(), biased = !op.getBiases().empty();
  unsigned numUpBiases = biased ? parts : 0;
  auto type = TypeAttr::get(element);
  auto i64 = [&](int64_t value) { return b.getI64IntegerAttr(value); };
  bool isBF16 = element.isBF16();
  auto layout = LayoutAttr::get(b.getContext(), LayoutKind::Panels,
                                isBF16 ? 32 : 1, isBF16 ? 2 : 1);

  /// Packed rows of an expert fill whole blocks of 16; channels are padded to
  /// 32 and take up to four bytes, depending on the ISA level.
  auto allocatePacked = [&](int64_t channels, RowBound pairs, int64_t experts) {
    int64_t rowBytes = llvm::alignTo(channels, 32) * 4;
    return allocate(loc, {size(pairs, 16 * rowBytes),
                          size(pairs + 15 * experts, rowBytes)});
  };

  struct Segment {
    int64_t experts, width, out;
    Value packed, activated, upWeights, downWeights;
  };
  SmallVector<Segment> segments;
  for (unsigned s = 0; s < op.getNumSegments(); ++s) {
    SmallVector<FlatSymbolRefAttr> symbols;
    for (Value weight : op.getSegmentWeights(s))
      symbols.push_back(
          cast<GetWeightOp>(weight.getDefiningOp()).getWeightAttr());
    auto up = cast<RankedTensorType>(op.getSegmentWeights(s)[0].getType());
    auto down =
        cast<RankedTensorType>(op.getSegmentWeights(s).back().getType());
    RowBound pairs = pairBounds.lookup(op.getExpertOffsets()[s]);
    Segment segment{
        up.getDimSize(0), up.getDimSize(1), down.getDimSize(1), {}, {}, {}, {}};
    segment.upWeights = getConstant(loc, ArrayRef(symbols).drop_back(), layout);
    segment.downWeights = getConstant(loc, symbols.back(), layout);
    segment.packed = allocatePacked(hidden, pairs, segment.experts);
    segment.activated = allocatePacked(segment.width, pairs, segment.experts);
    segments.push_back(segment);
    define(op.getResult(s));
  }

  Args pack;
  addTensor(pack, op.getX());
  for (auto [s, segment] : llvm::enumerate(segments)) {
    pack.add(buffer(op.getRowToken()[s]), i32);
    pack.add(buffer(op.getExpertOffsets()[s]), i32);
    if (scaled)
      addTensor(pack, op.getRowWeight()[s]);
    pack.add(segment.packed, bytes);
  }
  dispatch(op, "pack_rows", pack, [&](OpBuilder &b, ValueRange v) {
    Taker args(v);
    Value x = args.one();
    for (const Segment &segment : segments) {
      ValueRange lists = args.many(2);
      Value scale = scaled ? args.one() : Value();
      KernelPackRowsOp::create(b, loc, x, lists[0], lists[1], scale, args.one(),
                               i64(segment.experts), i64(hidden), type);
    }
  });

  Args up;
  for (auto [s, segment] : llvm::enumerate(segments)) {
    up.add(segment.packed, bytes);
    up.add(segment.upWeights, bytes);
    up.add(buffer(op.getExpertOffsets()[s]), i32);
    for (Value bias : op.getSegmentBiases(s).take_front(numUpBiases))
      addTensor(up, bias);
    up.add(segment.activated, bytes);
  }
  dispatch(op, "ffn_up", up, [&](OpBuilder &b, ValueRange v) {
    Taker args(v);
    for (const Segment &segment : segments) {
      ValueRange first = args.many(3), biases = args.many(numUpBiases);
      auto gemm = KernelGroupedGemmOp::create(
          b, loc, first[0], first[1], first[2], biases, args.one(),
          i64(segment.experts), i64(segment.width), i64(hidden), i64(parts),
          type, type);
      IRMapping mapping;
      op.getActivation().cloneInto(&gemm.getActivation(), mapping);
    }
  });

  Args down;
  for (auto [s, segment] : llvm::enumerate(segments)) {
    down.add(segment.activated, bytes);
    down.add(segment.downWeights, bytes);
    down.add(buffer(op.getExpertOffsets()[s]), i32);
    if (biased)
      addTensor(down, op.getSegmentBiases(s).back());
    down.add(buffer(op.getResult(s)), flat(element));
  }
  dispatch(op, "ffn_down", down, [&](OpBuilder &b, ValueRange v) {
    Taker args(v);
    for (const Segment &segment : segments) {
      ValueRange first = args.many(3), biases = args.many(biased ? 1 : 0);
      KernelGroupedGemmOp::create(b, loc, first[0], first[1], first[2], biases,
                                  args.one(), i64(segment.experts),
                                  i64(segment.out), i64(segment.width), i64(1),
                                  type, type);
    }
  });
}
