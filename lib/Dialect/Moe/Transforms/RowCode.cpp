//===- RowCode.cpp - Builds the code of one row ---------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RowCode.h"

#include "RowCloner.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;

static RankedTensorType typeOf(Value tensor) {
  return cast<RankedTensorType>(tensor.getType());
}

Value RowCode::f32(float value) {
  return arith::ConstantOp::create(*this, getF32FloatAttr(value));
}

Value RowCode::i32(int64_t value) {
  return arith::ConstantOp::create(*this, getI32IntegerAttr(value));
}

Value RowCode::i64(int64_t value) {
  return arith::ConstantOp::create(*this, getI64IntegerAttr(value));
}

Value RowCode::at(Value tensor, int64_t column) {
  SmallVector<Value> indices(typeOf(tensor).getRank());
  for (auto [i, index] : llvm::enumerate(indices))
    index = arith::ConstantIndexOp::create(
        *this, i + 1 == indices.size() ? column : 0);
  return tensor::ExtractOp::create(*this, tensor, indices);
}

Value RowCode::tensorOf(ValueRange elements) {
  return tensor::FromElementsOp::create(*this, elements);
}

/// A region of a linalg op.
static auto bodyBuilder(RowCode::Body body) {
  return [body](OpBuilder &nested, Location loc, ValueRange args) {
    RowCode code(loc, nested);
    linalg::YieldOp::create(code, body(code, args));
  };
}

Value RowCode::map(RankedTensorType type, ValueRange inputs, Body body) {
  int64_t rank = type.getRank();
  SmallVector<AffineMap> maps;
  for (Value input : inputs) {
    auto inputType = typeOf(input);
    SmallVector<AffineExpr> exprs;
    for (auto [i, extent] : llvm::enumerate(inputType.getShape())) {
      int64_t dim = rank - inputType.getRank() + static_cast<int64_t>(i);
      bool matches = dim >= 0 && type.getDimSize(dim) == extent;
      exprs.push_back(matches ? getAffineDimExpr(dim)
                              : getAffineConstantExpr(0));
    }
    maps.push_back(AffineMap::get(rank, 0, exprs, getContext()));
  }
  maps.push_back(getMultiDimIdentityMap(rank));
  Value empty =
      tensor::EmptyOp::create(*this, type.getShape(), type.getElementType());
  return linalg::GenericOp::create(
             *this, TypeRange{type}, inputs, ValueRange{empty}, maps,
             SmallVector<utils::IteratorType>(rank,
                                              utils::IteratorType::parallel),
             bodyBuilder([body](RowCode &code, ValueRange args) {
               return body(code, args.drop_back());
             }))
      .getResult(0);
}

Value RowCode::reduce(ValueRange inputs, Value init, Body body, Body combine) {
  SmallVector<AffineMap> maps(inputs.size(), getMultiDimIdentityMap(2));
  maps.push_back(AffineMap::get(2, 0, getAffineDimExpr(0)));
  Value empty =
      tensor::EmptyOp::create(*this, ArrayRef<int64_t>{1}, init.getType());
  Value filled = linalg::FillOp::create(*this, init, empty).getResult(0);
  auto op = linalg::GenericOp::create(
      *this, TypeRange{filled.getType()}, inputs, ValueRange{filled}, maps,
      ArrayRef<utils::IteratorType>{utils::IteratorType::parallel,
                                    utils::IteratorType::reduction},
      bodyBuilder([&](RowCode &code, ValueRange args) {
        Value element = body(code, args.drop_back());
        return combine(code, {args.back(), element});
      }));
  return at(op.getResult(0));
}

static Value addFloats(RowCode &code, ValueRange v) {
  return arith::AddFOp::create(code, v[0], v[1]);
}

static Value first(RowCode &, ValueRange v) { return v[0]; }

Value RowCode::sum(Value row) { return reduce(row, f32(0), first, addFloats); }

Value RowCode::softmax(Value logits) {
  Value infinity = arith::ConstantOp::create(*this, getF32FloatAttr(-INFINITY));
  Value largest =
      reduce(logits, infinity, first, [](RowCode &code, ValueRange v) {
        return arith::MaximumFOp::create(code, v[0], v[1]).getResult();
      });
  Value powers =
      map(typeOf(logits), logits, [&](RowCode &code, ValueRange v) -> Value {
        return math::ExpOp::create(code,
                                   arith::SubFOp::create(code, v[0], largest));
      });
  Value divisor = sum(powers);
  return map(typeOf(logits), powers, [&](RowCode &code, ValueRange v) -> Value {
    return arith::DivFOp::create(code, v[0], divisor);
  });
}

Value RowCode::scores(Score score, Value logits) {
  switch (score) {
  case Score::None:
    return logits;
  case Score::Softmax:
    return softmax(logits);
  case Score::Sigmoid:
    return map(
        typeOf(logits), logits, [](RowCode &code, ValueRange v) -> Value {
          Value power =
              math::ExpOp::create(code, arith::NegFOp::create(code, v[0]));
          Value one = code.f32(1);
          return arith::DivFOp::create(code, one,
                                       arith::AddFOp::create(code, one, power));
        });
  case Score::SqrtSoftplus:
    return map(
        typeOf(logits), logits, [](RowCode &code, ValueRange v) -> Value {
          Value zero = code.f32(0);
          Value isPositive = arith::CmpFOp::create(
              code, arith::CmpFPredicate::OGT, v[0], zero);
          Value positive =
              arith::SelectOp::create(code, isPositive, v[0], zero);
          Value distance = math::AbsFOp::create(code, v[0]);
          Value power =
              math::ExpOp::create(code, arith::NegFOp::create(code, distance));
          Value log = math::LogOp::create(
              code, arith::AddFOp::create(code, code.f32(1), power));
          return math::SqrtOp::create(
              code, arith::AddFOp::create(code, positive, log));
        });
  }
  llvm_unreachable("unknown score");
}

Value RowCode::addAt(Value row, Value ids, ValueRange inputs, Body body) {
  SmallVector<Value> operands{ids};
  llvm::append_range(operands, inputs);
  AffineExpr d0 = getAffineDimExpr(0), d1 = getAffineDimExpr(1),
             d2 = getAffineDimExpr(2);
  SmallVector<AffineMap> maps(operands.size(),
                              AffineMap::get(3, 0, {d0, d2}, getContext()));
  maps.push_back(AffineMap::get(3, 0, {d0, d1}, getContext()));
  using utils::IteratorType;
  auto op = linalg::GenericOp::create(
      *this, TypeRange{row.getType()}, operands, ValueRange{row}, maps,
      ArrayRef<IteratorType>{IteratorType::parallel, IteratorType::parallel,
                             IteratorType::reduction},
      bodyBuilder([&](RowCode &code, ValueRange args) -> Value {
        Value column = linalg::IndexOp::create(code, 1);
        column = arith::IndexCastOp::create(code, code.getI32Type(), column);
        Value isColumn = arith::CmpIOp::create(code, arith::CmpIPredicate::eq,
                                               args[0], column);
        Value value = body(code, args.drop_front().drop_back());
        Value zero =
            arith::ConstantOp::create(code, code.getZeroAttr(value.getType()));
        value = arith::SelectOp::create(code, isColumn, value, zero);
        if (isa<FloatType>(value.getType()))
          return arith::AddFOp::create(code, args.back(), value);
        return arith::AddIOp::create(code, args.back(), value);
      }));
  return op.getResult(0);
}

FoldRowsOp
moe::createFold(OpBuilder &b, Location loc, TypeRange results, ValueRange rows,
                ValueRange invariants, ArrayRef<double> inits,
                function_ref<SmallVector<Value>(RowCode &, ValueRange,
                                                ValueRange, ValueRange)>
                    body) {
  auto fold = FoldRowsOp::create(b, loc, results, rows, invariants,
                                 b.getF64ArrayAttr(inits));
  OpBuilder::InsertionGuard guard(b);
  Block *block = b.createBlock(&fold.getBody());
  block->addArgument(b.getIndexType(), loc);
  for (Value row : rows) {
    SmallVector<int64_t> shape(typeOf(row).getShape());
    shape[0] = 1;
    block->addArgument(typeOf(row).clone(shape), loc);
  }
  for (Value invariant : invariants)
    block->addArgument(invariant.getType(), loc);
  for (Type result : results)
    block->addArgument(result, loc);
  ValueRange args = block->getArguments().drop_front();
  RowCode code(loc, b);
  YieldOp::create(b, loc,
                  body(code, args.take_front(rows.size()),
                       args.slice(rows.size(), invariants.size()),
                       args.take_back(results.size())));
  return fold;
}

Value moe::createOnce(OpBuilder &b, Location loc, RankedTensorType result,
                      Value row, ValueRange invariants,
                      function_ref<Value(RowCode &, Value, ValueRange)> body) {
  return createFold(b, loc, TypeRange{result}, row, invariants, 0.0,
                    [&](RowCode &code, ValueRange rows, ValueRange invariants,
                        ValueRange) -> SmallVector<Value> {
                      return {body(code, rows[0], invariants)};
                    })
      .getResult(0);
}
