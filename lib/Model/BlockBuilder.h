//===- BlockBuilder.h - Emits the function of one MoE block ---------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_MODEL_BLOCKBUILDER_H
#define MOE_LIB_MODEL_BLOCKBUILDER_H

#include "ImportedModel.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace mlir::moe::model {

/// The type of tensors' elements; bf16 or f32.
Type convertDType(OpBuilder &builder, moert::DType dtype);

/// The roles of the weights of an expert; a role that a block lacks is not
/// used.
struct ExpertRoles {
  Role gate, up, down, gateBias, upBias, downBias;
};

/// Emits the function of one block. Values are rounded where the reference
/// implementation does, except inside an expert, whose products stay in f32
/// (docs/Numerics.md).
class BlockBuilder {
public:
  BlockBuilder(OpBuilder &builder, const ImportedModel &model,
               const ImportedBlock &block, const ImportOptions &options);
  void build();

private:
  func::FuncOp buildFunction();
  void buildWeights();
  Value buildRouting(Value x, Value seed);
  /// What the routed experts add, the identity ones included.
  Value buildRouted(Value x, Value routing);
  Value buildShared(Value x, Value weights);
  /// Dispatch, experts, combine.
  Value buildExperts(Value x, Value routing, const ExpertRoles &roles,
                     bool appliesToInput);
  void buildExpertBody(Block &body, const ExpertRoles &roles);
  PolicyAttr buildPolicy();
  void setCapacity(Policy &policy);
  /// The routing weights of a gated shared expert: sigmoid(x . w).
  Value buildSharedScale(Value x);
  /// For SharedKind::Mixed the weights of routed and shared experts, N x 1.
  std::pair<Value, Value> buildMix(Value x);
  /// x . w (+ b) for each token, rounded to the model's type.
  Value buildLogit(Value x, Role weight, std::optional<Role> bias = {});

  bool has(Role role) const { return block.find(role) != nullptr; }
  Value getWeight(Role role);
  RankedTensorType matrix(int64_t columns, Type element) {
    return RankedTensorType::get({ShapedType::kDynamic, columns}, element);
  }
  RoutingType routingType(int64_t experts, int64_t perToken) {
    return RoutingType::get(builder.getContext(), experts, perToken);
  }
  Value buildConstant(double value) {
    return arith::ConstantOp::create(builder, loc,
                                     builder.getF32FloatAttr(value));
  }
  /// The number of rows of a matrix, an index.
  Value buildRows(Value matrix);
  Value buildEmpty(Value rows, int64_t columns, Type type) {
    return tensor::EmptyOp::create(builder, loc, matrix(columns, type), rows);
  }
  Value buildZeros(Value rows, int64_t columns);
  /// zeros + a . b^T, accumulated in f32, (+ bias).
  Value buildMatmul(Value a, Value b, Value zeros, Value bias = {});
  /// Applies a scalar function element by element. The first input has the
  /// shape of the result; others may be a vector, one element for each column,
  /// or N x 1.
  Value buildMap(Value rows, ValueRange inputs, Type type,
                 function_ref<Value(ValueRange)> function);
  AffineMap getMap(Value input, int64_t columns);
  Value extend(Value x);
  Value round(Value x, Type type);
  /// What a value of f32 becomes when it is stored in the model's type.
  Value quantise(Value x) { return extend(round(x, element)); }

  OpBuilder &builder;
  const ImportedModel &model;
  const ImportedBlock &block;
  const ImportOptions &options;
  std::string name;
  Location loc;
  Type f32, element;
};

} // namespace mlir::moe::model

#endif // MOE_LIB_MODEL_BLOCKBUILDER_H
