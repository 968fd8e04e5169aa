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

/// Of moe.random.
static constexpr int64_t maxStreams = 65536;

static Type convertDType(OpBuilder &builder, moert::DType dtype) {
  return dtype == moert::DType::BF16 ? Type(builder.getBF16Type())
                                     : Type(builder.getF32Type());
}

namespace {

/// The roles of the weights of an expert; a role that a block lacks is not
/// used.
struct ExpertRoles {
  Role gate, up, down, gateBias, upBias, downBias;
};
constexpr ExpertRoles routedRoles = {Role::Gate,   Role::Up,
                                     Role::Down,   Role::GateBias,
                                     Role::UpBias, Role::DownBias};
/// No family has a bias for the second product of a shared expert.
constexpr ExpertRoles sharedRoles = {
    Role::SharedGate,     Role::SharedUp,       Role::SharedDown,
    Role::SharedGateBias, Role::SharedGateBias, Role::SharedDownBias};

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

} // namespace

BlockBuilder::BlockBuilder(OpBuilder &builder, const ImportedModel &model,
                           const ImportedBlock &block,
                           const ImportOptions &options)
    : builder(builder), model(model), block(block), options(options),
      name(concat(block.getName(), ".mlp")),
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

Value BlockBuilder::buildMatmul(Value a, Value b, Value zeros, Value bias) {
  Value product = linalg::MatmulTransposeBOp::create(
                      builder, loc, zeros.getType(), ValueRange{a, b}, zeros)
                      .getResult(0);
  if (!bias)
    return product;
  return buildMap(buildRows(a), {product, bias}, f32, [&](ValueRange args) {
    return Value(arith::AddFOp::create(builder, loc, args[0], extend(args[1])));
  });
}

AffineMap BlockBuilder::getMap(Value input, int64_t columns) {
  auto type = cast<RankedTensorType>(input.getType());
  if (type.getRank() == 1)
    return AffineMap::get(2, 0, builder.getAffineDimExpr(1));
  if (type.getDimSize(1) == columns)
    return builder.getMultiDimIdentityMap(2);
  return AffineMap::get(
      2, 0, {builder.getAffineDimExpr(0), builder.getAffineConstantExpr(0)},
      builder.getContext());
}

Value BlockBuilder::buildMap(Value rows, ValueRange inputs, Type type,
                             function_ref<Value(ValueRange)> function) {
  int64_t columns =
      cast<RankedTensorType>(inputs.front().getType()).getDimSize(1);
  Value init = buildEmpty(rows, columns, type);
  SmallVector<AffineMap> maps;
  for (Value input : inputs)
    maps.push_back(getMap(input, columns));
  maps.push_back(builder.getMultiDimIdentityMap(2));
  SmallVector<utils::IteratorType> iterators(2, utils::IteratorType::parallel);
  return linalg::GenericOp::create(
             builder, loc, init.getType(), inputs, init, maps, iterators,
             [&](OpBuilder &, Location, ValueRange args) {
               Value result = function(args.drop_back());
               linalg::YieldOp::create(builder, loc, round(result, type));
             })
      .getResult(0);
}

void BlockBuilder::setCapacity(Policy &policy) {
  const Capacity &rule = *model.family->router.capacity;
  const ImportedCapacity &given = *model.capacity;
  bool counts = given.kind == CapacityKind::Slots;
  policy.capacityAttr = CapacityAttr::get(
      builder.getContext(), given.kind,
      APFloat(counts ? 0.0f : static_cast<float>(given.factor)),
      counts ? given.slots : 0, !counts && rule.roundDown, given.minimum,
      given.multiple, /*every=*/0);
  policy.dropOrder = rule.order;
}

PolicyAttr BlockBuilder::buildPolicy() {
  const Router &router = model.family->router;
  // Keeping all groups, or the only one, filters nothing.
  bool hasFilter =
      router.filter != GroupFilter::None && model.keptGroups < model.groups;
  bool rounds = !options.routerF32 && element != f32;
  Policy policy;
  policy.topK = model.topK;
  policy.score = router.score;
  if (router.roundScores && rounds)
    policy.roundScores = element;
  if (hasFilter) {
    policy.groups = model.groups;
    policy.keepGroups = model.keptGroups;
    policy.groupFilter = router.filter;
  }
  policy.weightSource = router.weights;
  policy.jitter = static_cast<float>(model.jitter);
  if (model.capacity)
    setCapacity(policy);
  // With one choice there is no second one to drop.
  if (model.topK > 1) {
    policy.keep = router.keep;
    policy.keepBound = static_cast<float>(model.keepBound);
  }
  policy.normalize = model.normalize;
  if (model.normalize) {
    policy.norm = router.norm;
    policy.epsilon = static_cast<float>(router.epsilon);
    if (router.atLeast != Router::AtLeast::Nothing) {
      bool isNarrow = router.atLeast == Router::AtLeast::ModelType &&
                      element != f32 && !options.routerF32;
      policy.atLeast = true;
      policy.epsilon = isNarrow ? 0x1p-7f : 0x1p-23f;
    }
    policy.afterDrop =
        router.afterDrop && (policy.capacityAttr || policy.keep != Keep::All);
  }
  policy.scale = static_cast<float>(model.scale);
  if (router.roundWeights && rounds)
    policy.roundWeights = element;
  return PolicyAttr::get(builder.getContext(), policy);
}

void BlockBuilder::buildExpertBody(Block &body, const ExpertRoles &roles) {
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(&body);
  // Block arguments stand in the order of buildExperts.
  unsigned next = 0;
  auto take = [&](Role role) {
    return has(role) ? Value(body.getArgument(++next)) : Value();
  };
  Value x = body.getArgument(0), gateWeight = take(roles.gate);
  Value upWeight = take(roles.up), downWeight = take(roles.down);
  Value gateBias = take(roles.gateBias);
  Value upBias = upWeight ? take(roles.upBias) : Value();
  Value downBias = take(roles.downBias);

  auto downType = cast<RankedTensorType>(downWeight.getType());
  int64_t hidden = downType.getDimSize(0), width = downType.getDimSize(1);
  Value rows = buildRows(x);
  Value zeros = buildZeros(rows, width);
  SmallVector<Value> products = {buildMatmul(x, gateWeight, zeros, gateBias)};
  if (upWeight)
    products.push_back(buildMatmul(x, upWeight, zeros, upBias));
  const Family &family = *model.family;
  auto activate = [&](ValueRange args) -> Value {
    if (family.gating == Gating::Clamped)
      return buildClamped(builder, loc, args[0], args[1], model.alpha,
                          model.limit);
    Value active =
        findActivation(model.activation)->build(builder, loc, args[0]);
    return args.size() == 1
               ? active
               : arith::MulFOp::create(builder, loc, active, args[1]);
  };
  Value inner = buildMap(rows, products, element, activate);
  Value out =
      buildMatmul(inner, downWeight, buildZeros(rows, hidden), downBias);
  if (element != f32)
    out = buildMap(rows, out, element, [](ValueRange args) { return args[0]; });
  YieldOp::create(builder, loc, out);
}

Value BlockBuilder::buildExperts(Value x, Value routing,
                                 const ExpertRoles &roles,
                                 bool appliesToInput) {
  SmallVector<Value> weights;
  for (Role role : {roles.gate, roles.up, roles.down, roles.gateBias})
    if (has(role))
      weights.push_back(getWeight(role));
  if (has(roles.up) && has(roles.upBias))
    weights.push_back(getWeight(roles.upBias));
  if (has(roles.downBias))
    weights.push_back(getWeight(roles.downBias));
  UnitAttr onInput = appliesToInput ? builder.getUnitAttr() : UnitAttr();
  Value rows =
      DispatchOp::create(builder, loc, x.getType(), x, routing, onInput);
  auto experts =
      ExpertsOp::create(builder, loc, x.getType(), rows, weights, routing);
  Block &body = experts.getBody().emplaceBlock();
  body.addArgument(x.getType(), loc);
  for (Value weight : weights) {
    auto type = cast<RankedTensorType>(weight.getType());
    body.addArgument(type.clone(type.getShape().drop_front()), loc);
  }
  buildExpertBody(body, roles);
  return CombineOp::create(builder, loc, x.getType(), experts.getResult(),
                           routing, onInput);
}

Value BlockBuilder::buildRouting(Value x, Value seed) {
  const Router &router = model.family->router;
  bool rounds = router.roundLogits && !options.routerF32 && element != f32;
  int64_t experts = block.experts + model.identityExperts;
  Value bias = has(Role::RouterBias) ? getWeight(Role::RouterBias) : Value();
  Value logits = RouterLogitsOp::create(
      builder, loc, matrix(experts, f32), x, getWeight(Role::Router), bias,
      rounds ? TypeAttr::get(element) : TypeAttr(), /*cosine=*/FloatAttr());
  Value selectBias =
      has(Role::SelectBias) ? getWeight(Role::SelectBias) : Value();
  Value random;
  if (seed)
    random = RandomOp::create(builder, loc, matrix(model.topK, f32),
                              Distribution::Uniform, seed, logits,
                              /*stream=*/block.layer % maxStreams);
  return RouteOp::create(builder, loc, routingType(experts, model.topK), logits,
                         selectBias, /*resident=*/Value(), random,
                         buildPolicy());
}

Value BlockBuilder::buildRouted(Value x, Value routing) {
  bool appliesToInput = model.family->router.appliesToInput;
  if (model.identityExperts == 0)
    return buildExperts(x, routing, routedRoles, appliesToInput);
  int64_t split = block.experts, all = split + model.identityExperts;
  auto restrict = [&](int64_t begin, int64_t end) -> Value {
    auto type = routingType(end - begin, std::min(end - begin, model.topK));
    return RestrictOp::create(builder, loc, type, routing, begin, end);
  };
  Value y = buildExperts(x, restrict(0, split), routedRoles, appliesToInput);
  Value rest = restrict(split, all);
  Value rows = DispatchOp::create(builder, loc, x.getType(), x, rest,
                                  /*weighted=*/UnitAttr());
  Value same = CombineOp::create(builder, loc, x.getType(), rows, rest,
                                 /*unweighted=*/UnitAttr());
  return buildMap(buildRows(x), {y, same}, element, [&](ValueRange args) {
    Value left = extend(args[0]);
    return Value(arith::AddFOp::create(builder, loc, left, extend(args[1])));
  });
}

Value BlockBuilder::buildLogit(Value x, Role weight, std::optional<Role> bias) {
  TypeAttr rounding = element != f32 ? TypeAttr::get(element) : TypeAttr();
  return RouterLogitsOp::create(
      builder, loc, matrix(1, f32), x, getWeight(weight),
      bias && has(*bias) ? getWeight(*bias) : Value(), rounding,
      /*cosine=*/FloatAttr());
}

Value BlockBuilder::buildSharedScale(Value x) {
  Value logit = buildLogit(x, Role::SharedScale);
  return buildMap(buildRows(logit), logit, f32, [&](ValueRange args) {
    return quantise(buildSigmoid(builder, loc, args[0]));
  });
}

std::pair<Value, Value> BlockBuilder::buildMix(Value x) {
  Value routed = buildLogit(x, Role::MixRouted, Role::MixRoutedBias);
  Value shared = buildLogit(x, Role::MixShared, Role::MixSharedBias);
  // The softmax of two numbers.
  auto build = [&](Value mine, Value other) {
    return buildMap(buildRows(mine), {mine, other}, f32, [&](ValueRange args) {
      Value difference = arith::SubFOp::create(builder, loc, args[0], args[1]);
      return quantise(buildSigmoid(builder, loc, difference));
    });
  };
  Value first = build(routed, shared);
  return {first, build(shared, routed)};
}

Value BlockBuilder::buildShared(Value x, Value weights) {
  Value routing =
      AssignAllOp::create(builder, loc, routingType(1, 1), x, weights);
  return buildExperts(x, routing, sharedRoles, /*appliesToInput=*/false);
}

func::FuncOp BlockBuilder::buildFunction() {
  Type type = matrix(model.hidden, element);
  SmallVector<Type> inputs = {type};
  bool isRandom = buildPolicy().getKeep() == Keep::Random;
  if (isRandom)
    inputs.push_back(RankedTensorType::get({1}, builder.getI64Type()));
  auto function = func::FuncOp::create(builder, loc, name,
                                       builder.getFunctionType(inputs, type));
  function.setArgAttr(0, "moe.name", builder.getStringAttr("x"));
  if (isRandom)
    function.setArgAttr(1, "moe.name", builder.getStringAttr("seed"));
  function.setResultAttr(0, "moe.name", builder.getStringAttr("y"));
  function->setAttr("moe.layer", builder.getI64IntegerAttr(block.layer));
  return function;
}

void BlockBuilder::buildWeights() {
  auto integers = [&](ArrayRef<int64_t> values) {
    return values.empty() ? DenseI64ArrayAttr()
                          : builder.getDenseI64ArrayAttr(values);
  };
  auto unit = [&](bool is) { return is ? builder.getUnitAttr() : UnitAttr(); };
  for (const ImportedWeight &weight : block.weights)
    WeightOp::create(
        builder, loc, builder.getStringAttr(weight.symbol),
        TypeAttr::get(RankedTensorType::get(
            weight.shape, convertDType(builder, weight.dtype))),
        builder.getStrArrayAttr({weight.source}), unit(weight.stack),
        unit(weight.transpose),
        weight.split ? integers(*weight.split) : DenseI64ArrayAttr(),
        weight.encoding
            ? WeightEncodingAttr::get(builder.getContext(), *weight.encoding)
            : WeightEncodingAttr(),
        weight.encoding ? builder.getStrArrayAttr({weight.scales})
                        : ArrayAttr(),
        integers(weight.block), integers(weight.stored));
}

void BlockBuilder::build() {
  buildWeights();
  func::FuncOp function = buildFunction();
  OpBuilder::InsertionGuard guard(builder);
  Block *entry = function.addEntryBlock();
  builder.setInsertionPointToStart(entry);
  Value x = entry->getArgument(0);
  Value seed = entry->getNumArguments() > 1 ? entry->getArgument(1) : Value();
  Value y = buildRouted(x, buildRouting(x, seed));

  SmallVector<Value> terms = {y};
  bool isMixed = false;
  if (model.sharedWidth > 0) {
    Value share, weights;
    SharedKind kind = model.family->shared.kind;
    isMixed = kind == SharedKind::Mixed;
    if (isMixed)
      std::tie(share, weights) = buildMix(x);
    else if (kind == SharedKind::Gated)
      weights = buildSharedScale(x);
    terms.push_back(buildShared(x, weights));
    if (isMixed)
      terms.push_back(share);
  }
  if (has(Role::OutputBias))
    terms.push_back(getWeight(Role::OutputBias));
  if (terms.size() > 1)
    y = buildMap(buildRows(x), terms, element, [&](ValueRange args) -> Value {
      Value sum = extend(args[0]);
      if (isMixed)
        sum = quantise(arith::MulFOp::create(builder, loc, sum, args[2]));
      for (auto [i, term] : llvm::enumerate(args.drop_front()))
        if (!isMixed || i != 1)
          sum = arith::AddFOp::create(builder, loc, sum, extend(term));
      return sum;
    });
  func::ReturnOp::create(builder, loc, y);
}

/// What the artifact tells about the model.
static DictionaryAttr describe(OpBuilder &builder, const ImportedModel &model) {
  auto integer = [&](int64_t value) {
    return builder.getI64IntegerAttr(value);
  };
  int64_t most = *llvm::max_element(model.experts);
  SmallVector<NamedAttribute> entries = {
      {"arch", builder.getStringAttr(model.family->modelType)},
      {"name", builder.getStringAttr(model.name)},
      {"layers", integer(model.layers)},
      {"moe_layers", builder.getDenseI64ArrayAttr(model.moeLayers)},
      {"experts", integer(most)},
      {"top_k", integer(model.topK)},
      {"hidden", integer(model.hidden)},
      {"width", integer(model.width)},
      {"shared_width", integer(model.sharedWidth)},
      {"activation", builder.getStringAttr(model.activation)},
      {"dtype", TypeAttr::get(convertDType(builder, model.dtype))}};
  if (llvm::any_of(model.experts, [&](int64_t n) { return n != most; }))
    entries.emplace_back("layer_experts",
                         builder.getDenseI64ArrayAttr(model.experts));
  if (model.identityExperts > 0)
    entries.emplace_back("identity_experts", integer(model.identityExperts));
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
