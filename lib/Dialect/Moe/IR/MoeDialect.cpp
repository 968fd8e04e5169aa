//===- MoeDialect.cpp - The moe dialect -----------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/Moe/IR/Moe.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::moe;

#include "moe/Dialect/Moe/IR/MoeDialect.cpp.inc"
#include "moe/Dialect/Moe/IR/MoeEnums.cpp.inc"

#define GET_TYPEDEF_CLASSES
#include "moe/Dialect/Moe/IR/MoeTypes.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "moe/Dialect/Moe/IR/MoeAttrs.cpp.inc"

void MoeDialect::initialize() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "moe/Dialect/Moe/IR/MoeTypes.cpp.inc"
      >();
  addAttributes<
#define GET_ATTRDEF_LIST
#include "moe/Dialect/Moe/IR/MoeAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "moe/Dialect/Moe/IR/MoeOps.cpp.inc"
      >();
}

Type RoutingType::parse(AsmParser &parser) {
  int64_t experts, perToken, rows, extra = 0;
  if (parser.parseLess() || parser.parseKeyword("experts") ||
      parser.parseEqual() || parser.parseInteger(experts) ||
      parser.parseComma() || parser.parseKeyword("per_token") ||
      parser.parseEqual() || parser.parseInteger(perToken))
    return {};
  rows = perToken;
  if (succeeded(parser.parseOptionalComma()))
    if (parser.parseKeyword("rows") || parser.parseEqual() ||
        parser.parseInteger(rows) || parser.parseComma() ||
        parser.parseKeyword("extra") || parser.parseEqual() ||
        parser.parseInteger(extra))
      return {};
  if (parser.parseGreater())
    return {};
  return parser.getChecked<RoutingType>(parser.getContext(), experts, perToken,
                                        rows, extra);
}

void RoutingType::print(AsmPrinter &printer) const {
  printer << "<experts = " << getExperts() << ", per_token = " << getPerToken();
  if (getRows() != getPerToken() || getExtra() != 0)
    printer << ", rows = " << getRows() << ", extra = " << getExtra();
  printer << ">";
}

LogicalResult RoutingType::verify(function_ref<InFlightDiagnostic()> emitError,
                                  int64_t experts, int64_t perToken,
                                  int64_t rows, int64_t extra) {
  // Numbers of experts and rows are i32 in every list.
  constexpr int64_t limit = std::numeric_limits<int32_t>::max();
  if (experts < 1 || experts >= limit)
    return emitError() << "C1: a routing needs at least one expert and fewer "
                          "than 2^31 - 1, got "
                       << experts;
  if (perToken < 1 || perToken > experts)
    return emitError() << "C2: per_token must lie between 1 and the number of "
                          "experts "
                       << experts << ", got " << perToken;
  if (rows < 0 || rows > perToken || extra < 0 || extra > limit ||
      rows + extra == 0)
    return emitError() << "C3: expected 0 <= rows <= per_token and 0 <= extra "
                          "< 2^31, not both 0, got rows = "
                       << rows << " and extra = " << extra;
  return success();
}
