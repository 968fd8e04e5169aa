//===- MoeToPlan.cpp - From routed ops to a plan --------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/Passes.h"

#include "AssignSlots.h"
#include "FunctionLowering.h"
#include "moe/Dialect/Moe/Transforms/Passes.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace mlir::moe {
#define GEN_PASS_DEF_CONVERTMOETOPLANPASS
#include "moe/Conversion/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

void FunctionLowering::analyze() {
  unsigned decisions = 0;
  for (Operation &op : func.front()) {
    spaces.visit(&op);
    if (!isa<GroupRowsOp, AllRowsOp, ChooseRowsOp, SliceRowsOp>(op))
      continue;
    boundPairs(&op);
    auto group = dyn_cast<GroupRowsOp>(op);
    // Slots of experts are no decision.
    if (isa<ChooseRowsOp>(op) ||
        (group && !group.getIds().getDefiningOp<arith::ConstantOp>())) {
      std::string &layer = layers[&op];
      layer = func.getSymName().str();
      if (decisions++)
        layer += "#" + std::to_string(decisions - 1);
    }
  }
}

int64_t FunctionLowering::maxTokens() {
  int64_t limit = 1 << 20;
  if (auto attr = state.module->getAttrOfType<IntegerAttr>("moe.max_tokens"))
    limit = attr.getInt();
  constexpr int64_t kMaxRows = std::numeric_limits<int32_t>::max();
  for (auto &[offsets, bound] : pairBounds)
    if (bound.perToken > 0)
      limit = std::min(limit, std::max<int64_t>(0, kMaxRows - bound.constant) /
                                  bound.perToken);
  return limit;
}

plan::FuncOp FunctionLowering::createFunction() {
  auto names = [&](unsigned count, StringRef prefix, auto getAttr) {
    SmallVector<Attribute> list;
    for (unsigned i = 0; i < count; ++i) {
      StringAttr name = getAttr(i);
      if (!name)
        name = b.getStringAttr(count == 1 ? prefix.str()
                                          : prefix.str() + std::to_string(i));
      list.push_back(name);
    }
    return b.getArrayAttr(list);
  };
  ArrayAttr inputNames = names(func.getNumArguments(), "x", [&](unsigned i) {
    return func.getArgAttrOfType<StringAttr>(i, "moe.name");
  });
  ArrayAttr outputNames = names(func.getNumResults(), "y", [&](unsigned i) {
    return func.getResultAttrOfType<StringAttr>(i, "moe.name");
  });
  unsigned dynamicDims = 0;
  for (Type type :
       llvm::concat<const Type>(func.getArgumentTypes(), func.getResultTypes()))
    dynamicDims += cast<RankedTensorType>(type).getNumDynamicDims();

  b.setInsertionPoint(func);
  auto planFunc = plan::FuncOp::create(
      b, func.getLoc(), func.getSymName(), b.getStrArrayAttr({"N"}),
      ArrayRef<int64_t>{0}, ArrayRef<int64_t>{maxTokens()}, inputNames,
      b.getTypeArrayAttr(func.getArgumentTypes()), outputNames,
      b.getTypeArrayAttr(func.getResultTypes()),
      SmallVector<int64_t>(dynamicDims, 0));
  Block *entry = b.createBlock(&planFunc.getBody());
  Location loc = func.getLoc();
  entry->addArgument(b.getIndexType(), loc);
  auto bufferType = plan::BufferType::get(b.getContext());
  for (BlockArgument arg : func.getArguments())
    entry->addArgument(bufferType, arg.getLoc());
  for (unsigned i = 0; i < func.getNumResults(); ++i)
    entry->addArgument(bufferType, loc);
  return planFunc;
}

void FunctionLowering::addVariant(plan::FuncOp planFunc, DeviceKind kind) {
  device = kind;
  auto terminator = cast<func::ReturnOp>(func.front().getTerminator());
  Block *entry = &planFunc.getBody().front();
  tokens = entry->getArgument(0);
  for (auto [arg, input] :
       llvm::zip(func.getArguments(), entry->getArguments().drop_front()))
    buffers[arg] = input;
  for (auto [result, output] :
       llvm::zip_equal(terminator.getOperands(),
                       entry->getArguments().take_back(func.getNumResults()))) {
    // Written in place, unless something else owns the value already.
    if (result.getDefiningOp() && !isa<GetWeightOp>(result.getDefiningOp()))
      buffers.try_emplace(result, output);
  }
  b.setInsertionPointToEnd(entry);
  variant =
      plan::VariantOp::create(b, func.getLoc(), b.getDenseI64ArrayAttr({}),
                              DeviceKindAttr::get(b.getContext(), kind));
  b.createBlock(&variant.getBody());

  for (Operation &op : func.front())
    lower(&op);
  assignSlots(variant);
}

FunctionLowering::Count FunctionLowering::addCount(Args &args, RowSpace space) {
  switch (space.kind) {
  case RowSpace::Kind::None:
  case RowSpace::Kind::Fixed:
    return {space, 0};
  case RowSpace::Kind::Tokens:
    return {space, args.add(tokens, b.getIndexType())};
  case RowSpace::Kind::Pairs:
    return {space, addTensor(args, space.pairs)};
  }
  llvm_unreachable("unknown kind of rows");
}

Value FunctionLowering::getCount(OpBuilder &b, Location loc, ValueRange v,
                                 const Count &count) {
  switch (count.space.kind) {
  case RowSpace::Kind::None:
  case RowSpace::Kind::Fixed:
    return arith::ConstantIndexOp::create(b, loc, count.space.rows);
  case RowSpace::Kind::Tokens:
    return v[count.arg];
  case RowSpace::Kind::Pairs:
    break;
  }
  int64_t experts =
      cast<ShapedType>(count.space.pairs.getType()).getDimSize(0) - 1;
  Value last = arith::ConstantIndexOp::create(b, loc, experts);
  Value rows = memref::LoadOp::create(b, loc, v[count.arg], last);
  return arith::IndexCastOp::create(b, loc, b.getIndexType(), rows);
}

void FunctionLowering::lower(Operation *op) {
  if (lowerRouter(op))
    return;
  if (isa<GroupRowsOp, AllRowsOp>(op))
    return lowerGroups(op);
  if (auto choose = dyn_cast<ChooseRowsOp>(op))
    return lowerChooseRows(choose);
  if (auto slice = dyn_cast<SliceRowsOp>(op))
    return lowerSliceRows(slice);
  if (auto gather = dyn_cast<GatherRowsOp>(op))
    return lowerGather(gather);
  if (auto ffn = dyn_cast<GroupedFfnOp>(op))
    return lowerGroupedFfn(ffn);
  if (auto map = dyn_cast<MapRowsOp>(op))
    return lowerMapRows(map);
  if (auto fold = dyn_cast<FoldRowsOp>(op))
    return lowerFoldRows(fold);
  if (auto constant = dyn_cast<arith::ConstantOp>(op))
    return lowerConstant(constant);
  if (auto combine = dyn_cast<CombineRowsOp>(op))
    return lowerCombine(combine);
  if (auto count = dyn_cast<CountRowsOp>(op)) {
    Args args;
    define(count.getCounts());
    addTensor(args, count.getExpertOffsets());
    addTensor(args, count.getCounts());
    dispatch(op, "count_rows", args, [&](OpBuilder &b, ValueRange v) {
      KernelCountRowsOp::create(
          b, op->getLoc(), v[0], v[1],
          cast<ShapedType>(count.getCounts().getType()).getDimSize(0));
    });
    return;
  }
  if (auto terminator = dyn_cast<func::ReturnOp>(op))
    lowerReturn(terminator);
}

void FunctionLowering::lowerGather(GatherRowsOp op) {
  Args args;
  Value offsets = getListMaker(op.getRowToken(), 1)->getResult(0);
  define(op.getRows());
  addTensor(args, op.getX());
  addTensor(args, op.getRowToken());
  addTensor(args, offsets);
  if (op.getRowWeight())
    addTensor(args, op.getRowWeight());
  addTensor(args, op.getRows());
  dispatch(op, "gather_rows", args, [&](OpBuilder &b, ValueRange v) {
    KernelGatherRowsOp::create(
        b, op.getLoc(), v[0], v[1], v[2], op.getRowWeight() ? v[3] : Value(),
        v.back(),
        b.getI64IntegerAttr(cast<ShapedType>(offsets.getType()).getDimSize(0) -
                            1),
        b.getI64IntegerAttr(op.getX().getType().getDimSize(1)));
  });
}

void FunctionLowering::lowerCombine(CombineRowsOp op) {
  Args args;
  define(op.getResult());
  addTensors(args, op->getOperands());
  addTensor(args, op.getResult());
  Count count = addCountOf(args, op.getResult());
  dispatch(op, "combine_rows", args, [&](OpBuilder &b, ValueRange v) {
    unsigned n = op.getRows().size();
    KernelCombineRowsOp::create(b, op.getLoc(), v.slice(0, n), v.slice(n, n),
                                v.slice(2 * n, n), v.slice(3 * n, n), v[4 * n],
                                getCount(b, op.getLoc(), v, count),
                                b.getI64IntegerAttr(op.getType().getDimSize(1)),
                                op.getUnweightedAttr());
  });
}

void FunctionLowering::lowerReturn(func::ReturnOp op) {
  auto planFunc = variant->getParentOfType<plan::FuncOp>();
  auto outputs =
      planFunc.getBody().getArguments().take_back(func.getNumResults());
  for (auto [i, pair] : llvm::enumerate(llvm::zip(op.getOperands(), outputs))) {
    auto [value, output] = pair;
    Value source = buffer(value);
    if (source == output)
      continue;
    plan::CopyOp::create(b, op.getLoc(), source, output,
                         AffineMapAttr::get(tensorSize(value)),
                         b.getStringAttr(func.getSymName() + "/copy"));
  }
}

namespace {

struct ConvertMoeToPlanPass
    : public moe::impl::ConvertMoeToPlanPassBase<ConvertMoeToPlanPass> {
  void runOnOperation() override {
    if (Attribute attr = getOperation()->getAttr("moe.max_tokens")) {
      auto limit = dyn_cast<IntegerAttr>(attr);
      if (!limit || !limit.getType().isInteger(64) || limit.getInt() < 1) {
        getOperation().emitError()
            << "attribute 'moe.max_tokens' must be a positive i64, got "
            << attr;
        return signalPassFailure();
      }
    }
    // Without targets, for the CPU.
    bool cpu = false, gpu = false;
    auto targets = getOperation()->getAttrOfType<ArrayAttr>("moe.targets");
    for (Attribute attr : targets ? targets.getValue() : ArrayRef<Attribute>())
      if (auto name = dyn_cast<StringAttr>(attr))
        (name.getValue().starts_with("sm_") ? gpu : cpu) = true;

    ModuleState state(getOperation());
    for (auto func :
         llvm::make_early_inc_range(getOperation().getOps<func::FuncOp>())) {
      if (failed(verifyRouted(func)))
        return signalPassFailure();
      plan::FuncOp planFunc = FunctionLowering(func, state).createFunction();
      if (cpu || !gpu)
        FunctionLowering(func, state).addVariant(planFunc, DeviceKind::Cpu);
      if (gpu)
        FunctionLowering(func, state).addVariant(planFunc, DeviceKind::Cuda);
      func.erase();
    }
  }
};

} // namespace
