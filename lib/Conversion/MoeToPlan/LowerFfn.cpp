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

/// A GPU gathers rows while it copies them: nothing is packed, and rows follow
/// each other as in the graph.
void FunctionLowering::lowerRaggedFfn(GroupedFfnOp op) {
  Location loc = op.getLoc();
  Type element = op.getX().getType().getElementType();
  Type bytes = flat(b.getI8Type()), i32 = flat(b.getI32Type());
  int64_t hidden = op.getX().getType().getDimSize(1);
  int64_t elementBytes = element.getIntOrFloatBitWidth() / 8;
  unsigned parts = op.getParts();
  auto type = TypeAttr::get(element);
  auto i64 = [&](int64_t value) { return b.getI64IntegerAttr(value); };
  // One asynchronous copy moves 16 bytes.
  auto layout =
      LayoutAttr::get(b.getContext(), LayoutKind::Rows, 16 / elementBytes, 1);

  struct Segment {
    int64_t experts, width, out;
    Value worklist, activated, upWeights, downWeights;
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
    int64_t pairs = rowsPerToken[offsets];
    Segment segment{up.getDimSize(0),
                    up.getDimSize(1),
                    down.getDimSize(1),
                    worklists.lookup(offsets),
                    {},
                    {},
                    {}};
    segment.upWeights = getConstant(loc, ArrayRef(symbols).drop_back(), layout);
    segment.downWeights = getConstant(loc, symbols.back(), layout);
    segment.activated =
        allocate(loc, size(pairs * segment.width * elementBytes, 0));
    segments.push_back(segment);
    define(op.getResult(s), pairs);
  }

  Args up;
  addTensor(up, op.getX());
  for (auto [s, segment] : llvm::enumerate(segments)) {
    up.add(segment.upWeights, bytes);
    up.add(buffer(op.getRowToken()[s]), i32);
    up.add(segment.worklist, i32);
    up.add(segment.activated, flat(element));
  }
  dispatch(op, "ffn_up", up, [&](OpBuilder &b, ValueRange v) {
    for (auto [s, segment] : llvm::enumerate(segments)) {
      ValueRange own = v.slice(1 + 4 * s, 4);
      auto gemm = KernelRaggedGemmOp::create(
          b, loc, v[0], own[1], own[0], own[2], own[3], i64(segment.experts),
          i64(segment.width), i64(hidden), i64(parts), i64(kTileRows), type);
      IRMapping mapping;
      op.getActivation().cloneInto(&gemm.getActivation(), mapping);
    }
  });

  Args down;
  for (auto [s, segment] : llvm::enumerate(segments)) {
    down.add(segment.activated, flat(element));
    down.add(segment.downWeights, bytes);
    down.add(segment.worklist, i32);
    down.add(buffer(op.getResult(s)), flat(element));
  }
  dispatch(op, "ffn_down", down, [&](OpBuilder &b, ValueRange v) {
    for (auto [s, segment] : llvm::enumerate(segments)) {
      ValueRange own = v.slice(4 * s, 4);
      KernelRaggedGemmOp::create(
          b, loc, own[0], Value(), own[1], own[2], own[3], i64(segment.experts),
          i64(segment.out), i64(segment.width), i64(1), i64(kTileRows), type);
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
  auto type = TypeAttr::get(element);
  auto i64 = [&](int64_t value) { return b.getI64IntegerAttr(value); };
  bool isBF16 = element.isBF16();
  auto layout = LayoutAttr::get(b.getContext(), LayoutKind::Panels,
                                isBF16 ? 32 : 1, isBF16 ? 2 : 1);

  /// Packed rows of an expert fill whole blocks of 16; channels are padded to
  /// 32 and take up to four bytes, depending on the ISA level.
  auto allocatePacked = [&](int64_t channels, int64_t pairs, int64_t experts) {
    int64_t rowBytes = llvm::alignTo(channels, 32) * 4;
    return allocate(loc, {size(16 * pairs * rowBytes, 0),
                          size(pairs * rowBytes, 15 * experts * rowBytes)});
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
    int64_t pairs = rowsPerToken[op.getExpertOffsets()[s]];
    Segment segment{
        up.getDimSize(0), up.getDimSize(1), down.getDimSize(1), {}, {}, {}, {}};
    segment.upWeights = getConstant(loc, ArrayRef(symbols).drop_back(), layout);
    segment.downWeights = getConstant(loc, symbols.back(), layout);
    segment.packed = allocatePacked(hidden, pairs, segment.experts);
    segment.activated = allocatePacked(segment.width, pairs, segment.experts);
    segments.push_back(segment);
    define(op.getResult(s), pairs);
  }

  Args pack;
  addTensor(pack, op.getX());
  for (auto [s, segment] : llvm::enumerate(segments)) {
    pack.add(buffer(op.getRowToken()[s]), i32);
    pack.add(buffer(op.getExpertOffsets()[s]), i32);
    pack.add(segment.packed, bytes);
  }
  dispatch(op, "pack_rows", pack, [&](OpBuilder &b, ValueRange v) {
    for (auto [s, segment] : llvm::enumerate(segments))
      KernelPackRowsOp::create(b, loc, v[0], v[3 * s + 1], v[3 * s + 2],
                               v[3 * s + 3], i64(segment.experts), i64(hidden),
                               type);
  });

  Args up;
  for (auto [s, segment] : llvm::enumerate(segments)) {
    up.add(segment.packed, bytes);
    up.add(segment.upWeights, bytes);
    up.add(buffer(op.getExpertOffsets()[s]), i32);
    up.add(segment.activated, bytes);
  }
  dispatch(op, "ffn_up", up, [&](OpBuilder &b, ValueRange v) {
    for (auto [s, segment] : llvm::enumerate(segments)) {
      auto gemm = KernelGroupedGemmOp::create(
          b, loc, v[4 * s], v[4 * s + 1], v[4 * s + 2], v[4 * s + 3],
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
    down.add(buffer(op.getResult(s)), flat(element));
  }
  dispatch(op, "ffn_down", down, [&](OpBuilder &b, ValueRange v) {
    for (auto [s, segment] : llvm::enumerate(segments))
      KernelGroupedGemmOp::create(b, loc, v[4 * s], v[4 * s + 1], v[4 * s + 2],
                                  v[4 * s + 3], i64(segment.experts),
                                  i64(segment.out), i64(segment.width), i64(1),
                                  type, type);
  });
}
