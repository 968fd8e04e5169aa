//===- VerifyRouted.cpp - Border check of routed ops ----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/Moe/Transforms/Passes.h"

#include "RowCloner.h"

namespace mlir::moe {
#define GEN_PASS_DEF_VERIFYROUTEDPASS
#include "moe/Dialect/Moe/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

namespace {

/// The lists of one routing, as results of moe.group_rows and moe.all_rows.
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
  LogicalResult verifyElements(Operation &op);

  /// The op that makes `value` as list number `list`; null with an error when
  /// none does.
  Operation *getMaker(Operation &op, Value value, List list) {
    auto result = dyn_cast<OpResult>(value);
    if (result && isa<GroupRowsOp, AllRowsOp>(result.getOwner()) &&
        result.getResultNumber() == list)
      return result.getOwner();
    op.emitError() << "'" << op.getName()
                   << "' reads an index list that is not result "
                   << static_cast<unsigned>(list)
                   << " of 'moe.group_rows' or 'moe.all_rows'";
    return nullptr;
  }

  /// Fails unless `value` has the rows of `maker`'s pairs, or of tokens when
  /// `maker` is null.
  LogicalResult expectRows(Operation &op, Value value, Operation *maker) {
    if (pairs.lookup(value) == maker)
      return success();
    return op.emitError() << "'" << op.getName() << "' expects one row per "
                          << (maker ? "pair of its routing" : "token")
                          << ", but its operand has others";
  }

  func::FuncOp func;
  /// Values with one row per pair, and the op that made the pairs.
  DenseMap<Value, Operation *> pairs;
};

} // namespace

/// Bytes of an element are whole: kernels exchange no i1 and no index.
static bool isStorable(Type type) {
  return type.isF32() || type.isBF16() || type.isF16() || type.isInteger(64) ||
         type.isInteger(32) || type.isInteger(8);
}

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
  for (Type type : func.getArgumentTypes())
    if (!isRowTensor(type))
      return func.emitError()
             << "function '" << name << "' takes a value of type " << type
             << "; expected one row per token";
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

LogicalResult RoutedVerifier::verifyOp(Operation &op) {
  if (isa<GetWeightOp>(op))
    return success();
  if (isa<RouterLogitsOp, SelectTopkOp, GatherRowsOp, GroupedFfnOp, MapRowsOp,
          CombineRowsOp>(op))
    for (Type type : op.getResultTypes())
      if (!isRowTensor(type))
        return op.emitError()
               << "'" << op.getName() << "' has a result of type " << type
               << "; expected a dynamic number of rows";
  if (isa<RouterLogitsOp, SelectTopkOp, GroupRowsOp, AllRowsOp, func::ReturnOp>(
          op)) {
    for (Value operand : op.getOperands())
      if (isRowTensor(operand.getType()) &&
          failed(expectRows(op, operand, nullptr)))
        return failure();
    if (isa<GroupRowsOp, AllRowsOp>(op))
      for (Value list : op.getResults().drop_front())
        pairs[list] = &op;
    return success();
  }
  if (auto gather = dyn_cast<GatherRowsOp>(op)) {
    Operation *maker = getMaker(op, gather.getRowToken(), RowToken);
    pairs[gather.getRows()] = maker;
    return success(maker && succeeded(expectRows(op, gather.getX(), nullptr)));
  }
  if (auto ffn = dyn_cast<GroupedFfnOp>(op)) {
    for (unsigned s = 0; s < ffn.getNumSegments(); ++s) {
      Operation *maker = getMaker(op, ffn.getExpertOffsets()[s], ExpertOffsets);
      Operation *tokens = getMaker(op, ffn.getRowToken()[s], RowToken);
      if (!maker || !tokens)
        return failure();
      if (maker != tokens)
        return op.emitError()
               << "'" << op.getName() << "' reads lists of two routings";
      pairs[ffn.getResult(s)] = maker;
    }
    return expectRows(op, ffn.getX(), nullptr);
  }
  if (auto map = dyn_cast<MapRowsOp>(op)) {
    Operation *maker = nullptr;
    if (map.getExpertOffsets() &&
        !(maker = getMaker(op, map.getExpertOffsets(), ExpertOffsets)))
      return failure();
    for (Value rows : map.getRows())
      if (failed(expectRows(op, rows, maker)))
        return failure();
    for (Value invariant : map.getInvariants())
      if (!cast<ShapedType>(invariant.getType()).hasStaticShape())
        return op.emitError()
               << "'" << op.getName() << "' has an invariant of dynamic shape "
               << invariant.getType();
    if (maker)
      for (Value result : map.getResults())
        pairs[result] = maker;
    return success();
  }
  if (auto combine = dyn_cast<CombineRowsOp>(op)) {
    for (unsigned s = 0, e = combine.getRows().size(); s < e; ++s) {
      Operation *maker =
          getMaker(op, combine.getTokenOffsets()[s], TokenOffsets);
      Operation *rows = getMaker(op, combine.getTokenRows()[s], TokenRows);
      Operation *weights = getMaker(op, combine.getRowWeight()[s], RowWeight);
      if (!maker || !rows || !weights)
        return failure();
      if (maker != rows || maker != weights)
        return op.emitError()
               << "'" << op.getName() << "' reads lists of two routings";
      if (failed(expectRows(op, combine.getRows()[s], maker)))
        return failure();
    }
    return success();
  }
  if (auto count = dyn_cast<CountRowsOp>(op))
    return success(getMaker(op, count.getExpertOffsets(), ExpertOffsets));
  return op.emitError() << "'" << op.getName()
                        << "' stands outside a kernel region after the phase "
                           "'routed'";
}

LogicalResult RoutedVerifier::run() {
  if (failed(verifySignature()))
    return failure();
  for (Operation &op : func.front())
    if (failed(verifyOp(op)) || failed(verifyElements(op)))
      return failure();
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
