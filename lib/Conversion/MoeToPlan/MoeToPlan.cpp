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

#include "mlir/IR/IRMapping.h"

namespace mlir::moe {
#define GEN_PASS_DEF_CONVERTMOETOPLANPASS
#include "moe/Conversion/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

int64_t FunctionLowering::maxTokens() {
  int64_t limit = 1 << 20;
  if (auto attr = state.module->getAttrOfType<IntegerAttr>("moe.max_tokens"))
    limit = attr.getInt();
  func.walk([&](Operation *op) {
    int64_t pairs = 1;
    if (auto group = dyn_cast<GroupRowsOp>(op))
      pairs = group.getIds().getType().getDimSize(1);
    else if (auto rows = dyn_cast<AllRowsOp>(op))
      pairs = cast<ShapedType>(rows.getExpertOffsets().getType()).getDimSize(0);
    limit =
        std::min<int64_t>(limit, std::numeric_limits<int32_t>::max() / pairs);
  });
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
       llvm::zip(func.getArguments(), entry->getArguments().drop_front())) {
    buffers[arg] = input;
    rowsPerToken[arg] = 1;
  }
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

void FunctionLowering::lower(Operation *op) {
  Args args;
  if (auto logits = dyn_cast<RouterLogitsOp>(op)) {
    auto type = logits.getWeight().getType();
    define(logits.getLogits(), 1);
    addTensor(args, logits.getX());
    addTensor(args, logits.getWeight());
    if (logits.getBias())
      addTensor(args, logits.getBias());
    addTensor(args, logits.getLogits());
    addTokens(args);
    dispatch(op, "router_logits", args, [&](OpBuilder &b, ValueRange v) {
      bool hasBias = logits.getBias() != nullptr;
      KernelRouterLogitsOp::create(
          b, op->getLoc(), v[0], v[1], hasBias ? v[2] : Value(),
          v[v.size() - 2], v.back(), type.getDimSize(0), type.getDimSize(1),
          logits.getRoundAttr(), logits.getCosineAttr());
    });
    return;
  }
  if (auto select = dyn_cast<SelectTopkOp>(op)) {
    define(select.getIds(), 1);
    define(select.getWeights(), 1);
    if (onGpu() && getFusedGroup(select))
      return;
    addTensor(args, select.getLogits());
    if (select.getBias())
      addTensor(args, select.getBias());
    addTensor(args, select.getIds());
    addTensor(args, select.getWeights());
    addTokens(args);
    dispatch(op, "select_topk", args, [&](OpBuilder &b, ValueRange v) {
      unsigned i = 1;
      Value bias = select.getBias() ? v[i++] : Value();
      KernelSelectTopkOp::create(b, op->getLoc(), v[0], bias, Value(), Value(),
                                 v[i], v[i + 1], v[i + 2],
                                 select.getLogits().getType().getDimSize(1),
                                 select.getPolicy(),
                                 /*bias_per_token=*/false);
    });
    return;
  }
  if (isa<GroupRowsOp, AllRowsOp>(op))
    return lowerGroups(op);
  if (auto gather = dyn_cast<GatherRowsOp>(op)) {
    Value offsets = gather.getRowToken().getDefiningOp()->getResult(0);
    define(gather.getRows(), rowsPerToken[offsets]);
    addTensor(args, gather.getX());
    addTensor(args, gather.getRowToken());
    addTensor(args, offsets);
    addTensor(args, gather.getRows());
    dispatch(op, "gather_rows", args, [&](OpBuilder &b, ValueRange v) {
      KernelGatherRowsOp::create(
          b, op->getLoc(), v[0], v[1], v[2], /*row_weight=*/Value(), v[3],
          cast<ShapedType>(offsets.getType()).getDimSize(0) - 1,
          gather.getX().getType().getDimSize(1));
    });
    return;
  }
  if (auto ffn = dyn_cast<GroupedFfnOp>(op))
    return lowerGroupedFfn(ffn);
  if (auto map = dyn_cast<MapRowsOp>(op)) {
    lowerMapRows(map);
    return;
  }
  if (auto combine = dyn_cast<CombineRowsOp>(op)) {
    define(combine.getResult(), 1);
    for (Value operand : op->getOperands())
      addTensor(args, operand);
    addTensor(args, combine.getResult());
    addTokens(args);
    dispatch(op, "combine_rows", args, [&](OpBuilder &b, ValueRange v) {
      unsigned n = combine.getRows().size();
      KernelCombineRowsOp::create(
          b, op->getLoc(), v.slice(0, n), v.slice(n, n), v.slice(2 * n, n),
          v.slice(3 * n, n), v[4 * n], v[4 * n + 1],
          combine.getType().getDimSize(1), combine.getUnweightedAttr());
    });
    return;
  }
  if (auto count = dyn_cast<CountRowsOp>(op)) {
    define(count.getCounts(), 0);
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

void FunctionLowering::lowerMapRows(MapRowsOp op) {
  Value offsets = op.getExpertOffsets();
  int64_t experts =
      offsets ? cast<ShapedType>(offsets.getType()).getDimSize(0) - 1 : 0;
  for (Value result : op.getResults())
    define(result, offsets ? rowsPerToken[offsets] : 1);
  Args args;
  for (Value operand : op->getOperands())
    addTensor(args, operand);
  for (Value result : op.getResults())
    addTensor(args, result);
  addTokens(args);
  dispatch(op, "map_rows", args, [&](OpBuilder &b, ValueRange v) {
    auto take = [&](unsigned n) {
      ValueRange head = v.take_front(n);
      v = v.drop_front(n);
      return head;
    };
    ValueRange rows = take(op.getRows().size());
    ValueRange list = take(offsets ? 1 : 0);
    ValueRange weights = take(op.getExpertWeights().size());
    ValueRange invariants = take(op.getInvariants().size());
    ValueRange outs = take(op.getNumResults());
    auto kernel = KernelMapRowsOp::create(b, op.getLoc(), rows,
                                          offsets ? list[0] : Value(), weights,
                                          invariants, outs, v[0], experts);
    IRMapping mapping;
    op.getBody().cloneInto(&kernel.getBody(), mapping);
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
    plan::CopyOp::create(
        b, op.getLoc(), source, output,
        AffineMapAttr::get(tensorSize(cast<RankedTensorType>(value.getType()),
                                      rowsPerToken.lookup(value))),
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
