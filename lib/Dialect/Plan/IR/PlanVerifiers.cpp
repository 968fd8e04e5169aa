//===- PlanVerifiers.cpp - Verifiers of the plan dialect ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/Plan/IR/Plan.h"

#include "mlir/IR/AffineExpr.h"
#include "llvm/ADT/SmallSet.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace mlir::plan;

/// The function around a command, or null.
static FuncOp getFunction(Operation *op) {
  return op->getParentOfType<FuncOp>();
}

/// Element types that a plan file can name.
static bool isPlanElement(Type type) {
  return type.isF32() || type.isBF16() || type.isF16() ||
         type.isSignlessInteger(32) || type.isSignlessInteger(64) ||
         type.isSignlessInteger(8);
}

/// C6 of plan.func for one list of names.
static LogicalResult verifyNames(FuncOp op, StringRef what, ArrayAttr names) {
  llvm::StringSet<> seen;
  for (StringRef name : names.getAsValueRange<StringAttr>()) {
    if (name.empty())
      return op.emitOpError() << "C6: one of " << what << " has no name";
    if (!seen.insert(name).second)
      return op.emitOpError()
             << "C6: two " << what << " are named \"" << name << "\"";
  }
  return success();
}

LogicalResult FuncOp::verify() {
  int64_t symbols = getSymbols().size();
  size_t inputs = getInputTypes().size(), outputs = getOutputTypes().size();
  if (getInputNames().size() != inputs || getOutputNames().size() != outputs)
    return emitOpError() << "C1: inputs and outputs need a name and a type "
                            "each";
  auto args = getBody().getArgumentTypes();
  if (args.size() != symbols + inputs + outputs)
    return emitOpError() << "C1: expected " << symbols + inputs + outputs
                         << " block arguments, got " << args.size();
  for (auto [i, type] : llvm::enumerate(args)) {
    bool isSymbol = static_cast<int64_t>(i) < symbols;
    if (isSymbol ? !type.isIndex() : !isa<BufferType>(type))
      return emitOpError() << "C1: block argument " << i << " must be "
                           << (isSymbol ? "an index" : "a buffer") << ", got "
                           << type;
  }

  size_t dynamicDims = 0;
  for (ArrayAttr types : {getInputTypes(), getOutputTypes()}) {
    for (Type type : types.getAsValueRange<TypeAttr>()) {
      auto tensor = dyn_cast<RankedTensorType>(type);
      if (!tensor || !isPlanElement(tensor.getElementType()))
        return emitOpError() << "C5: expected a ranked tensor of f32, bf16, "
                                "f16, i32, i64 or i8, got "
                             << type;
      dynamicDims += tensor.getNumDynamicDims();
    }
  }
  if (getDims().size() != dynamicDims)
    return emitOpError() << "C2: " << dynamicDims
                         << " dynamic dimensions need as many dims, got "
                         << getDims().size();
  for (int64_t dim : getDims())
    if (dim < 0 || dim >= symbols)
      return emitOpError() << "C2: dims names symbol " << dim << " of "
                           << symbols;

  if (static_cast<int64_t>(getSymbolMin().size()) != symbols ||
      static_cast<int64_t>(getSymbolMax().size()) != symbols)
    return emitOpError() << "C3: " << symbols << " symbols need as many "
                         << "limits, got " << getSymbolMin().size() << " and "
                         << getSymbolMax().size();
  for (auto [i, min, max] : llvm::enumerate(getSymbolMin(), getSymbolMax()))
    if (min < 0 || min > max)
      return emitOpError() << "C3: limits of symbol " << getSymbols()[i]
                           << " must have 0 <= min <= max, got [" << min << ", "
                           << max << "]";

  if (failed(verifyNames(*this, "symbols", getSymbols())) ||
      failed(verifyNames(*this, "inputs", getInputNames())) ||
      failed(verifyNames(*this, "outputs", getOutputNames())))
    return failure();
  return success();
}

LogicalResult FuncOp::verifyRegions() {
  Block &body = getBody().front();
  if (body.empty())
    return emitOpError() << "C4: a function needs at least one variant";
  llvm::SmallSet<moe::DeviceKind, 2> devices;
  for (Operation &op : body) {
    auto variant = dyn_cast<VariantOp>(op);
    if (!variant)
      return emitOpError() << "C4: expected plan.variant in the body, got "
                           << op.getName();
    auto next = dyn_cast_if_present<VariantOp>(op.getNextNode());
    bool isLast = !next || next.getDevice() != variant.getDevice();
    if (isLast && !devices.insert(variant.getDevice()).second)
      return variant.emitOpError()
             << "C4: variants on "
             << moe::stringifyDeviceKind(variant.getDevice())
             << " must follow each other";
    if (variant.getGuards().empty() && !isLast)
      return variant.emitOpError()
             << "C4: only the last variant may be without guards";
    if (isLast && !variant.getGuards().empty())
      return variant.emitOpError()
             << "C4: the last variant must be without guards";
  }
  return success();
}

LogicalResult VariantOp::verify() {
  ArrayRef<int64_t> guards = getGuards();
  if (guards.size() % 3)
    return emitOpError() << "C1: guards are triples [symbol, lo, hi], got "
                         << guards.size() << " numbers";
  int64_t symbols = cast<FuncOp>((*this)->getParentOp()).getSymbols().size();
  for (size_t i = 0; i < guards.size(); i += 3) {
    if (guards[i] < 0 || guards[i] >= symbols)
      return emitOpError() << "C1: a guard names symbol " << guards[i] << " of "
                           << symbols;
    if (guards[i + 1] >= guards[i + 2])
      return emitOpError() << "C1: guard [" << guards[i + 1] << ", "
                           << guards[i + 2] << ") is empty";
  }
  for (Operation &op : getBody().front())
    if (!isa_and_nonnull<PlanDialect>(op.getDialect()))
      return emitOpError() << "C2: expected ops of plan in the body, got "
                           << op.getName();
  return success();
}

/// Fails unless `size` is one linear function of the symbols.
static LogicalResult verifySize(Operation *op, AffineMap size) {
  int64_t symbols = getFunction(op).getSymbols().size();
  auto error = [&]() {
    return op->emitOpError() << "C1: size " << AffineMapAttr::get(size) << " ";
  };
  if (size.getNumResults() != 1)
    return error() << "must have one result";
  if (size.getNumDims() != symbols || size.getNumSymbols() != 0)
    return error() << "must have one dimension for each of " << symbols
                   << " symbols and no symbol operand";
  bool linear = !size.getResult(0)
                     .walk([](AffineExpr expr) {
                       switch (expr.getKind()) {
                       case AffineExprKind::Mod:
                       case AffineExprKind::FloorDiv:
                       case AffineExprKind::CeilDiv:
                         return WalkResult::interrupt();
                       default:
                         return WalkResult::advance();
                       }
                     })
                     .wasInterrupted();
  if (!linear)
    return error() << "must be linear";
  return success();
}

LogicalResult AllocOp::verify() {
  if (getSizes().empty())
    return emitOpError() << "C1: a buffer needs at least one size";
  for (AffineMap size : getSizes().getAsValueRange<AffineMapAttr>())
    if (failed(verifySize(*this, size)))
      return failure();
  int64_t slot = getSlot();
  if (slot < 0)
    return emitOpError() << "C2: slot must not be negative, got " << slot;
  return success();
}

LogicalResult CopyOp::verify() {
  if (failed(verifySize(*this, getSize())))
    return failure();
  if (getLabel().empty())
    return emitOpError() << "C2: label must not be empty";
  return success();
}

LogicalResult RecordExpertsOp::verify() {
  int64_t experts = getExperts();
  if (experts < 1)
    return emitOpError() << "C1: experts must be at least 1, got " << experts;
  if (getLayer().empty())
    return emitOpError() << "C1: layer must not be empty";
  return success();
}

LogicalResult TapRoutesOp::verify() {
  if (failed(verifySize(*this, getTokens())))
    return failure();
  int64_t perToken = getPerToken(), experts = getExperts();
  if (perToken < 1 || perToken > experts)
    return emitOpError() << "C2: per_token must be in 1 to " << experts
                         << " experts, got " << perToken;
  if (getLayer().empty())
    return emitOpError() << "C2: layer must not be empty";
  for (auto other : (*this)->getBlock()->getOps<TapRoutesOp>()) {
    if (other == *this)
      break;
    if (other.getLayer() == getLayer())
      return emitOpError() << "C3: two taps of layer \"" << getLayer() << "\"";
  }
  FuncOp func = getFunction(*this);
  unsigned firstOutput = func.getSymbols().size() + func.getInputTypes().size();
  for (Value buffer : {getIds(), getWeights()}) {
    auto arg = dyn_cast<BlockArgument>(buffer);
    bool isInput = arg && arg.getArgNumber() < firstOutput;
    if (buffer.getDefiningOp<GetConstantOp>() || (isInput && !getReadOnly()))
      return emitOpError() << "C4: ids and weights must be temporary buffers "
                              "or outputs, or inputs of a read_only tap";
  }
  return success();
}

LogicalResult ConstantOp::verify() {
  size_t parts = getWeights().size();
  if (getLayout().getKind() == moe::LayoutKind::RowMajor) {
    if (parts != 1)
      return emitOpError() << "C1: row_major packs one weight, got " << parts;
  } else if (parts < 1 || parts > 2) {
    return emitOpError() << (getLayout().getKind() == moe::LayoutKind::Rows
                                 ? "C4: rows"
                                 : "C1: panels")
                         << " pack 1 or 2 weights, got " << parts;
  }
  return success();
}

LogicalResult ConstantOp::verifySymbolUses(SymbolTableCollection &symbolTable) {
  RankedTensorType type;
  for (auto name : getWeights().getAsRange<FlatSymbolRefAttr>()) {
    auto weight =
        symbolTable.lookupNearestSymbolFrom<moe::WeightOp>(*this, name);
    if (!weight)
      return emitOpError() << "C2: no moe.weight named " << name;
    auto next = cast<RankedTensorType>(weight.getType());
    if (type && type != next)
      return emitOpError() << "C1: panels pack weights of one type, got "
                           << type << " and " << next;
    type = next;
  }
  moe::LayoutAttr layout = getLayout();
  if (layout.getKind() == moe::LayoutKind::RowMajor)
    return success();
  if (layout.getKind() == moe::LayoutKind::Rows) {
    Type element = type.getElementType();
    if ((type.getRank() != 2 && type.getRank() != 3) ||
        !(element.isF32() || element.isBF16() || element.isF16()))
      return emitOpError() << "C4: rows pack weights of f32, bf16 or f16 and "
                              "rank 2 or 3, got "
                           << type;
    if (layout.getKTile() * element.getIntOrFloatBitWidth() % 128)
      return emitOpError() << "C4: kTile elements of " << element
                           << " must be a multiple of 16 bytes, got kTile = "
                           << layout.getKTile();
    return success();
  }
  if (type.getRank() != 2 && type.getRank() != 3)
    return emitOpError() << "C1: panels pack weights of rank 2 or 3, got "
                         << type;
  bool bf16 = type.getElementType().isBF16();
  if (!bf16 && !type.getElementType().isF32())
    return emitOpError() << "C3: panels are of f32 or bf16, got " << type;
  int64_t kTile = bf16 ? 32 : 1, kInner = bf16 ? 2 : 1;
  if (layout.getKTile() != kTile || layout.getKInner() != kInner)
    return emitOpError() << "C3: panels of " << type.getElementType()
                         << " have kTile = " << kTile
                         << " and kInner = " << kInner << ", got "
                         << layout.getKTile() << " and " << layout.getKInner();
  return success();
}

uint64_t ConstantOp::getNumBytes() {
  auto weight = SymbolTable::lookupNearestSymbolFrom<moe::WeightOp>(
      *this, cast<FlatSymbolRefAttr>(getWeights()[0]));
  auto type = cast<RankedTensorType>(weight.getType());
  uint64_t width = type.getElementTypeBitWidth() / 8;
  if (getLayout().getKind() == moe::LayoutKind::RowMajor)
    return type.getNumElements() * width;
  ArrayRef<int64_t> shape = type.getShape();
  uint64_t experts = shape.size() == 3 ? shape[0] : 1;
  uint64_t n = shape[shape.size() - 2], k = shape[shape.size() - 1];
  if (getLayout().getKind() == moe::LayoutKind::Rows)
    return experts * getWeights().size() * llvm::alignTo(n, 8) *
           llvm::alignTo(k, getLayout().getKTile()) * width;
  // A panel is 32 columns, shared evenly by the parts.
  uint64_t panels = llvm::divideCeil(n, 32 / getWeights().size());
  return experts * panels * llvm::alignTo(k, getLayout().getKTile()) * 32 *
         width;
}

LogicalResult
GetConstantOp::verifySymbolUses(SymbolTableCollection &symbolTable) {
  if (!symbolTable.lookupNearestSymbolFrom<ConstantOp>(*this,
                                                       getConstantAttr()))
    return emitOpError() << "C1: no plan.constant named " << getConstantAttr();
  return success();
}

LogicalResult DispatchOp::verify() {
  for (Value arg : getArgs()) {
    auto symbol = dyn_cast<BlockArgument>(arg);
    if (arg.getType().isIndex() &&
        (!symbol || !isa<FuncOp>(symbol.getOwner()->getParentOp())))
      return emitOpError() << "C2: sizes must be symbols of the function";
  }
  if (getLabel().empty())
    return emitOpError() << "C3: label must not be empty";
  return success();
}

/// Number of arguments of a kernel that only object code is left of.
static std::optional<int64_t> getBinaryArgs(Operation *module,
                                            StringAttr kernel) {
  for (auto binary : module->getRegion(0).getOps<BinaryOp>())
    if (auto entry = binary.getKernels().getAs<DictionaryAttr>(kernel))
      if (auto args = entry.getAs<IntegerAttr>("args"))
        return args.getInt();
  return std::nullopt;
}

LogicalResult DispatchOp::verifySymbolUses(SymbolTableCollection &symbolTable) {
  auto wrongCount = [&](size_t expected) {
    return emitOpError() << "C1: " << getKernelAttr() << " takes " << expected
                         << " arguments, got " << getArgs().size();
  };
  auto kernel =
      symbolTable.lookupNearestSymbolFrom<KernelOp>(*this, getKernelAttr());
  if (!kernel) {
    Operation *table = SymbolTable::getNearestSymbolTable(*this);
    std::optional<int64_t> args =
        getBinaryArgs(table, getKernelAttr().getAttr());
    if (!args)
      return emitOpError() << "C1: no plan.kernel named " << getKernelAttr();
    if (*args != static_cast<int64_t>(getArgs().size()))
      return wrongCount(*args);
    return success();
  }
  auto device = cast<VariantOp>((*this)->getParentOp()).getDevice();
  if (kernel.getDevice() != device)
    return emitOpError() << "C1: " << getKernelAttr() << " is for "
                         << moe::stringifyDeviceKind(kernel.getDevice())
                         << ", dispatched on "
                         << moe::stringifyDeviceKind(device);
  auto types = kernel.getBody().getArgumentTypes();
  if (types.size() != getArgs().size())
    return wrongCount(types.size());
  for (auto [i, arg, type] : llvm::enumerate(getArgs().getTypes(), types))
    if (isa<BufferType>(arg) != isa<MemRefType>(type))
      return emitOpError() << "C1: argument " << i << " of " << getKernelAttr()
                           << " is " << type << ", got " << arg;
  return success();
}

LogicalResult KernelOp::verify() {
  for (Type type : getBody().getArgumentTypes()) {
    auto buffer = dyn_cast<MemRefType>(type);
    if (!type.isIndex() && !(buffer && buffer.getRank() == 1))
      return emitOpError() << "C1: arguments are memrefs of rank 1 or "
                              "indices, got "
                           << type;
  }
  llvm::SmallDenseSet<uint32_t> levels;
  llvm::StringSet<> archs;
  for (Attribute variant : getVariants()) {
    if (getDevice() == moe::DeviceKind::Cuda) {
      auto config = dyn_cast<moe::GpuConfigAttr>(variant);
      if (!config)
        return emitOpError() << "C2: variants on cuda are #moe.gpu attributes, "
                                "got "
                             << variant;
      if (!archs.insert(config.getArch()).second)
        return emitOpError() << "C2: two variants for " << config.getArch();
      continue;
    }
    auto config = dyn_cast<moe::CpuConfigAttr>(variant);
    if (!config)
      return emitOpError() << "C2: variants are #moe.cpu attributes, got "
                           << variant;
    if (!levels.insert(static_cast<uint32_t>(config.getIsa())).second)
      return emitOpError() << "C2: two variants for level "
                           << moe::stringifyIsa(config.getIsa());
  }
  return success();
}

LogicalResult BinaryOp::verify() {
  bool isObject = getFormat() == "elf-x86_64-object";
  if (!isObject && getFormat() != "ptx" && getFormat() != "cubin")
    return emitOpError() << "C1: expected format \"elf-x86_64-object\", "
                            "\"ptx\" or \"cubin\", got \""
                         << getFormat() << "\"";
  if (isObject == getArch().has_value())
    return emitOpError() << "C1: arch is given unless the binary is an object";
  StringRef described = isObject ? "levels" : "threads";
  for (NamedAttribute entry : getKernels()) {
    auto kernel = dyn_cast<DictionaryAttr>(entry.getValue());
    if (!kernel || !kernel.getAs<IntegerAttr>("args") ||
        !kernel.getAs<IntegerAttr>(described))
      return emitOpError() << "C2: kernel " << entry.getName()
                           << " needs integers 'args' and '" << described
                           << "', got " << entry.getValue();
  }
  return success();
}
