//===- BlockBuilder.cpp - Emits the function of one MoE block -------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BlockBuilder.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::model;
using moert::concat;

/// Of moe.random.
static constexpr int64_t maxStreams = 65536;

static constexpr ExpertRoles routedRoles = {Role::Gate,   Role::Up,
                                            Role::Down,   Role::GateBias,
                                            Role::UpBias, Role::DownBias};
static constexpr ExpertRoles sharedRoles = {
    Role::SharedGate,     Role::SharedUp,     Role::SharedDown,
    Role::SharedGateBias, Role::SharedUpBias, Role::SharedDownBias};

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

void BlockBuilder::setCapacity(Policy &policy) {
  const Capacity &rule = *model.family->router.capacity;
  const ImportedCapacity &given = *model.capacity;
  bool counts = given.kind == CapacityKind::Slots;
  policy.capacityAttr = CapacityAttr::get(
      builder.getContext(), given.kind, APFloat(counts ? 0.0 : given.factor),
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
