//===- RowCloner.cpp - Token-wise code on a single row --------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RowCloner.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace mlir::moe;

bool moe::isRowTensor(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && tensor.getRank() >= 1 && tensor.isDynamicDim(0) &&
         llvm::none_of(tensor.getShape().drop_front(), ShapedType::isDynamic);
}

Type moe::getRowType(Type type) {
  if (!isRowTensor(type))
    return type;
  auto tensor = cast<RankedTensorType>(type);
  SmallVector<int64_t> shape(tensor.getShape());
  shape[0] = 1;
  return tensor.clone(shape);
}

/// Checks that one parallel loop walks the rows of all row tensors, that
/// nothing else does, and that the body does not ask for the row's number.
static LogicalResult checkRowWise(linalg::LinalgOp op, std::string &why) {
  std::optional<unsigned> rowLoop;
  for (OpOperand &operand : op->getOpOperands()) {
    if (!isRowTensor(operand.get().getType()))
      continue;
    AffineMap map = op.getMatchingIndexingMap(&operand);
    auto dim = dyn_cast<AffineDimExpr>(map.getResult(0));
    if (!dim || (rowLoop && *rowLoop != dim.getPosition())) {
      why = "its rows are not walked by one loop";
      return failure();
    }
    rowLoop = dim.getPosition();
  }
  SmallVector<unsigned> reductions;
  op.getReductionDims(reductions);
  for (OpOperand &init : op.getDpsInitsMutable())
    for (unsigned dim : reductions)
      if (op.getMatchingIndexingMap(&init).isFunctionOfDim(dim)) {
        why = "it writes along a dimension that it reduces";
        return failure();
      }
  if (!rowLoop)
    return success();
  if (op.getIteratorTypesArray()[*rowLoop] != utils::IteratorType::parallel) {
    why = "it reduces over rows";
    return failure();
  }
  for (OpOperand &operand : op->getOpOperands()) {
    AffineMap map = op.getMatchingIndexingMap(&operand);
    bool isRow = isRowTensor(operand.get().getType());
    for (AffineExpr expr : map.getResults().drop_front(isRow ? 1 : 0))
      if (expr.isFunctionOfDim(*rowLoop)) {
        why = "the number of the row indexes something else than rows";
        return failure();
      }
  }
  bool asksForRow = false;
  op->walk(
      [&](linalg::IndexOp index) { asksForRow |= index.getDim() == *rowLoop; });
  if (asksForRow) {
    why = "its body uses the number of the row";
    return failure();
  }
  return success();
}

/// Whether a value is the number of rows of some row tensor.
static bool isNumberOfRows(Value value) {
  auto dim = value.getDefiningOp<tensor::DimOp>();
  return dim && dim.getConstantIndex() == 0 &&
         isRowTensor(dim.getSource().getType());
}

/// Whether the number of rows that `op` asks for serves to make other tensors
/// of as many rows, and not as a number to compute with.
static bool onlyMakesRows(tensor::DimOp op) {
  return llvm::all_of(op->getUsers(), [](Operation *user) {
    return isa<tensor::EmptyOp, tensor::ExpandShapeOp, tensor::ExtractSliceOp,
               tensor::InsertSliceOp>(user);
  });
}

/// Whether a slice takes a range of columns of all rows.
static bool isSliceOfRows(ArrayRef<OpFoldResult> offsets,
                          ArrayRef<OpFoldResult> sizes,
                          ArrayRef<OpFoldResult> strides) {
  auto rows = dyn_cast<Value>(sizes.front());
  auto isStatic = [](OpFoldResult value) { return isa<Attribute>(value); };
  return isZeroInteger(offsets.front()) && isOneInteger(strides.front()) &&
         rows && isNumberOfRows(rows) && llvm::all_of(offsets, isStatic) &&
         llvm::all_of(sizes.drop_front(), isStatic) &&
         llvm::all_of(strides, isStatic);
}

/// Whether a reshape keeps rows apart: dimension 0 is grouped with unit
/// dimensions at most.
static bool keepsRows(ArrayRef<ReassociationIndices> groups,
                      RankedTensorType expanded) {
  if (groups.empty())
    return false;
  for (int64_t dim : groups.front())
    if (dim != 0 && expanded.getDimSize(dim) != 1)
      return false;
  return groups.front().front() == 0;
}

LogicalResult RowCloner::clone(Operation *op, std::string &why) {
  auto cloneWithRowTypes = [&] {
    Operation *copy = builder.clone(*op, mapping);
    for (auto [from, to] : llvm::zip(op->getResults(), copy->getResults()))
      to.setType(getRowType(from.getType()));
    return success();
  };
  auto isRowUser = [](Operation *op) {
    return llvm::any_of(op->getOperandTypes(), isRowTensor) ||
           llvm::any_of(op->getResultTypes(), isRowTensor);
  };

  // What a region reads from outside is the same for all rows.
  bool capturesRows = false;
  op->walk([&](Operation *inner) {
    for (Value operand : inner->getOperands())
      capturesRows |= inner != op && isRowTensor(operand.getType()) &&
                      !op->isAncestor(operand.getParentBlock()->getParentOp());
  });
  if (capturesRows) {
    why = "its body reads rows by number";
    return failure();
  }

  if (auto linalgOp = dyn_cast<linalg::LinalgOp>(op)) {
    if (failed(checkRowWise(linalgOp, why)))
      return failure();
    return cloneWithRowTypes();
  }
  if (auto softmax = dyn_cast<linalg::SoftmaxOp>(op)) {
    if (softmax.getDimension() == 0 && isRowUser(op)) {
      why = "it reduces over rows";
      return failure();
    }
    return cloneWithRowTypes();
  }
  if (auto dim = dyn_cast<tensor::DimOp>(op)) {
    std::optional<int64_t> index = dim.getConstantIndex();
    auto type = dyn_cast<RankedTensorType>(dim.getSource().getType());
    if (!index || !type || *index >= type.getRank() ||
        (type.isDynamicDim(*index) && !isRowTensor(type))) {
      why = "it asks for a dimension that is not known";
      return failure();
    }
    if (type.isDynamicDim(*index) && !onlyMakesRows(dim)) {
      why = "the number of rows is used as a value";
      return failure();
    }
    int64_t size = type.isDynamicDim(*index) ? 1 : type.getDimSize(*index);
    mapping.map(dim.getResult(),
                arith::ConstantIndexOp::create(builder, op->getLoc(), size)
                    .getResult());
    return success();
  }
  if (auto empty = dyn_cast<tensor::EmptyOp>(op)) {
    auto type = empty.getType();
    if (!type.hasStaticShape() && !isRowTensor(type)) {
      why = "it has another dynamic dimension than its rows";
      return failure();
    }
    if (isRowTensor(type) && !isNumberOfRows(empty.getDynamicSizes()[0])) {
      why = "its number of rows is not that of another tensor";
      return failure();
    }
    auto rowType = cast<RankedTensorType>(getRowType(type));
    mapping.map(empty.getResult(),
                tensor::EmptyOp::create(builder, op->getLoc(),
                                        rowType.getShape(),
                                        rowType.getElementType())
                    .getResult());
    return success();
  }
  if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op)) {
    if (!isRowTensor(expand.getSrcType()))
      return cloneWithRowTypes();
    if (!keepsRows(expand.getReassociationIndices(), expand.getResultType())) {
      why = "it splits rows";
      return failure();
    }
    mapping.map(expand.getResult(),
                tensor::ExpandShapeOp::create(
                    builder, op->getLoc(), getRowType(expand.getResultType()),
                    mapping.lookup(expand.getSrc()),
                    expand.getReassociationIndices())
                    .getResult());
    return success();
  }
  if (auto collapse = dyn_cast<tensor::CollapseShapeOp>(op)) {
    if (isRowTensor(collapse.getSrcType()) &&
        !keepsRows(collapse.getReassociationIndices(), collapse.getSrcType())) {
      why = "it joins rows";
      return failure();
    }
    return cloneWithRowTypes();
  }
  if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op);
      slice && isRowTensor(slice.getSourceType())) {
    SmallVector<OpFoldResult> offsets = slice.getMixedOffsets(),
                              sizes = slice.getMixedSizes(),
                              strides = slice.getMixedStrides();
    if (!isRowTensor(slice.getType()) ||
        !isSliceOfRows(offsets, sizes, strides)) {
      why = "it does not take the same columns of every row";
      return failure();
    }
    sizes.front() = builder.getIndexAttr(1);
    mapping.map(slice.getResult(),
                tensor::ExtractSliceOp::create(
                    builder, op->getLoc(),
                    cast<RankedTensorType>(getRowType(slice.getType())),
                    mapping.lookup(slice.getSource()), offsets, sizes, strides)
                    .getResult());
    return success();
  }
  if (auto slice = dyn_cast<tensor::InsertSliceOp>(op);
      slice && isRowTensor(slice.getType())) {
    SmallVector<OpFoldResult> offsets = slice.getMixedOffsets(),
                              sizes = slice.getMixedSizes(),
                              strides = slice.getMixedStrides();
    if (!isRowTensor(slice.getSourceType()) ||
        !isSliceOfRows(offsets, sizes, strides)) {
      why = "it does not fill the same columns of every row";
      return failure();
    }
    sizes.front() = builder.getIndexAttr(1);
    mapping.map(slice.getResult(),
                tensor::InsertSliceOp::create(
                    builder, op->getLoc(), mapping.lookup(slice.getSource()),
                    mapping.lookup(slice.getDest()), offsets, sizes, strides)
                    .getResult());
    return success();
  }
  if (auto concat = dyn_cast<tensor::ConcatOp>(op);
      concat && isRowTensor(concat.getType())) {
    if (concat.getDim() == 0 ||
        !llvm::all_of(concat.getInputs().getTypes(), isRowTensor)) {
      why = "it joins rows";
      return failure();
    }
    return cloneWithRowTypes();
  }
  if (auto cast = dyn_cast<tensor::CastOp>(op)) {
    if (isRowTensor(cast.getType()) !=
        isRowTensor(cast.getSource().getType())) {
      why = "it changes which extents are known";
      return failure();
    }
    return cloneWithRowTypes();
  }
  bool isElementwise = op->hasTrait<OpTrait::Elementwise>();
  bool isScalarOrConstant =
      isPure(op) && op->getNumRegions() == 0 && !isRowUser(op);
  if (isElementwise || isScalarOrConstant)
    return cloneWithRowTypes();
  why = "it is not known to treat rows independently";
  return failure();
}
