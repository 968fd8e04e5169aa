//===- BuildPlan.cpp - The plan as bytes ----------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BuildPlan.h"

#include "moe/Dialect/Plan/IR/Plan.h"

#include "moert/Format/PlanReader.h"

#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace mlir::moe;
namespace fb = moert::fb;

namespace {

class PlanBuilder {
public:
  explicit PlanBuilder(ModuleOp module) : module(module) {}
  FailureOr<std::vector<uint8_t>> build(ArrayRef<uint64_t> embeddedOffsets);

private:
  using Strings = std::vector<flatbuffers::Offset<flatbuffers::String>>;

  std::optional<fb::DType> dtype(Type type) {
    if (type.isF32())
      return fb::DType::F32;
    if (type.isBF16())
      return fb::DType::BF16;
    if (type.isF16())
      return fb::DType::F16;
    if (type.isInteger(32))
      return fb::DType::I32;
    if (type.isInteger(64))
      return fb::DType::I64;
    return std::nullopt;
  }
  LogicalResult collectKernels();
  flatbuffers::Offset<fb::Kernel> kernel(StringRef name);
  FailureOr<flatbuffers::Offset<fb::Weight>> weight(WeightOp op);
  FailureOr<flatbuffers::Offset<fb::Constant>> constant(plan::ConstantOp op);
  FailureOr<flatbuffers::Offset<fb::Function>> function(plan::FuncOp op);
  FailureOr<flatbuffers::Offset<fb::Variant>> variant(plan::VariantOp op,
                                                      plan::FuncOp func);
  flatbuffers::Offset<fb::Affine> affine(AffineMap map);

  /// What the binaries say about one kernel.
  struct KernelInfo {
    int64_t args = 0;
    /// The dictionary of the host's object code, null for a GPU kernel.
    DictionaryAttr host;
    /// By architecture, oldest first: that of the cubin, else of the PTX.
    SmallVector<std::pair<StringRef, DictionaryAttr>> gpu;
  };

  ModuleOp module;
  flatbuffers::FlatBufferBuilder fbb;
  llvm::MapVector<StringAttr, KernelInfo> kernelInfos;
  llvm::MapVector<StringAttr, unsigned> kernels, weights, constants;
};

LogicalResult PlanBuilder::collectKernels() {
  for (auto binary : module.getOps<plan::BinaryOp>())
    for (NamedAttribute entry : binary.getKernels()) {
      auto info = cast<DictionaryAttr>(entry.getValue());
      int64_t args = info.getAs<IntegerAttr>("args").getInt();
      auto [slot, isNew] = kernelInfos.insert({entry.getName(), {}});
      KernelInfo &kernel = slot->second;
      bool isHost = !binary.getArch();
      if (!isNew && (kernel.args != args || isHost || kernel.host))
        return binary.emitError() << "kernel " << entry.getName()
                                  << " differs from that of another binary";
      kernel.args = args;
      if (isHost) {
        kernel.host = info;
        continue;
      }
      auto same = llvm::find_if(kernel.gpu, [&](auto &known) {
        return known.first == binary.getArch();
      });
      if (same == kernel.gpu.end())
        kernel.gpu.push_back({*binary.getArch(), info});
      else if (binary.getFormat() == "cubin")
        same->second = info;
    }
  return success();
}

flatbuffers::Offset<fb::Kernel> PlanBuilder::kernel(StringRef name) {
  const KernelInfo &info =
      kernelInfos.find(StringAttr::get(module.getContext(), name))->second;
  if (info.host) {
    uint64_t scratch = 0;
    for (Attribute bytes : info.host.getAs<ArrayAttr>("scratch"))
      scratch = std::max<uint64_t>(scratch, cast<IntegerAttr>(bytes).getInt());
    Strings accumulation;
    for (auto text : info.host.getAs<ArrayAttr>("accumulation")
                         .getAsValueRange<StringAttr>())
      accumulation.push_back(fbb.CreateString(text.str()));
    return fb::CreateKernelDirect(
        fbb, name.str().c_str(), info.args,
        info.host.getAs<IntegerAttr>("levels").getInt(), &accumulation,
        scratch);
  }
  std::vector<flatbuffers::Offset<fb::GpuKernel>> archs;
  for (auto [arch, dict] : info.gpu) {
    auto number = [dict = dict](StringRef key) -> int64_t {
      auto attr = dict.getAs<IntegerAttr>(key);
      return attr ? attr.getInt() : 0;
    };
    archs.push_back(fb::CreateGpuKernelDirect(
        fbb, arch.str().c_str(), number("threads"), number("blocks"),
        number("shared"), number("scratch"),
        dict.getAs<StringAttr>("accumulation").str().c_str(),
        number("registers"), number("static_shared")));
  }
  return fb::CreateKernelDirect(fbb, name.str().c_str(), info.args,
                                /*levels=*/0, /*accumulation=*/nullptr,
                                /*scratch_bytes=*/0, fb::DeviceKind::Cuda,
                                &archs);
}

/// Splits a linear expression into constant and coefficients.
static void collectAffine(AffineExpr expr, int64_t factor, int64_t &constant,
                          std::vector<int64_t> &coefficients) {
  if (auto value = dyn_cast<AffineConstantExpr>(expr)) {
    constant += factor * value.getValue();
  } else if (auto dim = dyn_cast<AffineDimExpr>(expr)) {
    coefficients[dim.getPosition()] += factor;
  } else if (auto binary = dyn_cast<AffineBinaryOpExpr>(expr)) {
    AffineExpr lhs = binary.getLHS(), rhs = binary.getRHS();
    if (binary.getKind() == AffineExprKind::Add) {
      collectAffine(lhs, factor, constant, coefficients);
      collectAffine(rhs, factor, constant, coefficients);
    } else { // A product with a constant, as plan.alloc verifies.
      collectAffine(lhs, factor * cast<AffineConstantExpr>(rhs).getValue(),
                    constant, coefficients);
    }
  }
}

flatbuffers::Offset<fb::Affine> PlanBuilder::affine(AffineMap map) {
  int64_t constant = 0;
  std::vector<int64_t> coefficients(map.getNumDims(), 0);
  collectAffine(map.getResult(0), 1, constant, coefficients);
  return fb::CreateAffineDirect(fbb, constant, &coefficients);
}

static_assert(int(WeightEncoding::Mxfp4) == int(fb::WeightEncoding::Mxfp4) &&
                  int(WeightEncoding::Fp8Block) ==
                      int(fb::WeightEncoding::Fp8Block) &&
                  int(WeightEncoding::Int8Scaled) ==
                      int(fb::WeightEncoding::Int8Scaled),
              "encodings follow Plan.fbs");

/// Shape of the scales of codes of shape `stored`; empty where any that fits
/// may be there.
static std::vector<int64_t> scaleShapeOf(WeightEncoding encoding,
                                         ArrayRef<int64_t> stored,
                                         ArrayRef<int64_t> block) {
  if (encoding == WeightEncoding::Int8Scaled)
    return {};
  if (encoding == WeightEncoding::Mxfp4)
    return std::vector<int64_t>(stored.drop_back());
  std::vector<int64_t> shape(stored);
  for (unsigned i = 0; i < 2; ++i) {
    int64_t &extent = shape[shape.size() - 2 + i];
    extent = llvm::divideCeil(extent, block[i]);
  }
  return shape;
}

FailureOr<flatbuffers::Offset<fb::Weight>> PlanBuilder::weight(WeightOp op) {
  auto type = cast<RankedTensorType>(op.getType());
  auto elementType = dtype(type.getElementType());
  if (!elementType)
    return op.emitError() << "weights of type " << type.getElementType()
                          << " cannot be stored in a plan";
  auto strings = [&](ArrayRef<std::string> names) {
    Strings list;
    for (const std::string &name : names)
      list.push_back(fbb.CreateString(name));
    return list;
  };
  Strings sources = strings(op.getSourceNames());
  Strings scales = strings(op.getScaleNames());
  std::vector<int64_t> shape(type.getShape());
  std::vector<int64_t> sourceShape(op.getSourceType().getShape());
  ArrayRef<int64_t> split;
  if (auto given = op.getSplit())
    split = *given;
  auto vector = [](std::optional<ArrayRef<int64_t>> given) {
    return given ? std::vector<int64_t>(*given) : std::vector<int64_t>();
  };
  std::vector<int64_t> stored = vector(op.getStored());
  std::vector<int64_t> block = vector(op.getBlock()), scaleShape;
  auto encoding = fb::WeightEncoding::Plain;
  if (auto given = op.getEncoding()) {
    if (stored.empty())
      stored = sourceShape;
    encoding = static_cast<fb::WeightEncoding>(*given);
    scaleShape = scaleShapeOf(*given, stored, block);
  }
  return fb::CreateWeightDirect(
      fbb, op.getSymName().str().c_str(), *elementType, &shape, &sources,
      &sourceShape, op.getStack(), op.getTranspose(),
      split.empty() ? -1 : split[0], split.empty() ? 0 : split[1],
      split.empty() ? 0 : split[2], split.empty() ? 1 : split[3], encoding,
      scales.empty() ? nullptr : &scales,
      scaleShape.empty() ? nullptr : &scaleShape,
      block.empty() ? nullptr : &block, stored.empty() ? nullptr : &stored);
}

FailureOr<flatbuffers::Offset<fb::Constant>>
PlanBuilder::constant(plan::ConstantOp op) {
  std::vector<uint32_t> parts;
  std::optional<fb::DType> type;
  for (auto ref : op.getWeights().getAsRange<FlatSymbolRefAttr>()) {
    parts.push_back(weights.lookup(ref.getAttr()));
    auto weight = module.lookupSymbol<WeightOp>(ref.getAttr());
    type = dtype(cast<ShapedType>(weight.getType()).getElementType());
  }
  auto layout = fb::Layout::RowMajor;
  if (op.getLayout().getKind() == LayoutKind::Panels)
    layout = fb::Layout::Panels;
  else if (op.getLayout().getKind() == LayoutKind::Rows)
    layout = fb::Layout::Rows;
  return fb::CreateConstantDirect(fbb, op.getSymName().str().c_str(), layout,
                                  *type, &parts, op.getLayout().getKTile(),
                                  op.getLayout().getKInner(), op.getNumBytes());
}

FailureOr<flatbuffers::Offset<fb::Variant>>
PlanBuilder::variant(plan::VariantOp op, plan::FuncOp func) {
  unsigned numSymbols = func.getSymbols().size();
  unsigned numInputs = func.getInputTypes().size();
  std::vector<flatbuffers::Offset<fb::Buffer>> buffers;
  std::vector<flatbuffers::Offset<fb::CommandEntry>> commands;
  DenseMap<Value, fb::Arg> args;
  for (BlockArgument arg : func.getBody().getArguments()) {
    unsigned n = arg.getArgNumber();
    if (n < numSymbols)
      args[arg] = fb::Arg(fb::ArgKind::Symbol, n);
    else if (n < numSymbols + numInputs)
      args[arg] = fb::Arg(fb::ArgKind::Input, n - numSymbols);
    else
      args[arg] = fb::Arg(fb::ArgKind::Output, n - numSymbols - numInputs);
  }
  auto addCommand = [&](fb::Command kind, flatbuffers::Offset<void> command) {
    commands.push_back(fb::CreateCommandEntry(fbb, kind, command));
  };
  for (Operation &command : op.getBody().front()) {
    if (auto alloc = dyn_cast<plan::AllocOp>(command)) {
      std::vector<flatbuffers::Offset<fb::Affine>> sizes;
      for (AffineMap map : alloc.getSizes().getAsValueRange<AffineMapAttr>())
        sizes.push_back(affine(map));
      args[alloc.getBuffer()] = fb::Arg(fb::ArgKind::Buffer, buffers.size());
      buffers.push_back(fb::CreateBufferDirect(fbb, alloc.getSlot(), &sizes));
      continue;
    }
    if (auto get = dyn_cast<plan::GetConstantOp>(command)) {
      args[get.getBuffer()] =
          fb::Arg(fb::ArgKind::Constant,
                  constants.lookup(get.getConstantAttr().getAttr()));
      continue;
    }
    if (auto dispatch = dyn_cast<plan::DispatchOp>(command)) {
      std::vector<fb::Arg> list;
      for (Value value : dispatch.getArgs())
        list.push_back(args.lookup(value));
      StringAttr kernel = dispatch.getKernelAttr().getAttr();
      if (!kernels.contains(kernel))
        return dispatch.emitError()
               << "no object code for kernel " << dispatch.getKernelAttr();
      addCommand(fb::Command::Dispatch,
                 fb::CreateDispatchDirect(
                     fbb, kernels.lookup(kernel),
                     dispatch.getSingle() ? fb::Grid::One : fb::Grid::All,
                     &list, dispatch.getLabel().str().c_str())
                     .Union());
      continue;
    }
    if (auto copy = dyn_cast<plan::CopyOp>(command)) {
      fb::Arg source = args.lookup(copy.getSource());
      fb::Arg target = args.lookup(copy.getTarget());
      auto size = affine(copy.getSize());
      auto label = fbb.CreateString(copy.getLabel().str());
      addCommand(fb::Command::Copy,
                 fb::CreateCopy(fbb, &source, &target, size, label).Union());
      continue;
    }
    if (auto record = dyn_cast<plan::RecordExpertsOp>(command)) {
      fb::Arg offsets = args.lookup(record.getExpertOffsets());
      fb::Arg dropped;
      if (record.getDropped())
        dropped = args.lookup(record.getDropped());
      auto layer = fbb.CreateString(record.getLayer().str());
      addCommand(
          fb::Command::RecordExperts,
          fb::CreateRecordExperts(fbb, layer, record.getExperts(), &offsets,
                                  record.getDropped() ? &dropped : nullptr)
              .Union());
      continue;
    }
    if (auto tap = dyn_cast<plan::TapRoutesOp>(command)) {
      fb::Arg ids = args.lookup(tap.getIds());
      fb::Arg weightsArg = args.lookup(tap.getWeights());
      auto tokens = affine(tap.getTokens());
      auto layer = fbb.CreateString(tap.getLayer().str());
      addCommand(fb::Command::TapRoutes,
                 fb::CreateTapRoutes(fbb, layer, tap.getExperts(),
                                     tap.getPerToken(), tokens, &ids,
                                     &weightsArg, tap.getReadOnly())
                     .Union());
      continue;
    }
    return command.emitError()
           << "'" << command.getName() << "' is no command of the runtime";
  }
  std::vector<fb::Guard> guards;
  ArrayRef<int64_t> triples = op.getGuards();
  for (size_t i = 0; i + 2 < triples.size(); i += 3)
    guards.emplace_back(triples[i], triples[i + 1], triples[i + 2]);
  auto device = op.getDevice() == DeviceKind::Cuda ? fb::DeviceKind::Cuda
                                                   : fb::DeviceKind::Cpu;
  return fb::CreateVariantDirect(fbb, &guards, &buffers, &commands, device);
}

FailureOr<flatbuffers::Offset<fb::Function>>
PlanBuilder::function(plan::FuncOp op) {
  std::vector<flatbuffers::Offset<fb::Symbol>> symbols;
  for (auto [i, name] : llvm::enumerate(op.getSymbols()))
    symbols.push_back(
        fb::CreateSymbolDirect(fbb, cast<StringAttr>(name).str().c_str(),
                               op.getSymbolMin()[i], op.getSymbolMax()[i]));
  unsigned nextDim = 0;
  auto tensors = [&](ArrayAttr names, ArrayAttr types, bool &ok) {
    std::vector<flatbuffers::Offset<fb::Tensor>> list;
    for (auto [name, typeAttr] : llvm::zip(names, types)) {
      auto type = cast<RankedTensorType>(cast<TypeAttr>(typeAttr).getValue());
      auto elementType = dtype(type.getElementType());
      if (!elementType) {
        op.emitError() << "inputs and outputs of type " << type
                       << " cannot be stored in a plan";
        ok = false;
        return list;
      }
      std::vector<fb::Dim> dims;
      for (int64_t dim : type.getShape())
        if (ShapedType::isDynamic(dim))
          dims.emplace_back(op.getDims()[nextDim++], 0);
        else
          dims.emplace_back(-1, dim);
      list.push_back(fb::CreateTensorDirect(
          fbb, cast<StringAttr>(name).str().c_str(), *elementType, &dims));
    }
    return list;
  };
  bool ok = true;
  auto inputs = tensors(op.getInputNames(), op.getInputTypes(), ok);
  auto outputs = tensors(op.getOutputNames(), op.getOutputTypes(), ok);
  if (!ok)
    return failure();
  std::vector<flatbuffers::Offset<fb::Variant>> variants;
  for (auto v : op.getBody().getOps<plan::VariantOp>()) {
    auto built = variant(v, op);
    if (failed(built))
      return failure();
    variants.push_back(*built);
  }
  return fb::CreateFunctionDirect(fbb, op.getSymName().str().c_str(), &symbols,
                                  &inputs, &outputs, &variants);
}

FailureOr<std::vector<uint8_t>>
PlanBuilder::build(ArrayRef<uint64_t> embeddedOffsets) {
  std::vector<flatbuffers::Offset<fb::Kernel>> kernelList;
  if (failed(collectKernels()))
    return failure();
  for (auto &[name, info] : kernelInfos) {
    kernels.insert({name, kernelList.size()});
    kernelList.push_back(kernel(name));
  }

  // Weights that no constant needs stay out: an artifact asks for nothing that
  // it does not read.
  std::vector<flatbuffers::Offset<fb::Weight>> weightList;
  std::vector<flatbuffers::Offset<fb::Constant>> constantList;
  moert::FingerprintBuilder fingerprint;
  for (auto op : module.getOps<plan::ConstantOp>()) {
    for (auto ref : op.getWeights().getAsRange<FlatSymbolRefAttr>()) {
      if (!weights.insert({ref.getAttr(), weightList.size()}).second)
        continue;
      auto weightOp = module.lookupSymbol<WeightOp>(ref.getAttr());
      auto built = weight(weightOp);
      if (failed(built))
        return failure();
      weightList.push_back(*built);
      fingerprint.add(*flatbuffers::GetTemporaryPointer(fbb, *built));
    }
    constants.insert({op.getSymNameAttr(), constantList.size()});
    auto built = constant(op);
    if (failed(built))
      return failure();
    constantList.push_back(*built);
  }

  std::vector<flatbuffers::Offset<fb::Function>> functions;
  for (auto op : module.getOps<plan::FuncOp>()) {
    auto built = function(op);
    if (failed(built))
      return failure();
    functions.push_back(*built);
  }

  auto mode = fb::WeightsMode::External;
  if (auto attr = module->getAttrOfType<StringAttr>("moe.weights"))
    mode = attr.getValue() == "packed"     ? fb::WeightsMode::Packed
           : attr.getValue() == "embedded" ? fb::WeightsMode::Embedded
                                           : mode;
  std::vector<uint64_t> offsets(embeddedOffsets);
  fbb.Finish(fb::CreatePlanDirect(fbb, moert::planFormatMajor,
                                  moert::planFormatMinor, &kernelList,
                                  &weightList, &constantList, &functions, mode,
                                  fingerprint.finish().c_str(), &offsets),
             fb::PlanIdentifier());
  return std::vector<uint8_t>(fbb.GetBufferPointer(),
                              fbb.GetBufferPointer() + fbb.GetSize());
}

} // namespace

FailureOr<std::vector<uint8_t>>
moe::buildPlan(ModuleOp module, ArrayRef<uint64_t> embeddedOffsets) {
  return PlanBuilder(module).build(embeddedOffsets);
}
