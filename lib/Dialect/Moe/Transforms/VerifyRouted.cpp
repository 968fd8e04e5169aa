//===- VerifyRouted.cpp - Border check of routed ops ----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/Moe/Transforms/Passes.h"

#include "RowCloner.h"
#include "moe/Dialect/Moe/Transforms/RowSpaces.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

namespace mlir::moe {
#define GEN_PASS_DEF_VERIFYROUTEDPASS
#include "moe/Dialect/Moe/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

namespace {

/// The lists of one routing, as results of the ops that make them.
enum List : unsigned {
  ExpertOffsets,
  RowToken,
  RowWeight,
  TokenOffsets,
  TokenRows
};

class RoutedVerifier {
public:
  explicit RoutedVerifier(func::FuncOp func) : func(func) {}
  LogicalResult run();

private:
  LogicalResult verifySignature();
  LogicalResult verifyOp(Operation &op);
  LogicalResult verifyRouter(Operation &op);
  LogicalResult verifyElements(Operation &op);

  /// The routing of which `value` is list number `list`, as its
  /// `expert_offsets`; fails when it is none.
  FailureOr<Value> getRouting(Operation &op, Value value, List list) {
    if (Operation *maker = getListMaker(value, list))
      return maker->getResult(0);
    return op.emitError()
           << "'" << op.getName() << "' reads an index list that is not result "
           << static_cast<unsigned>(list)
           << " of 'moe.group_rows' or another op that makes index lists";
  }
  /// The routing of several lists.
  FailureOr<Value> getRouting(Operation &op,
                              ArrayRef<std::pair<Value, List>> lists) {
    FailureOr<Value> routing;
    for (auto [i, list] : llvm::enumerate(lists)) {
      FailureOr<Value> own = getRouting(op, list.first, list.second);
      if (failed(own))
        return failure();
      if (i != 0 && *own != *routing)
        return op.emitError()
               << "'" << op.getName() << "' reads lists of two routings";
      routing = own;
    }
    return routing;
  }

  /// Fails unless `value` has the rows of `space`.
  LogicalResult expectRows(Operation &op, Value value, RowSpace space) {
    if (spaces.lookup(value) == space)
      return success();
    const char *wanted = "token";
    if (space.kind == RowSpace::Kind::Pairs)
      wanted = "pair of its routing";
    else if (space.kind == RowSpace::Kind::Fixed)
      wanted = "slot";
    return op.emitError() << "'" << op.getName() << "' expects one row per "
                          << wanted << ", but its operand has others";
  }
  /// Fails unless all of `values` have the same rows.
  LogicalResult expectSameRows(Operation &op, ValueRange values) {
    for (Value value : values)
      if (failed(expectRows(op, value, spaces.lookup(values.front()))))
        return failure();
    return success();
  }

  func::FuncOp func;
  RowSpaces spaces;
};

} // namespace

// Sizes in bytes are 64-bit numbers: of at most 2^31 rows, padded to blocks of
// 16, of four bytes an element.
static constexpr int64_t kMaxRowElements = int64_t(1) << 24;
static constexpr int64_t kMaxStaticElements = int64_t(1) << 40;

/// Whether the static extents are small enough to compute with.
static bool hasSize(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor)
    return true;
  int64_t limit =
      tensor.hasStaticShape() ? kMaxStaticElements : kMaxRowElements;
  int64_t elements = 1;
  for (int64_t extent : tensor.getShape())
    if (!ShapedType::isDynamic(extent) &&
        (llvm::MulOverflow(elements, extent, elements) || elements > limit))
      return false;
  return true;
}

LogicalResult RoutedVerifier::verifySignature() {
  StringRef name = func.getSymName();
  if (func.isDeclaration())
    return func.emitError()
           << "function '" << name << "' has no body to compile";
  if (!func.getBody().hasOneBlock())
    return func.emitError() << "function '" << name
                            << "' has control flow; expected a single block";
  for (Type type : func.getArgumentTypes()) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    if (!tensor || !(tensor.hasStaticShape() || isRowTensor(tensor)))
      return func.emitError()
             << "function '" << name << "' takes a value of type " << type
             << "; expected one row per token, or a static tensor";
  }
  for (Type type : func.getResultTypes()) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    if (!tensor || !(tensor.hasStaticShape() || isRowTensor(tensor)))
      return func.emitError()
             << "function '" << name << "' returns a value of type " << type
             << "; expected one row per token, or a static "
                "tensor";
  }
  return success();
}

LogicalResult RoutedVerifier::verifyElements(Operation &op) {
  SmallVector<Type> types(op.getOperandTypes());
  llvm::append_range(types, op.getResultTypes());
  for (Type type : types)
    if (!hasSize(type))
      return op.emitError()
             << "'" << op.getName() << "' handles a value of type " << type
             << "; a row has at most " << kMaxRowElements
             << " elements, a static tensor " << kMaxStaticElements;
  for (Type type : types)
    if (!isStorable(getElementTypeOrSelf(type)))
      return op.emitError()
             << "'" << op.getName() << "' exchanges a value of type " << type
             << " with other kernels; expected elements of f32, bf16, f16, "
                "i64, i32 or i8";
  return success();
}

LogicalResult RoutedVerifier::verifyRouter(Operation &op) {
  // Operands with rows agree; of `like` any row counts as one.
  SmallVector<Value> rows;
  if (auto select = dyn_cast<SelectTopkOp>(op)) {
    rows.push_back(select.getLogits());
    if (select.getBias() &&
        cast<ShapedType>(select.getBias().getType()).getRank() == 2)
      rows.push_back(select.getBias());
    if (select.getRandom())
      rows.push_back(select.getRandom());
  } else if (isa<ApplyCapacityOp, SelectProductsOp, GroupRowsOp>(op)) {
    rows.assign(op.operand_begin(), op.operand_end());
  } else if (auto all = dyn_cast<AllRowsOp>(op)) {
    rows.assign(op.operand_begin(), op.operand_end());
  } else if (auto logits = dyn_cast<RowLogitsOp>(op)) {
    FailureOr<Value> routing =
        getRouting(op, logits.getExpertOffsets(), ExpertOffsets);
    return failure(
        failed(routing) ||
        failed(expectRows(op, logits.getRows(), RowSpace::ofPairs(*routing))));
  } else if (auto nest = dyn_cast<NestIdsOp>(op)) {
    FailureOr<Value> routing =
        getRouting(op, nest.getExpertOffsets(), ExpertOffsets);
    return failure(
        failed(routing) ||
        failed(expectRows(op, nest.getIds(), RowSpace::ofPairs(*routing))));
  } else if (auto slice = dyn_cast<SliceRowsOp>(op)) {
    return getRouting(op, {{slice.getSourceOffsets(), ExpertOffsets},
                           {slice.getSourceRowToken(), RowToken},
                           {slice.getSourceRowWeight(), RowWeight},
                           {slice.getSourceTokenOffsets(), TokenOffsets},
                           {slice.getSourceTokenRows(), TokenRows}});
  }
  return expectSameRows(op, rows);
}

LogicalResult RoutedVerifier::verifyOp(Operation &op) {
  if (isa<GetWeightOp, RouterLogitsOp, RandomOp, LookupOp, ChooseRowsOp,
          CountIdsOp>(op))
    return success();
  if (isa<SelectTopkOp, ApplyCapacityOp, SelectProductsOp, GroupRowsOp,
          AllRowsOp, RowLogitsOp, NestIdsOp, SliceRowsOp>(op))
    return verifyRouter(op);
  if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
    if (isa<RankedTensorType>(constant.getType()) &&
        isa<DenseElementsAttr>(constant.getValue()))
      return success();
  }
  if (isa<func::ReturnOp>(op)) {
    for (Value operand : op.getOperands())
      if (isRowTensor(operand.getType()) &&
          failed(expectRows(op, operand, RowSpace::ofTokens())))
        return failure();
    return success();
  }
  if (auto gather = dyn_cast<GatherRowsOp>(op)) {
    SmallVector<std::pair<Value, List>> lists{{gather.getRowToken(), RowToken}};
    if (gather.getRowWeight())
      lists.emplace_back(gather.getRowWeight(), RowWeight);
    FailureOr<Value> routing = getRouting(op, lists);
    return failure(
        failed(routing) ||
        failed(expectRows(op, gather.getX(), spaces.getTokens(*routing))));
  }
  if (auto ffn = dyn_cast<GroupedFfnOp>(op)) {
    for (Value weight : ffn.getWeights())
      if (!weight.getDefiningOp<GetWeightOp>())
        return op.emitError()
               << "'" << op.getName()
               << "' reads a weight that is no result of 'moe.get_weight'; "
                  "make it a moe.weight";
    for (unsigned s = 0; s < ffn.getNumSegments(); ++s) {
      SmallVector<std::pair<Value, List>> lists{
          {ffn.getExpertOffsets()[s], ExpertOffsets},
          {ffn.getRowToken()[s], RowToken}};
      if (!ffn.getRowWeight().empty())
        lists.emplace_back(ffn.getRowWeight()[s], RowWeight);
      FailureOr<Value> routing = getRouting(op, lists);
      if (failed(routing) ||
          failed(expectRows(op, ffn.getX(), spaces.getTokens(*routing))))
        return failure();
    }
    return success();
  }
  if (auto map = dyn_cast<MapRowsOp>(op)) {
    for (Value invariant : map.getInvariants())
      if (!cast<ShapedType>(invariant.getType()).hasStaticShape())
        return op.emitError()
               << "'" << op.getName() << "' has an invariant of dynamic shape "
               << invariant.getType();
    if (!map.getExpertOffsets()) {
      bool isPairs =
          spaces.lookup(map.getRows()[0]).kind == RowSpace::Kind::Pairs;
      return isPairs ? expectRows(op, map.getRows()[0], RowSpace::ofTokens())
                     : expectSameRows(op, map.getRows());
    }
    FailureOr<Value> routing =
        getRouting(op, map.getExpertOffsets(), ExpertOffsets);
    if (failed(routing))
      return failure();
    for (Value rows : map.getRows())
      if (failed(expectRows(op, rows, RowSpace::ofPairs(*routing))))
        return failure();
    return success();
  }
  if (auto fold = dyn_cast<FoldRowsOp>(op))
    return expectSameRows(op, fold.getRows());
  if (auto combine = dyn_cast<CombineRowsOp>(op)) {
    RowSpace tokens;
    for (unsigned s = 0, e = combine.getRows().size(); s < e; ++s) {
      FailureOr<Value> routing =
          getRouting(op, {{combine.getTokenOffsets()[s], TokenOffsets},
                          {combine.getTokenRows()[s], TokenRows},
                          {combine.getRowWeight()[s], RowWeight}});
      if (failed(routing) || failed(expectRows(op, combine.getRows()[s],
                                               RowSpace::ofPairs(*routing))))
        return failure();
      if (s != 0 && tokens != spaces.getTokens(*routing))
        return op.emitError()
               << "'" << op.getName() << "' adds rows for different tokens";
      tokens = spaces.getTokens(*routing);
    }
    return success();
  }
  if (auto count = dyn_cast<CountRowsOp>(op))
    return getRouting(op, count.getExpertOffsets(), ExpertOffsets);
  return op.emitError() << "'" << op.getName()
                        << "' stands outside a kernel region after the phase "
                           "'routed'";
}

LogicalResult RoutedVerifier::run() {
  if (failed(verifySignature()))
    return failure();
  for (Operation &op : func.front()) {
    if (failed(verifyOp(op)) || failed(verifyElements(op)))
      return failure();
    spaces.visit(&op);
    for (Value result : op.getResults()) {
      RowSpace space = spaces.lookup(result);
      bool isFixed = space.kind == RowSpace::Kind::Fixed;
      if (space.kind == RowSpace::Kind::None ||
          cast<ShapedType>(result.getType()).isDynamicDim(0) != isFixed)
        continue;
      auto error = op.emitError()
                   << "'" << op.getName() << "' has a result of type "
                   << result.getType() << "; expected ";
      if (isFixed)
        return error << space.rows << " rows";
      return error << "a dynamic number of rows";
    }
  }
  return success();
}

LogicalResult moe::verifyRouted(func::FuncOp func) {
  return RoutedVerifier(func).run();
}

namespace {

struct VerifyRoutedPass
    : public moe::impl::VerifyRoutedPassBase<VerifyRoutedPass> {
  void runOnOperation() override {
    if (failed(verifyRouted(getOperation())))
      return signalPassFailure();
    markAllAnalysesPreserved();
  }
};

} // namespace
