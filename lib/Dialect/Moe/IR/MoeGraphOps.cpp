//===- MoeGraphOps.cpp - Graph-level ops ----------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/Moe/IR/Moe.h"

using namespace mlir;
using namespace mlir::moe;

LogicalResult WeightOp::verify() { return success(); }
LogicalResult RouterLogitsOp::verify() { return success(); }
LogicalResult RouteOp::verify() { return success(); }
LogicalResult AssignOp::verify() { return success(); }
LogicalResult AssignAllOp::verify() { return success(); }
LogicalResult DispatchOp::verify() { return success(); }
LogicalResult ExpertsOp::verify() { return success(); }
LogicalResult CombineOp::verify() { return success(); }
LogicalResult ExpertCountsOp::verify() { return success(); }

LogicalResult
GetWeightOp::verifySymbolUses(SymbolTableCollection &symbolTable) {
  auto weight =
      symbolTable.lookupNearestSymbolFrom<WeightOp>(*this, getWeightAttr());
  if (!weight)
    return emitOpError() << "C1: no moe.weight named " << getWeightAttr();
  if (weight.getType() != getResult().getType())
    return emitOpError() << "C1: " << getWeightAttr() << " has type "
                         << weight.getType() << ", not "
                         << getResult().getType();
  return success();
}

SmallVector<std::string> WeightOp::getSourceNames() {
  SmallVector<std::string> names;
  for (StringRef source : getSources().getAsValueRange<StringAttr>()) {
    size_t open = source.find('{'), dots = source.find("..", open),
           close = source.find('}', open);
    uint64_t first, last;
    if (open == StringRef::npos || dots == StringRef::npos ||
        close == StringRef::npos ||
        source.slice(open + 1, dots).getAsInteger(10, first) ||
        source.slice(dots + 2, close).getAsInteger(10, last)) {
      names.push_back(source.str());
      continue;
    }
    for (uint64_t i = first; i <= last; ++i)
      names.push_back(
          (source.take_front(open) + Twine(i) + source.drop_front(close + 1))
              .str());
  }
  return names;
}

RankedTensorType WeightOp::getSourceType() {
  auto type = cast<RankedTensorType>(getType());
  SmallVector<int64_t> shape(type.getShape());
  if (getStack())
    shape.erase(shape.begin());
  if (getTranspose())
    std::swap(shape[shape.size() - 1], shape[shape.size() - 2]);
  if (auto split = getSplit())
    shape[(*split)[0]] = ShapedType::kDynamic;
  return type.clone(shape);
}

/// Types of `moe.experts`: `(rows, weights...), routing`.
static ParseResult parseExpertsTypes(OpAsmParser &parser, Type &rows,
                                     SmallVectorImpl<Type> &weights,
                                     Type &routing) {
  SmallVector<Type> types;
  if (parser.parseLParen() || parser.parseTypeList(types) ||
      parser.parseRParen() || parser.parseComma() || parser.parseType(routing))
    return failure();
  rows = types.front();
  weights.append(types.begin() + 1, types.end());
  return success();
}

static void printExpertsTypes(OpAsmPrinter &printer, Operation *, Type rows,
                              TypeRange weights, Type routing) {
  printer << "(" << rows;
  for (Type type : weights)
    printer << ", " << type;
  printer << "), " << routing;
}

#define GET_OP_CLASSES
#include "moe/Dialect/Moe/IR/MoeOps.cpp.inc"
