//===- BuildModule.cpp - From a described model to moe IR -----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ImportedModel.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::model;
using moert::concat;

static Type convertDType(OpBuilder &builder, moert::DType dtype) {
  return dtype == moert::DType::BF16 ? Type(builder.getBF16Type())
                                     : Type(builder.getF32Type());
}

namespace {

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
  Value buildRouted(Value x);
  Value buildShared(Value x);
  Value buildExperts(Value x, Value routing, Role gate, Role up, Role down);
  void buildExpertBody(Block &body);
  PolicyAttr buildPolicy();
  /// The routing weights of a gated shared expert: sigmoid(x . w).
  Value buildSharedScale(Value x);

  Value getWeight(Role role);
  RankedTensorType matrix(int64_t columns, Type element) {
    return RankedTensorType::get({ShapedType::kDynamic, columns}, element);
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
  /// zeros + a . b^T, accumulated in f32.
  Value buildMatmul(Value a, Value b, Value zeros);
  /// Applies a scalar function element by element.
  Value buildMap(Value rows, ValueRange inputs, Type type,
                 function_ref<Value(ValueRange)> function);
  Value extend(Value x);
  Value round(Value x, Type type);

  OpBuilder &builder;
  const ImportedModel &model;
  const ImportedBlock &block;
  const ImportOptions &options;
  std::string name;
  Location loc;
  Type f32, element;
};

} // namespace

BlockBuilder::BlockBuilder(OpBuilder &builder, const ImportedModel &model,
                           const ImportedBlock &block,
                           const ImportOptions &options)
    : builder(builder), model(model), block(block), options(options),
      name(concat("layers.", block.layer, ".mlp")),
      loc(NameLoc::get(builder.getStringAttr(name))), f32(builder.getF32Type()),
      element(convertDType(builder, model.dtype)) {}

Value BlockBuilder::getWeight(Role role) {
  const ImportedWeight *weight = block.find(role);
  auto type = RankedTensorType::get(weight->shape,
                                    convertDType(builder, weight->dtype));
  return GetWeightOp::create(builder, loc, type, weight->symbol);
}

Value BlockBuilder::extend(Value x) {
  return x.getType() == f32 ? x : arith::ExtFOp::create(builder, loc, f32, x);
}

Value BlockBuilder::round(Value x, Type type) {
  return type == f32 ? x : arith::TruncFOp::create(builder, loc, type, x);
}

Value BlockBuilder::buildRows(Value matrix) {
  Value zero = arith::ConstantIndexOp::create(builder, loc, 0);
  return tensor::DimOp::create(builder, loc, matrix, zero);
}

Value BlockBuilder::buildZeros(Value rows, int64_t columns) {
  return linalg::FillOp::create(builder, loc, buildConstant(0.0),
                                buildEmpty(rows, columns, f32))
      .getResult(0);
}

Value BlockBuilder::buildMatmul(Value a, Value b, Value zeros) {
  return linalg::MatmulTransposeBOp::create(builder, loc, zeros.getType(),
                                            ValueRange{a, b}, zeros)
      .getResult(0);
}

Value BlockBuilder::buildMap(Value rows, ValueRange inputs, Type type,
                             function_ref<Value(ValueRange)> function) {
  int64_t columns =
      cast<RankedTensorType>(inputs.front().getType()).getDimSize(1);
  Value init = buildEmpty(rows, columns, type);
  SmallVector<AffineMap> maps(inputs.size() + 1,
                              builder.getMultiDimIdentityMap(2));
  SmallVector<utils::IteratorType> iterators(2, utils::IteratorType::parallel);
  return linalg::GenericOp::create(
             builder, loc, init.getType(), inputs, init, maps, iterators,
             [&](OpBuilder &, Location, ValueRange args) {
               Value result = function(args.drop_back());
               linalg::YieldOp::create(builder, loc, round(result, type));
             })
      .getResult(0);
}

PolicyAttr BlockBuilder::buildPolicy() {
  const Router &router = model.family->router;
  // Keeping all groups, or the only one, filters nothing.
  bool hasFilter =
      router.filter != GroupFilter::None && model.keptGroups < model.groups;
  bool rounds = router.roundWeights && !options.routerF32 && element != f32;
  Policy policy;
  policy.topK = model.topK;
  policy.score = router.score;
  if (hasFilter) {
    policy.groups = model.groups;
    policy.keepGroups = model.keptGroups;
    policy.groupFilter = router.filter;
  }
  policy.weightSource = router.weights;
  policy.normalize = model.normalize;
  if (model.normalize)
    policy.epsilon = static_cast<float>(router.epsilon);
  policy.scale = static_cast<float>(model.scale);
  if (rounds)
    policy.roundWeights = element;
  return PolicyAttr::get(builder.getContext(), policy);
}

void BlockBuilder::buildExpertBody(Block &body) {
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(&body);
  Value x = body.getArgument(0), down = body.getArgument(3);
  auto downType = cast<RankedTensorType>(down.getType());
  int64_t hidden = downType.getDimSize(0), width = downType.getDimSize(1);
  Value rows = buildRows(x);
  Value zeros = buildZeros(rows, width);
  Value gate = buildMatmul(x, body.getArgument(1), zeros);
  Value up = buildMatmul(x, body.getArgument(2), zeros);
  const Activation *activation = findActivation(model.activation);
  Value inner =
      buildMap(rows, {gate, up}, element, [&](ValueRange args) -> Value {
        Value active = activation->build(builder, loc, args[0]);
        return arith::MulFOp::create(builder, loc, active, args[1]);
      });
  Value out = buildMatmul(inner, down, buildZeros(rows, hidden));
  if (element != f32)
    out = buildMap(rows, out, element, [](ValueRange args) { return args[0]; });
  YieldOp::create(builder, loc, out);
}

Value BlockBuilder::buildExperts(Value x, Value routing, Role gate, Role up,
                                 Role down) {
  SmallVector<Value> weights = {getWeight(gate), getWeight(up),
                                getWeight(down)};
  Value rows = DispatchOp::create(builder, loc, x.getType(), x, routing);
  auto experts =
      ExpertsOp::create(builder, loc, x.getType(), rows, weights, routing);
  Block &body = experts.getBody().emplaceBlock();
  body.addArgument(x.getType(), loc);
  for (Value weight : weights) {
    auto type = cast<RankedTensorType>(weight.getType());
    body.addArgument(type.clone(type.getShape().drop_front()), loc);
  }
  buildExpertBody(body);
  return CombineOp::create(builder, loc, x.getType(), experts.getResult(),
                           routing);
}

Value BlockBuilder::buildRouted(Value x) {
  bool rounds =
      model.family->router.roundLogits && !options.routerF32 && element != f32;
  Value logits = RouterLogitsOp::create(
      builder, loc, matrix(model.experts, f32), x, getWeight(Role::Router),
      /*bias=*/Value(), rounds ? TypeAttr::get(element) : TypeAttr());
  Value bias =
      block.find(Role::SelectBias) ? getWeight(Role::SelectBias) : Value();
  auto type = RoutingType::get(builder.getContext(), model.experts, model.topK);
  Value routing =
      RouteOp::create(builder, loc, type, logits, bias, buildPolicy());
  return buildExperts(x, routing, Role::Gate, Role::Up, Role::Down);
}

Value BlockBuilder::buildSharedScale(Value x) {
  TypeAttr rounding = element != f32 ? TypeAttr::get(element) : TypeAttr();
  Value logit = RouterLogitsOp::create(builder, loc, matrix(1, f32), x,
                                       getWeight(Role::SharedScale),
                                       /*bias=*/Value(), rounding);
  return buildMap(buildRows(logit), logit, f32, [&](ValueRange args) {
    return extend(round(buildSigmoid(builder, loc, args[0]), element));
  });
}

Value BlockBuilder::buildShared(Value x) {
  Value scale = model.family->shared.kind == SharedKind::Gated
                    ? buildSharedScale(x)
                    : Value();
  auto type = RoutingType::get(builder.getContext(), 1, 1);
  Value routing = AssignAllOp::create(builder, loc, type, x, scale);
  return buildExperts(x, routing, Role::SharedGate, Role::SharedUp,
                      Role::SharedDown);
}

func::FuncOp BlockBuilder::buildFunction() {
  Type type = matrix(model.hidden, element);
  auto function = func::FuncOp::create(builder, loc, name,
                                       builder.getFunctionType(type, type));
  function.setArgAttr(0, "moe.name", builder.getStringAttr("x"));
  function.setResultAttr(0, "moe.name", builder.getStringAttr("y"));
  function->setAttr("moe.layer", builder.getI64IntegerAttr(block.layer));
  return function;
}

void BlockBuilder::build() {
  for (const ImportedWeight &weight : block.weights)
    WeightOp::create(builder, loc, builder.getStringAttr(weight.symbol),
                     TypeAttr::get(RankedTensorType::get(
                         weight.shape, convertDType(builder, weight.dtype))),
                     builder.getStrArrayAttr({weight.source}),
                     weight.stack ? builder.getUnitAttr() : UnitAttr(),
                     /*transpose=*/UnitAttr(),
                     weight.split ? builder.getDenseI64ArrayAttr(*weight.split)
                                  : DenseI64ArrayAttr());
  func::FuncOp function = buildFunction();
  OpBuilder::InsertionGuard guard(builder);
  Block *entry = function.addEntryBlock();
  builder.setInsertionPointToStart(entry);
  Value x = entry->getArgument(0);
  Value y = buildRouted(x);
  if (model.sharedWidth > 0) {
    Value shared = buildShared(x);
    y = buildMap(
        buildRows(x), {y, shared}, element, [&](ValueRange args) -> Value {
          Value routed = extend(args[0]);
          return arith::AddFOp::create(builder, loc, routed, extend(args[1]));
        });
  }
  func::ReturnOp::create(builder, loc, y);
}

/// What the artifact tells about the model.
static DictionaryAttr describe(OpBuilder &builder, const ImportedModel &model) {
  auto integer = [&](int64_t value) {
    return builder.getI64IntegerAttr(value);
  };
  NamedAttribute entries[] = {
      {"arch", builder.getStringAttr(model.family->modelType)},
      {"name", builder.getStringAttr(model.name)},
      {"layers", integer(model.layers)},
      {"moe_layers", builder.getDenseI64ArrayAttr(model.moeLayers)},
      {"experts", integer(model.experts)},
      {"top_k", integer(model.topK)},
      {"hidden", integer(model.hidden)},
      {"width", integer(model.width)},
      {"shared_width", integer(model.sharedWidth)},
      {"activation", builder.getStringAttr(model.activation)},
      {"dtype", TypeAttr::get(convertDType(builder, model.dtype))}};
  return builder.getDictionaryAttr(entries);
}

OwningOpRef<ModuleOp> model::buildModule(MLIRContext *context,
                                         const ImportedModel &model,
                                         const ImportOptions &options) {
  context->loadDialect<MoeDialect, arith::ArithDialect, func::FuncDialect,
                       linalg::LinalgDialect, math::MathDialect,
                       tensor::TensorDialect>();
  OpBuilder builder(context);
  auto name = NameLoc::get(builder.getStringAttr(model.name));
  OwningOpRef<ModuleOp> module(ModuleOp::create(builder, name));
  (*module)->setAttr("moe.model", describe(builder, model));
  if (options.maxTokens)
    (*module)->setAttr("moe.max_tokens",
                       builder.getI64IntegerAttr(*options.maxTokens));
  builder.setInsertionPointToEnd(module->getBody());
  for (const ImportedBlock &block : model.blocks)
    BlockBuilder(builder, model, block, options).build();
  return module;
}
