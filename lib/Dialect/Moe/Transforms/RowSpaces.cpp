//===- RowSpaces.cpp - What the rows of a tensor stand for ----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/Moe/Transforms/RowSpaces.h"

using namespace mlir;
using namespace mlir::moe;

Operation *moe::getListMaker(Value value, unsigned list) {
  auto result = dyn_cast<OpResult>(value);
  if (!result || result.getResultNumber() != list ||
      !isa<GroupRowsOp, AllRowsOp, ChooseRowsOp, SliceRowsOp>(
          result.getOwner()))
    return nullptr;
  return result.getOwner();
}

RowSpace RowSpaces::lookup(Value value) const {
  auto it = spaces.find(value);
  if (it != spaces.end())
    return it->second;
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || type.getRank() == 0)
    return {};
  return type.isDynamicDim(0) ? RowSpace::ofTokens()
                              : RowSpace::ofFixed(type.getDimSize(0));
}

void RowSpaces::visit(Operation *op) {
  auto setAll = [&](RowSpace space) {
    for (Value result : op->getResults())
      set(result, space);
  };
  if (isa<GroupRowsOp, AllRowsOp, ChooseRowsOp, SliceRowsOp>(op)) {
    auto slice = dyn_cast<SliceRowsOp>(op);
    setTokens(op->getResult(0), slice ? getTokens(slice.getSourceOffsets())
                                      : lookup(op->getOperand(0)));
    for (Value list : op->getResults().drop_front())
      set(list, RowSpace::ofPairs(op->getResult(0)));
  } else if (isa<RouterLogitsOp, SelectTopkOp, ApplyCapacityOp,
                 SelectProductsOp, RowLogitsOp, NestIdsOp>(op)) {
    // Their first operand has the rows of the results.
    RowSpace space = lookup(op->getOperand(0));
    for (Value result : op->getResults())
      if (cast<ShapedType>(result.getType()).getRank() == 2)
        set(result, space);
  } else if (auto random = dyn_cast<RandomOp>(op)) {
    setAll(lookup(random.getLike()));
  } else if (auto table = dyn_cast<LookupOp>(op)) {
    setAll(lookup(table.getIndices()));
  } else if (auto gather = dyn_cast<GatherRowsOp>(op)) {
    if (Operation *maker = getListMaker(gather.getRowToken(), 1))
      setAll(RowSpace::ofPairs(maker->getResult(0)));
  } else if (auto ffn = dyn_cast<GroupedFfnOp>(op)) {
    for (auto [result, offsets] :
         llvm::zip(ffn.getResults(), ffn.getExpertOffsets()))
      set(result, RowSpace::ofPairs(offsets));
  } else if (auto map = dyn_cast<MapRowsOp>(op)) {
    Value offsets = map.getExpertOffsets();
    setAll(offsets ? RowSpace::ofPairs(offsets) : lookup(map.getRows()[0]));
  } else if (auto combine = dyn_cast<CombineRowsOp>(op)) {
    if (Operation *maker = getListMaker(combine.getTokenOffsets()[0], 3))
      setAll(getTokens(maker->getResult(0)));
  }
}
