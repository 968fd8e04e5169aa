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

/// The names that `patterns` stand for, in order.
static SmallVector<std::string> expandNames(ArrayAttr patterns) {
  SmallVector<std::string> names;
  for (StringRef source : patterns.getAsValueRange<StringAttr>()) {
    auto [head, tail] = source.split('{');
    auto [range, rest] = tail.split('}');
    auto [firstText, lastText] = range.split("..");
    uint64_t first, last;
    if (firstText.getAsInteger(10, first) || lastText.getAsInteger(10, last)) {
      names.push_back(source.str());
      continue;
    }
    for (uint64_t i = first; i <= last; ++i)
      names.push_back((head + Twine(i) + rest).str());
  }
  return names;
}

SmallVector<std::string> WeightOp::getSourceNames() {
  return expandNames(getSources());
}

SmallVector<std::string> WeightOp::getScaleNames() {
  std::optional<ArrayAttr> scales = getScales();
  return scales ? expandNames(*scales) : SmallVector<std::string>();
}

RankedTensorType WeightOp::getSourceType() {
  auto type = cast<RankedTensorType>(getType());
  SmallVector<int64_t> shape(type.getShape());
  if (getStack())
    shape.erase(shape.begin());
  if (getTranspose())
    std::swap(shape[shape.size() - 1], shape[shape.size() - 2]);
  if (auto split = getSplit())
    shape[(*split)[0]] = (*split)[4];
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
  // parseTypeList takes no empty list.
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
