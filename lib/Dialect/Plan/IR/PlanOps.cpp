//===- PlanOps.cpp - Syntax of the plan dialect ---------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/Plan/IR/Plan.h"

#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::plan;

#include "moe/Dialect/Plan/IR/PlanDialect.cpp.inc"

#define GET_TYPEDEF_CLASSES
#include "moe/Dialect/Plan/IR/PlanTypes.cpp.inc"

void PlanDialect::initialize() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "moe/Dialect/Plan/IR/PlanTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "moe/Dialect/Plan/IR/PlanOps.cpp.inc"
      >();
}

/// `on cuda`; nothing for the CPU.
static ParseResult parseOnDevice(OpAsmParser &parser,
                                 moe::DeviceKindAttr &device) {
  auto kind = moe::DeviceKind::Cpu;
  if (succeeded(parser.parseOptionalKeyword("on"))) {
    SMLoc where = parser.getCurrentLocation();
    StringRef keyword;
    if (parser.parseKeyword(&keyword))
      return failure();
    auto known = moe::symbolizeDeviceKind(keyword);
    if (!known)
      return parser.emitError(where) << "unknown device '" << keyword << "'";
    kind = *known;
  }
  device = moe::DeviceKindAttr::get(parser.getContext(), kind);
  return success();
}

static void printOnDevice(OpAsmPrinter &printer, Operation *,
                          moe::DeviceKindAttr device) {
  if (device && device.getValue() != moe::DeviceKind::Cpu)
    printer << " on " << moe::stringifyDeviceKind(device.getValue());
}

/// Block arguments of a kernel, and its device unless that is the CPU:
///   plan.kernel @k(%a: type, ...) on cuda variants [...] { ... }
ParseResult KernelOp::parse(OpAsmParser &parser, OperationState &result) {
  StringAttr name;
  SmallVector<OpAsmParser::Argument> args;
  ArrayAttr variants;
  if (parser.parseSymbolName(name, getSymNameAttrName(result.name),
                             result.attributes) ||
      parser.parseArgumentList(args, OpAsmParser::Delimiter::Paren,
                               /*allowType=*/true))
    return failure();
  moe::DeviceKindAttr device;
  if (parseOnDevice(parser, device))
    return failure();
  result.addAttribute(getDeviceAttrName(result.name), device);
  if (succeeded(parser.parseOptionalKeyword("variants")) &&
      parser.parseAttribute(variants, getVariantsAttrName(result.name),
                            result.attributes))
    return failure();
  if (parser.parseOptionalAttrDictWithKeyword(result.attributes))
    return failure();
  Region *body = result.addRegion();
  if (parser.parseRegion(*body, args))
    return failure();
  if (body->empty())
    body->emplaceBlock();
  return success();
}

void KernelOp::print(OpAsmPrinter &printer) {
  printer << ' ';
  printer.printSymbolName(getSymName());
  printer << '(';
  llvm::interleaveComma(
      getBody().getArguments(), printer,
      [&](BlockArgument arg) { printer.printRegionArgument(arg); });
  printer << ')';
  printOnDevice(printer, *this, getDeviceAttr());
  if (!getVariants().empty())
    printer << " variants " << getVariants();
  printer.printOptionalAttrDictWithKeyword(
      (*this)->getAttrs(),
      {getSymNameAttrName(), getVariantsAttrName(), getDeviceAttrName()});
  printer << ' ';
  printer.printRegion(getBody(), /*printEntryBlockArgs=*/false);
}

/// Functions: symbols, inputs and outputs as named block arguments.
///   plan.func @f symbols(%n: "N" [0, 4096])
///     inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>)
///     dims [0, 0] { ... }
ParseResult FuncOp::parse(OpAsmParser &parser, OperationState &result) {
  Builder &b = parser.getBuilder();
  StringAttr name;
  SmallVector<OpAsmParser::Argument> args;
  SmallVector<Attribute> symbols;
  SmallVector<int64_t> mins, maxs;
  if (parser.parseSymbolName(name, getSymNameAttrName(result.name),
                             result.attributes))
    return failure();
  auto buffer = BufferType::get(b.getContext());
  auto parseArg = [&](Type type, StringAttr &label) -> ParseResult {
    OpAsmParser::Argument &arg = args.emplace_back();
    arg.type = type;
    return failure(parser.parseArgument(arg) || parser.parseColon() ||
                   parser.parseAttribute(label));
  };
  auto parseSymbol = [&]() -> ParseResult {
    StringAttr label;
    if (parseArg(b.getIndexType(), label) || parser.parseLSquare() ||
        parser.parseInteger(mins.emplace_back()) || parser.parseComma() ||
        parser.parseInteger(maxs.emplace_back()) || parser.parseRSquare())
      return failure();
    symbols.push_back(label);
    return success();
  };
  if (parser.parseKeyword("symbols") ||
      parser.parseCommaSeparatedList(AsmParser::Delimiter::Paren, parseSymbol))
    return failure();
  for (bool input : {true, false}) {
    SmallVector<Attribute> names, types;
    auto parseTensor = [&]() -> ParseResult {
      StringAttr label;
      Type type;
      if (parseArg(buffer, label) || parser.parseType(type))
        return failure();
      names.push_back(label);
      types.push_back(TypeAttr::get(type));
      return success();
    };
    if (parser.parseKeyword(input ? "inputs" : "outputs") ||
        parser.parseCommaSeparatedList(AsmParser::Delimiter::Paren,
                                       parseTensor))
      return failure();
    result.addAttribute(input ? getInputNamesAttrName(result.name)
                              : getOutputNamesAttrName(result.name),
                        b.getArrayAttr(names));
    result.addAttribute(input ? getInputTypesAttrName(result.name)
                              : getOutputTypesAttrName(result.name),
                        b.getArrayAttr(types));
  }
  result.addAttribute(getSymbolsAttrName(result.name), b.getArrayAttr(symbols));
  result.addAttribute(getSymbolMinAttrName(result.name),
                      b.getDenseI64ArrayAttr(mins));
  result.addAttribute(getSymbolMaxAttrName(result.name),
                      b.getDenseI64ArrayAttr(maxs));
  SmallVector<int64_t> dims;
  auto parseDim = [&]() { return parser.parseInteger(dims.emplace_back()); };
  if (parser.parseKeyword("dims") ||
      parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, parseDim) ||
      parser.parseOptionalAttrDictWithKeyword(result.attributes))
    return failure();
  result.addAttribute(getDimsAttrName(result.name),
                      b.getDenseI64ArrayAttr(dims));
  Region *body = result.addRegion();
  return parser.parseRegion(*body, args);
}

void FuncOp::print(OpAsmPrinter &printer) {
  printer << ' ';
  printer.printSymbolName(getSymName());
  auto args = getBody().getArguments();
  unsigned next = 0;
  printer << " symbols(";
  for (auto [i, label] : llvm::enumerate(getSymbols())) {
    if (i)
      printer << ", ";
    printer.printOperand(args[next++]);
    printer << ": " << label << " [" << getSymbolMin()[i] << ", "
            << getSymbolMax()[i] << "]";
  }
  auto printTensors = [&](StringRef what, ArrayAttr names, ArrayAttr types) {
    printer << ") " << what << "(";
    for (auto [i, label, type] : llvm::enumerate(names, types)) {
      if (i)
        printer << ", ";
      printer.printOperand(args[next++]);
      printer << ": " << label << " " << cast<TypeAttr>(type).getValue();
    }
  };
  printTensors("inputs", getInputNames(), getInputTypes());
  printTensors("outputs", getOutputNames(), getOutputTypes());
  printer << ") dims [";
  llvm::interleaveComma(getDims(), printer);
  printer << "]";
  printer.printOptionalAttrDictWithKeyword(
      (*this)->getAttrs(),
      {getSymNameAttrName(), getSymbolsAttrName(), getSymbolMinAttrName(),
       getSymbolMaxAttrName(), getInputNamesAttrName(), getInputTypesAttrName(),
       getOutputNamesAttrName(), getOutputTypesAttrName(), getDimsAttrName()});
  printer << ' ';
  printer.printRegion(getBody(), /*printEntryBlockArgs=*/false);
}

#define GET_OP_CLASSES
#include "moe/Dialect/Plan/IR/PlanOps.cpp.inc"
